"""Over-alignment and over-fitting against alpha along real runs; see criterion.md."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

import overalign as oa
from overalign.inference import Estimate, bootstrap, mean
from overalign.plots.style import BLACK, BLUE, VERMILION
from overalign.ucurve import UCurve, UCurveRun, problem_of
from validation import common
from validation.common import Criterion, FloatArray
from validation.where_bounds_speak.run import share_of

GRID: dict[str, Any] = {"alpha_min": 1e-3, "alpha_max": 0.3, "alphas": 10, "tolerance": 1e-8}
POPULATIONS = {
    "A": UCurve(data="mixture:n=12,dimension=20,kappa=1.5", width=64, eta=0.05, **GRID),
    "B": UCurve(data="mixture:n=16,dimension=30,kappa=2", width=64, eta=0.02, **GRID),
    "C": UCurve(data="mixture:n=8,dimension=10,kappa=1.2", width=48, eta=0.1, **GRID),
}
KINDS = ("independent", "paired")
PARTS = ("over_alignment", "over_fitting", "cone_angle")


class Scope(NamedTuple):
    """How large the study is."""

    populations: tuple[str, ...]
    seed: int
    sets: int
    fewest: int


FULL = Scope(("A", "B", "C"), 4602, 36, 30)
QUICK = Scope(("C",), 4999, 3, 3)


# -------------------------------------------------------------------------------------- measured


def parts(name: str, run: UCurveRun) -> list[dict[str, Any]]:
    """OA, OF and the cone of one data set at every scale, by initialisation."""
    settings = run.settings
    split, networks = problem_of(run)
    rows = []
    for kind, network in networks.items():
        for log_alpha in settings.log_alphas:
            end = oa.solve(
                split.train,
                network,
                float(log_alpha),
                oa.stop_at_risk(settings.eta),
                tolerance=settings.tolerance,
            )
            key = {"population": name, "initialisation": kind, "set": run.index}
            key |= {"alpha": float(np.exp(log_alpha)), "reached": int(end.is_successful)}
            aligned = oa.alignment_of(end.final, split.train)
            classes = (aligned.positive, aligned.negative)
            errors = [oa.excess_error_of(of, split.mixture) for of in classes]  # type: ignore[arg-type]
            rows.append(
                key
                | {
                    "over_alignment": float(np.mean([e.over_alignment for e in errors])),
                    "over_fitting": float(np.mean([e.over_fitting for e in errors])),
                    "cone_angle": float(np.mean([of.cone_angle for of in classes])),
                }
            )
    return rows


def curves(rows: Sequence[Mapping[str, Any]], name: str, kind: str, part: str) -> FloatArray:
    """[set, alpha] of one population and initialisation."""
    mine = [r for r in rows if (r["population"], r["initialisation"]) == (name, kind)]
    sets = len({row["set"] for row in mine})
    return np.array([row[part] for row in mine]).reshape(sets, -1)


# ---------------------------------------------------------------------------------------- judged


def correlations(table: FloatArray) -> FloatArray:
    """Spearman's, of every data set with alpha."""
    from scipy.stats import spearmanr

    scales = np.arange(table.shape[1])
    return np.array([float(spearmanr(scales, curve).statistic) for curve in table])


