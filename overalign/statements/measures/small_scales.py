"""Left sides of statements about alpha -> 0, at scales of their own choice."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...alignment import alignment_of
from ...errors import ProblemError, ScopeError
from ...flow import Outcome, Stop, solve, stop_at_margin, stop_at_time
from ...limit import limit_alignment
from ...observation import ROUNDING, Measured, Problem
from .flow import reached
from .shared import OF_A_PRODUCT, live_neurons, of_both_classes, sorted_by

TINY = -2000.0  # log alpha of limits and slopes in log(1 / alpha)
TINIER = 1.15 * TINY
SMALL = -200.0  # log alpha at which t_1 has its limit
FOLDS = (10.0, 16.0)  # by which an angle has shrunk where its power of alpha is measured
ONSET_FOLDS = (4.0, 10.0)  # the same at a fixed output, above the floor that it sets
LEVEL = 1e-9  # the output
FINE = 1e-11  # tolerance where angles are small
RESOLVED = 1e3  # errors that an angle must have

At = Callable[[float], tuple[float, Stop]]


class _Scales:
    """Angles of a class at stops of runs at small scales."""

    def __init__(self, problem: Problem, label: int) -> None:
        self.problem, self.label = problem.at_scale(SMALL), label
        self.neurons = live_neurons(self.problem, label)
        self.facts = problem.facts(label)
        self.rate = self.facts["class_norm"] * problem.beta  # angles shrink like exp(-rate t)
        self.log_width = math.log(problem.network.width)
        phases = self.problem.phases
        self.t_1 = sorted_by(phases)
        if self.t_1 > min(phases.T_plus, phases.T_minus):
            raise ScopeError("neurons are sorted too late for the limit of small scales")

    def largest_angle(self, log_alpha: float, stop: Stop) -> tuple[float, float]:
        """Largest angle at the stop, and its error."""
        problem = self.problem
        run = solve(problem.sample, problem.network, log_alpha, stop, problem.loss, FINE)
        if run.outcome is not Outcome.REACHED:
            raise ScopeError(f"no angle at a small scale: {run.status}")
        aligned = alignment_of(run.final, problem.sample)
        if not aligned.is_sorted[self.neurons].all():
            raise ScopeError("at a small scale a neuron has shrunk until rounding decides over it")
        theta = aligned.angle[self.neurons]
        return float(theta.max()), run.error_estimate + ROUNDING

    def power(self, at: At, folds: tuple[float, float] = FOLDS) -> Measured:
        """d log theta / d log alpha between two scales; ``at`` gives scale and stop for a fold."""
        scales = [at(fold) for fold in folds]
        angles, errors = zip(*(self.largest_angle(*scale) for scale in scales), strict=True)
        if min(angles) < RESOLVED * max(errors):
            raise ScopeError("the angle at a small scale is below what float64 resolves")
        run = scales[1][0] - scales[0][0]
        value = math.log(angles[1] / angles[0]) / run
        error = sum(error / angle for error, angle in zip(errors, angles, strict=True)) / abs(run)
        return Measured(value, self.facts, error, {"label": self.label}, "two runs at small scales")


@of_both_classes
def power_at_window(problem: Problem, label: int) -> Measured:
    """The power of alpha at the paper's window T."""
    scales = _Scales(problem, label)
    facts = scales.facts
    longest = 4.0 * facts["n"] * facts["x_max"]

    def at(fold: float) -> tuple[float, Stop]:
        folds = longest / facts["class_norm"] * (scales.rate * scales.t_1 + fold)
        return -folds - 0.5 * scales.log_width, stop_at_time(folds / (longest * problem.beta))

    return scales.power(at)


@of_both_classes
def power_at_transient_time(problem: Problem, label: int) -> Measured:
    """The power of alpha at T_+ of the class."""
    scales = _Scales(problem, label)

    def at(fold: float) -> tuple[float, Stop]:
        time = scales.t_1 + fold / scales.rate
        return -2.0 * scales.rate * time - 0.5 * scales.log_width, stop_at_time(time)

    return scales.power(at)


@of_both_classes
def power_at_onset(problem: Problem, label: int) -> Measured:
    """The power of alpha where the smallest margin of the class is a fixed small number."""
    scales = _Scales(problem, label)

    def at(fold: float) -> tuple[float, Stop]:
        log_alpha = 0.5 * math.log(LEVEL) - 0.5 * scales.log_width
        log_alpha -= scales.rate * scales.t_1 + fold
        return log_alpha, stop_at_margin(LEVEL, "positive" if label == 1 else "negative")

    return scales.power(at, ONSET_FOLDS)


@of_both_classes
def limit_of_alignment(problem: Problem, label: int) -> Measured:
    """Psi at the stop over the class at a tiny scale, with its limit."""
    run, phases = reached(problem.at_scale(TINY), label)
    if phases.t_1 > 0.5 * min(phases.T_plus, phases.T_minus):
        raise ScopeError("neurons are sorted too late for the limit of small scales")
    aligned = alignment_of(run.final, problem.sample)
    Psi = (aligned.positive if label == 1 else aligned.negative).Psi
    try:
        limit = limit_alignment(problem.sample, problem.eta, label, problem.loss)
    except ProblemError as problem_error:
        raise ScopeError(str(problem_error)) from problem_error
    error = 2.0 * OF_A_PRODUCT * (run.error_estimate + ROUNDING)
    how = f"gradient flow at alpha = exp({TINY:g})"
    return Measured(float(Psi), {"Psi_limit": float(limit.Psi)}, error, {"label": label}, how)


@of_both_classes
def slope_of_stopping_time(problem: Problem, label: int) -> Measured:
    """t_eta per unit of log(1 / alpha), between two tiny scales."""
    runs = [reached(problem.at_scale(log_alpha), label)[0] for log_alpha in (TINY, TINIER)]
    span = TINY - TINIER
    value = (runs[1].time - runs[0].time) / span
    error = sum(run.error_estimate * run.time for run in runs) / span
    return Measured(value, problem.facts(label), error, {"label": label}, "two runs at tiny scales")
