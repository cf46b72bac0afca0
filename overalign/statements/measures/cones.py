"""Left sides on the cone of a class at the stop, by search, quadrature and minimisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...alignment import Cone, angle
from ...errors import ScopeError
from ...excess_error import angle_excess_error, over_alignment
from ...observation import Measured, Problem
from ...special import compiled
from .shared import OF_A_PRODUCT, FloatArray, facts_of, mixture_of, of_both_classes, of_class

ANGLES = (0.1, 0.3, 0.6, 1.2, 2.5)  # to the class mean, where a formula has an angle of its own
GRID = 4001
ZOOMS, ZOOM_POINTS = 14, 41  # each closes in by a factor of 20
GAP = 1e-12  # relative error of excess errors, which are free of cancellation
NOTHING = 1e-25  # below any excess error that is looked at
SMALL_SHARE = 1e-4  # q, where the leading order in alpha is compared


def ratio_of(parameters: dict[str, float]) -> float:
    """kappa / sigma."""
    return parameters["kappa"] / parameters["sigma"]


def cone_of(problem: Problem, label: int) -> tuple[Cone, FloatArray, dict[str, float]]:
    """The cone of a class at the stop, the signal of the class, and the quantities."""
    signal, of = label * mixture_of(problem).direction, of_class(problem, label)
    theta_c = float(of.cone_angle[-1])
    if math.isnan(theta_c):
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    parameters = facts_of(problem, label, "kappa", "sigma", "phi") | {"theta_c": theta_c}
    return Cone(of.class_direction, theta_c), signal, parameters


def _least_excess(parameters: dict[str, float]) -> float:
    """Smallest E - E* in the plane of axis and signal, by a grid that closes in.

    The angle to the signal depends on the azimuth monotonically, so the extremes lie in the plane.
    """
    reach, phi, ratio = parameters["theta_c"], parameters["phi"], ratio_of(parameters)
    low, high, least = -reach, reach, math.inf
    for _ in range(ZOOMS):
        tilt = np.linspace(low, high, ZOOM_POINTS)
        away = np.abs(phi - tilt)
        gaps = angle_excess_error(np.minimum(away, 2.0 * math.pi - away), ratio, 1.0)
        k, step = int(np.argmin(gaps)), tilt[1] - tilt[0]
        least = min(least, float(gaps[k]))
        low, high = max(-reach, tilt[k] - step), min(reach, tilt[k] + step)
    return least


@of_both_classes
def least_errors(problem: Problem, label: int) -> Measured:
    """inf over the cone of E, less E*."""
    _, _, parameters = cone_of(problem, label)
    value = _least_excess(parameters)
    how = "search over the cone"
    return Measured(value, parameters, GAP * value + NOTHING, {"label": label}, how)


@of_both_classes
def distances(problem: Problem, label: int) -> Measured:
    """Angle of the signal to the closest vector of the cone."""
    cone, signal, parameters = cone_of(problem, label)
    value = float(angle(cone.closest(signal), signal))
    return Measured(value, parameters, GAP, {"label": label}, "closest point of the cone")


@of_both_classes
def slopes(problem: Problem, label: int) -> Measured:
    """dOA / dtheta_c by differences of fourth order."""
    _, _, parameters = cone_of(problem, label)
    phi, theta, ratio = parameters["phi"], parameters["theta_c"], ratio_of(parameters)
    # OA changes by its own size over 1 / ratio: the fourth order leaves 1e-7 of the slope
    step = 1e-2 * min(phi - theta, 0.1 / (1.0 + ratio))
    if step <= 0.0 or theta < 2.0 * step:
        raise ScopeError("the cone is too narrow, or holds the signal")
    values = over_alignment(phi, theta + step * np.array([-2.0, -1.0, 1.0, 2.0]), ratio, 1.0)
    value = float(np.array([1.0, -8.0, 8.0, -1.0]) @ values) / (12.0 * step)
    error = 0.01 * GAP * float(values.max()) / step + 1e-7 * abs(value)
    return Measured(value, parameters, error, {"label": label}, "differences")


@of_both_classes
def over_fittings(problem: Problem, label: int) -> Measured:
    """E(w_hat) less the smallest E of the cone."""
    _, signal, parameters = cone_of(problem, label)
    ratio, predictor = ratio_of(parameters), of_class(problem, label).predictor[-1]
    away = float(angle(predictor, signal))
    excess = float(angle_excess_error(away, ratio, 1.0))
    value = excess - _least_excess(parameters)
    off = min(away + OF_A_PRODUCT * problem.error, math.pi)
    error = abs(float(angle_excess_error(off, ratio, 1.0)) - excess) + GAP * excess
    return Measured(value, parameters, error, {"label": label})


def typical_errors(problem: Problem) -> Measured:
    """Mean over a uniform azimuth, by quadrature over its law on the sphere."""
    from scipy.special import ndtr

    facts = facts_of(problem, 1, "kappa", "sigma", "phi")
    if facts["dimension"] < 3:
        raise ScopeError("the azimuth needs three dimensions")
    t = (np.arange(GRID) + 0.5) * math.pi / GRID  # xi = cos t on the sphere orthogonal to the mean
    log_weight = (facts["dimension"] - 3) * np.log(np.sin(t))
    weight = np.exp(log_weight - log_weight.max())
    theta, phi = np.array(ANGLES)[:, None], facts["phi"]
    cosine = math.cos(phi) * np.cos(theta) + math.sin(phi) * np.sin(theta) * np.cos(t)
    value = ndtr(-ratio_of(facts) * cosine) @ weight / weight.sum()
    return Measured(value, facts | {"theta": ANGLES}, 1e-9, how="quadrature over the azimuth")


def largest_slopes(problem: Problem) -> Measured:
    """The largest a with OA(theta) + a sin(theta) < OA(0) for some theta up to phi."""
    facts = facts_of(problem, 1, "kappa", "sigma", "phi")
    phi, ratio = facts["phi"], ratio_of(facts)
    theta = phi * np.concatenate([np.geomspace(1e-6, 1e-2, 200), np.linspace(1e-2, 1.0, GRID)])
    gain = over_alignment(phi, 0.0, ratio, 1.0) - over_alignment(phi, theta, ratio, 1.0)
    quotient = gain / np.sin(theta)
    if not (quotient > 0.0).all():
        raise ScopeError("there is no over-alignment to lose, within float64")
    best = int(np.argmax(quotient))
    # what cancels in the gain, and what the smallest theta leaves of the limit
    error = 0.1 * GAP * float(gain.max()) / math.sin(theta[best]) + 1e-5 * quotient[best]
    return Measured(float(quotient[best]), facts, error, how="search over the cone angle")


def optimal_angle(slope: Any, symbols: tuple[Any, ...]) -> Callable[[Problem], Measured]:
    """The cone angle that minimises OA + a sin(theta), for a of an expression in symbols."""

    def of(problem: Problem) -> Measured:
        from scipy.optimize import minimize_scalar

        facts = facts_of(problem, 1, "kappa", "sigma", "phi")
        phi, ratio = facts["phi"], ratio_of(facts)
        a = float(compiled(symbols, slope)(*(facts[symbol.name] for symbol in symbols)))
        if not a > 1e-300:
            raise ScopeError("over-alignment is below what float64 resolves")

        def total(theta: Any) -> Any:
            return over_alignment(phi, theta, ratio, 1.0) / a + np.sin(theta)

        grid = np.linspace(0.0, phi, GRID)
        k = int(np.argmin(total(grid)))
        ends = grid[max(k - 1, 0)], grid[min(k + 1, GRID - 1)]
        found = minimize_scalar(total, bounds=ends, method="bounded", options={"xatol": 1e-12})
        # a minimum is flat: half of the digits
        return Measured(float(found.x), facts | {"slope": a}, 1e-6, how="minimisation")

    return of


def scale_that_reaches(
    bound: Any, target: Any, symbols: tuple[Any, ...]
) -> Callable[[Problem], Measured]:
    """log alpha at which a bound equals a target, both expressions in symbols, for a small q."""

    def of(problem: Problem) -> Measured:
        from scipy.optimize import brentq

        facts = facts_of(problem, 1, "kappa", "sigma", "class_norm")
        facts |= {"q": SMALL_SHARE, "t_1": 1.0 / (facts["class_norm"] * problem.beta)}
        if facts["kappa"] == 0.0 or facts["dimension"] < 2:
            raise ScopeError("there is no angle to reach")
        names = [symbol.name for symbol in symbols]
        both = [compiled(symbols, side) for side in (bound, target)]

        def excess(log_alpha: float) -> float:
            at = [(facts | {"log_alpha": log_alpha})[name] for name in names]
            left, right = (float(side(*at)) for side in both)
            return math.log(left / right)

        low, high = -300.0, -10.0
        if not excess(low) < 0.0 < excess(high):
            raise ScopeError("q phi is not reached at scales where the leading order rules")
        value = brentq(excess, low, high, xtol=GAP)
        return Measured(value, facts, 1e-9, how="a definition: against the bound's formula")

    return of
