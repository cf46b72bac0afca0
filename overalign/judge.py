"""Verdicts on anyone's training runs: a CSV file of accuracies against the output multiplier c.

The statistics are those of `overalign sweep` (deepnets.md): what is compared is chosen on other
seeds than those that test it, and runs are compared within seeds.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from .deepnet.ledger import OUTCOMES
from .deepnet.statistics import (
    FEWEST_PAIRS,
    SIGNIFICANCE,
    SMALLEST_DIP,
    Side,
    at_best_rates,
    gain,
    trained,
    u_curve,
)
from .deepnet.transfer import RIVALS, BestMultiplier, best_multiplier, fit_transfer
from .errors import DataFileError, ProblemError
from .inference import expanded_percentiles, holm, sets_needed, student_quantile
from .prediction import MeasuredCurve, Quantity, calibrate
from .verdicts import Judgement, Verdict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Judgements", "Runs", "Size", "Unit", "judge", "read_runs"]

StrPath: TypeAlias = str | os.PathLike[str]
Unit: TypeAlias = Literal["auto", "fraction", "percent"]

PAPER = "the paper's bound"
AT_END = 0.05  # share of the resamples with the best c at an end: with less it is inside

_PREDICTIONS = "what the two-layer theory predicts"
_NUMBERS = ("c", "learning_rate", "seed", "test_accuracy")
_SIZES: tuple[Quantity, Quantity] = ("n", "width")
_COMPARED = ("REACHED", "BUDGET")  # outcomes of runs that need an accuracy
_MISSING = "MISSING"
# what others call these columns; said, never taken
_OTHER_NAMES = {
    "c": ("output_multiplier", "multiplier", "scale", "alpha", "gamma"),
    "learning_rate": ("lr", "eta", "step_size"),
    "seed": ("random_seed", "run", "replicate"),
    "test_accuracy": ("accuracy", "acc", "test_acc", "val_accuracy"),
}


class Size(NamedTuple):
    """Number of training samples and width of some runs; None where the file does not say.

    Examples
    --------
    >>> str(Size(1000, 64)), str(Size())
    ('n = 1000, width = 64', 'all runs')
    """

    n: float | None = None
    width: float | None = None

    def __str__(self) -> str:
        pairs = zip(_SIZES, self, strict=True)
        return ", ".join(f"{name} = {value:g}" for name, value in pairs if value) or "all runs"

    @classmethod
    def from_text(cls, text: str) -> Size:
        """The size that "n=1000,width=64", or one of the two, names.

        Parameters
        ----------
        text : str

        Returns
        -------
        Size

        Raises
        ------
        ProblemError
            It names something else, or no number.

        Examples
        --------
        >>> Size.from_text("width=64")
        Size(n=None, width=64.0)
        """
        pairs = [pair.replace(" ", "").partition("=")[::2] for pair in text.split(",")]
        try:
            sizes = {name: float(value) for name, value in pairs}
            if len(sizes) < len(pairs):
                raise ValueError("a name is given twice")
            return cls(**sizes)
        except (TypeError, ValueError):
            raise ProblemError(f'{text!r} is no size; expected "n=1000,width=64"') from None


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs as tables of a sweep.

    Attributes
    ----------
    tables : mapping of Size to xarray.Dataset
        Each as `overalign.deepnet.u_curve` takes it, with the task "given".
    notes : tuple of str
        What was found in the file and how it was taken.

    Examples
    --------
    See `read_runs`. The table of a sweep is judged as ``Runs({Size(1000, 64): table})``.
    """

    tables: Mapping[Size, xr.Dataset]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- the file


class _Run(NamedTuple):
    """A line of the file."""

    line: int
    size: Size
    seed: int
    learning_rate: float
    c: float
    accuracy: float
    outcome: str

    @property
    def cell(self) -> tuple[Size, int, float, float]:
        """What no other run may have."""
        return self.size, self.seed, self.learning_rate, self.c


