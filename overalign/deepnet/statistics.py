"""Statistics of a sweep that cannot be tuned into a U: what is compared is chosen on other seeds.

The seeds are split by their place, which nobody chooses: the first, third, fifth ... choose the
output multiplier c* (and the learning rate at each c, where there are several), the second,
fourth, sixth ... test it. Within a seed all networks have the same data, initial weights and
batches, so differences within seeds are tested: under the hypothesis that c does not matter each
is as likely to be positive as negative, whatever the law of the accuracies.

A run that did not reach its training target is not compared: that a network is not trained yet is
no over-alignment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError
from ..inference import LEVEL, mean, sign_flip
from ..verdicts import Judgement
from .ledger import OUTCOMES

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Control",
    "Dispersion",
    "Gain",
    "Side",
    "UCurveTest",
    "at_best_rates",
    "control",
    "dispersion",
    "gain",
    "summary",
    "trained",
    "u_curve",
]

FloatArray: TypeAlias = NDArray[np.float64]

SIGNIFICANCE = 0.01  # of the test of one side
FEWEST_PAIRS = 7  # the smallest p of the test with k pairs is 2^-k
SMALLEST_DIP = 0.01  # an accuracy: where a dip of a point is ruled out there is none
CONTROL = "linear_teacher"


# ---------------------------------------------------------------- the curves that are compared


@dataclass(frozen=True, eq=False)
class _Curves:
    """Accuracies at the learning rate of each c; not a number where the target was missed."""

    log2_c: FloatArray  # [c]
    learning_rates: FloatArray  # [c]
    choosing: FloatArray  # [seed, c]
    testing: FloatArray  # [seed, c]
    incomplete: int  # seeds of which a run is missing

    @property
    def usable(self) -> NDArray[np.intp]:
        """Places on the grid at which every run of the choosing half reached its target."""
        reached = np.isfinite(self.choosing).all(axis=0) & (len(self.choosing) > 0)
        return np.asarray(np.flatnonzero(reached))

    @property
    def best(self) -> int:
        """Place of c*: the highest mean of the choosing half."""
        usable = self.usable
        return int(usable[self.choosing[:, usable].mean(axis=0).argmax()])


def trained(table: xr.Dataset) -> xr.DataArray:
    """Whether runs are fit to be compared.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep: with ``outcome`` and the attribute ``settings``.

    Returns
    -------
    xarray.DataArray of bool
        The target was reached; without a target in the settings (``stop_accuracy``,
        ``stop_risk`` and ``patience``), the run came to the end of its budget and was not stuck.

    Examples
    --------
    >>> import xarray as xr
    >>> trained(xr.Dataset({"outcome": ("run", ["REACHED", "STUCK", "BUDGET"])})).values
    array([ True, False, False])
    """
    training = json.loads(table.attrs.get("settings", "{}")).get("training", {})
    targets = [training.get(name, True) for name in ("stop_accuracy", "stop_risk")]
    targets.append(training.get("patience"))
    has_target = any(target is not None for target in targets)
    return table["outcome"].isin(["REACHED"] if has_target else ["REACHED", "BUDGET"])


def at_best_rates(
    table: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    task: str = "given",
    learning_rate: float | None = None,
) -> xr.Dataset:
    """The networks that are compared: one learning rate at each c.

    Parameters
    ----------
    table, quantity, task, learning_rate
        As in `u_curve`.

    Returns
    -------
    xarray.Dataset
        One task, without the seeds of which a run is missing, at the learning rate of the highest
        mean over the choosing half among those at which every run of that half reached its target;
        ``learning_rate`` is along ``output_multiplier``. ``chooses`` says for each seed whether it
        is of the choosing half.

    Raises
    ------
    ProblemError
        The table has no such quantity, task or learning rate, or no seed of which all runs are
        there.
    """
    import xarray as xr

    table = _selected(table, quantity, task, learning_rate)
    # by place, before any seed is left out
    table = table.assign_coords(chooses=("seed", np.arange(table.sizes["seed"]) % 2 == 0))
    cell = ["learning_rate", "output_multiplier"]
    table = table.isel(seed=table["outcome"].isin(OUTCOMES).all(cell).values)
    if not table.sizes["seed"]:
        raise ProblemError(
            f"labels {task}: runs of every seed are missing, so that there is nothing to compare; "
            "do the failed ones again"
        )
    choosing = table.isel(seed=table["chooses"].values)
    sums = choosing[quantity].where(trained(choosing)).sum("seed", skipna=False)
    best = sums.transpose(*cell).fillna(-math.inf).values.argmax(axis=0)
    return table.isel(learning_rate=xr.DataArray(best, dims="output_multiplier"))


def _curves(table: xr.Dataset, quantity: str, task: str, learning_rate: float | None) -> _Curves:
    chosen = at_best_rates(table, quantity, task=task, learning_rate=learning_rate)
    values = chosen[quantity].where(trained(chosen)).transpose("seed", "output_multiplier").values
    chooses = chosen["chooses"].values
    return _Curves(
        chosen["log2_output_multiplier"].values.astype(float),
        chosen["learning_rate"].values.astype(float),
        values[chooses].astype(float),
        values[~chooses].astype(float),
        table.sizes["seed"] - chooses.size,
    )


def _selected(
    table: xr.Dataset, quantity: str, task: str, learning_rate: float | None
) -> xr.Dataset:
    """The part of a table that is asked for, or an error that says what there is."""
    if quantity not in table or "outcome" not in table:
        names = ", ".join(sorted(str(name) for name in table.data_vars))
        raise ProblemError(f"the table lacks {quantity!r} or 'outcome'; it has {names}")
    tasks = [str(name) for name in table["task"].values]
    if task not in tasks:
        raise ProblemError(f"the table has no task {task!r}; it has {', '.join(tasks)}")
    table = table.sel(task=task)
    if learning_rate is None:
        return table
    rates = table["learning_rate"].values
    same = np.flatnonzero(np.isclose(rates, learning_rate, rtol=1e-9, atol=0.0))
    if not same.size:
        there = ", ".join(f"{rate:g}" for rate in rates)
        raise ProblemError(f"the table has no learning rate {learning_rate:g}; it has {there}")
    return table.isel(learning_rate=same)


# ---------------------------------------------------------------- the two sides of the U


@dataclass(frozen=True)
class Side:
    """One side of a U-curve: is the accuracy at its end below that at c*?

    Attributes
    ----------
    log2_end : float
        The outermost c of the grid at which every run of the choosing half reached its target.
    difference, low, high : float
        Accuracy at c* less that at the end, mean over the testing half, with its 95 % Student
        interval.
    p_value : float
        One-sided, of the sign-flip permutation test of the differences within seeds.
    pairs : int
        Testing seeds of which both runs reached their targets.
    left_out : int
        Output multipliers of the grid beyond the end.
    judgement : Judgement
        HOLDS: p < .01. FAILS: c* is the end, or a dip of one point lies above the interval, and no
        c was left out beyond the end, where a dip may be. INCONCLUSIVE otherwise, and with fewer
        than 7 pairs always.
    reason : str
        In words.

    Examples
    --------
    >>> Side(-12.0, 0.02, 0.01, 0.03, 0.004, 8, 0, Judgement.HOLDS, "p < .01").judgement.name
    'HOLDS'
    """

    log2_end: float
    difference: float
    low: float
    high: float
    p_value: float
    pairs: int
    left_out: int
    judgement: Judgement
    reason: str

    @property
    def evidence(self) -> str:
        """What was measured, in words; empty where nothing was."""
        words = []
        if math.isfinite(self.p_value):
            words.append(
                f"{_power(self.log2_end)} is {_points(self.difference, self.low, self.high)} "
                f"lower, p = {self.p_value:.2g}"
            )
        if self.left_out:
            words.append(f"{self.left_out} c beyond it left out, where runs missed their target")
        return "; ".join(words)

    def __str__(self) -> str:
        text = f"{self.judgement.value} ({self.reason})"
        return f"{text}: {self.evidence}" if self.evidence else text


@dataclass(frozen=True)
class UCurveTest:
    """Whether accuracy has a maximum in c, and falls towards both ends.

    Attributes
    ----------
    quantity, task : str
        What was tested.
    log2_best : float
        Binary logarithm of c*, chosen on one half of the seeds; not a number where that half
        reached its target at no c.
    learning_rate : float
        At c*.
    rates : int
        Number of learning rates among which each c had its best, chosen on the same half.
    left, right : Side
        Towards small c, over-alignment, and towards large c.
    choosing, testing : int
        Numbers of seeds in the two halves.
    incomplete : int
        Seeds left out because a run of theirs is missing.

    Examples
    --------
    See `u_curve`.
    """

    quantity: str
    task: str
    log2_best: float
    learning_rate: float
    rates: int
    left: Side
    right: Side
    choosing: int
    testing: int
    incomplete: int

    @property
    def judgement(self) -> Judgement:
        """HOLDS if both sides do, FAILS if one of them does."""
        both = {self.left.judgement, self.right.judgement}
        if Judgement.FAILS in both:
            return Judgement.FAILS
        return Judgement.HOLDS if both == {Judgement.HOLDS} else Judgement.INCONCLUSIVE

    def __str__(self) -> str:
        words = f"U-curve of {self.quantity.replace('_', ' ')}, labels {self.task}: "
        if not math.isfinite(self.log2_best):
            return words + f"{self.judgement.value} ({self.left.reason})."
        words += (
            f"best c = {_power(self.log2_best)} on {self.choosing} seeds, tested on "
            f"{self.testing} others."
        )
        if self.rates > 1:
            words += f" Best of {self.rates} learning rates at each c, chosen on the same seeds."
        if self.incomplete:
            words += f" {self.incomplete} seeds with missing runs left out."
        return f"{words}\n  Dip at small c: {self.left}.\n  Dip at large c: {self.right}."


def u_curve(
    table: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    task: str = "given",
    learning_rate: float | None = None,
    seed: int = 0,
) -> UCurveTest:
    """Test for a U-curve, one side at a time.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep: the accuracy and ``outcome`` along ``task``, ``seed``, ``learning_rate`` and
        ``output_multiplier`` with the coordinate ``log2_output_multiplier``.
    quantity : str
        An accuracy, as "test_accuracy", "test_accuracy_peak" or
        "validation_risk_stop_test_accuracy".
    task : {"given", "linear_teacher"}
    learning_rate : float, optional
        One of the table; the best at each c unless given.
    seed : int
        Of the sign flips, where they are not enumerated (more than 20 pairs).

    Returns
    -------
    UCurveTest

    Raises
    ------
    ProblemError
        The table has no such quantity, task or learning rate, or no seed of which all runs are
        there.

    Examples
    --------
    >>> import xarray as xr
    >>> log2_c = np.arange(-8.0, 6.0, 2.0)
    >>> noise = np.random.default_rng(0).normal(0.0, 0.005, (1, 16, 1, 7))
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, 0.8 - 0.004 * (log2_c + 2.0) ** 2 + noise),
    ...         "outcome": (dims, np.full(noise.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", log2_c),
    ...     },
    ... )
    >>> print(u_curve(table))
    U-curve of test accuracy, labels given: best c = 2^-2 on 8 seeds, tested on 8 others.
      Dip at small c: holds (p < .01): 2^-8 is 14.2 points [13.7, 14.7] lower, p = 0.0039.
      Dip at large c: holds (p < .01): 2^4 is 14.6 points [13.9, 15.4] lower, p = 0.0039.
    """
    curves = _curves(table, quantity, task, learning_rate)
    usable, last = curves.usable, curves.log2_c.size - 1
    if usable.size:
        best = curves.best
        left = _side(curves, best, int(usable[0]), int(usable[0]), seed)
        right = _side(curves, best, int(usable[-1]), last - int(usable[-1]), seed)
        place = (float(curves.log2_c[best]), float(curves.learning_rates[best]))
    else:
        reason = "at no c did every run of the choosing half reach its target"
        nothing = (math.nan,) * 5
        left = right = Side(*nothing, 0, last + 1, Judgement.INCONCLUSIVE, reason)
        place = (math.nan, math.nan)
    rates = 1 if learning_rate is not None else table.sizes["learning_rate"]
    seeds = (len(curves.choosing), len(curves.testing), curves.incomplete)
    return UCurveTest(quantity, task, *place, rates, left, right, *seeds)


def _side(curves: _Curves, best: int, end: int, left_out: int, seed: int) -> Side:
    log2_end = float(curves.log2_c[end])
    differences = curves.testing[:, best] - curves.testing[:, end]
    differences = differences[np.isfinite(differences)]
    pairs = differences.size
    interval = mean(differences)
    p_value = math.nan
    if pairs < FEWEST_PAIRS:
        judgement = Judgement.INCONCLUSIVE
        reason = (
            f"{pairs} pairs of runs; p < .01 takes {FEWEST_PAIRS}, that is "
            f"{2 * FEWEST_PAIRS} seeds that reach their target"
        )
    elif best == end:
        judgement, reason = Judgement.FAILS, "the best c is the end itself"
    else:
        p_value = sign_flip(differences, seed=seed)
        if p_value < SIGNIFICANCE:
            judgement, reason = Judgement.HOLDS, "p < .01"
        elif interval.high < SMALLEST_DIP:
            judgement, reason = Judgement.FAILS, "a dip of one point is ruled out"
        else:
            judgement, reason = Judgement.INCONCLUSIVE, "neither shown nor ruled out"
    if judgement is Judgement.FAILS and left_out:
        judgement, reason = Judgement.INCONCLUSIVE, f"{reason}, but a dip may be beyond the end"
    return Side(log2_end, *interval, p_value, pairs, left_out, judgement, reason)


# ---------------------------------------------------------------- control, dispersion, gain


@dataclass(frozen=True)
class Control:
    """The test of `u_curve` on the labels of the data, and on those of a linear teacher.

    Attributes
    ----------
    given, control : UCurveTest
        Of the labels of the data and of the linear teacher.

    Examples
    --------
    See `control`.
    """

    given: UCurveTest
    control: UCurveTest

    @property
    def judgement(self) -> Judgement:
        """FAILS where the control dips at small c.

        OUT_OF_SCOPE where the given labels show no dip at small c. HOLDS where both were tested at
        the same small c, and the dip of the control is smaller: its interval lies below that of
        the given labels. INCONCLUSIVE otherwise, and with fewer than 7 pairs.
        """
        given, control = self.given.left, self.control.left
        if control.judgement is Judgement.HOLDS:
            return Judgement.FAILS
        if given.judgement is not Judgement.HOLDS:
            return Judgement.OUT_OF_SCOPE
        is_smaller = control.pairs >= FEWEST_PAIRS and control.high < given.low
        if is_smaller and control.log2_end == given.log2_end:
            return Judgement.HOLDS
        return Judgement.INCONCLUSIVE

    def __str__(self) -> str:
        given, control = self.given.left, self.control.left
        unknown = "a dip as deep as that of the given labels is not ruled out"
        if abs(control.log2_end - given.log2_end) > 0.0:
            ends = (_power(control.log2_end), _power(given.log2_end))
            unknown = "tested down to c = {}, the given labels down to {}".format(*ends)
        says = {
            Judgement.HOLDS: "a dip at small c as deep as that of the given labels is ruled out",
            Judgement.FAILS: "it dips at small c, so that a dip of the given labels is not told "
            "apart from one of a linear task",
            Judgement.OUT_OF_SCOPE: "the given labels show no dip at small c to be compared with",
            Judgement.INCONCLUSIVE: unknown,
        }[self.judgement]
        return f"Control with a linear teacher: {self.judgement.value} ({says}).\n{self.control}"


def control(
    table: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    learning_rate: float | None = None,
    seed: int = 0,
) -> Control:
    """Compare the dip at small c with that of other labels of the same inputs, of a linear map.

    No features need be learned for these. Over-alignment may harm all the same: labels of a linear
    map without noise are learned better by large margins, with an error of order 1/n, than by
    class means, of order n^-1/2.

    Parameters
    ----------
    table, quantity, learning_rate, seed
        As in `u_curve`; the table holds both tasks.

    Returns
    -------
    Control

    Raises
    ------
    ProblemError
        As `u_curve`.

    Examples
    --------
    >>> import xarray as xr
    >>> log2_c = np.arange(-8.0, 6.0, 2.0)
    >>> noise = np.random.default_rng(0).normal(0.0, 0.005, (2, 16, 1, 7))
    >>> curve = np.stack([0.8 - 0.004 * (log2_c + 2.0) ** 2, 0.8 - 0.01 * log2_c])
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, curve[:, None, None] + noise),
    ...         "outcome": (dims, np.full(noise.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given", "linear_teacher"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", log2_c),
    ...     },
    ... )
    >>> control(table).judgement.name
    'HOLDS'
    """
    given, taught = (
        u_curve(table, quantity, task=task, learning_rate=learning_rate, seed=seed)
        for task in ("given", CONTROL)
    )
    return Control(given, taught)


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Variance of an accuracy over the seeds, against c.

    Attributes
    ----------
    log2_c : array [c]
    variance, low, high : array [c]
        Over the runs that reached their target, with 95 % chi-square intervals, which take the
        accuracies for normal; not a number for fewer than three.
    runs : array [c] of int
    log2_best : float
        c* of `u_curve`.

    Examples
    --------
    See `dispersion`.
    """

    log2_c: FloatArray
    variance: FloatArray
    low: FloatArray
    high: FloatArray
    runs: NDArray[np.intp]
    log2_best: float

    @property
    def log2_largest(self) -> float:
        """Where the variance is largest; not a number if it is known nowhere."""
        if not np.isfinite(self.variance).any():
            return math.nan
        return float(self.log2_c[np.nanargmax(self.variance)])

    def __str__(self) -> str:
        if not math.isfinite(self.log2_largest):
            return "Variance over seeds: fewer than three trained runs at every c."
        at = int(np.nanargmax(self.variance))
        sizes = (np.sqrt(each[at]) for each in (self.variance, self.low, self.high))
        words = f"Largest spread over seeds: {_points(*sizes)} (standard deviation)"
        words += f" at c = {_power(self.log2_largest)}"
        if not math.isfinite(self.log2_best):
            return f"{words}."
        steps = self.log2_largest - self.log2_best
        where = f"{_power(abs(steps))} {'above' if steps > 0 else 'below'}" if steps else "at"
        return f"{words}, {where} the best c = {_power(self.log2_best)}."


