"""Gradient flow of two-layer ReLU networks, through every kink, at any alpha.

    w_j' = v_j G_j,   v_j' = <w_j, G_j>,   G_j = sum of c_i x_i over the samples active on neuron j,

with c_i = -d risk / d f_i, started at w_j = alpha W_j, v_j = alpha V_j.  The method is described in
docs/method.md.  Its accuracy is not a local tolerance: every problem is solved twice, at two local
tolerances, until the two agree on what is reported to within ``tolerance``.
"""

from __future__ import annotations

import enum
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError, ToleranceError
from .problem import LogisticLoss, Loss, Network, Sample, SquareLoss

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Kinks",
    "Outcome",
    "Slides",
    "Snapshot",
    "Stop",
    "Trajectory",
    "solve",
    "solve_many",
    "stop_at_margin",
    "stop_at_norm",
    "stop_at_risk",
    "stop_at_time",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Over = Literal["all", "positive", "negative"]

SMALLEST_TOLERANCE = 1e-12  # below this, rounding in the residuals decides
SUBSTEPS = 4  # per step; 3 takes more steps, 5 more frozen flows at the same accuracy
REFINEMENT = 25.0  # between the two local tolerances: see validation/solver_honest_tolerance
MAX_REFINEMENTS = 6
LARGEST_LOG_OUTPUT = 30.0
MOST_FOLDS = 80.0  # of the growth of rounding, after which nothing is left of float64


class Outcome(enum.Enum):
    """Why a trajectory ended; the value is the sentence that `Trajectory.status` starts with.

    Examples
    --------
    >>> Outcome.REACHED.value
    'The stop was reached.'
    """

    REACHED = "The stop was reached."
    ALREADY_THERE = "The start is already at or past the stop; nothing was integrated."
    DEAD = "Every neuron is inactive on every sample: the network is dead and cannot move."
    STATIONARY = (
        "The field on every neuron has vanished: this is a stationary point above the target."
    )
    STALLED = (
        "The stop cannot be reached: samples on which no neuron is active, and which no neuron "
        "approaches, alone hold more risk, or a smaller margin, than the target."
    )
    STEP_LIMIT = "The limit on the number of steps was met before the stop; raise max_steps."
    STEP_TOO_SMALL = "A step no longer advances the time; the stop was not reached."


@dataclass(frozen=True)
class Stop:
    """A stopping rule; made by `stop_at_risk`, `stop_at_margin`, `stop_at_time`, `stop_at_norm`.

    Parameters
    ----------
    quantity : {"time", "risk", "margin", "norm"}
    target : float
    over : {"all", "positive", "negative"}
        The samples that count, for risk and margin.

    Examples
    --------
    >>> stop_at_risk(0.05)
    Stop(quantity='risk', target=0.05, over='all')
    """

    quantity: Literal["time", "risk", "margin", "norm"]
    target: float
    over: Over = "all"

    def __post_init__(self) -> None:
        if self.quantity not in ("time", "risk", "margin", "norm"):
            raise ProblemError(f"quantity is {self.quantity!r}; choose time, risk, margin or norm")
        if not np.isfinite(self.target):
            raise ProblemError(f"the {self.quantity} to stop at is {self.target}; give a number")
        if self.quantity != "margin" and self.target <= 0:
            raise ProblemError(
                f"the {self.quantity} to stop at is {self.target:g}; it must be positive"
            )
        if self.over not in ("all", "positive", "negative"):
            raise ProblemError(f"over is {self.over!r}; choose all, positive or negative")


def stop_at_risk(eta: float, over: Over = "all") -> Stop:
    """Stop when the risk falls to eta.

    Parameters
    ----------
    eta : float
        In the loss's own units: its factor and its reduction, applied to the samples that count.
    over : {"all", "positive", "negative"}
        The samples that count.

    Raises
    ------
    ProblemError
        eta is not a positive number.

    Examples
    --------
    >>> stop_at_risk(0.1, over="positive")
    Stop(quantity='risk', target=0.1, over='positive')
    """
    return Stop("risk", float(eta), over)


def stop_at_margin(margin: float, over: Over = "all") -> Stop:
    """Stop when the smallest margin y f(x) reaches ``margin``.

    Raises
    ------
    ProblemError
        The margin is not a finite number.

    Examples
    --------
    >>> stop_at_margin(1.0).quantity
    'margin'
    """
    return Stop("margin", float(margin), over)