def read_runs(path: StrPath, unit: Unit = "auto") -> Runs:
    """Read runs from a CSV file.

    Parameters
    ----------
    path : str or path
        Of a file with the columns ``c``, ``learning_rate``, ``seed`` and ``test_accuracy``, and, as
        far as they are known, ``n``, ``width`` and ``outcome`` (REACHED, BUDGET, STUCK or DIVERGED;
        the accuracy may then be empty in the last two). Other columns are not used.
    unit : {"auto", "fraction", "percent"}
        Of the accuracies. Unless given: percent if one is above 1.

    Returns
    -------
    Runs

    Raises
    ------
    DataFileError
        The file cannot be read, lacks a column, holds what is no number or out of range, a run
        twice, only one c, or accuracies that may be of either unit.

    Examples
    --------
    >>> import tempfile
    >>> text = "c,learning_rate,seed,test_accuracy\\n1,0.1,0,81.5\\n0.25,0.1,0,82.5\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "runs.csv")
    ...     _ = path.write_text(text)
    ...     runs = read_runs(path)
    >>> runs.tables[Size()].test_accuracy.values.ravel()
    array([0.825, 0.815])
    """
    try:
        header, lines = _cells(Path(path))
        places = _places(header)
        found = [_run(places, number, cells) for number, cells in lines]
        _require_distinct(found)
        found, unit_note = _as_fractions(found, unit)
        by_size = defaultdict(list)
        for run in found:
            by_size[run.size].append(run)
        has_target = any(run.outcome == "REACHED" for run in found)
        tables = {size: _table(size, by_size[size], has_target) for size in sorted(by_size)}
    except DataFileError as error:
        raise DataFileError(f"{path}: {error}") from error
    numbers = {
        "runs": len(found),
        "sizes": len(tables),
        "c": len({run.c for run in found}),
        "learning rates": len({run.learning_rate for run in found}),
        "seeds": len({run.seed for run in found}),
    }
    notes = [", ".join(f"{what}: {number}" for what, number in numbers.items()), unit_note]
    if "outcome" not in places:
        notes.append("no column outcome: every run is taken for one that reached its target")
    elif not has_target:
        notes.append("no run REACHED a target: the end of the budget is taken for one")
    if unused := [name for name in header if name not in places]:
        notes.append(f"columns not used: {', '.join(unused)}")
    return Runs(tables, tuple(notes))


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the number and cells of each line that is not blank."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except OSError as error:
        raise DataFileError(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"byte {error.start} is not UTF-8; save the table as CSV with the encoding UTF-8"
        ) from error
    except csv.Error as error:
        raise DataFileError(f"is not a CSV file ({error})") from error
    if len(lines) < 2:
        what = "a line of column names and no runs" if lines else "nothing"
        raise DataFileError(f"holds {what}; expected a line of names and a line for each run")
    header = [name.strip() for name in lines[0][1]]
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise DataFileError(f"columns are separated by {name}; expected commas")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataFileError(
                f"line {number} has {len(cells)} columns, the line of names has {len(header)}"
            )
    return header, lines[1:]


def _places(header: Sequence[str]) -> dict[str, int]:
    """Place of each column that is used."""
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataFileError(f"two columns have the name {twice[0]!r}")
    if missing := [name for name in _NUMBERS if name not in header]:
        raise DataFileError(
            "; ".join(f"no column {name!r}{_near(name, header)}" for name in missing)
            + f"; the columns are {', '.join(header)}"
        )
    return {name: header.index(name) for name in (*_NUMBERS, *_SIZES, "outcome") if name in header}


def _near(wanted: str, header: Sequence[str]) -> str:
    """What may be meant instead."""
    if wanted == "c" and (logs := [name for name in header if name.lower().startswith("log")]):
        return f" (is {logs[0]!r} its logarithm? c itself is expected)"
    there = {name.lower(): name for name in header}
    known = [there[name] for name in (wanted, *_OTHER_NAMES[wanted]) if name in there]
    close = difflib.get_close_matches(wanted, list(there), n=2, cutoff=0.6)
    names = dict.fromkeys([*known, *(there[name] for name in close)])
    return f" (is it {' or '.join(map(repr, names))}? rename it)" if names else ""


