"""The U-curve of the two-layer theory as a prediction for other networks.

The theory's own model is solved (`run_ucurve`) at a reference setting, and at settings with more
samples, neurons or dimensions. Two numbers are fitted at one setting of the other networks, a shift
of log2 c and a scale of the depths of the dips, and are frozen there; what the theory then says of
every other setting is a prediction, with a verdict of its own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self, TypeAlias, cast

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from .deepnet.statistics import (
    FEWEST_PAIRS,
    SMALLEST_DIP,
    Side,
    UCurveTest,
    at_best_rates,
    trained,
    u_curve,
)
from .deepnet.transfer import BestMultiplier, best_multiplier
from .errors import ProblemError
from .inference import Estimate, expanded_percentiles, mean
from .optimum import lowest_points
from .records import Config, replaced
from .ucurve import UCurve, run_ucurve
from .verdicts import Judgement, Verdict

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "REFERENCE",
    "STEP",
    "Calibrated",
    "MeasuredCurve",
    "PredictedCurve",
    "TheoryCurve",
    "TheorySetting",
    "calibrate",
    "dip_verdict",
    "read_theory_curves",
    "sign_verdict",
    "theory_curve",
    "write_theory_curves",
]

FloatArray: TypeAlias = NDArray[np.float64]
Quantity: TypeAlias = Literal["n", "width", "dimension"]
Ratios: TypeAlias = Mapping[Quantity, float]

LOG2_C = tuple(np.arange(-18.0, 1.0, 2.0).tolist())  # of the theory, as in `TheoryCurve`
STEP = 4  # a quantity of the solved settings is that of the reference, or so many times it
OCTAVE = 1.0  # how far off a predicted log2 c* may be
REPLICATES = 2000  # as `best_multiplier` has them
ERROR_ACCURACY = 0.01  # relative: the dips of the theory are a tenth of its error and less
SOLVED = Path(__file__).parent / "theory_curves.csv"

_SIZES: tuple[Quantity, ...] = ("n", "width", "dimension")
_COLUMNS = ("log2_c", "accuracy", "alignment")


# ---------------------------------------------------------------- the theory's own model


class TheorySetting(Config, frozen=True):
    """Where the two-layer model is solved: two Gaussian classes, without any conditioning.

    The defaults stand for networks of width 64 on 250 samples of ten classes of the synthetic
    inputs: 50 samples of any two classes, with as many dimensions as latent variables, and as far
    apart as makes the best rule err on 5.2 %.

    Parameters
    ----------
    n, width, dimension : int
        Samples of both classes, neurons, and dimension of the inputs.
    kappa : float
        Distance of the class centres from the origin, with noise of unit variance.
    paired : bool
        Every neuron once with either sign, so that the initial function is zero.
    eta : float
        The risk that is trained to.
    sets, seed : int
        Number of data sets with networks of their own, and what decides them.

    Examples
    --------
    >>> TheorySetting().times({"n": 4.0}).n
    200
    """

    n: Annotated[int, msgspec.Meta(ge=2)] = 50
    width: Annotated[int, msgspec.Meta(ge=2)] = 64
    dimension: Annotated[int, msgspec.Meta(ge=1)] = 32
    kappa: float = 1.63
    paired: bool = False
    eta: float = 0.05
    sets: Annotated[int, msgspec.Meta(ge=3)] = 8
    seed: Annotated[int, msgspec.Meta(ge=0)] = 5602

    def times(self, ratios: Ratios) -> Self:
        """The setting with some of its sizes multiplied.

        Parameters
        ----------
        ratios : mapping of {"n", "width", "dimension"} to float

        Returns
        -------
        TheorySetting
        """
        sizes = {name: round(ratio * getattr(self, name)) for name, ratio in ratios.items()}
        return replace(self, **sizes)

    @property
    def log2_unit(self) -> float:
        """log2 of the root mean square of f_0 at alpha = 1, with independent neurons.

        Of unit rows w, relu(<w, x>) has the variance (1/2 - 1/(2 pi)) ||x||^2 / d, and `width` of
        them are summed with alternating signs.
        """
        square = (self.dimension + self.kappa**2) / self.dimension
        return 0.5 * math.log2(self.width * square * (0.5 - 0.5 / math.pi))

    @property
    def sweep(self) -> UCurve:
        """The sweep of alpha over the theory's grid of c."""
        low, high = (2.0 ** (0.5 * (end - self.log2_unit)) for end in (LOG2_C[0], LOG2_C[-1]))
        return UCurve(
            data=f"mixture:dimension={self.dimension},kappa={self.kappa!r},separability=none",
            n=self.n,
            width=self.width,
            eta=self.eta,
            sets=self.sets,
            seed=self.seed,
            alpha_min=low,
            alpha_max=high,
            alphas=len(LOG2_C),
            initialisation="paired" if self.paired else "independent",
            error_accuracy=ERROR_ACCURACY,
        )


