"""The U-curve of the theory's own model: test error against the scale of the initialisation.

A sweep draws data sets, trains two-layer networks on each at every alpha of a grid, to the same
risk, and measures the networks and their effective predictors. One data set is one run on disk
(`overalign.records.RunFolder`), so a sweep that was interrupted, or is asked for more data sets,
goes on where it was.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import ClassAlignment, alignment_of, angle
from .data import Split, read_split
from .engine import run_all
from .errors import ProblemError
from .excess_error import (
    ErrorEstimate,
    class_mean_angle,
    direction_error,
    held_out_error,
    network_error,
    over_alignment,
    over_fitting,
    reference_errors,
)
from .flow import Trajectory, describe_problem, solve, stop_at_risk
from .phases import log_alpha_where_zeta_vanishes
from .problem import LogisticLoss, Network
from .records import Config, StrPath, checked, versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "DataSet",
    "Optimum",
    "Rise",
    "UCurve",
    "above_lowest",
    "find_optimum",
    "measure",
    "over_sets",
    "problem_of",
    "run_ucurve",
]

FloatArray: TypeAlias = NDArray[np.float64]
Initialisation: TypeAlias = Literal["independent", "paired"]

LEVEL = 0.95  # of every interval over data sets
FEWEST_ALPHAS = 3
FEWEST_SETS = 3  # for an interval: two data sets choose each other's optimum
_SET_STREAM, _NETWORK_STREAM = 3, 4


# ---------------------------------------------------------------- settings


class UCurve(Config, frozen=True):
    """A sweep of the scale of the initialisation over fresh data sets.

    Parameters
    ----------
    data : str
        "mixture[:key=value,...]" with keys dimension, n, kappa, sigma, separability;
        "digits:3,8[,centred]"; "FILE.npz" with arrays x and y; or "FILE.csv", label last. Of
        digits and files the rows that are not trained on are held out.
    n : int, optional
        Training samples: 12 of the mixture, 60 digits, half the rows of a file.
    sets : int
        Number of data sets, each with networks of its own.
    seed : int
        Decides the data sets and the networks, from separate random streams.
    width : int
        Number of neurons; even for the paired initialisation.
    alpha_min, alpha_max : float
        Smallest and largest scale of the initialisation.
    alphas : int
        Number of scales, in geometric progression.
    initialisation : {"both", "independent", "paired"}
        Independent rows, or every row once with either sign so that the initial function is zero.
    row_law : {"sphere", "gaussian"}
        Rows of W uniform on the unit sphere, or N(0, I/d).
    eta : float
        Train until the risk, the mean of log(1 + exp(-y f)) over all samples, falls to this.
    tolerance : float
        Of the flow: on the stopping time (relative), log-norms and directions.
    error_accuracy : float
        Relative standard error of the error of a network (mixture only).

    Examples
    --------
    >>> settings = UCurve(data="mixture:kappa=2", sets=4)
    >>> settings.initialisations, len(settings.runs)
    (('independent', 'paired'), 4)
    """

    data: str = "mixture"
    n: Annotated[int, msgspec.Meta(ge=2)] | None = None
    sets: Annotated[int, msgspec.Meta(ge=1)] = 16
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    width: Annotated[int, msgspec.Meta(ge=1)] = 64
    alpha_min: float = 1e-6
    alpha_max: float = 4.0
    alphas: int = 24
    initialisation: Literal["both", "independent", "paired"] = "both"
    row_law: Literal["sphere", "gaussian"] = "sphere"
    eta: float = 0.05
    tolerance: float = 1e-3
    error_accuracy: float = 0.02

    @property
    def log_alphas(self) -> FloatArray:
        """Natural logarithms of the scales, increasing; [alphas]."""
        return np.linspace(math.log(self.alpha_min), math.log(self.alpha_max), self.alphas)

    @property
    def initialisations(self) -> tuple[Initialisation, ...]:
        """The kinds of initialisation asked for."""
        if self.initialisation == "both":
            return ("independent", "paired")
        return (self.initialisation,)

    @property
    def runs(self) -> tuple[DataSet, ...]:
        """One run for each data set."""
        alone = msgspec.structs.replace(self, sets=1)
        return tuple(DataSet(settings=alone, index=index) for index in range(self.sets))

    def check(self) -> None:
        """Raise unless the sweep means something.

        Raises
        ------
        ConfigError
            A field has the wrong type or is outside its range.
        ProblemError
            Fewer than three scales, scales that do not increase, a risk that is above the risk at
            the start, an accuracy that is not positive, or a paired initialisation of odd width.
        """
        checked(self)
        if self.alphas < FEWEST_ALPHAS:
            raise ProblemError(
                f"the grid has {self.alphas} alpha(s); an optimum needs at least {FEWEST_ALPHAS} "
                "(overalign flow trains at a single alpha)"
            )
        if not 0.0 < self.alpha_min < self.alpha_max < math.inf:
            raise ProblemError(
                f"the scales go from {self.alpha_min:g} to {self.alpha_max:g}; give "
                "0 < alpha_min < alpha_max"
            )
        start = LogisticLoss().risk(np.zeros(1), np.ones(1))
        if not 0.0 < self.eta < start:
            raise ProblemError(
                f"eta is {self.eta:g}; it must lie between 0 and the risk at the start, "
                f"{start:.4f} (the mean of log(1 + exp(-y f)) at f = 0), or nothing is trained"
            )
        if not 0.0 < self.error_accuracy < math.inf:
            raise ProblemError(
                f"error_accuracy is {self.error_accuracy:g}, expected a positive number, as 0.02"
            )
        if self.width % 2 and "paired" in self.initialisations:
            raise ProblemError(
                f"the paired initialisation needs an even width, got {self.width}; change it or "
                "choose the independent initialisation alone"
            )


class DataSet(Config, frozen=True):
    """One data set of a sweep: the unit that is kept on disk.

    Parameters
    ----------
    settings : UCurve
        With ``sets=1``: a data set does not depend on how many others there are.
    index : int
        Which of the data sets of ``settings.seed``.

    Examples
    --------
    >>> UCurve().runs[3].index
    3
    """

    settings: UCurve
    index: Annotated[int, msgspec.Meta(ge=0)]


# ---------------------------------------------------------------- one data set


def problem_of(run: DataSet) -> tuple[Split, dict[Initialisation, Network]]:
    """The data and the networks of one data set of a sweep.

    Parameters
    ----------
    run : DataSet

    Returns
    -------
    split : Split
    networks : dict
        By kind of initialisation.

    Raises
    ------
    OveralignError
        As `overalign.data.read_split` and `Network.random`.

    Examples
    --------
    >>> split, networks = problem_of(UCurve().runs[0])
    >>> split.train.n, networks["paired"].width
    (12, 64)
    """
    settings = run.settings
    generator = np.random.default_rng([settings.seed, run.index, _SET_STREAM])
    split = read_split(settings.data, generator, settings.n)
    networks = {
        kind: Network.random(
            settings.width,
            split.train.dimension,
            np.random.default_rng([settings.seed, run.index, _NETWORK_STREAM]),
            row_law=settings.row_law,
            paired=kind == "paired",
        )
        for kind in settings.initialisations
    }
    return split, networks


def measure(run: DataSet) -> xr.Dataset:
    """Train at every alpha on one data set, and measure.

    Parameters
    ----------
    run : DataSet

    Returns
    -------
    xarray.Dataset
        Along ``initialisation`` and ``alpha`` what `run_ucurve` lists; per data set the reference
        errors. Not a number where the stop was not reached.

    Raises
    ------
    OveralignError
        The data cannot be read or drawn, or the problem cannot be solved.

    Examples
    --------
    >>> settings = UCurve(data="mixture:n=6", width=8, alphas=3, initialisation="paired", eta=0.3)
    >>> measure(settings.runs[0]).network_error.dims
    ('initialisation', 'alpha')
    """
    import xarray as xr

    settings = run.settings
    split, networks = problem_of(run)
    stop = stop_at_risk(settings.eta)
    rows: list[dict[str, Any]] = []
    for network in networks.values():
        for log_alpha in settings.log_alphas:
            end = solve(split.train, network, float(log_alpha), stop, tolerance=settings.tolerance)
            rows.append(_measure_end(end, split, run))
    shape = (len(networks), settings.alphas)
    table = {name: np.array([row[name] for row in rows]).reshape(shape) for name in rows[0]}
    both = ("initialisation", "alpha")
    variables: dict[str, Any] = {
        name: (both, values, _attributes(name)) for name, values in table.items()
    }
    zero = [
        min(log_alpha_where_zeta_vanishes(split.train, network, label) for label in (1, -1))
        for network in networks.values()
    ]
    name = "log_alpha_where_zeta_vanishes"
    variables[name] = (both[:1], np.array(zero), _attributes(name))
    for name, value in _measure_data(split).items():
        variables[name] = ((), value, _attributes(name))
    return xr.Dataset(
        variables,
        coords={
            "initialisation": list(networks),
            "log_alpha": ("alpha", settings.log_alphas, _attributes("log_alpha")),
        },
        attrs=describe_problem(stop, LogisticLoss(), settings.tolerance),
    )


_OF_NETWORK = ("network_error", "network_error_se", "network_error_positive", "undecided")
_OF_PREDICTOR = ("Psi", "cone_angle", "cosine_to_pooled_mean")
_OF_PREDICTOR_IN_MIXTURE = (*_OF_PREDICTOR, "predictor_error", "over_alignment", "over_fitting")


def _measure_end(end: Trajectory, split: Split, run: DataSet) -> dict[str, Any]:
    """The quantities at the stop; those of the network are nan where it was not reached."""
    row: dict[str, Any] = {
        "outcome": end.outcome.name,
        "time": end.time,
        "risk": end.risk,
        "flow_error": end.error_estimate,
    }
    names = _OF_PREDICTOR if split.mixture is None else _OF_PREDICTOR_IN_MIXTURE
    if not end.is_successful:
        both = [*names, *(f"{name}_positive" for name in names)]
        return row | dict.fromkeys([*_OF_NETWORK, *both, "decoupling"], math.nan)
    estimate = _error_of(end, split, run)
    values = (estimate.value, estimate.standard_error, estimate.positive, estimate.undecided)
    row |= dict(zip(_OF_NETWORK, values, strict=True))
    state = alignment_of(end.final, split.train)
    positive, negative = (
        _measure_predictor(of, split, names) for of in (state.positive, state.negative)
    )
    row |= {name: 0.5 * (positive[name] + negative[name]) for name in names}
    row |= {f"{name}_positive": positive[name] for name in names}
    return row | {"decoupling": float(state.decoupling)}


def _error_of(end: Trajectory, split: Split, run: DataSet) -> ErrorEstimate:
    if split.mixture is not None:
        accuracy = run.settings.error_accuracy
        return network_error(end.final, split.mixture, relative_error=accuracy, seed=run.index)
    if split.held_out is not None:
        return held_out_error(end.final, split.held_out)
    raise ProblemError("neither a mixture nor held-out rows: there is nothing to test on")


def _measure_predictor(
    of: ClassAlignment, split: Split, names: tuple[str, ...]
) -> dict[str, float]:
    """The named quantities of one class's effective predictor."""
    predictor, mixture = of.predictor, split.mixture
    if not np.isfinite(predictor).all():  # no live neuron of this class
        return dict.fromkeys(names, math.nan)
    pooled = of.label * split.train.signed.sum(axis=0)
    row = {
        "Psi": float(of.Psi),
        "cone_angle": float(of.cone_angle),
        "cosine_to_pooled_mean": float(np.cos(angle(predictor, pooled))),
    }
    if mixture is None:
        return row
    signal = of.label * mixture.direction
    phi, cone = float(angle(of.class_direction, signal)), float(of.cone_angle)
    away = float(angle(predictor, signal))
    law = (mixture.kappa, mixture.sigma)
    return row | {
        "predictor_error": float(direction_error(predictor, mixture, of.label)),
        "over_alignment": float(over_alignment(phi, cone, *law)),
        "over_fitting": float(over_fitting(away, phi, cone, *law)),
    }


