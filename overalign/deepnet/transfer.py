"""Transfer of the best output multiplier from small networks to a larger one.

The theory's upper bound has its optimum at c* proportional to n^-2 h^-1 (theory.md 5.3); other
moments of training give other exponents (theory.md 5.4). A law is fitted to the c* of sweeps at
several sizes, with what the seeds leave open, and says what it predicts at another size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ProblemError
from ..inference import LEVEL, expanded_percentiles

__all__ = [
    "RIVALS",
    "BestMultiplier",
    "Prediction",
    "TransferLaw",
    "best_multiplier",
    "fit_transfer",
]

FloatArray: TypeAlias = NDArray[np.float64]

FEWEST_SEEDS = 3
ROUNDING = 1e-9  # of exponents
REACH = 2.0  # binary logarithms of c to either side of the highest point that make the parabola

RIVALS: dict[str, tuple[float, float]] = {
    "the paper's bound": (-2.0, -1.0),
    "angle at the onset of fitting": (-1.0, -1.0),
    "output at initialisation, aligned neurons": (0.0, -1.0),
    "output at initialisation, random neurons": (0.0, -0.5),
}
"""Exponents of n and h in c*, of theory.md 5.3 and 5.4."""


@dataclass(frozen=True, eq=False)
class BestMultiplier:
    """c* of one sweep, with bootstrap replicates over its seeds.

    Attributes
    ----------
    log2_c : float
        Vertex of a parabola around the highest mean accuracy.
    replicates : array [replicate]
        The same of resampled seeds.
    seeds : int
    at_end : float
        Share of the replicates whose highest point is an end of the grid.

    Examples
    --------
    See `best_multiplier`.
    """

    log2_c: float
    replicates: FloatArray
    seeds: int
    at_end: float


def best_multiplier(
    accuracy: ArrayLike, log2_c: ArrayLike, *, seed: int = 0, replicates: int = 2000
) -> BestMultiplier:
    """The output multiplier of the highest mean accuracy, between the points of the grid.

    Parameters
    ----------
    accuracy : array [seed, c]
        As ``table.test_accuracy.sel(task="given", learning_rate=...)`` of a sweep. An output
        multiplier at which a seed has no number is left out.
    log2_c : array [c]
        Increasing.
    seed : int
        Of the bootstrap. Sweeps with as many seeds are resampled alike, so that what the same
        seed has in common at several sizes stays in common.
    replicates : int

    Returns
    -------
    BestMultiplier
        By a least-squares parabola through the points within a factor of 4 of the highest, and its
        neighbours in any case.

    Raises
    ------
    ProblemError
        Fewer than three seeds or output multipliers; shapes that do not fit; the highest point is
        an end of the grid, so that c* may lie beyond it.

    Examples
    --------
    >>> log2_c = np.arange(-8.0, 2.0, 2.0)
    >>> seeds = np.array([[-0.1], [0.0], [0.1]])
    >>> best = best_multiplier(0.8 - 0.01 * (log2_c + 3.5 + seeds) ** 2, log2_c)
    >>> round(best.log2_c, 2), best.seeds
    (-3.5, 3)
    """
    table, grid = np.asarray(accuracy, dtype=float), np.asarray(log2_c, dtype=float)
    if table.ndim != 2 or grid.shape != table.shape[1:] or not (np.diff(grid) > 0.0).all():
        raise ProblemError(
            f"accuracy {table.shape} and log2_c {grid.shape} do not fit; expected [seed, c] and "
            "[c], increasing"
        )
    complete = np.isfinite(table).all(axis=0)
    table, grid = table[:, complete], grid[complete]
    seeds = len(table)
    if seeds < FEWEST_SEEDS or grid.size < 3:
        raise ProblemError(
            f"{seeds} seeds have an accuracy at {grid.size} output multipliers in common; the "
            f"best of them needs {FEWEST_SEEDS} of either"
        )
    counts = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), replicates)
    means = np.vstack([table.mean(axis=0), counts @ table / seeds])
    highest = means.argmax(axis=1)
    ends = (highest == 0) | (highest == grid.size - 1)
    if ends[0]:
        raise ProblemError(
            f"the accuracy is highest at an end of the grid, c = 2^{grid[highest[0]]:g}; extend "
            "the grid until it falls again"
        )
    places = _vertices(means, highest, grid)
    return BestMultiplier(float(places[0]), places[1:], seeds, float(ends[1:].mean()))


def _vertices(means: FloatArray, highest: NDArray[np.intp], grid: FloatArray) -> FloatArray:
    """Vertices of the parabolas around the highest points; those points where there is none."""
    places = grid[highest]
    for k in np.unique(highest):
        if k in (0, grid.size - 1):
            continue
        near = np.abs(grid - grid[k]) <= REACH
        near[k - 1 : k + 2] = True
        rows = highest == k
        offsets = grid[near] - grid[k]
        bend, slope, _ = np.polyfit(offsets, means[np.ix_(rows, near)].T, 2)
        bent = bend < 0.0
        steps = np.where(bent, -0.5 * slope / np.where(bent, bend, -1.0), 0.0)
        places[rows] += np.clip(steps, offsets[0], offsets[-1])
    return places


# ---------------------------------------------------------------- the law


class Prediction(NamedTuple):
    """log2 c* at a size, with its 95 % interval over the seeds of the sweeps that were fitted.

    Examples
    --------
    >>> Prediction(-4.0, -5.0, -3.0).low
    -5.0
    """

    log2_c: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TransferLaw:
    """log2 c* = a + b log2 n + e log2 h.

    Attributes
    ----------
    coefficients : array [3]
        a, b, e.
    replicates : array [replicate, 3]
        The same of resampled seeds.
    residuals : array [size]
        log2 c* less the law: what a law of this form misses is not in the intervals.
    seeds : int
        The fewest of a sweep; percentile intervals are widened for so few (Hesterberg 2014,
        arXiv:1411.5279).

    Examples
    --------
    See `fit_transfer`.
    """

    coefficients: FloatArray
    replicates: FloatArray
    residuals: FloatArray
    seeds: int

    @property
    def intervals(self) -> FloatArray:
        """95 % bootstrap intervals of a, b, e; [3, 2]."""
        return np.array([expanded_percentiles(each, self.seeds) for each in self.replicates.T])

    def predict(self, n: float, width: float) -> Prediction:
        """The best output multiplier at a size.

        Parameters
        ----------
        n, width : float
            Training samples and hidden units (or channels).

        Returns
        -------
        Prediction
        """
        row = np.array([1.0, math.log2(n), math.log2(width)])
        value = float(row @ self.coefficients)
        return Prediction(value, *expanded_percentiles(self.replicates @ row, self.seeds))

    def is_compatible(self, n_exponent: float, width_exponent: float) -> bool:
        """Whether a pair of exponents (b, e) lies in the joint 95 % region.

        Parameters
        ----------
        n_exponent, width_exponent : float

        Returns
        -------
        bool
            The region is an ellipse: Mahalanobis distances under the covariance of the replicates,
            up to Hotelling's quantile for so few seeds.
        """
        from scipy.special import fdtri

        exponents = self.replicates[:, 1:]
        covariance = np.cov(exponents.T) * self.seeds / (self.seeds - 1)
        away = np.array([n_exponent, width_exponent]) - self.coefficients[1:]
        variances, axes = np.linalg.eigh(covariance)
        # exponents without scatter are known to rounding
        distance = float(np.sum((away @ axes) ** 2 / np.maximum(variances, ROUNDING**2)))
        free = self.seeds - 2
        return distance <= 2.0 * (self.seeds - 1) / free * float(fdtri(2, free, LEVEL))

    @property
    def compatible_rivals(self) -> tuple[str, ...]:
        """Names of the `RIVALS` in the joint region."""
        return tuple(name for name, pair in RIVALS.items() if self.is_compatible(*pair))

    def __str__(self) -> str:
        (_, b, e), (_, of_b, of_e) = self.coefficients, self.intervals
        rivals = "; ".join(
            f"{name} ({pair[0]:g}, {pair[1]:g}) "
            f"{'is' if self.is_compatible(*pair) else 'is not'} in the joint region"
            for name, pair in RIVALS.items()
        )
        return (
            f"c* grows as n^{b:.2f} [{of_b[0]:.2f}, {of_b[1]:.2f}] h^{e:.2f} "
            f"[{of_e[0]:.2f}, {of_e[1]:.2f}]; {rivals}."
        )


def fit_transfer(n: ArrayLike, width: ArrayLike, best: Sequence[BestMultiplier]) -> TransferLaw:
    """Fit how the best output multiplier depends on the size, by least squares.

    Parameters
    ----------
    n, width : array [size]
        Training samples and hidden units (or channels) of each sweep.
    best : sequence [size] of BestMultiplier
        Of the same number of replicates.

    Returns
    -------
    TransferLaw

    Raises
    ------
    ProblemError
        The sizes do not tell the exponents apart: fewer than three, or all on one line in
        (log n, log h); numbers that do not fit.

    Examples
    --------
    >>> log2_c = np.arange(-12.0, 6.0, 2.0)
    >>> generator = np.random.default_rng(0)
    >>> sizes = [(250, 32), (500, 32), (1000, 32), (250, 64), (250, 128)]
    >>> best = []
    >>> for n, h in sizes:
    ...     place = 9.0 - np.log2(n) - 0.5 * np.log2(h)
    ...     noise = generator.normal(0.0, 0.002, (8, log2_c.size))  # eight seeds
    ...     best.append(best_multiplier(0.8 - 0.004 * (log2_c - place) ** 2 + noise, log2_c))
    >>> law = fit_transfer(*zip(*sizes), best)
    >>> law.coefficients[1:].round(1), round(law.predict(2000, 64).log2_c, 1)
    (array([-1. , -0.5]), -5.0)
    """
    sizes = np.log2(np.column_stack([np.asarray(n, float), np.asarray(width, float)]))
    if len(sizes) != len(best) or len({each.replicates.size for each in best}) > 1:
        raise ProblemError(
            f"{len(sizes)} sizes and {len(best)} best multipliers, with "
            f"{[each.replicates.size for each in best]} replicates; give one for each size, with "
            "the same number of replicates"
        )
    design = np.column_stack([np.ones(len(sizes)), sizes])
    if not np.isfinite(sizes).all() or np.linalg.matrix_rank(design) < 3:
        raise ProblemError(
            "the sizes do not tell the exponents of n and h apart; add a size that changes one of "
            "them alone"
        )
    places = np.column_stack([each.log2_c for each in best])
    places = np.vstack([places, np.column_stack([each.replicates for each in best])])
    fits = np.linalg.lstsq(design, places.T, rcond=None)[0].T
    seeds = min(each.seeds for each in best)
    return TransferLaw(fits[0], fits[1:], places[0] - design @ fits[0], seeds)
