"""Sweeps: their groups, what they keep and refuse, and a table that only settings decide."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from msgspec.structs import replace
from PIL import Image

from overalign import records
from overalign.deepnet import runs
from overalign.deepnet import sweep as module
from overalign.deepnet.archives import CIFAR
from overalign.deepnet.ledger import FAILED
from overalign.deepnet.runs import run_group
from overalign.deepnet.settings import Architecture, Group, Sweep, Task, Training
from overalign.deepnet.sweep import plan, run_sweep, runs_of
from overalign.engine import run_all
from overalign.errors import ConfigError, DataFileError, OutputError, ProblemError, RunError
from overalign.executors import open_executor
from overalign.records import (
    locked,
    read_config,
    read_dataset,
    run_id,
    versions,
    write_dataset,
)

SMALL = Sweep(
    task=Task(n=40, held_out=40),
    architecture=Architecture(width=8),
    training=Training(epochs=3),
    log2_output_multipliers=(-4.0, 0.0),
    learning_rates=(0.01, 0.1),
    seeds=2,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Breaks:
    """Stands for `run_group`: breaks where it is told to, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[Group] = []
        self.error: Exception | None = None
        self.at: set[tuple[int, str]] = set()
        self._true = module.run_group
        monkeypatch.setattr(module, "run_group", self)

    def __call__(self, group: Group, root: Path) -> xr.Dataset:
        self.begun.append(group)
        if self.error is not None and (group.seed, group.task.labels) in self.at:
            raise self.error
        return self._true(group, root)


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Breaks:
    return Breaks(monkeypatch)


def content(table: xr.Dataset, folder: Path) -> bytes:
    return write_dataset(table, folder / "table.nc").read_bytes()


# ---------------------------------------------------------------- groups


def test_groups_hold_every_cell_of_every_task_and_seed_once() -> None:
    for stack in (1, 3, 4, 7):
        groups = plan(SMALL, stack=stack)
        cells = [(g.seed, g.task.labels, cell) for g in groups for cell in g.cells]
        assert len(cells) == len(set(cells)) == 2 * 2 * 4
        assert max(len(group.cells) for group in groups) == min(stack, 4)
        for group in groups:
            assert (group.architecture, group.training) == (SMALL.architecture, SMALL.training)


def test_whole_curves_come_first_and_the_smallest_multipliers_of_each_before_the_others() -> None:
    groups = plan(replace(SMALL, learning_rates=(0.1,)), stack=1)
    assert [(g.seed, g.cells[0].log2_output_multiplier) for g in groups[:4]] == [
        *((0, -4.0), (0, 0.0)),
        *((0, -4.0), (0, 0.0)),  # of the control
    ]
    assert [g.seed for g in groups] == [0] * 4 + [1] * 4


def test_groups_do_not_depend_on_the_number_of_seeds_or_the_control() -> None:
    few = plan(replace(SMALL, control=False, seeds=1), stack=3)
    assert set(few) <= set(plan(SMALL, stack=3)) <= set(plan(replace(SMALL, seeds=5), stack=3))


def test_the_stack_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(settings: Sweep, workers: int) -> int:
        asked.append(workers)
        return 3

    monkeypatch.setattr(module, "stack_size", measured)
    first = run_sweep(SMALL, tmp_path, workers=5)
    assert json.loads((tmp_path / "plan.json").read_text())["stack"] == 3
    again = run_sweep(replace(SMALL, seeds=3), tmp_path)
    assert asked == [5]
    assert len(list(tmp_path.glob("runs/*/config.json"))) == 3 * 2 * 2
    xr.testing.assert_equal(first.drop_vars("epoch"), again.isel(seed=[0, 1]).drop_vars("epoch"))
    with pytest.raises(ProblemError, match="planned in stacks of 3, not 2"):
        run_sweep(SMALL, tmp_path, stack=2)


