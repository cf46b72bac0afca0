"""Left sides of statements about laws, by draws of fresh data.

A fraction or a mean comes with six standard errors, so that thousands of checks raise no false
alarm; draws are seeded by the problem, each measure from a stream of its own.
"""

from __future__ import annotations

import math
from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

from ...alignment import Cone, angle
from ...errors import ScopeError
from ...excess_error import max_margin_direction
from ...observation import Measured, Problem
from ...problem import Stream
from .cones import ANGLES, cone_of, ratio_of
from .shared import FloatArray, facts_of, mixture_of

SIGMAS = 6.0  # standard errors in an error
NUMBERS = 500_000  # normals that one check may draw
FEWEST_SETS, MOST_SETS = 800, 10_000
GRAM_SETS = 3_000  # sets whose Gram matrices are formed
MARGIN_SETS = 50  # the largest margin takes an optimisation for each set
CONE_POINTS = 16  # directions of a cone that are looked at
DELTA = 0.05
SMALLEST_ERROR = 1e-280
TILT = 0.3  # length of a random tilt, relative to the mean


class _Stream(IntEnum):
    """A stream of random numbers for each purpose."""

    ERRORS = auto()
    CONE = auto()
    COMPLEXITY = auto()
    SIGNS = auto()
    DEVIATION = auto()
    MARGINS = auto()
    RULES = auto()
    ANGLES = auto()
    CHOSEN_ANGLES = auto()
    MEDIAN = auto()
    PAIRS = auto()
    SAMPLES = auto()


def _generator(problem: Problem, stream: _Stream) -> np.random.Generator:
    return np.random.default_rng((problem.seed, Stream.STATEMENTS, int(stream)))


