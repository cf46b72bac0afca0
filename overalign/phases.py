"""When a network aligns, sorts and fits, and where alignment ends as alpha -> 0.

Times are exact: they come from the kinks of a trajectory, not from samples of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import (
    CLASS_NAMES,
    ROUNDING,
    Cone,
    active_pairs,
    angle,
    require_label_loss,
    single_cone,
)
from .errors import ProblemError
from .flow import Outcome, Trajectory
from .problem import LogisticLoss, Loss, Network, Sample

__all__ = [
    "LimitAlignment",
    "PhaseTimes",
    "fitting_onset",
    "limit_alignment",
    "log_alpha_where_zeta_vanishes",
    "phase_times",
    "sorting_times",
    "zeta",
]

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

ONSET = 0.05  # relative change of a residual; |f| = 0.1 for the logistic loss


# ---------------------------------------------------------------- phases and times


def sorting_times(run: Trajectory) -> FloatArray:
    """When each neuron is first sorted, or dead.

    Sorted: active on every sample of its own class and on no other. Dead: active on no sample; it
    then no longer moves. A neuron that starts dead has time 0, one that is never either nan.
    `dead_neurons` tells the dead.

    Returns
    -------
    array [h]
        In the units of the loss: the time of a kink (on the kink itself a product is still zero, so
        `Alignment.is_sorted` holds just after it), or 0.

    Raises
    ------
    ProblemError
        A class is missing; or an output weight is smaller than its row, |V_j| < ||W_j||, so that
        its sign, and with it the neuron's class, may change.

    Notes
    -----
    theory.md 2.4. Read off the events of `Trajectory.kinks`; nothing is sampled. A sample on whose
    kink the neuron slides counts as inactive: there <w_j, x_i> = 0, which is sorted for a sample of
    the other class, and a neuron slides along no other (label losses). A neuron that does nothing
    but slide is dead: the force that holds it is zero.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> network = Network.balanced(weights=[[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]], sign=[1, 1, -1])
    >>> run = solve(sample, network, -9.0, stop_at_risk(0.1, over="positive"))
    >>> times = sorting_times(run)
    >>> bool(times[0] == 0.0), bool(times[1] == run.kinks.time[0]), bool(times[2] == 0.0)
    (True, True, True)
    """
    return _sorting(run)[0]


@dataclass(frozen=True, eq=False)
class PhaseTimes:
    """Times that divide a trajectory, in the units of the loss (nan where there is none).

    Attributes
    ----------
    t_1 : float
        First time at which every neuron that is not dead then is sorted, all at once.
    T : float
        log(1 / (sqrt(h) alpha)) / (4 n x_max) / beta: the proven window. nan, as are the next
        three, for sqrt(h) alpha >= 1.
    T_G : float
        log(1 / (sqrt(h) alpha)) / (2 g G) / beta, the longer window, with
        G = max(||x_+||, ||x_-||), F = alpha sqrt(h) x_max W_max^2 and g the residual at margin -F
        over that at 0: 1 + tanh(F / 2) for the logistic loss.
    T_plus, T_minus : float
        log(1 / (sqrt(h) alpha)) / (2 ||x_+||) / beta, and with ||x_-||.
    onset : float
        From `fitting_onset`.
    t_eta : float
        The end, where the trajectory stopped at a risk.
    sorting_times : array [h]
        From `sorting_times`.

    Notes
    -----
    theory.md 2.1, 2.4, 2.5; (2.2) is T_G. A time of theory.md is beta = ``loss.time_factor(n)``
    times a time of the loss. That (2.1) holds up to T_G needs a balanced network and inner products
    within a class that are not negative.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> times = phase_times(solve(sample, Network.random(4, 2, 1), -20.0, stop_at_risk(0.1)))
    >>> 0.0 < times.t_1 < times.T < times.T_G < times.T_plus < times.onset < times.t_eta
    True
    """

    t_1: float
    T: float
    T_G: float
    T_plus: float
    T_minus: float
    onset: float
    t_eta: float
    sorting_times: FloatArray = field(repr=False)


def phase_times(run: Trajectory) -> PhaseTimes:
    """Sorting, windows, onset and end of a trajectory: see `PhaseTimes`.

    Raises
    ------
    ProblemError
        As `sorting_times`, and a class whose inputs sum to zero.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_time
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -20.0, stop_at_time(1.0))
    >>> round(phase_times(run).T_plus, 6), phase_times(run).t_eta
    (38.613706, nan)
    """
    sample, network, loss = run.sample, run.network, run.loss
    for label in (1, -1):
        sample.class_direction(label)
    plus, minus = (float(np.linalg.norm(sample.class_sum(label))) for label in (1, -1))
    first, t_1 = _sorting(run)
    decades = -(run.log_alpha + 0.5 * math.log(network.width))
    window = decades / loss.time_factor(sample.n) if decades > 0 else math.nan
    pull = 1.0
    if decades > 0:
        largest = math.exp(-decades) * sample.max_norm * network.max_row_norm**2
        pull = float(loss.residuals([-largest], [1.0])[0] / loss.residuals([0.0], [1.0])[0])
    reached = run.outcome in (Outcome.REACHED, Outcome.ALREADY_THERE)
    return PhaseTimes(
        t_1=t_1,
        T=window / (4 * sample.n * sample.max_norm),
        T_G=window / (2 * pull * max(plus, minus)),
        T_plus=window / (2 * plus),
        T_minus=window / (2 * minus),
        onset=fitting_onset(run),
        t_eta=run.time if reached and run.stop.quantity == "risk" else math.nan,
        sorting_times=first,
    )


def _sorting(run: Trajectory) -> tuple[FloatArray, float]:
    """`sorting_times` and t_1, by replaying the kinks."""
    sample, network, kinks = run.sample, run.network, run.kinks
    sample.require_classification("sorting")
    if not network.keeps_signs:
        raise ProblemError(
            "sorting needs |V_j| >= ||W_j||: a smaller output weight may change its sign, and with "
            "it the neuron's class; use Network.balanced or Network.random"
        )
    own = network.sign[:, None] * sample.y > 0
    active = _starting_pattern(run)
    is_sorted, settled = _sorted_and_settled(active, own)
    first = np.where(settled, 0.0, np.nan)
    if settled.all() and is_sorted.any():
        return first, 0.0
    # events at one time are one event: several kinks of a neuron, or pairs of equal neurons
    ends = [*(np.flatnonzero(np.diff(kinks.time) > 0) + 1).tolist(), kinks.time.size]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        if start == end:  # no kinks at all
            break
        rows = kinks.neuron[start:end]
        active[rows, kinks.sample[start:end]] = kinks.after[start:end] == 1
        is_sorted[rows], settled[rows] = _sorted_and_settled(active[rows], own[rows])
        first[rows] = np.where(
            settled[rows] & np.isnan(first[rows]), kinks.time[start], first[rows]
        )
        if settled.all() and is_sorted.any():
            return first, float(kinks.time[start])
    return first, math.nan


def _sorted_and_settled(active: BoolArray, own: BoolArray) -> tuple[BoolArray, BoolArray]:
    is_sorted = (active == own).all(axis=1)
    return np.asarray(is_sorted), np.asarray(is_sorted | ~active.any(axis=1))


def _starting_pattern(run: Trajectory) -> BoolArray:
    """Which neurons start active on which samples, [h, n].

    The solver sends a neuron that starts on a kink where the field pushes it, which is no event: of
    a pair with later events the first tells the side, of one without the end does.
    """
    x, kinks = run.sample.x / run.sample.norms[:, None], run.kinks
    cosines = (run.network.weights / run.network.row_norms[:, None]) @ x.T
    on_kink = np.abs(cosines) <= ROUNDING
    active = np.where(on_kink, active_pairs(run.final.direction, run.sample), cosines > 0)
    # in reverse, because of repeated indices the last one counts
    active[kinks.neuron[::-1], kinks.sample[::-1]] = kinks.before[::-1] == 1
    return active


def fitting_onset(run: Trajectory) -> float:
    """When fitting begins: the network's outputs start to change the residuals.

    The first time at which the residual of some sample differs from its value at f = 0 by 5 % of
    the largest residual at f = 0. For the logistic loss that is max |f(x_i)| = 0.1. Until then
    neurons turn and grow as if they were alone (phase 1); afterwards they fit (phase 2).

    Returns
    -------
    float
        In the units of the loss; 0 if the start is past it, nan if the end is before it.

    Notes
    -----
    The onset of theory.md 2.5 (c). The change is followed on the dense output, to about 1e-10 of a
    step.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -20.0, stop_at_risk(0.1))
    >>> round(float(abs(run.at(fitting_onset(run)).outputs).max()), 6)
    0.1
    """
    times = run.step_times
    for _ in range(4):
        change = _residual_change(run, times)
        past = np.flatnonzero(change >= ONSET)
        if not past.size:
            return float("nan")
        if past[0] == 0:
            return float(times[0])
        before, after = past[0] - 1, past[0]
        times = np.linspace(times[before], times[after], 65)
    share = (ONSET - change[before]) / (change[after] - change[before])
    return float(times[0] + share * (times[-1] - times[0]))


def _residual_change(run: Trajectory, times: FloatArray) -> FloatArray:
    """Largest change of a residual since f = 0, relative to the largest residual there; [t]."""
    y = run.sample.y
    start = run.loss.residuals(np.zeros_like(y), y)
    largest = max(float(np.max(np.abs(start))), 1e-300)
    outputs = run.at(times).outputs
    return np.array([np.max(np.abs(run.loss.residuals(f, y) - start)) for f in outputs]) / largest


# ---------------------------------------------------------------- zeta and the limit alpha -> 0


def zeta(sample: Sample, network: Network, log_alpha: float, label: int = 1) -> float:
    """The constant of Theorem 5.1: zeta = 1 - 4 alpha n sqrt(h) x_max^2 W_max^2 / ||x_label||.

    Parameters
    ----------
    sample : Sample
    network : Network
    log_alpha : float
    label : {1, -1}
        The class whose sum of inputs divides.

    Returns
    -------
    float
        The same in every convention of the loss; 1 - zeta has its digits as
        exp(log_alpha - `log_alpha_where_zeta_vanishes`). The theorem says nothing for zeta <= 0.

    Raises
    ------
    ProblemError
        As `log_alpha_where_zeta_vanishes`.

    Notes
    -----
    theory.md 2.3.

    Examples
    --------
    >>> from overalign import Network, Sample
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> network = Network.random(width=4, dimension=2, seed=1)
    >>> round(zeta(sample, network, math.log(1e-3)), 9)  # 1 - 4 * 1e-3 * 2 * 2
    0.984
    """
    with np.errstate(over="ignore"):
        return float(-np.expm1(log_alpha - log_alpha_where_zeta_vanishes(sample, network, label)))


def log_alpha_where_zeta_vanishes(sample: Sample, network: Network, label: int = 1) -> float:
    """Logarithm of the alpha below which zeta > 0: ||x_label|| / (4 n sqrt(h) x_max^2 W_max^2).

    Raises
    ------
    ProblemError
        Labels other than -1 and +1, or a class whose inputs sum to zero.

    Examples
    --------
    >>> from overalign import Network, Sample
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> network = Network.random(width=4, dimension=2, seed=1)
    >>> round(math.exp(log_alpha_where_zeta_vanishes(sample, network)), 6)
    0.0625
    """
    total = sample.class_sum(label)
    sample.class_direction(label)
    sizes = 2.0 * (math.log(sample.max_norm) + math.log(network.max_row_norm))
    return (
        math.log(float(np.linalg.norm(total)))
        - math.log(4 * sample.n)
        - 0.5 * math.log(network.width)
        - sizes
    )


@dataclass(frozen=True, eq=False)
class LimitAlignment:
    """The effective predictor of a class at a stop over that class, as alpha -> 0.

    Attributes
    ----------
    label : int
    class_direction : array [d]
        xbar.
    eta : array [..]
        Risk over the class at the stop.
    predictor : array [.., d]
        u, the common direction of the class's live neurons and of w_hat.
    log_norm : array [..]
        log S = log ||w_hat||.
    cone_angle : array [..]
        theta_0(eta), the angle of u to xbar, radians.

    Examples
    --------
    >>> from overalign import Sample
    >>> sample = Sample([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], [1, 1, -1])
    >>> limit = limit_alignment(sample, [0.3, 0.01])
    >>> limit.Psi.shape, limit.predictor.shape
    ((2,), (2, 2))
    """

    label: int
    class_direction: FloatArray
    eta: FloatArray
    predictor: FloatArray
    log_norm: FloatArray
    cone_angle: FloatArray

    @property
    def Psi(self) -> FloatArray:
        """Psi_0(eta) = <u, xbar>, [..]."""
        return np.asarray(np.cos(self.cone_angle))

    @property
    def cone(self) -> Cone:
        """The cone that H(alpha) tends to (ProblemError for several eta)."""
        return single_cone(self.class_direction, self.cone_angle, self.label)


def limit_alignment(
    sample: Sample, eta: ArrayLike, label: int = 1, loss: Loss | None = None
) -> LimitAlignment:
    """Psi_0(eta): the alignment of one class at a stop over that class, in the limit alpha -> 0.

    Parameters
    ----------
    sample : Sample
        Only the inputs of class ``label`` count.
    eta : float or array [..]
        Risk over the class, in the loss's own units: its factor and its reduction applied to the
        samples of the class, as in ``stop_at_risk(eta, over="positive")``.
    label : {1, -1}
    loss : LogisticLoss or ExponentialLoss
        Default ``LogisticLoss(factor=1, reduction="mean")``.

    Returns
    -------
    LimitAlignment
        Arrays of the shape of ``eta``.

    Raises
    ------
    ProblemError
        eta is not between zero and the risk at f = 0; eta is below what a linear function through
        the origin reaches on the class; the class sums to zero; another loss.

    Notes
    -----
    theory.md 3.5. When all live neurons of the class are sorted and share the direction u, with
    S = ||w_hat|| and r = sum of g_i x_i over the class,

        u' = (I - u u^T) r,   (log S)' = 2 <u, r>,   g_i = g(S <u, x_i>),

    from u = xbar at S = 0. Time is replaced by the length of the integral of r, so that only ratios
    of residuals count: du = (I - u u^T) r / ||r||, d log S = 2 <u, r> / ||r||. It starts where the
    largest S ||x_i|| is exp(-30): there u differs from xbar by no more, and what is lost decays
    like 1 / sqrt(S), to 3e-20 at S = 1. The limit needs no alpha, width or weights, but live
    neurons of the class that all end up sorted, as under orthogonal separability.

    A stop over all samples has no such limit. If ||x_+|| > ||x_-||, class + fits first and goes on
    turning while class - still grows, for a time proportional to log(1 / alpha): on one sample
    with ||x_+|| = 18.5 and ||x_-|| = 16.7 its Psi at eta = 0.05 is 0.9967, 0.9935 and 0.9903 at
    log alpha = -20, -200 and -2000. At a stop over class + it is 0.9977 each time.

    Examples
    --------
    >>> from overalign import GaussianMixture, Network, alignment_of, solve, stop_at_risk
    >>> sample = GaussianMixture(20, kappa=1.5, sigma=1.0).sample(12, seed=0, separability=0.0)
    >>> limit = limit_alignment(sample, 0.05)
    >>> network = Network.random(width=16, dimension=20, seed=0)
    >>> run = solve(sample, network, math.log(1e-5), stop_at_risk(0.05, over="positive"))
    >>> abs(float(alignment_of(run.final, sample).positive.Psi - limit.Psi)) < 1e-6
    True
    """
    loss = LogisticLoss() if loss is None else loss
    require_label_loss(loss, "limit_alignment")
    class_direction = sample.class_direction(label)
    system = _LimitFlow(sample.x[sample.y == label], loss)
    asked = np.asarray(eta, dtype=np.float64)
    start = system.risk_of(np.zeros(system.x.shape[0]))
    if not asked.size or not np.all((asked > 0) & (asked < start)):
        raise ProblemError(
            f"eta is {asked}; it must be positive and below the risk at f = 0, {start:g} for the "
            f"{loss} over one class"
        )
    states = _states_at_risks(system, class_direction, asked.ravel(), label)
    states = states.reshape(*asked.shape, -1)
    predictor = states[..., :-1]
    predictor = predictor / np.linalg.norm(predictor, axis=-1, keepdims=True)
    return LimitAlignment(
        label=label,
        class_direction=class_direction,
        eta=asked,
        predictor=predictor,
        log_norm=states[..., -1],
        cone_angle=angle(predictor, class_direction),
    )


_LIMIT_START = -30.0  # log of the largest S ||x_i|| at the start
_LIMIT_STEPS = 5000  # a few dozen are usual
_CANCELLED = 1e-9  # ||r|| over the sum of g_i ||x_i|| at a minimum of the risk


@dataclass(frozen=True, eq=False)
class _LimitFlow:
    """The flow of one class in the limit; a state is (u, log S), [d + 1]."""

    x: FloatArray
    loss: Loss

    @cached_property
    def norms(self) -> FloatArray:
        return np.asarray(np.linalg.norm(self.x, axis=1))

    def margins(self, state: FloatArray) -> FloatArray:
        return np.asarray(math.exp(state[-1]) * (self.x @ state[:-1]))

    def risk_of(self, margins: FloatArray) -> float:
        return self.loss.risk(margins, np.ones_like(margins))

    def pull(self, state: FloatArray) -> tuple[FloatArray, float]:
        """r / ||r||, and ||r|| over the sum of g_i ||x_i||."""
        margins = self.margins(state)
        falls = np.logaddexp(0.0, margins) if isinstance(self.loss, LogisticLoss) else margins
        g = np.exp(falls.min() - falls)
        r = g @ self.x
        size = max(math.sqrt(r @ r), 1e-300)
        return r / size, size / float(g @ self.norms)

    def slope(self, _: float, state: FloatArray) -> FloatArray:
        u, (e, _) = state[:-1], self.pull(state)
        along, slope = float(u @ e), np.empty_like(state)
        slope[:-1], slope[-1] = e - along * u, 2.0 * along
        return slope


def _states_at_risks(
    flow: _LimitFlow, class_direction: FloatArray, risks: FloatArray, label: int
) -> FloatArray:
    """States at which the risk first equals each of ``risks``, [k, d + 1]."""
    from scipy.integrate import DOP853
    from scipy.optimize import brentq

    state = np.append(class_direction, _LIMIT_START - math.log(float(flow.norms.max())))
    solver = DOP853(flow.slope, 0.0, state, np.inf, rtol=1e-12, atol=1e-14, max_step=2.0)
    found = np.full((risks.size, state.size), np.nan)
    for _ in range(_LIMIT_STEPS):
        if not np.isnan(found[:, 0]).any():
            return found
        solver.step()
        if solver.status == "failed" or flow.pull(solver.y)[1] < _CANCELLED:
            break
        reached = flow.risk_of(flow.margins(solver.y)) <= risks
        for k in np.flatnonzero(reached & np.isnan(found[:, 0])):
            dense = solver.dense_output()
            found[k] = dense(
                brentq(
                    lambda t, dense=dense, k=k: math.log(
                        flow.risk_of(flow.margins(dense(t))) / risks[k]
                    ),
                    solver.t_old,
                    solver.t,
                    xtol=1e-13,
                )
            )
    raise ProblemError(
        f"the risk over the {CLASS_NAMES[label]} class does not fall to {np.min(risks):g}: it "
        f"comes to rest near {flow.risk_of(flow.margins(solver.y)):g}, where no linear function "
        "through the origin gives less; choose a larger eta"
    )
