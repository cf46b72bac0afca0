"""Time to fit against the scale of the initialisation, and runs that never fit: criterion.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.inference import Estimate, mean
from overalign.plots.style import BLUE, GREEN, VERMILION
from validation import common
from validation.common import Criterion
from validation.where_bounds_speak.run import share_of

POPULATIONS = tuple(
    oa.Population(n=n, dimension=d, kappa=kappa, width=width)
    for n, d, kappa, width in (
        *((8, 10, 1.2, 16), (12, 20, 1.5, 64), (16, 30, 2.0, 32), (12, 20, 1.5, 8)),
    )
)
KINDS = ("independent", "paired")
ALPHAS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 0.01, 0.1, 0.3, 1.0)
LARGE = (1.0, 2.0, 4.0)
FALLS_UP_TO = 0.3
SLOPE = (1e-12, 1e-4)
RECORDS = {"digits": "u_curve_digits", "synthetic": "u_curve_synthetic"}
DEGREE = 3
TICKS = {"epochs": (40, 60, 100, 150), "flow_time": (50, 100, 200, 500, 1000)}
LARGEST_C = 4  # its binary logarithm


class Scope(NamedTuple):
    """How large the study is."""

    populations: int
    first_seed: int
    timed: int  # seeds of each population
    counted: int
    fewest: tuple[int, int, int]


FULL = Scope(4, 5000, 10, 100, (40, 380, 14))
QUICK = Scope(1, 5900, 5, 5, (5, 5, 14))


# -------------------------------------------------------------------------------------- measured


def runs(
    scope: Scope, seeds: int, alphas: Sequence[float], tolerance: float
) -> list[dict[str, Any]]:
    """Time and outcome of every problem, initialisation and scale."""
    rows = []
    for number, population in enumerate(POPULATIONS[: scope.populations]):
        chosen = range(scope.first_seed, scope.first_seed + seeds)
        samples = [population.problem(seed).sample for seed in chosen]
        norms = [
            min(float(np.linalg.norm(sample.class_sum(label))) for label in (1, -1))
            for sample in samples
        ]
        for kind in KINDS:
            size = population.width, population.dimension
            networks = [oa.Network.random(*size, seed, paired=kind == "paired") for seed in chosen]
            found = oa.solve_many(
                *(samples, networks, np.log(alphas), oa.stop_at_risk(population.eta)),
                tolerance=tolerance,
                keep_directions=False,
            )
            for (k, a), time in np.ndenumerate(found.time.values):
                outcome = str(found.outcome.values[k, a])
                key = {"population": number, "seed": chosen[k], "initialisation": kind}
                # time in units of 1 / (beta ||x||) of the class that is fitted last
                scaled = float(time) * norms[k] / (2.0 * population.n)
                key |= {"alpha": alphas[a], "scaled_time": scaled, "outcome": outcome}
                # a sample at f = 0 has the risk log(2) / n
                risk = float(found.risk.values[k, a])
                rows.append(key | {"samples_at_zero": risk * population.n / math.log(2.0)})
        common.note(f"population {number}: {seeds} problems")
    return rows


def training() -> list[dict[str, Any]]:
    """The recorded runs of real training with the labels as given."""
    rows = []
    for name, study in RECORDS.items():
        for row in common.read_rows(common.ROOT / "validation" / study / "results" / "runs.csv"):
            if row["task"] == "given":
                log2_c = float(row["log2_output_multiplier"])
                rows.append(
                    {
                        **{"data": name, "seed": row["seed"], "log2_c": log2_c},
                        **{"outcome": row["outcome"], "epochs": row["epochs"]},
                        "flow_time": row["epochs"] * 2.0 ** (log2_c * (2.0 / DEGREE - 1.0)),
                    }
                )
    return rows


# ---------------------------------------------------------------------------------------- judged


def curves(rows: Sequence[Mapping[str, Any]], kind: str) -> list[dict[float, float]]:
    """Scaled time by alpha of every problem that reached its stop at every scale."""
    problems: dict[Any, dict[float, float]] = {}
    for row in rows:
        if row["initialisation"] == kind and has_reached(row):
            key = row["population"], row["seed"]
            problems.setdefault(key, {})[row["alpha"]] = row["scaled_time"]
    return [curve for curve in problems.values() if len(curve) == len(ALPHAS)]


def has_reached(row: Mapping[str, Any]) -> bool:
    """Whether the stop was reached, or the start was past it."""
    return row["outcome"] in (oa.Outcome.REACHED.name, oa.Outcome.ALREADY_THERE.name)


def falling(rows: Sequence[Mapping[str, Any]], kind: str) -> Estimate:
    """Share of the problems in which the time falls at every step of alpha."""
    found = curves(rows, kind)
    steps = [[curve[alpha] for alpha in ALPHAS if alpha <= FALLS_UP_TO] for curve in found]
    return Estimate(*share_of(sum(bool((np.diff(each) < 0).all()) for each in steps), len(found)))


def slope(rows: Sequence[Mapping[str, Any]], kind: str) -> Estimate:
    """Mean of the scaled time per unit of log(1 / alpha), between two small scales."""
    smaller, larger = SLOPE
    folds = float(np.log(larger / smaller))
    return mean([(curve[smaller] - curve[larger]) / folds for curve in curves(rows, kind)])


def stuck(rows: Sequence[Mapping[str, Any]], kind: str) -> Estimate:
    """Share of the problems with a run at a large scale that does not reach its stop."""
    problems: dict[Any, bool] = {}
    for row in rows:
        if row["initialisation"] == kind:
            key = row["population"], row["seed"]
            problems[key] = problems.get(key, False) or not has_reached(row)
    return Estimate(*share_of(sum(problems.values()), len(problems)))


def correlation(rows: Sequence[Mapping[str, Any]], data: str, name: str) -> Estimate:
    """Mean over seeds of Spearman's correlation with c, over the trained runs with c <= 1."""
    from scipy.stats import spearmanr

    seeds: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        if row["data"] == data and row["log2_c"] <= 0 and row["outcome"] == "REACHED":
            seeds.setdefault(row["seed"], []).append((row["log2_c"], row[name]))
    return mean([float(spearmanr(*zip(*pairs, strict=True)).statistic) for pairs in seeds.values()])


