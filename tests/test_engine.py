"""Runs are done once, kept whole, and resumed from whatever an earlier call left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from overalign.engine import run_all
from overalign.errors import ConfigError, OutputError, RunError, SamplingError
from overalign.records import Config, RunFolder

# A pool that forks beside threads is what people do; newer Pythons say so.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Task(Config):
    """What `work` does: leave a mark of having begun, wait for it to be told, end."""

    index: int
    marks: str
    seconds: float = 0.0
    until_file: str | None = None
    end: str = "result"


def work(task: Task) -> xr.Dataset:
    """The marks count how often a run began, in whatever process."""
    with Path(task.marks, str(task.index)).open("a") as stream:
        stream.write("x")
    time.sleep(task.seconds)
    while task.until_file is not None and not Path(task.until_file).exists():
        time.sleep(0.01)
    if task.end == "raise" and not Path(task.marks, "repaired").exists():
        raise ZeroDivisionError(f"run {task.index}\nhas two lines")
    if task.end == "raise once" and begun(Path(task.marks))[task.index] == 1:
        raise ZeroDivisionError("the first time only")
    if task.end == "request" and not Path(task.marks, "repaired").exists():
        raise SamplingError(f"run {task.index} cannot be sampled")
    if task.end == "interrupt":
        raise KeyboardInterrupt
    if task.end == "kill" and not Path(task.marks, "repaired").exists():
        os._exit(9)
    if task.end == "attributes":
        return xr.Dataset(attrs={"cannot be stored": object()})
    return xr.Dataset({"square": task.index**2})


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Tests that run as a background job of a shell start with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def tasks(marks: Path, count: int, **some: str) -> list[Task]:
    """Tasks 0, 1, ...; ``raise="2"`` makes number 2 raise."""
    ends = {int(index): end for end, indices in some.items() for index in indices}
    return [
        Task(index=index, marks=str(marks), end=ends.get(index, "result")) for index in range(count)
    ]


def begun(marks: Path) -> dict[int, int]:
    """How often each run has begun; a mark that is made but not written yet does not count."""
    sizes = {int(p.name): p.stat().st_size for p in marks.iterdir() if p.name.isdigit()}
    return {index: size for index, size in sizes.items() if size}


def squares(runs: list[RunFolder[Task]]) -> list[int]:
    return [int(run.result().square) for run in runs]


def states(root: Path, configs: list[Task]) -> list[str]:
    return [RunFolder(root, config).state for config in configs]


def leftovers(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*.tmp")]


@contextmanager
def here() -> Iterator[None]:
    yield None


def processes(method: str | None) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=get_context(method))


EXECUTORS: dict[str, Callable[[], Any]] = {
    "here": here,
    "threads": partial(ThreadPoolExecutor, 2),
    "processes": partial(processes, None),
    "spawned processes": partial(processes, "spawn"),
}
every_executor = pytest.mark.parametrize("make", EXECUTORS.values(), ids=EXECUTORS)
without_spawn = pytest.mark.parametrize(
    "make", list(EXECUTORS.values())[:3], ids=list(EXECUTORS)[:3]
)


class Remembering(Executor):
    """The shape of an executor and nothing more: runs at once."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


# ---------------------------------------------------------------- what is done, and how often


