"""Alignment at the stop, at the end of phase 1, and in the limit; see criterion.md."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.inference import Estimate, bootstrap, mean
from overalign.plots.style import BLACK, BLUE, GREEN, PURPLE, VERMILION
from validation import common
from validation.common import Criterion, FloatArray
from validation.where_bounds_speak.run import share_of

POPULATIONS = tuple(
    oa.Population(n=n, dimension=d, kappa=kappa, width=width, tolerance=1e-9)
    for n, d, kappa, width in ((8, 10, 1.2, 16), (12, 20, 1.5, 64), (16, 30, 2.0, 32))
)
ALPHAS = (0.1, 0.01, 1e-3, 1e-4, 1e-6)
ETAS = (0.6, 0.4, 0.2, 0.05, 0.01, 1e-3)
CLASSES: tuple[tuple[int, Any], ...] = ((1, "positive"), (-1, "negative"))
TIMES_OF_SPREAD = 60


class Scope(NamedTuple):
    """How large the study is."""

    populations: int
    first_seed: int
    seeds: int
    stops: int
    problems: int


FULL = Scope(3, 4000, 12, 500, 30)
QUICK = Scope(1, 4900, 3, 40, 3)


# -------------------------------------------------------------------------------------- measured


def stops(task: tuple[int, int]) -> list[dict[str, Any]]:
    """Every stop of one problem: both classes, all scales and risks."""
    kind, seed = task
    population = POPULATIONS[kind]
    problem = population.problem(seed)
    rows = []
    for label, over in CLASSES:
        limits = oa.limit_alignment(problem.sample, ETAS, label).cone_angle
        for alpha in ALPHAS:
            runs = [
                oa.solve(
                    problem.sample,
                    problem.network,
                    math.log(alpha),
                    oa.stop_at_risk(eta, over),
                    tolerance=population.tolerance,
                )
                for eta in ETAS
            ]
            before = phase_1(runs[-1], label)
            for eta, run, limit in zip(ETAS, runs, limits, strict=True):
                key = {"population": kind, "seed": seed, "label": label, "alpha": alpha, "eta": eta}
                rows.append(key | before | at_stop(run, label, float(limit), before["t_a"]))
    return rows


def of_class(run: oa.Trajectory, times: Any, label: int) -> oa.ClassAlignment:
    """Alignment of a class at some times."""
    aligned = oa.alignment_of(run.at(times), run.sample)
    return aligned.positive if label == 1 else aligned.negative


def phase_1(run: oa.Trajectory, label: int) -> dict[str, float]:
    """Psi at the candidates for the end of phase 1, and t_a of (3.2); nan where there is none."""
    phases = oa.phase_times(run)
    transient = phases.T_plus if label == 1 else phases.T_minus
    places = {"T": phases.T, "T_class": transient, "onset": phases.onset}
    row = {
        f"Psi_{name}": float(of_class(run, time, label).Psi) if time <= run.time else math.nan
        for name, time in places.items()
    }
    row["cone_onset"] = math.acos(row["Psi_onset"])
    return row | {"t_a": max(phases.t_1, transient) if math.isfinite(phases.t_1) else math.nan}


def at_stop(run: oa.Trajectory, label: int, limit: float, t_a: float) -> dict[str, Any]:
    """Psi at a stop, its limit, and the right side of (3.2)."""
    of = of_class(run, run.time, label)
    row = {
        "reached": int(run.is_successful),
        "Psi": float(of.Psi),
        "cone": float(of.cone_angle),
        "Psi_limit": math.cos(limit),
        # a difference of cosines without its cancellation
        "Psi_less_limit": 2.0
        * math.sin(0.5 * (limit + float(of.cone_angle)))
        * math.sin(0.5 * (limit - float(of.cone_angle))),
        "bound": math.nan,
    }
    if t_a < run.time:
        row["bound"] = inherited(run, label, t_a)
    return row


def inherited(run: oa.Trajectory, label: int, t_a: float) -> float:
    """min(cos max_j theta_j(t_a), sqrt(1 - rho^2)), rho the largest spread since t_a."""
    start = oa.alignment_of(run.at(t_a), run.sample)
    lives = start.is_live & (run.network.sign == label)
    times = np.linspace(t_a, run.time, TIMES_OF_SPREAD)
    rho = float(of_class(run, times, label).residual_spread(run.loss).max())
    theta = float(start.angle[lives].max())
    return min(math.cos(theta), math.sqrt((1.0 - rho) * (1.0 + rho)))


# ---------------------------------------------------------------------------------------- judged


def of_problems(rows: Sequence[Mapping[str, Any]], value: Any) -> Estimate:
    """Mean over problems of the mean of a value over their rows; scales without it are left out."""
    groups: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        number = float(value(row))
        if math.isfinite(number):
            groups.setdefault((row["population"], row["seed"]), []).append(number)
    return mean([np.mean(values) for values in groups.values()])


def at(rows: Sequence[Mapping[str, Any]], **chosen: float) -> list[Mapping[str, Any]]:
    """The rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in chosen.items())]