def stop_at_time(time: float) -> Stop:
    """Stop at a time, in the units of the loss (theory.md's time is beta times it).

    Raises
    ------
    ProblemError
        The time is not a positive number.

    Examples
    --------
    >>> stop_at_time(2.5).target
    2.5
    """
    return Stop("time", float(time))


def stop_at_norm(norm: float) -> Stop:
    """Stop when the largest ||w_j|| reaches ``norm``.

    Raises
    ------
    ProblemError
        The norm is not a positive number.

    Examples
    --------
    >>> stop_at_norm(0.5).quantity
    'norm'
    """
    return Stop("norm", float(norm))


class Kinks(NamedTuple):
    """Changes of pattern in order of time; arrays [k].

    A sample is on a neuron's active side (+1), on its inactive side (-1), or the neuron slides
    along the sample's kink (0).

    Examples
    --------
    >>> sample = Sample([[1.0, 0.0]], [-1])
    >>> network = Network.balanced(weights=[[1.0, 1.0]], sign=[1])
    >>> kinks = solve(sample, network, -1.0, stop_at_time(9.0)).kinks
    >>> int(kinks.neuron[0]), int(kinks.before[0]), int(kinks.after[0])
    (0, 1, -1)
    """

    time: FloatArray
    neuron: IntArray
    sample: IntArray
    before: IntArray
    after: IntArray


class Slides(NamedTuple):
    """Intervals in which a neuron slides along the kink of a sample; arrays [k].

    ``after`` is the side on which the sample left: +1, -1, or 0 when it still slides at the end.

    Examples
    --------
    >>> Slides._fields
    ('neuron', 'sample', 'start', 'end', 'after')
    """

    neuron: IntArray
    sample: IntArray
    start: FloatArray
    end: FloatArray
    after: IntArray


@dataclass(frozen=True)
class Snapshot:
    """The network at one time, or at several (then every array has a leading axis of times).

    Attributes
    ----------
    time : float or array [t]
    log_norm : array [h]
        log ||w_j||.
    direction : array [h, d]
        w_j / ||w_j||.
    log_output : array [h]
        log |v_j|; minus infinity where v_j = 0.
    sign : array [h]
        Sign of v_j.
    outputs : array [n]
        f(x_i) on the training samples.

    Examples
    --------
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -5.0, stop_at_risk(0.1))
    >>> run.final.direction.shape
    (4, 2)
    """

    time: Any
    log_norm: FloatArray
    direction: FloatArray
    log_output: FloatArray
    sign: FloatArray
    outputs: FloatArray

    def _at(self, index: int) -> Snapshot:
        return Snapshot(
            float(self.time[index]),
            self.log_norm[index],
            self.direction[index],
            self.log_output[index],
            self.sign[index],
            self.outputs[index],
        )