@pytest.mark.parametrize(
    ("executor", "asked", "counted"),
    [(None, None, 1), (ThreadPoolExecutor(1), None, os.cpu_count()), (None, 3, 3)],
)
def test_a_stack_is_measured_for_those_who_do_the_work(
    executor: ThreadPoolExecutor | None,
    asked: int | None,
    counted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []

    def measured(settings: Sweep, workers: int) -> int:
        counts.append(workers)
        return 4

    monkeypatch.setattr(module, "stack_size", measured)
    settings = replace(SMALL, seeds=1, control=False)
    run_sweep(settings, executor=executor, workers=asked)
    assert counts == [counted]
    with pytest.raises(ProblemError, match=r"workers is 0, expected a whole number >= 1"):
        plan(settings, workers=0)


def test_work_that_is_done_here_has_the_threads_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    threads: list[int] = []

    def noted(group: Group, root: Path) -> xr.Dataset:
        threads.append(torch.get_num_threads())
        return run_group(group, root)

    monkeypatch.setattr(module, "run_group", noted)
    torch.set_num_threads(3)
    run_sweep(replace(SMALL, seeds=1, control=False), stack=4)
    assert threads == [1]
    assert torch.get_num_threads() == 3


def test_a_stack_beyond_the_grid_is_the_whole_grid_each_time(tmp_path: Path) -> None:
    settings = replace(SMALL, seeds=1, control=False)
    first = run_sweep(settings, tmp_path, stack=100)
    xr.testing.assert_identical(run_sweep(settings, tmp_path, stack=100), first)
    assert first.attrs["stack"] == 4
    assert json.loads((tmp_path / "plan.json").read_text())["stack"] == 4


# ---------------------------------------------------------------- the table


def test_the_table_holds_each_group_at_its_place(tmp_path: Path) -> None:
    table = run_sweep(SMALL, tmp_path, stack=3)
    assert dict(table.sizes) == {
        "task": 2,
        "seed": 2,
        "learning_rate": 2,
        "output_multiplier": 2,
        "epoch": 4,
    }
    assert table.task.values.tolist() == ["given", "linear_teacher"]
    assert json.loads(table.attrs["settings"])["training"]["epochs"] == 3
    for run in runs_of(plan(SMALL, tmp_path), tmp_path):
        result = run.result()
        at = table.sel(task=run.config.task.labels, seed=run.config.seed)
        assert json.loads(str(at.data_record.item()))["seed"] == run.config.seed
        for place, cell in enumerate(run.config.cells):
            column = list(table.log2_output_multiplier.values).index(cell.log2_output_multiplier)
            one = at.sel(learning_rate=cell.learning_rate).isel(output_multiplier=column)
            for name, values in result.isel(cell=place).data_vars.items():
                assert one[name].dims == values.dims
                np.testing.assert_array_equal(one[name].values, values.values)
                assert one[name].attrs == values.attrs
    assert table.steps.dtype == np.int64
    kept = read_dataset(write_dataset(table, tmp_path / "results.nc"))
    xr.testing.assert_equal(kept, table)


def test_groups_that_end_at_different_epochs_share_one_axis(tmp_path: Path) -> None:
    settings = replace(SMALL, learning_rates=(0.1, 0.5), control=False)
    quick = replace(settings, training=Training(epochs=60, stop_accuracy=0.5))
    table = run_sweep(quick, tmp_path, stack=1)
    ends = table.epochs.values
    assert len(np.unique(ends)) > 1
    assert table.epoch.values.tolist() == list(range(ends.max() + 1))
    known = np.isfinite(table.train_risk_history.values).sum(axis=-1)
    np.testing.assert_array_equal(known, ends + 1)


def test_interruptions_order_and_executors_leave_the_table_as_it_is(
    tmp_path: Path, breaks: Breaks
) -> None:
    whole = content(run_sweep(SMALL, tmp_path / "whole", stack=3), tmp_path)
    breaks.error, breaks.at = KeyboardInterrupt(), {(1, "given")}  # type: ignore[assignment]
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(SMALL, folder, stack=3)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("status.json")}
    assert len(before) == 4
    breaks.error = None
    breaks.begun.clear()
    assert content(run_sweep(SMALL, folder), tmp_path) == whole
    assert len(breaks.begun) == 4
    assert before.items() <= {p: p.stat().st_mtime_ns for p in folder.rglob("status.json")}.items()