def differences(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, float, Estimate]]:
    """Mean |Psi(t_eta) - Psi(t_alpha)| for T, T_+ and the onset, every scale and risk."""
    for name in ("T", "T_class", "onset"):
        for alpha in ALPHAS:
            for eta in ETAS:
                found = of_problems(
                    at(rows, alpha=alpha, eta=eta),
                    lambda row, name=name: abs(row["Psi"] - row[f"Psi_{name}"]),
                )
                yield name, alpha, eta, found


def falling(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Share of the cases at alpha <= 1e-3 in which Psi falls over all risks, with its interval."""
    curves: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if row["alpha"] <= 1e-3:
            key = tuple(row[name] for name in ("population", "seed", "label", "alpha"))
            curves.setdefault(key, []).append(row["cone"])
    hits = sum(bool((np.diff(cones) > 0).all()) for cones in curves.values())
    return share_of(hits, len(curves))


def power_of_gap(rows: Sequence[Mapping[str, Any]], eta: float) -> Estimate:
    """Power of alpha of the mean gap to the limit, resampled over problems."""
    alphas = (0.01, 1e-3, 1e-4)
    keys = sorted({(row["population"], row["seed"]) for row in rows})
    table: FloatArray = np.array(
        [
            [
                np.mean([abs(row["Psi_less_limit"]) for row in at(here, alpha=alpha, eta=eta)])
                for alpha in alphas
            ]
            for here in ([r for r in rows if (r["population"], r["seed"]) == key] for key in keys)
        ]
    )

    def power(gaps: FloatArray) -> float:
        return float(np.polyfit(np.log(alphas), np.log(gaps.mean(axis=0)), 1)[0])

    return bootstrap(power, table, seed=0)


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    lines = [*inheritance_lines(rows, scope)]
    for number, name, alphas, eta in (
        ("C2", "T", (0.01, 1e-3, 1e-6), 0.05),
        ("C3", "onset", (0.01, 1e-3, 1e-6), 0.05),
        ("C4", "onset", (0.01, 1e-3, 1e-6), 1e-3),
    ):
        for place, alpha, risk, (value, low, high) in differences(rows):
            if place == name and alpha in alphas and risk == eta:
                statement = f"mean |Psi(t_eta) - Psi({name})|, eta = {eta:g}, alpha = {alpha:g}"
                lines.append(common.at_most(number, statement, value, 0.01, (low, high)))
    share, low, high = falling(rows)
    lines.append(
        common.at_least("C5", "share in which Psi falls with eta", share, 0.9, (low, high))
    )
    rise, low, high = of_problems(
        at(rows, alpha=0.1, eta=0.4), lambda row: row["Psi"] - row["Psi_onset"]
    )
    statement = "mean Psi(t_eta) - Psi(onset), alpha = 0.1, eta = 0.4"
    lines.append(common.at_least("C6", statement, rise, 0.1, (low, high)))
    return [*lines, *limit_lines(rows), *size_lines(rows, scope)]


def inheritance_lines(rows: Sequence[Mapping[str, Any]], scope: Scope) -> Iterator[Criterion]:
    """C1."""
    scoped = [row for row in rows if math.isfinite(row["bound"]) and row["reached"]]
    violations = sum(row["Psi"] < row["bound"] - 1e-7 for row in scoped)
    yield common.at_most("C1", "stops that violate (3.2)", violations, 0)
    yield common.enough("C1", "stops in the scope of (3.2)", len(scoped), scope.stops)


def limit_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[Criterion]:
    """C7 and C8."""
    gap = max(abs(row["Psi_less_limit"]) for row in rows if row["alpha"] <= 1e-4)
    yield common.at_most("C7", "largest |Psi - Psi_0(eta)|, alpha <= 1e-4", gap, 1e-4)
    for eta in (0.05, 1e-3):
        value, low, high = power_of_gap(rows, eta)
        statement = f"power of alpha in |Psi - Psi_0|, eta = {eta:g}"
        yield common.at_least("C7", statement, value, 0.8, (low, high))
        yield common.at_most("C7", statement, value, 1.2, (low, high))
    ratio, low, high = of_problems(
        at(rows, alpha=1e-3, eta=0.05), lambda row: row["cone_onset"] / row["cone"]
    )
    statement = "cone at the onset over that at the stop, alpha = 1e-3, eta = 0.05"
    yield common.at_most("C8", statement, ratio, 0.5, (low, high))


def size_lines(rows: Sequence[Mapping[str, Any]], scope: Scope) -> Iterator[Criterion]:
    """C9."""
    last = at(rows, eta=ETAS[-1])
    problems = len({(row["population"], row["seed"]) for row in rows})
    yield common.enough("C9", "problems", problems, scope.problems)
    share = float(np.mean([row["reached"] for row in last]))
    yield common.enough("C9", "share that reaches eta = 1e-3", share, 0.95)


# ----------------------------------------------------------------------------------------- drawn


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean half-angles and differences with intervals, for every scale and risk."""
    return [
        {"t_alpha": name, "alpha": alpha, "eta": eta}
        | dict(zip(("difference", "low", "high"), found, strict=True))
        for name, alpha, eta, found in differences(rows)
    ]


def draw(results: Path) -> Any:
    """Psi against the stopping risk, and its difference from the end of phase 1."""
    rows = common.read_rows(results / "stops.csv")
    figure, ((left, right),) = common.new_figure(1, 2, width=3.6, height=3.3)
    looks = zip((PURPLE, VERMILION, GREEN, BLUE), "osD^", (0.1, 0.01, 1e-3, 1e-6), strict=True)
    for colour, marker, alpha in looks:
        curve = np.array(
            [of_problems(at(rows, alpha=alpha, eta=e), lambda r: r["Psi"]) for e in ETAS]
        )
        left.fill_between(ETAS, *(1.0 - curve[:, 1:].T), color=colour, alpha=0.16, linewidth=0)
        label = rf"$\alpha=10^{{{math.log10(alpha):.0f}}}$"
        left.plot(ETAS, 1.0 - curve[:, 0], marker + "-", color=colour, markersize=3.5, label=label)
        onset = of_problems(at(rows, alpha=alpha, eta=0.05), lambda row: row["Psi_onset"]).value
        left.plot(1.1, 1.0 - onset, marker, color=colour, markersize=5, fillstyle="none")
    limit = [of_problems(at(rows, alpha=1e-6, eta=e), lambda r: r["Psi_limit"]).value for e in ETAS]
    left.plot(ETAS, 1.0 - np.array(limit), ":", color=BLACK, label=r"limit $\Psi_0(\eta)$")
    left.set(xscale="log", yscale="log", xlabel=r"stopping risk $\eta$ (open: at the onset)")
    left.set_ylabel(r"$1-\Psi$, mean over problems")
    left.invert_xaxis()
    left.legend(loc="lower right")
    draw_differences(right, common.read_rows(results / "differences.csv"))
    return figure


def draw_differences(ax: Any, found: Sequence[Mapping[str, Any]]) -> None:
    """Mean |Psi(t_eta) - Psi(t_alpha)| at alpha = 1e-3, for the three ends of phase 1."""
    names = {"T": "the window $T$", "T_class": r"$T_+$", "onset": "the onset of fitting"}
    for (name, words), colour, marker in zip(
        names.items(), (VERMILION, BLUE, GREEN), "s^o", strict=True
    ):
        mine = [row for row in found if row["t_alpha"] == name and row["alpha"] == 1e-3]
        x, middle, low, high = (
            [row[key] for row in mine] for key in ("eta", "difference", "low", "high")
        )
        ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        ax.plot(x, middle, marker + "-", color=colour, markersize=3.5, label=words)
    ax.axhline(0.01, color=BLACK, linewidth=0.8, linestyle="--")
    ax.set(xscale="log", yscale="log", xlabel=r"stopping risk $\eta$")
    ax.set_ylabel(r"mean $|\Psi(t_\eta)-\Psi(t_\alpha)|$, $\alpha=10^{-3}$")
    ax.invert_xaxis()
    ax.legend(title=r"$t_\alpha$ is")


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    seeds = range(scope.first_seed, scope.first_seed + scope.seeds)
    tasks = [(kind, seed) for kind in range(scope.populations) for seed in seeds]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for each in pool.map(stops, tasks) for row in each]
    common.save_rows(chosen.output / "stops.csv", rows)
    common.save_rows(chosen.output / "differences.csv", table(rows))
    common.save_figures(chosen.output, FIGURES)
    scoped = [row for row in rows if math.isfinite(row["bound"]) and row["reached"]]
    measured = {
        "smallest_slack_of_3_2": min(row["Psi"] - row["bound"] for row in scoped),
        "median_bound_over_Psi": float(np.median([row["bound"] / row["Psi"] for row in scoped])),
        "mean_Psi": {
            f"alpha = {alpha:g}, eta = {eta:g}": of_problems(
                at(rows, alpha=alpha, eta=eta), lambda row: row["Psi"]
            )
            for alpha in ALPHAS
            for eta in ETAS
        },
    }
    settings = {"populations": [repr(each) for each in POPULATIONS], **scope._asdict()}
    common.record(chosen, "alignment_at_the_stop", settings, measured, judge(rows, scope))


if __name__ == "__main__":
    main()
