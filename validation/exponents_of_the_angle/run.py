"""The power of alpha in the angle at three times; see criterion.md."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.inference import Estimate, mean
from overalign.plots.style import BLACK, BLUE, GREEN, VERMILION
from overalign.statements import REGISTRY
from overalign.verdicts import Judgement
from validation import common
from validation.common import Criterion

FIRST_SEED = 3100
POPULATIONS = tuple(
    oa.Population(n=n, dimension=d, kappa=kappa, width=width, eta=0.3, tolerance=1e-10)
    for n, d, kappa, width in ((8, 10, 1.2, 16), (12, 20, 1.5, 64), (16, 30, 2.0, 32))
)
EARLY = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
AT_ONSET = tuple(10.0 ** np.linspace(-4, -2, 9))
ABOVE_FLOOR = 10.0
IN_THE_LIMIT = tuple(
    f"angle_exponent_at_the_{place}" for place in ("window", "transient_time", "onset")
)
TIMES = {"T": "the window $T$", "T_class": "$T_+$", "onset": "the onset of fitting"}


class Scope(NamedTuple):
    """How large the study is."""

    populations: int
    seeds: int
    verdicts: int
    problems: int
    powers: int


FULL = Scope(3, 16, 30, 40, 30)
QUICK = Scope(1, 4, 3, 4, 3)


# -------------------------------------------------------------------------------------- measured


def angles(task: tuple[int, int]) -> list[dict[str, Any]]:
    """Angles of one problem at every scale and time, by class."""
    kind, seed = task
    problem = POPULATIONS[kind].problem(seed)
    rows = []
    for alpha in sorted({*EARLY, *AT_ONSET}):
        run = problem.at_scale(math.log(alpha)).run
        phases = oa.phase_times(run)
        for label, transient in ((1, phases.T_plus), (-1, phases.T_minus)):
            facts = problem.facts(label)
            key = {"population": kind, "seed": seed, "label": label, "alpha": alpha}
            key["X_over_larger"] = facts["class_norm"] / facts["largest_class_norm"]
            key["predicted_at_T"] = facts["class_norm"] / (4.0 * facts["n"] * facts["x_max"])
            places = {"T": phases.T, "T_class": transient, "onset": phases.onset}
            for place, time in places.items():
                if alpha in (EARLY if place != "onset" else (EARLY[0], *AT_ONSET)):
                    rows.append(key | {"place": place} | angles_at(run, time, label))
    return rows


def angles_at(run: oa.Trajectory, time: float, label: int) -> dict[str, float]:
    """Largest angle over the neurons of a class that live at the end, and 1 - Psi."""
    lives = ~oa.dead_neurons(run) & (run.network.sign == label)
    aligned = oa.alignment_of(run.at(time), run.sample)
    of = aligned.positive if label == 1 else aligned.negative
    theta = float(aligned.angle[lives].max())
    # 1 - cos without its difference
    return {"theta": theta, "one_minus_Psi": 2.0 * math.sin(0.5 * float(of.cone_angle)) ** 2}


def powers(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The power of alpha for every problem, class and time; nan where scales are too few."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("population", "seed", "label", "place"))
        groups.setdefault(key, []).append(row)
    found = []
    for (kind, seed, label, place), group in groups.items():
        used = [row for row in group if place != "onset" or row["alpha"] in AT_ONSET]
        if place == "onset":
            floor = next(row["theta"] for row in group if row["alpha"] == EARLY[0])
            used = [row for row in used if row["theta"] >= ABOVE_FLOOR * floor]
        found.append(
            {
                **{"population": kind, "seed": seed, "label": label, "place": place},
                **{name: group[0][name] for name in ("X_over_larger", "predicted_at_T")},
                "scales": len(used),
                "theta": power(used, "theta"),
                "one_minus_Psi": power(used, "one_minus_Psi"),
            }
        )
    return found


def power(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Slope of log y against log alpha, from at least three scales."""
    if len(rows) < 3:
        return math.nan
    x, y = (np.log([row[key] for row in rows]) for key in ("alpha", name))
    return float(np.polyfit(x, y, 1)[0])


