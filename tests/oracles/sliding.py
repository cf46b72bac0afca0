"""References for the Clarke subgradient flow of two-layer ReLU networks, sliding motion included.

Where a neuron sits on kinks S it moves with

    w_j' = v_j (G_j + sum_{i in S} theta_i c_i x_i),  theta_i in [0, 1],  <w_j', x_k> = 0 on S,

G_j the drive of its strictly active samples. Two schemes that share nothing but the model:

`sliding_flow`
    event driven, eighth order. Between events the drive is projected onto the orthogonal
    complement of span{x_k : k in S}, afresh in every right-hand side. Events: a product changes
    sign (the bounded least-squares problem at that point decides between crossing and sliding), or
    a theta leaves [0, 1].
`catching_up`
    Euler's method, implicit in theta alone: the kinks that attract a neuron (v_j c_i < 0) enter a
    box-constrained quadratic programme for the new products. No events, no sets, first order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, lsq_linear

from .kinks import Event, Flow, FlowResult, Step, Stop, pulls

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
#: A theta this close to 0 or 1 is there: round-off of orthogonal inputs must not start a slide.
BARELY = 1e-14


class AmbiguousFlow(RuntimeError):
    """The flow is not unique here: a kink that a neuron sits on, or touches, repels it."""


@dataclass(frozen=True)
class SlidingResult(FlowResult):
    """A `FlowResult` with `slides`: (start, end, neuron, sample), end = inf while still sliding."""

    slides: list[tuple[float, float, int, int]] = field(default_factory=list, repr=False)


class _Bases(NamedTuple):
    """For the neurons that slide: orthonormal bases of their kinks' spans, and theta's maps."""

    neurons: Indices
    basis: Array
    solve: Array
    samples: Indices
    used: NDArray[np.bool_]


class SlidingFlow(Flow):
    """`Flow` whose neurons may sit on kinks; sliding pairs have bit 0 and are not watched."""

    def __init__(self, *problem: object) -> None:
        self.slides: list[tuple[float, float, int, int]] = []
        self.open: dict[tuple[int, int], float] = {}
        self._frames: dict[int, tuple[Array, Array, Indices]] = {}
        self._signs: dict[int, float] = {}
        self._bases: _Bases | None = None
        super().__init__(*problem)  # type: ignore[arg-type]
        norms = np.linalg.norm(self.state[:, :-1], axis=1)
        self.balanced = np.abs(norms - np.abs(self.state[:, -1])) <= 1e-12 * norms

    # ------------------------------------------------------------------------------- the field
    def project(self, drive: Array) -> Array:
        """Remove the components of the drive that the kinks hold back."""
        if self._bases is not None:
            j, basis = self._bases.neurons, self._bases.basis
            held = drive[j]
            along = np.matmul(basis, held[:, :, None])
            drive[j] = held - np.matmul(along.transpose(0, 2, 1), basis)[:, 0]
        return drive

    def set_kinks(self, j: int, samples: Indices) -> None:
        """Let neuron j slide on these samples."""
        before = {i for (neuron, i) in self.open if neuron == j}
        for i in before - set(map(int, samples)):
            self.slides.append((self.open.pop((j, i)), self.time, j, i))
        for i in set(map(int, samples)) - before:
            self.open[j, i] = self.time
        self.watched[j] = True
        self.watched[j, samples] = False
        self.mask[j, samples] = 0.0
        self._frames.pop(j, None)
        self._signs[j] = float(np.sign(self.state[j, -1]))
        if samples.size:
            u, s, vt = np.linalg.svd(self.x[samples], full_matrices=False)
            keep = s > 1e-12 * s[0]
            self._frames[j] = vt[keep], (u[:, keep] / s[keep]) @ vt[keep], samples
        self._stack()

    def _stack(self) -> None:
        if not self._frames:
            self._bases = None
            return
        wide = max(samples.size for _, _, samples in self._frames.values())
        count, d = len(self._frames), self.x.shape[1]
        basis, solve = np.zeros((count, wide, d)), np.zeros((count, wide, d))
        samples, used = np.zeros((count, wide), dtype=np.intp), np.zeros((count, wide), dtype=bool)
        for k, (rows, inverse, chosen) in enumerate(self._frames.values()):
            basis[k, : len(rows)], solve[k, : len(inverse)] = rows, inverse
            samples[k, : chosen.size], used[k, : chosen.size] = chosen, True
        self._bases = _Bases(np.array(list(self._frames)), basis, solve, samples, used)

    def rebase(self) -> None:
        """Put sliding neurons exactly on their kinks, balanced ones in balance, then normalise.

        Without the second, a neuron that decays along a kink returns once it has lost its digits.
        """
        self.check_signs()
        for j, (rows, _, _) in self._frames.items():
            self.state[j, :-1] -= rows.T @ (rows @ self.state[j, :-1])
            if self.balanced[j]:
                self.state[j, -1] = self._signs[j] * np.linalg.norm(self.state[j, :-1])
        super().rebase()

    def check_signs(self) -> None:
        """Refuse a kink that starts to repel the neuron sitting on it."""
        for j in self._frames:
            if self.state[j, -1] * self._signs[j] < 0:
                where = f"on a kink, time {self.time:.6g}"
                raise AmbiguousFlow(f"neuron {j}'s output changes sign {where}")

    def thetas(self, state: Array) -> Array:
        """theta of every sliding pair, [neurons, slots]; 1/2 in empty slots."""
        bases = self._bases
        if bases is None:
            return np.zeros((0, 0))
        f = self.outputs(state)
        c = pulls(self.kind, self.weight, f, self.y)
        held = ((self.mask[bases.neurons] * c) @ self.x)[:, :, None]
        theta = -np.matmul(bases.solve, held)[:, :, 0] / c[bases.samples]
        return np.where(bases.used, theta, 0.5)

    # -------------------------------------------------------------------------------- releases
    def first_release(self, step: Step, until: float) -> Event | None:
        """First theta to leave [0, 1] within [0, until] of the step."""
        if self._bases is None:
            return None
        last = 0.0
        for part in until * np.arange(7) / 6:
            theta = self.thetas(step.at(float(part)) if part > 0 else step.start)
            out = np.argwhere((theta < -1e-11) | (theta > 1 + 1e-11))
            if len(out):
                return min(self._release(step, last, float(part), k, m) for k, m in out)
            last = float(part)
        return None

    def _release(self, step: Step, low: float, high: float, k: int, slot: int) -> Event:
        bases = self._bases
        if bases is None:
            raise RuntimeError("no neuron slides")
        upper = self.thetas(step.at(high))[k, slot] > 1
        what = "release on" if upper else "release off"

        def room(part: float) -> float:
            theta = self.thetas(step.at(part) if part > 0 else step.start)[k, slot]
            return float(1 - theta if upper else theta)

        part = low if room(low) <= 0 else brentq(room, low, high, xtol=1e-15, rtol=1e-14)
        return Event(float(part), what, int(bases.neurons[k]), int(bases.samples[k, slot]))

    def defect(self, event: Event, state: Array, slope: Array) -> tuple[float, float]:
        """As for `Flow`, with theta's distance from its bound for releases."""
        if event.what == "kink":
            return super().defect(event, state, slope)
        dt = 1e-4 / max(self.fastest(slope), 1e-300)
        here, behind, ahead = (self._room(event, state + s * dt * slope) for s in (0.0, -1.0, 1.0))
        return here, (ahead - behind) / (2 * dt)

    def _room(self, event: Event, state: Array) -> float:
        bases = self._bases
        if bases is None:
            raise RuntimeError("no neuron slides")
        k = int(np.flatnonzero(bases.neurons == event.neuron)[0])
        slot = int(np.flatnonzero(bases.used[k] & (bases.samples[k] == event.sample))[0])
        theta = self.thetas(state)[k, slot]
        return float(1 - theta if event.what == "release on" else theta)

    def first_event(self, step: Step, stop: Stop) -> Event | None:
        """Earliest of kinks, releases and stop."""
        event = self.first_kink(step)
        release = self.first_release(step, 1.0 if event is None else event.part)
        if release is not None and (event is None or release.part < event.part):
            event = release
        if event is not None and stop[0] == "time":
            return event
        return self.first_stop(step, stop, 1.0 if event is None else event.part) or event

    # -------------------------------------------------------------------------------- decisions
    def handle(self, event: Event) -> None:
        """Let a neuron cross a kink, stay on it, or leave it."""
        self.check_signs()
        j, i = event.neuron, event.sample
        if event.what.startswith("release"):
            _, _, samples = self._frames[j]
            self.set_kinks(j, samples[samples != i])
            self.mask[j, i] = float(event.what == "release on")
            self.kinks.append((self.time, j, i, event.what == "release on"))
            return
        bits = self.mask[j].copy()
        self._decide(j, i, bits)

    def _decide(self, j: int, i: int, bits: Array) -> None:
        c = pulls(self.kind, self.weight, self.outputs(self.state), self.y)
        force = self.state[j, -1] * c
        near = np.abs(self.products(self.state)[j]) <= 10 * self.noise(self.state)[j]
        near[i] = True
        near |= ~self.watched[j]
        if force[i] >= 0:
            bits[i] = 1.0 - bits[i]
        held = np.flatnonzero(near & (force < 0))
        bits[held] = 0.0
        part = self.shares(bits * force, held, -force[held])
        self.set_kinks(j, held[(part > 0) & (part < 1)])
        bits[held[part == 1]] = 1.0
        bits[held[(part > 0) & (part < 1)]] = 0.0
        self._record(j, bits)
        self._check_crossing(j, i, force[i] >= 0)

    def _record(self, j: int, bits: Array) -> None:
        for k in np.flatnonzero((bits != self.mask[j]) & self.watched[j]):
            self.kinks.append((self.time, j, int(k), bool(bits[k])))
        self.mask[j] = bits

    def _check_crossing(self, j: int, i: int, repelling: bool) -> None:
        if not repelling:
            return
        rate = float(self.velocity(self.state)[j, :-1] @ self.x[i])
        if rate * (1 if self.mask[j, i] else -1) < -self.speed_noise(j, i):
            raise AmbiguousFlow(f"neuron {j} turns back at sample {i}, time {self.time:.6g}")

    def shares(self, force: Array, held: Indices, most: Array) -> Array:
        """theta of the kinks `held` at which a neuron arrives, by bounded least squares.

        min 1/2 |X_S' u - g|^2 over 0 <= u <= most; u = 0 with speed <= 0, u = most with speed >= 0,
        and zero speed between are its optimality conditions. g: drive of the active samples.
        """
        rows, g = self.x[held], force @ self.x
        if not held.size or not g.any():
            return np.zeros(held.size)
        inside = np.linalg.lstsq(rows.T, g, rcond=1e-12)[0] / most
        if np.all((inside > BARELY) & (inside < 1 - BARELY)):
            return inside
        scale = np.linalg.norm(g)
        solution = lsq_linear(
            rows.T / scale * most, g / scale, (0.0, 1.0), method="bvls", tol=1e-15
        )
        theta = np.where(solution.x < BARELY, 0.0, solution.x)
        theta = np.where(theta > 1 - BARELY, 1.0, theta)
        return np.where(solution.active_mask == 0, theta, solution.active_mask > 0)

    def sliding_result(self) -> SlidingResult:
        """The state as a `SlidingResult`."""
        still = [(start, inf, j, i) for (j, i), start in self.open.items()]
        fields = self.result_fields()
        return SlidingResult(**fields, slides=self.slides + still)  # type: ignore[arg-type]