def test_processes_give_the_same_table(tmp_path: Path) -> None:
    settings = replace(SMALL, learning_rates=(0.1,), control=False)
    whole = content(run_sweep(settings, stack=1), tmp_path)
    with open_executor("processes", 2) as executor:
        table = run_sweep(settings, tmp_path / "sweep", stack=1, executor=executor)
    assert content(table, tmp_path) == whole


# ---------------------------------------------------------------- data that are moved


def write_data(kind: str, folder: Path, seed: int = 0) -> Task:
    """A small set of each kind with files, in three classes, and the task on it."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    if kind == "npz":
        np.savez(folder / "set.npz", x=generator.normal(size=(90, 5)), y=np.arange(90) % 3)
        return Task(data=f"npz:{folder / 'set.npz'}", n=40, held_out=40)
    if kind == "images":
        for index, pixels in enumerate(generator.integers(0, 256, (60, 4, 4), dtype=np.uint8)):
            path = folder / str(index % 3) / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
        return Task(data=f"images:{folder}", n=40)
    archive = CIFAR["cifar10"]
    (folder / archive.folder).mkdir()
    for file in archive.files:
        x = generator.integers(0, 256, (12, 3072), dtype=np.uint8)
        content = {"data": x, "labels": [index % 3 for index in range(12)], "label_names": [*"abc"]}
        (folder / archive.folder / file).write_bytes(pickle.dumps(content))
    return Task(data="cifar10:any_md5", data_root=str(folder), n=40)


@pytest.mark.parametrize("kind", ["npz", "images", "cifar10"])
def test_a_sweep_goes_on_where_its_data_were_moved_to(
    tmp_path: Path, breaks: Breaks, kind: str
) -> None:
    old = replace(SMALL, task=write_data(kind, tmp_path / "old"))
    whole = content(run_sweep(old, tmp_path / "whole", stack=3), tmp_path)
    assert str(tmp_path / "old").encode() not in whole
    breaks.error, breaks.at = KeyboardInterrupt(), {(1, "given")}  # type: ignore[assignment]
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(old, folder, stack=3)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("status.json")}
    breaks.error = None
    breaks.begun.clear()
    shutil.rmtree(tmp_path / "old")
    moved = replace(SMALL, task=write_data(kind, tmp_path / "new"))
    assert [run.state for run in runs_of(plan(moved, folder), folder)][:4] == ["finished"] * 4
    assert content(run_sweep(moved, folder), tmp_path) == whole
    assert [group.task.data for group in breaks.begun[::2]] == [moved.task.data] * 2
    assert {group.seed for group in breaks.begun} == {1}
    assert before.items() <= {p: p.stat().st_mtime_ns for p in folder.rglob("status.json")}.items()
    assert read_config(Sweep, folder / "config.toml") == moved


@pytest.mark.parametrize("kind", ["npz", "images", "cifar10"])
def test_other_data_are_refused_wherever_they_are(
    tmp_path: Path, breaks: Breaks, kind: str
) -> None:
    settings = replace(SMALL, task=write_data(kind, tmp_path / "old"), seeds=1, control=False)
    run_sweep(settings, tmp_path / "sweep", stack=4)
    breaks.begun.clear()
    kept = {path: path.read_bytes() for path in (tmp_path / "sweep").glob("*.*")}
    other = replace(settings, task=write_data(kind, tmp_path / "other", seed=1))
    message = r"another sweep: the data differ: SHA-256 \w{64} there, \w{64} now\. Choose another"
    with pytest.raises(ProblemError, match=message):
        run_sweep(other, tmp_path / "sweep")
    shutil.rmtree(tmp_path / "old")
    (tmp_path / "other").rename(tmp_path / "old")
    with pytest.raises(ProblemError, match=message):
        run_sweep(settings, tmp_path / "sweep")
    assert not breaks.begun
    assert kept == {path: path.read_bytes() for path in kept}


def test_without_a_known_digest_another_place_is_another_sweep(tmp_path: Path) -> None:
    old = replace(SMALL, task=write_data("npz", tmp_path / "old"), seeds=1, control=False)
    run_sweep(old, tmp_path / "sweep", stack=4)
    (tmp_path / "sweep" / "plan.json").write_text('{"stack": 4}')
    moved = replace(old, task=write_data("npz", tmp_path / "new"))
    with pytest.raises(ProblemError, match=r"task.data is 'npz:.*old.* there, 'npz:.*new"):
        run_sweep(moved, tmp_path / "sweep")
    run_sweep(old, tmp_path / "sweep")
    assert run_sweep(moved, tmp_path / "sweep").sizes["seed"] == 1  # it is known again


def test_a_group_without_data_files_is_known_by_all_of_its_task() -> None:
    group = plan(SMALL, stack=4)[0]
    assert group.identity() == group
    rooted = replace(group, task=replace(group.task, data_root="somewhere"))
    assert run_id(rooted) != run_id(group)
    on_files = replace(rooted, data_sha256="0" * 64)
    assert run_id(on_files) == run_id(replace(group, data_sha256="0" * 64)) != run_id(group)


# ---------------------------------------------------------------- what goes wrong


def test_a_group_that_fails_is_a_gap_that_says_why(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error, breaks.at = ZeroDivisionError("of zero"), {(1, "linear_teacher")}
    table = run_sweep(SMALL, tmp_path, stack=4, retries=1)
    assert len(breaks.begun) == 5  # once more for that one
    failed = table.outcome == FAILED
    assert int(failed.sum()) == 4
    assert bool(failed.sel(task="linear_teacher", seed=1).all())
    assert set(table.reason.values[failed.values]) == {"ZeroDivisionError: of zero"}
    assert bool(table.test_accuracy.isnull().equals(failed))
    assert table.steps.dtype == float
    write_dataset(table, tmp_path / "results.nc")

    breaks.error = None
    breaks.begun.clear()
    run_sweep(SMALL, tmp_path)
    assert not breaks.begun  # not without being asked
    assert not (run_sweep(SMALL, tmp_path, retry_failed=True).outcome == FAILED).any()
    assert len(breaks.begun) == 1


def test_data_of_one_seed_that_cannot_be_read_are_a_gap_too(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error, breaks.at = DataFileError("seed 0: class 'cat' has no image"), {(0, "given")}
    for times in (4, 1):  # it is tried again, as nothing has to be asked for
        table = run_sweep(SMALL, tmp_path, stack=4)
        assert len(breaks.begun) == times
        breaks.begun.clear()
        gaps = table.outcome == FAILED
        assert int(gaps.sum()) == 4
        assert bool(gaps.sel(task="given", seed=0).all())
        assert set(table.reason.values[gaps.values]) == {
            "DataFileError: seed 0: class 'cat' has no image"
        }
    with pytest.raises(DataFileError, match="cat"):
        run_sweep(SMALL, tmp_path, on_error="stop")
    breaks.error = None
    assert not (run_sweep(SMALL, tmp_path).outcome == FAILED).any()


def test_data_that_no_group_can_read_are_an_error(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error = DataFileError("class 'cat' has no image")
    breaks.at = {(seed, label) for seed in (0, 1) for label in ("given", "linear_teacher")}
    with pytest.raises(DataFileError, match=r"^class 'cat' has no image$"):
        run_sweep(SMALL, tmp_path, stack=4)


def test_each_result_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run_sweep(SMALL, tmp_path, stack=1)
    opened: list[str] = []
    read = records.read_arrays

    def counting(path: Path) -> Any:
        opened.append(str(path))
        return read(path)

    monkeypatch.setattr(records, "read_arrays", counting)
    again = run_sweep(SMALL, tmp_path, on_end=lambda run: run.arrays() and None)
    assert len(opened) == len(set(opened)) == 16
    xr.testing.assert_identical(again, table)


def test_a_failure_stops_the_sweep_if_asked_to(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error, breaks.at = ZeroDivisionError("of zero"), {(0, "linear_teacher")}
    with pytest.raises(RunError, match=r"1 of 4 runs failed; the first: ZeroDivisionError"):
        run_sweep(SMALL, tmp_path, stack=4, on_error="stop")
    assert len(breaks.begun) == 2
    states = [run.state for run in runs_of(plan(SMALL, tmp_path), tmp_path)]
    assert states == ["finished", "failed", "absent", "absent"]


def test_a_sweep_of_which_all_groups_fail_has_no_table(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error = ZeroDivisionError("of zero")
    breaks.at = {(seed, label) for seed in (0, 1) for label in ("given", "linear_teacher")}
    with pytest.raises(RunError, match="4 of 4 runs failed"):
        run_sweep(SMALL, tmp_path, stack=4)


def test_a_full_disk_ends_the_sweep_and_loses_nothing(tmp_path: Path, breaks: Breaks) -> None:
    breaks.error = OutputError("runs: cannot be written (No space left on device)")
    breaks.at = {(1, "given")}
    with pytest.raises(OutputError, match="No space left"):
        run_sweep(SMALL, tmp_path, stack=4)
    states = [run.state for run in runs_of(plan(SMALL, tmp_path), tmp_path)]
    assert states == ["finished", "finished", "unfinished", "absent"]
    breaks.error = None
    breaks.begun.clear()
    assert not (run_sweep(SMALL, tmp_path).outcome == FAILED).any()
    assert len(breaks.begun) == 2


def test_no_room_for_a_result_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SMALL, seeds=1, control=False)
    write = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        if path.name.startswith(".result.nc"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"result\.nc: cannot be written \(No space left"):
            run_sweep(settings, tmp_path, stack=4)
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_sweep(settings, tmp_path).sizes["seed"] == 1


def test_a_truncated_result_is_done_again(tmp_path: Path, breaks: Breaks) -> None:
    whole = content(run_sweep(SMALL, tmp_path / "sweep", stack=4), tmp_path)
    result = runs_of(plan(SMALL, tmp_path / "sweep"), tmp_path / "sweep")[2].path / "result.nc"
    result.write_bytes(result.read_bytes()[:1000])
    breaks.begun.clear()
    assert content(run_sweep(SMALL, tmp_path / "sweep"), tmp_path) == whole
    assert len(breaks.begun) == 1


def test_another_sweep_in_the_folder_is_refused_with_what_differs(tmp_path: Path) -> None:
    run_sweep(replace(SMALL, seeds=1, control=False), tmp_path, stack=4)
    training = replace(SMALL.training, epochs=4)
    other = replace(SMALL, training=training, log2_output_multipliers=(-4.0, 1.0))
    with pytest.raises(
        ProblemError,
        match=r"another sweep: training.epochs is 3 there, 4 was asked for; log2_output_mul",
    ):
        run_sweep(other, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.toml", "seedz = 3", r"unknown key 'seedz'; did you mean .seed"),
        ("plan.json", "{", "plan.json: not JSON"),
        ("plan.json", '{"stack": 0}', "'stack' is 0.*; remove it to plan again"),
        ("plan.json", "[1]", r"holds \[1\], not an object; remove it to plan again"),
        ("plan.json", "{}", "required field `stack`; remove it to plan again"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        run_sweep(SMALL, tmp_path, stack=4)


@pytest.mark.parametrize("text", ["", "seeds = 2\n[training]\nepochs = 4\n"])
def test_an_edited_config_is_another_sweep(tmp_path: Path, text: str) -> None:
    settings = replace(SMALL, seeds=1, control=False)
    run_sweep(settings, tmp_path, stack=4)
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ProblemError, match=r"another sweep: .*training.epochs is 3 there"):
        run_sweep(read_config(Sweep, tmp_path / "config.toml"), tmp_path)
    run_sweep(settings, tmp_path)
    assert read_config(Sweep, tmp_path / "config.toml") == settings


def test_a_plan_without_settings_is_that_of_the_config(tmp_path: Path) -> None:
    settings = replace(SMALL, seeds=1, control=False)
    run_sweep(settings, tmp_path, stack=3)
    (tmp_path / "plan.json").write_text('{"stack": 3}')
    assert len(plan(settings, tmp_path)) == 2
    with pytest.raises(ProblemError, match="another sweep"):
        plan(replace(settings, learning_rates=(1.0,)), tmp_path)


def test_two_processes_never_work_in_one_folder(tmp_path: Path, breaks: Breaks) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match=r"process \d+ on .* works in it"):
        run_sweep(SMALL, tmp_path, stack=4)
    assert not breaks.begun


def test_a_finished_sweep_can_be_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SMALL, seeds=1, control=False)
    table = run_sweep(settings, tmp_path, stack=4)
    monkeypatch.setattr("os.access", lambda *_: False)
    xr.testing.assert_identical(run_sweep(settings, tmp_path), table)
    shutil.rmtree(next(tmp_path.glob("runs/*/config.json")).parent)
    with pytest.raises(OutputError, match="cannot be written"):
        run_sweep(settings, tmp_path)


def test_requests_that_cannot_be_met_are_known_before_any_work(tmp_path: Path) -> None:
    for settings, error, message in [
        (replace(SMALL, task=Task(data="npz:nowhere.npz")), DataFileError, "nowhere.npz"),
        (replace(SMALL, task=Task(data="cifar100")), DataFileError, "cifar-100-python"),
        (replace(SMALL, training=Training(optimiser="adam", momentum=0.9)), ProblemError, "moment"),
    ]:
        with pytest.raises(error, match=message):
            run_sweep(settings, tmp_path / "sweep", stack=4)
        assert not list(tmp_path.rglob("config.json"))
    with pytest.raises(ProblemError, match="stack is 0"):
        plan(SMALL, stack=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    settings = replace(SMALL, training=Training(device="cuda"))
    with pytest.raises(ProblemError, match="cuda"):
        run_sweep(settings, tmp_path, stack=4)
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_without_its_gpu_a_sweep_can_be_read_and_not_gone_on_with(tmp_path: Path) -> None:
    settings = replace(SMALL, training=Training(device="cuda"), control=False)
    groups = plan(settings, stack=4)
    result = run_sweep(replace(SMALL, control=False), tmp_path / "cpu", stack=4)
    there = runs_of(plan(replace(SMALL, control=False), stack=4), tmp_path / "cpu")
    run_all(groups, lambda group: there[group.seed].result(), tmp_path / "cuda" / "runs")
    table = run_sweep(settings, tmp_path / "cuda", stack=4)
    xr.testing.assert_equal(table, result)
    with pytest.raises(ProblemError, match="cuda"):
        run_sweep(replace(settings, seeds=3), tmp_path / "cuda")


def test_a_table_names_the_libraries_its_groups_were_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(SMALL, seeds=1, control=False)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "versions", lambda name: versions(name) | {"version_torch": "0.9"})
        assert run_sweep(one, tmp_path, stack=4).attrs["version_torch"] == "0.9"
    assert run_sweep(one, tmp_path, stack=4).attrs["version_torch"] == "0.9"  # read, not trained
    with pytest.warns(UserWarning, match=r"different versions of libraries: torch 0\.9, "):
        both = run_sweep(replace(one, seeds=2), tmp_path, stack=4)
    assert both.attrs["version_torch"] == f"0.9, {versions('torch')['version_torch']}"
    assert both.attrs["version_numpy"] == versions()["version_numpy"]