def statistics(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> dict[str, Estimate]:
    """What the lines are about, for one population and initialisation."""
    found = {}
    table = {part: curves(rows, name, kind, part) for part in PARTS}
    for part in PARTS:
        found[f"median correlation, {part}"] = bootstrap(
            lambda values: float(np.median(values)), correlations(table[part]), seed=0
        )
    for part, sign in (("over_alignment", -1.0), ("over_fitting", 1.0)):
        monotone = (sign * np.diff(table[part], axis=1) > 0).all(axis=1)
        share = share_of(int(monotone.sum()), monotone.size)
        found[f"share that is monotone, {part}"] = Estimate(*share)
    total = table["over_alignment"] + table["over_fitting"]
    optimum = oa.find_optimum(total, POPULATIONS[name].log_alphas)
    found["rise of the sum to the small end"] = Estimate(*optimum.rise_small)
    found["rise of the sum to the large end"] = Estimate(*optimum.rise_large)
    best = int(total.mean(axis=0).argmin())
    found["alpha at the lowest sum"] = Estimate(
        *np.exp([optimum.log_alpha, optimum.low, optimum.high]).tolist()
    )
    for part in PARTS[:2]:
        found[f"change to the optimum, {part}"] = mean(table[part][:, best] - table[part][:, 0])
    return found


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    lines = []
    for name in scope.populations:
        for kind in KINDS:
            found = statistics(rows, name, kind)
            for number, by, key, threshold in (
                ("C1", common.at_most, "median correlation, over_alignment", 0.0),
                ("C2", common.at_least, "median correlation, over_fitting", 0.0),
                ("C3", common.at_least, "share that is monotone, over_alignment", 0.9),
                ("C4", common.at_least, "share that is monotone, over_fitting", 0.9),
                ("C5", common.at_least, "rise of the sum to the small end", 0.0),
                ("C5", common.at_least, "rise of the sum to the large end", 0.0),
            ):
                value, low, high = found[key]
                lines.append(by(number, f"{name}, {kind}: {key}", value, threshold, (low, high)))
    sets = len({(row["population"], row["set"]) for row in rows}) // len(scope.populations)
    share = float(np.mean([row["reached"] for row in rows]))
    return [
        *lines,
        common.enough("C6", "data sets of each population", sets, scope.fewest),
        common.enough("C6", "share that reaches the stop", share, 0.95),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """OA, OF and their sum against alpha, with independent initialisation; and the correlations."""
    rows = common.read_rows(results / "parts.csv")
    names = list(dict.fromkeys(row["population"] for row in rows))
    figure, axes = common.new_figure(1, len(names) + 1, width=6.75 / (len(names) + 1), height=2.6)
    looks = (
        ("over_alignment", "OA", BLUE, "-"),
        ("over_fitting", "OF", VERMILION, (0, (4, 1.5))),
    )
    for ax, name in zip(axes[0], names, strict=False):
        alphas = np.exp(POPULATIONS[name].log_alphas)
        tables = {part: curves(rows, name, "independent", part) for part, *_ in looks}
        for part, label, colour, dashes in looks:
            draw_curve(ax, alphas, tables[part], label, colour, dashes)
        draw_curve(ax, alphas, sum(tables.values()), "OA + OF", BLACK, ":")
        ax.set(xscale="log", ylim=(0.0, None), xlabel=r"$\alpha$", title=f"population {name}")
    axes[0, 0].set_ylabel("excess error")
    axes[0, 0].set_ylim(0.0, 0.118)  # room for the legend
    axes[0, 0].legend(loc="upper left")
    draw_correlations(axes[0, -1], rows, names)
    return figure


def draw_curve(
    ax: Any, alphas: FloatArray, table: Any, label: str, colour: str, dashes: Any
) -> None:
    """Mean over the data sets with its interval."""
    middle, low, high = np.array([mean(column) for column in table.T]).T
    ax.fill_between(alphas, low, high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(alphas, middle, color=colour, linestyle=dashes, label=label)


def draw_correlations(ax: Any, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Spearman's correlation with alpha of every data set, and the medians."""
    spread = np.random.default_rng(0)
    for part, colour, shift in (("over_alignment", BLUE, -0.2), ("over_fitting", VERMILION, 0.2)):
        for k, name in enumerate(names):
            for kind, marker in zip(KINDS, "ox", strict=True):
                values = correlations(curves(rows, name, kind, part))
                x = k + shift + spread.uniform(-0.12, 0.12, values.size)
                ax.plot(x, values, marker, color=colour, markersize=2.2, alpha=0.5)
                ax.hlines(np.median(values), k + shift - 0.17, k + shift + 0.17, color=BLACK)
    for kind, marker in zip(KINDS, "ox", strict=True):
        ax.plot([], [], marker, color=BLACK, markersize=3, label=kind)
    ax.legend(loc="center", bbox_to_anchor=(0.5, 0.38), fontsize="x-small")
    ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xticks(range(len(names)), names)
    ax.set(ylim=(-1.08, 1.08), xlabel="population", title=r"correlation with $\alpha$")


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in scope.populations:
            settings = msgspec.structs.replace(POPULATIONS[name], sets=scope.sets, seed=scope.seed)
            found = pool.map(parts, [name] * scope.sets, settings.runs)
            rows += [row for each in found for row in each]
            common.note(f"population {name}")
    common.save_rows(chosen.output / "parts.csv", rows)
    common.save_figures(chosen.output, FIGURES)
    measured = {
        f"{name}, {kind}": statistics(rows, name, kind)
        for name in scope.populations
        for kind in KINDS
    }
    described = {name: msgspec.to_builtins(each) for name, each in POPULATIONS.items()}
    described |= scope._asdict()
    common.record(chosen, "oa_and_of_along_runs", described, measured, judge(rows, scope))


if __name__ == "__main__":
    main()
