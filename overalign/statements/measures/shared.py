"""What measures share: both classes, live neurons, times, and what errors they pass on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...alignment import ClassAlignment
from ...errors import ScopeError
from ...flow import Snapshot
from ...observation import CLASSES, Measured, Problem
from ...phases import PhaseTimes
from ...problem import GaussianMixture

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Neurons: TypeAlias = NDArray[np.intp]

# |v_j| ||w_j|| has the error of two log-norms, its direction a third; one more for the sum
OF_A_PRODUCT = 4.0


def of_both_classes(
    measure: Callable[[Problem, int], Measured],
) -> Callable[[Problem], Measured]:
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

    both.__doc__ = measure.__doc__
    return both


def live_neurons(problem: Problem, label: int) -> Neurons:
    """Neurons of a class that are not dead at the end."""
    live = np.flatnonzero(problem.alignment.is_live[-1] & (problem.network.sign == label))
    if not live.size:
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    return live


def sorted_by(phases: PhaseTimes) -> float:
    """t_1, where there is one."""
    if not math.isfinite(phases.t_1):
        raise ScopeError("t_1: not every live neuron is sorted before the stop")
    return phases.t_1


def window(problem: Problem) -> float:
    """T_G, where there is one."""
    if not math.isfinite(problem.phases.T_G):
        raise ScopeError("there is no window: sqrt(h) alpha >= 1")
    return problem.phases.T_G


def transient_time(phases: PhaseTimes, label: int) -> float:
    """T_+ of a class; not a number for sqrt(h) alpha >= 1."""
    return phases.T_plus if label == 1 else phases.T_minus


def of_class(problem: Problem, label: int) -> ClassAlignment:
    """The alignment of a class at the times looked at."""
    aligned = problem.alignment
    return aligned.positive if label == 1 else aligned.negative


def mixture_of(problem: Problem) -> GaussianMixture:
    """The law of the data, where it is known."""
    if problem.mixture is None:
        raise ScopeError("the law of the data is not known")
    return problem.mixture


def facts_of(problem: Problem, label: int, *needed: str) -> dict[str, float]:
    """`Problem.facts`, with what is needed."""
    facts = problem.facts(label)
    missing = [name for name in needed if name not in facts]
    if missing:
        raise ScopeError(f"the problem has no {missing[0]}")
    return facts


def log_sizes(state: Snapshot, neurons: Neurons) -> FloatArray:
    """log of the sum of ||w_j||^2 over neurons, [..]."""
    return np.asarray(np.logaddexp.reduce(2.0 * state.log_norm[..., neurons], axis=-1))


def output_error(problem: Problem) -> FloatArray:
    """Error of any output at the times looked at, [t]."""
    state = problem.states
    size = np.logaddexp.reduce(state.log_norm + state.log_output, axis=-1)
    return np.asarray(OF_A_PRODUCT * problem.error * problem.sample.max_norm * np.exp(size))


def predictor_error(problem: Problem, label: int) -> FloatArray:
    """Error of the direction of w_hat at the times looked at, [t]; larger where neurons cancel."""
    state, of = problem.states, of_class(problem, label)
    live = problem.alignment.is_live & (state.sign == label)
    size = np.where(live, state.log_norm + state.log_output, -np.inf)
    with np.errstate(invalid="ignore"):
        folds = np.logaddexp.reduce(size, axis=1) - of.log_norm
        return np.asarray(OF_A_PRODUCT * problem.error * np.exp(folds))


def at_points(
    problem: Problem,
    label: int,
    value: FloatArray,
    mask: BoolArray,
    neurons: Neurons,
    parameters: dict[str, Any],
    error: Any,
) -> Measured:
    """Points [time, neuron] where the mask is true."""

    def chosen(array: Any) -> FloatArray:
        return np.asarray(np.broadcast_to(array, mask.shape)[mask], dtype=np.float64)

    where = {"at_time": problem.times[:, None], "neuron": neurons[None, :], "label": float(label)}
    return Measured(
        chosen(value),
        {name: chosen(array) if np.ndim(array) else array for name, array in parameters.items()},
        chosen(error),
        {name: chosen(array) for name, array in where.items()},
    )
