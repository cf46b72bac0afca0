"""Directions of neurons and effective predictors against the classes of a sample.

Angles are computed from the component orthogonal to the reference, so that an angle of 1e-12 has
its digits; the cosine of such an angle is one. Sizes stay logarithms: alpha may be exp(-5000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError
from .flow import Snapshot, Trajectory
from .problem import ExponentialLoss, LogisticLoss, Loss, Sample

__all__ = [
    "Alignment",
    "ClassAlignment",
    "Cone",
    "alignment_of",
    "angle",
    "dead_neurons",
]

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

_INACTIVE = 1e-12  # cosine with a sample on whose kink the neuron lies, up to rounding
ROUNDING = 8 * float(np.finfo(np.float64).eps)
CLASS_NAMES = {1: "positive", -1: "negative"}

# ---------------------------------------------------------------- angles and cones


def angle(direction: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Angle between directions and a reference, accurate when it is tiny.

    Parameters
    ----------
    direction : array [..., d]
        Vectors of any positive length.
    reference : array [d]
        A vector of any positive length.

    Returns
    -------
    array [...]
        Radians in [0, pi]: atan2(||u - <u, e> e||, <u, e>) with unit vectors u and e.

    Raises
    ------
    ProblemError
        A vector is zero or not finite, or the dimensions differ.

    Examples
    --------
    >>> float(angle([1.0, 1e-12], [1.0, 0.0]))
    1e-12
    >>> angle([[0.0, 2.0], [-1.0, 0.0]], [1.0, 0.0])
    array([1.57079633, 3.14159265])
    """
    e = _unit("reference", np.asarray(reference, dtype=np.float64))
    u = np.asarray(direction, dtype=np.float64)
    if e.ndim != 1 or u.ndim == 0 or u.shape[-1] != e.size:
        raise ProblemError(
            f"direction has shape {u.shape} and reference {e.shape}; expected [..., d] and [d]"
        )
    return _angle_of_units(_unit("direction", u), e)


def _angle_of_units(u: FloatArray, e: FloatArray) -> FloatArray:
    """Angle between unit vectors [..., d] and [d]; nan for nan."""
    along = u @ e
    across = u - along[..., None] * e
    return np.asarray(np.arctan2(np.linalg.norm(across, axis=-1), along))


