"""Tables as a sweep of deep networks leaves them, with accuracies that are known."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from overalign.prediction import LOG2_C, REFERENCE, TheoryCurve, TheorySetting

GRID = np.arange(-12.0, 6.0, 2.0)
TARGETS = ("empirical", "population", "difference")
MECHANISM = (  # as in overalign.deepnet.mechanism, without loading torch
    *(f"predictor_cosine_{target}" for target in TARGETS),
    *(f"predictor_change_cosine_{target}" for target in TARGETS),
    *(f"readout_cosine_{target}" for target in TARGETS),
    *("feature_cosine", "tangent_kernel_alignment", "conjugate_kernel_alignment"),
    "weight_displacement",
)
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


def full_table(
    *, rates: Sequence[float] = (0.01,), seeds: int = 8, validation: bool = True
) -> xr.Dataset:
    """A table with everything a sweep holds: two tasks, histories, mechanism, and failures."""
    tasks = ("given", "linear_teacher")
    curve = np.stack([planted_u(depth=0.04), 0.85 - 0.003 * GRID])[:, None, None]
    table = sweep_table(curve, rates=rates, seeds=seeds, tasks=tasks)
    generator = np.random.default_rng(1)
    shape = table.test_accuracy.shape
    rises = (GRID - GRID[0]) / (GRID[-1] - GRID[0])
    for name in MECHANISM:
        level = 0.3 + 0.4 * rises if name.endswith("population") else 0.8 - 0.5 * rises
        table[name] = (CELL, level + 0.02 * generator.standard_normal(shape))
    table["epochs"] = (CELL, np.broadcast_to(np.arange(20, 2, -2), shape).copy())
    table["steps"] = 32 * table.epochs
    table = table.assign_coords(epoch=np.arange(21))
    progress = np.minimum(table.epoch / table.epochs, 1.0)
    seen = table.epoch <= table.epochs
    for name in ("train_accuracy", "test_accuracy"):
        final = table.test_accuracy if name == "test_accuracy" else 0.995
        table[f"{name}_history"] = (0.1 + (final - 0.1) * progress**0.5).where(seen)
    if validation:
        table["validation_risk_stop_test_accuracy"] = table.test_accuracy - 0.002
    for (rate, c), outcome in {(-1, 8): "DIVERGED", (0, 0): "STUCK", (0, 1): "BUDGET"}.items():
        table.outcome[:, 1::3, rate, c] = outcome
    diverged = table.outcome == "DIVERGED"
    for name in ("test_accuracy", *MECHANISM):
        table[name] = table[name].where(~diverged)
    settings = {
        "task": {"data": "synthetic", "n": 1000},
        "architecture": {"model": "mlp", "width": 64},
        "training": {"stop_accuracy": 0.99, "stop_risk": None, "homogeneous_degree": None},
    }
    table.attrs["settings"] = json.dumps(settings)
    return table


def planted_theory(
    n: float = -1.0,
    width: float = 0.0,
    *,
    small: float = 0.04,
    large: float = 0.04,
    noise: float = 0.0002,
    sets: int = 16,
) -> Callable[[TheorySetting], TheoryCurve]:
    """Curves of a theory in which c* grows with these exponents from 2^-8 at the reference.

    Eight octaves below c* the accuracy is lower by `small`, six above by `large`; paired networks
    have no dip at large c. Alignment rises by 0.01 for an octave less.
    """

    def curve(setting: TheorySetting) -> TheoryCurve:
        place = -8.0 + n * np.log2(setting.n / REFERENCE.n)
        place += width * np.log2(setting.width / REFERENCE.width)
        log2_c = np.array(LOG2_C)
        right = 0.0 if setting.paired else large
        drop = np.where(log2_c < place, small / 8.0**2, right / 6.0**2) * (log2_c - place) ** 2
        random = np.random.default_rng([setting.n, setting.width, setting.paired])
        scatter = noise * random.standard_normal((sets, log2_c.size))
        return TheoryCurve(log2_c, 0.9 - drop + scatter, 0.5 - 0.01 * log2_c + scatter)

    return curve
