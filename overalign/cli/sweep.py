"""``overalign sweep``: deep networks against the output multiplier, with the statistics of a U."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..deepnet.ledger import FAILED, OUTCOMES
from ..deepnet.settings import CONFIG, Architecture, Group, Sweep
from ..engine import OnError
from ..errors import OveralignError, ProblemError, RunError
from ..executors import ExecutorKind, open_executor
from ..optimum import over_sets
from ..records import LOCK, Config, RunFolder, require_writable, write_dataset
from .shared import (
    INTERRUPTED,
    NOT_REACHED,
    REACHED,
    MaybeInt,
    MaybeText,
    end_failed,
    made_folder,
    progress_bar,
)

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console
    from rich.table import Table

__all__ = ["SweepOptions", "report_sweep"]

_RESULTS, _FIGURE = "results.nc", "u_curve.png"
_ENDS = (*OUTCOMES, FAILED)  # all that can become of a network
_TABLE_WIDTH = 80  # columns; a narrower terminal wraps rather than loses digits

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class SweepOptions:
    """Train deep networks over output multipliers c, and test whether accuracy has a U-curve in c.

    Writes config.toml (which CONFIG takes again), results.nc, a figure u_curve.png, plan.json, and
    a folder runs with one result for each group of networks: a sweep that was interrupted, or is
    asked for more seeds, goes on where it was. Exit code 0: done; 1: groups failed, a worker was
    lost, or there are too few networks to speak of a curve; 2: the request cannot be met; 130:
    interrupted.

    Parameters
    ----------
    settings : Sweep
        The sweep.
    config : path, optional
        A TOML file whose settings replace the defaults; options still count. (Read by the command
        line; from Python give ``settings=read_config(Sweep, path)``.)
    output : path
        Folder to write to; made if missing.
    executor : {"processes", "inline", "dask"}
        Worker processes; one group after another; or a scheduler of dask with worker processes.
    workers : int, optional
        Groups at a time (default: one for each core; on a card, one). Of a running scheduler, how
        many it has: decides how many networks a group trains together.
    scheduler : str, optional
        Address of a running dask scheduler, as tcp://10.0.0.1:8786; its workers need the same
        package and the same folders.
    resume : bool
        Go on with the sweep in the output folder, with its config.toml unless CONFIG is given; an
        error if there is none.
    retries : int
        Further attempts at a group that fails.
    retry_failed : bool
        Do groups again that failed before.
    on_error : {"continue", "stop"}
        After a failure, do all other groups first, or leave them.
    stack : int, optional
        Networks that are trained together (default: measured once, what is fastest).
    dry_run : bool
        Say what would be done and what is finished, and estimate the time; write nothing.

    Examples
    --------
    >>> SweepOptions().settings.seeds
    16
    """

    settings: tyro.conf.OmitArgPrefixes[Sweep] = field(default_factory=Sweep)
    config: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="CONFIG")] = None
    output: Path = Path("sweep")
    executor: ExecutorKind = "processes"
    workers: MaybeInt = None
    scheduler: MaybeText = None
    resume: Flag = False
    retries: int = 0
    retry_failed: Flag = False
    on_error: OnError = "continue"
    stack: MaybeInt = None
    dry_run: Flag = False

    def config_path(self) -> Path | None:
        """The file whose settings replace the defaults, if there is one.

        Raises
        ------
        ProblemError
            There is nothing to resume.
        """
        kept = self.output / CONFIG
        if self.resume and not kept.is_file():
            raise ProblemError(
                f"--resume: there is no sweep in {self.output} (no {CONFIG}); leave --resume out "
                "to begin one, or name its folder by --output"
            )
        return kept if self.resume and self.config is None else self.config


def report_sweep(options: SweepOptions) -> int:
    """What ``overalign sweep`` does: train, tabulate, test, write, draw.

    Parameters
    ----------
    options : SweepOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.
    SystemExit
        There is no table: the sweep was interrupted, a worker was lost, or groups failed, and all
        of them did or that was to stop it.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    options = replace(options, settings=options.settings.check())
    options.config_path()
    if options.workers is not None and options.workers < 1:
        raise ProblemError(f"--workers is {options.workers}, expected a whole number >= 1")
    if options.workers is not None and options.executor == "inline":
        raise ProblemError(
            "--workers belongs to executors 'processes' and 'dask'; 'inline' does one group after "
            "another"
        )
    if options.retries < 0:
        raise ProblemError(f"--retries is {options.retries}, expected a whole number >= 0")
    _require_torch()
    if options.dry_run:
        return _preview(options, console)
    is_new = not options.output.exists()
    made_folder(options.output)
    for name in (_RESULTS, _FIGURE, CONFIG):
        require_writable(options.output / name)
    try:
        table = _sweep(options)
    except OveralignError:
        if is_new:
            _remove_unused(options.output)
        raise
    write_dataset(table, options.output / _RESULTS)
    return _report(table, options, console)


