"""``overalign ucurve``: test error against the scale of the initialisation, with its optimum."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..errors import ProblemError, RunError
from ..optimum import Optimum, Rise, find_optimum, over_sets
from ..records import require_writable, write_config, write_dataset
from ..ucurve import UCurve, run_ucurve
from .shared import (
    NOT_REACHED,
    REACHED,
    MaybeInt,
    end_failed,
    interrupt_ends,
    made_folder,
    progress_bar,
)

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

__all__ = ["UCurveOptions", "report_ucurve"]

_TABLE_WIDTH = 80  # columns; a narrower terminal wraps rather than loses digits
_RESULTS, _FIGURE, _CONFIG, _RUNS = "results.nc", "ucurve.png", "config.toml", "runs"


@dataclass(frozen=True)
class UCurveOptions:
    """Sweep the scale of the initialisation over fresh data sets: error, OA, OF and the optimum.

    Writes results.nc, a figure ucurve.png, config.toml (which --config takes again), and a folder
    runs with one result for each data set: a sweep that was interrupted, or is asked for more data
    sets, goes on where it was. Exit code 0: done; 1: data sets failed, or the stop was reached at
    too few scales to speak of an optimum; 2: the request cannot be met.

    Parameters
    ----------
    settings : UCurve
        The sweep.
    output : path
        Folder to write to; made if missing.
    config : path, optional
        A config.toml whose settings replace the defaults; other options still count. (Read by the
        command line; from Python give ``settings=read_config(UCurve, path)``.)
    workers : int, optional
        Data sets at a time (default: one for each core).
    retry_failed : bool
        Run data sets again that failed before.

    Examples
    --------
    >>> UCurveOptions().settings.sets
    16
    """

    settings: tyro.conf.OmitArgPrefixes[UCurve] = field(default_factory=UCurve)
    output: Path = Path("ucurve")
    config: Path | None = None
    workers: MaybeInt = None
    retry_failed: bool = False


def report_ucurve(options: UCurveOptions) -> int:
    """What ``overalign ucurve`` does: sweep, tabulate, write, draw.

    Parameters
    ----------
    options : UCurveOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.
    SystemExit
        There is no table: data sets failed, now or earlier.

    Examples
    --------
    >>> import tempfile
    >>> small = UCurve(data="mixture:n=6", sets=2, width=8, alphas=3, eta=0.3)
    >>> report_ucurve(UCurveOptions(settings=small, output=Path(tempfile.mkdtemp())))
    mixture:n=6: ...
    0
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    wide = Console(highlight=False, width=max(console.width, _TABLE_WIDTH))
    settings, folder = options.settings, options.output
    settings.check()
    if options.workers is not None and options.workers < 1:
        raise ProblemError(f"--workers is {options.workers}, expected a whole number >= 1")
    made_folder(folder)
    for name in (_RESULTS, _FIGURE, _CONFIG):
        require_writable(folder / name)
    dataset = _sweep(options)
    console.print(_describe(dataset, settings), markup=False)
    for kind in settings.initialisations:
        wide.print(_table(dataset.sel(initialisation=kind), kind))
    optima = {kind: _optimum(dataset.sel(initialisation=kind)) for kind in settings.initialisations}
    for kind, optimum in optima.items():
        console.print(f"{kind}: {_say(optimum)}", markup=False)
    for path in _write(dataset, options):
        console.print(f"wrote {path}", markup=False)
    return REACHED if all(map(_is_optimum, optima.values())) else NOT_REACHED


def _is_optimum(found: Optimum | str) -> bool:
    return isinstance(found, Optimum)


# ---------------------------------------------------------------- the sweep


def _sweep(options: UCurveOptions) -> xr.Dataset:
    from rich.console import Console

    console = Console(stderr=True)
    runs = options.output / _RUNS
    left = f"finished data sets are kept in {runs}; the same command goes on from there"
    try:
        with (
            interrupt_ends(console, left),
            ThreadPoolExecutor(options.workers or os.cpu_count() or 1) as executor,
            _progress(console) as progress,
        ):
            return run_ucurve(
                options.settings,
                runs,
                executor=executor,
                progress=progress,
                retry_failed=options.retry_failed,
            )
    except RunError as error:
        return end_failed(console, error)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int, int], None]]:
    quiet = not console.is_terminal
    with progress_bar(console, transient=True, disable=quiet) as bar:
        task = bar.add_task("data sets (the first solve on a machine compiles)", total=None)

        def show(done: int, total: int, kept: int) -> None:
            bar.update(task, completed=done, total=total)
            if done:
                bar.update(
                    task, description=f"data sets ({kept} from before)" if kept else "data sets"
                )

        yield show


