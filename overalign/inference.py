"""Estimates with intervals, exact tests and sizes of studies: what is known from few data sets.

Everything is over independent data sets or seeds, whose differences within a set are compared: sets
differ from each other by more than what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError

__all__ = [
    "LEVEL",
    "Estimate",
    "bootstrap",
    "equivalence",
    "expanded_percentiles",
    "exponents",
    "holm",
    "mean",
    "paired_difference",
    "power",
    "sets_needed",
    "sign_flip",
    "slope",
    "student_quantile",
    "widened",
]

FloatArray: TypeAlias = NDArray[np.float64]

LEVEL = 0.95  # of every interval, unless another is asked for
MOST_ENUMERATED = 20  # differences of which all signs are tried
RANDOM_SIGNS = 2**17  # tried for more
FEWEST_POINTS = 3  # of a line with an interval
LARGEST_STUDY = 10**6  # data sets


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes
    ----------
    value, low, high : float

    Examples
    --------
    >>> Estimate(0.02, 0.01, 0.03).low
    0.01
    """

    value: float
    low: float
    high: float


# -------------------------------------------------------------------------------------- means


def student_quantile(free: Any, level: float = LEVEL) -> Any:
    """Half width, in standard errors, of a two-sided Student interval.

    Parameters
    ----------
    free : int or array of int
        Degrees of freedom, at least one.
    level : float

    Returns
    -------
    float or array
        Like ``free``.

    Raises
    ------
    ProblemError
        The level is not between 0 and 1.

    Examples
    --------
    >>> round(float(student_quantile(7)), 3)
    2.365
    """
    from scipy.special import stdtrit

    _require_share(level=level)
    return stdtrit(free, 0.5 + 0.5 * level)