@every_executor
def test_runs_come_back_in_order_and_are_not_done_again(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    configs = tasks(marks, 5)
    with make() as executor:
        runs = run_all(configs[:3], work, tmp_path / "runs", executor=executor)
        assert squares(runs) == [0, 1, 4]
        runs = run_all(configs[::-1], work, tmp_path / "runs", executor=executor)
    assert squares(runs) == [16, 9, 4, 1, 0]
    assert [run.config for run in runs] == configs[::-1]
    assert begun(marks) == dict.fromkeys(range(5), 1)
    assert not leftovers(tmp_path)


def test_equal_configs_are_one_run(tmp_path: Path, marks: Path) -> None:
    first, second = tasks(marks, 2)
    runs = run_all([first, second, first], work, tmp_path)
    assert squares(runs) == [0, 1, 0]
    assert begun(marks) == {0: 1, 1: 1}


def test_no_configs_is_no_work_and_no_folder(tmp_path: Path) -> None:
    assert run_all([], work, tmp_path / "runs") == []
    assert not (tmp_path / "runs").exists()


@without_spawn
def test_progress_counts_from_what_was_there(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    calls: list[tuple[int, int, int]] = []
    configs = tasks(marks, 4, **{"raise": "3"})
    with make() as executor:
        run_all(configs[:2], work, tmp_path / "runs", executor=executor)
        with pytest.raises(RunError):
            run_all(
                [*configs, configs[0]],
                work,
                tmp_path / "runs",
                executor=executor,
                progress=lambda *numbers: calls.append(numbers),
            )
    assert calls == [(2, 4, 2), (3, 4, 2), (4, 4, 2)]


def test_work_gets_the_numbers_that_the_folder_is_named_by(tmp_path: Path, marks: Path) -> None:
    seen: list[Any] = []

    def look(task: Task) -> xr.Dataset:
        seen.append(task.seconds)
        return xr.Dataset()

    run_all([Task(index=0, marks=str(marks), seconds=1)], look, tmp_path)
    assert repr(seen) == "[1.0]"


def test_what_work_keeps_on_its_way_is_there_after_a_kill(tmp_path: Path, marks: Path) -> None:
    [config] = tasks(marks, 1)

    def train(task: Task) -> xr.Dataset:
        history = RunFolder(tmp_path, task).path / "history.jsonl"
        with history.open("a") as stream:
            stream.write(f"{begun(marks).get(0, 0)}\n")
        work(task)
        if begun(marks)[0] == 1:
            raise KeyboardInterrupt
        return xr.Dataset({"epochs": len(history.read_text().split())})

    with pytest.raises(KeyboardInterrupt):
        run_all([config], train, tmp_path)
    assert states(tmp_path, [config]) == ["unfinished"]
    [run] = run_all([config], train, tmp_path)
    assert int(run.result().epochs) == 2


# ---------------------------------------------------------------- failures


@every_executor
def test_a_failure_does_not_stop_the_others_and_is_done_again_on_request_only(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    root = tmp_path / "runs"
    configs = tasks(marks, 4, **{"raise": "13"})
    with make() as executor:
        with pytest.raises(RunError) as caught:
            run_all(configs, work, root, executor=executor)
        assert states(root, configs) == ["finished", "failed", "finished", "failed"]
        message = str(caught.value)
        assert "2 of 4 runs failed" in message
        assert "retry_failed=True" in message
        first = next(k for k in (1, 3) if f"ZeroDivisionError: run {k}\nhas two lines" in message)
        status = RunFolder(root, configs[first]).path / "status.json"
        assert str(status) in message
        assert "in work" in json.loads(status.read_text())["traceback"]

        (marks / "repaired").touch()
        with pytest.raises(RunError, match=r"(?s)2 of 4 runs failed; the first: Zero.*run 1"):
            run_all(configs, work, root, executor=executor)
        assert begun(marks) == dict.fromkeys(range(4), 1)
        runs = run_all(configs, work, root, executor=executor, retry_failed=True)
    assert squares(runs) == [0, 1, 4, 9]
    assert begun(marks) == {0: 1, 1: 2, 2: 1, 3: 2}
    assert runs[1].error == runs[1].traceback == ""


@every_executor
def test_a_run_that_fails_is_tried_again_as_often_as_asked(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    configs = tasks(marks, 4, **{"raise": "1", "raise once": "2"})
    with make() as executor, pytest.raises(RunError, match="1 of 4 runs failed"):
        run_all(configs, work, tmp_path / "runs", executor=executor, retries=2)
    assert begun(marks) == {0: 1, 1: 3, 2: 2, 3: 1}
    assert states(tmp_path / "runs", configs) == ["finished", "failed", "finished", "finished"]


def test_a_request_that_cannot_be_met_is_not_tried_again(tmp_path: Path, marks: Path) -> None:
    with pytest.raises(SamplingError):
        run_all(tasks(marks, 1, request="0"), work, tmp_path / "runs", retries=3)
    assert begun(marks) == {0: 1}


def test_a_failure_stops_the_rest_if_asked_to(tmp_path: Path, marks: Path) -> None:
    configs = tasks(marks, 4, **{"raise": "1"})
    for retry, count in [(False, 1), (False, 1), (True, 2)]:
        with pytest.raises(RunError, match=r"1 of 4 runs failed; the first: Zero"):
            run_all(configs, work, tmp_path, on_error="stop", retry_failed=retry)
        assert begun(marks) == {0: 1, 1: count}
    (marks / "repaired").touch()
    runs = run_all(configs, work, tmp_path, on_error="stop", retry_failed=True)
    assert squares(runs) == [0, 1, 4, 9]


@every_executor
def test_each_run_is_told_of_when_it_is_found_or_ends(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    configs = tasks(marks, 4, **{"raise": "3"})
    run_all(configs[:2], work, tmp_path / "runs")
    told: list[tuple[int, str]] = []
    with make() as executor, pytest.raises(RunError):
        run_all(
            configs,
            work,
            tmp_path / "runs",
            executor=executor,
            on_end=lambda run: told.append((run.config.index, run.state)),
        )
    assert told[:2] == [(0, "finished"), (1, "finished")]
    assert sorted(told[2:]) == [(2, "finished"), (3, "failed")]
    told.clear()
    with pytest.raises(RunError):
        run_all(configs, work, tmp_path / "runs", on_end=lambda run: told.append((0, run.state)))
    assert told == [(0, "finished")] * 3 + [(0, "failed")]


class Twice(Remembering):
    """Does everything again, as a cluster that lost sight of a worker."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        fn(*args, **kwargs)
        return super().submit(fn, *args, **kwargs)


def test_a_run_that_is_handed_out_twice_is_done_once(tmp_path: Path, marks: Path) -> None:
    assert squares(run_all(tasks(marks, 3), work, tmp_path, executor=Twice())) == [0, 1, 4]
    assert begun(marks) == {0: 1, 1: 1, 2: 1}


def test_an_earlier_failure_does_not_keep_new_runs_from_being_done(
    tmp_path: Path, marks: Path
) -> None:
    configs = tasks(marks, 2, **{"raise": "0"})
    for count in (1, 2):
        with pytest.raises(RunError, match=f"1 of {count} runs failed"):
            run_all(configs[:count], work, tmp_path)
    assert states(tmp_path, configs) == ["failed", "finished"]


def test_a_retry_that_is_killed_is_unfinished(tmp_path: Path, marks: Path) -> None:
    configs = tasks(marks, 1, **{"raise": "0"})
    with pytest.raises(RunError):
        run_all(configs, work, tmp_path)

    def interrupted(task: Task) -> xr.Dataset:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(configs, interrupted, tmp_path, retry_failed=True)
    assert states(tmp_path, configs) == ["unfinished"]


def test_a_result_that_cannot_be_stored_is_a_failure_of_its_run(
    tmp_path: Path, marks: Path
) -> None:
    configs = tasks(marks, 2, attributes="0")
    with pytest.raises(RunError, match="1 of 2 runs failed; the first: TypeError"):
        run_all(configs, work, tmp_path)
    assert states(tmp_path, configs) == ["failed", "finished"]
    with pytest.raises(RunError, match="1 of 1 runs failed; the first: AttributeError"):
        run_all(tasks(marks, 3)[2:], lambda task: None, tmp_path)  # type: ignore[arg-type]


@every_executor
def test_a_request_that_cannot_be_met_ends_the_call_as_itself(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    root = tmp_path / "runs"
    configs = tasks(marks, 40, request="1")
    with make() as executor:
        for _ in range(2):  # the second time too: nothing has changed
            with pytest.raises(SamplingError, match=r"^run 1 cannot be sampled$"):
                run_all(configs, work, root, executor=executor)
            assert states(root, configs).count("finished") == 39
    run = RunFolder(root, configs[1])
    assert run.state == "unfinished"
    assert run.error == "SamplingError: run 1 cannot be sampled"
    assert "in work" in run.traceback
    (marks / "repaired").touch()
    assert squares(run_all(configs, work, root)) == [k**2 for k in range(40)]


def test_what_has_not_begun_is_left_after_such_a_request_if_asked_to(
    tmp_path: Path, marks: Path
) -> None:
    configs = tasks(marks, 9, request="0")
    with pytest.raises(SamplingError):
        run_all(configs, work, tmp_path / "here", on_error="stop")
    assert begun(marks) == {0: 1}
    with ThreadPoolExecutor(1) as executor:
        gate = tmp_path / "gate"
        executor.submit(wait_for, gate)  # so that all are in the queue when the first begins
        threading.Timer(0.2, gate.touch).start()
        with pytest.raises(SamplingError):
            run_all(
                configs,
                slow_after_the_first,
                tmp_path / "threads",
                executor=executor,
                on_error="stop",
            )
    assert len(begun(marks)) <= 2  # the thread may have taken up one more


@every_executor
def test_such_a_request_is_named_before_failures(
    tmp_path: Path, marks: Path, make: Callable[[], Any]
) -> None:
    configs = tasks(marks, 4, **{"raise": "0", "request": "2"})
    with make() as executor, pytest.raises(SamplingError):
        run_all(configs, work, tmp_path / "runs", executor=executor)
    expected = ["failed", "finished", "unfinished", "finished"]
    assert states(tmp_path / "runs", configs) == expected


def test_a_full_disk_stops_at_once(tmp_path: Path, marks: Path) -> None:
    def full(task: Task) -> xr.Dataset:
        work(task)
        raise OutputError("result.nc: cannot be written (No space left on device)")

    with pytest.raises(OutputError, match="No space left"):
        run_all(tasks(marks, 4), full, tmp_path)
    assert begun(marks) == {0: 1}


def wait_for(gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.01)


def slow_after_the_first(task: Task) -> xr.Dataset:
    if task.index:
        time.sleep(0.5)
    return work(task)


# ---------------------------------------------------------------- kills and interrupts


@pytest.mark.parametrize("method", [None, "spawn"])
def test_a_worker_that_is_killed_is_reported_and_its_run_is_done_in_the_next_call(
    tmp_path: Path, marks: Path, method: str | None
) -> None:
    root = tmp_path / "runs"
    configs = tasks(marks, 4, kill="2")
    run_all(configs[:2], work, root)
    with processes(method) as executor:
        with pytest.raises(
            RunError, match=r"a worker ended without a word.*call again.*__main__"
        ) as caught:
            run_all(configs, work, root, executor=executor)
        assert f"Begun and not finished: {RunFolder(root, configs[2]).path}" in str(caught.value)
        with pytest.raises(RunError, match="a worker ended"):  # the broken pool takes no more
            run_all(configs, work, root, executor=executor)
    assert states(root, configs)[:3] == ["finished", "finished", "unfinished"]
    (marks / "repaired").touch()
    with processes(method) as executor:
        assert squares(run_all(configs, work, root, executor=executor)) == [0, 1, 4, 9]
    counts = begun(marks)
    assert (counts[0], counts[1], counts[2]) == (1, 1, 2)


class KilledWorker(Exception):
    """What dask raises, by its name."""


class GivingUp(Remembering):
    """A cluster that lost its workers over run 1, or has another reason to end it."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        run: RunFolder[Task] = args[0]
        if run.config.index != 1:
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_exception(self.reason)
        return future


def test_a_run_that_an_executor_gives_up_has_failed_and_the_others_are_done(
    tmp_path: Path, marks: Path
) -> None:
    configs, given_up = tasks(marks, 4), GivingUp(KilledWorker("4 workers died"))
    for _ in range(2):  # the second time it is reported as it is
        with pytest.raises(RunError, match=r"1 of 4 runs failed; the first: KilledWorker: 4 work"):
            run_all(configs, work, tmp_path, executor=given_up)
        assert states(tmp_path, configs) == ["finished", "failed", "finished", "finished"]
    with pytest.raises(RunError, match="1 of 5 runs failed"):
        run_all(
            [configs[1], *tasks(marks, 6)[2:]],
            *(work, tmp_path),
            executor=given_up,
            retry_failed=True,
            on_error="stop",
        )
    assert squares(run_all(configs, work, tmp_path, retry_failed=True)) == [0, 1, 4, 9]


def test_a_finished_run_that_an_executor_gives_up_stays_finished(
    tmp_path: Path, marks: Path
) -> None:
    """The worker ended after it had kept its result and before it could say so."""

    class TooLate(GivingUp):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            fn(*args, **kwargs)
            return super().submit(fn, *args, **kwargs)

    executor = TooLate(KilledWorker("4 workers died"))
    assert squares(run_all(tasks(marks, 2), work, tmp_path, executor=executor)) == [0, 1]


@pytest.mark.parametrize("reason", [RuntimeError("deserialization"), ImportError("no such module")])
def test_what_ends_all_runs_is_no_failure_of_one(
    reason: Exception, tmp_path: Path, marks: Path
) -> None:
    configs = tasks(marks, 2)
    with pytest.raises(RunError, match="the executor cannot do the runs"):
        run_all(configs, work, tmp_path, executor=GivingUp(reason))
    assert states(tmp_path, configs)[1] == "absent"


def test_runs_of_one_folder_are_done_by_one_call_at_a_time(tmp_path: Path, marks: Path) -> None:
    configs = tasks(marks, 2)

    def look(task: Task) -> xr.Dataset:
        if task.index:
            with pytest.raises(OutputError, match="works in it"):
                run_all(configs, work, tmp_path)
            assert squares(run_all(configs[:1], work, tmp_path)) == [0]  # nothing is left to do
        return work(task)

    assert squares(run_all(configs, look, tmp_path)) == [0, 1]
    assert begun(marks) == {0: 1, 1: 1}


SWEEP = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts deaf to it
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_engine import Task, run_all, work
marks, root = sys.argv[1:3]
run_all([
    Task(index=k, marks=marks, until_file=marks + "/gate" if k == 3 else None) for k in range(6)
], work, root)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, marks: Path, sent: signal.Signals
) -> None:
    root = tmp_path / "runs"
    arguments = [str(marks), str(root), str(Path(__file__).parent)]
    with subprocess.Popen(
        [sys.executable, "-c", SWEEP, *arguments], stderr=subprocess.PIPE
    ) as sweep:
        try:
            deadline = time.monotonic() + 30
            while 3 not in begun(marks) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert 3 in begun(marks)
            sweep.send_signal(sent)
            _, said = sweep.communicate(timeout=10)
        finally:
            sweep.kill()
    assert sweep.returncode == -sent, said
    assert begun(marks) == dict.fromkeys(range(4), 1)
    configs = [
        Task(index=k, marks=str(marks), until_file=f"{marks}/gate" if k == 3 else None)
        for k in range(6)
    ]
    assert states(root, configs) == ["finished"] * 3 + ["unfinished"] + ["absent"] * 2
    (marks / "gate").touch()
    assert squares(run_all(configs, work, root)) == [0, 1, 4, 9, 16, 25]
    assert begun(marks) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 5: 1}


def test_an_interrupt_leaves_at_once_and_begins_nothing_more(tmp_path: Path, marks: Path) -> None:
    root, gate = tmp_path / "runs", tmp_path / "gate"
    configs = [Task(index=k, marks=str(marks), until_file=str(gate)) for k in range(5)]
    reports: list[int] = []

    def report(done: int, total: int, kept: int) -> None:
        reports.append(done)
        threading.Thread(target=interrupt_once_begun, args=[marks]).start()

    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(KeyboardInterrupt):
            run_all(configs, work, root, executor=executor, progress=report)
        assert reports == [0]
        assert states(root, configs) == ["unfinished"] + ["absent"] * 4  # still held at the gate
        gate.touch()
    assert states(root, configs) == ["finished"] + ["absent"] * 4
    assert not leftovers(tmp_path)


def interrupt_once_begun(marks: Path) -> None:
    while not begun(marks):
        time.sleep(0.01)
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGINT)


def test_an_interrupt_here_is_not_kept_as_a_failure(tmp_path: Path, marks: Path) -> None:
    configs = tasks(marks, 3, interrupt="1")
    with pytest.raises(KeyboardInterrupt):
        run_all(configs, work, tmp_path / "runs")
    assert states(tmp_path / "runs", configs) == ["finished", "unfinished", "absent"]
    assert not leftovers(tmp_path)


def test_an_error_in_progress_cancels_what_has_not_begun(tmp_path: Path, marks: Path) -> None:
    gate = tmp_path / "gate"
    configs = [
        Task(index=k, marks=str(marks), until_file=str(gate) if k else None) for k in range(5)
    ]

    def report(done: int, total: int, kept: int) -> None:
        if done:
            raise LookupError("the bar broke")

    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(LookupError):
            run_all(configs, work, tmp_path / "runs", executor=executor, progress=report)
        gate.touch()
    assert len(begun(marks)) <= 2


# ---------------------------------------------------------------- executors and folders


def test_any_executor_will_do_and_gets_only_what_is_left(tmp_path: Path, marks: Path) -> None:
    executor = Remembering()
    configs = tasks(marks, 3)
    run_all(configs[:1], work, tmp_path)
    assert squares(run_all(configs, work, tmp_path, executor=executor)) == [0, 1, 4]
    assert executor.submitted == 2


def test_work_that_cannot_travel_is_one_sentence(tmp_path: Path, marks: Path) -> None:
    with processes(None) as executor:
        with pytest.raises(RunError, match="the work must be a function of a module"):
            run_all(tasks(marks, 2), lambda task: work(task), tmp_path / "runs", executor=executor)
        run_all(tasks(marks, 2), work, tmp_path / "runs", executor=executor)


def test_a_closed_executor_is_one_sentence(tmp_path: Path, marks: Path) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RunError, match=r"cannot schedule new futures after shutdown.*must be open"):
        run_all(tasks(marks, 1), work, tmp_path / "runs", executor=executor)


def test_a_root_that_cannot_be_written_is_known_before_any_work(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for root, message in [
        (tmp_path / "file", "is a file, not a folder"),
        (tmp_path / "file" / "runs", "cannot be made"),
    ]:
        with pytest.raises(OutputError, match=message):
            run_all(tasks(marks, 2), work, root)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="the folder cannot be written"):
        run_all(tasks(marks, 2), work, tmp_path / "runs")
    assert begun(marks) == {}


def test_finished_runs_can_be_read_where_nothing_can_be_written(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(tasks(marks, 2), work, tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert squares(run_all(tasks(marks, 2), work, tmp_path)) == [0, 1]


def test_a_bad_config_is_known_before_any_work(tmp_path: Path, marks: Path) -> None:
    good, other = tasks(marks, 2)
    with pytest.raises(ConfigError, match="'index' is '3'"):
        run_all([good, Task(index="3", marks=str(marks))], work, tmp_path)  # type: ignore[arg-type]
    run_all([other], work, tmp_path)
    (RunFolder(tmp_path, other).path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not the config of this run"):
        run_all([good, other], work, tmp_path)
    assert begun(marks) == {1: 1}


def test_a_damaged_result_is_made_again(tmp_path: Path, marks: Path) -> None:
    runs = run_all(tasks(marks, 3), work, tmp_path)
    result = runs[1].path / "result.nc"
    result.write_bytes(result.read_bytes()[:-100])
    (runs[2].path / "status.json").write_text('{"state": "fini')
    assert squares(run_all(tasks(marks, 3), work, tmp_path)) == [0, 1, 4]
    assert begun(marks) == {0: 1, 1: 2, 2: 2}