def _measure_data(split: Split) -> dict[str, Any]:
    """Quantities of the data alone."""
    row: dict[str, Any] = {
        "separability": split.train.separability,
        "violating_pairs": split.train.violating_pairs,
    }
    if split.held_out is not None:
        row["held_out"] = split.held_out.n
    if split.report is not None:
        row["acceptance_rate"] = split.report.acceptance_rate
        row["autocorrelation_time"] = split.report.autocorrelation_time
    if split.mixture is not None:
        phis = [class_mean_angle(split.train, split.mixture, label) for label in (1, -1)]
        row["phi"] = float(np.mean(phis))
        errors = reference_errors(split.train, split.mixture)
        row |= {f"error_{name}": value for name, value in errors.items()}
    return row


# ---------------------------------------------------------------- the sweep


def run_ucurve(
    settings: UCurve,
    folder: StrPath | None = None,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    retry_failed: bool = False,
) -> xr.Dataset:
    """Run a sweep, or what is left of it.

    Parameters
    ----------
    settings : UCurve
    folder : path, optional
        Where each data set is kept when it is finished, and found again; nothing is kept unless
        given.
    executor : concurrent.futures.Executor, optional
        Runs the data sets; one after another here unless given. Threads are enough: the work is
        done outside Python's lock.
    progress : callable
        Called with the numbers of data sets finished, in all, and found finished on disk.
    retry_failed : bool
        Run data sets again that failed before.

    Returns
    -------
    xarray.Dataset
        Along ``set``, ``initialisation`` and ``alpha``: ``network_error`` with its standard error
        ``network_error_se`` (over fresh data of the mixture, or held-out rows), ``undecided``
        (probability that no neuron is active), ``Psi``, ``cone_angle`` (radians),
        ``cosine_to_pooled_mean``, ``decoupling``, and for the mixture ``predictor_error``
        (E(w_hat)), ``over_alignment``, ``over_fitting``: means over both classes; the positive
        class alone has the ending ``_positive``. ``outcome``, ``time``, ``risk``, ``flow_error``.
        Along ``set``: ``phi``, the separability, and ``error_*`` of the reference
        directions.

    Raises
    ------
    OveralignError
        The sweep means nothing (`UCurve.check`), the data cannot be drawn, or the folder cannot be
        written.
    RunError
        Data sets failed otherwise; their folders keep the traceback.

    Examples
    --------
    >>> settings = UCurve(data="mixture:n=6", sets=2, width=8, alphas=3, eta=0.3)
    >>> dict(run_ucurve(settings).sizes)
    {'set': 2, 'initialisation': 2, 'alpha': 3}
    """
    settings.check()
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return run_ucurve(settings, temporary, executor=executor, progress=progress)
    runs = run_all(
        settings.runs,
        measure,
        Path(folder),
        executor=executor,
        progress=progress,
        retry_failed=retry_failed,
    )
    return _joined([run.result() for run in runs], settings)


