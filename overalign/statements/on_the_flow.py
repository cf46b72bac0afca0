"""Left sides measured on the gradient flow of a problem.

Points are (time, neuron) pairs, or times, or whole runs, over both classes. Errors are those the
solver reports for log-norms and directions, carried to what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..alignment import ClassAlignment, active_pairs, alignment_of
from ..errors import ProblemError, ScopeError
from ..flow import Outcome, Snapshot, Trajectory, solve, stop_at_margin, stop_at_time
from ..limit import limit_alignment
from ..observation import CLASSES, ROUNDING, Measured, Problem
from ..phases import PhaseTimes, phase_times
from ..problem import LogisticLoss

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
ClassMeasure: TypeAlias = Callable[[Problem, int], Measured]

TINY = -2000.0  # log alpha of "alpha goes to zero"
FOLDS = (10.0, 16.0)  # by which an angle has shrunk where its power of alpha is measured
ONSET_FOLDS = (4.0, 10.0)  # the same at the onset, above the floor that the level sets
LEVEL = 1e-9  # output at which the power at the onset is measured
FINE = 1e-11  # tolerance where angles are small


def of_both_classes(measure: ClassMeasure) -> Callable[[Problem], Measured]:
    """A measure of one class, made one of both; a class without a point is left out."""

    def both(problem: Problem) -> Measured:
        parts, reason = [], "there is no point to compare at"
        for label in CLASSES:
            try:
                part = measure(problem, label)
            except ScopeError as error:
                reason = str(error)
            else:
                parts += [part] if part.value.size else []
        if not parts:
            raise ScopeError(reason)
        return Measured.joined(parts)

    return both


# ---------------------------------------------------------------- what is looked at


def _live(problem: Problem, label: int) -> NDArray[np.intp]:
    """Neurons of a class that are not dead at the end."""
    live = np.flatnonzero(problem.alignment.is_live[-1] & (problem.network.sign == label))
    if not live.size:
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    return live


def _t_1(phases: PhaseTimes) -> float:
    if not math.isfinite(phases.t_1):
        raise ScopeError("t_1: not every live neuron is sorted before the stop")
    return phases.t_1


def _window(problem: Problem) -> float:
    if not math.isfinite(problem.phases.T_G):
        raise ScopeError("there is no window: sqrt(h) alpha >= 1")
    return problem.phases.T_G


def _of_class(problem: Problem, label: int) -> ClassAlignment:
    aligned = problem.alignment
    return aligned.positive if label == 1 else aligned.negative


def _at(times: FloatArray, time: float) -> int:
    """Index of a time that is one of the times looked at."""
    return int(np.argmin(np.abs(times - time)))


def _facts(problem: Problem, label: int, *names: str) -> dict[str, float]:
    facts = problem.facts(label)
    return {name: facts[name] for name in names}


def _points(
    problem: Problem,
    label: int,
    value: Any,
    mask: BoolArray,
    neurons: NDArray[np.intp],
    parameters: dict[str, Any],
    error: Any,
) -> Measured:
    """Points [time, neuron] where the mask is true."""
    shape = mask.shape

    def chosen(array: Any) -> FloatArray:
        return np.asarray(np.broadcast_to(array, shape)[mask], dtype=np.float64)

    return Measured(
        chosen(value),
        {name: chosen(array) for name, array in parameters.items()},
        chosen(error),
        {
            "at_time": chosen(problem.times[:, None]),
            "neuron": chosen(neurons[None, :]),
            "label": chosen(float(label)),
        },
    )


def _sizes(state: Snapshot, neurons: NDArray[np.intp]) -> FloatArray:
    """log of the sum of ||w_j||^2 over neurons, [..]."""
    return np.asarray(np.logaddexp.reduce(2.0 * state.log_norm[..., neurons], axis=-1))


def _output_error(problem: Problem) -> FloatArray:
    """Error of any output at `times`, [t]."""
    state = problem.states
    size = np.logaddexp.reduce(state.log_norm + state.log_output, axis=-1)
    return np.asarray(4.0 * problem.error * problem.sample.max_norm * np.exp(size))


# ---------------------------------------------------------------- data


def class_norm(problem: Problem, label: int) -> Measured:
    """||x_label||."""
    names = ("class_size", "x_max", "x_min", "separability")
    rows = problem.sample.norms[problem.sample.y == label]
    facts = _facts(problem, label, "class_size", "separability", "class_norm")
    facts |= {"x_max": float(rows.max()), "x_min": float(rows.min())}
    value = facts["class_norm"]
    parameters = {name: facts[name] for name in names}
    return Measured(value, parameters, 1e-14 * value, {"label": label}, "the sample")


class_norms = of_both_classes(class_norm)


def keeping(measure: Callable[[Problem], Measured], *names: str) -> Callable[[Problem], Measured]:
    """The same measure with some of its parameters only."""

    def kept(problem: Problem) -> Measured:
        found = measure(problem)
        parameters = {name: found.parameters[name] for name in names}
        return Measured(found.value, parameters, found.error, found.where, found.how)

    return kept


def separability(problem: Problem) -> Measured:
    """The smallest signed cosine, pair by pair in plain loops, against the sample's own."""
    x, y = problem.sample.x, problem.sample.y
    if not problem.sample.is_classification or y.size < 2:
        raise ScopeError("separability is a property of at least two samples with labels")
    least = min(
        y[i] * y[k] * float(x[i] @ x[k]) / math.sqrt(float(x[i] @ x[i]) * float(x[k] @ x[k]))
        for i in range(y.size)
        for k in range(i)
    )
    return Measured(least, {"separability": problem.sample.separability}, 1e-14, how="the sample")