def sliding_flow(
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
    max_steps: int = 500_000,
) -> SlidingResult:
    """Clarke subgradient flow from w = alpha W, v = alpha V; parameters as for `kinks.kink_flow`.

    Raises
    ------
    AmbiguousFlow
        A neuron touches a repelling kink and turns back: the flow has more than one continuation.
    StopNotReached
        The flow rests, `max_steps` were taken, or the time passed `kinks.LATEST`.
    """
    flow = SlidingFlow(x, y, weights, output, log_alpha, kind, weight)
    flow.run(stop, tolerance, max_steps)
    return flow.sliding_result()


# --------------------------------------------------------------------------------- catching up
def _box_programme(gram: Array, wanted: Array, most: Array, start: Array, sweeps: int) -> Array:
    """min 1/2 u'Ku - b'u over 0 <= u <= most, row by row (projected Gauss-Seidel), shape [h, n]."""
    u = np.minimum(start, most)
    rest = wanted - u @ gram
    for _ in range(sweeps):
        moved = 0.0
        for k in range(gram.shape[0]):
            new = np.clip(u[:, k] + rest[:, k] / gram[k, k], 0.0, most[:, k])
            change = new - u[:, k]
            u[:, k] = new
            rest -= change[:, None] * gram[k]
            moved = max(moved, float(np.abs(change).max()))
        if moved <= 1e-14 * float(most.max()):
            break
    return u


