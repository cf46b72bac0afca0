"""The size of a stack, from times that are known and from real ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from msgspec.structs import replace as replaced

from overalign.deepnet import calibration
from overalign.deepnet.calibration import stack_size
from overalign.deepnet.course import Course
from overalign.deepnet.settings import Architecture, Sweep, Task
from overalign.deepnet.sweep import plan
from overalign.executors import open_executor

TASK = Task(n=60, held_out=100)


def sweep(seeds: int = 16, control: bool = True) -> Sweep:
    return Sweep(task=TASK, architecture=Architecture(width=16), seeds=seeds, control=control)


def with_times(monkeypatch: pytest.MonkeyPatch, times: dict[int, float]) -> None:
    def known(setup: object, sizes: list[int], seconds: float) -> dict[int, float]:
        return {size: times.get(size, math.inf) for size in sizes}

    monkeypatch.setattr(calibration, "_times", known)


def test_the_size_that_ends_soonest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with_times(monkeypatch, {1: 1.0, 2: 1.2, 3: 1.5, 5: 2.0, 9: 4.0})
    assert stack_size(sweep()) == 9
    assert stack_size(sweep(seeds=1, control=False), workers=2) == 5, "two workers, two groups"
    assert stack_size(sweep(seeds=1, control=False)) == 9
    assert stack_size(sweep(seeds=1, control=False), workers=3) == 3


def test_on_a_card_workers_do_not_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = calibration._short_setup(sweep(seeds=1, control=False))
    on_card = replace(setup, training=replaced(setup.training, device="cuda"))
    monkeypatch.setattr(calibration, "_short_setup", lambda settings: on_card)
    with_times(monkeypatch, {1: 1.0, 2: 1.2, 3: 1.5, 5: 2.0, 9: 4.0})
    assert stack_size(sweep(seeds=1, control=False), workers=3) == 9


def threads_here() -> int:
    with calibration.as_in_a_worker():
        return torch.get_num_threads()


@pytest.mark.parametrize("chosen", [None, "2"])
def test_threads_are_those_of_a_worker(chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
        if chosen is not None:
            monkeypatch.setenv(name, chosen)
    with open_executor("processes", 1) as executor:
        assert executor is not None
        in_worker = executor.submit(torch.get_num_threads).result()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert threads_here() == in_worker == int(chosen or 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_epoch_is_timed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    threads: list[int] = []

    def trained(*_: object, **__: object) -> None:
        threads.append(torch.get_num_threads())

    monkeypatch.setattr(calibration, "train", trained)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert calibration.epoch_seconds(plan(sweep(), stack=9)[0]) < 1.0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 1]


def test_a_stack_that_does_not_clearly_pay_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with_times(monkeypatch, {1: 1.0, 3: 2.75, 9: 8.1})
    assert stack_size(sweep()) == 1, "a tenth is within what workers take from each other"
    with_times(monkeypatch, {1: 1.0, 3: 2.1, 9: 8.1})
    assert stack_size(sweep()) == 3
    with_times(monkeypatch, {1: 1.0, 2: 2.0, 3: 2.9, 5: 5.0, 9: 9.0})
    assert stack_size(sweep()) == 1
    with_times(monkeypatch, {1: 1.0})
    assert stack_size(sweep()) == 1


def test_what_cannot_be_stacked_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_times", None)
    normalised = Architecture(width=16, batch_norm=True)
    assert stack_size(Sweep(task=TASK, architecture=normalised)) == 1
    assert stack_size(Sweep(task=TASK, log2_output_multipliers=(0.0,))) == 1


def test_stacks_are_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with_times(monkeypatch, {1: 9.0, 2: 9.0, 3: 9.0, 5: 9.0, 9: 9.0})
    weights = 128 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    monkeypatch.setattr(calibration, "_LARGEST", 4 * weights)
    assert stack_size(sweep()) == 3


def test_short_epochs_have_their_share_of_all_sets() -> None:
    task = Task(n=1000, held_out=4000, validation=500)
    setup = calibration._short_setup(replaced(sweep(), task=task))
    sizes = {name: len(images) for name, images in setup.sets.items()}
    assert sizes == {"train": 8 * 32, "test": 8 * 128, "validation": 8 * 16}
    assert len(calibration._short_setup(sweep()).data.test) == 100, "an epoch is short as it is"


@pytest.mark.parametrize("every", [1, 4])
def test_evaluations_count_as_often_as_they_are_made(
    every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sweep()
    settings = replaced(settings, training=replaced(settings.training, evaluate_every=every))
    clock = [0.0]
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: clock[0])

    def look(course: Course) -> None:
        clock[0] += 100.0 * len(course.members)

    def advance(course: Course) -> None:
        course.epoch += 1
        clock[0] += 1.0
        if course.ledger.is_due(course.epoch):
            course.look()

    monkeypatch.setattr(Course, "look", look)
    monkeypatch.setattr(Course, "advance", advance)
    times = calibration._times(calibration._short_setup(settings), [1, 9], 1e4)
    assert times == {1: 1.0 + 100.0 / every, 9: 1.0 + 900.0 / every}


def test_real_times_are_those_of_short_epochs() -> None:
    before = torch.get_num_threads()
    setup = calibration._short_setup(sweep())
    assert (len(setup.data.train), len(setup.data.test)) == (60, 100)
    times = calibration._times(setup, [1, 9], 2.0)
    assert 0.0 < times[1] < math.inf
    assert 0.0 < times[9] < 9.0 * times[1], "a stack of small networks pays"
    assert torch.get_num_threads() == before
    assert calibration._times(setup, [1, 9], 1e-9)[9] == math.inf, "too slow to be timed"