def missed(rows: Sequence[Mapping[str, Any]], data: str) -> Estimate:
    """Share of the runs at the largest c that miss the target."""
    last = [row for row in rows if row["data"] == data and row["log2_c"] == LARGEST_C]
    return Estimate(*share_of(sum(row["outcome"] != "REACHED" for row in last), len(last)))


def judge(
    timed: Sequence[Mapping[str, Any]],
    counted: Sequence[Mapping[str, Any]],
    trained: Sequence[Mapping[str, Any]],
    scope: Scope,
) -> list[Criterion]:
    """The lines of criterion.md."""
    lines = []

    def line(by: Any, number: str, statement: str, found: Estimate, threshold: float) -> None:
        lines.append(by(number, statement, found.value, threshold, (found.low, found.high)))

    for kind in KINDS:
        statement = f"{kind}: share in which the time falls with alpha"
        line(common.at_least, "C1", statement, falling(timed, kind), 0.9)
    for kind in KINDS:
        found, statement = slope(timed, kind), f"{kind}: time per log(1/alpha), times beta ||x||"
        line(common.at_least, "C2", statement, found, 0.95)
        line(common.at_most, "C2", statement, found, 1.05)
    for number, kind in zip(("C3", "C4"), KINDS, strict=True):
        statement = f"{kind}: share of problems stuck at alpha >= 1"
        line(common.at_least, number, statement, stuck(counted, kind), 0.01)
    for number, name in (("C5", "epochs"), ("C6", "flow_time")):
        for data in RECORDS:
            statement = f"{data}: mean correlation of {name.replace('_', ' ')} with c"
            line(common.at_most, number, statement, correlation(trained, data, name), -0.5)
    for data in RECORDS:
        statement = f"{data}: share that misses the target at c = 2^4"
        line(common.at_least, "C7", statement, missed(trained, data), 0.01)
    return [*lines, *size_lines(timed, counted, trained, scope)]


