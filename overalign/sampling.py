r"""Independent Gaussian vectors conditioned on pairwise cosines at or above a level.

The law sampled here is that of n independent u_i ~ N(mean, sigma^2 I_d), conditioned on
<u_i, u_k> >= level ||u_i|| ||u_k|| for all pairs (orthogonal separability in the variables
u_i = y_i x_i, theory.md 1.1 and 6.4). Two exact methods:

* whole-sample rejection, point by point, dropping a candidate at its first violation;
* Gibbs sampling. Given the other points, u_i follows its normal law restricted to an
  intersection of cones. It is redrawn by rejection; if a fixed number of draws all fail, one
  elliptical slice step (Murray, Adams and MacKay 2010) replaces them: it leaves the same
  restricted law invariant and always ends, whatever the acceptance. Which of the two is used
  does not depend on u_i itself, so the mixture leaves the conditional law invariant as well.
  Once a sweep the whole configuration is reflected in a random hyperplane and the move is
  accepted by the Metropolis rule: all cosines stay, the common direction moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import SamplingError

__all__ = ["ConditionalLaw", "SamplingReport", "draw_conditional"]

FloatArray = NDArray[np.float64]

_WHOLE_DRAWS = 4096
_POINT_BATCHES: tuple[int, ...] = (64, 512, 2048)
_POINT_ELEMENTS = 1 << 16
_SLICE_STEPS = 4
_SLICE_SHRINKS = 200
_LAGS = 10
_TIMES_COVERED = 20
_MOST_EXTENSION = 16
_TUNING_SWEEPS = 10


@dataclass(frozen=True)
class ConditionalLaw:
    """n independent N(mean, sigma^2 I) vectors given that every pair has cosine >= level.

    Parameters
    ----------
    count : int
        Number of vectors n.
    mean : array [d]
        Their common mean.
    sigma : float
        Standard deviation of each coordinate.
    level : float
        Smallest cosine allowed, in [-1, 1).

    Examples
    --------
    >>> import numpy as np
    >>> law = ConditionalLaw(count=3, mean=np.ones(2), sigma=0.5, level=0.0)
    >>> law.dimension
    2
    """

    count: int
    mean: FloatArray
    sigma: float
    level: float

    @property
    def dimension(self) -> int:
        """Dimension d of one vector."""
        return int(self.mean.shape[0])

    def draw(self, rows: int, generator: np.random.Generator) -> FloatArray:
        """Unconditioned draws, [rows, d]."""
        return self.mean + self.sigma * generator.standard_normal((rows, self.dimension))

    def compatible(self, candidates: FloatArray, others: FloatArray) -> NDArray[np.bool_]:
        """Whether candidates [m, d] meet the constraint with every unit row of others [k, d]."""
        products = candidates @ others.T
        if self.level == 0.0:
            return np.asarray((products >= 0.0).all(axis=1))
        bound = self.level * np.linalg.norm(candidates, axis=1, keepdims=True)
        return np.asarray((products >= bound).all(axis=1))


@dataclass(frozen=True)
class SamplingReport:
    """How a sample was drawn.

    Attributes
    ----------
    method : str
        "unconditioned", "rejection" or "gibbs".
    separability : float or None
        The level conditioned on.
    acceptance_rate : float
        Rejection: accepted share of whole samples. Gibbs: accepted share of single-point draws.
    sweeps : int
        Gibbs sweeps made (0 for the other methods).
    slice_fraction : float
        Share of point updates made by elliptical slice steps instead of rejection.
    autocorrelation : mapping of str to tuple
        For each statistic ("smallest cosine", "mean norm", "signal cosine", the last being the
        cosine between the sum of all points and the mean) the autocorrelation over sweeps at
        lags 1, 2, ...; empty unless Gibbs.
    autocorrelation_time : float
        Largest integrated autocorrelation time of these statistics, in sweeps (1 = independent).

    Examples
    --------
    >>> from overalign.problem import GaussianMixture
    >>> mixture = GaussianMixture(20, kappa=1.5, sigma=1.0)
    >>> sample, report = mixture.sample_with_report(12, seed=0, separability=0.0)
    >>> report.method, report.effective_draws >= 20
    ('gibbs', True)
    """

    method: str
    separability: float | None
    acceptance_rate: float
    sweeps: int = 0
    slice_fraction: float = 0.0
    autocorrelation: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    autocorrelation_time: float = 1.0

    @property
    def effective_draws(self) -> float:
        """Sweeps made, in autocorrelation times (1 for the exact independent methods)."""
        return self.sweeps / self.autocorrelation_time if self.method == "gibbs" else 1.0

    def __str__(self) -> str:
        text = f"{self.method}, acceptance {self.acceptance_rate:.3g}"
        if self.method != "gibbs":
            return text
        lag_one = max(values[0] for values in self.autocorrelation.values())
        return (
            f"{text}, {self.sweeps} sweeps, {100 * self.slice_fraction:.0f} % slice steps, "
            f"largest lag-1 autocorrelation {lag_one:.2f}, "
            f"autocorrelation time {self.autocorrelation_time:.1f} sweeps"
        )


def draw_conditional(
    law: ConditionalLaw, seed: np.random.Generator, sweeps: int = 100, method: str = "auto"
) -> tuple[FloatArray, SamplingReport]:
    """Draw one configuration of the conditional law.

    Parameters
    ----------
    law : ConditionalLaw
        What to draw from.
    seed : numpy.random.Generator
        Source of randomness; the same state gives the same numbers.
    sweeps : int
        Fewest Gibbs sweeps; doubled, 16-fold at most, until they cover 20
        autocorrelation times.
    method : {"auto", "rejection", "gibbs"}
        "auto" tries 4096 whole samples (enough when P(separable) > 1e-3), then Gibbs.

    Returns
    -------
    points : array [n, d]
        The configuration.
    report : SamplingReport
        How it was found.

    Raises
    ------
    SamplingError
        No whole sample was accepted (method "rejection"), no start was found (level < 0), or
        16 times `sweeps` do not cover 20 autocorrelation times.

    Notes
    -----
    theory.md 6.4. The law of the Gibbs state after 20 autocorrelation times is the conditional
    law up to about exp(-20) in the measured statistics.

    Examples
    --------
    >>> import numpy as np
    >>> law = ConditionalLaw(count=4, mean=np.ones(3), sigma=1.0, level=0.1)
    >>> points, report = draw_conditional(law, np.random.default_rng(0))
    >>> points.shape, report.method
    ((4, 3), 'rejection')
    """
    tried = 0
    if method != "gibbs":
        points, accepted, tried = _reject_whole(law, seed)
        if points is not None:
            return points, SamplingReport("rejection", law.level, accepted / tried)
    if method == "rejection":
        raise SamplingError(
            f"whole-sample rejection accepted 0 of {tried} samples (n={law.count}, "
            f"d={law.dimension}, separability {law.level:g}); use method='gibbs'"
        )
    return _run_chain(_Chain(law, seed), sweeps)


def _reject_whole(
    law: ConditionalLaw, generator: np.random.Generator
) -> tuple[FloatArray | None, int, int]:
    """First accepted whole sample (or None), number accepted, number tried."""
    block = max(1, min(_WHOLE_DRAWS, (1 << 20) // (law.count * law.dimension)))
    tried = 0
    while tried < _WHOLE_DRAWS:
        survivors = _survivors(law, block, generator)
        tried += block
        if len(survivors):
            return survivors[0], len(survivors), tried
    return None, 0, tried


def _survivors(law: ConditionalLaw, block: int, generator: np.random.Generator) -> FloatArray:
    """Whole samples [m, n, d] among `block` candidates whose pairs all meet the constraint."""
    kept = np.empty((block, law.count, law.dimension))
    for index in range(law.count):
        kept[:, index] = law.draw(len(kept), generator)
        earlier, newest = kept[:, :index], kept[:, index]
        products = np.einsum("bkd,bd->bk", earlier, newest)
        if law.level == 0.0:
            fine = products >= 0.0
        else:
            lengths = np.linalg.norm(earlier, axis=2)
            fine = products >= law.level * lengths * np.linalg.norm(newest, axis=1)[:, None]
        kept = kept[fine.all(axis=1)]
        if not len(kept):
            break
    return kept


class _Chain:
    """State of the Gibbs sampler: points [n, d], their unit vectors, and counters."""

    def __init__(self, law: ConditionalLaw, generator: np.random.Generator) -> None:
        self.law = law
        self.generator = generator
        self.points = np.empty((law.count, law.dimension))
        self.units = np.empty((law.count, law.dimension))
        self.batches: tuple[int, ...] = _POINT_BATCHES
        self.drawn = self.accepted = self.updates = self.sliced = 0
        for index in range(law.count):
            self._place(index, self._first(index))

    def _place(self, index: int, point: FloatArray) -> None:
        self.points[index] = point
        self.units[index] = point / np.linalg.norm(point)

    def _first(self, index: int) -> FloatArray:
        """A start for one point, given the earlier ones (sequential start)."""
        others = self.units[:index]
        point = self._by_rejection(others)
        if point is not None:
            return point
        if self.law.level < 0.0:
            raise SamplingError(
                f"no start found for point {index} of {self.law.count}: accepted 0 of "
                f"{self.drawn} draws in the last attempts (separability {self.law.level:g}); "
                "lower the separability or n, or raise kappa/sigma"
            )
        # The sum of the earlier points meets every constraint when the level is >= 0:
        # sum_j <u_j, u_k> >= level ||u_k|| sum_j ||u_j|| >= level ||u_k|| ||sum_j u_j||.
        centre = self.points[:index].sum(axis=0)
        length = float(np.linalg.norm(self.points[:index], axis=1).mean())
        return self._by_slices(length * centre / np.linalg.norm(centre), others)

    def _by_rejection(self, others: FloatArray) -> FloatArray | None:
        law = self.law
        for wanted in self.batches:
            batch = max(1, min(wanted, _POINT_ELEMENTS // law.dimension))
            candidates = law.draw(batch, self.generator)
            hits = np.flatnonzero(law.compatible(candidates, others))
            self.drawn += batch
            self.accepted += len(hits)
            if len(hits):
                return np.asarray(candidates[hits[0]])
        return None

    def _by_slices(self, point: FloatArray, others: FloatArray) -> FloatArray:
        for _ in range(_SLICE_STEPS):
            point = _slice_step(self.law, point, others, self.generator)
        return point

    def sweep(self) -> tuple[float, float, float]:
        """Redraw every point once, reflect, and return the watched statistics."""
        for index in range(self.law.count):
            others = np.delete(self.units, index, axis=0)
            point = self._by_rejection(others)
            self.updates += 1
            if point is None:
                self.sliced += 1
                point = self._by_slices(self.points[index], others)
            self._place(index, point)
        self._reflect()
        return self._statistics()

    def tune(self) -> None:
        """Give up rejection where it mostly fails: once, during burn-in, to keep the law exact."""
        if 2 * self.sliced > self.updates:
            self.batches = ()

    def _reflect(self) -> None:
        """Metropolis move: mirror all points in a random hyperplane through 0."""
        normal = self.generator.standard_normal(self.law.dimension)
        normal /= np.linalg.norm(normal)
        shift = -2.0 * float(self.points.sum(axis=0) @ normal) * float(normal @ self.law.mean)
        if np.log1p(-self.generator.random()) * self.law.sigma**2 < shift:
            self.points -= 2.0 * np.outer(self.points @ normal, normal)
            self.units = self.points / np.linalg.norm(self.points, axis=1, keepdims=True)

    def _statistics(self) -> tuple[float, float, float]:
        cosines = self.units @ self.units.T
        total = self.points.sum(axis=0)
        reference = self.law.mean if self.law.mean.any() else np.eye(self.law.dimension)[0]
        signal = float(total @ reference / np.linalg.norm(total) / np.linalg.norm(reference))
        smallest = float(cosines[np.triu_indices(self.law.count, 1)].min(initial=1.0))
        return smallest, float(np.linalg.norm(self.points, axis=1).mean()), signal


def _slice_step(
    law: ConditionalLaw, point: FloatArray, others: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """One elliptical slice step for N(mean, sigma^2 I) restricted by the unit rows `others`."""
    partner = law.sigma * generator.standard_normal(law.dimension)
    plane = np.stack([law.mean, point - law.mean, partner])
    products, gram = plane @ others.T, plane @ plane.T
    high = float(generator.uniform(0.0, 2.0 * np.pi))
    low, angle = high - 2.0 * np.pi, high
    for _ in range(_SLICE_SHRINKS):
        weights = np.array([1.0, np.cos(angle), np.sin(angle)])
        bound = law.level * np.sqrt(max(weights @ gram @ weights, 0.0))
        if (weights @ products >= bound).all():
            return np.asarray(weights @ plane)
        low, high = (angle, high) if angle < 0.0 else (low, angle)
        angle = float(generator.uniform(low, high))
    return point  # the bracket has shrunk to rounding error around the present point


def _run_chain(chain: _Chain, sweeps: int) -> tuple[FloatArray, SamplingReport]:
    history = [chain.sweep() for _ in range(_TUNING_SWEEPS)]
    chain.tune()
    target = sweeps
    while True:
        history += [chain.sweep() for _ in range(target - len(history))]
        report = _describe(chain, np.array(history))
        if report.effective_draws >= _TIMES_COVERED:
            return chain.points, report
        # The time is rather under- than overestimated by a short run, so this gives up safely.
        if report.effective_draws * _MOST_EXTENSION * sweeps < _TIMES_COVERED * target:
            raise SamplingError(
                f"after {target} sweeps the sampler has covered {report.effective_draws:.1f} "
                f"autocorrelation times, and {_MOST_EXTENSION * sweeps} would not cover the "
                f"{_TIMES_COVERED} wanted ({report}); ask for more sweeps, lower the separability "
                "or n, or raise kappa/sigma"
            )
        target *= 2


def _describe(chain: _Chain, history: FloatArray) -> SamplingReport:
    settled = history[len(history) // 5 :]
    names = ("smallest cosine", "mean norm", "signal cosine")
    curves = {name: _autocorrelation(settled[:, k]) for k, name in enumerate(names)}
    return SamplingReport(
        method="gibbs",
        separability=chain.law.level,
        acceptance_rate=chain.accepted / max(chain.drawn, 1),
        sweeps=len(history),
        slice_fraction=chain.sliced / max(chain.updates, 1),
        autocorrelation={name: tuple(map(float, c[1 : _LAGS + 1])) for name, c in curves.items()},
        autocorrelation_time=max(_integrated_time(curve) for curve in curves.values()),
    )


def _autocorrelation(series: FloatArray) -> FloatArray:
    """Autocorrelation at lags 0 .. m-1; a constant series counts as uncorrelated."""
    centred = series - series.mean()
    size = len(series)
    spectrum = np.abs(np.fft.rfft(centred, 2 * size)) ** 2
    covariance = np.fft.irfft(spectrum, 2 * size)[:size]
    rounding = size * (1e-13 * float(np.abs(series).max())) ** 2
    if covariance[0] <= rounding:
        return np.concatenate([[1.0], np.zeros(size - 1)])
    return np.asarray(covariance / covariance[0])


def _integrated_time(curve: FloatArray) -> float:
    """1 + 2 sum of autocorrelations, cut at the first negative pair (Geyer 1992)."""
    pairs = curve[: len(curve) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0.0)
    stop = int(negative[0]) if len(negative) else len(pairs)
    return max(1.0, float(2.0 * pairs[:stop].sum() - 1.0))
