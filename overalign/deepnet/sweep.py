"""Sweeps: the groups of one, where they are kept, and the table that comes of them.

The folder of a sweep holds ``config.toml``, ``plan.json`` (how many networks a group trains
together, which is measured once, what was asked for, and the digest of the data files) and a run
folder for each group in ``runs``. A group does not depend on the number of seeds, so a sweep can be
asked for more of them later; nor on where the data files lie, so they can be moved.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ..engine import OnError, run_all
from ..errors import ConfigError, OutputError, OveralignError, ProblemError
from ..records import (
    Config,
    RunFolder,
    StrPath,
    config_from,
    locked,
    read_config,
    replaced,
    write_config,
)
from .calibration import as_in_a_worker, stack_size
from .course import require_device
from .images import data_digest
from .ledger import FAILED
from .runs import run_group
from .settings import CONFIG, Count, Group, Sweep

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["is_planned", "plan", "run_sweep", "runs_of"]

_PLAN, _RUNS = "plan.json", "runs"


class _Plan(Config, frozen=True):
    """What is decided once for a folder."""

    stack: Count
    settings: Sweep | None = None
    data_sha256: str | None = None


# ---------------------------------------------------------------- groups


def plan(
    settings: Sweep,
    folder: StrPath | None = None,
    *,
    stack: int | None = None,
    workers: int = 1,
) -> tuple[Group, ...]:
    """The groups of a sweep, in the order in which they are begun.

    Seed after seed, so that whole curves come early; the smallest output multipliers, which train
    longest, before the others.

    Parameters
    ----------
    settings : Sweep
    folder : path, optional
        Of the sweep. If it has been planned there, the groups are the same. Nothing is written.
    stack : int, optional
        Networks that a group trains together, at most all of one seed; measured (a few seconds)
        unless given or planned.
    workers : int
        Processes that will share the groups: counts where the stack is measured.

    Returns
    -------
    tuple of Group

    Raises
    ------
    ConfigError, ProblemError
        The sweep means nothing (`Sweep.check`), or the folder holds another one; says what differs.
    DataFileError
        The data are in files that cannot be read.

    Examples
    --------
    >>> groups = plan(Sweep(seeds=2), stack=5)
    >>> [(group.seed, group.task.labels, len(group.cells)) for group in groups[:4]]
    [(0, 'given', 5), (0, 'given', 4), (0, 'linear_teacher', 5), (0, 'linear_teacher', 4)]
    """
    settings = settings.check()
    if stack is not None and stack < 1:
        raise ProblemError(f"stack is {stack}, expected a whole number >= 1")
    if workers < 1:
        raise ProblemError(f"workers is {workers}, expected a whole number >= 1")
    digest = data_digest(settings.task)
    cells = settings.cells
    stack = None if stack is None else min(stack, len(cells))
    planned = None if folder is None else _planned(settings, digest, Path(folder))
    if None not in (stack, planned) and stack != planned:
        raise ProblemError(
            f"{folder}: the sweep there is planned in stacks of {planned}, not {stack}; leave the "
            "stack out, or choose another folder"
        )
    size = stack or planned or stack_size(settings, workers=workers)
    chunks = [cells[start : start + size] for start in range(0, len(cells), size)]
    chunks.sort(key=lambda chunk: min(cell.log2_output_multiplier for cell in chunk))
    return tuple(
        Group(
            task=task,
            architecture=settings.architecture,
            training=settings.training,
            seed=seed,
            cells=chunk,
            data_sha256=digest,
        )
        for seed in _seeds(settings)
        for task in settings.tasks
        for chunk in chunks
    )


def _seeds(settings: Sweep) -> range:
    return range(settings.seed, settings.seed + settings.seeds)


def _planned(settings: Sweep, digest: str | None, folder: Path) -> int | None:
    """The stack size of the sweep in a folder, if there is one; raise if it is another sweep."""
    planned = _read_plan(folder / _PLAN)
    there = None if planned is None else planned.settings
    if there is None and (folder / CONFIG).exists():
        there = read_config(Sweep, folder / CONFIG)
    if there is not None:
        known = None if planned is None else planned.data_sha256
        both = known and digest  # without either, the places are all that tells the data apart
        asked, there = (
            replace(each, task=each.task.known_by(both), seeds=1, control=False)
            for each in (settings, there)
        )
        differences = list(_differences(asked, there))
        if both and known != digest:
            differences.insert(0, f"the data differ: SHA-256 {known} there, {digest} now")
        if differences:
            raise ProblemError(
                f"{folder} holds another sweep: {'; '.join(differences)}. Choose another folder, "
                "or remove that one"
            )
    return None if planned is None else planned.stack


def _read_plan(path: Path) -> _Plan | None:
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: holds {values!r}, not an object")
        return config_from(_Plan, values, str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ConfigError as error:
        raise ConfigError(f"{error}; remove it to plan again") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}); remove it to plan again") from error


def is_planned(folder: StrPath) -> bool:
    """Whether the sweep of a folder has been planned, so that its stack is fixed.

    Raises
    ------
    ConfigError
        What is kept of the plan is damaged.

    Examples
    --------
    >>> is_planned("nowhere")
    False
    """
    return _read_plan(Path(folder) / _PLAN) is not None


def _differences(asked: Config, there: Config, key: str = "") -> Iterator[str]:
    """Fields in which two configs of one kind differ, in words."""
    for name in asked.__struct_fields__:
        a, b = getattr(asked, name), getattr(there, name)
        if isinstance(a, Config):
            yield from _differences(a, b, f"{key}{name}.")
        elif a != b:
            yield f"{key}{name} is {b!r} there, {a!r} was asked for"


def _stack(groups: Sequence[Group]) -> int:
    return max(len(group.cells) for group in groups)


def _keep_plan(settings: Sweep, groups: Sequence[Group], folder: Path) -> None:
    """Write what makes the next call find the same groups."""
    if not (folder / CONFIG).exists() or read_config(Sweep, folder / CONFIG) != settings:
        write_config(settings, folder / CONFIG)
    kept = _Plan(stack=_stack(groups), settings=settings, data_sha256=groups[0].data_sha256)
    if _read_plan(folder / _PLAN) != kept:
        with replaced(folder / _PLAN) as temporary:
            temporary.write_text(json.dumps(msgspec.to_builtins(kept)) + "\n", "utf-8")


def runs_of(groups: Sequence[Group], folder: StrPath) -> list[RunFolder[Group]]:
    """The run folders of groups in the folder of a sweep.

    Parameters
    ----------
    groups : sequence of Group
    folder : path

    Returns
    -------
    list of RunFolder

    Examples
    --------
    >>> [run.state for run in runs_of(plan(Sweep(seeds=1), stack=9), "nowhere")]
    ['absent', 'absent']
    """
    return [RunFolder(Path(folder) / _RUNS, group) for group in groups]


# ---------------------------------------------------------------- the sweep


def run_sweep(
    settings: Sweep,
    folder: StrPath | None = None,
    *,
    executor: Executor | None = None,
    stack: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    on_end: Callable[[RunFolder[Group]], None] | None = None,
    retries: int = 0,
    retry_failed: bool = False,
    on_error: OnError = "continue",
) -> xr.Dataset:
    """Run a sweep, or what is left of it.

    Parameters
    ----------
    settings : Sweep
    folder : path, optional
        Of the sweep; made if missing. It may hold the same sweep, with any number of seeds, with or
        without control, with its data files in another place: what is finished there is not done
        again. Nothing is kept unless given.
    executor : concurrent.futures.Executor, optional
        Runs the groups, as `overalign.executors.open_executor` gives it; one after another, here,
        unless given, while torch has as many threads as it would have in a worker.
    stack : int, optional
        As in `plan`.
    workers : int, optional
        As in `plan`; unless given one without an executor, else one for each core.
    progress, on_end, retries, retry_failed, on_error
        Of groups, as in `overalign.engine.run_all`.

    Returns
    -------
    xarray.Dataset
        Along ``task`` ("given", "linear_teacher"), ``seed``, ``learning_rate`` and
        ``output_multiplier`` (coordinate ``log2_output_multiplier``), and for histories ``epoch``,
        what `overalign.deepnet.train` lists. ``data_record`` along task and seed says in JSON what
        the data are, files by their digest, and ``settings`` is without their place. Versions of
        libraries are those that the groups were trained with. Groups that
        failed, or whose data could not be read, have outcome "FAILED", the error as reason, and no
        numbers. The same settings and stack (attribute ``stack``; kept in plan.json) give the same
        table to the last bit, however often the sweep was interrupted, on one machine, with any
        executor of `open_executor` whose workers run on it.

    Warns
    -----
    UserWarning
        Groups were trained with different versions of libraries, all of which are named in the
        table's attributes.

    Raises
    ------
    OveralignError
        As `plan`; or the request cannot be met by any group: no such device, no such data.
    OutputError
        The folder cannot be written, the disk is full, or another process works in it.
    RunError
        Groups failed, and that was to stop the sweep or none is finished; or the executor broke.

    Examples
    --------
    >>> from overalign.deepnet.settings import Architecture, Task, Training
    >>> settings = Sweep(
    ...     task=Task(n=50, held_out=50),
    ...     architecture=Architecture(width=8),
    ...     training=Training(epochs=2),
    ...     log2_output_multipliers=(-4.0, 0.0),
    ...     seeds=2,
    ...     control=False,
    ... )
    >>> table = run_sweep(settings, stack=2)
    >>> table.test_accuracy.dims
    ('task', 'seed', 'learning_rate', 'output_multiplier')
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return run_sweep(
                settings,
                temporary,
                executor=executor,
                stack=stack,
                workers=workers,
                progress=progress,
                on_end=on_end,
                retries=retries,
                on_error=on_error,
            )
    settings = settings.check()
    place = Path(folder).absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror or error})") from error
    with locked(place):
        if workers is None:
            workers = 1 if executor is None else os.cpu_count() or 1
        groups = plan(settings, place, stack=stack, workers=workers)
        _require_device(settings, groups, place, executor)
        _keep_plan(settings, groups, place)
        root = place / _RUNS
        ended: list[RunFolder[Group]] = []

        def note(run: RunFolder[Group]) -> None:
            ended.append(run)
            if on_end is not None:
                on_end(run)

        try:
            with as_in_a_worker() if executor is None else nullcontext():
                run_all(
                    groups,
                    partial(run_group, root=root),
                    root,
                    executor=executor,
                    progress=progress,
                    on_end=note,
                    retries=retries,
                    retry_failed=retry_failed,
                    on_error=on_error,
                )
        except OutputError:
            raise
        except OveralignError:  # the folders of those that failed hold why
            if on_error == "stop" or len(ended) < len(groups) or all(run.error for run in ended):
                raise
        return _joined(settings, ended)


