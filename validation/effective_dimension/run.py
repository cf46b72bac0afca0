"""The gain of the best output multiplier against the effective dimension; see criterion.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xarray as xr

from overalign.deepnet.dimension import intrinsic_dimension
from overalign.deepnet.images import read_images
from overalign.deepnet.settings import Sweep, Task
from overalign.deepnet.statistics import gain, u_curve
from overalign.plots.sweep import plot_gain
from validation import common, u_curves
from validation.common import Criterion

STUDY = "effective_dimension"
SEED = 2602


class Scope(NamedTuple):
    """How large the study is."""

    dimensions: tuple[int, ...]
    seeds: int
    log2_output_multipliers: tuple[float, ...]
    fewest_pairs: int = 7


FULL = Scope((32, 64, 128), 16, Sweep().log2_output_multipliers)
QUICK = Scope((16, 64), 4, (-8.0, -4.0, 0.0))


def settings_at(dimension: int, scope: Scope) -> Sweep:
    """The sweep at an effective dimension."""
    return Sweep(
        task=Task(data=f"synthetic:effective_dimension={dimension},dimension=256"),
        log2_output_multipliers=scope.log2_output_multipliers,
        seeds=scope.seeds,
        seed=SEED,
        control=False,
    )


def estimated(settings: Sweep) -> tuple[float, float, float]:
    """Intrinsic dimension of the training inputs of the first seed, and its interval."""
    found = intrinsic_dimension(read_images(settings.task, settings.seed).train.x.numpy())
    return found.estimate, found.low, found.high


def gain_of_seeds(table: xr.Dataset) -> xr.DataArray:
    """The gain within each testing seed, of which `gain` is the mean."""
    found = gain(table)
    best = u_curves.at(table, "test_accuracy", found.log2_best)
    reference = u_curves.at(table, "test_accuracy", found.log2_reference)
    return (best - reference).isel(seed=slice(1, None, 2))


def judge(
    gains: Sequence[xr.DataArray], estimates: Sequence[float], scope: Scope
) -> list[Criterion]:
    """The lines of criterion.md, from the gains within seeds at each dimension."""
    enough = min(int(each.notnull().sum()) for each in gains) >= scope.fewest_pairs
    # a seed has the same initial weights and batches at every dimension
    value, low, high = u_curves.over_seeds(gains[-1] - gains[0])
    first, last = scope.dimensions[0], scope.dimensions[-1]
    what = f"gain at {last} less gain at {first}"
    lines = [common.at_least("C1", what, value, 0.0, (low, high))]
    if not enough:
        lines = [replace(lines[0], verdict="INCONCLUSIVE")]
    steps = [u_curves.over_seeds(larger - smaller) for smaller, larger in pairwise(gains)]
    worst = min(steps)
    fails = enough and any(high < 0.0 for _, _, high in steps)
    rises = enough and worst[0] > 0.0
    verdict: common.Verdict = "FAILS" if fails else "HOLDS" if rises else "INCONCLUSIVE"
    lines.append(Criterion("C2", "smallest step of the gain", worst[0], worst[1:], 0.0, verdict))
    what = "smallest step of the estimated intrinsic dimension"
    return [*lines, common.at_least("C3", what, float(np.diff(estimates).min()), 0.0)]


def draw_figure(results: Path) -> Any:
    """The gain of the best output multiplier, against the effective dimension."""
    rows = common.read_rows(results / "runs.csv")
    scope = QUICK if common.read_summary(results)["quick"] else FULL
    gains = [gain(recorded_table(rows, dimension, scope)) for dimension in scope.dimensions]
    return plot_gain(scope.dimensions, gains).figure


def recorded_table(rows: u_curves.Rows, dimension: int, scope: Scope) -> xr.Dataset:
    """The table of one effective dimension."""
    key = "effective_dimension"
    mine = [
        {name: value for name, value in row.items() if name != key}
        for row in rows
        if int(row[key]) == dimension
    ]
    return u_curves.table_of(mine, settings_at(dimension, scope))


FIGURES: common.Figures = {"figure.png": draw_figure}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    gains, within, estimates, rows, words, settings = [], [], [], [], {}, {}
    for dimension in scope.dimensions:
        name = str(dimension)
        settings[name] = settings_at(dimension, scope)
        table, seconds = u_curves.swept(settings[name], name, small=chosen.quick)
        gains.append(gain(table))
        within.append(gain_of_seeds(table))
        estimates.append(estimated(settings[name]))
        words[name] = {
            "u_curve": str(u_curve(table)),
            "gain": gains[-1].value,
            "gain_interval": (gains[-1].low, gains[-1].high),
            "log2_best_c": gains[-1].log2_best,
            "estimated_dimension": estimates[-1],
            "seconds": seconds,
        }
        rows += [{"effective_dimension": dimension} | row for row in u_curves.rows_of(table)]
    common.save_rows(chosen.output / "runs.csv", rows)
    criteria = judge(within, [each for each, _, _ in estimates], scope)
    plain: dict[str, Any] = {name: msgspec.to_builtins(each) for name, each in settings.items()}
    common.record(chosen, STUDY, plain, words, criteria, ["torch", "xarray", "scikit-learn"])
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
