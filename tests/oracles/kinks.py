"""Kink-splitting DOP853 for two-layer ReLU gradient flow.

The flow of f(x) = sum_j v_j relu(<w_j, x>) is

    w_j' = v_j G_j,   v_j' = <w_j, G_j>,   G_j = sum over samples active on neuron j of c_i x_i,

with c_i = -d risk / d f_i. For a fixed set of activation bits the field is analytic. The
eighth-order Dormand-Prince pair (coefficients: attributes of `scipy.integrate.DOP853`) is stepped
by hand with the bits held fixed. Each step's interpolant, a polynomial of degree 7, is turned into
Bernstein form: coefficients of one sign prove that a product <w_j, x_i> has no root in the step, so
that no double crossing is missed. At the first root the step is repeated with exactly that length
(the interpolant is one order less accurate than the step), corrected by one Newton step, the bit is
flipped by hand, and the integration restarts.

Every neuron carries its own power of two, so that any starting size (log_alpha = -5000 included) is
an ordinary number, and its error is measured relative to its own norm.

Limits. Where a residual has fallen to its own round-off (square loss far below any sensible risk)
the bits are decided by noise, and the flow ends in `StopNotReached`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import DOP853
from scipy.optimize import brentq
from scipy.special import expit

Array = NDArray[np.float64]
Stop = tuple[str, float]

KINDS = ("logistic", "exponential", "square")
STOPS = ("risk", "risk_positive", "risk_negative", "time", "margin")
#: A flow still short of its stop at this time never gets there.
LATEST = 1e12
#: A product below this, relative to ||w_j|| ||x_i||, is round-off.
NOISE = 1e-14


class SlidingEncountered(RuntimeError):
    """Both sides push a neuron onto a kink; this reference does not follow sliding motion."""


class StopNotReached(RuntimeError):
    """The flow came to rest, or ran out of steps, before its stopping condition held."""


# --------------------------------------------------------------------------------------------- loss
def sample_risks(kind: str, weight: float, f: Array, y: Array) -> Array:
    """Contribution [n] of every sample to the risk."""
    if kind == "logistic":
        return weight * np.logaddexp(0.0, -y * f)
    if kind == "exponential":
        return weight * np.exp(-y * f)
    return 0.5 * weight * (f - y) ** 2


def pulls(kind: str, weight: float, f: Array, y: Array) -> Array:
    """c_i = -d risk / d f_i, shape [n]."""
    if kind == "logistic":
        return weight * y * expit(-y * f)
    if kind == "exponential":
        return weight * y * np.exp(-y * f)
    return weight * (y - f)


# ------------------------------------------------------------------------------------------ results
@dataclass(frozen=True)
class FlowResult:
    """Where a flow stopped. Neuron j is exp(log_scale[j]) times (weights[j], output[j]).

    `kinks` lists (time, neuron, sample, active afterwards); `evaluations` counts right-hand sides.
    """

    time: float
    weights: Array
    output: Array
    log_scale: Array
    sample_outputs: Array
    risk: float
    kinks: list[tuple[float, int, int, bool]] = field(repr=False)
    evaluations: int = 0
    steps: int = 0

    @property
    def log_norm(self) -> Array:
        """log ||w_j||, shape [h]."""
        with np.errstate(divide="ignore"):
            return np.log(np.linalg.norm(self.weights, axis=1)) + self.log_scale

    @property
    def log_output(self) -> Array:
        """log |v_j|, shape [h]."""
        with np.errstate(divide="ignore"):
            return np.log(np.abs(self.output)) + self.log_scale

    @property
    def direction(self) -> Array:
        """w_j / ||w_j||, shape [h, d] (zero for a zero neuron)."""
        norm = np.linalg.norm(self.weights, axis=1, keepdims=True)
        return self.weights / np.where(norm > 0, norm, 1.0)

    @property
    def sign(self) -> Array:
        """Sign of v_j, shape [h]."""
        return np.sign(self.output)

    @property
    def parameters(self) -> tuple[Array, Array]:
        """Plain (w, v); underflows for tiny neurons."""
        scale = np.exp(self.log_scale)
        return self.weights * scale[:, None], self.output * scale

    def predict(self, points: ArrayLike) -> Array:
        """f at the rows of `points`."""
        w, v = self.parameters
        return np.maximum(np.asarray(points, dtype=float) @ w.T, 0.0) @ v


# ------------------------------------------------------------------------- polynomials on one step
def _bernstein_matrix() -> Array:
    """Rows: Bernstein coefficients (degree 7) of 1 and the interpolant's seven functions."""
    powers = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3)]
    rows = np.zeros((8, 8))
    for row, (a, b) in zip(rows, powers, strict=True):
        rest = 7 - a - b
        for k in range(rest + 1):
            row[a + k] = comb(rest, k) / comb(7, a + k)
    return rows