def _joined(results: list[xr.Dataset], settings: UCurve) -> xr.Dataset:
    import xarray as xr

    joined = xr.concat(
        results,
        dim="set",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    # the order in which readers and tables expect the dimensions
    joined = joined.transpose("set", "initialisation", "alpha", missing_dims="ignore")
    joined.attrs |= {
        "title": "Test error against the scale of the initialisation",
        "settings": json.dumps(msgspec.to_builtins(settings)),
        "data": settings.data,
        **versions(),
    }
    return joined


# ---------------------------------------------------------------- what it says


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
    half = _student_quantile(count) * spread / np.sqrt(np.maximum(count, 1))
    statistics = xr.Variable("statistic", ["mean", "low", "high"])
    joined: xr.DataArray = xr.concat([mean, mean - half, mean + half], dim=statistics)
    return joined.rename(values.name)


def _student_quantile(count: Any) -> Any:
    """Half width, in standard errors, of the interval of a mean of ``count`` values."""
    from scipy.special import stdtrit

    return stdtrit(np.maximum(np.asarray(count) - 1, 1), 0.5 + 0.5 * LEVEL)


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
        (Hesterberg 2015, arXiv:1411.5279, section 5.1.1).
    interior : float
        Share of the bootstrap samples whose lowest grid point is not an end of the grid.
    value : float
        The mean curve at its lowest grid point.
    rise_small, rise_large : Rise
        The smallest and the largest alpha against the optimum. The optimum of a data set is
        taken from the others, so that choosing the lowest point of a noisy curve does not make a
        rise.
    alphas : int
        Number of scales at which every data set reached the stop; the others are left out.

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
    alphas: int


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
        Fewer than three scales at which every data set reached the stop.

    Examples
    --------
    >>> grid = np.linspace(-4.0, 4.0, 9)
    >>> shifts = np.array([[-0.1], [0.0], [0.2]])
    >>> optimum = find_optimum((grid - 1.0 - shifts) ** 2, grid)
    >>> round(optimum.log_alpha, 3), optimum.interior
    (1.033, 1.0)
    """
    from scipy.special import ndtr

    table, grid = np.asarray(curves, dtype=float), np.asarray(log_alpha, dtype=float)
    complete = np.isfinite(table).all(axis=0)
    table, grid = table[:, complete], grid[complete]
    if grid.size < FEWEST_ALPHAS:
        raise ProblemError(
            f"all data sets reached the stop at {grid.size} alpha(s) only; an optimum needs "
            f"{FEWEST_ALPHAS}"
        )
    sets = len(table)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(sets, np.full(sets, 1.0 / sets), size=bootstraps)
    mean, means = table.mean(axis=0), counts @ table / sets
    places = _vertices(means, grid)
    lowest = means.argmin(axis=1)
    tail = float(ndtr(-_student_quantile(sets) * math.sqrt(sets / max(sets - 1, 1))))
    low, high = np.quantile(places, [tail, 1.0 - tail])
    interior = float(np.mean((lowest > 0) & (lowest < grid.size - 1)))
    if sets < FEWEST_SETS:
        low = high = interior = math.nan
    return Optimum(
        float(_vertices(mean[None], grid)[0]),
        float(low),
        float(high),
        interior,
        float(mean.min()),
        _rise(table, 0, counts),
        _rise(table, -1, counts),
        int(grid.size),
    )


def _vertices(curves: FloatArray, grid: FloatArray) -> FloatArray:
    """Lowest points of the parabolas through the lowest grid points and their neighbours; [c]."""
    lowest, rows = curves.argmin(axis=1), np.arange(len(curves))
    k = np.clip(lowest, 1, grid.size - 2)
    x0, x1, x2 = grid[k - 1], grid[k], grid[k + 1]
    y0, y1, y2 = curves[rows, k - 1], curves[rows, k], curves[rows, k + 1]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    vertex = 0.5 * (x0 + x1 - left / np.where(bend > 0.0, bend, np.inf))
    inside = (lowest == k) & (bend > 0.0)
    return np.asarray(np.where(inside, vertex, grid[lowest]))


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
    half = float(_student_quantile(sets) * spread)
    return Rise(value, value - half, value + half)


def _gap_to_others(table: FloatArray, end: int, counts: NDArray[Any]) -> float:
    """Mean over data sets, each taken counts times, of the end less the optimum of the others."""
    weighted = counts[:, None] * table
    best = (weighted.sum(axis=0) - weighted).argmin(axis=1)
    return float(counts @ (table[:, end] - table[np.arange(len(table)), best]) / counts.sum())


def _attributes(name: str) -> dict[str, str]:
    text, units = _DESCRIBED.get(name) or _DESCRIBED[name.removesuffix("_positive")]
    if name not in _DESCRIBED:
        text += ", positive class alone"
    return {"long_name": text, "units": units}


_DESCRIBED = {
    "log_alpha": ("natural logarithm of alpha", "1"),
    "outcome": ("why training ended", "1"),
    "time": ("time at the stop", "time of the loss"),
    "risk": ("risk over the training samples at the stop", "loss"),
    "flow_error": ("estimated error of the flow", "1"),
    "network_error": ("error of the network, mean over both classes", "1"),
    "network_error_se": ("standard error of network_error", "1"),
    "undecided": ("probability that no neuron is active", "1"),
    "Psi": ("cosine of the effective predictor to the class mean", "1"),
    "cone_angle": ("angle of the effective predictor to the class mean", "rad"),
    "cosine_to_pooled_mean": ("cosine of the effective predictor to the pooled mean", "1"),
    "decoupling": ("largest share of an output that the effective predictors miss", "1"),
    "predictor_error": ("error E(w_hat) of the effective predictor", "1"),
    "over_alignment": ("OA: smallest excess error in the cone", "1"),
    "over_fitting": ("OF: error of the predictor above the smallest in the cone", "1"),
    "log_alpha_where_zeta_vanishes": ("log alpha above which zeta < 0 in one of the classes", "1"),
    "separability": ("lambda of orthogonal separability", "1"),
    "violating_pairs": ("share of pairs with y_i y_k <x_i, x_k> < 0", "1"),
    "held_out": ("number of held-out rows", "1"),
    "acceptance_rate": ("accepted share of the draws of the conditional sampler", "1"),
    "autocorrelation_time": ("of the conditional sampler", "sweeps"),
    "phi": ("angle of the class mean to the signal, mean over both classes", "rad"),
    "error_bayes": ("smallest error of any rule", "1"),
    "error_class_mean": ("error of the class mean", "1"),
    "error_pooled_mean": ("error of the pooled mean", "1"),
    "error_class_max_margin": ("error of the max-margin direction of the class", "1"),
    "error_max_margin": ("error of the max-margin direction of all samples", "1"),
}
