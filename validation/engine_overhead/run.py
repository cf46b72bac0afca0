"""What the engine and its executors cost beside the work; see criterion.md."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import xarray as xr

from overalign.deepnet.runs import run_group
from overalign.deepnet.settings import Architecture, Group, Sweep, Task, Training
from overalign.deepnet.sweep import plan, run_sweep
from overalign.engine import run_all
from overalign.executors import ExecutorKind, open_executor
from validation import common
from validation.common import Criterion

WORKERS = 2
LIMITS = {"inline": 30.0, "processes": 30.0, "dask": 30.0, "resume": 5.0, "table": 15.0}


class Scope(NamedTuple):
    """How large the study is."""

    runs: int
    finished: int


FULL = Scope(1000, 10_000)
QUICK = Scope(60, 300)


def groups(count: int) -> list[Group]:
    """Groups as large as those of the default sweep."""
    settings = Sweep()
    return [
        Group(
            task=settings.task,
            architecture=settings.architecture,
            training=settings.training,
            seed=seed,
            cells=settings.cells,
        )
        for seed in range(count)
    ]


def trivial(group: Group) -> xr.Dataset:
    """The work of a run."""
    return xr.Dataset({"accuracy": ("cell", [0.5, float(group.seed)])})


def marked(group: Group, marks: Path) -> xr.Dataset:
    """The work of a run, which leaves a line whenever it begins, in whatever process."""
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{group.seed}\n".encode())  # one call, so that lines are not mixed
    os.close(file)
    return trivial(group)


def time_runs(kind: ExecutorKind, count: int, root: Path) -> dict[str, Any]:
    """Do runs that are not there yet."""
    marks = root.with_suffix(".begun")
    began = time.perf_counter()
    with open_executor(kind, WORKERS) as executor:
        runs = run_all(groups(count), partial(marked, marks=marks), root, executor=executor)
    seconds = time.perf_counter() - began
    finished = sum(run.state == "finished" for run in runs)
    begun = sorted(map(int, marks.read_text("utf-8").split()))
    once = finished == count and begun == list(range(count))
    return {"what": kind, "runs": count, "seconds": seconds, "each_once": int(once)}


def in_fresh_process(function: str, count: int, folder: Path) -> tuple[float, int]:
    """What a function of this module returns in a process that has seen nothing."""
    code = (
        "import sys\n"
        f"from validation.engine_overhead.run import {function}\n"
        f"print(*{function}(int(sys.argv[1]), sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(count), str(folder)],
        cwd=common.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, number = done.stdout.split()
    return float(seconds), int(number)


def resume(count: int, root: str) -> tuple[float, int]:
    """Seconds of a call over runs that are finished; runs that it began."""
    begun: list[Group] = []

    def never(group: Group) -> xr.Dataset:
        begun.append(group)
        return trivial(group)

    began = time.perf_counter()
    run_all(groups(count), never, root)
    return time.perf_counter() - began, len(begun)


def time_resuming(count: int, root: Path) -> dict[str, Any]:
    """A call over finished runs, in a process that has not seen them."""
    seconds, begun = in_fresh_process("resume", count, root)
    return {"what": "resume", "runs": count, "seconds": seconds, "each_once": int(not begun)}


def sweep_of(count: int) -> Sweep:
    """Small networks on the default grid."""
    return Sweep(
        task=Task(n=50, held_out=50),
        architecture=Architecture(width=8),
        training=Training(epochs=20),
        seeds=count,
        control=False,
    )


def tabulate(count: int, folder: str) -> tuple[float, int]:
    """Seconds for the table of a sweep whose groups are finished; networks that are missing."""
    settings = sweep_of(count)
    began = time.perf_counter()
    table = run_sweep(settings, folder, stack=len(settings.cells))
    seconds = time.perf_counter() - began
    there = table["test_accuracy"].notnull()
    return seconds, int(count * len(settings.cells) - there.sum())


def time_table(count: int, folder: Path) -> dict[str, Any]:
    """The table of finished groups, in a process that has not seen them."""
    settings = sweep_of(count)
    planned = plan(settings, stack=len(settings.cells))
    result = run_group(planned[0])
    run_all(planned, lambda group: result, folder / "runs")
    before = statuses(folder)
    seconds, missing = in_fresh_process("tabulate", count, folder)
    once = not missing and statuses(folder) == before
    return {"what": "table", "runs": count, "seconds": seconds, "each_once": int(once)}


def statuses(folder: Path) -> dict[Path, int]:
    """Groups of a sweep, with the moments at which they were finished."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/status.json")}


def judge(rows: list[dict[str, Any]]) -> list[Criterion]:
    """The lines of the criterion."""
    missed = sum(not int(row["each_once"]) for row in rows)
    *times, table = (
        common.at_most(
            f"C{number}",
            f"seconds, {row['what']}",
            float(row["seconds"]),
            LIMITS[row["what"]],
        )
        for number, row in zip((1, 2, 3, 4, 6), rows, strict=True)
    )
    once = common.at_most("C5", "calls in which a run was not done once, or is missing", missed, 0)
    return [*times, once, table]


def draw_figure(rows: list[dict[str, Any]], scope: Scope) -> Any:
    """Seconds beside their limits."""
    figure, ((axes,),) = common.new_figure(1, 1)
    names = [row["what"] for row in rows]
    axes.bar(names, [float(row["seconds"]) for row in rows])
    axes.plot(names, [LIMITS[name] for name in names], "k_", markersize=40, label="criterion")
    axes.set(ylabel=f"seconds for {scope.runs:,} runs\n(resume: {scope.finished:,} finished ones)")
    axes.legend(fontsize="small", markerscale=0.3, bbox_to_anchor=(1.0, 1.0), loc="lower right")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for kind in get_args(ExecutorKind):
            rows.append(time_runs(kind, scope.runs, root / kind))
            common.note(f"{kind}: {rows[-1]['seconds']:.1f} s for {scope.runs} runs")
        run_all(groups(scope.finished), trivial, root / "inline")  # those of above are there
        rows.append(time_resuming(scope.finished, root / "inline"))
        common.note(f"resume: {rows[-1]['seconds']:.2f} s for {scope.finished} runs")
        rows.append(time_table(scope.runs, root / "table"))
        common.note(f"table: {rows[-1]['seconds']:.2f} s for {scope.runs} groups")
    settings = scope._asdict() | {"workers": WORKERS}
    measured = {row["what"]: row["seconds"] for row in rows}
    common.save_rows(chosen.output / "seconds.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows, scope))
    packages = ["xarray", "h5netcdf", "msgspec", "distributed"]
    common.record(chosen, "engine_overhead", settings, measured, judge(rows), packages)


if __name__ == "__main__":
    main()