BERNSTEIN = _bernstein_matrix()


def split(coefficients: Array, at: float) -> tuple[Array, Array]:
    """Bernstein coefficients [..., k] on [0, at] and on [at, 1] (de Casteljau)."""
    rows = [coefficients]
    while rows[-1].shape[-1] > 1:
        rows.append((1 - at) * rows[-1][..., :-1] + at * rows[-1][..., 1:])
    left = np.stack([row[..., 0] for row in rows], axis=-1)
    right = np.stack([row[..., -1] for row in rows[::-1]], axis=-1)
    return left, right


def _deflate(coefficients: Array) -> Array:
    """Divide out roots at 0."""
    while coefficients.size > 1 and coefficients[0] == 0.0:
        degree = coefficients.size - 1
        coefficients = coefficients[1:] * degree / np.arange(1, degree + 1)
    return coefficients


def _value(at: float, coefficients: Array) -> float:
    while coefficients.size > 1:
        coefficients = (1 - at) * coefficients[:-1] + at * coefficients[1:]
    return float(coefficients[0])


def first_fall(coefficients: Array, depth: int = 0) -> float | None:
    """First point of [0, 1] where a Bernstein polynomial that starts >= 0 turns negative, or None.

    A single sign change of the coefficients is a single root (variation diminishing), found by
    brentq; otherwise the interval is halved, left half first.
    """
    rest = _deflate(coefficients)
    if rest.min() >= 0.0:
        return None
    if rest[0] < 0.0 or depth > 60:
        return 0.0
    signs = np.sign(rest[rest != 0.0])
    if np.count_nonzero(np.diff(signs)) == 1 and rest[-1] < 0.0:
        return float(brentq(_value, 0.0, 1.0, args=(rest,), xtol=1e-16, rtol=1e-15))
    left, right = split(rest, 0.5)
    found = first_fall(left, depth + 1)
    if found is not None:
        return 0.5 * found
    found = first_fall(right, depth + 1)
    return None if found is None else 0.5 + 0.5 * found


def earliest_fall(polynomials: Array) -> tuple[float, int] | None:
    """Earliest `first_fall` over the rows of `polynomials` [m, 8], and its row."""
    best: tuple[float, int] | None = None
    rows = np.arange(len(polynomials))
    while rows.size:
        pick = int(np.argmin(polynomials[rows, 1:].min(axis=1)))
        row = int(rows[pick])
        limit = 1.0 if best is None else best[0]
        found = first_fall(split(polynomials[row], limit)[0])
        if found is not None and (best is None or found < 1.0):
            best = (found * limit, row)
        if best is not None and best[0] == 0.0:
            return best
        rows = np.delete(rows, pick)
        if best is not None and rows.size:
            rows = rows[split(polynomials[rows], best[0])[0].min(axis=1) < 0.0]
    return best


