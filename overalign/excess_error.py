"""Error of directions and of networks, and its parts: over-alignment and over-fitting.

Errors are 0-1 errors on the symmetric mixture. In closed form an error is P(y <v, x> <= 0) =
Phi(-(kappa / sigma) cos angle(v, s)), theory.md 4.1; differences of such errors are computed
without cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import ClassAlignment, angle
from .errors import ProblemError
from .flow import Snapshot
from .problem import GaussianMixture, Sample, Stream, as_generator

__all__ = [
    "ClassMeanAngleLaw",
    "ErrorEstimate",
    "ExcessError",
    "angle_excess_error",
    "bayes_error",
    "class_mean_angle",
    "direction_error",
    "excess_error_of",
    "held_out_error",
    "network_error",
    "over_alignment",
    "over_fitting",
    "over_fitting_in_cone",
    "reference_directions",
    "reference_errors",
]

FloatArray: TypeAlias = NDArray[np.float64]


# ---------------------------------------------------------------- error of a direction


def direction_error(direction: ArrayLike, mixture: GaussianMixture, label: int = 1) -> FloatArray:
    """Error of homogeneous linear rules on one class.

    Parameters
    ----------
    direction : array [..., d]
        v, of any positive length: w_hat_+ for label 1, w_hat_- for label -1.
    mixture : GaussianMixture
    label : {1, -1}
        The class; its signal is label * s.

    Returns
    -------
    array [...]
        E(v) = P(<v, x> <= 0 | y = label) = Phi(-(kappa / sigma) cos angle(v, label s)).

    Raises
    ------
    ProblemError
        As `angle`; or the label is neither.

    Notes
    -----
    theory.md 4.1. For the rule sign <v, x> on both classes give v with label 1.

    Examples
    --------
    >>> mixture = GaussianMixture(2, kappa=2.0, sigma=1.0)
    >>> direction_error([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], mixture)
    array([0.02275013, 0.5       , 0.97724987])
    """
    from scipy.special import ndtr

    if label not in (-1, 1):
        raise ProblemError(f"label is {label!r}, expected -1 or +1")
    away = angle(direction, label * mixture.direction)
    return np.asarray(ndtr(-mixture.kappa / mixture.sigma * np.cos(away)))


def bayes_error(mixture: GaussianMixture) -> float:
    """E* = Phi(-kappa / sigma), the smallest error of any rule.

    Examples
    --------
    >>> round(bayes_error(GaussianMixture(20, kappa=1.5, sigma=1.0)), 4)
    0.0668
    """
    from scipy.special import ndtr

    return float(ndtr(-mixture.kappa / mixture.sigma))


# ---------------------------------------------------------------- over-alignment, over-fitting


def over_alignment(
    phi: ArrayLike, theta_c: ArrayLike, kappa: ArrayLike, sigma: ArrayLike
) -> FloatArray:
    """OA: the smallest error in the cone H(alpha), less the Bayes error.

    Parameters
    ----------
    phi : array
        Angle of the class mean, the axis of the cone, to the signal; radians in [0, pi].
    theta_c : array
        Half angle of the cone, `ClassAlignment.cone_angle`; radians in [0, pi]. An angle and not
        Psi = cos theta_c, which has lost its digits near 1.
    kappa, sigma : array
        Of the mixture.

    Returns
    -------
    array
        Phi(-a cos d) - Phi(-a) with a = kappa / sigma and d = max(0, phi - theta_c); zero if and
        only if theta_c >= phi (or a = 0). Accurate to about 1e-13 of itself, however small.

    Raises
    ------
    ProblemError
        An angle outside [0, pi], a negative kappa, or a sigma that is not positive.

    Notes
    -----
    theory.md (4.1).

    Examples
    --------
    >>> over_alignment(0.8, [0.0, 0.3, 0.8, 1.0], kappa=1.5, sigma=1.0)
    array([0.0811904, 0.0272171, 0.       , 0.       ])
    """
    phi, theta_c = _angles(phi=phi, theta_c=theta_c)
    half = 0.5 * np.maximum(0.0, phi - theta_c)
    return _error_gap(half, half, _ratio(kappa, sigma))


def over_fitting(
    predictor_angle: ArrayLike,
    phi: ArrayLike,
    theta_c: ArrayLike,
    kappa: ArrayLike,
    sigma: ArrayLike,
) -> FloatArray:
    """OF: the error of the effective predictor, less the smallest in the cone H(alpha).

    Parameters
    ----------
    predictor_angle : array
        Angle of w_hat to the signal; radians in [0, pi].
    phi, theta_c, kappa, sigma : array
        As for `over_alignment`.

    Returns
    -------
    array
        Not negative for w_hat in the cone. OA + OF = `angle_excess_error`, an identity.

    Raises
    ------
    ProblemError
        As `over_alignment`.

    Notes
    -----
    theory.md 4.1.

    Examples
    --------
    >>> over_fitting(1.0, phi=0.8, theta_c=[0.2, 0.3], kappa=1.5, sigma=1.0)
    array([0.10098241, 0.1148155 ])
    """
    away, phi, theta_c = _angles(predictor_angle=predictor_angle, phi=phi, theta_c=theta_c)
    best = np.maximum(0.0, phi - theta_c)
    # a point on the surface of the cone is there to rounding only
    best = np.where(np.abs(away - best) <= _ROUNDING, away, best)
    return _error_gap(0.5 * (away + best), 0.5 * (away - best), _ratio(kappa, sigma))


def over_fitting_in_cone(
    phi: ArrayLike, theta_c: ArrayLike, kappa: ArrayLike, sigma: ArrayLike
) -> FloatArray:
    """The largest error in the cone H(alpha) less the smallest: no OF is larger.

    Parameters
    ----------
    phi, theta_c, kappa, sigma : array
        As for `over_alignment`.

    Raises
    ------
    ProblemError
        As `over_alignment`.

    Notes
    -----
    theory.md 4.2, (B1).

    Examples
    --------
    >>> over_fitting_in_cone(0.8, [0.0, 1e-9, 0.3], kappa=1.5, sigma=1.0)
    array([0.00000000e+00, 4.97288750e-10, 1.54103153e-01])
    """
    phi, theta_c = _angles(phi=phi, theta_c=theta_c)
    # where no end of [0, pi] is met the half angle itself is half the gap
    low, high = theta_c > phi, theta_c > math.pi - phi
    near, far = np.where(low, 0.0, phi - theta_c), np.where(high, math.pi, phi + theta_c)
    free = ~(low | high)
    mean = np.where(free, phi, 0.5 * (far + near))
    half = np.where(free, theta_c, 0.5 * (far - near))
    return _error_gap(mean, half, _ratio(kappa, sigma))


def angle_excess_error(
    predictor_angle: ArrayLike, kappa: ArrayLike, sigma: ArrayLike
) -> FloatArray:
    """E(v) - E*: the error of a direction at an angle to the signal, less the Bayes error.

    Raises
    ------
    ProblemError
        As `over_alignment`.

    Examples
    --------
    >>> angle_excess_error([0.0, 1e-8, 1.0], kappa=1.5, sigma=1.0)
    array([0.00000000e+00, 9.71381967e-18, 1.42032601e-01])
    """
    (away,) = _angles(predictor_angle=predictor_angle)
    return _error_gap(0.5 * away, 0.5 * away, _ratio(kappa, sigma))


class ExcessError(NamedTuple):
    """The errors of one class's effective predictor.

    Attributes
    ----------
    error : float
        E(w_hat).
    over_alignment, over_fitting : float
        OA and OF; error = Bayes error + OA + OF.

    Examples
    --------
    >>> ExcessError(0.1, 0.02, 0.01).over_alignment
    0.02
    """

    error: float
    over_alignment: float
    over_fitting: float


def excess_error_of(aligned: ClassAlignment, mixture: GaussianMixture) -> ExcessError:
    """Error, OA and OF of the effective predictor of one class, in the cone on which it lies.

    Parameters
    ----------
    aligned : ClassAlignment
        Of a single time: ``alignment_of(run.final, sample).positive``.
    mixture : GaussianMixture
        The law of the data.

    Returns
    -------
    ExcessError
        Not a number where the class has no live neuron.

    Raises
    ------
    ProblemError
        Several times; dimensions that differ.

    Examples
    --------
    >>> from overalign import Network, alignment_of, solve, stop_at_risk
    >>> mixture = GaussianMixture(20, kappa=1.5, sigma=1.0)
    >>> sample = mixture.sample(12, seed=0, separability=0.0)
    >>> run = solve(sample, Network.random(64, 20, seed=0), -7.0, stop_at_risk(0.05))
    >>> found = excess_error_of(alignment_of(run.final, sample).positive, mixture)
    >>> abs(found.error - bayes_error(mixture) - found.over_alignment - found.over_fitting) < 1e-15
    True
    """
    if aligned.predictor.ndim != 1:
        raise ProblemError(
            f"the predictor has shape {aligned.predictor.shape}; give the alignment at one time"
        )
    if not np.isfinite(aligned.predictor).all():
        return ExcessError(math.nan, math.nan, math.nan)
    signal = aligned.label * mixture.direction
    phi, cone = angle(aligned.class_direction, signal), aligned.cone_angle
    law = (mixture.kappa, mixture.sigma)
    return ExcessError(
        float(direction_error(aligned.predictor, mixture, aligned.label)),
        float(over_alignment(phi, cone, *law)),
        float(over_fitting(angle(aligned.predictor, signal), phi, cone, *law)),
    )


_ROUNDING = 16 * float(np.finfo(np.float64).eps)


def _angles(**given: ArrayLike) -> list[FloatArray]:
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for name, value in arrays.items():
        if not np.all((value >= 0.0) & (value <= math.pi)):
            raise ProblemError(f"{name} must be an angle in [0, pi] radians, got {value}")
    return list(arrays.values())


def _ratio(kappa: ArrayLike, sigma: ArrayLike) -> FloatArray:
    signal, noise = np.asarray(kappa, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if not np.all((signal >= 0.0) & np.isfinite(signal)):
        raise ProblemError(f"kappa is {signal}, expected finite numbers >= 0")
    if not np.all((noise > 0.0) & np.isfinite(noise)):
        raise ProblemError(f"sigma is {noise}, expected finite numbers > 0")
    return signal / noise


_HERMITE_TERMS = 14  # the next even one is below 1e-16 where the series is used


def _error_gap(mean: FloatArray, half: FloatArray, a: FloatArray) -> FloatArray:
    """Phi(-a cos(mean + half)) - Phi(-a cos(mean - half)), from the gap and not from a difference.

    Over a narrow gap the density is integrated by its Taylor series about the middle m, in Hermite
    polynomials: density(m) 2 w * sum of He_2k(m) w^2k / (2k + 1)! with w half the gap. Otherwise
    the two values differ by a factor, and their difference loses little.
    """
    from scipy.special import ndtr

    mean, half, a = np.broadcast_arrays(mean, half, a)
    m = a * np.cos(mean) * np.cos(half)
    w = a * np.sin(mean) * np.sin(half)
    narrow = np.abs(w) * np.maximum(np.abs(m), 1.0) <= 0.25
    result = np.empty(m.shape)
    result[narrow] = _narrow_gap(m[narrow], w[narrow])
    wide = ~narrow
    mean, half, a = mean[wide], half[wide], a[wide]
    low, high = a * np.cos(mean + half), a * np.cos(mean - half)
    result[wide] = np.where(high > 0.0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return result


def _narrow_gap(m: FloatArray, w: FloatArray) -> FloatArray:
    """Phi(m + w) - Phi(m - w) for small w, by the series."""
    both, square = m * w, w * w
    before, term = np.zeros(m.shape), np.ones(m.shape)  # He_n(m) w^n
    series = np.ones(m.shape)
    for n in range(_HERMITE_TERMS):
        before *= -n * square
        before += both * term
        before, term = term, before
        if n % 2:
            series += term / math.factorial(n + 2)
    with np.errstate(under="ignore"):
        return np.asarray(2.0 * w * series * np.exp(-0.5 * m**2) / math.sqrt(2.0 * math.pi))


# ---------------------------------------------------------------- the angle phi


def class_mean_angle(sample: Sample, mixture: GaussianMixture, label: int = 1) -> float:
    """phi: the angle of a class mean to its signal, angle(x_label, label * s); radians.

    Raises
    ------
    ProblemError
        The class is empty or sums to zero, or the dimensions differ.

    Examples
    --------
    >>> mixture = GaussianMixture(20, kappa=1.5, sigma=1.0)
    >>> 0.4 < class_mean_angle(mixture.sample(12, seed=0), mixture) < 1.3
    True
    """
    return float(angle(sample.class_direction(label), label * mixture.direction))


@dataclass(frozen=True)
class ClassMeanAngleLaw:
    """The law of phi for unconditioned data: sqrt(d - 1) cot phi ~ noncentral t.

    Parameters
    ----------
    dimension : int
        d >= 2.
    class_size : int
        Number of samples of the class, not of the whole sample.
    kappa, sigma : float
        Of the mixture.

    Raises
    ------
    ProblemError
        A parameter outside its range. In one dimension phi is 0 or pi.

    Notes
    -----
    theory.md 6.1: d - 1 degrees of freedom and noncentrality
    kappa sqrt(class_size) / sigma. Conditioning
    on separability shifts phi to smaller values.

    Examples
    --------
    >>> law = ClassMeanAngleLaw(dimension=20, class_size=5, kappa=3.0, sigma=1.0)
    >>> law.quantile([0.05, 0.5, 0.95])
    array([0.4158, 0.5691, 0.7484])
    >>> round(float(law.cdf(0.5691)), 3)
    0.5
    """

    dimension: int
    class_size: int
    kappa: float
    sigma: float

    def __post_init__(self) -> None:
        if self.dimension < 2:
            raise ProblemError(f"dimension is {self.dimension}: phi needs 2 or more to vary")
        if self.class_size < 1:
            raise ProblemError(f"class_size is {self.class_size}, expected a whole number >= 1")
        _ratio(self.kappa, self.sigma)

    @property
    def noncentrality(self) -> float:
        """tau = kappa sqrt(class_size) / sigma."""
        return self.kappa * math.sqrt(self.class_size) / self.sigma

    @property
    def centre(self) -> float:
        """arctan(sqrt(d - 1) / tau), close to the mean; radians."""
        return math.atan2(math.sqrt(self.dimension - 1), self.noncentrality)

    def cdf(self, phi: ArrayLike) -> FloatArray:
        """P(angle <= phi), for radians in [0, pi].

        Raises
        ------
        ProblemError
            An angle outside [0, pi].
        """
        from scipy.stats import nct

        (angles,) = _angles(phi=phi)
        inside = (angles > 0.0) & (angles < math.pi)
        cotangent = 1.0 / np.tan(np.where(inside, angles, 1.0))
        freedom = self.dimension - 1
        value = nct.sf(math.sqrt(freedom) * cotangent, freedom, self.noncentrality)
        return np.where(inside, value, angles >= math.pi)

    def quantile(self, q: ArrayLike) -> FloatArray:
        """Angle that a share q in [0, 1] of the samples does not exceed; radians.

        Raises
        ------
        ProblemError
            q outside [0, 1].
        """
        from scipy.stats import nct

        share = np.asarray(q, dtype=np.float64)
        if not np.all((share >= 0.0) & (share <= 1.0)):
            raise ProblemError(f"q is {share}, expected numbers in [0, 1]")
        freedom = self.dimension - 1
        t = nct.isf(share, freedom, self.noncentrality)
        return np.asarray(np.arctan2(math.sqrt(freedom), t))


# ---------------------------------------------------------------- reference directions


def reference_directions(
    sample: Sample, mixture: GaussianMixture | None = None
) -> dict[str, FloatArray]:
    """Directions that a trained network is compared with.

    Parameters
    ----------
    sample : Sample
        Both classes.
    mixture : GaussianMixture, optional
        Brings the Bayes direction.

    Returns
    -------
    dict of str to array [2, d]
        Unit vectors for the positive and for the negative class: ``bayes`` (s, -s), ``class_mean``
        (x_+, x_-), ``pooled_mean`` (the sum of u_i = y_i x_i, and its opposite),
        ``class_max_margin`` (the largest min over the class of <v, x_i>) and ``max_margin`` (the
        largest min over all samples of <v, u_i>, and its opposite). Not a number where no
        direction separates, or a sum is zero.

    Raises
    ------
    ProblemError
        A class is missing.

    Notes
    -----
    max min <v, u_i> / ||v|| is the quadratic program min ||v||^2 subject to <v, u_i> >= 1, a least
    distance problem; its dual is a non-negative least squares problem (Lawson and Hanson 1974,
    chapter 23), solved to rounding by an active set.

    Examples
    --------
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [1, 1, -1])
    >>> found = reference_directions(sample)
    >>> found["class_max_margin"]
    array([[ 0.70710678,  0.70710678],
           [-1.        ,  0.        ]])
    >>> found["pooled_mean"][0]
    array([0.89442719, 0.4472136 ])
    """
    sample.require_classification("the reference directions")
    signed, positive, negative = sample.signed, sample.y > 0, sample.y < 0
    pooled, margin = _unit_or_nan(signed.sum(axis=0)), max_margin_direction(signed)
    found = {
        "class_mean": np.stack(
            [_unit_or_nan(sample.x[rows].sum(axis=0)) for rows in (positive, negative)]
        ),
        "pooled_mean": np.stack([pooled, -pooled]),
        "class_max_margin": np.stack(
            [max_margin_direction(sample.x[rows]) for rows in (positive, negative)]
        ),
        "max_margin": np.stack([margin, -margin]),
    }
    if mixture is not None:
        found["bayes"] = np.stack([mixture.direction, -mixture.direction])
    return found


def reference_errors(sample: Sample, mixture: GaussianMixture) -> dict[str, float]:
    """Error of each of `reference_directions`, the mean over both classes.

    Raises
    ------
    ProblemError
        As `reference_directions`, or the dimensions differ.

    Examples
    --------
    >>> mixture = GaussianMixture(20, kappa=1.5, sigma=1.0)
    >>> errors = reference_errors(mixture.sample(12, seed=0), mixture)
    >>> errors["bayes"] < errors["pooled_mean"] < errors["class_mean"]
    True
    """
    return {
        name: float(
            np.mean(
                [direction_error(v, mixture, label) for v, label in zip(pair, (1, -1), strict=True)]
            )
        )
        if np.isfinite(pair).all()
        else math.nan
        for name, pair in reference_directions(sample, mixture).items()
    }


def _unit_or_nan(vector: FloatArray) -> FloatArray:
    return _unit_or(vector, np.full_like(vector, np.nan))


_SEPARATED = 1e-7  # smallest margin, of unit vectors and relative to the largest input


def max_margin_direction(rows: FloatArray) -> FloatArray:
    """Unit vector v with the largest min_i <v, rows_i> of rows [m, d]; nan if not positive."""
    from scipy.optimize import nnls

    scaled = rows / np.max(np.linalg.norm(rows, axis=1))
    system = np.vstack([scaled.T, np.ones(len(rows))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    shares, _ = nnls(system, target, maxiter=100 * len(rows))
    # at the optimum the nearest point of the hull is the direction
    hull = shares @ scaled
    v = _unit_or_nan(hull)
    return v if np.min(scaled @ v) > _SEPARATED else np.full_like(v, np.nan)


# ---------------------------------------------------------------- error of a network


@dataclass(frozen=True)
class ErrorEstimate:
    """Error of a network, the mean over both classes, with its standard error.

    Attributes
    ----------
    value : float
        Mean over the classes of P(y f(x) < 0) + P(f(x) = 0) / 2: where no neuron is active the
        network has no answer, which is counted as a coin.
    standard_error : float
        Of ``value``. If nothing wrong was met it is 1 / ``draws``, not zero.
    positive, negative : float
        Error on either class.
    undecided : float
        Mean over the classes of P(f(x) = 0).
    draws : int
        Lines of inputs, or held-out inputs.

    Examples
    --------
    >>> ErrorEstimate(0.1, 0.001, 0.08, 0.12, 0.0, 2048).relative_error
    0.01
    """

    value: float
    standard_error: float
    positive: float
    negative: float
    undecided: float
    draws: int

    @property
    def relative_error(self) -> float:
        """Standard error over value; infinite for the value 0."""
        return self.standard_error / self.value if self.value else math.inf


REPLICATES = 16  # independent scrambles of one Sobol sequence: their spread is the standard error
_FEWEST_LINES, _MOST_AT_ONCE = 64, 1024  # of a replicate and class
_PILOT_LINES, _PILOT_ROUNDS = 128, 3


def network_error(
    state: Snapshot,
    mixture: GaussianMixture,
    *,
    relative_error: float = 0.05,
    seed: int = 0,
    most_lines: int = 2**18,
) -> ErrorEstimate:
    """Probability that a network errs on fresh inputs of a mixture, however small it is.

    Parameters
    ----------
    state : Snapshot
        The network at one time: ``run.final`` or ``run.at(time)``.
    mixture : GaussianMixture
        The law of the inputs; both classes count one half.
    relative_error : float
        Lines are added until the standard error is at most this share of the value.
    seed : int
        Decides the lines. Estimates of equal seed use the same ones, so that networks compared with
        each other share most of their noise.
    most_lines : int
        Add no more lines once there are as many (at least 2048 are drawn);
        `ErrorEstimate.relative_error` tells what was reached.

    Returns
    -------
    ErrorEstimate

    Raises
    ------
    ProblemError
        Several times in ``state``, dimensions that differ, a parameter outside its range.

    Notes
    -----
    Line sampling. An input is x = m + sigma (z + t e), with t ~ N(0, 1) along a unit direction e
    and z normal across it. On the line of a z the network is piecewise linear in t, so the
    probability of a wrong sign given z is exact; only z is sampled. e is the mean of the noise that
    leads to errors: then z has mean zero among the errors, and for a linear network every line
    gives the same probability. It is found from pilot lines in a few rounds, from the mean gradient
    on; the round with the least spread counts. The z are scrambled Sobol points; the standard
    error is that of the mean of 16 independent scrambles. Source of the idea: Koutsourelakis,
    Pradlwarter, Schueller (2004), "Reliability of structures in high dimensions, part I".

    Examples
    --------
    >>> from overalign import Network, solve, stop_at_risk
    >>> mixture = GaussianMixture(20, kappa=5.0, sigma=1.0)
    >>> sample = mixture.sample(12, seed=0, separability=0.0)
    >>> run = solve(sample, Network.random(64, 20, seed=0), -7.0, stop_at_risk(0.05))
    >>> error = network_error(run.final, mixture)
    >>> error.value < 1e-5, error.relative_error < 0.05
    (True, True)
    """
    if not 0.0 < relative_error < math.inf:
        raise ProblemError(f"relative_error is {relative_error!r}, expected a positive number")
    if most_lines < 1:
        raise ProblemError(f"most_lines is {most_lines!r}, expected a whole number >= 1")
    neurons = _Neurons.of(state, mixture.dimension)
    if neurons.sign.size == 0:
        return ErrorEstimate(0.5, 0.0, 0.5, 0.5, 1.0, 0)
    classes = [_Lines(neurons, mixture, label, seed) for label in (1, -1)]
    totals, count = np.zeros((REPLICATES, 2, 2)), 0
    for normals in _scrambled_normals(mixture.dimension, seed):
        totals += np.stack([lines.wrong(normals) for lines in classes], axis=1)
        count += normals.shape[1]
        estimate = _from_replicates(totals / count, 2 * REPLICATES * count)
        if estimate.relative_error <= relative_error or estimate.draws >= most_lines:
            break
    return estimate


def _from_replicates(means: FloatArray, draws: int) -> ErrorEstimate:
    """means [replicate, class, (wrong, undecided)]."""
    both = means[:, :, 0].mean(axis=1)
    spread = float(np.std(both, ddof=1) / math.sqrt(REPLICATES))
    positive, negative = means[:, :, 0].mean(axis=0)
    value = float(both.mean())
    return ErrorEstimate(
        value,
        spread if value else 1.0 / draws,
        float(positive),
        float(negative),
        float(means[:, :, 1].mean()),
        draws,
    )


class _Neurons(NamedTuple):
    """The neurons that count: direction [h, d], log (|v_j| ||w_j||) less the largest, sign."""

    direction: FloatArray
    log_size: FloatArray
    sign: FloatArray

    @classmethod
    def of(cls, state: Snapshot, dimension: int) -> _Neurons:
        if np.ndim(state.time):
            raise ProblemError("the state holds several times; give one, as in run.at(time)")
        if state.direction.shape[1] != dimension:
            raise ProblemError(
                f"the network has dimension {state.direction.shape[1]}, the inputs {dimension}"
            )
        counted = state.sign != 0.0
        size = (state.log_norm + state.log_output)[counted]
        largest = np.max(size, initial=-np.inf)
        return cls(state.direction[counted], size - largest, state.sign[counted])

    def outputs(self, x: FloatArray) -> FloatArray:
        """f at the rows of x, each divided by the size of its largest active neuron; [m]."""
        products = np.maximum(x @ self.direction.T, 0.0)
        size = np.where(products > 0.0, self.log_size, -np.inf)
        largest = np.max(size, axis=1, keepdims=True, initial=-np.inf)
        largest[np.isneginf(largest)] = 0.0
        return np.asarray(np.sum(products * self.sign * np.exp(size - largest), axis=1))

    def mean_gradient(self, mean: FloatArray, sigma: float) -> FloatArray:
        """Mean of the gradient of f over N(mean, sigma^2 I), up to a factor; [d]."""
        from scipy.special import ndtr

        active = ndtr(self.direction @ mean / sigma)
        return np.asarray((self.sign * np.exp(self.log_size) * active) @ self.direction)


class _Lines:
    """Lines of inputs of one class along the mean noise of its errors."""

    def __init__(self, neurons: _Neurons, mixture: GaussianMixture, label: int, seed: int) -> None:
        self._neurons, self._sigma, self._label = neurons, mixture.sigma, label
        self._mean = label * mixture.kappa * mixture.direction
        start = -label * neurons.mean_gradient(self._mean, mixture.sigma)
        self._along = self._best_of(start, as_generator(seed, Stream.PILOT_LINES))

    def _best_of(self, start: FloatArray, generator: np.random.Generator) -> FloatArray:
        """The direction with the least spread of those that pilot lines lead to, one by one."""
        along, spreads = _unit_or(start, np.eye(1, start.size)[0]), {}
        for _ in range(_PILOT_ROUNDS):
            normals = generator.standard_normal((_PILOT_LINES, start.size))
            across, result = self._walk(normals, along)
            wrong = result[:, 0]
            mean = float(np.mean(wrong))
            spread = float(np.std(wrong)) / mean if mean > 0.0 else math.inf
            spreads[spread] = along
            along = _unit_or(wrong @ across + result[:, 1].sum() * along, along)
        return spreads[min(spreads)]

    def _walk(self, normals: FloatArray, along: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normals without their part along a direction, and what is wrong on their lines."""
        from ._lines import wrong_along_lines

        neurons = self._neurons
        across = normals - (normals @ along)[:, None] * along
        a = (self._mean + self._sigma * across) @ neurons.direction.T
        b = self._sigma * (neurons.direction @ along)
        result = np.empty((len(normals), 3))
        wrong_along_lines(a, b, neurons.log_size, neurons.sign, float(self._label), result)
        return across, result

    def wrong(self, normals: FloatArray) -> FloatArray:
        """Sums over the lines of each replicate: probability of error, of f = 0; [replicate, 2]."""
        replicates, count, dimension = normals.shape
        _, result = self._walk(normals.reshape(-1, dimension), self._along)
        return np.asarray(result.reshape(replicates, count, 3).sum(axis=1)[:, [0, 2]])