# ---------------------------------------------------------------- conservation and kinks


def imbalance(problem: Problem) -> Measured:
    """(v^2 - ||w||^2) / (v^2 + ||w||^2) at every time, with how much v^2 + ||w||^2 has grown."""
    state, network = problem.states, problem.network
    v, w = network.output**2, network.row_norms**2
    size = np.logaddexp(2.0 * state.log_norm, 2.0 * state.log_output)
    growth = size - np.log(v + w) - 2.0 * problem.log_alpha
    value = np.tanh(state.log_output - state.log_norm)
    shape = value.shape
    start = np.broadcast_to((v - w) / (v + w), shape)
    where = {"at_time": np.broadcast_to(problem.times[:, None], shape)}
    return Measured(value, {"imbalance": start, "log_growth": growth}, 4.0 * problem.error, where)


def closing_pairs(problem: Problem, label: int) -> Measured:
    """1 - cos of neighbouring pairs of sorted neurons, from the time at which all are sorted."""
    neurons, times = _live(problem, label), problem.times
    first = _at(times, _t_1(problem.phases))
    if neurons.size < 2:
        raise ScopeError("a class has no two live neurons")
    state = problem.states
    distance = np.linalg.norm(np.diff(state.direction[first:, neurons], axis=1), axis=-1)
    norms = state.log_norm[first:, neurons]
    growth = norms[:, 1:] + norms[:, :-1]
    growth = growth - growth[0]
    gap, off = 0.5 * distance**2, 2.0 * problem.error
    error = distance * off + off**2
    error = error + error[0] * np.exp(-growth) + 4.0 * problem.error * gap
    return Measured(
        gap,
        {"gap": np.broadcast_to(gap[0], gap.shape), "log_growth": growth},
        error,
        {"at_time": np.broadcast_to(times[first:, None], gap.shape), "label": label},
    )


def switches(problem: Problem) -> Measured:
    """The largest number of switches of a pair."""
    kinks = problem.run.kinks
    pairs = kinks.neuron * problem.sample.n + kinks.sample
    found, counts = np.unique(pairs, return_counts=True)
    if not found.size:
        raise ScopeError("no pair switches")
    most = int(np.argmax(counts))
    neuron, sample = divmod(int(found[most]), problem.sample.n)
    return Measured(int(counts[most]), {}, 0.0, {"neuron": neuron, "sample": sample})


# ---------------------------------------------------------------- phase 1


