"""Alignment and stopping time as alpha -> 0, against the limit flow; see criterion.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from validation import common
from validation.common import Criterion

ALPHAS = (1e-4, 1e-6, 1e-9, 1e-12)
SLOPE_ALPHAS = (1e-3, *ALPHAS)
ETAS = (0.3, 0.05, 0.01)
FAR = (-20.0, -2000.0)
CLASSES: tuple[tuple[int, Any], ...] = ((1, "positive"), (-1, "negative"))


class Scope(NamedTuple):
    """How large the study is."""

    sizes: tuple[tuple[int, int, float], ...]
    seeds: int
    widths: tuple[int, ...]
    fewest: int


FULL = Scope(((8, 10, 1.5), (12, 20, 1.5), (16, 30, 2.0)), 4, (16, 64), 100)
QUICK = Scope(((8, 10, 1.5),), 2, (16,), 40)


def problems(scope: Scope) -> Iterator[tuple[dict[str, Any], oa.Sample, oa.Network]]:
    """The population, with what identifies a problem."""
    for n, dimension, kappa in scope.sizes:
        for seed in range(scope.seeds):
            sample = oa.GaussianMixture(dimension, kappa, 1.0).sample(n, seed, separability=0.0)
            for width in scope.widths:
                key = {"n": n, "dimension": dimension, "seed": seed, "width": width}
                yield key, sample, oa.Network.random(width, dimension, seed)


def measure(
    scope: Scope,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of alignments, of slopes, and of stops over all samples."""
    alignments, slopes, drifts = [], [], []
    for key, sample, network in problems(scope):
        common.note(str(key))
        for label, over in CLASSES:
            limit = oa.limit_alignment(sample, ETAS, label)
            times = []
            for alpha in SLOPE_ALPHAS:
                for eta, psi_0 in zip(ETAS, limit.Psi, strict=True):
                    if alpha not in ALPHAS and eta != 0.05:
                        continue
                    run = oa.solve(sample, network, math.log(alpha), oa.stop_at_risk(eta, over))
                    if eta == 0.05:
                        times.append(run.time)
                    if alpha in ALPHAS:
                        state = oa.alignment_of(run.final, sample)
                        of = state.positive if label == 1 else state.negative
                        row = {"label": label, "eta": eta, "alpha": alpha, "Psi": float(of.Psi)}
                        alignments.append(key | row | {"limit": float(psi_0)})
            slope = np.polyfit(-np.log(SLOPE_ALPHAS), times, 1)[0]
            size = float(np.linalg.norm(sample.class_sum(label))) / (2 * sample.n)
            slopes.append(key | {"label": label, "slope_times_beta_norm": float(slope * size)})
        drifts.append(key | {"change": drift(sample, network)})
    return alignments, slopes, drifts


def drift(sample: oa.Sample, network: oa.Network) -> float:
    """How much Psi_+ changes between two tiny alphas when the stop is over all samples."""
    ends = [
        oa.alignment_of(
            oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05)).final, sample
        ).positive.Psi
        for log_alpha in FAR
    ]
    return abs(float(ends[0] - ends[1]))


def judge(
    alignments: list[dict[str, Any]],
    slopes: list[dict[str, Any]],
    drifts: list[dict[str, Any]],
    scope: Scope,
) -> tuple[dict[str, Any], list[Criterion]]:
    """The lines of criterion.md."""
    gaps = [abs(row["Psi"] - row["limit"]) for row in alignments]
    off = [abs(row["slope_times_beta_norm"] - 1.0) for row in slopes]
    share = float(np.mean([row["change"] >= 1e-4 for row in drifts]))
    lines = [
        common.at_most("C1", "largest |Psi - Psi_0(eta)|", max(gaps), 1e-5),
        common.at_most("C2", "largest |slope beta ||x|| - 1|", max(off), 0.02),
        common.at_least("C3", "share of problems that still change, stopped over all", share, 0.9),
        common.enough("C4", "cases compared", len(gaps), scope.fewest),
    ]
    measured = {
        "cases": len(gaps),
        "largest_gap": max(gaps),
        "median_gap": np.median(gaps),
        "largest_slope_error": max(off),
        "smallest_limit": min(row["limit"] for row in alignments),
        "median_change_over_all": np.median([row["change"] for row in drifts]),
    }
    return measured, lines


def draw_figure(results: Path) -> Any:
    """Alignment against its limit, and the gap against alpha."""
    alignments = common.read_rows(results / "alignments.csv")
    figure, (panels,) = common.new_figure(1, 2)
    looks = zip(ETAS, ("C0", "C1", "C2"), "o^s", (7, 5, 3), strict=True)  # many lie on others
    for eta, colour, marker, size in looks:
        here = [row for row in alignments if row["eta"] == eta]
        x = [1.0 - row["limit"] for row in here]
        look = {"color": colour, "marker": marker, "markersize": size, "linestyle": ""}
        label = rf"$\eta={eta:g}$"
        panels[0].loglog(x, [1.0 - row["Psi"] for row in here], label=label, **look)
        for alpha in ALPHAS:
            gap = max(abs(row["Psi"] - row["limit"]) for row in here if row["alpha"] == alpha)
            panels[1].loglog(alpha, max(gap, 1e-16), **look)
    ends = np.array(panels[0].get_xlim())
    panels[0].loglog(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    panels[0].set(xlabel=r"$1-\Psi_0(\eta)$", ylabel=r"$1-\Psi$ at the stop, every $\alpha$")
    panels[0].legend(fontsize="small")
    panels[1].axhline(1e-5, color="0.6", linewidth=0.8)
    panels[1].set(xlabel=r"$\alpha$", ylabel=r"largest $|\Psi-\Psi_0(\eta)|$")
    return figure


FIGURES: common.Figures = {"figure.png": draw_figure}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows = measure(scope)
    measured, criteria = judge(*rows, scope)
    for name, table in zip(("alignments", "slopes", "stops_over_all"), rows, strict=True):
        common.save_rows(chosen.output / f"{name}.csv", table)
    common.save_figures(chosen.output, FIGURES)
    common.record(chosen, "small_alpha_limit", scope._asdict(), measured, criteria)


if __name__ == "__main__":
    main()