# -------------------------------------------------------------------------------------------- steps
class Step:
    """One DOP853 step of a flow from `start` with slope `slope` and length `length`."""

    def __init__(self, flow: Flow, start: Array, slope: Array, length: float) -> None:
        self.flow, self.start, self.length = flow, start, length
        self.slopes = np.empty((16, *start.shape))
        self.slopes[0] = slope
        self._flat = self.slopes.reshape(16, -1)
        for k in range(1, 12):
            self._stage(k, DOP853.A[k, :k])
        self._stage(12, DOP853.B)
        self.end = self._moved(DOP853.B)
        self._parts: Array | None = None

    def _moved(self, row: Array) -> Array:
        return self.start + self.length * (row @ self._flat[: row.size]).reshape(self.start.shape)

    def _stage(self, k: int, row: Array) -> None:
        self.slopes[k] = self.flow.velocity(self._moved(row))

    def error(self) -> float:
        """Largest error of any neuron relative to its own size (the pair's 5-3 estimate)."""
        size = np.maximum(np.linalg.norm(self.start, axis=1), np.linalg.norm(self.end, axis=1))
        size = np.where(size > 0, size, 1.0)
        five, three = (
            np.linalg.norm((row @ self._flat[:13]).reshape(self.start.shape), axis=1) / size
            for row in (DOP853.E5, DOP853.E3)
        )
        total = np.sqrt(five**2 + 0.01 * three**2)
        part = np.divide(five**2, total, out=np.zeros_like(total), where=total != 0)
        return float(abs(self.length) * part.max())

    def parts(self) -> Array:
        """The start and the seven coefficient arrays of the interpolant, shape [8, h, d + 1]."""
        if self._parts is None:
            for k, row in enumerate(DOP853.A_EXTRA):
                self._stage(13 + k, row[: 13 + k])
            change = self.end - self.start
            first, last = self.length * self.slopes[0], self.length * self.slopes[12]
            head = [self.start, change, first - change, 2 * change - (first + last)]
            tail = self.length * (DOP853.D @ self._flat).reshape(-1, *self.start.shape)
            self._parts = np.concatenate([np.stack(head), tail])
        return self._parts

    def at(self, part: float) -> Array:
        """State at `part` in [0, 1] of the step, from the interpolant."""
        if part == 1.0:
            return self.end
        powers = part ** np.arange(8) * (1 - part) ** np.arange(7, -1, -1)
        row = BERNSTEIN @ (powers * [comb(7, k) for k in range(8)])
        return np.tensordot(row, self.parts(), 1)


class Event(NamedTuple):
    """Something that ends a step at the given part of it: a kink, a release or the stop."""

    part: float
    what: str
    neuron: int
    sample: int


