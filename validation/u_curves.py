"""What the studies of real training share: sweeps, their tables, and the lines of a U-curve."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr
from msgspec.structs import replace

from overalign.deepnet.settings import Sweep
from overalign.deepnet.statistics import (
    FEWEST_PAIRS,
    Side,
    control,
    dispersion,
    gain,
    trained,
    u_curve,
)
from overalign.deepnet.sweep import run_sweep
from overalign.executors import open_executor
from overalign.inference import Estimate, mean
from overalign.plots import plot_accuracy, plot_alignment, plot_learning_curves
from overalign.records import config_from, read_config
from overalign.verdicts import Judgement
from validation import common
from validation.common import Criterion

WORKERS = 2
SMALL_STACK = 9  # networks trained together in a small sweep
INDICES = ("task", "seed", "learning_rate", "output_multiplier")
FEWEST_SEEDS = 14
DIFFERENCE = "predictor_cosine_difference"
TANGENT = "tangent_kernel_alignment"

Rows = Sequence[Mapping[str, Any]]


# ------------------------------------------------------------------------- sweeps and their tables


def settings_of(study: str) -> Sweep:
    """The settings that stand beside a criterion."""
    return read_config(Sweep, common.ROOT / "validation" / study / "config.toml")


def quick(settings: Sweep, n: int) -> Sweep:
    """A sweep of the same kind that takes seconds."""
    return replace(
        settings,
        task=replace(settings.task, n=n, held_out=500),
        training=replace(settings.training, epochs=300, evaluate_every=10),
        log2_output_multipliers=(-8.0, -4.0, 2.0),
        seeds=6,
    )


def swept(settings: Sweep, name: str, *, small: bool = False) -> tuple[xr.Dataset, float]:
    """The table of a sweep and the seconds it took, workers and calibration included.

    A small one runs in this process: to start others, and to measure which stack is fastest, takes
    longer than the training.
    """
    workers, stack = (1, SMALL_STACK) if small else (WORKERS, None)
    begin = time.perf_counter()
    with open_executor("inline" if small else "processes", workers) as executor:
        table = run_sweep(
            settings,
            executor=executor,
            workers=workers,
            stack=stack,
            progress=lambda done, total, _: common.note(f"{name}: {done}/{total} groups"),
        )
    return table, time.perf_counter() - begin


def rows_of(table: xr.Dataset) -> list[dict[str, Any]]:
    """One line for each run: all that is not a history."""
    names = [name for name in table.data_vars if table[name].dims == INDICES and name != "reason"]
    rows = []
    for place in np.ndindex(*(table.sizes[index] for index in INDICES)):
        at = dict(zip(INDICES, place, strict=True))
        row = {index: table[index].values[at[index]] for index in INDICES[:3]}
        row["log2_output_multiplier"] = table["log2_output_multiplier"].values[at[INDICES[3]]]
        rows.append(row | {str(name): table[name].values[place] for name in names})
    return rows


def table_of(rows: Rows, settings: Sweep) -> xr.Dataset:
    """The table, without histories, from its lines; of a CSV file too."""
    order = ("task", "seed", "learning_rate", "log2_output_multiplier")
    axes: dict[str, list[Any]] = {
        "task": [task.labels for task in settings.tasks],
        "seed": list(range(settings.seed, settings.seed + settings.seeds)),
        "learning_rate": list(settings.learning_rates),
        "log2_output_multiplier": list(settings.log2_output_multipliers),
    }
    shape = [len(values) for values in axes.values()]
    names = [name for name in rows[0] if name not in order]
    values = {name: np.empty(shape, dtype=object if name == "outcome" else float) for name in names}
    for row in rows:
        key = (str(row["task"]), int(row["seed"]), *(float(row[name]) for name in order[2:]))
        place = tuple(each.index(k) for each, k in zip(axes.values(), key, strict=True))
        for name in names:
            values[name][place] = row[name]
    return xr.Dataset(
        {name: (INDICES, each) for name, each in values.items()},
        coords={
            **{name: axes[name] for name in order[:3]},
            order[3]: (INDICES[3], axes[order[3]]),
        },
        attrs={"settings": json.dumps(msgspec.to_builtins(settings)), "data": settings.task.data},
    )


# --------------------------------------------------------------------------------- lines of a U


def dip(line: str, name: str, side: Side) -> Criterion:
    """One side of a U, with the verdict of its test."""
    verdicts: dict[Judgement, common.Verdict] = {
        Judgement.HOLDS: "HOLDS",
        Judgement.FAILS: "FAILS",
    }
    return _by_test(line, f"{name}: difference", side, verdicts.get(side.judgement, "INCONCLUSIVE"))


def no_dip(line: str, name: str, side: Side) -> Criterion:
    """The control: a dip that is found FAILS; with too few pairs to find one nothing is known."""
    verdict: common.Verdict = "FAILS" if side.judgement is Judgement.HOLDS else "HOLDS"
    if side.pairs < FEWEST_PAIRS:
        verdict = "INCONCLUSIVE"
    return _by_test(line, f"{name}: difference, which must not be found", side, verdict)


def _by_test(line: str, statement: str, side: Side, verdict: common.Verdict) -> Criterion:
    ends = (side.low, side.high)
    p_value = side.p_value if math.isfinite(side.p_value) else None
    return Criterion(line, statement, side.difference, ends, 0.0, verdict, p_value)


def at(table: xr.Dataset, name: str, log2_c: float) -> xr.DataArray:
    """A quantity of the trained runs of the given labels, against seeds; no c gives no numbers."""
    given = table.sel(task="given").isel(learning_rate=0)
    there = given["log2_output_multiplier"] == log2_c
    return given[name].where(trained(given) & there).max("output_multiplier")


def over_seeds(values: xr.DataArray) -> Estimate:
    """Mean, low, high of what is known."""
    return mean(values.dropna("seed"))


def rank_correlations(table: xr.Dataset, name: str) -> xr.DataArray:
    """Spearman's correlation with log c over the trained runs of each seed."""
    from scipy.stats import spearmanr

    given = table.sel(task="given").isel(learning_rate=0)
    values = given[name].where(trained(given)).transpose("seed", "output_multiplier").values
    log2_c = given["log2_output_multiplier"].values
    found = []
    for row in values:
        known = np.isfinite(row)
        enough = known.sum() > 2
        found.append(spearmanr(log2_c[known], row[known]).statistic if enough else math.nan)
    return xr.DataArray(found, dims="seed")