def _run(places: Mapping[str, int], line: int, cells: Sequence[str]) -> _Run:
    def number(name: str) -> float:
        text = cells[places[name]].strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataFileError(f"line {line}, column {name!r} holds {text!r}, expected a number")
        return value

    def positive(name: str) -> float:
        value = number(name)
        if value <= 0.0:
            raise DataFileError(f"line {line}: {name} is {value:g}; it must be positive")
        return value

    outcome = cells[places["outcome"]].strip().upper() if "outcome" in places else "REACHED"
    if outcome not in OUTCOMES:
        raise DataFileError(
            f"line {line}, column 'outcome' holds {outcome!r}, expected {', '.join(OUTCOMES)}"
        )
    seed = number("seed")
    if seed != math.floor(seed):
        raise DataFileError(f"line {line}: seed is {seed:g}; it must be a whole number")
    unknown = cells[places["test_accuracy"]].strip().lower() in ("", "nan")
    if unknown and outcome in _COMPARED:
        raise DataFileError(
            f"line {line}, column 'test_accuracy' holds no number; if the run broke down, say "
            "so in a column 'outcome' (STUCK or DIVERGED)"
        )
    size = Size(*(positive(name) if name in places else None for name in _SIZES))
    rate, c = positive("learning_rate"), positive("c")
    accuracy = math.nan if unknown else number("test_accuracy")
    return _Run(line, size, int(seed), rate, c, accuracy, outcome)


def _require_distinct(runs: Sequence[_Run]) -> None:
    first: dict[tuple[Size, int, float, float], int] = {}
    for run in runs:
        if run.cell in first:
            raise DataFileError(
                f"lines {first[run.cell]} and {run.line} are the same run: seed {run.seed}, "
                f"learning rate {run.learning_rate:g}, c = {run.c:g}, {run.size}; keep one, or "
                "tell them apart by seed, n or width"
            )
        first[run.cell] = run.line


def _as_fractions(runs: Sequence[_Run], unit: Unit) -> tuple[list[_Run], str]:
    """Runs with accuracies between 0 and 1, and how they were taken."""
    known = [run for run in runs if not math.isnan(run.accuracy)]
    if not known:
        raise DataFileError("no run has a test accuracy")
    largest = max(known, key=lambda run: run.accuracy)
    if unit == "auto":
        unit = "percent" if largest.accuracy > 1.0 else "fraction"
        # a network that learned nothing may well have 1 % of 100 classes
        small = [run for run in known if 0.0 < run.accuracy <= 1.0 and run.outcome in _COMPARED]
        if unit == "percent" and small:
            raise DataFileError(
                f"line {small[0].line} has the accuracy {small[0].accuracy:g} and line "
                f"{largest.line} has {largest.accuracy:g}: fractions and percent are mixed; write "
                "all alike, or say by --unit percent that all are"
            )
    most = 100.0 if unit == "percent" else 1.0
    for run in known:
        if not 0.0 <= run.accuracy <= most:
            raise DataFileError(
                f"line {run.line}: the accuracy {run.accuracy:g} is not between 0 and {most:g}"
            )
    note = f"accuracies are taken as {unit}{'' if most > 1.0 else 's'}"
    note += f" (the largest is {largest.accuracy:g})"
    return [run._replace(accuracy=run.accuracy / most) for run in runs], note


def _table(size: Size, runs: Sequence[_Run], has_target: bool) -> xr.Dataset:
    import xarray as xr

    seeds = sorted({run.seed for run in runs})
    rates = sorted({run.learning_rate for run in runs})
    multipliers = sorted({run.c for run in runs})
    if len(multipliers) < 2:
        raise DataFileError(f"{size}: every run has c = {multipliers[0]:g}; nothing to compare")
    shape = (1, len(seeds), len(rates), len(multipliers))
    accuracy, outcome = np.full(shape, math.nan), np.full(shape, _MISSING, dtype=object)
    for run in runs:
        place = (
            0,
            seeds.index(run.seed),
            rates.index(run.learning_rate),
            multipliers.index(run.c),
        )
        accuracy[place], outcome[place] = run.accuracy, run.outcome
    # a learning rate that no seed has at this c is no missing run: it cannot be the best there
    nowhere = (outcome == _MISSING).all(axis=(0, 1))
    outcome[:, :, nowhere] = "DIVERGED"
    dims = ("task", "seed", "learning_rate", "output_multiplier")
    training = {} if has_target else {"stop_accuracy": None, "stop_risk": None}
    return xr.Dataset(
        {"test_accuracy": (dims, accuracy), "outcome": (dims, outcome)},
        coords={
            "task": ["given"],
            "seed": seeds,
            "learning_rate": rates,
            "log2_output_multiplier": ("output_multiplier", np.log2(multipliers)),
        },
        attrs={"settings": json.dumps({"training": training})},
    )


