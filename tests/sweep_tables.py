"""Tables as a sweep of deep networks leaves them, with accuracies that are known."""

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

GRID = np.arange(-12.0, 6.0, 2.0)
CELL = ("task", "seed", "learning_rate", "output_multiplier")


def sweep_table(
    curve: ArrayLike,
    *,
    log2_c: Sequence[float] | np.ndarray = GRID,
    rates: Sequence[float] = (0.01,),
    seeds: int = 16,
    noise: float | np.ndarray = 0.005,
    seed_effect: float = 0.02,
    tasks: Sequence[str] = ("given",),
    generator: np.random.Generator | int = 0,
) -> xr.Dataset:
    """Accuracies: a curve [c] or [task, 1, rate, c], an effect of each seed, and noise."""
    generator = np.random.default_rng(generator)
    shape = (len(tasks), seeds, len(rates), len(log2_c))
    accuracy = np.broadcast_to(curve, shape) + noise * generator.standard_normal(shape)
    accuracy = accuracy + seed_effect * generator.standard_normal((1, seeds, 1, 1))
    return xr.Dataset(
        {
            "test_accuracy": (CELL, accuracy),
            "test_accuracy_peak": (CELL, accuracy + 0.004),
            "outcome": (CELL, np.full(shape, "REACHED", dtype=object)),
        },
        coords={
            "task": list(tasks),
            "seed": np.arange(seeds),
            "learning_rate": list(rates),
            "log2_output_multiplier": ("output_multiplier", np.asarray(log2_c, dtype=float)),
        },
        attrs={"settings": json.dumps({"training": {"stop_accuracy": 0.99, "stop_risk": None}})},
    )


def planted_u(log2_c: np.ndarray = GRID, at: float = -4.0, depth: float = 0.02) -> np.ndarray:
    """A curve with its maximum at 2^at, `depth` lower at the left end, four times that right."""
    left = depth * ((log2_c - at) / (log2_c[0] - at)) ** 2
    right = 4.0 * depth * ((log2_c - at) / (log2_c[-1] - at)) ** 2
    return np.asarray(0.77 - np.where(log2_c < at, left, right))