def _remove_unused(folder: Path) -> None:
    """Remove a folder in which nothing was kept."""
    if {path.name for path in folder.iterdir()} <= {LOCK}:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ProblemError(
            f"overalign sweep needs torch ({error}): pip install 'overalign[deepnet]'"
        ) from error


# ---------------------------------------------------------------- the sweep


def _sweep(options: SweepOptions) -> xr.Dataset:
    from rich.console import Console

    from ..deepnet.sweep import run_sweep

    console = Console(stderr=True)
    try:
        with (
            open_executor(options.executor, _workers(options), options.scheduler) as executor,
            _live(console, options.settings) as (progress, on_end),
        ):
            try:
                return run_sweep(
                    options.settings,
                    options.output,
                    executor=executor,
                    workers=_workers(options),
                    stack=options.stack,
                    progress=progress,
                    on_end=on_end,
                    retries=options.retries,
                    retry_failed=options.retry_failed,
                    on_error=options.on_error,
                )
            except RunError as error:  # of the work; that of `open_executor` is a refusal
                failure = error
    except KeyboardInterrupt:
        left = f"finished groups are kept in {options.output}; the same command goes on from there"
        console.print(f"interrupted; {left}", markup=False, soft_wrap=True)
        sys.exit(INTERRUPTED)
    return end_failed(console, failure)


def _workers(options: SweepOptions) -> int:
    if options.executor == "inline":
        return 1
    on_card = options.settings.training.device.startswith("cuda")
    return options.workers or (1 if on_card else os.cpu_count()) or 1


Watchers = tuple[Callable[[int, int, int], None], Callable[[RunFolder[Group]], None]]


@contextmanager
def _live(console: Console, settings: Sweep) -> Iterator[Watchers]:
    """What `run_sweep` reports: on a terminal a table that grows, else a line for each group."""
    if not console.is_terminal:
        yield _lines(console)
        return
    from rich.console import Group as Stacked
    from rich.live import Live

    bar = progress_bar(console)
    task = bar.add_task("groups of networks", total=None)
    tally = Tally(settings)
    with Live(Stacked(tally, bar), console=console, transient=True, refresh_per_second=4):

        def progress(done: int, total: int, kept: int) -> None:
            text = f"groups ({kept} from before)" if kept else "groups of networks"
            bar.update(task, completed=done, total=total, description=text)

        yield progress, tally.add


def _lines(console: Console) -> Watchers:
    """A line for each group that ends."""
    ended: list[RunFolder[Group]] = []
    say = partial(console.print, markup=False, soft_wrap=True, highlight=False)

    def progress(done: int, total: int, kept: int) -> None:
        if done > kept:
            say(f"group {done} of {total}: {_said_of(ended[-1])}")
        elif kept:
            say(f"{kept} of {total} groups are finished from before")

    return progress, ended.append


def _said_of(run: RunFolder[Group]) -> str:
    """Which group it is, and what came of its networks."""
    cells = [cell.log2_output_multiplier for cell in run.config.cells]
    lowest, highest = min(cells), max(cells)
    span = f"c = 2^{lowest:g}" + (f" to 2^{highest:g}" if highest > lowest else "")
    which = f"seed {run.config.seed}, labels {run.config.task.labels.replace('_', ' ')}, {span}"
    if run.error:
        return f"{which}; failed: {run.error.splitlines()[0]}"
    ends = Counter(map(str, run.arrays()[0]["outcome"]))
    counts = ", ".join(f"{ends[end]} {end.lower()}" for end in _ENDS if ends[end])
    return f"{which}; {counts}; {run.seconds:.1f} s"