# ---------------------------------------------------------------- the verdicts


@dataclass(frozen=True, eq=False)
class Judgements:
    """What runs say about the theory.

    Attributes
    ----------
    runs : Runs
    by_size : mapping of Size to tuple of Verdict
        Whether the best c is inside the grid, and a dip at small and at large c. The ``witness`` of
        a verdict has its numbers.
    together : tuple of Verdict
        How the best c depends on n and width, where there are several.
    calibrated_on : Size
        Where the two free numbers of the two-layer theory were fitted.
    predicted : tuple of Verdict
        What that theory then says of every other size (`overalign.prediction`).

    Examples
    --------
    See `judge`.
    """

    runs: Runs
    by_size: Mapping[Size, tuple[Verdict, ...]]
    together: tuple[Verdict, ...]
    calibrated_on: Size
    predicted: tuple[Verdict, ...]

    def __str__(self) -> str:
        lines = []
        for size, verdicts in self.by_size.items():
            lines += [f"{size}:", *(f"  {verdict}" for verdict in verdicts)]
        if self.together:
            lines += ["all sizes:", *(f"  {verdict}" for verdict in self.together)]
        lines.append(f"predicted by the two-layer theory, calibrated on {self.calibrated_on}:")
        lines += [f"  {verdict}" for verdict in self.predicted]
        return "\n".join(lines)


def judge(runs: Runs | StrPath, *, seed: int = 0, calibrate_on: Size | None = None) -> Judgements:
    """Hold runs against what the paper says of them, and the two-layer theory predicts.

    With several sizes one is compared with the theory's own model, whose curves come solved with
    the package (`overalign.prediction`), and the others are held against what it then says.

    Parameters
    ----------
    runs : Runs, str or path
        Or the CSV file, see `read_runs`.
    seed : int
        Of the bootstrap, and of sign flips where they are not enumerated.
    calibrate_on : Size, optional
        Where the theory's two free numbers are fitted; the smallest size unless given.

    Returns
    -------
    Judgements

    Raises
    ------
    DataFileError
        The file cannot be read.
    ProblemError
        There are no runs of the size to calibrate on.

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
    >>> found = judge(Runs({Size(1000, 64): table}))
    >>> [(verdict.statement, verdict.judgement.value) for verdict in found.by_size[Size(1000, 64)]]
    [('best c inside the grid', 'holds'), ('dip at small c', 'holds'), ('dip at large c', 'holds')]
    """
    runs = runs if isinstance(runs, Runs) else read_runs(runs)
    size = min(runs.tables, key=_order) if calibrate_on is None else calibrate_on
    if size not in runs.tables:
        there = "; ".join(map(str, runs.tables))
        raise ProblemError(f"no runs have {size}, to calibrate on; there are {there}")
    best = {size: _best(table, seed) for size, table in runs.tables.items()}
    by_size = {size: (best[size][0], *_dips(table, seed)) for size, table in runs.tables.items()}
    if len(by_size) > 1:
        by_size = _with_adjusted(by_size)
    places = {size: place for size, (_, place) in best.items() if place is not None}
    together = tuple(_exponents(list(runs.tables), places))
    return Judgements(runs, by_size, together, size, tuple(_predicted(runs, size, seed)))


def _order(size: Size) -> tuple[float, ...]:
    """Smaller first, and last what has no such number."""
    return tuple(math.inf if value is None else value for value in size)