def _sets(per_set: float) -> int:
    """How many data sets of so many normals are drawn."""
    return int(np.clip(NUMBERS // per_set, FEWEST_SETS, MOST_SETS))


def _fraction(hits: NDArray[np.bool_]) -> tuple[float, float]:
    """A fraction, and how far the ends of Wilson's interval are from it at most."""
    count, share, z = hits.size, float(hits.mean()), SIGMAS
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return share, half + abs(centre - share)


def _mean(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), SIGMAS * float(values.std(ddof=1)) / math.sqrt(values.size)


def _quantile(values: FloatArray, level: float) -> tuple[float, float]:
    """A quantile, and how far order statistics that many standard errors off are at most."""
    ordered, count = np.sort(values), values.size
    reach = math.ceil(SIGMAS * math.sqrt(count * level * (1.0 - level)))
    k = int(level * count)
    if k + reach >= count:
        raise ScopeError("too few data sets for a quantile")
    low, high = ordered[k - reach], ordered[k + reach]
    return float(ordered[k]), float(max(high - ordered[k], ordered[k] - low))


def _error_of(ratio: float, cosine: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return np.asarray(ndtr(-ratio * cosine))


def _classes(problem: Problem, stream: _Stream, size: int, sets: int | None = None) -> FloatArray:
    """Unconditioned classes u_i = y_i x_i, [sets, size, d], the signal along the first axis."""
    mixture = mixture_of(problem)
    shape = (_sets(size * mixture.dimension) if sets is None else sets, size, mixture.dimension)
    u = mixture.sigma * _generator(problem, stream).standard_normal(shape)
    u[..., 0] += mixture.kappa
    return u


def _facts(problem: Problem) -> dict[str, float]:
    """Of problems with a mixture in two dimensions or more."""
    if mixture_of(problem).dimension < 2:
        raise ScopeError("in one dimension there is no angle")
    return facts_of(problem, 1, "kappa", "sigma", "class_size")


# ---------------------------------------------------------------- directions


def errors_of_directions(problem: Problem) -> Measured:
    """E(v) by draws, for directions at several angles to the signal."""
    facts = _facts(problem)
    u = _classes(problem, _Stream.ERRORS, 1, NUMBERS // int(facts["dimension"]))[:, 0]
    along, across = u[:, 0], u[:, 1]
    found = [_fraction(math.cos(t) * along + math.sin(t) * across <= 0.0) for t in ANGLES]
    values, errors = zip(*found, strict=True)
    return Measured(values, facts | {"theta": ANGLES}, errors, how="draws of test points")


def same_class_rules(problem: Problem) -> Measured:
    """Mean E of other rules that see one class, less that of its mean, relative to the latter.

    The signal is uniform on the sphere, so rules need not commute with rotations.
    """
    facts, mixture = _facts(problem), mixture_of(problem)
    size, dimension = int(facts["class_size"]), mixture.dimension
    if size < 2 or mixture.kappa == 0.0:
        raise ScopeError("one sample or no signal leaves no other rule")
    generator = _generator(problem, _Stream.RULES)
    noise = generator.standard_normal((_sets(size * dimension), size, dimension))
    signal = generator.standard_normal((len(noise), dimension))
    signal /= np.linalg.norm(signal, axis=1, keepdims=True)
    u = mixture.kappa * signal[:, None] + mixture.sigma * noise

    def error_of(v: FloatArray) -> FloatArray:
        along = np.einsum("sd,sd->s", v, signal[: len(v)])
        return _error_of(ratio_of(facts), along / np.linalg.norm(v, axis=1))

    mean = u.sum(axis=1)
    weights, tilt = generator.exponential(size=u.shape[:2]), generator.standard_normal(mean.shape)
    tilt *= TILT * np.linalg.norm(mean, axis=1, keepdims=True) / math.sqrt(dimension)
    margin = np.array([max_margin_direction(rows) for rows in u[:MARGIN_SETS]])
    margin = np.where(np.isnan(margin), mean[:MARGIN_SETS], margin)  # none separates: no other rule
    rules = {
        "reweighted": np.einsum("si,sid->sd", weights, u),
        "median": np.median(u, axis=1),
        "tilted": mean + tilt,
        "max margin": margin,
    }
    of_mean = error_of(mean)
    if of_mean.mean() < SMALLEST_ERROR:
        raise ScopeError("the class mean's error is below what float64 resolves")
    pairs = [_mean(error_of(v) - of_mean[: len(v)]) for v in rules.values()]
    values, errors = np.array(pairs).T / of_mean.mean()
    return Measured(values, {}, errors, {"rule": range(len(rules))}, "draws of samples")


# ---------------------------------------------------------------- cones about a fixed axis


def _axis_cone(
    problem: Problem,
) -> tuple[dict[str, float], FloatArray, FloatArray]:
    """Quantities, an axis at angle phi to the first one, and directions of the cone about it."""
    facts = _facts(problem) | cone_of(problem, 1)[2]
    dimension, phi, theta = mixture_of(problem).dimension, facts["phi"], facts["theta_c"]
    axis = math.cos(phi) * np.eye(dimension)[0] + math.sin(phi) * np.eye(dimension)[1]
    sideways = _generator(problem, _Stream.CONE).standard_normal((CONE_POINTS, dimension))
    sideways -= (sideways @ axis)[:, None] * axis
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    return facts, axis, np.vstack([axis, math.cos(theta) * axis + math.sin(theta) * sideways])


def complexities(problem: Problem) -> Measured:
    """Mean over samples and signs of the largest <v, q> over the cone, exact for each q."""
    facts, axis, _ = _axis_cone(problem)
    u = _classes(problem, _Stream.COMPLEXITY, int(facts["class_size"]))
    signs = _generator(problem, _Stream.SIGNS).choice([-1.0, 1.0], size=u.shape[:2])
    q = np.einsum("si,sid->sd", signs, u) / u.shape[1]
    along = q @ axis
    across = np.linalg.norm(q - along[:, None] * axis, axis=1)
    theta = facts["theta_c"]
    # the largest <v, q> less <axis, q>, whose mean is zero: its noise is taken away
    edge = math.sin(theta) * across - 2.0 * math.sin(0.5 * theta) ** 2 * along
    size = np.hypot(along, across)
    inner = np.where(along > 0.0, across**2 / (size + np.abs(along)), size - along)
    value, error = _mean(np.where(np.arctan2(across, along) <= theta, inner, edge))
    return Measured(value, facts, error, how="draws of samples and signs")


def uniform_deviations(problem: Problem) -> Measured:
    """The 1 - delta quantile of sup (R - Rhat)(v) + (Rhat - R)(v*) over directions of the cone."""
    facts, axis, cone = _axis_cone(problem)
    best = Cone(axis, facts["theta_c"]).closest(np.eye(axis.size)[0])
    v = np.vstack([cone, best])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    margins = facts["kappa"] * v[:, :1] + facts["sigma"] * nodes
    risk = np.logaddexp(0.0, -margins) @ (weights / weights.sum())
    u = _classes(problem, _Stream.DEVIATION, int(facts["class_size"]))
    deviation = risk - np.logaddexp(0.0, -(u @ v.T)).mean(axis=1)
    value, error = _quantile(deviation.max(axis=1) - deviation[:, -1], 1.0 - DELTA)
    parameters = facts | {"lipschitz": 1.0, "delta": DELTA}
    how = "draws of samples, some directions of the cone"
    return Measured(value, parameters, error, how=how)


def margin_errors(problem: Problem) -> Measured:
    """The 1 - delta quantile of the largest E(v) over directions whose margins are all >= gamma."""
    facts, axis, v = _axis_cone(problem)
    gamma = 0.5 * facts["kappa"] * float(axis[0])
    if gamma <= 0.0:
        raise ScopeError("the axis of the cone points away from the signal")
    u = _classes(problem, _Stream.MARGINS, int(facts["class_size"]))
    reached = (u @ v.T).min(axis=1) >= gamma
    if reached.any(axis=1).mean() < 0.5:
        raise ScopeError("too few data sets reach the margin")
    worst = np.where(reached, _error_of(ratio_of(facts), v[:, 0]), 0.0).max(axis=1)
    value, error = _quantile(worst, 1.0 - DELTA)
    parameters = facts | {"margin": gamma, "delta": DELTA}
    how = "draws of samples, some directions of the cone"
    return Measured(value, parameters, error, how=how)


# ---------------------------------------------------------------- how data lie


def _drawn_angles(problem: Problem, stream: _Stream) -> FloatArray:
    """Angles of the means of fresh classes to the signal."""
    u = _classes(problem, stream, int(_facts(problem)["class_size"]))
    return angle(u.sum(axis=1), np.eye(u.shape[-1])[0])


def class_mean_angles(problem: Problem) -> Measured:
    """P(phi <= a) by draws of classes, at three a that other draws have chosen."""
    at = np.quantile(_drawn_angles(problem, _Stream.CHOSEN_ANGLES), [0.1, 0.5, 0.9])
    phi = _drawn_angles(problem, _Stream.ANGLES)
    values, errors = zip(*(_fraction(phi <= a) for a in at), strict=True)
    return Measured(values, _facts(problem) | {"phi": at}, errors, how="draws of classes")


def median_class_mean_angle(problem: Problem) -> Measured:
    """Median of phi by draws."""
    phi = np.sort(_drawn_angles(problem, _Stream.MEDIAN))
    reach, middle = int(SIGMAS * 0.5 * math.sqrt(phi.size)) + 1, phi.size // 2
    error = 0.5 * float(phi[min(middle + reach, phi.size - 1)] - phi[max(middle - reach, 0)])
    return Measured(float(phi[middle]), _facts(problem), error, how="draws of classes")


def violating_pairs(problem: Problem) -> Measured:
    """P(a pair violates separability at lambda) by draws of pairs."""
    u = _classes(problem, _Stream.PAIRS, 2)
    cosine = np.einsum("sd,sd->s", u[:, 0], u[:, 1]) / np.linalg.norm(u, axis=2).prod(axis=1)
    levels = (0.0, 0.1, 0.4)
    if (cosine > levels[0]).all():
        raise ScopeError("no drawn pair violates separability: it is too rare to be counted")
    values, errors = zip(*(_fraction(cosine <= level) for level in levels), strict=True)
    parameters = _facts(problem) | {"separability": levels}
    return Measured(values, parameters, errors, how="draws of pairs")


def pairs_at_zero(problem: Problem) -> Measured:
    """The same at lambda = 0, where the law is exact."""
    found = violating_pairs(problem)
    return found.at(found.parameters["separability"] == 0.0)


def separable_samples(problem: Problem) -> Measured:
    """P(a sample is separable) by draws of samples."""
    facts = _facts(problem)
    size = int(facts["n"])
    sets = min(_sets(size * facts["dimension"]), GRAM_SETS)
    u = _classes(problem, _Stream.SAMPLES, size, sets)
    unit = u / np.linalg.norm(u, axis=2, keepdims=True)
    gram = unit @ unit.swapaxes(1, 2)
    least = gram[:, ~np.eye(size, dtype=bool)].min(axis=1) if size > 1 else np.ones(sets)
    levels = (0.0, 0.1)
    values, errors = zip(*(_fraction(least >= level) for level in levels), strict=True)
    parameters = facts | {"separability": levels}
    return Measured(values, parameters, errors, how="draws of samples")
