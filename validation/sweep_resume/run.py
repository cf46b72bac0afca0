"""Kill a sweep and let it go on; see criterion.md."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from validation import common
from validation.common import Criterion

SEED = 20261125
KINDS = ("parent", "worker", "dask")
WATCH = 2.0  # seconds after the end
GRACE = 1.0  # seconds in which workers may notice that their parent is gone
PATIENCE = 300.0  # seconds for a sweep

Stamps = dict[Path, int]


@dataclass(frozen=True)
class Scope:
    """How often a sweep is killed, and how large it is."""

    kills: int
    epochs: int
    seeds: int

    @property
    def sweep(self) -> tuple[str, ...]:
        """Its arguments."""
        return (
            *("--n", "200", "--held-out", "200", "--width", "16", "--epochs", str(self.epochs)),
            *("--seeds", str(self.seeds), "--stop-accuracy", "None", "--learning-rates", "0.1"),
            *("--stack", "2", "--workers", "2"),
            *("--log2-output-multipliers", "-8", "-6", "-4", "-2", "0"),
        )

    @property
    def groups(self) -> int:
        """Three of at most two networks for each seed, with and without the labels given."""
        return 6 * self.seeds


FULL = Scope(kills=10, epochs=150, seeds=3)
QUICK = Scope(kills=1, epochs=50, seeds=2)


def start(output: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    main = "from overalign.cli import main; main()"
    command = [sys.executable, "-c", main, "sweep", *arguments, "--output", str(output)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=output.parent
    )


def finish(sweep: subprocess.Popen[str]) -> int:
    """Wait for its end; the exit code."""
    _, said = sweep.communicate(timeout=PATIENCE)
    if sweep.returncode not in (0, -signal.SIGKILL):
        common.note(f"  exit code {sweep.returncode}: {said.strip()[-300:]}")
    return sweep.returncode


def statuses(output: Path) -> Stamps:
    """Finished groups, with the moments at which their status was written."""
    return {path: path.stat().st_mtime_ns for path in output.glob("runs/*/status.json")}


def done_again(earlier: Stamps, later: Stamps) -> set[Path]:
    """Groups that were finished earlier, and whose status is another one later, or gone."""
    return {path for path, moment in earlier.items() if later.get(path) != moment}


def stamps(output: Path) -> Stamps:
    """All files, with the moments of their last change; one may vanish meanwhile."""
    found: Stamps = {}
    for path in output.rglob("*"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def workers_of(parent: int) -> list[int]:
    """Its worker processes, from /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == parent and "spawn_main" in command:
            found.append(int(status.parent.name))
    return sorted(found)


def wait_for_first(sweep: subprocess.Popen[str], output: Path) -> None:
    """Wait until a group is finished."""
    deadline = time.monotonic() + PATIENCE
    while not statuses(output) and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def undisturbed(folder: Path, executor: str, scope: Scope) -> tuple[bytes, float]:
    """The final table, and the seconds from the first finished group to the last."""
    sweep = start(folder, *scope.sweep, "--executor", executor)
    code = finish(sweep)
    if code != 0:
        raise RuntimeError(f"the undisturbed sweep ended with exit code {code}")
    moments = sorted(statuses(folder).values())
    return (folder / "results.nc").read_bytes(), 1e-9 * (moments[-1] - moments[0])


