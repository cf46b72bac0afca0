"""Where bounds speak, and how the constants move with the problem; see criterion.md."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.observation import Population, Problem
from overalign.statements import REGISTRY
from overalign.verdicts import Judgement, Verdict
from validation import common
from validation.common import Criterion, FloatArray

BASE = Population(n=12, dimension=20, width=64, kappa=1.5, separability=0.0, eta=0.05)
FACTORS: dict[str, tuple[float, ...]] = {
    "kappa": (1.0, 1.5, 2.0, 3.0, 5.0),
    "dimension": (5, 10, 20, 50),
    "n": (8, 12, 24, 48),
    "separability": (0.0, 0.05, 0.1, 0.2),
    "width": (16, 64, 256),
}
DECADES = (1, 2, 3, 4, 6, 8, 12, 20, 50, 100, 200, 300)
POWER_DECADES = (6, 8, 10, 12)
LIMIT = -300.0  # log alpha at which t_1 no longer depends on it
LEVELS = (0.5, 0.9)
ABOUT_THE_FLOW = (
    *("balancedness", "gram_conservation", "switches_at_most_once", "norm_growth"),
    *("norm_in_the_window", "output_in_the_window", "directional_error_literature"),
    *("directional_error_logistic", "directional_error_of_a_class", "phase1_alignment"),
    *("phase1_alignment_logistic", "phase1_alignment_of_a_class", "misalignment_in_the_window"),
    *("sorting_time", "angle_at_the_transient_time", "half_angle", "conic_hull"),
    *("conic_hull_after_sorting", "inheritance", "stopping_time_at_least"),
    *("stopping_time_at_most", "stopping_time_by_the_rate"),
    *("over_fitting_at_most", "over_fitting_lipschitz"),
)
THEOREM = "the theorem at T"
THRESHOLDS = ("zeta_lit_0", "zeta_log_0", "t_1_is_T", "bound_is_0.5", "bound_is_0.9")
CONSTANTS = ("constant", "measured_constant")


class Scope(NamedTuple):
    """How large the study is."""

    settings: tuple[tuple[str, float], ...]
    seeds: int
    decades: tuple[int, ...]
    fewest: int


ALL = tuple(
    (factor, value)
    for factor, values in FACTORS.items()
    for value in values
    if value != getattr(BASE, factor)
)
FULL = Scope((("base", 0.0), *ALL), 24, DECADES, 20)
QUICK = Scope((("base", 0.0), ("kappa", 3.0), ("width", 16)), 3, (2, 4, 20), 3)


def population(factor: str, value: float) -> Population:
    """The base with one factor changed."""
    if factor == "base":
        return BASE
    of_whole_numbers = isinstance(getattr(BASE, factor), int)
    changed: Any = {factor: int(value) if of_whole_numbers else value}
    return replace(BASE, **changed)


# ------------------------------------------------------------------------------- who says something


def verdicts(task: tuple[int, int]) -> list[dict[str, Any]]:
    """Every statement on one problem of the base at one scale."""
    seed, decade = task
    problem = replace(BASE, log_alpha=-decade * math.log(10.0)).problem(seed)
    rows = [row_of_verdict(REGISTRY[name].check(problem), seed, decade) for name in ABOUT_THE_FLOW]
    return [*rows, row_of_theorem(problem, seed, decade)]


def row_of_verdict(verdict: Verdict, seed: int, decade: int) -> dict[str, Any]:
    """What is kept of a verdict."""
    return {
        "statement": verdict.statement,
        "decade": decade,
        "seed": seed,
        "verdict": verdict.judgement.name,
        "tightness": verdict.tightness,
    }


def row_of_theorem(problem: Problem, seed: int, decade: int) -> dict[str, Any]:
    """Theorem 5.1 at T with the t_1 of all neurons; tightness: the bound over the smallest psi."""
    phases, zeta = problem.phases, oa.zeta(problem.sample, problem.network, problem.log_alpha)
    speaks = bool(phases.t_1 < phases.T) and zeta > 0.0
    row = {"statement": THEOREM, "decade": decade, "seed": seed, "tightness": math.nan}
    if not speaks:
        return row | {"verdict": Judgement.OUT_OF_SCOPE.name}
    bound = bound_at(problem, phases.T, phases.t_1)
    psi = smallest_psi(problem, problem.run.at(phases.T))
    kind = Judgement.HOLDS if psi >= bound - 1e-6 else Judgement.FAILS
    return row | {"verdict": kind.name, "tightness": bound / psi}


def bound_at(problem: Problem, time: float, t_1: float) -> float:
    """The tanh of Theorem 5.1 for the positive class."""
    root = math.sqrt(oa.zeta(problem.sample, problem.network, problem.log_alpha))
    rate = problem.facts(1)["class_norm"] * problem.beta
    return root * math.tanh(root * rate * (time - t_1))


def smallest_psi(problem: Problem, state: oa.Snapshot) -> float:
    """Over the live neurons of the positive class."""
    return float(np.cos(angles(problem, state)).min())


def angles(problem: Problem, state: oa.Snapshot) -> FloatArray:
    """Angles of the live neurons of the positive class to its mean."""
    aligned = oa.alignment_of(state, problem.sample)
    return np.asarray(aligned.angle[aligned.is_live & (problem.network.sign > 0)])


# --------------------------------------------------------------------------------------- thresholds


def thresholds(task: tuple[str, float, int]) -> dict[str, Any]:
    """Threshold scales and constants of one problem."""
    factor, value, seed = task
    problem = population(factor, value).problem(seed)
    facts = problem.facts(1)
    X, rate = facts["class_norm"], facts["class_norm"] * problem.beta
    t_1 = sorting_time(problem, rate)
    per_time = 4.0 * facts["n"] * facts["x_max"] / X  # folds of alpha per unit of X t
    lit = oa.log_alpha_where_zeta_vanishes(problem.sample, problem.network)
    found = {
        "zeta_lit_0": lit,
        "zeta_log_0": lit + math.log(8.0),
        "t_1_is_T": log_alpha_at(rate * t_1, per_time, problem),
    }
    for level in LEVELS:
        turned = rate * t_1 + math.atanh(level)
        found[f"bound_is_{level:g}"] = log_alpha_at(turned, per_time, problem)
    row: dict[str, Any] = {"factor": factor, "value": value, "seed": seed, "X_t_1": rate * t_1}
    row |= {"folds_per_X_t": per_time}
    row |= {name: log_alpha / math.log(10.0) for name, log_alpha in found.items()}
    for level in LEVELS:
        row[f"check_{level:g}"] = flow_at_threshold(problem, found[f"bound_is_{level:g}"])
    return row | constants(problem, t_1, rate)


def log_alpha_at(X_t: float, per_time: float, problem: Problem) -> float:
    """The scale at which T is a time, given as X t."""
    return -per_time * X_t - 0.5 * math.log(problem.network.width)


def sorting_time(problem: Problem, rate: float) -> float:
    """t_1 as alpha -> 0, of all live neurons."""
    for X_t in (10.0, 40.0, 70.0):  # at exp(-300) all is still tiny then
        run = oa.solve(problem.sample, problem.network, LIMIT, oa.stop_at_time(X_t / rate))
        t_1 = oa.phase_times(run).t_1
        if math.isfinite(t_1):
            return float(t_1)
    return math.nan


def flow_at_threshold(problem: Problem, log_alpha: float) -> float:
    """The bound at T with the t_1 of a flow at that scale; nan if t_1 comes after T."""
    here = replace(problem, log_alpha=log_alpha)
    folds = -log_alpha - 0.5 * math.log(here.network.width)
    T = folds / (4.0 * here.sample.n * here.sample.max_norm * here.beta)
    run = oa.solve(here.sample, here.network, log_alpha, oa.stop_at_time(T))
    t_1 = oa.phase_times(run).t_1
    return bound_at(here, T, t_1) if t_1 <= T else math.nan


def constants(problem: Problem, t_1: float, rate: float) -> dict[str, float]:
    """2 exp(X t_1), the largest angle at T_+ in its units, and the power of alpha."""
    scales, theta = np.array(POWER_DECADES) * -math.log(10.0), []
    for log_alpha in scales:
        folds = -log_alpha - 0.5 * math.log(problem.network.width)
        stop = oa.stop_at_time(folds / (2.0 * rate))
        run = oa.solve(problem.sample, problem.network, log_alpha, stop, tolerance=1e-10)
        theta.append(float(angles(problem, run.final).max()))
    unit = problem.network.width**0.25 * np.exp(0.5 * scales)
    power = float(np.polyfit(scales, np.log(theta), 1)[0])
    k = POWER_DECADES.index(10)
    names = ("width", "class_norm", "x_max", "W_max", "beta")
    given: dict[str, Any] = {name: problem.facts(1)[name] for name in names}
    given |= {"log_alpha": scales[k], "t_1": t_1}
    bound = oa.statements.angle_at_the_transient_time(**given)
    return {
        "constant": 2.0 * math.exp(rate * t_1),
        "measured_constant": theta[k] / unit[k],
        "measured_over_bound": theta[k] / bound,
        "power": power,
    }


# --------------------------------------------------------------------------------------- statistics


def tables(scope: Scope) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Verdicts [statement, scale, seed], and thresholds [setting, seed]."""
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})  # of the workers
    scales = [(seed, decade) for decade in scope.decades for seed in range(scope.seeds)]
    settings = [(*setting, seed) for setting in scope.settings for seed in range(scope.seeds)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        held = []
        for k, rows in enumerate(pool.map(verdicts, scales)):
            held += rows
            if k % scope.seeds == scope.seeds - 1:
                common.note(f"alpha = 1e-{scales[k][1]}")
        found = []
        for k, row in enumerate(pool.map(thresholds, settings)):
            found.append(row)
            if k % scope.seeds == scope.seeds - 1:
                common.note(f"{row['factor']} = {row['value']:g}")
    return held, found


def by_statement(held: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Counts for every statement and scale."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in held:
        groups.setdefault((row["statement"], row["decade"]), []).append(row)
    rows = []
    for (name, decade), group in groups.items():
        kinds = [row["verdict"] for row in group]
        tight = [row["tightness"] for row in group if row["verdict"] in ("HOLDS", "FAILS")]
        rows.append(
            {
                "statement": name,
                "decade": decade,
                "problems": len(group),
                "says_something": 1.0 - kinds.count("OUT_OF_SCOPE") / len(group),
                **{j.name.lower(): kinds.count(j.name) for j in Judgement},
                "median_tightness": float(np.median(tight)) if tight else math.nan,
            }
        )
    return rows


def by_setting(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Medians with intervals, for every setting."""
    rows = []
    for setting in dict.fromkeys((row["factor"], row["value"]) for row in found):
        here = [row for row in found if (row["factor"], row["value"]) == setting]
        row: dict[str, Any] = {"factor": setting[0], "value": setting[1], "problems": len(here)}
        for name in ("X_t_1", "folds_per_X_t", *THRESHOLDS, *CONSTANTS):
            median, low, high = median_of(column(here, name))
            row |= {name: median, f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"t_1_before_T_at_1e-3": float(np.mean(column(here, "t_1_is_T") >= -3))})
    return rows


def column(rows: Sequence[Mapping[str, Any]], name: str) -> FloatArray:
    """One column of a table."""
    return np.array([float(row[name]) for row in rows])


def median_of(values: FloatArray) -> tuple[float, float, float]:
    """Median with its bootstrap interval."""
    picks = np.random.default_rng(0).integers(values.size, size=(2000, values.size))
    low, high = np.quantile(np.median(values[picks], axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def share_of(hits: int, count: int) -> tuple[float, float, float]:
    """A share with Wilson's interval."""
    z, share = 1.959964, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    low = 0.0 if hits == 0 else centre - half
    return share, low, 1.0 if hits == count else centre + half


def levels_of(factor: str, found: Sequence[Mapping[str, Any]]) -> dict[float, Any]:
    """The rows of every value of a factor, the base among them."""
    at_base = float(getattr(BASE, factor))
    rows: dict[float, list[Mapping[str, Any]]] = {}
    for row in found:
        if row["factor"] in (factor, "base"):
            value = at_base if row["factor"] == "base" else float(row["value"])
            rows.setdefault(value, []).append(row)
    return dict(sorted(rows.items()))


def slopes(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Slope of log median against log factor, for every factor and quantity, with intervals."""
    rows = []
    for factor in ("kappa", "dimension", "n", "width"):
        levels = levels_of(factor, found)
        if len(levels) < 2:
            continue
        x = np.log(list(levels))
        for name in (*THRESHOLDS, *CONSTANTS):
            values = [column(part, name) for part in levels.values()]
            # thresholds are log10 alpha
            values = [v * math.log(10.0) if name in THRESHOLDS else np.log(v) for v in values]
            slope, low, high = slope_of(x, values)
            rows.append(
                {"factor": factor, "quantity": name, "slope": slope, "low": low, "high": high}
            )
    return rows


def slope_of(x: FloatArray, values: Sequence[FloatArray]) -> tuple[float, float, float]:
    """Slope of the medians, with a bootstrap interval over the problems.

    The problems of a seed are resampled together: settings share what the seed gives them.
    """
    draws = np.random.default_rng(0).integers(values[0].size, size=(2000, values[0].size))
    medians = np.array([np.median(v[draws], axis=1) for v in values])
    many = np.polyfit(x, medians, 1)[0]
    value = np.polyfit(x, [np.median(v) for v in values], 1)[0]
    low, high = np.quantile(many, [0.025, 0.975])
    return float(value), float(low), float(high)


# ----------------------------------------------------------------------------------------- verdicts


def judge(
    spoken: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    scope: Scope,
) -> list[Criterion]:
    """The lines of criterion.md, from statements.csv and problems.csv."""
    base = [row for row in found if row["factor"] == "base"]
    return [
        *sorted_in_time(found),
        *theorem_lines(spoken, base),
        *constant_lines(found, base),
        *slope_lines(found),
        common.at_most("C11", "verdicts that fail", sum(int(row["fails"]) for row in spoken), 0),
        common.enough("C12", "problems a setting", len(found) // len(scope.settings), scope.fewest),
    ]


def sorted_in_time(found: Sequence[Mapping[str, Any]]) -> Iterator[Criterion]:
    """C1."""
    for setting in dict.fromkeys((row["factor"], row["value"]) for row in found):
        here = [row for row in found if (row["factor"], row["value"]) == setting]
        hits = int(np.sum(column(here, "t_1_is_T") >= -3.0))
        name = "base" if setting[0] == "base" else f"{setting[0]} = {float(setting[1]):g}"
        share = hits / len(here)  # Wilson's interval of no hit in 24 ends at 14 %
        yield common.at_most("C1", f"{name}, share with t_1 <= T at alpha = 1e-3", share, 0.1)


def theorem_lines(
    spoken: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]
) -> Iterator[Criterion]:
    """C2 to C6."""
    says = {(row["statement"], int(row["decade"])): float(row["says_something"]) for row in spoken}

    def between(line: str, words: str, name: str, low: float, high: float) -> Iterator[Criterion]:
        median, *ends = median_of(column(base, name))
        interval = (ends[0], ends[1])
        yield common.at_least(line, words, median, low, interval)
        yield common.at_most(line, words, median, high, interval)

    yield from between("C2", "median log10 alpha where t_1 = T", "t_1_is_T", -14.0, -6.0)
    text = "share in which the bound at T is positive at alpha = "
    yield common.at_most("C3", f"{text}1e-4", says[THEOREM, 4], 0.1)
    yield common.at_least("C3", f"{text}1e-20", says[THEOREM, 20], 0.9)
    for level, most in zip(LEVELS, (-8.0, -14.0), strict=True):
        median, low, high = median_of(column(base, f"bound_is_{level:g}"))
        words = f"median log10 alpha where the bound at T is {level:g}"
        yield common.at_most("C4", words, median, most, (low, high))
    for level in LEVELS:
        off = np.abs(column(base, f"check_{level:g}") / level - 1.0).max()
        yield common.at_most("C5", f"bound at T by the flow, relative to {level:g}", off, 0.01)
    yield from between(
        "C6", "median log10 alpha where zeta_lit = 0", "zeta_lit_0", math.log10(4e-4), -2.4
    )
    yield common.at_most(
        "C6", "share in which Theorem 5.1 speaks at alpha = 1e-2", says["phase1_alignment", 2], 0.0
    )


def constant_lines(
    found: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]
) -> Iterator[Criterion]:
    """C7 to C9."""
    off = float(np.abs(column(found, "power") - 0.5).max())
    yield common.at_most("C7", "largest |power of alpha at T_+ - 1/2|", off, 0.03)
    ratio = column(found, "measured_over_bound")
    yield common.at_most("C8", "largest theta(T_+) over (2.7)", float(ratio.max()), 1.05)
    share, low, high = share_of(int(np.sum(ratio >= 0.3)), ratio.size)
    yield common.at_least("C8", "share with theta(T_+) at least 0.3 (2.7)", share, 0.9, (low, high))
    median, low, high = median_of(column(base, "constant"))
    yield common.at_least("C9", "median of 2 exp(X t_1)", median, 4.0, (low, high))
    yield common.at_most("C9", "median of 2 exp(X t_1)", median, 30.0, (low, high))


def slope_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[Criterion]:
    """C10."""
    for row in slopes(found):
        if (row["factor"], row["quantity"]) == ("width", "zeta_lit_0"):
            off, ends = row["slope"] + 0.5, (row["low"] + 0.5, row["high"] + 0.5)
            words = "slope of the alpha where zeta_lit = 0 against width, plus 1/2"
            yield common.at_most("C10", words, off, 0.02, ends)
            yield common.at_least("C10", words, off, -0.02, ends)


# ------------------------------------------------------------------------------------------ figures


def draw_heat_map(results: Path) -> Any:
    """Share of problems on which each statement says something."""
    spoken = common.read_rows(results / "statements.csv")
    names = list(dict.fromkeys(row["statement"] for row in spoken))
    decades = sorted({int(row["decade"]) for row in spoken})
    share = np.full((len(names), len(decades)), math.nan)
    for row in spoken:
        at = names.index(row["statement"]), decades.index(int(row["decade"]))
        share[at] = float(row["says_something"])
    figure, ((panel,),) = common.new_figure(1, 1, width=8.2, height=0.27 * len(names) + 1.4)
    image = panel.imshow(share, aspect="auto", cmap="viridis", vmin=0.0, vmax=1.0)
    for (i, k), value in np.ndenumerate(share):
        colour = "k" if value > 0.6 else "w"
        panel.text(k, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    panel.set_xticks(range(len(decades)), [f"$10^{{-{decade}}}$" for decade in decades], fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set(xlabel=r"$\alpha$", title="Problems on which a statement says something (%)")
    figure.colorbar(image, ax=panel, label="share", fraction=0.03)
    return figure


LABELS = {
    "kappa": r"$\kappa/\sigma$",
    "dimension": "$d$",
    "n": r"$n_+$",
    "width": "width",
    "separability": r"$\lambda$",
}
NAMES_OF_THRESHOLDS = {
    "zeta_lit_0": r"$\zeta_\mathrm{lit}=0$",
    "zeta_log_0": r"$\zeta_\mathrm{log}=0$",
    "t_1_is_T": r"$t_1=T$",
    "bound_is_0.5": "bound at $T$ is 0.5",
    "bound_is_0.9": "bound at $T$ is 0.9",
}
NAMES_OF_CONSTANTS = {
    "constant": r"$2e^{Xt_1}$",
    "measured_constant": r"$\max_j\theta_j(T_+)/(h^{1/4}\sqrt{\alpha})$",
}


def draw_thresholds(results: Path) -> Any:
    """The scales at which bounds begin to speak, against each factor."""
    label = r"$\log_{10}\alpha$, median"
    return draw_against_factors(results, NAMES_OF_THRESHOLDS, label, logarithmic=False)


def draw_constants(results: Path) -> Any:
    """The constants of the angle at T_+, against each factor."""
    return draw_against_factors(results, NAMES_OF_CONSTANTS, "constant, median", logarithmic=True)


FIGURES: common.Figures = {
    "figure.png": draw_heat_map,
    "figure_thresholds.png": draw_thresholds,
    "figure_constants.png": draw_constants,
}


def draw_against_factors(
    results: Path, names: Mapping[str, str], label: str, *, logarithmic: bool
) -> Any:
    """Medians with intervals against each factor that has several values."""
    found = common.read_rows(results / "problems.csv")
    factors = [factor for factor in FACTORS if len(levels_of(factor, found)) > 1]
    figure, (panels,) = common.new_figure(1, len(factors), width=2.9, height=3.6)
    ends = []
    for panel, factor in zip(panels, factors, strict=True):
        levels = levels_of(factor, found)
        x = np.array(list(levels)) / (2.0 if factor == "n" else 1.0)
        for k, (name, words) in enumerate(names.items()):
            middle, low, high = np.array([median_of(column(v, name)) for v in levels.values()]).T
            ends += [low.min(), high.max()]
            panel.errorbar(
                x, middle, [middle - low, high - middle], marker="o", ms=4, lw=1.2, capsize=2,
                label=words, color=f"C{k}",
            )  # fmt: skip
        panel.set(xlabel=LABELS[factor])
        if factor != "separability":
            panel.set_xscale("log")
            panel.set_xticks(x, [f"{value:g}" for value in x])
            panel.minorticks_off()
        panel.grid(alpha=0.3)
    for panel in panels:
        if logarithmic:
            panel.set(yscale="log", ylim=(min(ends) / 1.1, max(ends) * 1.1))
            panel.set_yticks(ticks := (2, 3, 5, 10, 20, 50), map(str, ticks))
            panel.minorticks_off()
        else:
            panel.set_ylim(min(ends) - 1.0, 0.0)
    panels[0].set_ylabel(label)
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=5, fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    held, found = tables(scope)
    spoken, settings, trends = by_statement(held), by_setting(found), slopes(found)
    for name, table in (
        ("statements", spoken),
        ("problems", found),
        ("settings", settings),
        ("slopes", trends),
    ):
        common.save_rows(chosen.output / f"{name}.csv", table)
    common.save_figures(chosen.output, FIGURES)
    base = settings[0]
    measured = {
        "median_log10_alpha_on_the_base": {name: base[name] for name in THRESHOLDS},
        "median_constants_on_the_base": {name: base[name] for name in CONSTANTS},
        "slopes": {f"{r['quantity']} against {r['factor']}": r["slope"] for r in trends},
        "fails": sum(row["fails"] for row in spoken),
    }
    criteria = judge(spoken, found, scope)
    common.record(chosen, "where_bounds_speak", scope._asdict(), measured, criteria)


if __name__ == "__main__":
    main()
