"""What the engine and its executors cost beside the work; see criterion.md."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, get_args

import xarray as xr

from overalign.deepnet.settings import Group, Sweep
from overalign.engine import run_all
from overalign.executors import ExecutorKind, open_executor
from validation import common
from validation.common import Criterion

WORKERS = 2
LIMITS = {"inline": 30.0, "processes": 30.0, "dask": 30.0, "resume": 5.0}


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


def time_runs(kind: ExecutorKind, count: int, root: Path) -> dict[str, Any]:
    """Do runs that are not there yet."""
    began = time.perf_counter()
    with open_executor(kind, WORKERS) as executor:
        ended: list[str] = []
        runs = run_all(
            groups(count),
            trivial,
            root,
            executor=executor,
            on_end=lambda run: ended.append(run.path.name),
        )
    seconds = time.perf_counter() - began
    finished = sum(run.state == "finished" for run in runs)
    once = finished == count == len(set(ended)) == len(ended)
    return {"what": kind, "runs": count, "seconds": seconds, "each_once": int(once)}


def time_resuming(count: int, root: Path) -> dict[str, Any]:
    """A call over finished runs, in a process that has not seen them."""
    code = (
        "import sys, time\n"
        "from validation.engine_overhead.run import groups, run_all\n"
        "began = time.perf_counter()\n"
        "begun = []\n"
        "run_all(groups(int(sys.argv[1])), begun.append, sys.argv[2])\n"
        "print(time.perf_counter() - began, len(begun))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(count), str(root)],
        cwd=common.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, begun = done.stdout.split()
    once = int(begun == "0")
    return {"what": "resume", "runs": count, "seconds": float(seconds), "each_once": once}


def judge(rows: list[dict[str, Any]]) -> list[Criterion]:
    """The lines of the criterion."""
    criteria = [
        common.at_most(
            f"C{number}",
            f"seconds, {row['what']}",
            float(row["seconds"]),
            LIMITS[row["what"]],
        )
        for number, row in enumerate(rows, start=1)
    ]
    missed = sum(not int(row["each_once"]) for row in rows)
    return [*criteria, common.at_most("C5", "calls in which a run was not done once", missed, 0)]


def draw_figure(rows: list[dict[str, Any]], scope: Scope) -> Any:
    """Seconds beside their limits."""
    figure, ((axes,),) = common.new_figure(1, 1)
    names = [row["what"] for row in rows]
    axes.bar(names, [float(row["seconds"]) for row in rows])
    axes.plot(names, [LIMITS[name] for name in names], "k_", markersize=40, label="criterion")
    axes.set(ylabel=f"seconds for {scope.runs:,} runs\n(resume: {scope.finished:,} finished ones)")
    axes.legend(fontsize="small")
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
    settings = scope._asdict() | {"workers": WORKERS}
    measured = {row["what"]: row["seconds"] for row in rows}
    common.save_rows(chosen.output / "seconds.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows, scope))
    packages = ["xarray", "h5netcdf", "msgspec", "distributed"]
    common.record(chosen, "engine_overhead", settings, measured, judge(rows), packages)


if __name__ == "__main__":
    main()
