"""Left sides measured on the gradient flow of a problem.

Points are (time, neuron) pairs, or times, or whole runs, over both classes. Errors are those the
solver reports for log-norms and directions, carried to what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...alignment import active_pairs
from ...errors import ProblemError, ScopeError
from ...flow import Outcome, Trajectory
from ...observation import ROUNDING, Measured, Problem
from ...phases import PhaseTimes, phase_times
from ...problem import LogisticLoss
from .shared import (
    OF_A_PRODUCT,
    FloatArray,
    at_points,
    facts_of,
    live_neurons,
    log_sizes,
    of_both_classes,
    of_class,
    output_error,
    predictor_error,
    sorted_by,
    transient_time,
    window,
)

KINKS_RESOLVED = 1e-3  # error of directions up to which kinks are those of the flow
OF_A_KINK = 4.0  # relative error of the time of a kink, over that of directions
FORMULA = 1e-13  # relative error of a formula of the package in float64

# ---------------------------------------------------------------- data


@of_both_classes
def class_norms(problem: Problem, label: int) -> Measured:
    """||x_label||."""
    facts = facts_of(problem, label, "class_norm", "separability")
    value = facts["class_norm"]
    return Measured(value, facts, FORMULA * value, {"label": label}, "the sample")


def separability(problem: Problem) -> Measured:
    """The smallest signed cosine, pair by pair in plain loops."""
    x, y = problem.sample.x, problem.sample.y
    if not problem.sample.is_classification or y.size < 2:
        raise ScopeError("separability is a property of at least two samples with labels")
    least = min(
        y[i] * y[k] * float(x[i] @ x[k]) / math.sqrt(float(x[i] @ x[i]) * float(x[k] @ x[k]))
        for i in range(y.size)
        for k in range(i)
    )
    how = "a definition: against the sample's own"
    return Measured(least, {"separability": problem.sample.separability}, FORMULA, how=how)


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
    where = {
        "at_time": np.broadcast_to(problem.times[:, None], shape),
        "neuron": np.broadcast_to(np.arange(shape[1]), shape),
    }
    # a log-norm, an output, and both again in the growth
    error = 4.0 * problem.error
    return Measured(value, {"imbalance": start, "log_growth": growth}, error, where)


@of_both_classes
def closing_pairs(problem: Problem, label: int) -> Measured:
    """1 - cos of neighbouring pairs of sorted neurons, from the time at which all are sorted."""
    neurons, times = live_neurons(problem, label), problem.times
    first = _at(times, sorted_by(problem.phases))
    if neurons.size < 2:
        raise ScopeError("a class has no two live neurons")
    state = problem.states
    distance = np.linalg.norm(np.diff(state.direction[first:, neurons], axis=1), axis=-1)
    norms = state.log_norm[first:, neurons]
    growth = norms[:, 1:] + norms[:, :-1]
    growth = growth - growth[0]
    gap, off = 0.5 * distance**2, 2.0 * problem.error  # of two directions
    error = distance * off + off**2
    error = error + error[0] * np.exp(-growth) + 4.0 * problem.error * gap  # of four log-norms
    where = {
        "at_time": np.broadcast_to(times[first:, None], gap.shape),
        "neuron": np.broadcast_to(neurons[:-1], gap.shape),
        "label": label,
    }
    start = np.broadcast_to(gap[0], gap.shape)
    return Measured(gap, {"gap": start, "log_growth": growth}, error, where)


def switches(problem: Problem) -> Measured:
    """The largest number of switches of a pair."""
    kinks = problem.run.kinks
    pairs = kinks.neuron * problem.sample.n + kinks.sample
    found, counts = np.unique(pairs, return_counts=True)
    if not found.size:
        raise ScopeError("no pair switches")
    most = int(np.argmax(counts))
    neuron, sample = divmod(int(found[most]), problem.sample.n)
    # where a neuron has shrunk until rounding decides, so does it over its kinks
    error = 0.0 if problem.error < KINKS_RESOLVED else math.inf
    return Measured(int(counts[most]), {}, error, {"neuron": neuron, "sample": sample})


# ---------------------------------------------------------------- phase 1


@of_both_classes
def log_norms(problem: Problem, label: int) -> Measured:
    """log ||w_j|| of every neuron of a class, each against its own initial norm."""
    neurons = np.flatnonzero(problem.network.sign == label)
    value = problem.states.log_norm[:, neurons]
    parameters: dict[str, Any] = problem.facts(label)
    parameters |= {
        "W_max": problem.network.row_norms[neurons][None, :],
        "time": problem.times[:, None],
    }
    mask = np.ones(value.shape, dtype=bool)
    return at_points(problem, label, value, mask, neurons, parameters, problem.error)


def largest_log_norm(problem: Problem) -> Measured:
    """log max ||w_j|| at the times in the window."""
    inside = problem.times <= window(problem)
    value = problem.states.log_norm.max(axis=1)[inside]
    where = {"at_time": problem.times[inside]}
    return Measured(value, problem.facts(), problem.error, where)


def largest_output(problem: Problem) -> Measured:
    """max |f(x_i)| at the times in the window."""
    inside = problem.times <= window(problem)
    value = np.abs(problem.states.outputs).max(axis=1)[inside]
    where = {"at_time": problem.times[inside]}
    return Measured(value, problem.facts(), output_error(problem)[inside], where)


def phase_time(name: str) -> Callable[[Problem], Measured]:
    """A time of `phase_times`, for both classes where it is one of a class."""

    @of_both_classes
    def of(problem: Problem, label: int) -> Measured:
        phases = problem.phases
        value = transient_time(phases, label) if name == "T_plus" else getattr(phases, name)
        if not math.isfinite(value):
            raise ScopeError("there is no window: sqrt(h) alpha >= 1")
        how = "a definition: against phase_times"
        return Measured(value, problem.facts(label), FORMULA * value, {"label": label}, how)

    return of


@of_both_classes
def directional_errors(problem: Problem, label: int) -> Measured:
    """||P sum of (g_i - 1) y_i x_i|| over the active samples, at the times in the window."""
    sample, state, neurons = problem.sample, problem.states, live_neurons(problem, label)
    margins = sample.y * state.outputs
    logistic = isinstance(problem.loss, LogisticLoss)
    less = -np.tanh(0.5 * margins) if logistic else np.expm1(-margins)
    u = state.direction[:, neurons]
    active = active_pairs(u, sample)
    pull = np.einsum("ti,thi,id->thd", less, active, sample.signed)
    whole = np.linalg.norm(pull, axis=-1)
    pull -= np.einsum("thd,thd->th", pull, u)[..., None] * u
    value = np.linalg.norm(pull, axis=-1)
    mask = np.broadcast_to((problem.times <= window(problem))[:, None], value.shape)
    error = sample.n * sample.max_norm * output_error(problem)[:, None]
    error = error + whole * OF_A_PRODUCT * problem.error
    return at_points(problem, label, value, mask, neurons, problem.facts(label), error)


def directional_errors_of_sorted(problem: Problem) -> Measured:
    """The same for neurons that are sorted."""
    found = directional_errors(problem)
    k = np.searchsorted(problem.times, found.where["at_time"])
    return found.at(problem.alignment.is_sorted[k, found.where["neuron"].astype(int)])


@of_both_classes
def _angles(problem: Problem, label: int) -> Measured:
    """theta_j from the time at which the neuron itself is sorted to the window's end.

    t_1 is that neuron's, which makes bounds stronger than with the time of the last one.
    """
    neurons, times = live_neurons(problem, label), problem.times
    first = problem.phases.sorting_times[neurons][None, :]
    theta = problem.alignment.angle[:, neurons]
    mask = (times[:, None] >= first) & (times <= window(problem))[:, None]
    parameters: dict[str, Any] = problem.facts(label)
    parameters |= {"time": times[:, None], "t_1": first}
    return at_points(problem, label, theta, mask, neurons, parameters, problem.error)


def cosines(problem: Problem) -> Measured:
    """psi_j from the neuron's own t_1 to the window's end."""
    found = _angles(problem)
    return _of_angles(found, np.cos(found.value))


def misalignments(problem: Problem) -> Measured:
    """1 - psi_j from the neuron's own t_1 to the window's end."""
    found = _angles(problem)
    return _of_angles(found, 2.0 * np.sin(0.5 * found.value) ** 2)


def _of_angles(found: Measured, value: FloatArray) -> Measured:
    """A function of the angles of slope at most sin theta, and a bound that moves with t_1."""
    p = found.parameters
    shift = 2.0 * p["class_norm"] * p["beta"] * p["t_1"] * found.error
    error = found.value * found.error + found.error**2 + shift
    return Measured(value, p, error, found.where)


@of_both_classes
def sorting_times(problem: Problem, label: int) -> Measured:
    """When each neuron is sorted, if it starts with sign(v) <u, x_a(u)> >= 0."""
    sample, neurons = problem.sample, live_neurons(problem, label)
    u = problem.network.weights[neurons] / problem.network.row_norms[neurons, None]
    active = active_pairs(u, sample)
    along = label * np.einsum("hd,hi,id->h", u, active, sample.signed)
    count = (active & (sample.y == label)).sum(axis=1)
    value = problem.phases.sorting_times[neurons]
    chosen = (along >= 0.0) & (count >= 1) & np.isfinite(value)
    parameters = problem.facts(label) | {"active": count[chosen]}
    where = {"neuron": neurons[chosen], "label": label}
    error = OF_A_KINK * problem.error * value[chosen]
    return Measured(value[chosen], parameters, error, where)


@of_both_classes
def angles_at_transient_time(problem: Problem, label: int) -> Measured:
    """theta_j at T_+ of the class."""
    neurons, phases = live_neurons(problem, label), problem.phases
    time, t_1 = transient_time(phases, label), sorted_by(phases)
    if not t_1 <= min(window(problem), time) or time > problem.run.time:
        raise ScopeError("t_1 is not at most T_G and T_+, or the stop comes before T_+")
    theta = problem.alignment.angle[_at(problem.times, time), neurons]
    parameters = problem.facts(label) | {"t_1": t_1}
    folds = parameters["class_norm"] * problem.beta * t_1
    error = problem.error * (1.0 + 2.0 * folds * theta)
    return Measured(theta, parameters, error, {"neuron": neurons, "label": label})


@of_both_classes
def half_angles(problem: Problem, label: int) -> Measured:
    """tan(theta_j / 2) from t_1 on."""
    neurons, times, t_1 = live_neurons(problem, label), problem.times, sorted_by(problem.phases)
    theta = problem.alignment.angle[:, neurons]
    size = float(log_sizes(problem.states, neurons)[_at(times, t_1)])
    mask = np.broadcast_to((times >= t_1)[:, None], theta.shape)
    parameters: dict[str, Any] = problem.facts(label)
    parameters |= {"log_size": size, "time": times[:, None], "t_1": t_1}
    value = np.tan(0.5 * theta)
    folds = parameters["class_norm"] * problem.beta * t_1
    error = problem.error * (1.0 + value**2 + 4.0 * folds * value)
    return at_points(problem, label, value, mask, neurons, parameters, error)


def _at(times: FloatArray, time: float) -> int:
    """Index of a time that is one of the times looked at."""
    return int(np.argmin(np.abs(times - time)))


# ---------------------------------------------------------------- phase 2


@of_both_classes
def hull(problem: Problem, label: int) -> Measured:
    """Psi at every time against the smallest psi_j of a live neuron then."""
    aligned, state, of = problem.alignment, problem.states, of_class(problem, label)
    live = aligned.is_live & (state.sign == label)
    exists = live.any(axis=1)
    if not exists.any():
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    cosine = np.where(live, aligned.psi, np.inf).min(axis=1)
    error = problem.error + predictor_error(problem, label)
    where = {"at_time": problem.times[exists], "label": label}
    return Measured(of.Psi[exists], {"psi_min": cosine[exists]}, error[exists], where)


@of_both_classes
def after_sorting(problem: Problem, label: int) -> Measured:
    """Psi from t_1 on; cosines and angles at t_1, those of the samples, and the spread so far."""
    neurons, of = live_neurons(problem, label), of_class(problem, label)
    later = np.flatnonzero(problem.times >= sorted_by(problem.phases))
    theta = problem.alignment.angle[later[0], neurons]
    rows = problem.sample.y == label
    samples = problem.sample.x[rows] @ of.class_direction / problem.sample.norms[rows]
    parameters = {
        "psi_min": float(np.cos(theta).min()),
        "theta_max": float(theta.max()),
        "psi_sample": min(float(samples.min()), 1.0),
        "rho": np.maximum.accumulate(of.residual_spread(problem.loss)[later]),
    }
    error = problem.error + predictor_error(problem, label)[later]
    where = {"at_time": problem.times[later], "label": label}
    return Measured(of.Psi[later], parameters, error, where)


def reached(problem: Problem, label: int) -> tuple[Trajectory, PhaseTimes]:
    """The run to the stop over a class, which it must reach sorted, and its phases."""
    run = problem.run_of(label)
    if run.outcome is not Outcome.REACHED or not run.is_successful:
        raise ScopeError(f"the stop over the class is not reached: {run.status}")
    try:
        phases = phase_times(run, onset=False)
    except ProblemError as error:
        raise ScopeError(str(error)) from error
    sorted_by(phases)
    return run, phases


@of_both_classes
def stopping_times(problem: Problem, label: int) -> Measured:
    """t_eta of the class, with sizes and cosines at t_a: the later of t_1 and T_+."""
    run, phases = reached(problem, label)
    transient = transient_time(phases, label)
    t_a = max(phases.t_1, transient) if math.isfinite(transient) else phases.t_1
    return _stop_after(problem, label, run, t_a, run.time)


@of_both_classes
def times_since_sorting(problem: Problem, label: int) -> Measured:
    """t_eta - t_1 of the class, with the sizes at t_a = t_1."""
    run, phases = reached(problem, label)
    return _stop_after(problem, label, run, phases.t_1, run.time - phases.t_1)


def _stop_after(
    problem: Problem, label: int, run: Trajectory, t_a: float, value: float
) -> Measured:
    if t_a >= run.time:
        raise ScopeError("the stop does not come after t_a")
    neurons, sample = live_neurons(problem, label), problem.sample
    state = run.at(t_a)
    rows = sample.x[sample.y == label] / sample.norms[sample.y == label, None]
    parameters = problem.facts(label) | {
        "t_a": t_a,
        "log_size": float(log_sizes(state, neurons)),
        "mu": min(float((state.direction[neurons] @ rows.T).min()), sample.separability, 1.0),
    }
    off = run.error_estimate + ROUNDING
    # of t_eta, t_a and t_1 in its place, and of log S over its rate
    error = off * (3.0 * run.time + 2.0 / (parameters["class_norm"] * problem.beta))
    return Measured(value, parameters, error, {"label": label})
