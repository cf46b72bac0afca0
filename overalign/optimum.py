"""Curves over data sets: their means, their lowest point, and how far their ends lie above it.

Statistics alone: any curves along log alpha will do, of networks of any kind.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError
from .inference import expanded_percentiles, student_quantile

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Optimum", "Rise", "above_lowest", "find_optimum", "lowest_points", "over_sets"]

FloatArray: TypeAlias = NDArray[np.float64]

FEWEST_ALPHAS = 3
FEWEST_SETS = 3  # for an interval: two data sets choose each other's optimum


def over_sets(values: xr.DataArray) -> xr.DataArray:
    """Mean over the data sets with its Student interval.

    Parameters
    ----------
    values : xarray.DataArray
        With the dimension ``set``; not-a-number entries are left out.

    Returns
    -------
    xarray.DataArray
        The dimension ``set`` is replaced by ``statistic``: mean, low, high (95 %; not a number for
        a single data set).

    Examples
    --------
    >>> import xarray as xr
    >>> over_sets(xr.DataArray([1.0, 2.0, 3.0], dims="set")).values
    array([ 2.        , -0.48413772,  4.48413772])
    """
    import xarray as xr

    count = values.notnull().sum("set")
    mean = values.mean("set")
    several = count > 1
    spread = values.std("set", ddof=1).where(several) if values.sizes["set"] > 1 else mean * np.nan
    quantile = student_quantile(np.maximum(count.values - 1, 1))
    half = quantile * spread / np.sqrt(np.maximum(count, 1))
    statistics = xr.Variable("statistic", ["mean", "low", "high"])
    joined: xr.DataArray = xr.concat([mean, mean - half, mean + half], dim=statistics)
    return joined.rename(values.name)


def above_lowest(curves: xr.DataArray) -> xr.DataArray:
    """Every data set's curve less its value where the mean curve is lowest: a paired comparison.

    Parameters
    ----------
    curves : xarray.DataArray
        With the dimensions ``set`` and ``alpha``.

    Returns
    -------
    xarray.DataArray
        The same shape; zero where the mean is lowest. Differences between data sets, which are
        larger than those between scales, drop out.

    Examples
    --------
    >>> import xarray as xr
    >>> above_lowest(xr.DataArray([[3.0, 1.0], [7.0, 6.0]], dims=("set", "alpha"))).values
    array([[2., 0.],
           [1., 0.]])
    """
    mean = curves.mean("set", skipna=False).squeeze()
    if not mean.notnull().any():
        return curves * np.nan
    return curves - curves.isel(alpha=int(mean.argmin("alpha")))


class Rise(NamedTuple):
    """How much larger an end of the curve is than its optimum, with a 95 % interval.

    Examples
    --------
    >>> Rise(0.02, 0.01, 0.03).value
    0.02
    """

    value: float
    low: float
    high: float


class Optimum(NamedTuple):
    """Where a curve is lowest.

    Attributes
    ----------
    log_alpha : float
        Of the lowest point of the mean over the data sets: the vertex of the parabola, in log
        alpha, through the lowest grid point and its neighbours; the grid point itself at an end.
    low, high : float
        95 % bootstrap interval over the data sets: percentiles, expanded for their small number
        (Hesterberg 2014, arXiv:1411.5279).
    interior : float
        Share of the bootstrap samples whose lowest grid point is not an end of the grid.
    value : float
        The mean curve at its lowest grid point.
    rise_small, rise_large : Rise
        The ends of the grid against the optimum. The optimum of a data set is
        taken from the others, so that choosing the lowest point of a noisy curve does not make a
        rise.
    smallest, largest : float
        log alpha of the ends: of the scales at which every data set has a value.

    Examples
    --------
    >>> Optimum._fields[:3]
    ('log_alpha', 'low', 'high')
    """

    log_alpha: float
    low: float
    high: float
    interior: float
    value: float
    rise_small: Rise
    rise_large: Rise
    smallest: float
    largest: float


def find_optimum(
    curves: ArrayLike, log_alpha: ArrayLike, seed: int = 0, bootstraps: int = 2000
) -> Optimum:
    """The optimum of a mean curve, with intervals over the data sets.

    Parameters
    ----------
    curves : array [set, alpha]
        One initialisation of a variable of `run_ucurve`.
    log_alpha : array [alpha]
        Increasing.
    seed : int
        Of the bootstrap.
    bootstraps : int
        Number of its samples.

    Returns
    -------
    Optimum
        Intervals are not a number for fewer than three data sets.

    Raises
    ------
    ProblemError
        Fewer than three scales at which every data set has a value; shapes that do not fit; scales
        that do not increase.

    Examples
    --------
    >>> grid = np.linspace(-4.0, 4.0, 9)
    >>> shifts = np.array([[-0.1], [0.0], [0.2]])
    >>> optimum = find_optimum((grid - 1.0 - shifts) ** 2, grid)
    >>> round(optimum.log_alpha, 3), optimum.interior
    (1.033, 1.0)
    """
    table, grid = np.asarray(curves, dtype=float), np.asarray(log_alpha, dtype=float)
    _require_curves(table, grid, bootstraps)
    complete = np.isfinite(table).all(axis=0)
    table, grid = table[:, complete], grid[complete]
    if grid.size < FEWEST_ALPHAS:
        raise ProblemError(
            f"all data sets have a value at {grid.size} alpha(s) only; an optimum needs "
            f"{FEWEST_ALPHAS}"
        )
    sets = len(table)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(sets, np.full(sets, 1.0 / sets), size=bootstraps)
    mean, means = table.mean(axis=0), counts @ table / sets
    places = lowest_points(means, grid)
    lowest = means.argmin(axis=1)
    low, high = expanded_percentiles(places, sets)
    interior = float(np.mean((lowest > 0) & (lowest < grid.size - 1)))
    if sets < FEWEST_SETS:
        low = high = interior = math.nan
    return Optimum(
        float(lowest_points(mean[None], grid)[0]),
        low,
        high,
        interior,
        float(mean.min()),
        _rise(table, 0, counts),
        _rise(table, -1, counts),
        float(grid[0]),
        float(grid[-1]),
    )


def lowest_points(curves: FloatArray, grid: FloatArray) -> FloatArray:
    """Where curves are lowest, between the points of their grid.

    Parameters
    ----------
    curves : array [curve, point]
        Finite.
    grid : array [point]
        Increasing, three points or more.

    Returns
    -------
    array [curve]
        The vertex of the parabola through the lowest grid point and its neighbours; the grid
        point itself at an end.

    Examples
    --------
    >>> grid = np.linspace(-4.0, 4.0, 9)
    >>> lowest_points(np.array([(grid - 1.3) ** 2, grid]), grid).round(3).tolist()
    [1.3, -4.0]
    """
    lowest, rows = curves.argmin(axis=1), np.arange(len(curves))
    k = np.clip(lowest, 1, grid.size - 2)
    x0, x1, x2 = grid[k - 1], grid[k], grid[k + 1]
    y0, y1, y2 = curves[rows, k - 1], curves[rows, k], curves[rows, k + 1]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    vertex = 0.5 * (x0 + x1 - left / np.where(bend > 0.0, bend, np.inf))
    inside = (lowest == k) & (bend > 0.0)
    return np.asarray(np.where(inside, vertex, grid[lowest]))


def _require_curves(table: FloatArray, grid: FloatArray, bootstraps: int) -> None:
    if table.ndim != 2 or table.shape[0] < 1 or grid.shape != table.shape[1:]:
        raise ProblemError(
            f"curves {table.shape} and log_alpha {grid.shape} do not fit; expected [set, alpha] "
            "and [alpha] (choose one initialisation: .sel(initialisation=...))"
        )
    if not (np.isfinite(grid).all() and (np.diff(grid) > 0.0).all()):
        raise ProblemError("log_alpha must be finite and increase")
    if bootstraps < 1:
        raise ProblemError(f"bootstraps is {bootstraps}, expected a whole number >= 1")


def _rise(table: FloatArray, end: int, counts: NDArray[Any]) -> Rise:
    """Paired difference between an end and the optimum of the other data sets.

    Because the data sets share most of what chooses their optima, the differences are not
    independent: the standard error is that of the whole procedure over bootstrap samples, in which
    copies of a data set do not choose for each other.
    """
    sets = len(table)
    if sets == 1:
        return Rise(float(table[0, end] - table[0].min()), math.nan, math.nan)
    value = _gap_to_others(table, end, np.ones(sets))
    if sets < FEWEST_SETS:
        return Rise(value, math.nan, math.nan)
    several = [row for row in counts if np.count_nonzero(row) > 1]
    spread = np.std([_gap_to_others(table, end, row) for row in several])
    # the bootstrap's spread is that of sets - 1 degrees of freedom divided by sets
    half = float(student_quantile(sets - 1) * math.sqrt(sets / (sets - 1)) * spread)
    return Rise(value, value - half, value + half)


def _gap_to_others(table: FloatArray, end: int, counts: NDArray[Any]) -> float:
    """Mean over data sets, each taken counts times, of the end less the optimum of the others."""
    weighted = counts[:, None] * table
    best = (weighted.sum(axis=0) - weighted).argmin(axis=1)
    return float(counts @ (table[:, end] - table[np.arange(len(table)), best]) / counts.sum())