class Tally:
    """What came of the networks so far, for every output multiplier.

    Parameters
    ----------
    settings : Sweep
    """

    def __init__(self, settings: Sweep) -> None:
        self._multipliers = settings.log2_output_multipliers
        self._label = settings.task.labels
        self._outcomes: dict[float, Counter[str]] = defaultdict(Counter)
        self._accuracies: dict[float, list[float]] = defaultdict(list)

    def add(self, run: RunFolder[Group]) -> None:
        """Count a group that ended."""
        if run.error:
            for cell in run.config.cells:
                self._outcomes[cell.log2_output_multiplier][FAILED] += 1
            return
        arrays, _ = run.arrays()
        counts = run.config.task.labels == self._label
        names = ("log2_output_multiplier", "outcome", "test_accuracy")
        for log2_c, outcome, accuracy in zip(*(arrays[name] for name in names), strict=True):
            self._outcomes[float(log2_c)][str(outcome)] += 1
            if counts and accuracy == accuracy:
                self._accuracies[float(log2_c)].append(float(accuracy))

    def __rich__(self) -> Table:
        """A row for each output multiplier."""
        table = _new_table("networks so far (all tasks); accuracy of the task itself")
        for heading in ("c", "done", *(end.lower() for end in _ENDS), "test accuracy"):
            table.add_column(heading, justify="right", no_wrap=True)
        for log2_c in self._multipliers:
            outcomes, accuracies = self._outcomes[log2_c], self._accuracies[log2_c]
            mean = f"{sum(accuracies) / len(accuracies):.4f}" if accuracies else "-"
            counts = [str(outcomes[end] or "") for end in _ENDS]
            table.add_row(f"2^{log2_c:g}", str(outcomes.total()), *counts, mean)
        return table


def _new_table(title: str) -> Table:
    from rich.table import Table

    return Table(
        title=title, box=None, padding=(0, 1, 0, 0), header_style="bold", title_justify="left"
    )


# ---------------------------------------------------------------- what is printed


def _report(table: xr.Dataset, options: SweepOptions, console: Console) -> int:
    """Print the table and the statistics, draw; the exit code."""
    from rich.console import Console

    from ..deepnet.statistics import summary
    from ..plots import save_figure
    from ..plots.sweep import plot_accuracy

    wide = Console(highlight=False, width=max(console.width, _TABLE_WIDTH))
    console.print(_describe(options.settings), markup=False)
    code = _say_failures(table, console)
    for task in map(str, table["task"].values):
        try:
            wide.print(_curve(table, task))
        except ProblemError as error:
            console.print(f"no statistics of labels {task}: {error}", markup=False)
            code = NOT_REACHED
    written = [options.output / name for name in (CONFIG, _RESULTS)]
    try:
        for sentence in summary(table):
            console.print(sentence, markup=False)
        axes = plot_accuracy(table)
    except ProblemError as error:
        console.print(f"no statistics: {error}", markup=False)
        code = NOT_REACHED
    else:
        written.append(save_figure(axes[0, 0].figure, options.output / _FIGURE))
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return code


def _describe(settings: Sweep) -> str:
    task, training, network = settings.task, settings.training, settings.architecture
    size = "all" if task.n is None else f"{task.n:,}"
    stops = [
        f"{name} {value:g}"
        for name, value in (
            ("accuracy", training.stop_accuracy),
            ("risk", training.stop_risk),
        )
        if value is not None
    ]
    until = f"to training {' or '.join(stops)}, " if stops else ""
    rates = ", ".join(f"{rate:g}" for rate in settings.learning_rates)
    _, step_size = training.step_rule()
    depth = "" if network.depth == Architecture().depth else f" and depth {network.depth}"
    of_task, of_network, of_training = map(_unusual, (task, network, training))
    return (
        f"{task.data}, {size} training images{of_task}: {network.model} of width {network.width}"
        f"{depth}{of_network}, {training.optimiser} with step {step_size.replace('lr', rates)} on "
        f"{training.loss.replace('_', ' ')}{of_training}, {until}at most "
        f"{training.epochs} epochs; {_counted(settings.seeds, 'seed')}; intervals are 95 % over "
        "them"
    )


_SAID = {
    *("data", "data_root", "n"),
    *("model", "width", "depth"),
    *("loss", "optimiser", "homogeneous_degree", "epochs", "stop_accuracy", "stop_risk"),
}


def _unusual(settings: Config) -> str:
    """What else differs from the default."""
    default = type(settings)()
    words = ""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name in _SAID or value == getattr(default, name):
            continue
        label = name.replace("_", " ")
        if isinstance(value, bool):
            words += f", {label}" if value else f", no {label}"
        else:
            words += f", {label} {'all' if value is None else value}"
    return words


_COLUMNS = {
    "test": "test_accuracy",
    "peak": "test_accuracy_peak",
    "epochs": "epochs",
    "w emp.": "predictor_cosine_empirical",
    "w pop.": "predictor_cosine_population",
    "CKA": "tangent_kernel_alignment",
    "moved": "weight_displacement",
}