def dispersion(
    table: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    task: str = "given",
    learning_rate: float | None = None,
) -> Dispersion:
    """Variance over the seeds against c: the paper reports it large near the transition.

    Parameters
    ----------
    table, quantity, task, learning_rate
        As in `u_curve`. Seeds differ in data, initial weights and batches.

    Returns
    -------
    Dispersion

    Raises
    ------
    ProblemError
        As `u_curve`.

    Examples
    --------
    >>> import xarray as xr
    >>> log2_c, spread = np.array([-4.0, -2.0, 0.0]), np.array([0.01, 0.05, 0.02])
    >>> noise = np.random.default_rng(0).normal(0.0, spread, (1, 12, 1, 3))
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, 0.8 + noise),
    ...         "outcome": (dims, np.full(noise.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", log2_c),
    ...     },
    ... )
    >>> dispersion(table).log2_largest
    -2.0
    """
    from scipy.special import chdtri

    curves = _curves(table, quantity, task, learning_rate)
    both = np.concatenate([curves.choosing, curves.testing])
    runs = np.isfinite(both).sum(axis=0)
    enough = runs > 2
    free = np.where(enough, runs - 1, 1)
    sums = np.nansum((both - np.nansum(both, axis=0) / np.maximum(runs, 1)) ** 2, axis=0)
    sums = np.where(enough, sums, math.nan)
    low, high = (sums / chdtri(free, tail) for tail in (0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL))
    best = float(curves.log2_c[curves.best]) if curves.usable.size else math.nan
    return Dispersion(curves.log2_c, sums / free, low, high, runs, best)


