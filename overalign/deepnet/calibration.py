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

from ..executors import threads_of_a_worker
from .course import Course, Setup
from .images import ImageData, Images, read_images
from .learners import why_not_stackable
from .ledger import Ledger
from .models import build_model
from .settings import Cell, Group, Sweep, Training
from .training import train

__all__ = ["as_in_a_worker", "epoch_seconds", "stack_size"]

_STEPS = 8  # of the shortened epoch that is timed
_WARM_UP = 2
_ROUNDS = 1000
_LARGEST = 2**26  # weights of a stack; gradients and activations come on top
# A stack must take less than this part of the time one by one. Where the gain is small, arithmetic
# takes the time, and workers that run beside each other share caches that a stack wants more of.
_WORTH = 0.8


def stack_size(settings: Sweep, seconds: float = 2.0, workers: int = 1) -> int:
    """How many cells of a sweep to train in one stack, so that it ends soonest.

    Short epochs and their share of the evaluations, of one network and of stacks of all cells, of
    half of them, and so on, are timed in turn, with the threads of a worker; the shortest of each
    counts. Stacks so large that workers would have nothing to do are slower in all, and lose; so do
    those that are not clearly faster than one network after the other. A network too slow to time
    its stacks is not stacked: it spends its time on arithmetic, which a stack does not shorten.

    Parameters
    ----------
    settings : Sweep
        Its data are read.
    seconds : float
        For timing.
    workers : int
        Processes that share the groups. On a card they wait for each other, and count as one.

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
    if cells == 1 or why_not_stackable(setup.template, setup.inputs(setup.sets["train"].x[:2])):
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
    with as_in_a_worker():
        for epochs in (1, 2):
            began = time.perf_counter()
            training = msgspec.structs.replace(
                _endless(group.training), epochs=epochs, evaluate_every=1, mechanism=False
            )
            train(make_model, data, group.cells, training, group.seed)
    return (time.perf_counter() - began) / epochs


@contextmanager
def as_in_a_worker() -> Iterator[None]:
    """Give torch as many threads as it has in a worker, and back what it had."""
    decides = "MKL_NUM_THREADS" if torch._C.has_mkl else "OMP_NUM_THREADS"
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of_a_worker(decides))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    training = msgspec.structs.replace(_endless(settings.training), epochs=_ROUNDS + 1)
    return Setup.of(
        partial(build_model, settings.architecture, data.shape, data.classes),
        _shortened(data, images),
        [cell] * len(settings.cells),
        training,
        settings.seed,
    )


def _endless(training: Training) -> Training:
    """The same without a stop."""
    return msgspec.structs.replace(training, stop_accuracy=None, stop_risk=None, patience=None)


def _shortened(data: ImageData, images: int) -> ImageData:
    """So many training images, and as large a part of the others."""

    def part(of: Images) -> Images:
        return of.subset(torch.arange(math.ceil(len(of) * images / len(data.train))))

    validation = None if data.validation is None else part(data.validation)
    return replace(data, train=part(data.train), test=part(data.test), validation=validation)


def _times(setup: Setup, sizes: Sequence[int], seconds: float) -> dict[int, float]:
    """Seconds of a short epoch for stacks of these sizes; infinite where none was timed."""
    every = setup.training.evaluate_every
    # looked at when told to, and at no other time
    training = msgspec.structs.replace(setup.training, evaluate_every=setup.training.epochs)
    setup = replace(setup, training=training)
    courses = {
        size: Course(setup, Ledger(setup.cells, training, "validation" in setup.sets), range(size))
        for size in sizes
    }
    trained, looked = (dict.fromkeys(sizes, math.inf) for _ in range(2))

    def advance(size: int) -> None:
        for shortest, do in ((trained, courses[size].advance), (looked, courses[size].look)):
            start = time.perf_counter()
            do()
            shortest[size] = min(shortest[size], time.perf_counter() - start)

    began = time.perf_counter()
    with as_in_a_worker():
        for _ in range(_WARM_UP):
            advance(1)
        if (trained[1] + looked[1]) * sum(sizes) <= seconds:
            while time.perf_counter() - began < seconds and courses[1].epoch < _ROUNDS:
                for size in sizes:
                    advance(size)
    return {size: trained[size] + looked[size] / every for size in sizes}
