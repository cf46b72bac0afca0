"""Statements about the flow on four plain populations; see criterion.md."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overalign.checks import QUICK_POPULATIONS
from overalign.plots import style
from overalign.statements import REGISTRY
from overalign.verdicts import Judgement, Verdict
from validation import common
from validation.common import Criterion

FIRST_SEED = 1000
LEAST_SHOWN = 1e-7  # tightness in the figure


class Group(NamedTuple):
    """Statements that decide a line, and the claim that they are about."""

    claim: str
    statements: tuple[str, ...]


GROUPS = {
    "C1": Group("Y1", ("norm_growth", "norm_in_the_window", "output_in_the_window")),
    "C2": Group(
        "Y2",
        (
            "directional_error_literature",
            "directional_error_logistic",
            "directional_error_of_a_class",
        ),
    ),
    "C3": Group(
        "Y3", ("phase1_alignment", "phase1_alignment_logistic", "phase1_alignment_of_a_class")
    ),
    "C4": Group("Y4", ("half_angle",)),
    "C5": Group("Y7", ("angle_at_the_transient_time",)),
    "C6": Group("Y8", ("conic_hull", "conic_hull_after_sorting")),
    "C7": Group("Y9", ("balancedness", "gram_conservation")),
    "C8": Group("Y11", ("inheritance",)),
    "C9": Group(
        "Y13", ("stopping_time_at_least", "stopping_time_at_most", "stopping_time_by_the_rate")
    ),
}
NAMES = tuple(name for group in GROUPS.values() for name in group.statements)


class Scope(NamedTuple):
    """How large the study is."""

    seeds: int  # of each population
    enough: int  # verdicts in scope, of each statement
    problems: int


FULL = Scope(120, 200, 200)
QUICK = Scope(4, 4, 16)


def verdicts(population: str, seed: int) -> list[Verdict]:
    """Of every statement on one problem."""
    problem = QUICK_POPULATIONS[population].problem(seed)
    with np.errstate(all="ignore"):
        return [REGISTRY[name].check(problem) for name in NAMES]


def measure(scope: Scope) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each statement and population; and what fails, with its problem as code."""
    rows, failures = [], []
    seeds = range(FIRST_SEED, FIRST_SEED + scope.seeds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, population in QUICK_POPULATIONS.items():
            common.note(f"{name}: {scope.seeds} problems")
            found = list(pool.map(verdicts, [name] * scope.seeds, seeds))
            rows += [row_of(name, each) for each in zip(*found, strict=True)]
            failures += [
                verdict.describe(population.problem(seed))
                for seed, each in zip(seeds, found, strict=True)
                for verdict in each
                if verdict.judgement is Judgement.FAILS
            ]
    return rows, failures


def row_of(population: str, found: Sequence[Verdict]) -> dict[str, Any]:
    """The verdicts of one statement on one population, counted."""
    decided = [v for v in found if v.judgement in (Judgement.HOLDS, Judgement.FAILS)]
    tightness = [verdict.tightness for verdict in decided] or [np.nan]
    return {
        "statement": found[0].statement,
        "provenance": found[0].provenance,
        "population": population,
        "problems": len(found),
        "in_scope": len(decided),
        "fails": sum(verdict.judgement is Judgement.FAILS for verdict in found),
        "inconclusive": sum(verdict.judgement is Judgement.INCONCLUSIVE for verdict in found),
        "points": sum(verdict.points for verdict in decided),
        "touches": sum(verdict.touches for verdict in decided),
        "smallest_slack": min((verdict.slack for verdict in decided), default=np.nan),
        "median_tightness": float(np.median(tightness)),
        "largest_tightness": max(tightness),
    }


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md, from the table."""
    lines = []
    for number, (claim, statements) in GROUPS.items():
        fails = sum(int(row["fails"]) for row in rows if row["statement"] in statements)
        least = min(
            sum(int(row["in_scope"]) for row in rows if row["statement"] == name)
            for name in statements
        )
        lines += [
            common.at_most(number, f"{claim}: verdicts that fail", fails, 0),
            common.enough(number, f"{claim}: fewest verdicts in scope", least, scope.enough),
        ]
    problems = sum(int(row["problems"]) for row in rows if row["statement"] == NAMES[0])
    return [*lines, common.enough("C10", "problems", problems, scope.problems)]


def tightest(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """For each line the largest tightness of its bounds; an equation has none."""
    return {
        number: max(
            float(row["largest_tightness"])
            for row in rows
            if row["statement"] in statements and row["in_scope"]
        )
        for number, (_, statements) in GROUPS.items()
        if all(REGISTRY[name].direction != "equal" for name in statements)
    }


def draw(results: Path) -> Any:
    """Tightness of every statement on every population, from median to largest."""
    rows = common.read_rows(results / "statements.csv")
    figure, axes = common.new_figure(1, 1, 6.75, 5.4)
    ax = axes[0, 0]
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)
    for k, (population, colour) in enumerate(zip(QUICK_POPULATIONS, colours, strict=True)):
        mine = {row["statement"]: row for row in rows if row["population"] == population}
        y = np.arange(len(NAMES)) + 0.17 * (k - 1.5)
        ends = [
            np.array([mine[name][key] for name in NAMES], dtype=float)
            for key in ("median_tightness", "largest_tightness")
        ]
        shown = ends[0] >= LEAST_SHOWN
        ax.hlines(y[shown], *(end[shown] for end in ends), color=colour, linewidth=1.0)
        ax.plot(ends[0][shown], y[shown], "os^D"[k], color=colour, markersize=3.2, label=population)
        ax.plot(ends[1][shown], y[shown], "|", color=colour, markersize=6)
        for height, median in zip(y, ends[0], strict=True):
            if median < LEAST_SHOWN:
                far = f"$\\leftarrow 10^{{{np.log10(median):.0f}}}$"
                at = 1.2 * LEAST_SHOWN * 5**k  # side by side
                ax.text(at, height, far, color=colour, va="center", fontsize=8)
    ax.axvline(1.0, color=style.BLACK, linewidth=0.8)
    claims = {name: group.claim for group in GROUPS.values() for name in group.statements}
    names = [f"{name.replace('_', ' ')} ({claims[name]})" for name in NAMES]
    ax.set_yticks(range(len(NAMES)), names)
    ax.set(xscale="log", xlim=(LEAST_SHOWN, 1.5), ylim=(len(NAMES) - 0.5, -0.5))
    ax.set_xlabel("tightness: smaller over larger side (marker: median; bar: largest of the runs)")
    ax.legend(loc="upper left", bbox_to_anchor=(0.02, 1.0), title="population")
    return figure


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows, failures = measure(scope)
    common.save_rows(chosen.output / "statements.csv", rows)
    common.save_figures(chosen.output, FIGURES)
    settings = {
        "populations": {name: repr(each) for name, each in QUICK_POPULATIONS.items()},
        "first_seed": FIRST_SEED,
        **scope._asdict(),
    }
    measured = {"tightness": tightest(rows), "failures": failures}
    common.record(
        chosen, "statements_on_populations", settings, measured, judge(rows, scope), ["sympy"]
    )


if __name__ == "__main__":
    main()