def _unit(what: str, vectors: FloatArray) -> FloatArray:
    largest = np.max(np.abs(vectors), axis=-1, keepdims=True, initial=0.0)
    if not np.all((largest > 0) & np.isfinite(largest)):
        raise ProblemError(f"{what}: a vector is zero or not finite, so it has no direction")
    scaled = vectors / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Cone:
    """All vectors within an angle of an axis: H(alpha) = {v : <v, xbar> >= Psi ||v||}.

    Parameters
    ----------
    axis : array [d]
        A vector of any positive length, stored at unit length (and read-only).
    half_angle : float
        theta_c = arccos Psi, radians in [0, pi].

    Raises
    ------
    ProblemError
        The axis is zero, not finite or not [d]; the half angle is outside [0, pi].

    Examples
    --------
    >>> cone = Cone([2.0, 0.0, 0.0], half_angle=0.1)
    >>> bool(cone.contains([1.0, 0.05, 0.0])), bool(cone.contains([1.0, 1.0, 0.0]))
    (True, False)
    >>> nearest = cone.closest([0.0, 3.0, 0.0])
    >>> float(angle(nearest, [1.0, 0.0, 0.0])), float(angle(nearest, [0.0, 1.0, 0.0]))
    (0.1, 1.47079633)
    """

    axis: FloatArray
    half_angle: float

    def __init__(self, axis: ArrayLike, half_angle: float) -> None:
        vector = np.asarray(axis, dtype=np.float64)
        if vector.ndim != 1:
            raise ProblemError(f"axis has shape {vector.shape}; expected [d]")
        if not 0.0 <= half_angle <= math.pi:
            raise ProblemError(f"half_angle is {half_angle!r}; expected radians in [0, pi]")
        unit = _unit("axis", vector)
        unit.setflags(write=False)
        object.__setattr__(self, "axis", unit)
        object.__setattr__(self, "half_angle", float(half_angle))

    @property
    def Psi(self) -> float:
        """Cosine of the half angle."""
        return math.cos(self.half_angle)

    def contains(self, v: ArrayLike) -> BoolArray:
        """Which vectors v [..., d] lie in the cone, its surface included (to 2e-15 radians).

        Raises
        ------
        ProblemError
            As `angle`: the zero vector has no direction.
        """
        return np.asarray(angle(v, self.axis) <= self.half_angle + ROUNDING)

    def closest(self, direction: ArrayLike) -> FloatArray:
        """Unit vector of the cone closest in angle to each direction [..., d].

        With phi the angle of the direction to the axis, the distance is max(0, phi - theta_c). To
        the direction opposite to the axis the whole surface is equally close; one point is chosen.

        Returns
        -------
        array [..., d]

        Raises
        ------
        ProblemError
            As `angle`.
        """
        phi = angle(direction, self.axis)
        u = _unit("direction", np.asarray(direction, dtype=np.float64))
        if self.axis.size == 1:  # the sphere is two points, and the other one is outside
            return np.where((phi <= self.half_angle)[..., None], u, self.axis)
        across = u - (u @ self.axis)[..., None] * self.axis
        sideways = np.eye(self.axis.size)[np.argmin(np.abs(self.axis))]
        sideways = sideways - (sideways @ self.axis) * self.axis
        length = np.linalg.norm(across, axis=-1, keepdims=True)
        across = _unit("direction", np.where(length > ROUNDING, across, sideways))
        across = across - (across @ self.axis)[..., None] * self.axis  # again, without rounding
        on_surface = self.Psi * self.axis + math.sin(self.half_angle) * _unit("direction", across)
        return np.where((phi <= self.half_angle)[..., None], u, on_surface)


# ---------------------------------------------------------------- alignment of a state