def _require_device(
    settings: Sweep, groups: Sequence[Group], folder: Path, executor: Executor | None
) -> None:
    """Raise if groups are left that would be done on this machine, and have no device here."""
    is_here = executor is None or isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor)
    device = settings.training.device
    if is_here and device != "cpu" and any(r.state != "finished" for r in runs_of(groups, folder)):
        require_device(device)


# ---------------------------------------------------------------- the table


def _joined(settings: Sweep, runs: Sequence[RunFolder[Group]]) -> xr.Dataset:
    """One table of all groups, each of which has ended."""
    import xarray as xr

    errors = {run.path: run.error for run in runs}  # empty of those that are finished
    finished = [run for run in runs if not errors[run.path]]
    first = finished[0].result()
    epochs = np.unique(np.concatenate([run.arrays()[0]["epoch"] for run in finished]))
    axes: dict[str, list[Any]] = {
        "task": [task.labels for task in settings.tasks],
        "seed": list(_seeds(settings)),
        "learning_rate": list(settings.learning_rates),
        "output_multiplier": list(settings.log2_output_multipliers),
    }
    table = {str(name): _empty(of, axes, len(epochs)) for name, of in first.data_vars.items()}
    values = {name: variable.values for name, variable in table.items()}
    task = settings.task.known_by(finished[0].config.data_sha256)
    records = np.full((len(axes["task"]), len(axes["seed"])), "", dtype=object)
    trained_with: set[str] = set()
    for run in runs:
        cells = _places(run.config, axes)
        if errors[run.path]:
            values["outcome"][cells], values["reason"][cells] = FAILED, errors[run.path]
            continue
        arrays, attributes = run.arrays()
        columns = np.searchsorted(epochs, arrays["epoch"])
        for name, filled in values.items():
            is_history = filled.ndim > len(axes)
            where = (*(place[:, None] for place in cells), columns) if is_history else cells
            filled[where] = arrays[name]
        records[cells[0][0], cells[1][0]] = attributes["data"]
        trained_with.add(attributes["versions"])
    for name, filled in values.items():
        if first[name].dtype.kind in "iu" and not np.isnan(filled).any():
            table[name] = table[name].astype(np.int64)
    table["data_record"] = xr.Variable(("task", "seed"), records, {"long_name": "data, as JSON"})
    return xr.Dataset(
        table,
        coords={
            "task": axes["task"],
            "seed": axes["seed"],
            **{
                name: (dim, along, first[name].attrs)
                for name, dim, along in (
                    ("learning_rate", "learning_rate", axes["learning_rate"]),
                    ("log2_output_multiplier", "output_multiplier", axes["output_multiplier"]),
                    ("epoch", "epoch", epochs),
                )
            },
        },
        attrs={
            "title": "Deep networks against the output multiplier",
            "settings": json.dumps(msgspec.to_builtins(replace(settings, task=task))),
            "data": task.data,
            "stack": _stack([run.config for run in runs]),
            **_versions(trained_with),
        },
    )