def size_lines(
    timed: Sequence[Mapping[str, Any]],
    counted: Sequence[Mapping[str, Any]],
    trained: Sequence[Mapping[str, Any]],
    scope: Scope,
) -> Iterator[Criterion]:
    """C8."""
    sizes = (
        ("problems with times", min(len(curves(timed, kind)) for kind in KINDS)),
        ("problems with counts", len({(row["population"], row["seed"]) for row in counted})),
        ("seeds of real training", len({row["seed"] for row in trained})),
    )
    for (statement, size), fewest in zip(sizes, scope.fewest, strict=True):
        yield common.enough("C8", statement, size, fewest)


def abandoned(counted: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many stuck runs end at the risk of a whole number of samples at which f = 0."""
    at_zero = [row["samples_at_zero"] for row in counted if not has_reached(row)]
    whole = [abs(number - round(number)) < 1e-3 and round(number) > 0 for number in at_zero]
    return {"stuck": len(at_zero), "stuck_at_the_risk_of_samples_at_zero": sum(whole)}


def counts(
    counted: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, int]]:
    """How many runs ended how."""
    found: dict[str, dict[str, int]] = {}
    labelled = [
        *((f"{row['initialisation']}, alpha = {row['alpha']:g}", row) for row in counted),
        *((f"{row['data']}, c = 2^{row['log2_c']:g}", row) for row in trained),
    ]
    for label, row in labelled:
        of = found.setdefault(label, {})
        of[row["outcome"]] = of.get(row["outcome"], 0) + 1
    return found


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Time to the stop against alpha in the model; epochs and flow time against c in training."""
    timed = common.read_rows(results / "times.csv")
    trained = common.read_rows(results / "training.csv")
    figure, ((left, middle, right),) = common.new_figure(1, 3, width=2.5, height=2.7)
    alphas = np.array(ALPHAS)
    for kind, colour, marker in zip(KINDS, (VERMILION, BLUE), "ox", strict=True):
        each = np.array([[curve[alpha] for alpha in ALPHAS] for curve in curves(timed, kind)])
        centre, low, high = np.quantile(each, [0.5, 0.1, 0.9], axis=0)
        left.fill_between(alphas, low, high, color=colour, alpha=0.16, linewidth=0)
        left.plot(alphas, centre, marker, color=colour, markersize=4, label=kind)
    anchor = centre[ALPHAS.index(1e-8)]
    left.plot(alphas, anchor - np.log(alphas / 1e-8), color="0.4", linewidth=0.9, label="slope 1")
    left.set(xscale="log", xlabel=r"scale of the initialisation $\alpha$")
    left.set_ylabel(r"$t_\eta\,\beta\,\min\|x_\pm\|$ (10, 50, 90 %)")
    left.legend()
    for ax, name, label in (
        (middle, "epochs", "epochs to 99 %"),
        (right, "flow_time", r"epochs $\times\,c^{2/L-1}$"),
    ):
        for data, colour, marker in zip(RECORDS, (GREEN, BLUE), "o^", strict=True):
            here = [r for r in trained if r["data"] == data and r["outcome"] == "REACHED"]
            x = sorted({row["log2_c"] for row in here})
            values = [mean([r[name] for r in here if r["log2_c"] == c]) for c in x]
            centre, low, high = np.array(values).T
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            ax.plot(x, centre, marker + "-", color=colour, markersize=3.5, label=data)
        ax.set(yscale="log", xlabel=r"$\log_2 c$", ylabel=label)
        ax.set_yticks(*zip(*((tick, f"{tick:g}") for tick in TICKS[name]), strict=True))
        ax.minorticks_off()
    right.legend(title="real training")
    return figure


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    timed = runs(scope, scope.timed, ALPHAS, 1e-6)
    counted = runs(scope, scope.counted, LARGE, 1e-4)
    trained = training()
    tables = {"times": timed, "large_scales": counted, "training": trained}
    for name, table in tables.items():
        common.save_rows(chosen.output / f"{name}.csv", table)
    common.save_figures(chosen.output, FIGURES)
    settings = {"populations": [repr(each) for each in POPULATIONS], **scope._asdict()}
    criteria = judge(timed, counted, trained, scope)
    measured = {"outcomes": counts(counted, trained), "stuck_runs": abandoned(counted)}
    common.record(chosen, "time_to_fit", settings, measured, criteria, ["xarray"])


if __name__ == "__main__":
    main()
