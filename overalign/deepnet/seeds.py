"""Random streams of a run: each from (seed, purpose, epoch), none from a global state."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

import numpy as np
import torch

__all__ = ["Purpose", "initialised", "numpy_stream", "torch_stream"]

Made = TypeVar("Made")


class Purpose(IntEnum):
    """What random numbers are for."""

    CLASSES = 0
    DATA = 1
    LABELS = 2
    INITIALISATION = 3
    BATCHES = 4
    AUGMENTATION = 5
    PROBES = 6
    DROPOUT = 7


def numpy_stream(seed: int, purpose: Purpose, epoch: int = 0) -> np.random.Generator:
    """A generator of numpy of its own."""
    return np.random.default_rng([seed, int(purpose), epoch])


def torch_stream(
    seed: int, purpose: Purpose, epoch: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A generator of torch of its own."""
    state = np.random.SeedSequence([seed, int(purpose), epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def initialised(make: Callable[[], Made], seed: int) -> Made:
    """What ``make`` makes with torch's own initialisers, seeded; the global state is left alone.

    It is made on the processor: generators of graphics cards are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the cards as well, and nothing puts those back
        torch.default_generator.manual_seed(
            torch_stream(seed, Purpose.INITIALISATION).initial_seed()
        )
        return make()
