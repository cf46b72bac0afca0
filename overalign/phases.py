"""When a network sorts, and when it starts to fit; the windows of the theory; zeta.

Sorting times are exact: they come from the kinks of a trajectory, not from samples of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import ProblemError
from .flow import Outcome, Trajectory
from .problem import Network, Sample

__all__ = [
    "PhaseTimes",
    "fitting_onset",
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
    theory.md 2.4. Read off the initial pattern and the events of `Trajectory.kinks`; nothing is
    sampled. A sample on whose kink the neuron slides counts as inactive: there <w_j, x_i> = 0,
    which is sorted for a sample of the other class, and a neuron slides along no other (label
    losses). A neuron that does nothing but slide is dead: the force that holds it is zero.

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


def phase_times(run: Trajectory, *, onset: bool = True) -> PhaseTimes:
    """Sorting, windows, onset and end of a trajectory: see `PhaseTimes`.

    Parameters
    ----------
    run : Trajectory
    onset : bool
        Whether to search for the onset, which takes most of the time; not a number without it.

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
    folds = -(run.log_alpha + 0.5 * math.log(network.width))
    window = folds / loss.time_factor(sample.n) if folds > 0 else math.nan
    pull = 1.0
    if folds > 0:
        largest = math.exp(-folds) * sample.max_norm * network.max_row_norm**2
        pull = float(loss.residuals([-largest], [1.0])[0] / loss.residuals([0.0], [1.0])[0])
    reached = run.outcome in (Outcome.REACHED, Outcome.ALREADY_THERE)
    return PhaseTimes(
        t_1=t_1,
        T=window / (4 * sample.n * sample.max_norm),
        T_G=window / (2 * pull * max(plus, minus)),
        T_plus=window / (2 * plus),
        T_minus=window / (2 * minus),
        onset=fitting_onset(run) if onset else math.nan,
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
    active = run.initial_pattern == 1
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