def _best(table: xr.Dataset, seed: int) -> tuple[Verdict, BestMultiplier | None]:
    """Whether the best c is inside the grid, and where it is."""

    def verdict(judgement: Judgement, reason: str, evidence: str = "", **numbers: float) -> Verdict:
        name = "best c inside the grid"
        return Verdict(name, judgement, "paper", reason, evidence, witness=numbers)

    if reason := _why_not_compared(table):
        return verdict(Judgement.INCONCLUSIVE, reason), None
    chosen = at_best_rates(table)
    accuracy = chosen["test_accuracy"].where(trained(chosen)).transpose("seed", ...)
    try:
        best = best_multiplier(accuracy, chosen["log2_output_multiplier"], seed=seed)
    except ProblemError as error:
        return verdict(Judgement.INCONCLUSIVE, str(error)), None
    low, high = expanded_percentiles(best.replicates, best.seeds)
    evidence = (
        f"c* = 2^{best.log2_c:.2f} [2^{low:.2f}, 2^{high:.2f}] over {best.seeds} seeds; "
        f"{gain(table)}".rstrip(".")
    )
    inside = f"in {100.0 * (1.0 - best.at_end):.0f} % of the resampled seeds"
    judgement = Judgement.HOLDS if best.at_end <= AT_END else Judgement.INCONCLUSIVE
    return verdict(judgement, inside, evidence, log2_c=best.log2_c, low=low, high=high), best


def _why_not_compared(table: xr.Dataset) -> str:
    """Why no seed can be compared with itself, if so."""
    cell = ["learning_rate", "output_multiplier"]
    if table.sel(task="given")["outcome"].isin(OUTCOMES).all(cell).any():
        return ""
    return (
        "no seed has a run at every c (and learning rate) of the file, and runs are compared "
        "within seeds: train the same seeds at every c, and write the same c in the same way"
    )


def _dips(table: xr.Dataset, seed: int) -> Iterator[Verdict]:
    """Both sides of a U."""
    reason = _why_not_compared(table)
    curve = None if reason else u_curve(table, seed=seed)
    for end in ("small", "large"):
        name = f"dip at {end} c"
        if curve is None:
            yield Verdict(name, Judgement.INCONCLUSIVE, "paper", reason)
            continue
        side = curve.left if end == "small" else curve.right
        words = [side.evidence, _seeds_needed(side)]
        witness = {
            name: getattr(side, name) for name in ("difference", "low", "high", "p_value", "pairs")
        }
        evidence = "; ".join(filter(None, words))
        yield Verdict(name, side.judgement, "paper", side.reason, evidence, witness=witness)


def _seeds_needed(side: Side) -> str:
    """How many seeds find a dip of one point, where these did not decide."""
    if side.judgement is not Judgement.INCONCLUSIVE or not side.high > side.low:
        return ""
    half = 0.5 * (side.high - side.low) / float(student_quantile(side.pairs - 1))
    spread = half * math.sqrt(side.pairs)
    pairs = sets_needed(SMALLEST_DIP, spread, level=1.0 - 2.0 * SIGNIFICANCE)
    return (
        f"in this spread a dip of one point is found 9 times of 10 with "
        f"{2 * max(pairs, FEWEST_PAIRS)} seeds"
    )


def _with_adjusted(by_size: Mapping[Size, tuple[Verdict, ...]]) -> dict[Size, tuple[Verdict, ...]]:
    """P-values of all sizes, each also adjusted for the number of them."""

    def p_value(verdict: Verdict) -> float:
        return float(verdict.witness.get("p_value", math.nan))

    tested = [p_value(each) for verdicts in by_size.values() for each in verdicts]
    finite = [p for p in tested if math.isfinite(p)]
    adjusted = dict(zip(finite, holm(finite), strict=True))  # equal ones are adjusted alike

    def said(verdict: Verdict) -> Verdict:
        if p_value(verdict) not in adjusted:
            return verdict
        p = float(adjusted[p_value(verdict)])
        words = f"{verdict.evidence}, or {p:.2g} adjusted for {len(finite)} tests"
        return replace(verdict, evidence=words, witness={**verdict.witness, "p_adjusted": p})

    return {size: tuple(map(said, verdicts)) for size, verdicts in by_size.items()}


# ---------------------------------------------------------------- several sizes