def log_norms(problem: Problem, label: int) -> Measured:
    """log ||w_j|| of every neuron of a class, each against its own initial norm."""
    neurons = np.flatnonzero(problem.network.sign == label)
    value = problem.states.log_norm[:, neurons]
    parameters: dict[str, Any] = _facts(problem, label, "class_norm", "log_alpha", "beta")
    parameters |= {
        "W_max": problem.network.row_norms[neurons][None, :],
        "time": problem.times[:, None],
    }
    mask = np.ones(value.shape, dtype=bool)
    return _points(problem, label, value, mask, neurons, parameters, problem.error)


def largest_log_norm(problem: Problem) -> Measured:
    """log max ||w_j|| at the times in the window."""
    inside = problem.times <= _window(problem)
    value = problem.states.log_norm.max(axis=1)[inside]
    parameters = _facts(problem, 1, "width", "W_max", "log_alpha")
    return Measured(value, parameters, problem.error, {"at_time": problem.times[inside]})


def largest_output(problem: Problem) -> Measured:
    """max |f(x_i)| at the times in the window."""
    inside = problem.times <= _window(problem)
    value = np.abs(problem.states.outputs).max(axis=1)[inside]
    parameters = _facts(problem, 1, "width", "x_max", "W_max", "log_alpha")
    error = _output_error(problem)[inside]
    return Measured(value, parameters, error, {"at_time": problem.times[inside]})


def phase_time(name: str, *quantities: str) -> Callable[[Problem], Measured]:
    """A time of `phase_times`, for both classes where it is one of a class."""

    def of(problem: Problem, label: int) -> Measured:
        attribute = "T_minus" if name == "T_plus" and label == -1 else name
        value = float(getattr(problem.phases, attribute))
        if not math.isfinite(value):
            raise ScopeError("there is no window: sqrt(h) alpha >= 1")
        parameters = _facts(problem, label, *quantities)
        return Measured(value, parameters, 1e-13 * value, {"label": label}, "phase_times")

    return of_both_classes(of)


def directional_error(sorted_only: bool, *quantities: str) -> Callable[[Problem], Measured]:
    """||P sum of (g_i - 1) y_i x_i|| over the active samples, at the times in the window."""

    def of(problem: Problem, label: int) -> Measured:
        sample, state, neurons = problem.sample, problem.states, _live(problem, label)
        margins = sample.y * state.outputs
        logistic = isinstance(problem.loss, LogisticLoss)
        less = -np.tanh(0.5 * margins) if logistic else np.expm1(-margins)
        u = state.direction[:, neurons]
        active = active_pairs(u, sample)
        pull = np.einsum("ti,thi,id->thd", less, active, sample.signed)
        pull -= np.einsum("thd,thd->th", pull, u)[..., None] * u
        value = np.linalg.norm(pull, axis=-1)
        mask = np.broadcast_to((problem.times <= _window(problem))[:, None], value.shape)
        if sorted_only:
            mask = mask & problem.alignment.is_sorted[:, neurons]
        error = sample.n * sample.max_norm * _output_error(problem)[:, None] + value * (
            4.0 * problem.error
        )
        parameters = _facts(problem, label, *quantities)
        return _points(problem, label, value, mask, neurons, parameters, error)

    return of_both_classes(of)


def cosines(with_n: bool, misalignment: bool = False) -> Callable[[Problem], Measured]:
    """psi_j (or 1 - psi_j) from the time at which the neuron itself is sorted to the window's end.

    t_1 is that neuron's, which makes the bound larger than with the time of the last one.
    """
    names = ("width", "class_norm", "x_max", "W_max", "log_alpha", "beta")

    def of(problem: Problem, label: int) -> Measured:
        neurons, times, off = _live(problem, label), problem.times, problem.error
        first = problem.phases.sorting_times[neurons][None, :]
        theta = problem.alignment.angle[:, neurons]
        value = 2.0 * np.sin(0.5 * theta) ** 2 if misalignment else np.cos(theta)
        mask = (times[:, None] >= first) & (times <= _window(problem))[:, None]
        parameters: dict[str, Any] = _facts(problem, label, *names, *(("n",) if with_n else ()))
        shift = 2.0 * parameters["class_norm"] * problem.beta * first * off
        parameters |= {"time": times[:, None], "t_1": first}
        error = theta * off + off**2 + np.nan_to_num(shift)
        return _points(problem, label, value, mask, neurons, parameters, error)

    return of_both_classes(of)