class Flow:
    """The flow with its activation bits held fixed, and what happens where they change.

    State: array [h, d + 1], row j = (w_j, v_j) / 2**(shift + exponent[j]) / exp(remainder).
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        weights: ArrayLike,
        output: ArrayLike,
        log_alpha: float,
        kind: str,
        weight: float,
    ) -> None:
        self.x, self.y = np.array(x, dtype=float), np.array(y, dtype=float)
        self.state = np.column_stack(
            [np.array(weights, dtype=float), np.array(output, dtype=float)]
        )
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        self.kind, self.weight = kind, float(weight)
        self.time, self.evaluations, self.steps, self.idle = 0.0, 0, 0, 0
        self.shift, self.remainder = _reduced(log_alpha)
        self.exponent = np.zeros(len(self.state), dtype=np.int64)
        self.kinks: list[tuple[float, int, int, bool]] = []
        self.lengths = np.linalg.norm(self.x, axis=1)
        self.mask = (self.products(self.state) > 0).astype(float)
        self.watched = np.ones(self.mask.shape, dtype=bool)
        self.rebase()

    # ------------------------------------------------------------------------------- the field
    def rebase(self) -> None:
        """Bring every neuron's norm into [1/2, 1); exact, because the factors are powers of two."""
        _, power = np.frexp(np.linalg.norm(self.state, axis=1))
        self.state = np.ldexp(self.state, -power[:, None])
        self.exponent += power
        twice = 2 * np.clip(self.shift + self.exponent, -2000, 1000)
        self.squared_scale = np.ldexp(np.exp(2 * self.remainder), twice)

    def products(self, state: Array) -> Array:
        """Scaled <w_j, x_i>, shape [h, n]."""
        return state[:, :-1] @ self.x.T

    def outputs(self, state: Array) -> Array:
        """f(x_i), shape [n]."""
        return (self.squared_scale * state[:, -1]) @ (self.mask * self.products(state))

    def project(self, drive: Array) -> Array:
        """Hook for sliding motion: the drive G [h, d] as the neurons feel it."""
        return drive

    def drive(self, state: Array) -> Array:
        """G_j of the active samples, before `project`, shape [h, d]."""
        return (self.mask * pulls(self.kind, self.weight, self.outputs(state), self.y)) @ self.x

    def velocity(self, state: Array) -> Array:
        """Right-hand side at the current bits, shape [h, d + 1]."""
        self.evaluations += 1
        live = self.mask * self.products(state)
        f = (self.squared_scale * state[:, -1]) @ live
        c = pulls(self.kind, self.weight, f, self.y)
        out = np.empty_like(state)
        out[:, :-1] = state[:, -1:] * self.project((self.mask * c) @ self.x)
        out[:, -1] = live @ c
        return out

    def output_velocity(self, state: Array, slope: Array) -> Array:
        """d f(x_i) / dt, shape [n]."""
        gate = self.mask * self.products(state)
        moved = self.mask * self.products(slope)
        return self.squared_scale @ (slope[:, -1:] * gate + state[:, -1:] * moved)

    # ---------------------------------------------------------------------------------- kinks
    def noise(self, state: Array) -> Array:
        """Round-off level of the products, shape [h, n]."""
        return NOISE * np.linalg.norm(state[:, :-1], axis=1)[:, None] * self.lengths

    def first_kink(self, step: Step) -> Event | None:
        """First product to change sign within the step."""
        parts = step.parts()[:, :, :-1] @ self.x.T
        side = np.where(self.mask > 0, 1.0, -1.0)
        curves = side[..., None] * np.tensordot(parts, BERNSTEIN, (0, 0))
        noise = self.noise(self.state)
        flat = np.abs(curves[..., 0]) <= noise
        curves[flat, 0] = 0.0
        flat &= np.abs(curves[..., 1]) <= noise
        curves[flat, 1] = 0.0
        fell = self.watched & (curves.min(axis=-1) < -noise)
        pairs = np.argwhere(fell)
        found = earliest_fall(curves[fell])
        if found is None:
            return None
        return Event(found[0], "kink", *(int(k) for k in pairs[found[1]]))

    def defect(self, event: Event, state: Array, slope: Array) -> tuple[float, float]:
        """What vanishes at the event, and its rate of change."""
        row = self.x[event.sample]
        return float(state[event.neuron, :-1] @ row), float(slope[event.neuron, :-1] @ row)

    def handle(self, event: Event) -> None:
        """Flip the bit of a kink; refuse where both sides push onto it."""
        j, i = event.neuron, event.sample
        now_active = self.mask[j, i] == 0
        self.mask[j, i] = float(now_active)
        after = self.defect(event, self.state, self.velocity(self.state))[1]
        if after * (1 if now_active else -1) < -self.speed_noise(j, i):
            self.mask[j, i] = float(not now_active)
            raise SlidingEncountered(f"neuron {j} slides on sample {i} at time {self.time:.6g}")
        self.kinks.append((self.time, j, i, bool(now_active)))

    def speed_noise(self, j: int, i: int) -> float:
        """Round-off level of d<w_j, x_i>/dt."""
        c = pulls(self.kind, self.weight, self.outputs(self.state), self.y)
        total = (self.mask[j] * np.abs(c)) @ self.lengths + abs(c[i]) * self.lengths[i]
        return float(1e-13 * abs(self.state[j, -1]) * total * self.lengths[i])

    # ---------------------------------------------------------------------------------- stops
    def gap(self, stop: Stop, state: Array) -> float:
        """Positive before the stop, zero at it."""
        name, value = stop
        if name == "time":
            return value - self.time
        f = self.outputs(state)
        if name == "margin":
            return value - float((self.y * f).min())
        risks = sample_risks(self.kind, self.weight, f, self.y)
        return float(risks[_counted(name, self.y)].sum()) - value

    def gap_rate(self, stop: Stop, state: Array, slope: Array) -> float:
        """Time derivative of `gap`."""
        f, moved = self.outputs(state), self.output_velocity(state, slope)
        if stop[0] == "margin":
            lowest = int(np.argmin(self.y * f))
            return -float(self.y[lowest] * moved[lowest])
        c = pulls(self.kind, self.weight, f, self.y)
        return -float((c * moved)[_counted(stop[0], self.y)].sum())

    def first_stop(self, step: Step, stop: Stop, until: float) -> Event | None:
        """Where in [0, until] of the step the stopping condition first holds."""
        if stop[0] == "time":
            return Event(1.0, "stop", -1, -1) if self.time + step.length >= stop[1] else None
        last = 0.0
        for part in until * (np.array([1.0]) if stop[0] == "risk" else np.arange(1, 7) / 6):
            if self.gap(stop, step.at(float(part))) <= 0:
                where = brentq(
                    lambda s: self.gap(stop, step.at(s)), last, part, xtol=1e-16, rtol=1e-15
                )
                return Event(float(where), "stop", -1, -1)
            last = float(part)
        return None

    # ---------------------------------------------------------------------------------- motion
    def first_event(self, step: Step, stop: Stop) -> Event | None:
        """Earliest of kinks and stop."""
        event = None if stop[0] == "time" and step.length == 0 else self.first_kink(step)
        if event is None or stop[0] != "time":
            event = self.first_stop(step, stop, 1.0 if event is None else event.part) or event
        return event

    def advance(self, step: Step, event: Event | None, stop: Stop) -> None:
        """Move the state to the event, or to the end of the step."""
        if event is None or (event.part == 1.0 and stop[0] == "time"):
            self.state, self.time = step.end, self.time + step.length
            return
        length = event.part * step.length
        for attempt in range(4):
            if length <= 0:
                return
            again = Step(self, step.start, step.slopes[0], length)
            value, rate = self._defect(event, again.end, again.slopes[12], stop)
            shift = -value / rate if rate != 0 else 0.0
            if attempt == 3 or not 1e-8 * length < abs(shift) < 0.1 * step.length:
                break
            length += shift
        shift = shift if abs(shift) < 1e-6 * step.length else 0.0
        self.state, self.time = again.end + shift * again.slopes[12], self.time + length + shift

    def _defect(self, event: Event, state: Array, slope: Array, stop: Stop) -> tuple[float, float]:
        if event.what == "stop":
            return self.gap(stop, state), self.gap_rate(stop, state, slope)
        return self.defect(event, state, slope)

    def accepted(
        self, slope: Array, length: float, tolerance: float, cap: float
    ) -> tuple[Step, float]:
        """A step within tolerance, and the length to try next."""
        while True:
            step = Step(self, self.state, slope, min(length, cap))
            error = step.error() / tolerance
            factor = 10.0 if error == 0 else min(10.0, max(0.2, 0.9 * error ** (-1 / 8)))
            if error <= 1:
                return step, length if cap < length else step.length * factor
            length = step.length * (factor if np.isfinite(error) else 0.2)
            if length < 1e-16 * max(self.time, 1e-300):
                raise StopNotReached(f"step size underflow at time {self.time:.6g}")

    def run(self, stop: Stop, tolerance: float, max_steps: int) -> None:
        """Integrate to the stop. Overflow in a step too long is a reason to reject it, no more."""
        _check(stop)
        with np.errstate(all="ignore"):
            self._run(stop, tolerance, max_steps)

    def _run(self, stop: Stop, tolerance: float, max_steps: int) -> None:
        length = 0.0
        while self.gap(stop, self.state) > 0:
            slope = self.velocity(self.state)
            length = length or 0.01 / self.fastest(slope)
            cap = stop[1] - self.time if stop[0] == "time" else np.inf
            step, following = self.accepted(slope, length, tolerance, cap)
            event = self.first_event(step, stop)
            self.advance(step, event, stop)
            self.steps += 1
            if event is not None and event.what == "stop":
                return
            if event is not None:
                self.handle(event)
            self.rebase()
            self.watch_progress(event, max_steps)
            length = following

    def fastest(self, slope: Array) -> float:
        """Largest relative speed of any neuron."""
        size = np.linalg.norm(self.state, axis=1)
        speed = np.linalg.norm(slope, axis=1) / np.where(size > 0, size, 1.0)
        if speed.max() == 0:
            raise StopNotReached(f"the flow is at rest at time {self.time:.6g}")
        return float(speed.max())

    def watch_progress(self, event: Event | None, max_steps: int) -> None:
        """Raise rather than loop for ever."""
        self.idle = self.idle + 1 if event is not None and event.part == 0.0 else 0
        stuck = self.idle > 2 * self.mask.size + 100 or not self.time < LATEST
        if stuck or self.steps >= max_steps:
            raise StopNotReached(f"no stop after {self.steps} steps, time {self.time:.6g}")
        if event is None and not np.any(self.velocity(self.state)):
            raise StopNotReached(f"the flow is at rest at time {self.time:.6g}")

    def result_fields(self) -> dict[str, object]:
        """Keyword arguments of `FlowResult`."""
        f = self.outputs(self.state)
        return {
            "time": float(self.time),
            "weights": self.state[:, :-1].copy(),
            "output": self.state[:, -1].copy(),
            "log_scale": self.remainder + np.log(2.0) * (self.shift + self.exponent),
            "sample_outputs": f,
            "risk": float(sample_risks(self.kind, self.weight, f, self.y).sum()),
            "kinks": self.kinks,
            "evaluations": self.evaluations,
            "steps": self.steps,
        }