@dataclass(frozen=True)
class Trajectory:
    """A solved gradient flow: why and where it ended, and the network at any time before.

    A trajectory is stored as its residual waveform c(t): given it the neurons are independent, so
    `at` carries them from the start to any time without solving anything again.

    Attributes
    ----------
    sample, network, log_alpha, stop, loss, tolerance
        The problem as it was given.
    outcome : Outcome
    time : float
        Where it ended, in the units of the loss.
    error_estimate : float
        Estimate of the largest of: the relative error of the stopping time, the absolute error of
        any log-norm, the norm of the error of any direction; at the end. It is the difference of
        two solutions, and what rounding may have grown to.
    frozen_flows : int
        Frozen flows of the whole network that were needed, both solutions of the pair together.
    steps : int
        Steps of the solution returned.

    Examples
    --------
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -5.0, stop_at_risk(0.1))
    >>> run.status
    'The stop was reached.'
    >>> run.error_estimate < 1e-8
    True
    """

    sample: Sample
    network: Network
    log_alpha: float
    stop: Stop
    loss: Loss
    tolerance: float
    outcome: Outcome
    time: float
    error_estimate: float
    frozen_flows: int
    steps: int
    final: Snapshot = field(repr=False)
    _solution: _Solution = field(repr=False)

    @property
    def status(self) -> str:
        """Why it ended, as sentences."""
        if self.error_estimate <= self.tolerance:
            return self.outcome.value
        return (
            f"{self.outcome.value} The error estimate {self.error_estimate:.1e} exceeds the "
            f"tolerance {self.tolerance:.1e}: this problem does not allow more in float64."
        )

    @property
    def is_successful(self) -> bool:
        """Whether the stop was reached to the tolerance asked for."""
        reached = self.outcome in (Outcome.REACHED, Outcome.ALREADY_THERE)
        return reached and self.error_estimate <= self.tolerance

    @property
    def risk(self) -> float:
        """The risk over all samples at the end, in the loss's units."""
        return self.loss.risk(self.final.outputs, self.sample.y)

    @property
    def step_times(self) -> FloatArray:
        """Start of every step and the end of the last one; array [steps + 1], or [1]."""
        return np.append(self._solution.wave.began, self.time)

    def at(self, times: ArrayLike) -> Snapshot:
        """The network at ``times``.

        Parameters
        ----------
        times : float or array [t]
            Between 0 and `time`, in any order.

        Returns
        -------
        Snapshot
            For an array of times every array has a leading axis of length t.

        Raises
        ------
        ProblemError
            A time outside [0, `time`].

        Examples
        --------
        >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
        >>> run = solve(sample, Network.random(4, 2, seed=1), -5.0, stop_at_risk(0.1))
        >>> run.at([0.0, run.time]).log_norm.shape
        (2, 4)
        """
        asked = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if asked.ndim != 1 or not np.all((asked >= 0) & (asked <= self.time)):
            raise ProblemError(f"times must be a number or a list within [0, {self.time:.17g}]")
        order = np.argsort(asked, kind="stable")
        snapshot = _replay(self._solution, self.network, self.log_alpha, asked[order], 0)[0]
        back = np.argsort(order, kind="stable")
        snapshot = Snapshot(
            asked,
            snapshot.log_norm[back],
            snapshot.direction[back],
            snapshot.log_output[back],
            snapshot.sign[back],
            snapshot.outputs[back],
        )
        return snapshot if np.ndim(times) else snapshot._at(0)

    @cached_property
    def _patterns(self) -> tuple[IntArray, Kinks]:
        """The first pattern, and its changes."""
        count = self._solution.events
        return _replay(self._solution, self.network, self.log_alpha, np.empty(0), count)[1:]

    @property
    def initial_pattern(self) -> IntArray:
        """The sides on which the neurons set out; array [h, n] in the values of `Kinks`.

        A neuron that starts on a kink goes where the field pushes it, or slides from the start.
        """
        return self._patterns[0]

    @property
    def kinks(self) -> Kinks:
        """Every change of pattern, in order of time."""
        return self._patterns[1]

    @cached_property
    def slides(self) -> Slides:
        """The intervals in which neurons slide along kinks, in order of their starts."""
        kinks, (neurons, samples) = self.kinks, np.nonzero(self.initial_pattern == 0)
        neuron = np.concatenate([neurons, kinks.neuron])
        sample = np.concatenate([samples, kinks.sample])
        time = np.concatenate([np.zeros(neurons.size), kinks.time])
        side = np.concatenate([np.zeros(neurons.size, dtype=np.int64), kinks.after])
        # pair by pair in order of time: a slide ends with the next event of its pair
        order = np.lexsort((time, sample, neuron))
        neuron, sample, time, side = neuron[order], sample[order], time[order], side[order]
        goes_on = np.ones(side.size, dtype=np.bool_)
        goes_on[:-1] = (np.diff(neuron) != 0) | (np.diff(sample) != 0)
        end = np.where(goes_on, self.time, np.roll(time, -1))
        after = np.where(goes_on, 0, np.roll(side, -1))
        slides = np.flatnonzero(side == 0)
        slides = slides[np.argsort(time[slides], kind="stable")]
        return Slides(*(array[slides] for array in (neuron, sample, time, end, after)))


# ------------------------------------------------------------------------------------------ solve