def limits(task: tuple[int, int]) -> list[str]:
    """Verdicts of the statements about the limit of small scales, by name of the judgement."""
    kind, seed = task
    # the statements choose scales of their own
    problem = replace(POPULATIONS[kind].problem(seed), tolerance=1e-8)
    with np.errstate(all="ignore"):
        return [REGISTRY[name].check(problem).judgement.name for name in IN_THE_LIMIT]


# ---------------------------------------------------------------------------------------- judged


def of_problems(found: Sequence[Mapping[str, Any]], place: str, name: str) -> Estimate:
    """Mean over problems of the mean over both classes."""
    groups: dict[tuple[Any, Any], list[float]] = {}
    for row in found:
        if row["place"] == place:
            groups.setdefault((row["population"], row["seed"]), []).append(row[name])
    return mean([np.mean(values) for values in groups.values()])


def of_classes(found: Sequence[Mapping[str, Any]], *, first: bool) -> list[Mapping[str, Any]]:
    """Powers at the onset, of the class with the larger sum or of the other."""
    return [
        row
        for row in found
        if row["place"] == "onset"
        and (row["X_over_larger"] == 1.0) == first
        and math.isfinite(row["theta"])
    ]


def statistics(found: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """What the lines are about."""
    other = of_classes(found, first=False)
    return {
        "theta at T_+": of_problems(found, "T_class", "theta"),
        "1 - Psi at T_+": of_problems(found, "T_class", "one_minus_Psi"),
        "theta at T": of_problems(found, "T", "theta"),
        "1 - Psi at T": of_problems(found, "T", "one_minus_Psi"),
        "X/(4 n x_max)": of_problems(found, "T", "predicted_at_T"),
        "theta at the onset, first class": mean(
            [row["theta"] for row in of_classes(found, first=True)]
        ),
        "theta at the onset, other class": mean([row["theta"] for row in other]),
        "X of the other class over the larger": mean([row["X_over_larger"] for row in other]),
        "theta at the onset, other class, less its X over the larger": mean(
            [row["theta"] - row["X_over_larger"] for row in other]
        ),
    }


def judge(
    found: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, int]], scope: Scope
) -> list[Criterion]:
    """The lines of criterion.md."""
    numbers = statistics(found)

    def line(by: Any, number: str, name: str, threshold: float) -> Criterion:
        value, low, high = numbers[name]
        criterion: Criterion = by(number, f"mean power, {name}", value, threshold, (low, high))
        return criterion

    def within(number: str, name: str, low: float, high: float) -> Iterator[Criterion]:
        yield line(common.at_least, number, name, low)
        yield line(common.at_most, number, name, high)

    fails = sum(counts.get(Judgement.FAILS.name, 0) for counts in verdicts.values())
    scoped = min(counts.get(Judgement.HOLDS.name, 0) for counts in verdicts.values())
    problems = len({(row["population"], row["seed"]) for row in found})
    onset = min(len(of_classes(found, first=first)) for first in (True, False))
    return [
        *within("C1", "theta at T_+", 0.48, 0.52),
        *within("C2", "1 - Psi at T_+", 0.96, 1.04),
        line(common.at_least, "C3", "theta at T", 0.45),
        line(common.at_most, "C4", "theta at T", 0.125),
        common.at_most("C5", "verdicts that fail in the limit", fails, 0),
        common.enough("C5", "fewest verdicts in scope", scoped + fails, scope.verdicts),
        *within("C6", "theta at the onset, first class", 0.85, 1.15),
        *within("C7", "theta at the onset, other class, less its X over the larger", -0.1, 0.1),
        line(common.at_least, "C8", "theta at the onset, other class", 0.85),
        common.enough("C9", "problems", problems, scope.problems),
        common.enough("C9", "fewest powers at the onset", onset, scope.powers),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Angles against alpha at the three times, and the powers of every problem and class."""
    rows = common.read_rows(results / "angles.csv")
    figure, ((left, right),) = common.new_figure(1, 2, width=3.6, height=3.3)
    for (place, name), colour, marker in zip(
        TIMES.items(), (VERMILION, BLUE, GREEN), "s^o", strict=True
    ):
        mine = [row for row in rows if row["place"] == place]
        alphas = np.array(sorted({row["alpha"] for row in mine}))
        if place == "onset":
            alphas = alphas[1:]  # the floor is not of the fit
        middle, low, high = np.array(
            [
                np.quantile([row["theta"] for row in mine if row["alpha"] == a], [0.5, 0.1, 0.9])
                for a in alphas
            ]
        ).T
        left.fill_between(alphas, low, high, color=colour, alpha=0.18, linewidth=0)
        left.plot(alphas, middle, marker + "-", color=colour, markersize=3.5, label=f"at {name}")
        steepness = {"T": 0.125, "T_class": 0.5, "onset": 1.0}[place]
        # through the median in the middle of the range, where no end bends it
        k = alphas.size // 2
        left.plot(
            alphas, middle[k] * (alphas / alphas[k]) ** steepness, ":", color=BLACK, linewidth=0.9
        )
    left.set(xscale="log", yscale="log", xlabel=r"scale of the initialisation $\alpha$")
    left.set_ylabel(r"largest angle $\theta$ (median, 10 to 90 %)")
    left.legend(loc="lower right", title=r"dotted: powers 1/8, 1/2, 1")
    draw_powers(right, common.read_rows(results / "powers.csv"))
    return figure


def draw_powers(ax: Any, found: Sequence[Mapping[str, Any]]) -> None:
    """Measured powers against what docs/theory.md gives."""
    at_onset = {first: of_classes(found, first=first) for first in (True, False)}
    rows: tuple[tuple[str, Any, Any, Any, str], ...] = (
        *(
            (f"at {TIMES[place]}", [r for r in found if r["place"] == place], expected, *look)
            for place, expected, look in (
                ("T", lambda r: r["predicted_at_T"], (VERMILION, "s")),
                ("T_class", lambda _: 0.5, (BLUE, "^")),
            )
        ),
        ("at the onset, first class", at_onset[True], lambda _: 1.0, GREEN, "o"),
        ("at the onset, other class", at_onset[False], lambda r: r["X_over_larger"], BLACK, "x"),
    )
    for label, mine, expected, colour, marker in rows:
        x = [expected(row) for row in mine]
        ax.plot(
            x, [row["theta"] for row in mine], marker, color=colour, markersize=3.5, label=label
        )
    ax.plot([0.0, 1.1], [0.0, 1.1], color="0.6", linewidth=0.8, zorder=0)
    ax.set(xlabel=r"power expected as $\alpha\to 0$", ylabel=r"power of $\alpha$ in $\theta$")
    ax.legend(loc="upper left")


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    tasks = [
        (kind, FIRST_SEED + k) for kind in range(scope.populations) for k in range(scope.seeds)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for each in pool.map(angles, tasks) for row in each]
        common.note("angles measured")
        found = powers(rows)
        judgements = zip(*pool.map(limits, tasks), strict=True)
    verdicts = {
        name: {judgement: each.count(judgement) for judgement in sorted(set(each))}
        for name, each in zip(IN_THE_LIMIT, judgements, strict=True)
    }
    common.save_rows(chosen.output / "angles.csv", rows)
    common.save_rows(chosen.output / "powers.csv", found)
    common.save_figures(chosen.output, FIGURES)
    settings = {"populations": [repr(each) for each in POPULATIONS], **scope._asdict()}
    measured = {"powers": statistics(found), "verdicts_in_the_limit": verdicts}
    criteria = judge(found, verdicts, scope)
    common.record(chosen, "exponents_of_the_angle", settings, measured, criteria, ["sympy"])


if __name__ == "__main__":
    main()