def disturb(
    kind: str, output: Path, delay: float, random: np.random.Generator, scope: Scope
) -> dict[str, Any]:
    """Kill once, watch, resume; what is to be judged but for the table."""
    executor = "dask" if kind == "dask" else "processes"
    sweep = start(output, *scope.sweep, "--executor", executor)
    wait_for_first(sweep, output)
    time.sleep(delay)
    workers = workers_of(sweep.pid)
    if sweep.poll() is not None or not workers:
        finish(sweep)
        return {"kind": kind, "mid_sweep": 0}
    at_kill = statuses(output)
    os.kill(sweep.pid if kind == "parent" else int(random.choice(workers)), signal.SIGKILL)
    code = finish(sweep)
    time.sleep(GRACE)
    before = stamps(output)
    time.sleep(WATCH - GRACE)
    changed = len(before.items() ^ stamps(output).items())
    at_resume = statuses(output)
    resumed = finish(start(output, "--resume", "--executor", executor, "--workers", "2"))
    again = statuses(output)
    return {
        "kind": kind,
        "mid_sweep": int(0 < len(at_kill) < scope.groups),
        "delay": delay,
        "finished_at_kill": len(at_kill),
        "finished_at_resume": len(at_resume),
        "exit_code": code,
        "resume_exit_code": resumed,
        "repeated": len(done_again(at_kill, again) | done_again(at_resume, again)),
        "missing": scope.groups - len(again),
        "changed_later": changed,
    }


def judge(rows: list[dict[str, Any]], kills: int) -> list[Criterion]:
    """The lines of the criterion."""

    def total(name: str, kind: str | None = None) -> int:
        return sum(int(row[name]) for row in rows if kind in (None, row["kind"]))

    stopped = sum(int(row["exit_code"]) != 0 for row in rows if row["kind"] == "dask")
    return [
        *(
            common.at_most(f"C{number}", f"{kind}: tables that differ", total("differs", kind), 0)
            for number, kind in enumerate(KINDS, start=1)
        ),
        common.at_most("C3", "dask: commands that did not go on by themselves", stopped, 0),
        common.at_most("C4", "groups done again or lost", total("repeated") + total("missing"), 0),
        common.at_most("C5", "files that changed later", total("changed_later"), 0),
        common.enough("C6", "kills in mid-sweep", total("mid_sweep"), len(KINDS) * kills),
    ]


def draw_figure(rows: list[dict[str, Any]], scope: Scope) -> Any:
    """Groups that were finished at each kill, and at the resume."""
    figure, ((axes,),) = common.new_figure(1, 1, width=5.0)
    for place, kind in enumerate(KINDS):
        here = [row for row in rows if row["kind"] == kind]
        x = [place + 0.6 * (k + 0.5) / len(here) - 0.3 for k in range(len(here))]
        axes.plot(x, [int(row["finished_at_kill"]) for row in here], "x", color=f"C{place}")
        axes.plot(x, [int(row["finished_at_resume"]) for row in here], ".", color=f"C{place}")
    axes.set_xticks(range(len(KINDS)), KINDS)
    axes.set(
        ylabel="groups finished at the kill (x)\nand at the resume (.)",
        ylim=(0, scope.groups + 0.5),
    )
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    random = np.random.default_rng(SEED)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spans = {}
        table, spans["processes"] = undisturbed(folder / "processes", "processes", scope)
        same, spans["dask"] = undisturbed(folder / "dask", "dask", scope)
        if same != table:
            raise RuntimeError("undisturbed sweeps in processes and on dask differ")
        for kind in KINDS:
            span = spans["dask" if kind == "dask" else "processes"]
            number = 0
            while sum(row["kind"] == kind for row in rows) < scope.kills:
                output = folder / f"{kind}-{number}"
                row = disturb(kind, output, span * random.uniform(), random, scope)
                number += 1
                if not row["mid_sweep"]:
                    continue
                row["differs"] = int((output / "results.nc").read_bytes() != table)
                rows.append(row)
                common.note(f"{row}")
    settings = {
        "kills": scope.kills,
        "seed": SEED,
        "sweep": " ".join(scope.sweep),
        "groups": scope.groups,
    }
    measured = {f"undisturbed_span_{name}": span for name, span in spans.items()}
    common.save_rows(chosen.output / "kills.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows, scope))
    packages = ["torch", "xarray", "h5netcdf", "distributed"]
    common.record(chosen, "sweep_resume", settings, measured, judge(rows, scope.kills), packages)


if __name__ == "__main__":
    main()
