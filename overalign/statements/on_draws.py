"""Left sides that are found without the flow: on cones, by draws, by descent steps.

Draws give a fraction or a mean with six standard errors, so that thousands of checks raise no false
alarm; they are seeded by the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..alignment import Cone, angle
from ..errors import ScopeError
from ..excess_error import angle_excess_error, max_margin_direction, over_alignment
from ..observation import Measured, Problem
from ..problem import GaussianMixture
from .on_the_flow import of_both_classes

FloatArray: TypeAlias = NDArray[np.float64]

SIGMAS = 6.0  # standard errors in an error
NUMBERS = 1_500_000  # normals that one check may draw
CONE_POINTS = 64  # directions of a cone that are looked at
ANGLES = (0.1, 0.3, 0.6, 1.2, 2.5)
GRID = 4001


# ---------------------------------------------------------------- helpers


def _mixture(problem: Problem) -> GaussianMixture:
    if problem.mixture is None:
        raise ScopeError("the law of the data is not known")
    return problem.mixture


def _generator(problem: Problem, stream: int) -> np.random.Generator:
    return np.random.default_rng((problem.seed, stream))


def _facts(problem: Problem, label: int, *names: str) -> dict[str, float]:
    facts = problem.facts(label)
    if missing := [name for name in names if name not in facts]:
        raise ScopeError(f"the problem has no {missing[0]}: one class has no direction")
    return {name: facts[name] for name in names}


def _sets(per_set: float) -> int:
    """How many data sets of so many normals are drawn."""
    return int(np.clip(NUMBERS // per_set, 200, 20_000))


def _fraction(hits: NDArray[np.bool_]) -> tuple[float, float]:
    """A fraction and half the length of its interval (Wilson's, at SIGMAS)."""
    count, share, z = hits.size, float(hits.mean()), SIGMAS
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return share, half + abs(centre - share)


def _mean(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), SIGMAS * float(values.std(ddof=1)) / math.sqrt(values.size)


def _classes(
    problem: Problem, stream: int, sets: int, size: int, dimension: int
) -> tuple[FloatArray, FloatArray]:
    """Unconditioned classes u_i = y_i x_i [sets, size, d], and the signal."""
    mixture = _mixture(problem)
    noise = _generator(problem, stream).standard_normal((sets, size, dimension))
    return mixture.kappa * mixture.direction + mixture.sigma * noise, mixture.direction


def _ratio_of(parameters: dict[str, float]) -> float:
    return parameters["kappa"] / parameters["sigma"]


def _error_of(ratio: float, cosine: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return np.asarray(ndtr(-ratio * cosine))


def _cone(problem: Problem, label: int) -> tuple[Cone, FloatArray, dict[str, float]]:
    """The cone of a class at the stop, the signal of the class, and the statement's quantities."""
    mixture, aligned = _mixture(problem), problem.alignment
    of = aligned.positive if label == 1 else aligned.negative
    theta_c = float(of.cone_angle[-1])
    if math.isnan(theta_c):
        raise ScopeError(f"no live neuron with output sign {label:+d}")
    signal = label * mixture.direction
    names = ("kappa", "sigma")
    parameters = _facts(problem, label, *names)
    parameters |= {"phi": float(angle(of.class_direction, signal)), "theta_c": theta_c}
    return Cone(of.class_direction, theta_c), signal, parameters


def _least_over_section(parameters: dict[str, float]) -> float:
    """Smallest E - E* in the plane of axis and signal, by a grid that closes in.

    The angle to the signal depends on the azimuth monotonically, so the extremes lie in the plane.
    """
    reach, phi, ratio = parameters["theta_c"], parameters["phi"], _ratio_of(parameters)
    low, high, least = -reach, reach, math.inf
    for _ in range(14):
        tilt = np.linspace(low, high, 41)
        away = np.abs(phi - tilt)
        gaps = angle_excess_error(np.minimum(away, 2.0 * math.pi - away), ratio, 1.0)
        k, step = int(np.argmin(gaps)), tilt[1] - tilt[0]
        least = min(least, float(gaps[k]))
        low, high = max(-reach, tilt[k] - step), min(reach, tilt[k] + step)
    return least


# ---------------------------------------------------------------- directions and cones


def errors_of_directions(problem: Problem) -> Measured:
    """E(v) by draws, for directions at several angles to the signal."""
    mixture = _mixture(problem)
    if mixture.dimension < 2:
        raise ScopeError("in one dimension there is no angle")
    facts = _facts(problem, 1, "kappa", "sigma")
    u, signal = _classes(problem, 1, 1, _sets(mixture.dimension) * 4, mixture.dimension)
    sideways = np.eye(mixture.dimension)[np.argmin(np.abs(signal))]
    sideways = sideways - (sideways @ signal) * signal
    sideways /= np.linalg.norm(sideways)
    found = []
    for theta in ANGLES:
        v = math.cos(theta) * signal + math.sin(theta) * sideways
        found.append(_fraction(u[0] @ v <= 0.0))
    values, errors = zip(*found, strict=True)
    return Measured(values, facts | {"theta": ANGLES}, errors, how="draws of test points")


def _least_error(problem: Problem, label: int) -> Measured:
    """inf over the cone of E, by a search over its section, less E*."""
    _, _, parameters = _cone(problem, label)
    value = _least_over_section(parameters)
    error = 1e-12 * value + 1e-25
    return Measured(value, parameters, error, {"label": label}, "search over the cone")


least_error = of_both_classes(_least_error)


def _distance(problem: Problem, label: int) -> Measured:
    """Angle of the signal to the closest vector of the cone."""
    cone, signal, parameters = _cone(problem, label)
    value = float(angle(cone.closest(signal), signal))
    parameters = {name: parameters[name] for name in ("phi", "theta_c")}
    return Measured(value, parameters, 1e-12, {"label": label}, "closest point of the cone")


distance = of_both_classes(_distance)


def _slope(problem: Problem, label: int) -> Measured:
    """dOA / dtheta_c by differences of fourth order."""
    _, _, parameters = _cone(problem, label)
    phi, theta = parameters["phi"], parameters["theta_c"]
    ratio = _ratio_of(parameters)
    step = 1e-2 * min(phi - theta, 0.1 / (1.0 + ratio))
    if step <= 0.0 or theta < 2.0 * step:
        raise ScopeError("the cone is too narrow, or holds the signal")
    at = theta + step * np.array([-2.0, -1.0, 1.0, 2.0])
    values = over_alignment(phi, at, ratio, 1.0)
    value = float(np.array([1.0, -8.0, 8.0, -1.0]) @ values) / (12.0 * step)
    error = 1e-14 * float(values.max()) / step + 1e-7 * abs(value)
    return Measured(value, parameters, error, {"label": label}, "differences")


slope = of_both_classes(_slope)


def _over_fitting(problem: Problem, label: int) -> Measured:
    """E(w_hat) less the smallest E of the cone."""
    _, signal, parameters = _cone(problem, label)
    aligned, ratio = problem.alignment, _ratio_of(parameters)
    of = aligned.positive if label == 1 else aligned.negative
    away = angle(of.predictor[-1], signal)
    value = float(angle_excess_error(away, ratio, 1.0)) - _least_over_section(parameters)
    off = min(float(away) + 4.0 * problem.error, math.pi)
    error = abs(float(angle_excess_error(off, ratio, 1.0) - angle_excess_error(away, ratio, 1.0)))
    return Measured(value, parameters, error + 1e-12 * value, {"label": label})


over_fitting = of_both_classes(_over_fitting)


def typical_errors(problem: Problem) -> Measured:
    """Mean over a uniform azimuth, by quadrature over its law on the sphere."""
    parameters = _facts(problem, 1, "kappa", "sigma", "phi", "dimension")
    if parameters["dimension"] < 3:
        raise ScopeError("the azimuth needs three dimensions")
    t = (np.arange(GRID) + 0.5) * math.pi / GRID  # xi = cos t on the sphere orthogonal to the mean
    log_weight = (parameters["dimension"] - 3) * np.log(np.sin(t))
    weight = np.exp(log_weight - log_weight.max())
    theta, phi = np.array(ANGLES)[:, None], parameters["phi"]
    cosine = math.cos(phi) * np.cos(theta) + math.sin(phi) * np.sin(theta) * np.cos(t)
    value = _error_of(_ratio_of(parameters), cosine) @ weight / weight.sum()
    return Measured(value, parameters | {"theta": ANGLES}, 1e-9, how="quadrature over the azimuth")


def _gains(parameters: dict[str, float]) -> tuple[FloatArray, FloatArray]:
    """OA(0) - OA(theta) for cones that do not hold the signal; from tiny angles to phi."""
    phi, ratio = parameters["phi"], _ratio_of(parameters)
    theta = phi * np.concatenate([np.geomspace(1e-6, 1e-2, 200), np.linspace(1e-2, 1.0, GRID)])
    return theta, over_alignment(phi, 0.0, ratio, 1.0) - over_alignment(phi, theta, ratio, 1.0)


def largest_slope(problem: Problem) -> Measured:
    """The largest a with OA(theta) + a sin(theta) < OA(0) for some theta."""
    parameters = _facts(problem, 1, "kappa", "sigma", "phi")
    theta, gain = _gains(parameters)
    quotient = gain / np.sin(theta)
    if not (quotient > 0.0).all():
        raise ScopeError("there is no over-alignment to lose, within float64")
    best = int(np.argmax(quotient))
    error = 1e-13 * float(gain.max()) / math.sin(theta[best]) + 1e-5 * quotient[best]
    return Measured(float(quotient[best]), parameters, error, how="search over the cone angle")


def optimal_angle(problem: Problem) -> Measured:
    """The cone angle that minimises OA + a sin(theta), for half the largest slope."""
    from scipy.optimize import minimize_scalar

    from ..special import density

    parameters = _facts(problem, 1, "kappa", "sigma", "phi")
    phi, ratio = parameters["phi"], _ratio_of(parameters)
    a = 0.5 * ratio * math.sin(phi) * float(density(ratio * math.cos(phi)))
    if a < 1e-300:
        raise ScopeError("over-alignment is below what float64 resolves")

    def total(theta: float) -> float:
        return float(over_alignment(phi, theta, ratio, 1.0)) / a + math.sin(theta)

    grid = np.linspace(0.0, phi, GRID)
    k = int(np.argmin([total(theta) for theta in grid[:: GRID // 200]])) * (GRID // 200)
    ends = grid[max(k - GRID // 200, 0)], grid[min(k + GRID // 200, GRID - 1)]
    found = minimize_scalar(total, bounds=ends, method="bounded", options={"xatol": 1e-12})
    return Measured(float(found.x), parameters | {"slope": a}, 1e-6, how="minimisation")


# ---------------------------------------------------------------- laws, by draws


def _axis_cone(
    problem: Problem, dimension: int, parameters: dict[str, float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """An axis at angle phi to the signal, the signal, and directions of the cone about the axis."""
    signal = np.eye(dimension)[0]
    axis = math.cos(parameters["phi"]) * signal + math.sin(parameters["phi"]) * np.eye(dimension)[1]
    sideways = _generator(problem, 2).standard_normal((CONE_POINTS, dimension))
    sideways -= (sideways @ axis)[:, None] * axis
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    theta = parameters["theta_c"]
    edge = math.cos(theta) * axis + math.sin(theta) * sideways
    return axis, signal, np.vstack([axis, edge])


def _cone_facts(problem: Problem) -> tuple[dict[str, float], int, int]:
    _, _, parameters = _cone(problem, 1)
    facts = _facts(problem, 1, "dimension", "class_size")
    if facts["dimension"] < 2:
        raise ScopeError("in one dimension there is no cone")
    return parameters | facts, int(facts["dimension"]), int(facts["class_size"])


def _classes_about(
    problem: Problem, stream: int, parameters: dict[str, float], size: int, dimension: int
) -> FloatArray:
    """Classes with the signal along the first axis, [sets, size, d]."""
    sets = _sets(size * dimension)
    u = _generator(problem, stream).standard_normal((sets, size, dimension))
    u *= parameters["sigma"]
    u[..., 0] += parameters["kappa"]
    return np.asarray(u)


def rademacher(problem: Problem) -> Measured:
    """Mean over samples and signs of the largest <v, q> over the cone, exact for each q."""
    parameters, dimension, size = _cone_facts(problem)
    axis, _, _ = _axis_cone(problem, dimension, parameters)
    u = _classes_about(problem, 3, parameters, size, dimension)
    signs = _generator(problem, 4).choice([-1.0, 1.0], size=u.shape[:2])
    q = np.einsum("si,sid->sd", signs, u) / size
    along = q @ axis
    across = np.linalg.norm(q - along[:, None] * axis, axis=1)
    theta = parameters["theta_c"]
    inside = np.arctan2(across, along) <= theta
    largest = np.where(
        inside, np.hypot(along, across), math.cos(theta) * along + math.sin(theta) * across
    )
    # the mean of <axis, q> is zero: subtracting it takes its noise away
    value, error = _mean(largest - along)
    return Measured(value, parameters, error, how="draws of samples and signs")


def uniform_deviation(problem: Problem) -> Measured:
    """The 1 - delta quantile of sup (R - Rhat)(v) + (Rhat - R)(v*) over directions of the cone."""
    parameters, dimension, size = _cone_facts(problem)
    axis, signal, cone = _axis_cone(problem, dimension, parameters)
    best = Cone(axis, parameters["theta_c"]).closest(signal)
    v = np.vstack([cone, best])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    margins = parameters["kappa"] * (v @ signal)[:, None] + parameters["sigma"] * nodes
    risk = np.logaddexp(0.0, -margins) @ (weights / weights.sum())
    u = _classes_about(problem, 5, parameters, size, dimension)
    deviation = risk - np.logaddexp(0.0, -(u @ v.T)).mean(axis=1)
    value, error = _quantile(deviation.max(axis=1) - deviation[:, -1], 0.95)
    parameters = parameters | {"lipschitz": 1.0, "delta": 0.05}
    return Measured(value, parameters, error, how="draws of samples, directions of the cone")


def margin_errors(problem: Problem) -> Measured:
    """The 1 - delta quantile of the largest E(v) over directions whose margins are all >= gamma."""
    parameters, dimension, size = _cone_facts(problem)
    axis, signal, v = _axis_cone(problem, dimension, parameters)
    gamma = 0.5 * parameters["kappa"] * float(axis @ signal)
    if gamma <= 0.0:
        raise ScopeError("the axis of the cone points away from the signal")
    error_of = _error_of(_ratio_of(parameters), v @ signal)
    u = _classes_about(problem, 6, parameters, size, dimension)
    reached = (u @ v.T).min(axis=1) >= gamma
    value, error = _quantile(np.where(reached, error_of, 0.0).max(axis=1), 0.95)
    parameters = parameters | {"margin": gamma, "delta": 0.05}
    return Measured(value, parameters, error, how="draws of samples, directions of the cone")


def _quantile(values: FloatArray, level: float) -> tuple[float, float]:
    """A quantile, and its distance to the order statistic that many standard errors higher."""
    ordered, count = np.sort(values), values.size
    reach = SIGMAS * math.sqrt(count * level * (1.0 - level))
    k = int(level * count)
    high = ordered[min(count - 1, math.ceil(k + reach))]
    return float(ordered[k]), float(high - ordered[k])


def same_class_rules(problem: Problem) -> Measured:
    """Mean E of other rules that see one class, less that of its mean, relative to the latter."""
    mixture, facts = _mixture(problem), _facts(problem, 1, "dimension", "class_size")
    size, dimension = int(facts["class_size"]), int(facts["dimension"])
    if size < 2 or dimension < 2 or mixture.kappa == 0.0:
        raise ScopeError("one sample, one dimension or no signal leaves no other rule")
    generator = _generator(problem, 8)
    noise = generator.standard_normal((_sets(size * dimension), size, dimension))
    signal = generator.standard_normal((len(noise), dimension))
    signal /= np.linalg.norm(signal, axis=1, keepdims=True)
    u = mixture.kappa * signal[:, None] + mixture.sigma * noise
    weights = generator.exponential(size=u.shape[:2])
    mean = u.sum(axis=1)
    tilt = generator.standard_normal(mean.shape)
    tilt *= 0.3 * np.linalg.norm(mean, axis=1, keepdims=True) / math.sqrt(dimension)
    rules = {
        "reweighted": np.einsum("si,sid->sd", weights, u),
        "median": np.median(u, axis=1),
        "tilted": mean + tilt,
    }
    ratio = mixture.kappa / mixture.sigma

    def error_of(v: FloatArray) -> FloatArray:
        along = np.einsum("sd,sd->s", v, signal[: len(v)])
        return _error_of(ratio, along / np.linalg.norm(v, axis=1))

    some = slice(0, 100)  # the largest margin takes an optimisation for each set
    margin = np.array([max_margin_direction(rows) for rows in u[some]])
    margin = np.where(np.isnan(margin), mean[some], margin)  # none separates: no other rule
    of_mean = error_of(mean)
    pairs = [_mean(error_of(v) - of_mean) for v in rules.values()]
    pairs.append(_mean(error_of(margin) - of_mean[some]))
    values, errors = np.array(pairs).T / of_mean.mean()
    return Measured(values, {}, errors, {"rule": [0, 1, 2, 3]}, "draws of samples")


def class_mean_angles(problem: Problem) -> Measured:
    """P(phi <= a) by draws of classes, at three a about the centre."""
    u, signal, facts = _drawn_means(problem)
    phi = angle(u, signal)
    at = np.quantile(phi, [0.1, 0.5, 0.9])
    drawn, signal, _ = _drawn_means(problem, 10)  # others than those that chose the angles
    phi = angle(drawn, signal)
    values, errors = zip(*(_fraction(phi <= a) for a in at), strict=True)
    return Measured(values, facts | {"phi": at}, errors, how="draws of classes")


def median_class_mean_angle(problem: Problem) -> Measured:
    """Median of phi by draws."""
    u, signal, facts = _drawn_means(problem, 11)
    phi = np.sort(angle(u, signal))
    reach = int(SIGMAS * 0.5 * math.sqrt(phi.size)) + 1
    middle = phi.size // 2
    error = 0.5 * float(phi[min(middle + reach, phi.size - 1)] - phi[max(middle - reach, 0)])
    return Measured(float(phi[middle]), facts, error, how="draws of classes")


def _drawn_means(
    problem: Problem, stream: int = 9
) -> tuple[FloatArray, FloatArray, dict[str, float]]:
    facts = _facts(problem, 1, "dimension", "class_size", "kappa", "sigma")
    size, dimension = int(facts["class_size"]), int(facts["dimension"])
    if dimension < 2:
        raise ScopeError("in one dimension there is no angle")
    u, signal = _classes(problem, stream, _sets(size * dimension), size, dimension)
    return u.sum(axis=1), signal, facts


def violating_pairs(problem: Problem) -> Measured:
    """P(a pair violates separability at lambda) by draws of pairs."""
    facts = _facts(problem, 1, "kappa", "sigma", "dimension")
    dimension = int(facts["dimension"])
    u, _ = _classes(problem, 12, _sets(2 * dimension), 2, dimension)
    product = np.einsum("sd,sd->s", u[:, 0], u[:, 1])
    cosine = product / np.linalg.norm(u, axis=2).prod(axis=1)
    levels = (0.0, 0.1, 0.4)
    if (cosine > levels[0]).all():
        raise ScopeError("no drawn pair violates separability: it is too rare to be counted")
    values, errors = zip(*(_fraction(cosine <= level) for level in levels), strict=True)
    return Measured(values, facts | {"separability": levels}, errors, how="draws of pairs")


def pairs_at_zero(problem: Problem) -> Measured:
    """The same at lambda = 0, where the law is exact."""
    found = violating_pairs(problem)
    parameters = {name: array[:1] for name, array in found.parameters.items()}
    parameters.pop("separability")
    return Measured(found.value[:1], parameters, found.error[:1], how=found.how)


def separable_samples(problem: Problem) -> Measured:
    """P(a sample is separable) by draws of samples."""
    facts = _facts(problem, 1, "kappa", "sigma", "dimension", "n")
    size, dimension = int(facts["n"]), int(facts["dimension"])
    u, _ = _classes(problem, 13, min(_sets(size * dimension), 4000), size, dimension)
    unit = u / np.linalg.norm(u, axis=2, keepdims=True)
    gram = unit @ unit.swapaxes(1, 2)
    least = gram[:, ~np.eye(size, dtype=bool)].min(axis=1) if size > 1 else np.ones(len(u))
    levels = (0.0, 0.1)
    values, errors = zip(*(_fraction(least >= level) for level in levels), strict=True)
    return Measured(values, facts | {"separability": levels}, errors, how="draws of samples")


# ---------------------------------------------------------------- formulas and descent


def scale_that_reaches(name: str, *quantities: str) -> Callable[[Problem], Measured]:
    """log alpha at which a bound on the angle equals q phi, by root finding on its formula."""
    from scipy.optimize import brentq

    q = 1e-4

    def of(problem: Problem) -> Measured:
        from . import find

        facts = _facts(problem, 1, *(fact for fact in quantities if fact not in ("q", "t_1")))
        facts["q"] = q
        if "t_1" in quantities:
            facts["t_1"] = 1.0 / (facts["class_norm"] * problem.beta)
        if facts["kappa"] == 0.0 or facts["dimension"] < 2:
            raise ScopeError("there is no angle to reach")
        phi = facts["sigma"] * math.sqrt((facts["dimension"] - 1) / facts["class_size"])
        phi /= facts["kappa"]
        bound = find(name)
        names = [quantity.name for quantity in bound.quantities]
        given = {**problem.facts(1), **facts}
        rest: Any = {k: given[k] for k in names if k in given and k != "log_alpha"}
        if "time" in names:
            rest |= {"time": 1e6 / given["class_norm"] / problem.beta, "t_1": 0.0}

        def excess(log_alpha: float) -> float:
            angle_of = bound(log_alpha=log_alpha, **rest)
            angle_of = math.sqrt(2.0 * angle_of) if "time" in names else angle_of
            return math.log(angle_of / (q * phi))

        try:
            value = brentq(excess, -200.0, -12.0 - math.log(problem.sample.n), xtol=1e-13)
        except ValueError as error:
            raise ScopeError(f"the bound does not reach q phi: {error}") from error
        return Measured(value, facts, 1e-9, how=f"the formula of {name}")

    return of


def _forward(layers: list[FloatArray], x: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    """Outputs of a deep ReLU network without biases [n], and the inputs of every layer."""
    inputs = [x]
    for weights in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weights.T, 0.0))
    return (inputs[-1] @ layers[-1].T)[:, 0], inputs


def _gradient(layers: list[FloatArray], x: FloatArray, y: FloatArray, c: float) -> list[FloatArray]:
    """Gradient of mean log(1 + exp(-c y f)) in every layer."""
    outputs, inputs = _forward(layers, x)
    back = (-c * y / (1.0 + np.exp(c * y * outputs)) / y.size)[:, None]
    found = []
    for weights, entering in zip(layers[::-1], inputs[::-1], strict=True):
        found.append(back.T @ entering)
        back = (back @ weights) * (entering > 0.0)
    return found[::-1]


def _deep(problem: Problem, degree: int) -> tuple[list[FloatArray], FloatArray, FloatArray, float]:
    sample = problem.sample
    if not sample.is_classification:
        raise ScopeError("the descent that is compared needs labels")
    generator, width = _generator(problem, 20 + degree), 8
    sizes = [sample.dimension, *[width] * (degree - 1), 1]
    layers = [
        generator.standard_normal((after, before)) / math.sqrt(before)
        for before, after in pairwise(sizes)
    ]
    x = sample.x / sample.max_norm
    return layers, x, sample.y, math.exp(float(np.clip(problem.log_alpha, -2.0, 1.0)))


def multipliers(problem: Problem) -> Measured:
    """log of f(alpha theta) / f(theta) for random deep networks of several depths."""
    values, degrees, scales = [], [2, 3, 4], []
    for degree in degrees:
        layers, x, _, alpha = _deep(problem, degree)
        plain = _forward(layers, x)[0]
        scaled = _forward([alpha * weights for weights in layers], x)[0]
        k = int(np.argmax(np.abs(plain)))
        if plain[k] == 0.0:
            raise ScopeError("every output of the network is zero")
        values.append(math.log(scaled[k] / plain[k]))
        scales.append(math.log(alpha))
    parameters = {"degree": degrees, "log_alpha": scales}
    return Measured(values, parameters, 1e-11, parameters, "deep networks")


def rates(problem: Problem, steps: int = 30) -> Measured:
    """log(e_B / e) from the first step of descent; its error is how far later steps come apart."""
    found = [_rate(problem, degree, steps) for degree in (2, 3)]
    values, errors, scales = zip(*found, strict=True)
    where = {"degree": [2, 3]}
    return Measured(values, {"log_alpha": scales}, errors, where, "steps of gradient descent")


def _rate(problem: Problem, degree: int, steps: int) -> tuple[float, float, float]:
    theta, x, y, alpha = _deep(problem, degree)
    c, e = alpha**degree, 0.2
    a, b = [alpha * weights for weights in theta], [weights.copy() for weights in theta]

    def size(parts: list[FloatArray]) -> float:
        return math.sqrt(sum(float(np.sum(part**2)) for part in parts))

    first, second = size(_gradient(a, x, y, 1.0)), size(_gradient(b, x, y, c))
    if not first > 1e-12 * size(a):
        raise ScopeError("the network does not move")
    value = math.log(first / (alpha * second))
    apart = 0.0
    for _ in range(steps):
        for layers, multiplier, rate in ((a, 1.0, e), (b, c, e * math.exp(value))):
            for weights, step in zip(layers, _gradient(layers, x, y, multiplier), strict=True):
                weights -= rate * step
        ahead, behind = _forward(a, x)[0], c * _forward(b, x)[0]
        apart = max(apart, float(np.abs(ahead - behind).max() / (np.abs(ahead).max() + 1e-300)))
    return value, 1e-12 + apart, math.log(alpha)