def _counted(name: str, y: Array) -> NDArray[np.bool_]:
    if name == "risk":
        return np.ones(y.shape, dtype=bool)
    return y > 0 if name == "risk_positive" else y < 0


def _check(stop: Stop) -> None:
    if stop[0] not in STOPS:
        raise ValueError(f"stop must be one of {STOPS}, got {stop[0]!r}")


def _reduced(log_alpha: float) -> tuple[int, float]:
    """(k, r) with alpha = 2**k exp(r), |r| < log(2); r is accurate even for log_alpha = -5000."""
    with localcontext() as context:
        context.prec = 60
        two = Decimal(2).ln()
        k = int((Decimal(float(log_alpha)) / two).to_integral_value())
        return k, float(Decimal(float(log_alpha)) - k * two)


def kink_flow(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    output: ArrayLike,
    log_alpha: float,
    kind: str,
    weight: float,
    stop: Stop,
    *,
    tolerance: float = 1e-12,
    max_steps: int = 200_000,
) -> FlowResult:
    """Gradient flow from w = alpha W, v = alpha V, split at every kink.

    Parameters
    ----------
    x, y : arrays [n, d] and [n]
    weights, output : arrays [h, d] and [h]
        W and V; any shape, balanced or not.
    log_alpha : float
        Natural logarithm of the starting scale.
    kind : {"logistic", "exponential", "square"}
        log(1 + exp(-y f)), exp(-y f) or (f - y)^2 / 2 per sample.
    weight : float
        Factor of every sample's loss: b / n for a mean, b for a sum.
    stop : tuple
        ("risk", eta), ("risk_positive", eta), ("risk_negative", eta): weight times the
        sum over those samples falls to eta; ("margin", m): the smallest y f rises to m;
        ("time", t).
    tolerance : float
        Local error of any neuron in one step, relative to its own norm.

    Raises
    ------
    SlidingEncountered
        Both one-sided fields push a neuron onto a kink.
    StopNotReached
        The flow rests, `max_steps` were taken, or the time passed `LATEST`.
    """
    flow = Flow(x, y, weights, output, log_alpha, kind, weight)
    flow.run(stop, tolerance, max_steps)
    return FlowResult(**flow.result_fields())  # type: ignore[arg-type]