@dataclass(frozen=True)
class Gain:
    """What the best c gains over c = 1.

    Attributes
    ----------
    value, low, high : float
        Accuracy at c* less that at the reference, mean over the testing half of the seeds with its
        95 % Student interval: c* was chosen on the other half, so the gain is not flattered.
    log2_best, log2_reference : float
        c*, and the c nearest to 1 at which every run of the choosing half reached its target.
    pairs : int
        Seeds in the mean.

    Examples
    --------
    >>> print(Gain(0.0619, 0.05, 0.074, -4.0, 0.0, 8))
    Gain of c = 2^-4 over c = 2^0: 6.2 points [5.0, 7.4] on 8 seeds that did not choose it.
    """

    value: float
    low: float
    high: float
    log2_best: float
    log2_reference: float
    pairs: int

    def __str__(self) -> str:
        if not self.pairs:
            return "Gain over c = 1: no testing seed reached its target at both."
        if self.log2_best == self.log2_reference:
            place = "1" if self.log2_best == 0.0 else f"{_power(self.log2_best)}, the nearest to 1"
            return f"Gain over c = 1: none, the best c is {place}."
        return (
            f"Gain of c = {_power(self.log2_best)} over c = {_power(self.log2_reference)}: "
            f"{_points(self.value, self.low, self.high)} on {self.pairs} seeds that did not "
            "choose it."
        )


