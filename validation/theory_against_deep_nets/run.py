"""What the calibrated two-layer theory predicts of deep networks; see criterion.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
import xarray as xr
from msgspec.structs import replace

from overalign.deepnet.images import read_images
from overalign.deepnet.models import build_model
from overalign.deepnet.seeds import initialised
from overalign.deepnet.settings import Architecture, Sweep, Task, Training
from overalign.deepnet.statistics import SMALLEST_DIP, trained
from overalign.inference import Estimate, expanded_percentiles, mean
from overalign.plots.style import BLACK, BLUE
from overalign.prediction import (
    LOG2_C,
    OCTAVE,
    REFERENCE,
    STEP,
    Calibrated,
    MeasuredCurve,
    Ratios,
    TheoryCurve,
    TheorySetting,
    calibrate,
    dip_verdict,
    sign_verdict,
    theory_curve,
)
from overalign.verdicts import Judgement, Verdict
from validation import common, u_curves
from validation.common import Criterion, FloatArray

STUDY = "theory_against_deep_nets"
MAGNITUDE = math.log2(10.0)
ALIGNMENT = "predictor_cosine_empirical"
KEPT = ("outcome", "test_accuracy", ALIGNMENT)
CALIBRATION, PAIRED = "calibration", "paired"
# what is STEP times that of the calibration, by the name of the setting
LARGER: Mapping[str, Ratios] = {
    "samples": {"n": STEP},
    "width": {"width": STEP},
    "dimension": {"dimension": STEP},
}
SETTINGS = (CALIBRATION, *LARGER, PAIRED)
TITLES = {
    CALIBRATION: "calibrated here",
    "samples": f"{STEP} times the samples",
    "width": f"{STEP} times the width",
    "dimension": f"{STEP} times the dimension",
    PAIRED: "paired",
}


class Scope(NamedTuple):
    """How large the study is."""

    sweep: Sweep  # at the calibration
    dimension: int
    theory: TheorySetting  # that stands for it
    fewest_seeds: int
    fewest_sets: int


FULL = Scope(
    Sweep(
        task=Task(n=250, held_out=2000),
        training=Training(epochs=1000, evaluate_every=5),
        seeds=16,
        seed=5602,
        control=False,
    ),
    32,
    REFERENCE,
    14,
    8,
)
QUICK = Scope(
    Sweep(
        task=Task(n=60, held_out=500),
        architecture=Architecture(width=16),
        training=Training(epochs=600, evaluate_every=20),
        log2_output_multipliers=(-6.0, -2.0, 4.0),
        learning_rates=(0.05,),
        seeds=3,
        seed=5699,
        control=False,
    ),
    16,
    REFERENCE,
    3,
    8,
)

Rows = Sequence[Mapping[str, Any]]


# -------------------------------------------------------------------------------------- measured


def sweep_at(name: str, scope: Scope) -> Sweep:
    """The deep networks of a setting."""
    ratios = LARGER.get(name, {})
    n, width, dimension = (
        int(size * ratios.get(quantity, 1))
        for quantity, size in (
            ("n", scope.sweep.task.n or 0),
            ("width", scope.sweep.architecture.width),
            ("dimension", scope.dimension),
        )
    )
    data = f"synthetic:effective_dimension={dimension},dimension=256"
    return replace(
        scope.sweep,
        task=replace(scope.sweep.task, data=data, n=n),
        architecture=replace(scope.sweep.architecture, width=width, paired=name == PAIRED),
    )


def theory_at(name: str, scope: Scope) -> TheorySetting:
    """Its counterpart in the theory."""
    return replace(scope.theory.times(LARGER.get(name, {})), paired=name == PAIRED)


def initial_outputs(settings: Sweep) -> dict[int, float]:
    """Root mean square of the difference of two outputs at initialisation and c = 1, by seed."""
    found = {}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        data = read_images(settings.task, seed)
        make = partial(build_model, settings.architecture, data.shape, data.classes)
        with torch.no_grad():
            outputs = initialised(make, seed)(data.normalised(data.train.x, torch.float32))
        # over all pairs of outputs, the mean square of a difference is twice their variance
        found[seed] = math.sqrt(2.0 * float(outputs.var(dim=1).mean()))
    return found


def measured_rows(scope: Scope, small: bool) -> list[dict[str, Any]]:
    """Every run of every setting."""
    rows = []
    for name in SETTINGS:
        settings = sweep_at(name, scope)
        table, _ = u_curves.swept(settings, name, small=small)
        initial = initial_outputs(settings)
        rows += [
            {"setting": name}
            | {key: row[key] for key in (*u_curves.INDICES[:3], "log2_output_multiplier", *KEPT)}
            | {"initial_output": initial[int(row["seed"])]}
            for row in u_curves.rows_of(table)
        ]
    return rows


def theory_curves(scope: Scope) -> dict[TheorySetting, TheoryCurve]:
    """The theory at every setting; that of the full study comes with the package."""
    return {(at := theory_at(name, scope)): theory_curve(at) for name in SETTINGS}


# ---------------------------------------------------------------------------------------- judged


class Found(NamedTuple):
    """What the tables hold, and what the theory says."""

    tables: dict[str, xr.Dataset]
    measured: dict[str, MeasuredCurve]
    curves: dict[TheorySetting, TheoryCurve]
    theory: Calibrated


def found_in(rows: Rows, scope: Scope) -> Found:
    """From the recorded tables, with the theory calibrated at one setting."""
    tables = {}
    for name in SETTINGS:
        mine = [{k: v for k, v in row.items() if k != "setting"} for row in of(rows, name)]
        tables[name] = u_curves.table_of(mine, sweep_at(name, scope))
    measured = {name: MeasuredCurve.of(table) for name, table in tables.items()}
    calibrated = calibrate(measured[CALIBRATION], scope.theory)
    return Found(tables, measured, theory_curves(scope), calibrated)


def of(rows: Rows, name: str) -> Rows:
    """The rows of a setting."""
    return [row for row in rows if row["setting"] == name]


def verdicts(found: Found) -> dict[str, list[Verdict]]:
    """The predictions, by the line of criterion.md."""
    theory, measured = found.theory, found.measured
    lines: dict[str, list[Verdict]] = {f"C{k}": [] for k in range(1, 10) if k != 3}
    for name, ratios in LARGER.items():
        small, large, deeper, octave, moves = theory.verdicts(measured[name], ratios, name=name)
        lines["C1"] += [small, large]
        lines["C2"].append(deeper)
        lines[{"samples": "C4", "width": "C5", "dimension": "C6"}[name]].append(octave)
        lines["C7"].append(moves)
    for name in (CALIBRATION, *LARGER):
        predicted = theory.predict(measured[name].ends, LARGER.get(name)).alignment
        what = f"cosine to the empirical class mean, small end less c*, {name}"
        lines["C8"].append(sign_verdict(what, predicted, aligned(found.tables[name], name, found)))
    paired = theory.predict(measured[PAIRED].ends, paired=True)
    side = measured[PAIRED].test.right
    lines["C9"].append(dip_verdict("dip at large c, paired", paired.large, side))
    return lines


def aligned(table: xr.Dataset, name: str, found: Found) -> Estimate:
    """Change of the alignment from c* to the small end, within seeds."""
    test = found.measured[name].test
    end, best = (
        u_curves.at(table, ALIGNMENT, log2_c) for log2_c in (test.left.log2_end, test.log2_best)
    )
    return u_curves.over_seeds(end - best)


def as_criterion(line: str, verdict: Verdict) -> Criterion:
    """A prediction as a line of the record; where the theory says nothing it is undecided."""
    numbers = verdict.witness
    decided: dict[Judgement, common.Verdict] = {Judgement.HOLDS: "HOLDS", Judgement.FAILS: "FAILS"}
    says = "no prediction" if verdict.judgement is Judgement.OUT_OF_SCOPE else ""
    statement = ": ".join(filter(None, [verdict.statement, says]))
    measured = numbers.get("measured", math.nan)
    interval = (numbers["measured_low"], numbers["measured_high"]) if numbers else None
    threshold = {"C1": SMALLEST_DIP, "C9": SMALLEST_DIP, "C2": 0.0, "C8": 0.0}.get(line, OCTAVE)
    if line == "C7":
        threshold = 0.5 * numbers.get("predicted", math.nan)
    return Criterion(
        line,
        statement,
        measured,
        interval,
        threshold,
        decided.get(verdict.judgement, "INCONCLUSIVE"),
    )


def magnitude(rows: Rows, found: Found) -> Criterion:
    """Line C3: c* in units of the initial output, in both systems, without any fit."""
    best = found.measured[CALIBRATION].best
    if isinstance(best, str):
        return Criterion("C3", best, math.nan, None, MAGNITUDE, "INCONCLUSIVE")
    unit = mean([math.log2(row["initial_output"]) for row in first_of_seeds(rows)]).value
    theory = found.theory.predict(found.measured[CALIBRATION].ends).replicates - found.theory.shift
    # replicates over the seeds and over the theory's data sets are independent of each other
    off = np.append(best.log2_c, best.replicates) + unit - theory
    low, high = expanded_percentiles(off[1:], min(best.seeds, found.theory.reference.sets))
    nearest, farthest = max(low, -high, 0.0), max(abs(low), abs(high))
    what = "octaves between c* of the deep networks and of the theory, in initial outputs"
    return common.at_most("C3", what, abs(float(off[0])), MAGNITUDE, (nearest, farthest))


def first_of_seeds(rows: Rows) -> Rows:
    """One run of every seed at the calibration."""
    return list({row["seed"]: row for row in of(rows, CALIBRATION)}.values())


def judge(rows: Rows, scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    found = found_in(rows, scope)
    lines = [
        as_criterion(line, verdict)
        for line, several in verdicts(found).items()
        for verdict in several
    ]
    lines.append(magnitude(rows, found))
    sets = min(len(curve.accuracy) for curve in found.curves.values())
    scales = min(curve.log2_c.size for curve in found.curves.values())
    reached = min(
        float(trained(table).where(table["log2_output_multiplier"] <= 0.0, drop=True).mean())
        for table in found.tables.values()
    )
    return [
        *sorted(lines, key=lambda each: each.line),
        common.enough("C10", "seeds", scope.sweep.seeds, scope.fewest_seeds),
        common.enough("C10", "data sets of the theory", sets, scope.fewest_sets),
        common.enough("C10", "scales at which all of these reach the stop", scales, len(LOG2_C)),
        common.enough("C10", "smallest share of trained runs at c <= 1", reached, 0.9),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """The calibrated theory and the deep networks on one axis, setting by setting."""
    scope = QUICK if common.read_summary(results)["quick"] else FULL
    found = found_in(common.read_rows(results / "runs.csv"), scope)
    figure, axes = common.new_figure(1, len(SETTINGS), width=6.75 / len(SETTINGS), height=2.4)
    for ax, name in zip(axes[0], SETTINGS, strict=True):
        curve, test = found.curves[theory_at(name, scope)], found.measured[name].test
        drop = 100.0 * found.theory.scale * below_best(curve.accuracy)
        draw_band(ax, curve.log2_c + found.theory.shift, drop, BLUE, "theory, calibrated")
        given = found.tables[name].sel(task="given").isel(learning_rate=0)
        accuracy = given["test_accuracy"].where(trained(given)).transpose("seed", ...)
        complete = accuracy.notnull().all("seed").values
        log2_c = given["log2_output_multiplier"].values[complete]
        drop = 100.0 * below_best(accuracy.values[:, complete])
        draw_band(ax, log2_c, drop, BLACK, "deep networks")
        # the theory falls far below what was measured beyond the grid of the deep networks
        ax.set(xlabel=r"$\log_2 c$", xlim=(-13.0, 4.5), ylim=(1.7 * drop.mean(axis=0).min(), 1.0))
        ax.set_title(TITLES[name], fontsize="x-small")
        ax.axvline(test.log2_best, color="0.6", linewidth=0.8, zorder=0)
    axes[0, 0].set_ylabel("accuracy below the best, points")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def below_best(accuracy: FloatArray) -> FloatArray:
    """Accuracies less that where their mean is highest, within seeds or data sets."""
    best = int(accuracy.mean(axis=0).argmax())
    return accuracy - accuracy[:, [best]]


def draw_band(ax: Any, log2_c: FloatArray, values: FloatArray, colour: str, label: str) -> None:
    """Mean and its interval."""
    middle, low, high = np.array([mean(column) for column in values.T]).T
    ax.fill_between(log2_c, low, high, color=colour, alpha=0.18, linewidth=0)
    ax.plot(log2_c, middle, color=colour, marker="." if colour == BLACK else "", label=label)


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows = measured_rows(scope, chosen.quick)
    common.save_rows(chosen.output / "runs.csv", rows)
    rows = common.read_rows(chosen.output / "runs.csv")  # judged from the digits recorded
    found = found_in(rows, scope)
    measured = {
        "shift": found.theory.shift,
        "scale": found.theory.scale,
        "predictions": {line: list(map(str, each)) for line, each in verdicts(found).items()},
        "u_curves": {name: str(each.test) for name, each in found.measured.items()},
    }
    common.record(
        chosen, STUDY, described(scope), measured, judge(rows, scope), ["torch", "xarray"]
    )
    common.save_figures(chosen.output, FIGURES)


def described(scope: Scope) -> dict[str, Any]:
    """The settings of both systems."""
    return {
        "deep": {name: msgspec.to_builtins(sweep_at(name, scope)) for name in SETTINGS},
        "theory": {name: msgspec.to_builtins(theory_at(name, scope)) for name in SETTINGS},
    }


if __name__ == "__main__":
    main()