def _predicted(runs: Runs, calibrate_on: Size, seed: int) -> Iterator[Verdict]:
    """What the theory, calibrated on one size, says of the others."""
    if len(runs.tables) == 1:
        reason = "there is one size, and nothing is left to predict when the theory is calibrated"
        yield Verdict(_PREDICTIONS, Judgement.OUT_OF_SCOPE, "ours", reason)
        return
    try:
        theory = calibrate(MeasuredCurve.of(runs.tables[calibrate_on], seed=seed))
    except ProblemError as error:
        yield Verdict(_PREDICTIONS, Judgement.OUT_OF_SCOPE, "ours", str(error))
        return
    for size, table in runs.tables.items():
        if size == calibrate_on:
            continue
        try:
            measured = MeasuredCurve.of(table, seed=seed)
        except ProblemError as error:
            yield Verdict(f"{_PREDICTIONS} at {size}", Judgement.INCONCLUSIVE, "ours", str(error))
            continue
        ratios: dict[Quantity, float] = {
            name: there / here
            for name, there, here in zip(_SIZES, size, calibrate_on, strict=True)
            if there is not None and here is not None
        }
        yield from theory.verdicts(measured, ratios, name=str(size))


def _exponents(sizes: Sequence[Size], best: Mapping[Size, BestMultiplier]) -> Iterator[Verdict]:
    """How the best c depends on what varies, against the exponents of theory.md 5.3 and 5.4."""
    varying = [name for name in _SIZES if len({getattr(size, name) for size in sizes}) > 1]
    if not varying:
        return
    paper = dict(zip(_SIZES, RIVALS[PAPER], strict=True))
    law = "c* grows as " + " ".join(f"{name}^{paper[name]:g}" for name in varying)
    note = ""
    if left_out := len(sizes) - len(best):
        note = f"{left_out} of {len(sizes)} sizes left out, which have no best c inside their grid"
    try:
        found = _joint(best) if len(varying) == 2 else _single(varying[0], best)
    except ProblemError as error:
        yield Verdict(law, Judgement.INCONCLUSIVE, "paper", str(error), note)
        return
    if not found.compatible[PAPER]:
        judgement, reason = Judgement.FAILS, "these exponents are not compatible with the runs"
    elif rivals := [name for name, fits in found.compatible.items() if fits and name != PAPER]:
        judgement = Judgement.INCONCLUSIVE
        reason = f"compatible with the runs, and so is {' and '.join(rivals)}"
    else:
        judgement, reason = Judgement.HOLDS, "compatible with the runs, and none of its rivals is"
    evidence = "; ".join(filter(None, [found.words, note]))
    yield Verdict(law, judgement, "paper", reason, evidence, witness=found.numbers)


class _Law(NamedTuple):
    """Fitted exponents, and which of the rivals they are compatible with."""

    words: str
    numbers: dict[str, float]
    compatible: dict[str, bool]


def _joint(best: Mapping[Size, BestMultiplier]) -> _Law:
    n, width = ([getattr(size, name) for size in best] for name in _SIZES)
    law = fit_transfer(n, width, list(best.values()))
    compatible = {name: law.is_compatible(*pair) for name, pair in RIVALS.items()}
    numbers: dict[str, float] = {}
    for name, value, (low, high) in zip(
        _SIZES, law.coefficients[1:], law.intervals[1:], strict=True
    ):
        numbers |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    return _Law(str(law).rstrip("."), numbers, compatible)


def _single(name: str, best: Mapping[Size, BestMultiplier]) -> _Law:
    """The exponent of n or of the width, where the other does not vary."""
    if len(best) < 2:
        raise ProblemError(f"an exponent of {name} needs the best c at two sizes")
    logs = np.log2([getattr(size, name) for size in best])
    places = np.column_stack([np.append(each.log2_c, each.replicates) for each in best.values()])
    centred = logs - logs.mean()
    slopes = places @ centred / (centred @ centred)
    low, high = expanded_percentiles(slopes[1:], min(each.seeds for each in best.values()))
    at = _SIZES.index(name)
    # a rival with the paper's exponent of this size is not told apart, and is none here
    others = {rival: pair[at] for rival, pair in RIVALS.items() if pair[at] != RIVALS[PAPER][at]}
    exponents = {PAPER: RIVALS[PAPER][at], **others}
    compatible = {rival: low <= value <= high for rival, value in exponents.items()}
    value = float(slopes[0])
    words = f"c* grows as {name}^{value:.2f} [{low:.2f}, {high:.2f}]; " + "; ".join(
        f"{rival} ({exponents[rival]:g}) {'is' if fits else 'is not'} in the interval"
        for rival, fits in compatible.items()
    )
    return _Law(words, {name: value, f"{name}_low": low, f"{name}_high": high}, compatible)