def solve(
    sample: Sample,
    network: Network,
    log_alpha: float,
    stop: Stop,
    loss: Loss | None = None,
    tolerance: float = 1e-8,
    *,
    max_steps: int = 20_000,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    """Integrate the gradient flow of one network on one sample.

    Parameters
    ----------
    sample : Sample
        n samples in d dimensions.
    network : Network
        The alpha-free shape W [h, d], V [h].
    log_alpha : float
        Natural logarithm of alpha; -5000 is an ordinary number here.
    stop : Stop
        From `stop_at_risk`, `stop_at_margin`, `stop_at_time` or `stop_at_norm`.
    loss : Loss
        Default ``LogisticLoss(factor=1, reduction="mean")``.
    tolerance : float
        On what is reported: the relative error of the stopping time, the error of any log-norm and
        of any direction.  The estimate is in `Trajectory.error_estimate`.
    max_steps : int
        Limit on the steps of one solution.
    progress : callable
        Called about ten times a second with the time reached and the distance to the stop.

    Returns
    -------
    Trajectory

    Raises
    ------
    ProblemError
        Sample, network, loss and stop do not fit together, or the risk cannot be reached by any
        function (equal inputs with different labels).
    ToleranceError
        The tolerance is not positive or below 1e-12.

    Notes
    -----
    Between kinks and for constant residuals the motion is closed form; steps join such motions by
    the fourth-order commutator-free Magnus method of Blanes and Moan (2006).  See docs/method.md.

    Examples
    --------
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -700.0, stop_at_risk(0.1))
    >>> round(run.risk, 6)
    0.1
    """
    loss = LogisticLoss() if loss is None else loss
    _check(sample, network, log_alpha, stop, loss, tolerance, max_steps)
    task = _Task.of(sample, network, float(log_alpha), stop, loss, max_steps)
    if progress is None:
        solution = _solve_to(task, tolerance)
    else:
        solution = _with_progress(task, tolerance, progress)
    return _trajectory(sample, network, float(log_alpha), stop, loss, tolerance, solution)


class _Solution(NamedTuple):
    """What the kernels return for one problem."""

    problem: Any
    method: Any
    outcome: Outcome
    time: float
    snapshot: Snapshot
    wave: Any
    events: int
    frozen_flows: float
    rounding: float  # what it may have grown to, relative to a neuron
    error: float


class _Task(NamedTuple):
    """One problem in the form the kernels take."""

    problem: Any
    stop: Any
    weights: FloatArray
    output: FloatArray
    log_alpha: float
    control: FloatArray  # time, distance to the stop, steps tried, cancelled

    @classmethod
    def of(
        cls,
        sample: Sample,
        network: Network,
        log_alpha: float,
        stop: Stop,
        loss: Loss,
        max_steps: int,
    ) -> _Task:
        from . import _kernels

        kinds = {
            "time": _kernels.STOP_TIME,
            "risk": _kernels.STOP_RISK,
            "margin": _kernels.STOP_MARGIN,
            "norm": _kernels.STOP_NORM,
        }
        mask = _counted(sample, stop)
        target = stop.target
        if stop.quantity == "norm":
            target = float(np.log(target))
        if stop.quantity == "risk" and loss.reduction == "mean":
            target *= np.count_nonzero(mask) / sample.n
        problem = _kernels.Problem(
            sample.x,
            sample.x.T.copy(order="C"),
            sample.y,
            sample.norms,
            np.int64(loss.kind),
            loss.weight(sample.n),
        )
        rule = _kernels.Stop(kinds[stop.quantity], target, mask, max_steps)
        return cls(problem, rule, network.weights, network.output, log_alpha, np.zeros(4))


def _counted(sample: Sample, stop: Stop) -> NDArray[np.bool_]:
    if stop.over == "all":
        return np.ones(sample.n, dtype=np.bool_)
    return np.asarray(sample.y == (1.0 if stop.over == "positive" else -1.0))


def _check(
    sample: Sample,
    network: Network,
    log_alpha: float,
    stop: Stop,
    loss: Loss,
    tolerance: float,
    max_steps: int,
) -> None:
    if not np.isfinite(tolerance) or tolerance < SMALLEST_TOLERANCE:
        raise ToleranceError(
            f"tolerance is {tolerance:g}; float64 can deliver {SMALLEST_TOLERANCE:g} and larger"
        )
    if not np.isfinite(log_alpha):
        raise ProblemError(f"log_alpha is {log_alpha}; give the finite natural logarithm of alpha")
    if max_steps < 1:
        raise ProblemError(f"max_steps is {max_steps}; it must be at least 1")
    largest = network.max_row_norm * float(np.max(np.abs(network.output))) * sample.max_norm
    if 2 * log_alpha + np.log(max(largest, 1e-300) * network.width) > LARGEST_LOG_OUTPUT:
        raise ProblemError(
            f"log_alpha is {log_alpha:g}: outputs of size exp({2 * log_alpha:.0f}) leave nothing "
            "of the labels in float64; choose a smaller alpha"
        )
    if sample.dimension != network.dimension:
        raise ProblemError(
            f"the sample has dimension {sample.dimension}, the network {network.dimension}; "
            "make the network with dimension=sample.dimension"
        )
    if loss.needs_labels or stop.quantity == "margin" or stop.over != "all":
        sample.require_labels(f"{type(loss).__name__} with this stop")
    if not _counted(sample, stop).any():
        raise ProblemError(f"no sample is {stop.over}, so stopping over them means nothing")
    if stop.quantity == "risk":
        _check_reachable(sample, stop, loss)


def _check_reachable(sample: Sample, stop: Stop, loss: Loss) -> None:
    """No function gives equal inputs different outputs: their smallest common risk is a floor."""
    counted = _counted(sample, stop)
    floor = 0.0
    _, group, sizes = np.unique(sample.x, axis=0, return_inverse=True, return_counts=True)
    for repeated in np.flatnonzero(sizes > 1):
        y = sample.y[counted & (group.ravel() == repeated)]
        if y.size < 2 or np.ptp(y) == 0:
            continue
        best = float(np.mean(y))
        if not isinstance(loss, SquareLoss):
            log_odds = np.log(np.count_nonzero(y > 0) / np.count_nonzero(y < 0))
            best = float(log_odds if isinstance(loss, LogisticLoss) else 0.5 * log_odds)
        floor += (
            loss.risk(np.full(y.size, best), y) * loss.weight(counted.sum()) / loss.weight(y.size)
        )
    if floor >= stop.target:
        raise ProblemError(
            f"the risk cannot fall to {stop.target:g}: samples with equal x and different y keep "
            f"it above {floor:g}; remove them (Sample.repeated lists them) or stop earlier"
        )


def _solve_to(task: _Task, tolerance: float) -> _Solution:
    """Solve at two local tolerances, refined until they agree; the finer solution is returned."""
    local = tolerance
    coarse = _integrate(task, local)
    flows = coarse.frozen_flows
    if coarse.outcome is Outcome.ALREADY_THERE:
        return coarse._replace(error=0.0)
    best = coarse._replace(error=np.inf)
    for _ in range(MAX_REFINEMENTS):
        local /= REFINEMENT
        fine = _integrate(task, local)
        flows += fine.frozen_flows
        if fine.outcome is coarse.outcome is not Outcome.REACHED:
            fine = _to_same_end(task, coarse, local)
            flows += fine.frozen_flows
        error = _difference(coarse, fine) + fine.rounding
        if error < best.error or best.error == np.inf:
            best = fine._replace(error=error)
        if error <= tolerance or local < 1e-15 or task.control[3] or fine.outcome in _LIMITS:
            break
        if fine.rounding > tolerance:
            break
        coarse = fine
        local *= min(1.0, max(1e-3, REFINEMENT * 0.3 * tolerance / error))
    return best._replace(frozen_flows=flows)


def _to_same_end(task: _Task, coarse: _Solution, local: float) -> _Solution:
    """Where a run ends that misses the stop is arbitrary: compare it at the same time."""
    from . import _kernels

    rule = task.stop._replace(kind=_kernels.STOP_TIME, target=coarse.time)
    return _integrate(task._replace(stop=rule), local)._replace(outcome=coarse.outcome)


def _difference(first: _Solution, second: _Solution) -> float:
    """The largest difference in what is reported."""
    if first.outcome is not second.outcome:
        return float(np.inf)
    a, b = first.snapshot, second.snapshot
    if not (np.isfinite(a.log_norm).all() and np.isfinite(b.log_norm).all()):
        return float(np.inf)  # a neuron has rounded to zero: nothing is known of its direction
    gaps = [
        float(np.max(np.abs(a.log_norm - b.log_norm))),
        float(np.max(np.linalg.norm(a.direction - b.direction, axis=1))),
    ]
    if first.outcome is Outcome.REACHED:
        gaps.append(abs(first.time - second.time) / max(second.time, 1e-300))
    return max(gaps)


def _integrate(task: _Task, local: float) -> _Solution:
    from . import _kernels

    method = _method(task, local)
    why, time, state, outputs, wave, steps, events, flows = _kernels.integrate(
        task.problem, method, task.stop, task.weights, task.output, task.log_alpha, task.control
    )
    corners = int(wave.first[steps])
    trimmed = _kernels.Wave(
        wave.began[:steps].copy(),
        wave.length[:steps].copy(),
        wave.coefficients[:steps].copy(),
        wave.first[: steps + 1].copy(),
        wave.when[:corners].copy(),
        wave.size[:corners].copy(),
    )
    return _Solution(
        task.problem,
        method,
        _OUTCOMES[int(why)],
        float(time),
        _snapshot(float(time), state.weights, state.amplitude, outputs),
        trimmed,
        int(events),
        flows / task.output.size,
        _rounding(task, state),
        float(np.inf),
    )


def _rounding(task: _Task, state: Any) -> float:
    """The largest error that rounding may have grown to in a neuron, relative to its size.

    Both (w, v) and an error in it grow by at most exp(integral of ||G||). A neuron that shrinks by
    k e-folds along its own force, v = -||w||, falls behind by 2 k: its manifold is unstable.
    """
    start = np.hypot(np.linalg.norm(task.weights, axis=1), task.output)
    end = np.hypot(np.linalg.norm(state.weights, axis=1), state.amplitude[:, 0])
    with np.errstate(divide="ignore"):  # a neuron may have rounded to zero
        growth = state.amplitude[:, 1] - task.log_alpha + np.log(end / start)
    behind = float(np.max(state.amplitude[:, 2] - growth))
    return float(np.finfo(np.float64).eps * np.exp(min(behind, MOST_FOLDS)))


# A finer solution that meets a limit too is not refined further.
_LIMITS = (Outcome.STEP_LIMIT, Outcome.STEP_TOO_SMALL)

# In the order of the kernels' codes.
_OUTCOMES = (
    Outcome.REACHED,
    Outcome.DEAD,
    Outcome.STATIONARY,
    Outcome.STALLED,
    Outcome.STEP_LIMIT,
    Outcome.STEP_TOO_SMALL,
    Outcome.ALREADY_THERE,
)


def _method(task: _Task, local: float) -> Any:
    from . import _kernels

    nodes, fit = _collocation(SUBSTEPS)
    norms = bool(task.stop.kind == _kernels.STOP_NORM)
    return _kernels.Method(nodes, fit, local, 0.03 * local, norms)


@cache
def _collocation(substeps: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Lobatto nodes on [0, 1], and the matrix from values there to coefficients.

    The nodes are the ends and the roots of P'_substeps.
    """
    inner = np.polynomial.legendre.Legendre.basis(substeps).deriv().roots().real
    nodes = np.concatenate([[0.0], 0.5 * (np.sort(inner) + 1.0), [1.0]])
    return nodes, np.ascontiguousarray(np.linalg.inv(np.vander(nodes, increasing=True)))


def _snapshot(
    time: Any, weights: FloatArray, amplitude: FloatArray, outputs: FloatArray
) -> Snapshot:
    norm = np.linalg.norm(weights, axis=-1)
    output, log_scale = amplitude[..., 0], amplitude[..., 1]
    # a neuron that shrinks along its own direction for ever rounds to zero in the end
    with np.errstate(divide="ignore", invalid="ignore"):
        log_norm, direction = np.log(norm) + log_scale, weights / norm[..., None]
        log_output = np.log(np.abs(output)) + log_scale
    return Snapshot(
        time,
        log_norm,
        direction,
        log_output,
        np.sign(output),
        np.array(outputs),
    )


def _replay(
    solution: _Solution, network: Network, log_alpha: float, times: FloatArray, capacity: int
) -> tuple[Snapshot, IntArray, Kinks]:
    from . import _kernels

    saved, pattern, events, unresolved = _kernels.replay(
        solution.problem,
        solution.method,
        network.weights,
        network.output,
        log_alpha,
        solution.wave,
        times,
        capacity,
    )
    if unresolved:
        raise ToleranceError(
            f"{unresolved} parts of the run meet more kinks than they can hold: at the local "
            f"tolerance {solution.method.tolerance:.1e} its inside is not resolved; choose another"
        )
    if capacity and events.count[0] != capacity:
        raise ToleranceError(
            f"the solution met {capacity} kinks and its replay {events.count[0]}: at the local "
            f"tolerance {solution.method.tolerance:.1e} they are not resolved; choose another"
        )
    order = np.argsort(events.time, kind="stable")
    kinks = Kinks(
        events.time[order],
        events.neuron[order],
        events.sample[order],
        events.before[order].astype(np.int64),
        events.after[order].astype(np.int64),
    )
    snapshot = _snapshot(times, saved.weights, saved.amplitude, saved.outputs)
    return snapshot, pattern.astype(np.int64), kinks


def _trajectory(
    sample: Sample,
    network: Network,
    log_alpha: float,
    stop: Stop,
    loss: Loss,
    tolerance: float,
    solution: _Solution,
) -> Trajectory:
    return Trajectory(
        sample=sample,
        network=network,
        log_alpha=log_alpha,
        stop=stop,
        loss=loss,
        tolerance=tolerance,
        outcome=solution.outcome,
        time=solution.time,
        error_estimate=solution.error,
        frozen_flows=round(solution.frozen_flows),
        steps=int(solution.wave.length.size),
        final=solution.snapshot,
        _solution=solution,
    )


def _with_progress(
    task: _Task, tolerance: float, progress: Callable[[float, float], None]
) -> _Solution:
    """Solve in a thread, so that progress is shown and an interrupt ends it at once."""
    with ThreadPoolExecutor(1) as pool, _cancelled_on_error(task.control):
        future = pool.submit(_solve_to, task, tolerance)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(0.1):
            progress(float(task.control[0]), float(task.control[1]))
        return future.result()


@contextmanager
def _cancelled_on_error(control: FloatArray) -> Iterator[None]:
    try:
        yield
    except BaseException:
        control[3] = 1.0
        raise


# ------------------------------------------------------------------------------------- solve_many


def solve_many(
    samples: Sequence[Sample],
    networks: Sequence[Network],
    log_alphas: ArrayLike,
    stop: Stop,
    loss: Loss | None = None,
    tolerance: float = 1e-8,
    *,
    keep_directions: bool = True,
    workers: int | None = None,
    max_steps: int = 20_000,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Solve sample k with network k, each at every alpha, on all cores.

    Parameters
    ----------
    samples, networks : sequences of equal length
        Networks of one width and dimension.
    log_alphas : array [a]
    stop, loss, tolerance, max_steps
        As for `solve`.
    keep_directions : bool
        Keep w_j / ||w_j|| at the end, the only large result (h d numbers a trajectory).
    workers : int
        Threads; default one per core.  The kernels run outside Python's lock.
    progress : callable
        Called with the number of trajectories done and their total, after each.

    Returns
    -------
    xarray.Dataset
        Dimensions ``sample``, ``alpha``, ``neuron`` (and ``dimension``); variables ``time``,
        ``outcome`` (the name of the `Outcome`), ``risk``, ``error_estimate``, ``kinks``,
        ``frozen_flows``, ``log_norm``, ``log_output``, ``sign``, ``direction``.  A trajectory's
        numbers do not depend on the others.

    Raises
    ------
    ProblemError, ToleranceError
        As for `solve`; and lists of different lengths or networks of different shapes.

    Examples
    --------
    >>> from overalign.problem import GaussianMixture
    >>> mixture = GaussianMixture(5, kappa=3.0, sigma=0.3)
    >>> samples = [mixture.sample(6, seed=k) for k in range(2)]
    >>> networks = [Network.random(8, 5, seed=k) for k in range(2)]
    >>> result = solve_many(samples, networks, [-9.0, -3.0], stop_at_risk(0.1))
    >>> dict(result.sizes)
    {'sample': 2, 'alpha': 2, 'neuron': 8, 'dimension': 5}
    """
    loss = LogisticLoss() if loss is None else loss
    alphas = np.atleast_1d(np.asarray(log_alphas, dtype=np.float64))
    _check_batch(samples, networks, alphas)
    for sample, network in zip(samples, networks, strict=True):
        for log_alpha in alphas:
            _check(sample, network, float(log_alpha), stop, loss, tolerance, max_steps)
    results = _Results.empty(len(samples), alphas.size, networks[0], keep_directions)
    costly_first = np.argsort(-alphas, kind="stable").tolist()
    cells = [(k, a) for a in costly_first for k in range(len(samples))]
    cancelled = threading.Event()

    def solve_cell(cell: tuple[int, int]) -> None:
        k, a = cell
        if not cancelled.is_set():
            task = _Task.of(samples[k], networks[k], float(alphas[a]), stop, loss, max_steps)
            results.put(k, a, _solve_to(task, tolerance), loss, samples[k])

    _run_cells(solve_cell, cells, workers or os.cpu_count() or 1, cancelled, progress)
    return results.dataset(alphas, stop, loss, tolerance)


def _check_batch(
    samples: Sequence[Sample], networks: Sequence[Network], alphas: FloatArray
) -> None:
    if len(samples) != len(networks) or not samples:
        raise ProblemError(
            f"{len(samples)} samples and {len(networks)} networks: sample k goes with network k, "
            "so give equally many, at least one"
        )
    if alphas.ndim != 1 or alphas.size == 0:
        raise ProblemError("log_alphas must be a number or a list of at least one")
    shapes = {(network.width, network.dimension) for network in networks}
    if len(shapes) > 1:
        raise ProblemError(f"networks of one shape are needed, got {sorted(shapes)}")


def _run_cells(
    solve_cell: Callable[[tuple[int, int]], None],
    cells: list[tuple[int, int]],
    workers: int,
    cancelled: threading.Event,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Run the cells on threads; the first error, or an interrupt, cancels the rest."""
    with ThreadPoolExecutor(workers) as pool:
        futures: list[Future[None]] = [pool.submit(solve_cell, cell) for cell in cells]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(cells))
        except BaseException:
            cancelled.set()
            raise


@dataclass
class _Results:
    """Arrays filled trajectory by trajectory: [sample, alpha, ...]."""

    numbers: dict[str, FloatArray]
    outcome: NDArray[np.str_]

    @classmethod
    def empty(cls, samples: int, alphas: int, network: Network, directions: bool) -> _Results:
        shape = (samples, alphas)
        neuron = (*shape, network.width)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("time", "risk", "error_estimate", "kinks", "frozen_flows"), shape
        )
        shapes |= dict.fromkeys(("log_norm", "log_output", "sign"), neuron)
        if directions:
            shapes["direction"] = (*neuron, network.dimension)
        longest = max(len(outcome.name) for outcome in Outcome)
        numbers = {name: np.full(size, np.nan) for name, size in shapes.items()}
        return cls(numbers, np.full(shape, "", dtype=f"<U{longest}"))

    def put(self, k: int, a: int, solution: _Solution, loss: Loss, sample: Sample) -> None:
        end = solution.snapshot
        values: dict[str, Any] = {
            "time": solution.time,
            "risk": loss.risk(end.outputs, sample.y),
            "error_estimate": solution.error,
            "kinks": solution.events,
            "frozen_flows": solution.frozen_flows,
            "log_norm": end.log_norm,
            "log_output": end.log_output,
            "sign": end.sign,
            "direction": end.direction,
        }
        for name, array in self.numbers.items():
            array[k, a] = values[name]
        self.outcome[k, a] = solution.outcome.name

    def dataset(self, alphas: FloatArray, stop: Stop, loss: Loss, tolerance: float) -> xr.Dataset:
        import xarray as xr

        dims = ("sample", "alpha", "neuron", "dimension")
        variables: dict[str, Any] = {
            name: (dims[: array.ndim], array, _ATTRIBUTES[name])
            for name, array in self.numbers.items()
        }
        variables["outcome"] = (dims[:2], self.outcome, {"long_name": "why it ended"})
        return xr.Dataset(
            variables,
            coords={"log_alpha": ("alpha", alphas, {"long_name": "natural logarithm of alpha"})},
            attrs=describe_problem(stop, loss, tolerance),
        )


_ATTRIBUTES = {
    "time": {"long_name": "time at the end", "units": "time of the loss"},
    "risk": {"long_name": "risk over all samples at the end", "units": "loss"},
    "error_estimate": {"long_name": "estimated error of what is reported", "units": "1"},
    "kinks": {"long_name": "number of changes of pattern", "units": "1"},
    "frozen_flows": {"long_name": "frozen flows of the network", "units": "1"},
    "log_norm": {"long_name": "log ||w_j|| at the end", "units": "1"},
    "log_output": {"long_name": "log |v_j| at the end", "units": "1"},
    "sign": {"long_name": "sign of v_j", "units": "1"},
    "direction": {"long_name": "w_j / ||w_j|| at the end", "units": "1"},
}


def describe_problem(stop: Stop, loss: Loss, tolerance: float) -> dict[str, Any]:
    """The conventions that are stored with every result.

    Returns
    -------
    dict
        Loss, factor, reduction, stop and tolerance, as attributes of a Dataset.

    Examples
    --------
    >>> describe_problem(stop_at_risk(0.1), LogisticLoss(), 1e-8)["loss"]
    'LogisticLoss'
    """
    return {
        "loss": type(loss).__name__,
        "loss_factor": loss.factor,
        "loss_reduction": loss.reduction,
        "stop": stop.quantity,
        "stop_target": stop.target,
        "stop_over": stop.over,
        "tolerance": tolerance,
    }