def _versions(of_groups: Iterable[str]) -> dict[str, str]:
    """Versions of the libraries that the groups were trained with, all where they differ."""
    every = [json.loads(each) for each in of_groups]
    found = {name: sorted({each[name] for each in every}) for name in every[0]}
    differ = [name for name, values in found.items() if len(values) > 1]
    if differ:
        listed = "; ".join(
            f"{name.removeprefix('version_')} {_listed(found[name])}" for name in differ
        )
        warnings.warn(
            f"groups were trained with different versions of libraries: {listed}; begin the sweep "
            "in another folder for a table of one",
            stacklevel=2,
        )
    return {name: _listed(values) for name, values in found.items()}


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values)


def _places(group: Group, axes: dict[str, list[Any]]) -> tuple[NDArray[np.intp], ...]:
    """Where the cells of a group stand in the table, along each of its axes."""
    found = [
        (
            axes["task"].index(group.task.labels),
            axes["seed"].index(group.seed),
            axes["learning_rate"].index(cell.learning_rate),
            axes["output_multiplier"].index(cell.log2_output_multiplier),
        )
        for cell in group.cells
    ]
    return tuple(np.array(place) for place in zip(*found, strict=True))


def _empty(variable: xr.DataArray, axes: dict[str, list[Any]], epochs: int) -> xr.Variable:
    """A variable of the table to be filled: not a number, or no text, where nothing is put."""
    import xarray as xr

    is_number = variable.dtype.kind in "iuf"
    dims, sizes = tuple(axes), [len(values) for values in axes.values()]
    if "epoch" in variable.dims:
        dims, sizes = (*dims, "epoch"), [*sizes, epochs]
    values = np.full(sizes, np.nan if is_number else "", dtype=float if is_number else object)
    return xr.Variable(dims, values, variable.attrs)