def mean(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean with its Student interval.

    Parameters
    ----------
    values : array [set]
        One number for each data set or seed.
    level : float

    Returns
    -------
    Estimate
        A single value has no interval, and no values have no mean: not a number.

    Raises
    ------
    ProblemError
        Not one-dimensional, or with a value that is not finite: leave those out where that
        does not choose the result, and say so.

    Examples
    --------
    >>> [round(each, 3) for each in mean([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    each = _column("values", values)
    if not each.size:
        return Estimate(math.nan, math.nan, math.nan)
    middle = float(each.mean())
    if each.size == 1:
        return Estimate(middle, math.nan, math.nan)
    spread = float(each.std(ddof=1)) / math.sqrt(each.size)
    half = float(student_quantile(each.size - 1, level)) * spread
    return Estimate(middle, middle - half, middle + half)


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean of a - b within data sets, with its Student interval.

    Parameters
    ----------
    a, b : array [set]
        Of the same data sets in the same order.
    level : float

    Returns
    -------
    Estimate

    Raises
    ------
    ProblemError
        Different lengths, or a value that is not finite.

    Examples
    --------
    >>> round(paired_difference([5.0, 9.0, 2.0], [4.0, 8.0, 0.9]).value, 2)
    1.03
    """
    left, right = _column("a", a), _column("b", b)
    if left.size != right.size:
        raise ProblemError(f"{left.size} and {right.size} values are no pairs; give one of each")
    return mean(left - right, level)


def equivalence(values: ArrayLike, margin: float) -> Literal["HOLDS", "FAILS", "INCONCLUSIVE"]:
    """Whether a mean is zero for what matters: two one-sided t tests at 5 %.

    Parameters
    ----------
    values : array [set]
        As differences within data sets.
    margin : float
        What is small enough.

    Returns
    -------
    {"HOLDS", "FAILS", "INCONCLUSIVE"}
        HOLDS: the 90 % interval lies within the margin. FAILS: the 95 % interval lies outside.

    Raises
    ------
    ProblemError
        The margin is not positive; a value is not finite.

    Examples
    --------
    >>> equivalence([0.01, -0.02, 0.0, 0.01], 0.05), equivalence([0.1, 0.12, 0.11], 0.05)
    ('HOLDS', 'FAILS')
    """
    _require_positive(margin=margin)
    inner, outer = mean(values, 0.9), mean(values)
    if -margin <= inner.low and inner.high <= margin:
        return "HOLDS"
    return "FAILS" if outer.low > margin or outer.high < -margin else "INCONCLUSIVE"


def slope(x: ArrayLike, y: ArrayLike, level: float = LEVEL) -> Estimate:
    """Slope of a line by least squares, with its Student interval.

    Parameters
    ----------
    x, y : array [point]
        Give logarithms for an exponent.
    level : float

    Returns
    -------
    Estimate
        Not a number for fewer than three points.

    Raises
    ------
    ProblemError
        Different lengths; a value that is not finite; all x are the same.

    Examples
    --------
    >>> round(slope([0.0, 1.0, 2.0, 3.0], [0.1, 2.0, 4.0, 6.1]).value, 2)
    2.0
    """
    from scipy.stats import linregress

    across, up = _column("x", x), _column("y", y)
    if across.size != up.size:
        raise ProblemError(f"{across.size} x and {up.size} y are no points; give one of each")
    if across.size < FEWEST_POINTS:
        return Estimate(math.nan, math.nan, math.nan)
    if (across == across[0]).all():
        raise ProblemError(f"all x are {across[0]:g}; a slope needs different ones")
    fit = linregress(across, up)
    half = float(student_quantile(across.size - 2, level) * fit.stderr)
    return Estimate(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)


# -------------------------------------------------------------------------------------- tests


def sign_flip(differences: ArrayLike, *, seed: int = 0) -> float:
    """One-sided p-value of a positive mean, whatever the law of the differences.

    If a treatment does nothing, each difference within a pair is as likely to be positive as
    negative, so that all choices of the signs are equally likely.

    Parameters
    ----------
    differences : array [pair]
    seed : int
        Of random signs, for more than 20 differences; all signs are tried for fewer.

    Returns
    -------
    float
        P(mean with random signs >= mean). The smallest for k pairs is 2^-k.

    Raises
    ------
    ProblemError
        No differences, or one that is not finite.

    Examples
    --------
    >>> sign_flip([0.2, 0.1, 0.3])
    0.125
    """
    each = _column("differences", differences)
    if not each.size:
        raise ProblemError("there are no differences to test")
    if each.size > MOST_ENUMERATED:
        return _random_sign_flip(each, seed)
    sums = np.zeros(1)
    for difference in each:
        sums = np.concatenate([sums - difference, sums + difference])
    # sums that differ by their rounding alone are ties
    tie = 1e-12 * float(np.abs(each).sum())
    return float(np.mean(sums >= sums[-1] - tie))


def _random_sign_flip(differences: FloatArray, seed: int) -> float:
    from scipy.stats import permutation_test

    test = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=RANDOM_SIGNS,
        batch=2**12,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm(p_values: ArrayLike) -> FloatArray:
    """P-values adjusted for their number, by Holm's method.

    Parameters
    ----------
    p_values : array [test]

    Returns
    -------
    array [test]
        Rejecting what is below .05 makes a false rejection with probability of at most .05,
        however the tests depend on each other.

    Raises
    ------
    ProblemError
        A number is not between 0 and 1.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    each = _column("p_values", p_values)
    if ((each < 0.0) | (each > 1.0)).any():
        raise ProblemError(f"p-values lie between 0 and 1; found {each.min():g} to {each.max():g}")
    order = each.argsort(kind="stable")
    factors = np.arange(each.size, 0, -1)
    adjusted = np.empty_like(each)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * each[order]), 1.0)
    return adjusted


def widened(estimate: Estimate, comparisons: int, level: float = LEVEL) -> Estimate:
    """An interval that holds together with others, by Bonferroni's inequality.

    Parameters
    ----------
    estimate : Estimate
        With an interval of the given level.
    comparisons : int
        Number of intervals that shall hold at once.
    level : float

    Returns
    -------
    Estimate
        Its interval has the level 1 - (1 - level) / comparisons, as far as the estimate is normal.

    Raises
    ------
    ProblemError
        Fewer than one comparison; the level is not between 0 and 1.

    Examples
    --------
    >>> [round(each, 2) for each in widened(Estimate(1.0, 0.0, 3.0), 10)]
    [1.0, -0.43, 3.86]
    """
    from scipy.special import ndtri

    if comparisons < 1:
        raise ProblemError(f"comparisons is {comparisons}, expected a whole number >= 1")
    _require_share(level=level)
    value, low, high = estimate
    tail = 0.5 - 0.5 * level
    factor = float(ndtri(tail / comparisons) / ndtri(tail))
    return Estimate(value, value - factor * (value - low), value + factor * (high - value))


# ---------------------------------------------------------------------------------- bootstrap


def expanded_percentiles(
    replicates: ArrayLike, count: int, free: int | None = None, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates, expanded for a small number of data sets.

    Percentiles are too narrow for few data sets: the bootstrap's variance is that of the sample,
    (count - 1) / count times an unbiased one, and normal quantiles stand for Student's. The
    tails are taken so that the interval of a mean is as wide as Student's (Hesterberg 2014,
    arXiv:1411.5279).

    Parameters
    ----------
    replicates : array [replicate]
    count : int
        Data sets that were resampled.
    free : int, optional
        Degrees of freedom, one less unless given.
    level : float

    Returns
    -------
    low, high : float
        Not a number without a degree of freedom.

    Examples
    --------
    >>> low, high = expanded_percentiles(np.linspace(-3.0, 3.0, 601), 10)
    >>> round(low, 2), round(high, 2)
    (-2.95, 2.95)
    """
    from scipy.special import ndtr

    free = count - 1 if free is None else free
    if free < 1:
        return math.nan, math.nan
    tail = float(ndtr(-student_quantile(free, level) * math.sqrt(count / free)))
    low, high = np.quantile(np.asarray(replicates, dtype=float), [tail, 1.0 - tail])
    return float(low), float(high)


def bootstrap(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    seed: int,
    resamples: int = 4000,
    level: float = LEVEL,
) -> Estimate:
    """Any statistic of data sets, with its bootstrap interval.

    Parameters
    ----------
    statistic : callable
        Of the arrays.
    *arrays : array [set, ...]
        Their rows are resampled together.
    seed, resamples : int
    level : float

    Returns
    -------
    Estimate
        Percentiles, expanded for the number of data sets; not a number for fewer than two.

    Raises
    ------
    ProblemError
        Arrays of different lengths or none; the statistic of some resample is not finite.

    Examples
    --------
    >>> falls = np.array([0.9, 1.1, 1.0, 1.2, 0.8])
    >>> ratio = bootstrap(lambda a, b: a.mean() / b.mean(), falls, 2.0 * falls, seed=0)
    >>> round(ratio.value, 3), round(ratio.high - ratio.low, 3)
    (0.5, 0.0)
    """
    tables = [np.asarray(array) for array in arrays]
    lengths = {len(table) if table.ndim else 0 for table in tables}
    if len(lengths) != 1 or 0 in lengths:
        raise ProblemError(
            f"arrays of {sorted(lengths)} rows; give arrays with one row for each data set"
        )
    (count,) = lengths
    value = float(statistic(*tables))
    rows = np.random.default_rng(seed).integers(count, size=(resamples, count))
    replicates = np.array([statistic(*(table[each] for table in tables)) for each in rows])
    if not (math.isfinite(value) and np.isfinite(replicates).all()):
        missing = int((~np.isfinite(replicates)).sum())
        raise ProblemError(
            f"the statistic is {value:g}, and not finite on {missing} of {resamples} resamples; "
            "it must be finite whichever data sets are drawn"
        )
    return Estimate(value, *expanded_percentiles(replicates, count, level=level))


def exponents(
    y: ArrayLike,
    factors: Mapping[str, ArrayLike],
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 4000,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Exponents of a power law: log y = a + sum over k of b_k log factor_k, by least squares.

    Parameters
    ----------
    y : array [row]
        Positive.
    factors : mapping of str to array [row]
        Positive, and varying independently of each other.
    groups : array [row], optional
        Rows of the same group, as a data set or seed at all sizes, are resampled together; each
        row by itself unless given.
    seed, resamples : int
        Of the bootstrap. Resamples whose factors do not tell the exponents apart are left out.
    level : float

    Returns
    -------
    dict of str to Estimate
        b_k with percentile intervals, expanded for the number of groups less that of the
        coefficients that are known from differences between groups alone.

    Raises
    ------
    ProblemError
        Lengths that do not fit; numbers that are not positive; factors that do not tell the
        exponents apart, in the rows or in most resamples.

    Examples
    --------
    >>> n, h = np.array([[8, 16], [16, 16], [32, 16], [8, 32], [8, 64], [16, 64]]).T
    >>> found = exponents(3.0 * n**-2.0 / h, {"n": n, "h": h}, seed=0)
    >>> round(found["n"].value, 6), round(found["h"].value, 6)
    (-2.0, -1.0)
    """
    logs = _logarithms("y", y)
    columns = [_logarithms(name, values) for name, values in factors.items()]
    if not columns or any(each.size != logs.size for each in columns):
        raise ProblemError(f"give factors with {logs.size} numbers each, as y has")
    group = np.arange(logs.size) if groups is None else _group_numbers(groups, logs.size)
    count = int(group.max(initial=-1)) + 1
    # centred, so that the products below lose no digits
    design = np.column_stack([np.ones_like(logs), *(each - each.mean() for each in columns)])
    _require_rank(design, list(factors))
    counts = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    weights = counts[:, group].astype(float)
    gram = np.einsum("rs,sj,sk->rjk", weights, design, design, optimize=True)
    known = np.linalg.matrix_rank(gram, hermitian=True) == design.shape[1]
    if known.mean() < 0.5:
        raise ProblemError(
            f"{count} rows or groups are too few for intervals of {len(columns)} exponents: most "
            "resamples of them do not tell the exponents apart; give more sizes"
        )
    sums = np.einsum("rs,sj,s->rj", weights, design, logs, optimize=True)
    fits = np.linalg.solve(gram[known], sums[known][..., None])[..., 0]
    # not by the sums above, whose condition is squared
    value = np.linalg.lstsq(design, logs, rcond=None)[0]
    members = np.eye(count)[:, group]
    between = np.linalg.matrix_rank(members @ design / members.sum(axis=1, keepdims=True))
    return {
        name: Estimate(
            float(exponent), *expanded_percentiles(column, count, count - between, level)
        )
        for name, exponent, column in zip(factors, value[1:], fits.T[1:], strict=True)
    }


def _require_rank(design: FloatArray, names: list[str]) -> None:
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ProblemError(
            f"the rows do not tell the exponents of {', '.join(names)} apart; add rows that "
            "change one of them alone"
        )


def _group_numbers(groups: ArrayLike, rows: int) -> NDArray[np.intp]:
    labels = np.asarray(groups)
    if labels.shape != (rows,):
        raise ProblemError(
            f"groups have the shape {labels.shape}, expected one for each row, {rows}"
        )
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp)


def _logarithms(name: str, values: ArrayLike) -> FloatArray:
    column = _column(name, values)
    if (column <= 0.0).any():
        raise ProblemError(f"{name} holds {column.min():g}; a power law needs positive numbers")
    return np.asarray(np.log(column))


# --------------------------------------------------------------------------------- study sizes


def power(effect: float, spread: float, count: int, level: float = LEVEL) -> float:
    """Probability that the Student interval of a mean lies above zero.

    Parameters
    ----------
    effect : float
        True mean of the differences, positive.
    spread : float
        Their standard deviation, as from a pilot; positive.
    count : int
        Data sets, at least two.
    level : float
        Of the interval.

    Returns
    -------
    float
        For normal differences.

    Raises
    ------
    ProblemError
        A number out of range.

    Examples
    --------
    >>> round(power(0.01, 0.01, 13), 3)
    0.91
    """
    from scipy.stats import nct

    _require_positive(effect=effect, spread=spread)
    if count < 2:
        raise ProblemError(f"count is {count}, expected a whole number >= 2")
    quantile = float(student_quantile(count - 1, level))
    return float(nct.sf(quantile, count - 1, math.sqrt(count) * effect / spread))


_power = power  # `sets_needed` has an argument of this name


def sets_needed(effect: float, spread: float, power: float = 0.9, level: float = LEVEL) -> int:
    """The fewest data sets that show an effect with the given power.

    Parameters
    ----------
    effect, spread : float
        As in `power`.
    power : float
        Between 0 and 1.
    level : float

    Returns
    -------
    int

    Raises
    ------
    ProblemError
        A number out of range; more than a million data sets are needed.

    Examples
    --------
    >>> sets_needed(0.01, 0.01), sets_needed(0.01, 0.04)
    (13, 171)
    """
    _require_share(power=power)
    if _power(effect, spread, LARGEST_STUDY, level) < power:
        raise ProblemError(
            f"an effect of {effect:g} in a spread of {spread:g} needs more than "
            f"{LARGEST_STUDY:,} data sets; ask for a larger effect"
        )
    fewest, enough = 1, LARGEST_STUDY
    while enough - fewest > 1:
        middle = (fewest + enough) // 2
        if _power(effect, spread, middle, level) >= power:
            enough = middle
        else:
            fewest = middle
    return enough


# -------------------------------------------------------------------------------------- checks


def _column(name: str, values: ArrayLike) -> FloatArray:
    column = np.asarray(values, dtype=float)
    if column.ndim != 1:
        raise ProblemError(f"{name} has the shape {column.shape}, expected one dimension")
    if not np.isfinite(column).all():
        at = int(np.flatnonzero(~np.isfinite(column))[0])
        raise ProblemError(f"{name}[{at}] is {column[at]:g}; every number must be finite")
    return column


def _require_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (number > 0.0 and math.isfinite(number)):
            raise ProblemError(f"{name} is {number:g}, expected a positive number")


def _require_share(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0.0 < number < 1.0:
            raise ProblemError(f"{name} is {number:g}, expected a number between 0 and 1")