@dataclass(frozen=True, eq=False)
class ClassAlignment:
    """How one class of a state is aligned; made by `alignment_of`, with its leading axes.

    Attributes
    ----------
    label : int
        +1 or -1.
    class_direction : array [d]
        xbar = x / ||x||, x the sum of the class's inputs.
    predictor : array [.., d]
        Direction of w_hat = sum of |v_j| w_j over the live neurons with sign v_j = label; nan where
        there is none.
    log_norm : array [..]
        log ||w_hat||; minus infinity where there is none.
    cone_angle : array [..]
        theta_c, the angle of w_hat to the class direction, radians.
    margins : array [.., n_class]
        y_i f(x_i) over the class, with the outputs of the whole network.

    Notes
    -----
    theory.md 3.1 and 3.3.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], [1, 1, -1])
    >>> run = solve(sample, Network.random(8, 2, seed=1), -9.0, stop_at_risk(0.1))
    >>> positive = alignment_of(run.final, sample).positive
    >>> positive.margins.shape, bool(positive.cone.contains(positive.predictor))
    ((2,), True)
    """

    label: int
    class_direction: FloatArray
    predictor: FloatArray
    log_norm: FloatArray
    cone_angle: FloatArray
    margins: FloatArray

    @property
    def Psi(self) -> FloatArray:
        """cos theta_c = <w_hat, xbar> / ||w_hat||, [..]."""
        return np.asarray(np.cos(self.cone_angle))

    @property
    def cone(self) -> Cone:
        """H(alpha): the cone around the class direction on whose surface w_hat lies.

        Raises
        ------
        ProblemError
            The state has several times, or the class no live neuron.
        """
        return single_cone(self.class_direction, self.cone_angle, self.label)

    @property
    def margin_spread(self) -> FloatArray:
        """Largest minus smallest margin, [..]."""
        return np.asarray(np.ptp(self.margins, axis=-1))

    def residual_spread(self, loss: Loss) -> FloatArray:
        """rho = (g_max - g_min) / (g_max + g_min) over the class's residuals g_i, [..].

        Neither the factor of the loss nor its reduction matters. With m_+ and m_- the largest and
        smallest margin and D = m_+ - m_-, rho = (1 - e^-D) / (1 + e^-D + 2 e^-m_+) for the logistic
        loss and tanh(D / 2), its upper bound, for the exponential loss (theory.md 3.3).

        Raises
        ------
        ProblemError
            The loss is neither: residuals of the square loss can vanish or change sign.
        """
        require_label_loss(loss, "residual_spread")
        fall = np.exp(-self.margin_spread)
        total = 1.0 + fall
        if isinstance(loss, LogisticLoss):
            with np.errstate(over="ignore"):
                total = total + 2.0 * np.exp(-np.max(self.margins, axis=-1))
        return np.asarray(-np.expm1(-self.margin_spread) / total)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Neurons and effective predictors against the classes; made by `alignment_of`.

    Attributes
    ----------
    angle : array [.., h]
        Angle of w_j to the direction of its own class: xbar_+ for v_j > 0, xbar_- for v_j < 0; nan
        for v_j = 0. Dead neurons have one too.
    is_live : array [.., h]
        Active on at least one training sample: <w_j, x_i> > 0 (to 1e-12 of the norms).
    is_sorted : array [.., h]
        Active on every sample of the own class and on no other; a sample on whose kink the neuron
        slides counts as inactive.
    positive, negative : ClassAlignment
    decoupling : array [..]
        max_i |f(x_i) - y_i <w_hat_(y_i), x_i>| / max_i |f(x_i)|, summed without cancellation: zero,
        not only to rounding, when all live neurons are sorted and none slides. nan where f = 0.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -5000.0, stop_at_risk(0.1))
    >>> aligned = alignment_of(run.final, sample)
    >>> round(float(aligned.Psi), 9), float(aligned.decoupling)
    (1.0, 0.0)
    """

    angle: FloatArray
    is_live: BoolArray
    is_sorted: BoolArray
    positive: ClassAlignment
    negative: ClassAlignment
    decoupling: FloatArray

    @property
    def psi(self) -> FloatArray:
        """psi_j = cos of `angle`, [.., h]."""
        return np.asarray(np.cos(self.angle))

    @property
    def Psi(self) -> FloatArray:
        """Mean over both classes of `ClassAlignment.Psi`, [..]."""
        return np.asarray(0.5 * (self.positive.Psi + self.negative.Psi))


def alignment_of(state: Snapshot, sample: Sample) -> Alignment:
    """Alignment of a network's neurons and effective predictors with the classes of a sample.

    Parameters
    ----------
    state : Snapshot
        At one time, or at several: then every array has a leading axis of times.
    sample : Sample
        The training sample; both classes, with sums of the inputs that are not zero.

    Returns
    -------
    Alignment

    Raises
    ------
    ProblemError
        Labels other than -1 and +1, a class that is missing or sums to zero, or a state that does
        not belong to the sample.

    Notes
    -----
    theory.md 2.4 and 3.1. Where all live neurons are sorted the classes decouple:
    f(x_i) = y_i <w_hat_(y_i), x_i> on the sample. The hull argument (3.2) gives
    Psi_+ >= min psi_j over live neurons with v_j > 0, whenever that is not negative.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], [1, 1, -1])
    >>> run = solve(sample, Network.random(8, 2, seed=1), -9.0, stop_at_risk(0.1))
    >>> aligned = alignment_of(run.at([0.0, run.time]), sample)
    >>> aligned.psi.shape, aligned.Psi.shape, aligned.positive.predictor.shape
    ((2, 8), (2,), (2, 2))
    """
    sample.require_classification("alignment")
    directions = {label: sample.class_direction(label) for label in (1, -1)}
    if (state.outputs.shape[-1], state.direction.shape[-1]) != sample.x.shape:
        raise ProblemError(
            f"the state has {state.outputs.shape[-1]} outputs and dimension "
            f"{state.direction.shape[-1]}, the sample has n={sample.n} and dimension "
            f"{sample.dimension}; give the sample it was trained on"
        )
    active = active_pairs(state.direction, sample)
    is_live = np.asarray(active.any(axis=-1))
    own = state.sign[..., None] * sample.y > 0
    angles = [_angle_of_units(state.direction, directions[label]) for label in (1, -1)]
    return Alignment(
        angle=np.select([state.sign > 0, state.sign < 0], angles, np.nan),
        is_live=is_live,
        is_sorted=(active == own).all(axis=-1) & (state.sign != 0),
        positive=_class_alignment(state, sample, is_live, 1, directions[1]),
        negative=_class_alignment(state, sample, is_live, -1, directions[-1]),
        decoupling=_decoupling(state, sample, is_live, own),
    )


def active_pairs(direction: FloatArray, sample: Sample) -> BoolArray:
    """Which unit vectors [.., h, d] are active on which samples, [.., h, n]."""
    return np.asarray(direction @ (sample.x / sample.norms[:, None]).T > _INACTIVE)


def _class_alignment(
    state: Snapshot, sample: Sample, is_live: BoolArray, label: int, class_direction: FloatArray
) -> ClassAlignment:
    shares, largest = _shares(state, is_live & (state.sign == label))
    total = np.einsum("...h,...hd->...d", shares, state.direction)
    norm = np.linalg.norm(total, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        predictor, log_norm = total / norm[..., None], largest + np.log(norm)
    return ClassAlignment(
        label=label,
        class_direction=class_direction,
        predictor=predictor,
        log_norm=np.asarray(log_norm),
        cone_angle=_angle_of_units(predictor, class_direction),
        margins=label * state.outputs[..., sample.y == label],
    )


def _shares(state: Snapshot, counted: BoolArray) -> tuple[FloatArray, FloatArray]:
    """|v_j| ||w_j|| over the largest that counts, [.., h], and the logarithm of that, [..]."""
    log_size = np.where(counted, state.log_output + state.log_norm, -np.inf)
    largest = np.max(log_size, axis=-1)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    return np.exp(log_size - largest[..., None]), largest


def _decoupling(state: Snapshot, sample: Sample, is_live: BoolArray, own: BoolArray) -> FloatArray:
    """Terms of own samples that the ReLU cuts off and of others that it lets pass, over max |f|."""
    shares, _ = _shares(state, is_live)
    signed = (state.sign * shares)[..., None]
    products = state.direction @ sample.x.T
    outputs = np.sum(signed * np.maximum(products, 0.0), axis=-2)
    excess = np.sum(signed * np.maximum(np.where(own, -products, products), 0.0), axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.max(np.abs(excess), axis=-1) / np.max(np.abs(outputs), axis=-1))


def single_cone(axis: FloatArray, cone_angle: FloatArray, label: int) -> Cone:
    """The cone of one predictor; ProblemError where there are several, or none."""
    if np.ndim(cone_angle) or np.isnan(cone_angle):
        raise ProblemError(
            f"the {CLASS_NAMES[label]} class has no cone: "
            + ("give one time or risk, not several" if np.ndim(cone_angle) else "no live neuron")
        )
    return Cone(axis, float(cone_angle))


def require_label_loss(loss: Loss, what: str) -> None:
    """ProblemError unless the residuals of the loss keep the sign of the label."""
    if not isinstance(loss, LogisticLoss | ExponentialLoss):
        raise ProblemError(
            f"{what} needs LogisticLoss or ExponentialLoss, whose residuals keep their sign; "
            f"{type(loss).__name__} was given"
        )


def dead_neurons(run: Trajectory) -> NDArray[np.bool_]:
    """Which neurons are inactive on every training sample at the end, and so no longer move.

    Returns
    -------
    array [h] of bool

    Notes
    -----
    theory.md 3.1: effective predictors leave them out.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, 1])
    >>> network = Network.balanced(weights=[[1.0, 1.0], [-1.0, -1.0]], sign=[1, 1])
    >>> dead_neurons(solve(sample, network, -5.0, stop_at_risk(0.1)))
    array([False,  True])
    """
    return np.asarray(~active_pairs(run.final.direction, run.sample).any(axis=-1))