def _unit_or(vector: FloatArray, other: FloatArray) -> FloatArray:
    """The vector at unit length, or another where it has no direction."""
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm) if 0.0 < norm < math.inf else other


def _scrambled_normals(dimension: int, seed: int) -> Iterator[FloatArray]:
    """Blocks [replicate, m, d] of scrambled Sobol points, made normal; each as many as before."""
    yield _first_normals(dimension, seed)
    engines = _scrambles(dimension, seed)
    for engine in engines:
        engine.fast_forward(_FEWEST_LINES)
    count = _FEWEST_LINES
    while True:
        yield np.array([_normals(engine, count) for engine in engines])
        count = min(2 * count, _MOST_AT_ONCE)


@lru_cache(maxsize=8)
def _first_normals(dimension: int, seed: int) -> FloatArray:
    """Kept, because networks that are compared use the same ones."""
    return np.array([_normals(engine, _FEWEST_LINES) for engine in _scrambles(dimension, seed)])


def _scrambles(dimension: int, seed: int) -> list[Any]:
    from scipy.stats import qmc

    sequence = np.random.SeedSequence([seed, Stream.LINES])
    generators = [np.random.default_rng(child) for child in sequence.spawn(REPLICATES)]
    return [qmc.Sobol(dimension, rng=generator) for generator in generators]


