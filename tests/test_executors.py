"""Executors: the same runs on each, one thread per worker, nobody left behind, clear refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest
import xarray as xr

from overalign.engine import run_all
from overalign.errors import ProblemError, RunError
from overalign.executors import ExecutorKind, open_executor, threads_of_a_worker
from overalign.records import Config, RunFolder

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# dask warns while it closes connections of workers that were killed
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Job(Config):
    """What `work` does: say where it is, then square, or wait, or fail."""

    index: int
    folder: str
    waits: bool = False
    fails: bool = False
    kills: bool = False


def work(job: Job) -> xr.Dataset:
    """Each begin leaves the process in a file; waiting goes on until another file is there."""
    with Path(job.folder, f"begun-{job.index}").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    while job.waits and not Path(job.folder, "gate").exists():
        Path(job.folder, f"alive-{job.index}").touch()
        time.sleep(0.01)
    if job.kills:
        os._exit(9)
    if job.fails:
        raise ZeroDivisionError("as asked")
    threads = json.dumps({name: os.environ.get(name) for name in THREADS})
    return xr.Dataset({"square": job.index**2}, attrs={"threads": threads, "process": os.getpid()})


def begun(folder: Path, index: int) -> list[int]:
    """Processes in which a job has begun."""
    path = folder / f"begun-{index}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.mark.parametrize("kind", ["inline", "processes", "dask"])
def test_runs_are_done_once_with_one_thread_each_and_failures_are_kept(
    tmp_path: Path, kind: ExecutorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    jobs = [Job(index=k, folder=str(tmp_path)) for k in range(6)]
    bad = Job(index=6, folder=str(tmp_path), fails=True)
    with open_executor(kind, 2) as executor:
        runs = run_all(jobs, work, tmp_path / "runs", executor=executor)
        with pytest.raises(RunError, match="1 of 7 runs failed; the first: ZeroDivisionError"):
            run_all([*jobs, bad], work, tmp_path / "runs", executor=executor)
    results = [run.result() for run in runs]
    assert [int(result.square) for result in results] == [0, 1, 4, 9, 16, 25]
    assert [len(begun(tmp_path, k)) for k in range(7)] == [1] * 7
    here = {int(result.attrs["process"]) == os.getpid() for result in results}
    threads = {result.attrs["threads"] for result in results}
    assert here == {kind == "inline"}
    if kind != "inline":
        assert threads == {json.dumps(dict.fromkeys(THREADS, "1"))}
    assert not any(name in os.environ for name in THREADS)


def test_threads_that_the_user_chose_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with open_executor("processes", 1) as executor:
        assert executor is not None
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"
        assert executor.submit(os.getenv, "MKL_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("value", "threads"), [(None, 1), ("3", 3), ("4,2", 4), ("0", 1), ("many", 1)]
)
def test_what_a_worker_will_have_is_known(
    value: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_of_a_worker("OMP_NUM_THREADS") == threads


SWEEP = """
import sys
from overalign.engine import run_all
from overalign.executors import open_executor
from test_executors import Job, work
if __name__ == "__main__":
    with open_executor(sys.argv[1], 2) as executor:
        jobs = [Job(index=k, folder=sys.argv[2], waits=k > 0) for k in range(4)]
        run_all(jobs, work, sys.argv[2] + "/runs", executor=executor)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("kind", ["processes", "dask"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(
    tmp_path: Path, kind: ExecutorKind, sent: signal.Signals
) -> None:
    script = tmp_path / "sweep.py"
    script.write_text(SWEEP.replace("import sys\n", DEFAULT_INTERRUPT, 1))
    with subprocess.Popen(
        [sys.executable, str(script), kind, str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as parent:
        try:
            wait_until(lambda: begun(tmp_path, 1) and begun(tmp_path, 2))
            parent.send_signal(sent)
            if sent == signal.SIGINT:  # which waits for what has begun
                (tmp_path / "gate").touch()
            _, said = parent.communicate(timeout=60)
        finally:
            parent.kill()
    workers = begun(tmp_path, 1) + begun(tmp_path, 2)
    wait_until(lambda: not any(is_running(process) for process in workers), 5.0)
    assert not begun(tmp_path, 3) or kind == "dask" or sent == signal.SIGINT
    if sent == signal.SIGKILL:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        time.sleep(0.2)
        assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        assert not list(tmp_path.rglob("*.tmp"))
    else:
        assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1, said


DEFAULT_INTERRUPT = """import signal, sys
if __name__ == "__main__":  # a background job starts deaf to it
    signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def is_running(process: int) -> bool:
    """Whether there is such a process that has not ended; the dead wait to be reaped."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_dask_worker_that_is_killed_is_replaced_and_its_run_is_done_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job(index=k, folder=str(tmp_path), waits=k == 1) for k in range(4)]

    def kill(run: RunFolder[Job]) -> None:
        if len(begun(tmp_path, 1)) == 1 and not (tmp_path / "gate").exists():
            os.kill(begun(tmp_path, 1)[0], signal.SIGKILL)
            wait_until(lambda: len(begun(tmp_path, 1)) == 2)
            (tmp_path / "gate").touch()

    with open_executor("dask", 2) as executor:
        ended: list[int] = []
        runs = run_all(
            jobs,
            work,
            tmp_path / "runs",
            executor=executor,
            on_end=lambda run: (ended.append(run.config.index), kill(run)),  # type: ignore[func-returns-value]
        )
    assert [int(run.result().square) for run in runs] == [0, 1, 4, 9]
    assert sorted(ended) == [0, 1, 2, 3]
    assert len(begun(tmp_path, 1)) == 2
    assert [len(begun(tmp_path, k)) for k in (0, 2, 3)] == [1, 1, 1]
    assert capfd.readouterr().err == ""


def test_a_run_that_kills_every_worker_fails_and_the_others_are_done(tmp_path: Path) -> None:
    import dask

    jobs = [Job(index=k, folder=str(tmp_path), kills=k == 1) for k in range(4)]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        open_executor("dask", 1) as executor,
        pytest.raises(RunError, match=r"1 of 4 runs failed; the first: KilledWorker"),
    ):
        run_all(jobs, work, tmp_path / "runs", executor=executor)
    states = [RunFolder(tmp_path / "runs", job).state for job in jobs]
    assert states == ["finished", "failed", "finished", "finished"]
    assert len(begun(tmp_path, 1)) == 2


def test_a_scheduler_that_runs_already_takes_the_runs(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        open_executor("dask", address=cluster.scheduler_address) as executor,
    ):
        jobs = [Job(index=k, folder=str(tmp_path)) for k in range(3)]
        runs = run_all(jobs, work, tmp_path / "runs", executor=executor)
    assert [int(run.result().square) for run in runs] == [0, 1, 4]


def enter(kind: ExecutorKind, workers: int | None = None, address: str | None = None) -> None:
    with open_executor(kind, workers, address) as executor:
        assert not isinstance(executor, Executor), "it opened"


def test_what_cannot_be_opened_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProblemError, match=r"workers is 0, expected a whole number >= 1"):
        enter("processes", 0)
    with pytest.raises(ProblemError, match=r"belongs to executor 'dask', not 'processes'"):
        enter("processes", address="tcp://127.0.0.1:1")
    with pytest.raises(RunError, match="no dask scheduler answers at nonsense"):
        enter("dask", address="nonsense://here")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ProblemError, match=r"pip install 'overalign\[cluster\]'"):
        enter("dask")
