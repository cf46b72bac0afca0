"""The U-curve on fresh data sets and new parameters; see criterion.md."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xarray as xr

from overalign.optimum import find_optimum, over_sets
from overalign.plots.style import BLACK, GREEN, GREY, PURPLE, VERMILION, Curve
from overalign.ucurve import UCurve, run_ucurve
from validation import common
from validation.common import Criterion, FloatArray

SEED = 2602
GRID: dict[str, Any] = {"alpha_min": 1e-5, "alpha_max": 4.0, "alphas": 20, "seed": SEED}
POPULATIONS = {
    "A": UCurve(data="mixture:n=12,dimension=20,kappa=1.5", width=64, eta=0.05, sets=32, **GRID),
    "B": UCurve(data="mixture:n=16,dimension=30,kappa=2", width=100, eta=0.02, sets=24, **GRID),
    "C": UCurve(data="mixture:n=8,dimension=10,kappa=1.2", width=48, eta=0.1, sets=24, **GRID),
}
ERRORS = (
    Curve("network_error", "network", BLACK),
    Curve("predictor_error", r"effective predictor $E(\hat w)$", VERMILION, (0, (4, 1.5))),
)
REFERENCES = {
    "error_class_mean": ("class mean", (0, (5, 2))),
    "error_pooled_mean": ("pooled mean", (0, (2, 1))),
    "error_bayes": ("Bayes", "-"),
}
COSINES = {
    kind: (
        Curve("Psi", rf"$\Psi$, to the class mean ({kind})", GREEN, dashes),
        Curve("cosine_to_pooled_mean", f"to the pooled mean ({kind})", PURPLE, dashes),
    )
    for kind, dashes in (("independent", "-"), ("paired", (0, (4, 1.5))))
}


class Scope(NamedTuple):
    """How large the study is."""

    populations: dict[str, UCurve]
    fewest_sets: int


FULL = Scope(POPULATIONS, 20)
QUICK = Scope({"C": msgspec.structs.replace(POPULATIONS["C"], sets=6, alphas=8)}, 6)


def interval(values: Any) -> tuple[float, float, float]:
    """Mean, low, high over the data sets."""
    mean, low, high = over_sets(xr.DataArray(np.asarray(values), dims="set")).values
    return float(mean), float(low), float(high)


def share_of_predictor(falls: FloatArray, network_falls: FloatArray) -> tuple[float, float, float]:
    """Ratio of mean falls, with a bootstrap interval over the data sets."""
    generator = np.random.default_rng(0)
    rows = generator.integers(falls.size, size=(4000, falls.size))
    ratios = falls[rows].mean(axis=1) / network_falls[rows].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(falls.mean() / network_falls.mean()), float(low), float(high)


def quantities(dataset: xr.Dataset) -> dict[str, tuple[float, float, float]]:
    """Every statistic of criterion.md, for one population."""
    found = {}
    for kind in ("independent", "paired"):
        part = dataset.sel(initialisation=kind)
        optimum = find_optimum(part.network_error, part.log_alpha)
        found[f"{kind}: log10 alpha at the optimum"] = tuple(
            np.array([optimum.log_alpha, optimum.low, optimum.high]) / np.log(10.0)
        )
        found[f"{kind}: small-alpha rise"] = tuple(optimum.rise_small)
        found[f"{kind}: large-alpha rise"] = tuple(optimum.rise_large)
        as_errors = part.network_error + 0.5 * part.undecided
        ties = find_optimum(as_errors, part.log_alpha)
        found[f"{kind}: small-alpha rise, undecided counted as errors"] = tuple(ties.rise_small)
        best = int(part.network_error.mean("set").argmin())
        at_best, first, last = (part.isel(alpha=k) for k in (best, 0, -1))
        predictor = np.asarray(first.predictor_error - at_best.predictor_error)
        network = np.asarray(first.network_error - at_best.network_error)
        found[f"{kind}: share of the predictor"] = share_of_predictor(predictor, network)
        pooled = at_best.cosine_to_pooled_mean - first.cosine_to_pooled_mean
        found[f"{kind}: rise of cos(w_hat, pooled mean)"] = interval(pooled)
        found[f"{kind}: rise of Psi"] = interval(at_best.Psi - first.Psi)
        gap = at_best.network_error - at_best.error_pooled_mean
        found[f"{kind}: network less pooled mean at the optimum"] = interval(gap)
        gap = last.predictor_error - last.network_error
        found[f"{kind}: E(w_hat) less network at the largest alpha"] = interval(gap)
        found[f"{kind}: undecided at the smallest alpha"] = interval(first.undecided)
    return found


def judge(
    found: dict[str, dict[str, tuple[float, float, float]]],
    reached: dict[str, float],
    scope: Scope,
) -> list[Criterion]:
    """The lines of criterion.md."""
    lines: list[Criterion] = []

    def line(judge_by: Any, number: str, name: str, key: str, threshold: float) -> None:
        value, low, high = found[name][key]
        lines.append(judge_by(number, f"{name}, {key}", value, threshold, (low, high)))

    for name in found:
        line(common.at_least, "C1", name, "independent: small-alpha rise", 0.0)
        line(common.at_least, "C1", name, "paired: small-alpha rise", 0.0)
        line(common.at_least, "C2", name, "independent: large-alpha rise", 0.1)
        line(common.at_most, "C3", name, "paired: large-alpha rise", 0.01)
        line(common.at_most, "C4", name, "independent: share of the predictor", 0.5)
        line(common.at_least, "C5", name, "paired: E(w_hat) less network at the largest alpha", 0.2)
        line(common.at_least, "C6", name, "independent: rise of cos(w_hat, pooled mean)", 0.0)
        line(
            common.at_most, "C7", name, "independent: network less pooled mean at the optimum", 0.01
        )
        line(
            common.at_least,
            "C7",
            name,
            "independent: network less pooled mean at the optimum",
            -0.01,
        )
        share, sets = reached[name], scope.populations[name].sets
        lines.append(common.enough("C8", f"{name}, share that reached the stop", share, 0.9))
        lines.append(common.enough("C8", f"{name}, data sets", sets, scope.fewest_sets))
    return lines


def curve_rows(name: str, dataset: xr.Dataset) -> list[dict[str, Any]]:
    """The mean curves with their intervals, for the record."""
    rows = []
    columns = ("network_error", "predictor_error", "over_alignment", "over_fitting", "Psi",
               "cosine_to_pooled_mean", "undecided")  # fmt: skip
    references = {name: float(dataset[name].mean()) for name in REFERENCES}
    for kind in dataset.initialisation.values:
        part = dataset.sel(initialisation=kind)
        statistics = {column: over_sets(part[column]).values for column in columns}
        for k, log_alpha in enumerate(part.log_alpha.values):
            row = {"population": name, "initialisation": str(kind), "alpha": np.exp(log_alpha)}
            for column, (mean, low, high) in statistics.items():
                row |= {column: mean[k], f"{column}_low": low[k], f"{column}_high": high[k]}
            rows.append(row | references)
    return rows


def draw_figure(results: Path) -> Any:
    """Errors of network and predictor, and what the predictor aligns with, by population."""
    rows = common.read_rows(results / "curves.csv")
    populations = list(dict.fromkeys(row["population"] for row in rows))
    figure, axes = common.new_figure(3, len(populations), width=3.1, height=2.3)
    for column, name in zip(axes.T, populations, strict=True):
        column[0].set_title(f"population {name}")
        for k, kind in enumerate(("independent", "paired")):
            mine = [
                row for row in rows if (row["population"], row["initialisation"]) == (name, kind)
            ]
            for curve in ERRORS:
                draw_curve(column[k], mine, curve)
            for reference, (label, dashes) in REFERENCES.items():
                level = mine[0][reference]
                column[k].axhline(level, color=GREY, linewidth=0.9, linestyle=dashes, label=label)
            column[k].set_ylim(0.0, 0.5)
            for curve in COSINES[kind]:
                draw_curve(column[2], mine, curve)
        for ax in column:
            ax.set_xscale("log")
        column[2].set_xlabel(r"scale of the initialisation $\alpha$")
    labels = (
        "test error,\nindependent initialisation",
        "test error,\npaired initialisation",
        "cosine",
    )
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    figure.legend(*axes[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_curve(ax: Any, rows: list[dict[str, Any]], curve: Curve) -> None:
    """Mean over the data sets with its interval."""
    alpha, mean, low, high = (
        [row[key] for row in rows]
        for key in ("alpha", curve.name, f"{curve.name}_low", f"{curve.name}_high")
    )
    ax.fill_between(alpha, low, high, color=curve.colour, alpha=0.16, linewidth=0)
    ax.plot(alpha, mean, color=curve.colour, linestyle=curve.linestyle, label=curve.label)


FIGURES: common.Figures = {"figure.png": draw_figure}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    found, reached, rows = {}, {}, []
    for name, settings in scope.populations.items():
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            dataset = run_ucurve(
                settings,
                executor=executor,
                progress=lambda done, total, _, name=name: common.note(f"{name}: {done}/{total}"),  # type: ignore[misc]
            )
        found[name] = quantities(dataset)
        reached[name] = float(dataset.network_error.notnull().mean())
        rows += curve_rows(name, dataset)
    common.save_rows(chosen.output / "curves.csv", rows)
    common.save_figures(chosen.output, FIGURES)
    settings = {name: msgspec.to_builtins(each) for name, each in scope.populations.items()}
    criteria = judge(found, reached, scope)
    measured = {"statistics": found, "share_that_reached_the_stop": reached}
    common.record(chosen, "ucurve_two_layer", settings, measured, criteria, ["xarray"])


if __name__ == "__main__":
    main()