def sorting(problem: Problem, label: int) -> Measured:
    """When each neuron is sorted, if it starts with <u, x_a(u)> >= 0."""
    sample, neurons = problem.sample, _live(problem, label)
    u = problem.network.weights[neurons] / problem.network.row_norms[neurons, None]
    active = active_pairs(u, sample)
    along = label * np.einsum("hd,hi,id->h", u, active, sample.signed)
    count = (active & (sample.y == label)).sum(axis=1)
    value = problem.phases.sorting_times[neurons]
    chosen = (along >= 0.0) & (count >= 1) & np.isfinite(value)
    names = ("n", "width", "x_max", "x_min", "W_max", "log_alpha", "separability", "beta")
    parameters: dict[str, Any] = _facts(problem, label, *names, "largest_class_norm")
    parameters["active"] = count[chosen]
    where = {"neuron": neurons[chosen], "label": label}
    return Measured(value[chosen], parameters, problem.error * value[chosen], where)


def angles_at_transient_time(problem: Problem, label: int) -> Measured:
    """theta_j at T_+ of the class."""
    neurons, phases = _live(problem, label), problem.phases
    time, t_1 = phases.T_plus if label == 1 else phases.T_minus, _t_1(phases)
    if not t_1 <= min(_window(problem), time) or time > problem.run.time:
        raise ScopeError("t_1 is not at most T_G and T_+, or the stop comes before T_+")
    theta = problem.alignment.angle[_at(problem.times, time), neurons]
    names = ("width", "class_norm", "x_max", "W_max", "log_alpha", "beta")
    parameters = _facts(problem, label, *names) | {"t_1": t_1}
    shift = parameters["class_norm"] * problem.beta * t_1 * problem.error * theta
    return Measured(
        theta, parameters, problem.error + 2.0 * shift, {"neuron": neurons, "label": label}
    )


def half_angles(problem: Problem, label: int) -> Measured:
    """tan(theta_j / 2) from t_1 on."""
    neurons, times, t_1 = _live(problem, label), problem.times, _t_1(problem.phases)
    theta = problem.alignment.angle[:, neurons]
    size = float(_sizes(problem.states, neurons)[_at(times, t_1)])
    mask = np.broadcast_to((times >= t_1)[:, None], theta.shape)
    parameters: dict[str, Any] = _facts(problem, label, "class_norm", "x_max", "beta")
    parameters |= {"log_size": size, "time": times[:, None], "t_1": t_1}
    value = np.tan(0.5 * theta)
    rate = parameters["class_norm"] * problem.beta
    error = problem.error * (1.0 + value**2 + 4.0 * rate * t_1 * value)
    return _points(problem, label, value, mask, neurons, parameters, error)


# ---------------------------------------------------------------- the power of alpha


class _Scales:
    """Angles of a class at times of very small scales, and the power of alpha between two."""

    def __init__(self, problem: Problem, label: int) -> None:
        self.problem, self.label = problem.at_scale(-200.0), label
        self.neurons = _live(self.problem, label)
        facts = problem.facts(label)
        self.rate = facts["class_norm"] * problem.beta  # angles shrink like exp(-rate t)
        self.log_width = math.log(problem.network.width)
        self.t_1 = _t_1(self.problem.phases)
        if self.t_1 > min(self.problem.phases.T_plus, self.problem.phases.T_minus):
            raise ScopeError("neurons are sorted too late for the limit of small scales")

    def largest_angle(self, log_alpha: float, stop: Any) -> tuple[float, float]:
        """Largest angle at the stop, and its error."""
        problem = self.problem
        run = solve(problem.sample, problem.network, log_alpha, stop, problem.loss, FINE)
        if run.outcome is not Outcome.REACHED:
            raise ScopeError(f"no angle at a small scale: {run.status}")
        theta = alignment_of(run.final, problem.sample).angle[self.neurons]
        return float(theta.max()), run.error_estimate + ROUNDING

    def power(
        self, at: Callable[[float], tuple[float, Any]], folds: tuple[float, float] = FOLDS
    ) -> Measured:
        """d log theta / d log alpha between two scales; ``at`` gives scale and stop for a fold."""
        scales = [at(fold) for fold in folds]
        angles, errors = zip(*(self.largest_angle(*scale) for scale in scales), strict=True)
        if min(angles) < 1e3 * max(errors):
            raise ScopeError("the angle at a small scale is below what float64 resolves")
        run = scales[1][0] - scales[0][0]
        value = math.log(angles[1] / angles[0]) / run
        error = sum(error / angle for error, angle in zip(errors, angles, strict=True)) / abs(run)
        return Measured(value, {}, error, {"label": self.label}, "two runs at small scales")