def judge(table: xr.Dataset, settings: Sweep) -> list[Criterion]:
    """Lines C1 to C6 of a U-curve, from its table."""
    curve = u_curve(table)
    lines = [
        dip("C1", "dip at small c", curve.left),
        dip("C2", "dip at large c", curve.right),
        no_dip("C3", "control, dip at small c", control(table).control.left),
    ]
    change = at(table, DIFFERENCE, curve.left.log2_end) - at(table, DIFFERENCE, curve.log2_best)
    value, low, high = over_seeds(change)
    what = "cosine to empirical less population class mean, small end less c*"
    lines.append(common.at_least("C4", what, value, 0.0, (low, high)))
    value, low, high = over_seeds(rank_correlations(table, TANGENT))
    what = "rank correlation of log c with the alignment of the tangent kernel"
    lines.append(common.at_least("C5", what, value, 0.5, (low, high)))
    stopped = u_curve(table, "validation_risk_stop_test_accuracy").log2_best
    return [*lines, same_best("C6", stopped, curve.log2_best, settings.log2_output_multipliers)]


def same_best(line: str, stopped: float, best: float, log2_c: Sequence[float]) -> Criterion:
    """Whether the least validation risk and the stop have the same c*; without either, unknown."""
    steps = math.nan
    if math.isfinite(stopped) and math.isfinite(best):
        steps = float(np.abs(np.diff(np.searchsorted(log2_c, [stopped, best]))).item())
    verdict: common.Verdict = "HOLDS" if steps <= 1 else "FAILS" if steps > 2 else "INCONCLUSIVE"
    what = "steps of the grid between c* at the stop and at the least validation risk"
    return Criterion(line, what, steps, None, 1, verdict)


def judge_size(line: str, table: xr.Dataset, settings: Sweep) -> list[Criterion]:
    """Whether the sweep is large enough, and trained."""
    small = table["log2_output_multiplier"] <= 0.0
    reached = trained(table).where(small, drop=True).mean()
    return [
        common.enough(line, "seeds", settings.seeds, FEWEST_SEEDS),
        common.enough(line, "share of the runs at c <= 1 that are trained", float(reached), 0.9),
    ]


def reported(table: xr.Dataset) -> dict[str, Any]:
    """What the statistics say, in numbers and in words."""
    curve, spread = u_curve(table), dispersion(table)
    peak = u_curve(table, "test_accuracy_peak")
    by_c = {}
    for log2_c in table["log2_output_multiplier"].values:
        names = ["test_accuracy", *(str(n) for n in table.data_vars if "cosine" in str(n)), TANGENT]
        by_c[f"{log2_c:g}"] = {
            name: float(at(table, name, log2_c).mean()) for name in dict.fromkeys(names)
        }
    return {
        "log2_best_c": curve.log2_best,
        "log2_best_c_of_the_peak": peak.log2_best,
        "u_curve": str(curve),
        "u_curve_of_the_peak": str(peak),
        "control": str(control(table)),
        "gain_over_c_1": str(gain(table)),
        "spread": str(spread),
        "standard_deviation_over_seeds": dict(
            zip((f"{each:g}" for each in spread.log2_c), np.sqrt(spread.variance), strict=True)
        ),
        "means_by_log2_c": by_c,
    }


# ---------------------------------------------------------------------------------------- figures


def recorded_settings(results: Path) -> Sweep:
    """The settings of a record."""
    return config_from(Sweep, common.read_summary(results)["settings"], f"{results}, settings")


def draw_accuracy(results: Path) -> Any:
    """Test accuracy against the output multiplier, and what is tested."""
    table = table_of(common.read_rows(results / "runs.csv"), recorded_settings(results))
    return plot_accuracy(table).flat[0].figure


def draw_alignment(results: Path) -> Any:
    """What networks align with, against the output multiplier."""
    table = table_of(common.read_rows(results / "runs.csv"), recorded_settings(results))
    return plot_alignment(table).flat[0].figure


FIGURES: common.Figures = {"figure.png": draw_accuracy, "alignment.png": draw_alignment}


def save_learning_curves(folder: Path, table: xr.Dataset) -> None:
    """How networks learn; histories are not recorded, so that it cannot be drawn again."""
    axes = np.asarray(plot_learning_curves(table), dtype=object)
    common.save_figure(folder / "learning.png", axes.flat[0].figure)