REFERENCE = TheorySetting()
"""The theory's setting that stands for the one at which other networks are calibrated."""


@dataclass(frozen=True, eq=False)
class TheoryCurve:
    """The two-layer model against c.

    c = alpha^2 in units of the initial output: at c = 1 the root mean square of f_0 is 1, however
    the network is parametrised. Otherwise two systems could not be compared at several widths.

    Attributes
    ----------
    log2_c : array [c]
    accuracy : array [set, c]
        One less the test error of the network.
    alignment : array [set, c]
        Psi, the cosine of the effective predictor to the empirical class mean.

    Examples
    --------
    See `theory_curve`.
    """

    log2_c: FloatArray
    accuracy: FloatArray
    alignment: FloatArray


@lru_cache(maxsize=32)
def theory_curve(setting: TheorySetting = REFERENCE) -> TheoryCurve:
    """The two-layer model at a setting, solved once in a process, which may take minutes.

    What belongs to the `REFERENCE`, its sizes `STEP` times as large one at a time, and it paired,
    comes solved with the package.

    Parameters
    ----------
    setting : TheorySetting

    Returns
    -------
    TheoryCurve
        Without the scales at which a data set does not reach its risk.

    Raises
    ------
    OveralignError
        As `run_ucurve`.

    Examples
    --------
    >>> curve = theory_curve(TheorySetting(n=8, width=8, dimension=6, sets=3, eta=0.3))
    >>> curve.accuracy.shape
    (3, 10)
    """
    if (solved := _solved_before().get(setting)) is not None:
        return solved
    table = run_ucurve(setting.sweep).isel(initialisation=0).transpose("set", "alpha")
    accuracy = 1.0 - table["network_error"].values
    reached = np.isfinite(accuracy).all(axis=0)
    return TheoryCurve(
        np.array(LOG2_C)[reached], accuracy[:, reached], table["Psi"].values[:, reached]
    )


@lru_cache(maxsize=1)
def _solved_before() -> dict[TheorySetting, TheoryCurve]:
    """The curves that come with the package."""
    return read_theory_curves(SOLVED, REFERENCE) if SOLVED.is_file() else {}


def write_theory_curves(path: Path, curves: Mapping[TheorySetting, TheoryCurve]) -> None:
    """Write curves, one line for each data set and c.

    Parameters
    ----------
    path : path
    curves : mapping of TheorySetting to TheoryCurve
        Settings that differ in their sizes, and in whether they are paired.
    """
    with replaced(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*_SIZES, "paired", "set", *_COLUMNS])
        for setting, curve in curves.items():
            sizes = [getattr(setting, name) for name in _SIZES]
            for index, values in enumerate(zip(curve.accuracy, curve.alignment, strict=True)):
                lines.writerows(
                    [*sizes, int(setting.paired), index, *(f"{each:.7g}" for each in point)]
                    for point in zip(curve.log2_c, *values, strict=True)
                )


