"""The U-curve of the theory's own model: test error against the scale of the initialisation.

A sweep draws data sets, trains two-layer networks on each at every alpha of a grid, to the same
risk, and measures the networks and their effective predictors. One data set is one run on disk
(`overalign.records.RunFolder`), so a sweep that was interrupted, or is asked for more data sets,
goes on where it was, also when its data file has been moved.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from .alignment import ClassAlignment, alignment_of, angle
from .data import Split, file_digest, read_split
from .engine import run_all
from .errors import ProblemError, ToleranceError
from .excess_error import (
    ErrorEstimate,
    class_mean_angle,
    excess_error_of,
    held_out_error,
    network_error,
    reference_errors,
)
from .flow import SMALLEST_TOLERANCE, Outcome, Trajectory, describe_problem, solve, stop_at_risk
from .optimum import FEWEST_ALPHAS
from .phases import log_alpha_where_zeta_vanishes
from .problem import LogisticLoss, Network, Stream
from .records import Config, StrPath, checked, versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "UCurve",
    "UCurveRun",
    "measure",
    "problem_of",
    "run_ucurve",
]

FloatArray: TypeAlias = NDArray[np.float64]
Initialisation: TypeAlias = Literal["independent", "paired"]

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
    def runs(self) -> tuple[UCurveRun, ...]:
        """One run for each data set.

        Raises
        ------
        DataFileError
            The data are in a file that cannot be read.
        """
        alone, digest = replace(self, sets=1), file_digest(self.data)
        return tuple(
            UCurveRun(settings=alone, index=index, file_sha256=digest) for index in range(self.sets)
        )

    def check(self) -> None:
        """Raise unless the sweep means something.

        Raises
        ------
        ConfigError
            A field has the wrong type or is outside its range.
        ProblemError
            Fewer than three scales, scales that do not increase, a risk that is above the risk at
            the start, an accuracy that is not positive, or a paired initialisation of odd width.
        ToleranceError
            A tolerance that float64 cannot deliver.
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
        if not SMALLEST_TOLERANCE <= self.tolerance < 1.0:
            raise ToleranceError(
                f"tolerance is {self.tolerance:g}; float64 can deliver {SMALLEST_TOLERANCE:g} and "
                "larger, and 1 would say nothing"
            )
        if self.width % 2 and "paired" in self.initialisations:
            raise ProblemError(
                f"the paired initialisation needs an even width, got {self.width}; change it or "
                "choose the independent initialisation alone"
            )


class UCurveRun(Config, frozen=True):
    """One data set of a sweep: the unit that is kept on disk.

    Parameters
    ----------
    settings : UCurve
        With ``sets=1``: a data set does not depend on how many others there are.
    index : int
        Which of the data sets of ``settings.seed``.
    file_sha256 : str, optional
        Of the data file: another content is another run, another place is not.

    Examples
    --------
    >>> UCurve().runs[3].index
    3
    """

    settings: UCurve
    index: Annotated[int, msgspec.Meta(ge=0)]
    file_sha256: str | None = None

    def identity(self) -> Self:
        """The data set, its file known by kind and digest and not by its place.

        Returns
        -------
        UCurveRun

        Examples
        --------
        >>> run = UCurveRun(settings=UCurve(data="old/mine.npz"), index=0, file_sha256="5ae1...")
        >>> run.identity().settings.data, UCurve().runs[0].identity().settings.data
        ('.npz', 'mixture')
        """
        if self.file_sha256 is None:
            return self
        kind = Path(self.settings.data).suffix.lower()
        return replace(self, settings=replace(self.settings, data=kind))


# ---------------------------------------------------------------- one data set


def problem_of(run: UCurveRun) -> tuple[Split, dict[Initialisation, Network]]:
    """The data and the networks of one data set of a sweep.

    Parameters
    ----------
    run : UCurveRun

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
    generator = np.random.default_rng([settings.seed, run.index, Stream.SWEEP_DATA])
    split = read_split(settings.data, generator, settings.n)
    networks = {
        kind: Network.random(
            settings.width,
            split.train.dimension,
            np.random.default_rng([settings.seed, run.index, Stream.SWEEP_NETWORK]),
            row_law=settings.row_law,
            paired=kind == "paired",
        )
        for kind in settings.initialisations
    }
    return split, networks


def measure(run: UCurveRun) -> xr.Dataset:
    """Train at every alpha on one data set, and measure.

    Parameters
    ----------
    run : UCurveRun

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


def _measure_end(end: Trajectory, split: Split, run: UCurveRun) -> dict[str, Any]:
    """The quantities at the stop; those of the network are nan where it was not reached."""
    row: dict[str, Any] = {
        "outcome": _why_it_ended(end),
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


def _why_it_ended(end: Trajectory) -> str:
    reached = end.outcome in (Outcome.REACHED, Outcome.ALREADY_THERE)
    return "TOLERANCE_MISSED" if reached and not end.is_successful else end.outcome.name


def _error_of(end: Trajectory, split: Split, run: UCurveRun) -> ErrorEstimate:
    if split.mixture is not None:
        accuracy, lines = run.settings.error_accuracy, (run.settings.seed << 32) + run.index
        return network_error(end.final, split.mixture, relative_error=accuracy, seed=lines)
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
    errors = excess_error_of(of, mixture)
    return row | {
        "predictor_error": errors.error,
        "over_alignment": errors.over_alignment,
        "over_fitting": errors.over_fitting,
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
        Runs the data sets; a thread for each core unless given. Threads are enough: the work is
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
        (probability that f = 0), ``Psi``, ``cone_angle`` (radians),
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
    if executor is None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return run_ucurve(
                settings, folder, executor=threads, progress=progress, retry_failed=retry_failed
            )
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


# ---------------------------------------------------------------- attributes


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
    "undecided": ("probability that f = 0: as a rule, that no neuron is active", "1"),
    "Psi": ("cosine of the effective predictor to the class mean", "1"),
    "cone_angle": ("angle of the effective predictor to the class mean", "rad"),
    "cosine_to_pooled_mean": ("cosine of the effective predictor to the pooled mean", "1"),
    "decoupling": (
        "largest part of an output that the predictors miss, over the largest output",
        "1",
    ),
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