def _curve(table: xr.Dataset, task: str) -> Table:
    """Means over the seeds at each output multiplier, at its best learning rate."""
    from ..deepnet.statistics import at_best_rates

    several = " at the best step for each c" if table.sizes["learning_rate"] > 1 else ""
    chosen = at_best_rates(table, task=task)
    shown = _new_table(f"labels: {task.replace('_', ' ')}{several}")
    shown.caption = (
        "w emp., w pop.: cosine of the effective predictors to the class means, of the training "
        "images and of all; CKA: tangent kernel to that at the start; reached: the target"
    )
    shown.caption_justify = "left"
    names = {heading: name for heading, name in _COLUMNS.items() if name in chosen}
    for heading in ("c", *names, "reached"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("else")
    for log2_c, row in zip(chosen["log2_output_multiplier"].values, _rows(chosen), strict=True):
        cells = [_mean(row[name], name) for name in names.values()]
        ends = Counter(map(str, row["outcome"].values))
        others = (f"{ends[end]} {end.lower()}" for end in _ENDS[1:] if ends[end])
        reached = f"{ends['REACHED']}/{ends.total()}"
        shown.add_row(f"2^{float(log2_c):g}", *cells, reached, ", ".join(others))
    return shown


def _rows(chosen: xr.Dataset) -> Iterator[xr.Dataset]:
    return (
        chosen.isel(output_multiplier=place) for place in range(chosen.sizes["output_multiplier"])
    )


def _mean(values: xr.DataArray, name: str) -> str:
    """The mean, with half of its interval for the accuracy at the stop."""
    mean, low, high = over_sets(values.rename(seed="set")).values
    if math.isnan(mean):
        return "-"
    if name == "epochs":
        return f"{mean:.0f}"
    if name != "test_accuracy" or math.isnan(low):
        return f"{mean:.3f}"
    return f"{mean:.4f} ± {0.5 * (high - low):.4f}"


def _say_failures(table: xr.Dataset, console: Console) -> int:
    failed = table["outcome"].values == FAILED
    if not failed.any():
        return REACHED
    console.print(
        f"{failed.sum()} of {failed.size} networks failed and are left out; the first: "
        f"{table['reason'].values[failed][0]}. --retry-failed does them again",
        markup=False,
    )
    return NOT_REACHED


# ---------------------------------------------------------------- a look before


def _preview(options: SweepOptions, console: Console) -> int:
    """Print what would be done, what is done, and how long the rest takes at most."""
    from ..deepnet.images import read_images
    from ..deepnet.models import build_model
    from ..deepnet.sweep import is_planned, plan, runs_of

    settings = options.settings
    data = read_images(settings.task, settings.seed)
    model = build_model(settings.architecture, data.shape, data.classes)
    groups = plan(settings, options.output, stack=options.stack, workers=_workers(options))
    runs = [(run, run.state) for run in runs_of(groups, options.output)]
    states = Counter(state for _, state in runs)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    validation = 0 if data.validation is None else len(data.validation)
    networks = sum(len(group.cells) for group in groups)
    tasks = _counted(len(settings.tasks), "task")
    is_kept = options.stack is not None or is_planned(options.output)
    timed = "" if is_kept else "; timed now, and once more when the sweep begins: --stack fixes it"
    lines = [
        _describe(settings),
        f"data: {len(data.train):,} training, {validation:,} validation and {len(data.test):,} "
        f"test images of shape {data.shape}, {data.classes} classes",
        f"network: {parameters:,} parameters",
        f"plan: {networks:,} networks in {len(groups):,} groups of at most "
        f"{max(len(group.cells) for group in groups)}, {tasks}{timed}",
        f"{options.output}: {states['finished']:,} groups finished, {states['failed']:,} failed, "
        f"{states['unfinished']:,} begun, {states['absent']:,} not begun",
        _cost(options, runs),
    ]
    for line in lines:
        console.print(line, markup=False)
    return REACHED


def _cost(options: SweepOptions, runs: Sequence[tuple[RunFolder[Group], str]]) -> str:
    """How long what is left takes: as the finished groups did, or all epochs of the budget."""
    from ..deepnet.calibration import epoch_seconds

    settled = {"finished"} if options.retry_failed else {"finished", "failed"}
    left = [run for run, state in runs if state not in settled]
    if not left:
        return "time: nothing is left to do"
    workers = min(_workers(options), len(left))
    at_once = _counted(workers, "worker")
    known = (run.seconds for run, state in runs if state == "finished")
    finished = [seconds for seconds in known if math.isfinite(seconds)]
    if finished:
        mean = sum(finished) / len(finished)
        return (
            f"time: about {_duration(mean * len(left) / workers)} with {at_once}, if the "
            f"other groups take as long as the finished ones did, {mean:.3g} s each"
        )
    seconds = epoch_seconds(left[0].config)
    epochs = options.settings.training.epochs
    most = seconds * epochs * len(left) / workers
    return (
        f"time: between {_duration(most / epochs)} (one epoch) and {_duration(most)} (all {epochs} "
        f"epochs) with {at_once}; one epoch of one group took {seconds:.3g} s"
    )


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1.0 else "less than a second"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