def read_theory_curves(path: Path, reference: TheorySetting) -> dict[TheorySetting, TheoryCurve]:
    """Read what `write_theory_curves` wrote.

    Parameters
    ----------
    path : path
    reference : TheorySetting
        Has what the file does not say.

    Returns
    -------
    dict of TheorySetting to TheoryCurve
    """
    lines: dict[TheorySetting, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            sizes = {name: int(line[name]) for name in _SIZES}
            setting = replace(reference, **sizes, paired=line["paired"] == "1")
            lines.setdefault(setting, []).append(line)
    curves = {}
    for setting, mine in lines.items():
        log2_c, accuracy, alignment = (
            np.array([float(line[name]) for line in mine]).reshape(setting.sets, -1)
            for name in _COLUMNS
        )
        curves[setting] = TheoryCurve(log2_c[0], accuracy, alignment)
    return curves


def _shape(curve: TheoryCurve, ends: tuple[float, float]) -> FloatArray:
    """log2 c*, depths at both ends of a grid, and alignment at small c less at c*; [4, replicate].

    First of the mean over the data sets, then of its resamples.
    """
    sets = len(curve.accuracy)
    counts = np.random.default_rng(0).multinomial(sets, np.full(sets, 1.0 / sets), REPLICATES)
    weights = np.vstack([np.full(sets, 1.0), counts]) / sets
    accuracy, alignment = weights @ curve.accuracy, weights @ curve.alignment
    # linear interpolation at the ends, as a matrix; what lies beyond the grid is its end
    at_ends = np.array([np.interp(ends, curve.log2_c, row) for row in np.eye(curve.log2_c.size)])
    best, rows = accuracy.argmax(axis=1), np.arange(len(accuracy))
    dips = accuracy[rows, best][:, None] - accuracy @ at_ends
    rise = alignment @ at_ends[:, 0] - alignment[rows, best]
    return np.array([lowest_points(-accuracy, curve.log2_c), *dips.T, rise])


# ---------------------------------------------------------------- other networks


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """What the runs of other networks at one setting say, by the statistics of a sweep.

    Attributes
    ----------
    test : UCurveTest
        Has the depths of both dips, on seeds that did not choose c*.
    best : BestMultiplier or str
        c* over all seeds, or why there is none.
    deeper : Estimate
        By how much the dip at large c is deeper than the one at small c: accuracy at the small
        end less that at the large end, which no choice of c* enters.

    Examples
    --------
    See `MeasuredCurve.of`.
    """

    test: UCurveTest
    best: BestMultiplier | str
    deeper: Estimate

    @classmethod
    def of(cls, table: xr.Dataset, *, seed: int = 0) -> Self:
        """From a table of runs.

        Parameters
        ----------
        table : xarray.Dataset
            As `overalign.deepnet.u_curve` takes it.
        seed : int
            Of the bootstrap, and of sign flips where they are not enumerated.

        Returns
        -------
        MeasuredCurve

        Raises
        ------
        ProblemError
            As `u_curve`.

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
        >>> round(MeasuredCurve.of(table).best.log2_c)
        -2
        """
        test, chosen = u_curve(table, seed=seed), at_best_rates(table)
        accuracy = chosen["test_accuracy"].where(trained(chosen)).transpose("seed", ...)
        log2_c = chosen["log2_output_multiplier"]
        best: BestMultiplier | str
        try:
            best = best_multiplier(accuracy, log2_c, seed=seed)
        except ProblemError as error:
            best = str(error)
        small, large = (
            accuracy.where(log2_c == side.log2_end).max("output_multiplier")
            for side in (test.left, test.right)
        )
        return cls(test, best, mean((small - large).dropna("seed")))

    @property
    def ends(self) -> tuple[float, float]:
        """log2 c at which the dips are measured."""
        return self.test.left.log2_end, self.test.right.log2_end


# ---------------------------------------------------------------- predictions


class PredictedCurve(NamedTuple):
    """What the calibrated theory says of a setting, with 95 % intervals over its data sets.

    Attributes
    ----------
    log2_c : Estimate
        The best output multiplier.
    replicates : array [replicate]
        The same: of all data sets, and then of resampled ones.
    small, large : Estimate
        Accuracy at c* less that at the small and at the large end of the grid.
    deeper : Estimate
        The second less the first.
    alignment : Estimate
        Cosine to the empirical class mean at the small end less that at c*.

    Examples
    --------
    See `Calibrated`.
    """

    log2_c: Estimate
    replicates: FloatArray
    small: Estimate
    large: Estimate
    deeper: Estimate
    alignment: Estimate


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The theory with its two free numbers, fitted at one setting and frozen.

    Attributes
    ----------
    shift : float
        log2 c of the measured networks less log2 c of the theory.
    scale : float
        Depths of the measured dips, both together, over those of the theory.
    measured : MeasuredCurve
        Where they were fitted.
    reference : TheorySetting
        Its counterpart.
    curve_of : callable
        From a `TheorySetting` to its `TheoryCurve`.

    Examples
    --------
    >>> import xarray as xr
    >>> log2_c = np.arange(-12.0, 6.0, 2.0)
    >>> noise = np.random.default_rng(0).normal(0.0, 0.002, (1, 16, 1, 9))
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, 0.8 - 0.001 * (log2_c + 2.0) ** 2 + noise),
    ...         "outcome": (dims, np.full(noise.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", log2_c),
    ...     },
    ... )
    >>> small = TheorySetting(n=12, width=16, dimension=10, sets=4, eta=0.1)
    >>> theory = calibrate(MeasuredCurve.of(table), small)
    >>> round(theory.predict((-12.0, 4.0)).log2_c.value, 1)  # fitted here
    -2.0
    """

    shift: float
    scale: float
    measured: MeasuredCurve
    reference: TheorySetting
    curve_of: Callable[[TheorySetting], TheoryCurve]

    def predict(
        self, ends: tuple[float, float], ratios: Ratios | None = None, *, paired: bool = False
    ) -> PredictedCurve:
        """What the theory says of a setting.

        Parameters
        ----------
        ends : (float, float)
            log2 c at which the dips are measured there.
        ratios : mapping of {"n", "width", "dimension"} to float
            Sizes there over those at the calibration. The theory is solved at `STEP` times each of
            them, and what it says is taken to be linear in their logarithms.
        paired : bool
            Without initial function.

        Returns
        -------
        PredictedCurve

        Raises
        ------
        OveralignError
            The theory cannot be solved.
        """
        reference = replace(self.reference, paired=paired)
        shifted = ends[0] - self.shift, ends[1] - self.shift

        def shape(setting: TheorySetting) -> FloatArray:
            return _shape(self.curve_of(setting), shifted)

        base = shape(reference)
        found = base.copy()
        for name, ratio in (ratios or {}).items():
            steps = math.log(ratio) / math.log(STEP)
            if steps:
                found += steps * (shape(reference.times({name: float(STEP)})) - base)
        log2_c, alignment = found[0] + self.shift, found[3]
        small, large = self.scale * found[1:3]

        def estimate(replicates: FloatArray) -> Estimate:
            low, high = expanded_percentiles(replicates[1:], self.reference.sets)
            return Estimate(float(replicates[0]), low, high)

        others = map(estimate, (small, large, large - small, alignment))
        return PredictedCurve(estimate(log2_c), log2_c, *others)

    def verdicts(
        self, measured: MeasuredCurve, ratios: Ratios, *, name: str = ""
    ) -> Iterator[Verdict]:
        """Hold a setting that was not fitted against what the theory says of it.

        Parameters
        ----------
        measured : MeasuredCurve
        ratios : mapping of {"n", "width", "dimension"} to float
            As in `predict`.
        name : str
            Of the setting.

        Yields
        ------
        Verdict
            Both dips, the deeper of them, c* to an octave, and whether c* moves as the theory says
            rather than not at all.

        Raises
        ------
        OveralignError
            The theory cannot be solved.
        """
        predicted = self.predict(measured.ends, ratios)
        where = f" at {name}" if name else ""
        yield dip_verdict(f"dip at small c{where}", predicted.small, measured.test.left)
        yield dip_verdict(f"dip at large c{where}", predicted.large, measured.test.right)
        yield sign_verdict(f"the deeper dip{where}", predicted.deeper, measured.deeper)
        names = f"best c{where} within an octave", f"best c{where} moves as predicted"
        fitted = cast(BestMultiplier, self.measured.best)  # `calibrate` refuses all else
        if isinstance(measured.best, str):
            for each in names:
                yield Verdict(each, Judgement.INCONCLUSIVE, "ours", str(measured.best))
            return
        moved = np.append(
            measured.best.log2_c - fitted.log2_c,
            measured.best.replicates - fitted.replicates,
        )
        here = self.predict(self.measured.ends)
        count = min(self.reference.sets, measured.best.seeds, fitted.seeds)
        yield from _moved_verdicts(names, predicted.replicates - here.replicates, moved, count)


def calibrate(
    measured: MeasuredCurve,
    reference: TheorySetting = REFERENCE,
    curve_of: Callable[[TheorySetting], TheoryCurve] = theory_curve,
) -> Calibrated:
    """Fit the two free numbers of the theory at one setting.

    Parameters
    ----------
    measured : MeasuredCurve
        Of that setting.
    reference : TheorySetting
        What stands for it in the theory.
    curve_of : callable
        From a `TheorySetting` to its `TheoryCurve`: solved unless given.

    Returns
    -------
    Calibrated

    Raises
    ------
    ProblemError
        One of the two has no best c inside its grid, or dips that together are below one point.
    OveralignError
        The theory cannot be solved.

    Examples
    --------
    See `Calibrated`.
    """
    if isinstance(measured.best, str):
        raise ProblemError(f"cannot be calibrated: {measured.best}")
    curve = curve_of(reference)
    best = int(curve.accuracy.mean(axis=0).argmax())
    if best in (0, curve.log2_c.size - 1):
        raise ProblemError(
            f"the theory's own accuracy is highest at an end of its grid, c = "
            f"2^{curve.log2_c[best]:g}, so that it has no U to compare with at {reference}"
        )
    log2_c = float(lowest_points(-curve.accuracy.mean(axis=0)[None], curve.log2_c)[0])
    shift = measured.best.log2_c - log2_c
    _, small, large, _ = _shape(curve, (measured.ends[0] - shift, measured.ends[1] - shift))[:, 0]
    depth = measured.test.left.difference + measured.test.right.difference
    if min(depth, small + large) < SMALLEST_DIP:
        raise ProblemError(
            f"the dips together are {depth:.4f} deep where they were measured and "
            f"{small + large:.4f} in the theory; a scale needs {SMALLEST_DIP:g} of both"
        )
    return Calibrated(shift, depth / float(small + large), measured, reference, curve_of)


# ---------------------------------------------------------------- verdicts


def dip_verdict(name: str, predicted: Estimate, side: Side) -> Verdict:
    """Whether there is a dip of at least one point where the theory says so, and none elsewhere.

    Parameters
    ----------
    name : str
    predicted : Estimate
        Depth that the theory says.
    side : Side
        What was measured.

    Returns
    -------
    Verdict
        OUT_OF_SCOPE where the theory's interval holds one point: it says neither.

    Examples
    --------
    >>> side = Side(-12.0, 0.02, 0.015, 0.03, 0.004, 8, 0, Judgement.HOLDS, "p < .01")
    >>> dip_verdict("dip", Estimate(0.04, 0.03, 0.05), side).judgement.name
    'HOLDS'
    """
    evidence = f"predicted {_points(predicted)}, measured "
    evidence += _points(Estimate(side.difference, side.low, side.high))
    numbers = _numbers(predicted, Estimate(side.difference, side.low, side.high))

    def verdict(judgement: Judgement, reason: str) -> Verdict:
        return Verdict(name, judgement, "ours", reason, evidence, witness=numbers)

    if side.pairs < FEWEST_PAIRS:
        return verdict(Judgement.INCONCLUSIVE, side.reason)
    expected = predicted.low >= SMALLEST_DIP
    if not (expected or predicted.high < SMALLEST_DIP):
        return verdict(Judgement.OUT_OF_SCOPE, "the theory leaves open whether it is a point deep")
    says = "a dip of one point" if expected else "less than one point"
    shown = side.low >= SMALLEST_DIP
    ruled_out = side.high < SMALLEST_DIP and not side.left_out
    if not (shown or ruled_out):
        return verdict(Judgement.INCONCLUSIVE, f"the theory says {says}; not decided by the runs")
    judgement = Judgement.HOLDS if shown == expected else Judgement.FAILS
    return verdict(judgement, f"the theory says {says}")


def sign_verdict(name: str, predicted: Estimate, measured: Estimate) -> Verdict:
    """Whether a difference has the sign that the theory says.

    Parameters
    ----------
    name : str
    predicted, measured : Estimate

    Returns
    -------
    Verdict
        OUT_OF_SCOPE where the theory's interval holds zero.

    Examples
    --------
    >>> rise, fall = Estimate(0.2, 0.1, 0.3), Estimate(-0.2, -0.3, -0.1)
    >>> sign_verdict("a sign", rise, fall).judgement.name
    'FAILS'
    """
    evidence = "predicted {}, measured {}".format(*map(_interval, (predicted, measured)))
    if predicted.low <= 0.0 <= predicted.high:
        judgement, reason = Judgement.OUT_OF_SCOPE, "the theory leaves the sign open"
    elif not (measured.low > 0.0 or measured.high < 0.0):
        judgement, reason = Judgement.INCONCLUSIVE, "the sign is not decided by the runs"
    else:
        agrees = (measured.value > 0.0) == (predicted.value > 0.0)
        judgement = Judgement.HOLDS if agrees else Judgement.FAILS
        reason = "the sign is the theory's" if agrees else "the sign is the other one"
    numbers = _numbers(predicted, measured)
    return Verdict(name, judgement, "ours", reason, evidence, witness=numbers)


def _moved_verdicts(
    names: tuple[str, str], predicted: FloatArray, measured: FloatArray, count: int
) -> Iterator[Verdict]:
    """Movements of log2 c*, first the values and then replicates over `count` data sets."""

    def estimate(replicates: FloatArray) -> Estimate:
        return Estimate(float(replicates[0]), *expanded_percentiles(replicates[1:], count))

    of_theory, of_runs = estimate(predicted), estimate(measured)
    evidence = f"predicted {_interval(of_theory)} octaves, measured {_interval(of_runs)}"
    numbers = _numbers(of_theory, of_runs)
    off = estimate(measured - predicted)
    inside = off.low >= -OCTAVE and off.high <= OCTAVE
    outside = off.low > OCTAVE or off.high < -OCTAVE
    judgement = Judgement.HOLDS if inside else Judgement.INCONCLUSIVE
    judgement = Judgement.FAILS if outside else judgement
    reason = f"off by {_interval(off)} octaves"
    yield Verdict(names[0], judgement, "ours", reason, evidence, witness=_numbers(of_theory, off))
    if of_theory.low <= 0.0 <= of_theory.high:
        reason = "the theory leaves open whether it moves"
        yield Verdict(names[1], Judgement.OUT_OF_SCOPE, "ours", reason, evidence, witness=numbers)
        return
    # nearer to the prediction than to no movement: beyond half of it, in its direction
    beyond = estimate(np.sign(of_theory.value) * (measured - 0.5 * predicted))
    judgement = Judgement.HOLDS if beyond.low > 0.0 else Judgement.INCONCLUSIVE
    judgement = Judgement.FAILS if beyond.high < 0.0 else judgement
    reason = {
        Judgement.HOLDS: "nearer to the prediction than to no movement",
        Judgement.FAILS: "nearer to no movement than to the prediction",
        Judgement.INCONCLUSIVE: "as near to no movement as to the prediction",
    }[judgement]
    yield Verdict(names[1], judgement, "ours", reason, evidence, witness=numbers)


def _numbers(predicted: Estimate, measured: Estimate) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, estimate in (("predicted", predicted), ("measured", measured)):
        numbers |= {name: estimate.value, f"{name}_low": estimate.low}
        numbers[f"{name}_high"] = estimate.high
    return numbers


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _points(estimate: Estimate) -> str:
    value, low, high = (100.0 * each for each in estimate)
    return f"{value:.1f} points [{low:.1f}, {high:.1f}]"
