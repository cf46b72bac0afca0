"""A group of a sweep as an executor does it: in a run folder, cut off, and gone on with."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from overalign.deepnet import images, runs
from overalign.deepnet.checkpoints import Checkpoint
from overalign.deepnet.course import Course
from overalign.deepnet.images import data_digest, read_images
from overalign.deepnet.mechanism import MECHANISM, Mechanism
from overalign.deepnet.models import build_model
from overalign.deepnet.runs import run_group
from overalign.deepnet.settings import Architecture, Cell, Group, Sweep, Task, Training
from overalign.deepnet.sweep import run_sweep
from overalign.deepnet.training import train
from overalign.engine import run_all
from overalign.errors import DataFileError, ProblemError
from overalign.records import RunFolder

GROUP = Group(
    task=Task(n=60, held_out=100),
    architecture=Architecture(width=16),
    training=Training(epochs=4),
    seed=3,
    cells=tuple(Cell(log2_output_multiplier=c, learning_rate=0.05) for c in (-2.0, 0.0)),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would wait for each other: the networks are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_group_is_its_training_with_the_record_of_its_data() -> None:
    data = read_images(GROUP.task, GROUP.seed)
    make = partial(build_model, GROUP.architecture, data.shape, data.classes)
    expected = train(make, data, GROUP.cells, GROUP.training, GROUP.seed)
    table = run_group(GROUP)
    assert table.drop_attrs().identical(expected.drop_attrs())
    assert json.loads(table.attrs["data"]) == json.loads(json.dumps(data.record))


def test_the_engine_does_groups_in_their_folders(tmp_path: Path) -> None:
    work = pickle.loads(pickle.dumps(partial(run_group, root=tmp_path)))
    (run,) = run_all([GROUP], work, tmp_path)
    assert run.result().drop_attrs().equals(run_group(GROUP).drop_attrs())
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.json", "status.json", "result.nc", "history.jsonl", "checkpoint.pt"}
    assert len((run.path / "history.jsonl").read_text("utf-8").splitlines()) == 2 * 5


KILLED = """
import sys
from functools import partial
import msgspec, torch
from overalign.deepnet import images, runs
from overalign.deepnet.settings import Group
from overalign.deepnet.training import Checkpoint
from overalign.engine import run_all
torch.set_num_threads(1)
runs.Checkpoint = partial(Checkpoint, interval=0.0)
root, group = sys.argv[1], msgspec.json.decode(sys.argv[2], type=Group)
run_all([group], partial(runs.run_group, root=root), root)
"""


def test_a_killed_process_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    long = msgspec.structs.replace(GROUP, training=Training(epochs=300, stop_accuracy=None))
    command = [sys.executable, "-c", KILLED, str(tmp_path), msgspec.json.encode(long).decode()]
    path = RunFolder(tmp_path, long).path / "checkpoint.pt"
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 120.0
        while not path.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert path.is_file()
    kept = torch.load(path, weights_only=True)["state"]["course"]["epoch"]
    assert kept >= 1
    resumed, whole = run_group(long, tmp_path), run_group(long)
    assert resumed.identical(whole)
    assert np.isfinite(whole.train_risk).all()


class Killed(BaseException):
    """Nobody catches this."""


def test_what_was_trained_but_not_written_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    work = partial(run_group, root=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", killed)
        with pytest.raises(Killed):
            run_all([GROUP], work, tmp_path)
    assert RunFolder(tmp_path, GROUP).state == "unfinished"
    kept = torch.load(RunFolder(tmp_path, GROUP).path / "checkpoint.pt", weights_only=True)
    assert kept["state"]["course"] is None, "weights are of no use any more"
    with monkeypatch.context() as patch:
        patch.setattr(Course, "advance", killed)
        (run,) = run_all([GROUP], work, tmp_path)
    assert run.result().drop_attrs().equals(run_group(GROUP).drop_attrs())
    assert len((run.path / "history.jsonl").read_text("utf-8").splitlines()) == 2 * 5


def test_the_mechanism_is_left_out_if_asked_for(tmp_path: Path) -> None:
    training = Training(epochs=1, mechanism=False)
    sweep = Sweep(
        task=GROUP.task,
        architecture=GROUP.architecture,
        training=training,
        log2_output_multipliers=(-2.0, 0.0),
        seeds=1,
        control=False,
    )
    short = run_sweep(sweep, tmp_path / "without", stack=1)
    full = run_sweep(
        msgspec.structs.replace(sweep, training=Training(epochs=1)), tmp_path / "with", stack=1
    )
    assert not set(MECHANISM) & set(short)
    assert set(short) | set(MECHANISM) == set(full)
    assert short.test_accuracy.equals(full.test_accuracy)


def test_a_device_that_is_missing_ends_the_work_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(runs, "_images", never)
    group = msgspec.structs.replace(GROUP, training=Training(device="cuda"))
    with pytest.raises(ProblemError, match="no CUDA device"):
        run_group(group)


def test_data_that_changed_after_the_plan_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {"x": generator.normal(size=(90, 5)), "y": np.arange(90) % 3}
    np.savez(tmp_path / "some.npz", **arrays)
    task = Task(data=f"npz:{tmp_path / 'some.npz'}", n=60)
    group = msgspec.structs.replace(GROUP, task=task, data_sha256=data_digest(task))
    assert run_group(group).sizes["cell"] == 2
    runs._images.cache_clear()
    np.savez(tmp_path / "some.npz", x=arrays["x"] + 1.0, y=arrays["y"])
    with pytest.raises(DataFileError, match="changed after the sweep was planned"):
        run_group(group)


def test_a_group_goes_on_from_its_checkpoint_when_its_data_were_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(90, 5))
    groups = []
    for name in ("old", "new"):
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(90) % 3)
        task = Task(data=f"npz:{tmp_path / name}.npz", n=60)
        group = msgspec.structs.replace(GROUP, task=task, data_sha256=data_digest(task))
        groups.append(group)
    old, new = groups
    whole = run_group(old)
    assert whole.identical(run_group(new))
    assert json.loads(whole.attrs["data"])["data"] == "npz"

    begun: list[int] = []
    advance = Course.advance

    def killed(course: Course) -> None:
        begun.append(course.epoch)
        if begun == [0, 1, 2]:
            raise Killed
        advance(course)

    monkeypatch.setattr(runs, "Checkpoint", partial(Checkpoint, interval=0.0))
    monkeypatch.setattr(Course, "advance", killed)
    RunFolder(tmp_path, old).begin()
    with pytest.raises(Killed):
        run_group(old, tmp_path)
    (tmp_path / "old.npz").unlink()
    assert run_group(new, tmp_path).identical(whole)
    assert begun == [0, 1, 2, 2, 3]


def test_groups_of_a_seed_share_their_data_and_the_start_of_the_mechanism(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(90, 5))
    np.savez(tmp_path / "some.npz", x=x, y=np.arange(90) % 3)
    task = Task(data=f"npz:{tmp_path / 'some.npz'}", n=60)
    groups = [
        msgspec.structs.replace(GROUP, task=task, data_sha256=data_digest(task), cells=(cell,))
        for cell in GROUP.cells
    ]
    looks: list[torch.nn.Module] = []
    look, hashed = Mechanism._look, []
    monkeypatch.setattr(Mechanism, "_look", lambda self, m: (looks.append(m), look(self, m))[1])
    monkeypatch.setattr(
        images, "data_digest", lambda task: (hashed.append(task), data_digest(task))[1]
    )
    runs._images.cache_clear()
    runs._mechanism.cache_clear()
    tables = [run_group(group) for group in groups]
    assert len(hashed) == 1
    assert len(looks) == 1 + len(groups), "once at the start, once at each end"
    alone = train(
        runs._maker(GROUP.architecture, read_images(task, GROUP.seed)),
        *(read_images(task, GROUP.seed), GROUP.cells, GROUP.training, GROUP.seed),
        stacked=False,
    )
    for name in MECHANISM:
        assert [float(table[name][0]) for table in tables] == alone[name].values.tolist()