def _write(dataset: xr.Dataset, options: UCurveOptions) -> list[Path]:
    from ..plots import plot_ucurve, save_figure

    folder = options.output
    write_config(options.settings, folder / _CONFIG)
    written = [folder / _CONFIG, write_dataset(dataset, folder / _RESULTS)]
    return [*written, save_figure(plot_ucurve(dataset)[0, 0].figure, folder / _FIGURE)]


# ---------------------------------------------------------------- what is printed


def _describe(dataset: xr.Dataset, settings: UCurve) -> str:
    has_law = "error_bayes" in dataset
    sets = "data sets" if has_law else "random splits of one data set"
    over = "over the data sets" if has_law else "over the splits, which share rows: too short"
    lines = [
        f"{settings.data}: {settings.sets} {sets}, {settings.width} neurons, trained to risk "
        f"{settings.eta:g}; intervals are 95 % {over}"
    ]
    unreached = int((dataset["network_error"].isnull()).sum())
    if unreached:
        lines.append(
            f"{unreached} of {dataset['network_error'].size} trainings did not reach the stop "
            "(variable outcome says why); they are left out"
        )
    if has_law:
        references = ", ".join(
            f"{name.replace('_', ' ')} {float(dataset[f'error_{name}'].mean()):.3g}"
            for name in ("bayes", "pooled_mean", "max_margin", "class_mean", "class_max_margin")
        )
        lines.append(f"reference errors: {references}")
    else:
        lines.append(
            "error: on held-out rows. The law of these data is not known, so E(w_hat), OA, OF, phi "
            "and the reference errors are not defined"
        )
    return "\n".join(lines)


def _table(dataset: xr.Dataset, kind: str) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{kind} initialisation",
        caption="Psi, pooled: cosine of w_hat to the class mean, to the pooled mean",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold",
        title_justify="left",
        caption_justify="left",
    )
    columns = {
        "error": "network_error",
        "E(w_hat)": "predictor_error",
        "OA": "over_alignment",
        "OF": "over_fitting",
        "Psi": "Psi",
        "pooled": "cosine_to_pooled_mean",
    }
    shown = {heading: name for heading, name in columns.items() if name in dataset}
    for heading in ("alpha", "c", *shown, "zeta"):
        table.add_column(heading, justify="right", no_wrap=True)
    values = {name: over_sets(dataset[name]).values for name in shown.values()}
    edge = float(dataset["log_alpha_where_zeta_vanishes"].median())
    for k, log_alpha in enumerate(dataset["log_alpha"].values):
        cells = [_cell(values[name][:, k], name == "network_error") for name in shown.values()]
        sign = "< 0" if log_alpha > edge else ""
        table.add_row(_scale(log_alpha), _scale(2.0 * log_alpha), *cells, sign)
    return table


def _scale(log_value: float) -> str:
    """exp(log_value) in two digits, also where it leaves float64."""
    exponent = math.floor(log_value / math.log(10.0) + 1e-9)
    mantissa = math.exp(log_value - exponent * math.log(10.0))
    return f"{mantissa:.1f}e{exponent:+d}"


def _cell(statistics: Any, with_interval: bool) -> str:
    mean, low, high = statistics
    if math.isnan(mean):
        return "-"
    half = f" ± {0.5 * (high - low):.1g}" if with_interval and math.isfinite(low) else ""
    return f"{mean:.4f}{half}" if abs(mean) > 1e-3 or mean == 0.0 else f"{mean:.1e}{half}"


def _optimum(dataset: xr.Dataset) -> Optimum | str:
    try:
        return find_optimum(dataset["network_error"], dataset["log_alpha"])
    except ProblemError as error:
        return f"no optimum: {error}"


def _say(optimum: Optimum | str) -> str:
    if isinstance(optimum, str):
        return optimum
    at, low, high, smallest, largest = (
        f"{math.exp(value):.3g}"
        for value in (
            *(optimum.log_alpha, optimum.low, optimum.high),
            *(optimum.smallest, optimum.largest),
        )
    )
    c = f"{math.exp(2.0 * optimum.log_alpha):.2g}"
    text = f"lowest network error {optimum.value:.4g} at alpha = {at} (c = {c})"
    if math.isfinite(optimum.low):
        share = 100.0 * optimum.interior
        text += f", interval [{low}, {high}], inside the grid in {share:.0f} % of the samples"
    return (
        f"{text}; above it by {_say_rise(optimum.rise_small)} at alpha = {smallest} and by "
        f"{_say_rise(optimum.rise_large)} at alpha = {largest}"
    )


def _say_rise(rise: Rise) -> str:
    if math.isnan(rise.low):
        return f"{rise.value:.3g}"
    return f"{rise.value:.3g} [{rise.low:.3g}, {rise.high:.3g}]"