def power_at_window(problem: Problem, label: int) -> Measured:
    """At the paper's window T."""
    scales, facts = _Scales(problem, label), problem.facts(label)
    per_fold = 4.0 * facts["n"] * facts["x_max"] / facts["class_norm"]

    def at(fold: float) -> tuple[float, Any]:
        folds = per_fold * (scales.rate * scales.t_1 + fold)
        time = folds / (4.0 * facts["n"] * facts["x_max"] * problem.beta)
        return -folds - 0.5 * scales.log_width, stop_at_time(time)

    found = scales.power(at)
    parameters = {name: facts[name] for name in ("n", "class_norm", "x_max")}
    return Measured(found.value, parameters, found.error, found.where, found.how)


def power_at_transient_time(problem: Problem, label: int) -> Measured:
    """At T_+ of the class."""
    scales = _Scales(problem, label)

    def at(fold: float) -> tuple[float, Any]:
        time = scales.t_1 + fold / scales.rate
        return -2.0 * scales.rate * time - 0.5 * scales.log_width, stop_at_time(time)

    return scales.power(at)


def power_at_onset(problem: Problem, label: int) -> Measured:
    """Where the smallest margin of the class is a fixed small number."""
    scales = _Scales(problem, label)

    def at(fold: float) -> tuple[float, Any]:
        log_alpha = 0.5 * math.log(LEVEL) - 0.5 * scales.log_width
        log_alpha -= scales.rate * scales.t_1 + fold
        return log_alpha, stop_at_margin(LEVEL, "positive" if label == 1 else "negative")

    return scales.power(at, ONSET_FOLDS)


# ---------------------------------------------------------------- phase 2


def hull(problem: Problem, label: int) -> Measured:
    """Psi at every time against the smallest psi_j of a live neuron then."""
    aligned, state, of = problem.alignment, problem.states, _of_class(problem, label)
    live = aligned.is_live & (state.sign == label)
    exists = live.any(axis=1)
    if not exists.any():
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    cosine = np.where(live, np.cos(aligned.angle), np.inf).min(axis=1)
    total = np.logaddexp.reduce(np.where(live, state.log_norm + state.log_output, -np.inf), axis=1)
    with np.errstate(invalid="ignore"):
        error = problem.error * (1.0 + 4.0 * np.exp(total - of.log_norm))
    where = {"at_time": problem.times[exists], "label": label}
    return Measured(of.Psi[exists], {"psi_min": cosine[exists]}, error[exists], where)


def hull_after_sorting(problem: Problem, label: int) -> Measured:
    """Psi from t_1 on, with the cosines at t_1 and those of the samples."""
    neurons, of, later = _live(problem, label), _of_class(problem, label), _after_sorting(problem)
    cosine = float(np.cos(problem.alignment.angle[later[0], neurons]).min())
    sample = problem.sample
    rows = sample.y == label
    samples = float((sample.x[rows] @ of.class_direction / sample.norms[rows]).min())
    where = {"at_time": problem.times[later], "label": label}
    parameters = {"psi_min": cosine, "psi_sample": samples}
    return Measured(of.Psi[later], parameters, 6.0 * problem.error, where)