def _normals(engine: Any, count: int) -> FloatArray:
    """Points of [0, 1)^d as normals; moved to the middle of their cells, since 0 is one of them."""
    from scipy.special import ndtri

    return np.asarray(ndtri(engine.random(count) + 0.5 * 2.0**-engine.bits))


# ---------------------------------------------------------------- held-out rows


def held_out_error(state: Snapshot, sample: Sample) -> ErrorEstimate:
    """Share of held-out rows on which a network errs, the mean over both classes.

    Parameters
    ----------
    state : Snapshot
        The network at one time.
    sample : Sample
        Rows that it was not trained on; labels -1 and +1, both present.

    Returns
    -------
    ErrorEstimate
        The standard error is that of the two shares; f = 0 counts one half.

    Raises
    ------
    ProblemError
        Labels that are not -1 and +1, a class that is missing, or dimensions that differ.

    Examples
    --------
    >>> from overalign import Network, read_sample, solve, stop_at_risk
    >>> from overalign.data import read_split
    >>> split = read_split("digits:3,8", n=10)
    >>> run = solve(split.train, Network.random(8, 64, seed=0), -5.0, stop_at_risk(0.3))
    >>> 0.0 < held_out_error(run.final, split.held_out).value < 0.5
    True
    """
    sample.require_classification("the held-out error")
    margins = sample.y * _Neurons.of(state, sample.dimension).outputs(sample.x)
    wrong = np.where(margins == 0.0, 0.5, margins < 0.0)
    classes = [wrong[rows] for rows in (sample.positives, sample.negatives)]
    undecided = [margins[rows] == 0.0 for rows in (sample.positives, sample.negatives)]
    positive, negative = (float(rows.mean()) for rows in classes)
    variance = sum(float(np.var(rows)) / rows.size for rows in classes)
    value = 0.5 * (positive + negative)
    return ErrorEstimate(
        value,
        0.5 * math.sqrt(variance) if value else 1.0 / sample.n,
        positive,
        negative,
        float(np.mean([rows.mean() for rows in undecided])),
        sample.n,
    )