def catching_up(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    output: ArrayLike,
    log_alpha: float,
    kind: str,
    weight: float,
    time: float,
    steps: int,
    *,
    sweeps: int = 200,
) -> tuple[Array, Array]:
    """(w, v) at `time` by `steps` Euler steps, implicit in the kinks that attract; plain weights.

    First order. Parameters as for `kinks.kink_flow`; `sweeps` bounds the Gauss-Seidel iteration.
    """
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)
    w = np.exp(log_alpha) * np.array(weights, dtype=float)
    v = np.exp(log_alpha) * np.array(output, dtype=float)
    gram, dt = x @ x.T, time / steps
    u = np.zeros((len(w), len(x)))
    for _ in range(steps):
        s = w @ x.T
        live = np.maximum(s, 0.0)
        c = pulls(kind, weight, v @ live, y)
        force = v[:, None] * c
        repelled = np.where((force > 0) & (s > 0), force, 0.0)
        most = np.where(force < 0, -force, 0.0)
        u = _box_programme(gram, s / dt + repelled @ gram, most, u, sweeps)
        w = w + dt * (repelled - u) @ x
        v = v + dt * (live @ c)
    return w, v


def catching_up_ladder(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    output: ArrayLike,
    log_alpha: float,
    kind: str,
    weight: float,
    time: float,
    steps: int,
    rungs: int = 3,
) -> tuple[Array, Array, float]:
    """Outputs [n] on the training inputs extrapolated over `steps`, 2 `steps`, ...

    Returns the extrapolated outputs, the outputs of the finest rung, and the change that the last
    rung made to the extrapolation.
    """
    points = np.array(x, dtype=float)
    table: list[Array] = []
    change = inf
    for rung in range(rungs):
        w, v = catching_up(x, y, weights, output, log_alpha, kind, weight, time, steps * 2**rung)
        row = [np.maximum(points @ w.T, 0.0) @ v]
        for k, coarse in enumerate(table):
            row.append(row[k] + (row[k] - coarse) / (2 ** (k + 1) - 1))
        change = float(np.abs(row[-1] - table[-1]).max()) if table else inf
        table = row
    return table[-1], table[0], change