def gain(
    table: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    task: str = "given",
    learning_rate: float | None = None,
) -> Gain:
    """What the best c gains over c = 1, measured on seeds that did not choose it.

    Parameters
    ----------
    table, quantity, task, learning_rate
        As in `u_curve`.

    Returns
    -------
    Gain
        Without numbers where no c is to be compared.

    Raises
    ------
    ProblemError
        As `u_curve`.

    Examples
    --------
    >>> import xarray as xr
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> accuracy = np.array([[0.7, 0.8, 0.6], [0.7, 0.9, 0.8]])[None, :, None]
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, accuracy),
    ...         "outcome": (dims, np.full(accuracy.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", [-4.0, -2.0, 0.0]),
    ...     },
    ... )
    >>> round(gain(table).value, 3)
    0.1
    """
    curves = _curves(table, quantity, task, learning_rate)
    if not curves.usable.size:
        return Gain(*(math.nan,) * 5, 0)
    best = curves.best
    reference = int(curves.usable[np.abs(curves.log2_c[curves.usable]).argmin()])
    differences = curves.testing[:, best] - curves.testing[:, reference]
    differences = differences[np.isfinite(differences)]
    places = (float(curves.log2_c[best]), float(curves.log2_c[reference]))
    return Gain(*mean(differences), *places, differences.size)


def summary(table: xr.Dataset) -> Iterator[str]:
    """What the statistics say about a sweep, for the terminal.

    Parameters
    ----------
    table : xarray.Dataset
        As in `u_curve`.

    Yields
    ------
    str
        The U-curve at the stop, its control if there is one (or why it says nothing), the gain,
        and the dispersion.

    Raises
    ------
    ProblemError
        As `u_curve`.
    """
    task = str(table["task"].values[0])
    yield str(u_curve(table, task=task))
    if {"given", CONTROL} <= {str(name) for name in table["task"].values}:
        yield _control_or_why_not(table)
    yield str(gain(table, task=task))
    yield str(dispersion(table, task=task))


def _control_or_why_not(table: xr.Dataset) -> str:
    try:
        return str(control(table))
    except ProblemError as error:  # the rest of a summary does not need it
        return f"Control with a linear teacher: {Judgement.INCONCLUSIVE.value} ({error})."


def _power(exponent: float) -> str:
    return f"2^{exponent:g}"


def _points(value: float, low: float, high: float) -> str:
    """Accuracies, or their differences, in points."""
    return f"{100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