def _after_sorting(problem: Problem) -> NDArray[np.intp]:
    return np.flatnonzero(problem.times >= _t_1(problem.phases))


def inherited(problem: Problem, label: int) -> Measured:
    """Psi from t_1 on, with the largest angle at t_1 and the largest spread so far."""
    neurons, of, later = _live(problem, label), _of_class(problem, label), _after_sorting(problem)
    theta = float(problem.alignment.angle[later[0], neurons].max())
    spread = np.maximum.accumulate(of.residual_spread(problem.loss)[later])
    where = {"at_time": problem.times[later], "label": label}
    parameters = {"theta_max": theta, "rho": spread}
    return Measured(of.Psi[later], parameters, 6.0 * problem.error, where)


def alignment_at_tiny_scale(problem: Problem, label: int) -> Measured:
    """Psi at the stop over the class at alpha = exp(-2000), with its limit."""
    tiny = problem.at_scale(TINY)
    run, phases = _reached(tiny, label)
    if phases.t_1 > 0.5 * min(phases.T_plus, phases.T_minus):
        raise ScopeError("neurons are sorted too late for the limit of small scales")
    of = alignment_of(run.final, problem.sample)
    Psi = (of.positive if label == 1 else of.negative).Psi
    try:
        limit = limit_alignment(problem.sample, problem.eta, label, problem.loss)
    except ProblemError as problem_error:
        raise ScopeError(str(problem_error)) from problem_error
    error = 6.0 * (run.error_estimate + ROUNDING)
    how = "gradient flow at alpha = exp(-2000)"
    return Measured(float(Psi), {"Psi_limit": float(limit.Psi)}, error, {"label": label}, how)


def _reached(problem: Problem, label: int) -> tuple[Trajectory, PhaseTimes]:
    """The run to the stop over a class, which it must reach sorted, and its phases."""
    run = problem.run_of(label)
    if run.outcome is not Outcome.REACHED or not run.is_successful:
        raise ScopeError(f"the stop over the class is not reached: {run.status}")
    try:
        phases = phase_times(run)
    except ProblemError as error:
        raise ScopeError(str(error)) from error
    _t_1(phases)
    return run, phases


def stopping_time(since_sorting: bool, *quantities: str) -> Callable[[Problem], Measured]:
    """t_eta of the class, with the sizes and cosines at t_a: t_1, or the later of t_1 and T_+.

    With ``since_sorting`` it is the time from t_1 on.
    """

    def of(problem: Problem, label: int) -> Measured:
        run, phases = _reached(problem, label)
        neurons = _live(problem, label)
        transient = phases.T_plus if label == 1 else phases.T_minus
        t_a = phases.t_1
        if not since_sorting and math.isfinite(transient):
            t_a = max(t_a, transient)
        if t_a >= run.time:
            raise ScopeError("the stop does not come after t_a")
        state, sample = run.at(t_a), problem.sample
        rows = sample.x[sample.y == label] / sample.norms[sample.y == label, None]
        cosine = float((state.direction[neurons] @ rows.T).min())
        facts = problem.facts(label) | {
            "t_a": t_a,
            "log_size": float(_sizes(state, neurons)),
            "mu": min(cosine, sample.separability),
        }
        off = run.error_estimate + ROUNDING
        value = run.time - (t_a if since_sorting else 0.0)
        error = off * (3.0 * run.time + 2.0 / (facts["class_norm"] * problem.beta))
        parameters = {name: facts[name] for name in quantities}
        return Measured(value, parameters, error, {"label": label})

    return of_both_classes(of)


def stopping_slope(problem: Problem, label: int) -> Measured:
    """t_eta per unit of log(1 / alpha), between two tiny scales."""
    scales = (TINY, 1.15 * TINY)
    runs = [_reached(problem.at_scale(log_alpha), label)[0] for log_alpha in scales]
    span = scales[0] - scales[1]
    value = (runs[1].time - runs[0].time) / span
    error = sum(run.error_estimate * run.time for run in runs) / span
    parameters = _facts(problem, label, "class_norm", "beta")
    return Measured(value, parameters, error, {"label": label}, "two runs at tiny scales")
