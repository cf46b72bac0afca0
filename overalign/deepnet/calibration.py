"""How long networks take, measured: how many to train in one stack, and how long an epoch is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import msgspec
import torch

from .course import Course, Setup
from .images import ImageData, read_images
from .learners import why_not_stackable
from .ledger import Ledger
from .models import build_model
from .settings import Cell, Group, Sweep
from .training import train

__all__ = ["epoch_seconds", "stack_size"]

_STEPS = 4  # of the shortened epoch that is timed
_WARM_UP = 2
_ROUNDS = 1000
_LARGEST = 2**26  # weights of a stack; gradients and activations come on top
_WORTH = 0.95  # a stack must take less than this part of the time one by one


def stack_size(settings: Sweep, seconds: float = 2.0, workers: int = 2) -> int:
    """How many cells of a sweep to train in one stack, so that it ends soonest.

    Short epochs, evaluation included, of one network and of stacks of all cells, of half of them,
    and so on, are timed in turn on one thread; the shortest of each counts. Stacks so large that
    workers would have nothing to do are slower in all, and lose. A network too slow to time its
    stacks is not stacked: it spends its time on arithmetic, which a stack does not shorten.

    Parameters
    ----------
    settings : Sweep
        Its data are read.
    seconds : float
        For timing.
    workers : int
        Processes that share the groups, each with one thread. On a card they wait for each other,
        and count as one.

    Returns
    -------
    int
        From 1, where stacks do not pay or the network cannot be stacked, to the number of cells.

    Raises
    ------
    OveralignError
        As `overalign.deepnet.train`.
    """
    cells = len(settings.cells)
    setup = _short_setup(settings)
    if cells == 1 or why_not_stackable(setup.template):
        return 1
    weights = sum(parameter.numel() for parameter in setup.template.parameters())
    sizes = [1, *(size for size in _halved(cells) if size * weights <= _LARGEST)]
    times = _times(setup, sizes, seconds)
    sets = settings.seeds * len(settings.tasks)
    at_once = workers if setup.device.type == "cpu" else 1

    def total(size: int) -> float:
        rounds = math.ceil(sets * math.ceil(cells / size) / at_once)
        return rounds * times[size]

    best = min(sizes, key=total)
    return best if total(best) < _WORTH * total(1) else 1


def epoch_seconds(group: Group) -> float:
    """How long an epoch of a group takes in a worker, evaluation included, once torch is warm.

    Parameters
    ----------
    group : Group
        Its data are read.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    OveralignError
        As `overalign.deepnet.train`.
    """
    data = read_images(group.task, group.seed)
    make_model = partial(build_model, group.architecture, data.shape, data.classes)
    with _one_thread():
        for epochs in (1, 2):
            began = time.perf_counter()
            training = msgspec.structs.replace(group.training, epochs=epochs, evaluate_every=1)
            train(make_model, data, group.cells, training, group.seed, measure=False)
    return (time.perf_counter() - began) / epochs


def _halved(count: int) -> Iterator[int]:
    """Sizes of a group in 1, 2, 4, ... equal parts, down to 2."""
    while count > 1:
        yield count
        count = math.ceil(count / 2) if count > 2 else 1


def _short_setup(settings: Sweep) -> Setup:
    """The first network and data of a sweep, with few images and cells that never end."""
    data = read_images(settings.task, settings.seed)
    images = min(len(data.train), _STEPS * (settings.training.batch_size or len(data.train)))
    cell = Cell(log2_output_multiplier=0.0, learning_rate=1e-6)
    training = msgspec.structs.replace(
        settings.training, stop_accuracy=None, stop_risk=None, epochs=_ROUNDS + 1
    )
    return Setup.of(
        partial(build_model, settings.architecture, data.shape, data.classes),
        _shortened(data, images),
        [cell] * len(settings.cells),
        training,
        settings.seed,
    )


def _shortened(data: ImageData, images: int) -> ImageData:
    """So many training images, and as large a part of the test images."""
    held_out = math.ceil(len(data.test) * images / len(data.train))
    return replace(
        data,
        train=data.train.subset(torch.arange(images)),
        test=data.test.subset(torch.arange(held_out)),
        validation=None,
    )


def _times(setup: Setup, sizes: Sequence[int], seconds: float) -> dict[int, float]:
    """Seconds of a short epoch for stacks of these sizes; infinite where none was timed."""
    courses = {
        size: Course(setup, Ledger(setup.cells, setup.training, False), range(size))
        for size in sizes
    }
    shortest = dict.fromkeys(sizes, math.inf)

    def advance(size: int) -> None:
        start = time.perf_counter()
        courses[size].advance()
        shortest[size] = min(shortest[size], time.perf_counter() - start)

    began = time.perf_counter()
    with _one_thread():
        for _ in range(_WARM_UP):
            advance(1)
        if shortest[1] * sum(sizes) > seconds:
            return shortest
        while time.perf_counter() - began < seconds and courses[1].epoch < _ROUNDS:
            for size in sizes:
                advance(size)
    return shortest


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
