"""The optimal scale of the initialisation against n, h, d and sigma; see criterion.md."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.excess_error import class_mean_angle
from overalign.executors import open_executor
from overalign.inference import Estimate, bootstrap
from overalign.optimum import Optimum, find_optimum, lowest_points
from overalign.plots.style import BLACK, BLUE, GREEN, GREY, VERMILION
from overalign.problem import Stream
from overalign.statements import optimal_log_alpha_of_the_paper
from validation import common
from validation.common import Criterion, FloatArray

Rows = Sequence[Mapping[str, Any]]


class Setting(NamedTuple):
    """One population of problems, and how they are trained."""

    law: str = "conditioned"
    initialisation: str = "independent"
    n: int = 12
    dimension: int = 24
    width: int = 56
    kappa: float = 1.4
    sigma: float = 1.0
    eta: float = 0.05

    @property
    def log2_alphas(self) -> FloatArray:
        """Seven octaves; their middle moves with the width, so that few scales suffice."""
        return np.asarray(np.arange(-7.5, -1.0) - 0.5 * math.log2(self.width / 56))


class Series(NamedTuple):
    """Settings that differ in one factor."""

    population: str
    base: Setting
    factor: str
    levels: tuple[float, ...]
    sets: int

    @property
    def settings(self) -> list[Setting]:
        """In the order of the levels."""
        return [self.base._replace(**{self.factor: level}) for level in self.levels]

    @property
    def name(self) -> str:
        """How lines call it."""
        return f"{self.population}, {self.base.law}, eta = {self.base.eta:g}"


POPULATIONS = {"A": Setting(), "B": Setting(dimension=12, kappa=3.0)}
FREE = "unconditioned"
LEVELS: dict[str, tuple[float, ...]] = {
    "n": (6, 12, 24),
    "width": (14, 56, 224),
    "dimension": (12, 24, 48),
    "sigma": (0.7, 1.0, 1.4),
}
LARGEST_N = int(max(LEVELS["n"]))
SCALES = tuple(f"error_{k}" for k in range(Setting().log2_alphas.size))
INPUT_SCALES = (1.0, 0.25, 3.0)
RESCALED = 4  # problems


def series_of(population: str, factor: str, sets: int, **changed: Any) -> Series:
    """One of the series."""
    base = POPULATIONS[population]._replace(**changed)
    return Series(population, base, factor, LEVELS[factor], sets)


class Scope(NamedTuple):
    """How large the study is."""

    judged: tuple[Series, ...]
    reported: tuple[Series, ...]
    seed: int
    fewest: int

    @property
    def sets(self) -> dict[Setting, int]:
        """How many data sets of each setting."""
        found: dict[Setting, int] = {}
        for series in (*self.judged, *self.reported):
            for setting in series.settings:
                found[setting] = max(series.sets, found.get(setting, 0))
        return found


FULL = Scope(
    judged=(
        *(series_of("A", factor, 72) for factor in ("n", "width")),
        *(series_of("A", "n", sets, law=law) for law, sets in (("nested", 20), (FREE, 40))),
        *(series_of("A", "width", 20, law=law) for law in ("nested", FREE)),
        *(series_of("A", "n", 20, eta=eta) for eta in (0.0125, 0.2)),
        series_of("B", "n", 40),
    ),
    reported=(
        *(series_of("A", factor, 20, law=FREE) for factor in ("dimension", "sigma")),
        series_of("A", "n", 12, initialisation="paired"),
    ),
    seed=1905,
    fewest=20,
)
QUICK = Scope(
    (
        Series("A", Setting(), "n", (6, 12), 3),
        Series("A", Setting(), "width", (14, 56), 3),
    ),
    (),
    1999,
    3,
)


# -------------------------------------------------------------------------------------- measured


def problem_of(
    setting: Setting, seed: int, index: int
) -> tuple[oa.Sample, oa.GaussianMixture, oa.Network]:
    """Equal seeds share samples, unless all n are conditioned on together, and first neurons."""
    mixture = oa.GaussianMixture(setting.dimension, setting.kappa, setting.sigma)
    drawn = mixture.sample(
        LARGEST_N if setting.law == "nested" else setting.n,
        np.random.default_rng([seed, index, Stream.SWEEP_DATA]),
        None if setting.law == FREE else 0.0,
    )
    network = oa.Network.random(
        setting.width,
        setting.dimension,
        np.random.default_rng([seed, index, Stream.SWEEP_NETWORK]),
        paired=setting.initialisation == "paired",
    )
    return oa.Sample(drawn.x[: setting.n], drawn.y[: setting.n]), mixture, network


def errors(task: tuple[Setting, int, int]) -> dict[str, Any]:
    """The network's error at every scale, and what laws are about; one data set."""
    setting, seed, index = task
    sample, mixture, network = problem_of(setting, seed, index)
    row = setting._asdict() | {"set": index, "x_max": sample.max_norm}
    row["phi"] = np.mean([class_mean_angle(sample, mixture, label) for label in (1, -1)])
    row["class_norm"] = np.mean([np.linalg.norm(sample.class_sum(label)) for label in (1, -1)])
    stop = oa.stop_at_risk(setting.eta)
    for name, log2_alpha in zip(SCALES, setting.log2_alphas, strict=True):
        log_alpha = float(log2_alpha) * math.log(2.0)
        end = oa.solve(sample, network, log_alpha, stop, tolerance=1e-3)
        row[name] = math.nan
        if end.is_successful:
            found = oa.network_error(end.final, mixture, relative_error=0.01, seed=seed + index)
            row[name] = found.value
    return row


def rescaled(seed: int, index: int) -> list[dict[str, Any]]:
    """The error with inputs times s and alpha times s^-1/2; and the formula for alpha*."""
    setting = POPULATIONS["A"]
    sample, mixture, network = problem_of(setting, seed, index)
    rows: list[dict[str, Any]] = []
    for scale in INPUT_SCALES:
        inputs = oa.Sample(scale * sample.x, sample.y)
        law = oa.GaussianMixture(mixture.dimension, scale * mixture.kappa, scale * mixture.sigma)
        log_alpha = -3.0 - 0.5 * math.log(scale)
        end = oa.solve(inputs, network, log_alpha, oa.stop_at_risk(setting.eta))
        formula = optimal_log_alpha_of_the_paper(
            kappa=law.kappa,
            sigma=law.sigma,
            n=inputs.n,
            dimension=law.dimension,
            class_size=int((inputs.y > 0).sum()),
            width=network.width,
            class_norm=float(np.linalg.norm(inputs.class_sum(1))),
            x_max=inputs.max_norm,
            W_max=network.max_row_norm,
        )
        error = oa.network_error(end.final, law).value
        first = rows[0]["error"] if rows else error
        row = {"set": index, "scale": scale, "error": error, "change": error / first - 1.0}
        rows.append(row | {"log_alpha_by_zeta": float(formula)})
    return rows


# ------------------------------------------------------------------------------------- estimated

Tables = Mapping[Setting, Rows]
Law = Callable[[Mapping[str, Any]], float]


def tables_of(rows: Rows) -> dict[Setting, list[Mapping[str, Any]]]:
    """Rows of each setting, in the order of the data sets."""
    tables: dict[Setting, list[Mapping[str, Any]]] = {}
    for row in rows:
        setting = Setting(**{name: row[name] for name in Setting._fields})
        tables.setdefault(setting, []).append(row)
    return tables


def curves(tables: Tables, settings: Sequence[Setting]) -> FloatArray:
    """Errors [set, setting, scale], up to the largest scale at which every run fits."""
    sets = min(len(tables[each]) for each in settings)
    each = np.array(
        [[[row[name] for name in SCALES] for row in tables[s][:sets]] for s in settings]
    )
    fits = np.logical_and.accumulate(np.isfinite(each).all(axis=(0, 1)))
    return np.asarray(each[:, :, fits].swapaxes(0, 1))


def optimum(tables: Tables, setting: Setting) -> Optimum:
    """The optimum of one setting, in log2 alpha."""
    found = curves(tables, [setting])[:, 0]
    return find_optimum(found, setting.log2_alphas[: found.shape[1]], bootstraps=500)


def by_zeta(row: Mapping[str, Any]) -> float:
    """log2 c* up to a constant where theta^2 = C alpha is phi^2 (docs/theory.md 5.3)."""
    reached = row["phi"] ** 2 * row["class_norm"] / (row["n"] * row["x_max"] ** 2)
    return float(2.0 * np.log2(reached) - np.log2(row["width"]))


def by_the_onset(row: Mapping[str, Any]) -> float:
    """log2 c* up to a constant where theta = alpha sqrt(h) is phi (docs/theory.md 5.4)."""
    return float(2.0 * np.log2(row["phi"]) - np.log2(row["width"]))


def by_the_initial_function(row: Mapping[str, Any]) -> float:
    """log2 c* up to a constant where alpha^2 sqrt(h) x_max is 1 (docs/theory.md 5.4)."""
    return float(-np.log2(row["x_max"]) - 0.5 * np.log2(row["width"]))


LAWS_OF_C = {"zeta": by_zeta, "onset": by_the_onset, "initial function": by_the_initial_function}


def slope_weights(series: Series) -> FloatArray:
    """Of the levels, for the slope against log2 of the factor by least squares."""
    across = np.log2(series.levels) - np.mean(np.log2(series.levels))
    return np.asarray(across / (across @ across))


def predictions(tables: Tables, series: Series, law: Law) -> FloatArray:
    """log2 c* by a law, of every data set; [set, level]."""
    sets = min(len(tables[each]) for each in series.settings)
    return np.array([[law(row) for row in tables[each][:sets]] for each in series.settings]).T


def power(tables: Tables, series: Series, law: Law | None = None) -> Estimate:
    """Power of the factor in c*, less that by a law; not a number where a level has no optimum."""
    if any(optimum(tables, each).interior < 0.95 for each in series.settings):
        return Estimate(math.nan, math.nan, math.nan)
    table, weights = curves(tables, series.settings), slope_weights(series)
    expected = predictions(tables, series, law) if law else np.zeros(table.shape[:2])
    starts = np.array([each.log2_alphas[0] for each in series.settings])
    octaves = np.arange(float(table.shape[2]))

    def slope(errors_of_sets: FloatArray, by_law: FloatArray) -> float:
        log2_alpha = starts + lowest_points(errors_of_sets.mean(axis=0), octaves)
        return float(weights @ (2.0 * log2_alpha - by_law.mean(axis=0)))

    return bootstrap(slope, table, expected, seed=0, resamples=2000)


# ---------------------------------------------------------------------------------------- judged

# by factor: the line, what it is about, the power claimed, and the law that claims another one
CLAIMED: dict[str, tuple[tuple[str, str, float, Law | None], ...]] = {
    "n": (
        ("C1", "power of n in c* less -2", -2.0, None),
        ("C3", "power of n in c* less that of phi^4 X^2 / (n x_max^2)^2", 0.0, by_zeta),
        ("C4", "power of n in c* less -1", -1.0, None),
        ("C5", "power of n in c* less that of phi^2", 0.0, by_the_onset),
        ("C6", "power of n in c* less 0", 0.0, None),
    ),
    "width": (
        ("C2", "power of h in c* less -1", -1.0, None),
        ("C7", "power of h in c* less -1/2", -0.5, None),
    ),
}
CLOSE = 0.4


def close(line: str, statement: str, difference: Estimate) -> Criterion:
    """HOLDS if all of the interval of a difference is close to zero, FAILS if none is."""
    value, low, high = difference
    interval = float(np.maximum(max(low, -high), 0.0)), max(abs(low), abs(high))
    return common.at_most(line, f"|{statement}|", abs(value), CLOSE, interval)


def changes(scaled: Rows) -> tuple[float, float]:
    """Largest relative change of the error, and largest |power of s in c* by the formula + 1|."""
    logs = np.array([row["log_alpha_by_zeta"] for row in scaled]).reshape(-1, len(INPUT_SCALES))
    powers = 2.0 * (logs[:, 1:] - logs[:, :1]) / np.log(INPUT_SCALES[1:])
    return max(abs(row["change"]) for row in scaled), float(np.abs(powers + 1.0).max())


def judge(rows: Rows, scaled: Rows, scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    tables, lines = tables_of(rows), []
    for series in scope.judged:
        for line, statement, claimed, law in CLAIMED[series.factor]:
            difference = Estimate(*(each - claimed for each in power(tables, series, law)))
            lines.append(close(line, f"{series.name}: {statement}", difference))
    of_error, of_formula = changes(scaled)
    reached = np.isfinite([[row[name] for name in SCALES] for row in rows]).mean()
    sets = min(len(tables[each]) for series in scope.judged for each in series.settings)
    return [
        *lines,
        common.exact("C8", "largest relative change of the error", of_error, 1e-6, 1e-3),
        common.exact("C9", "|power of s in c* by the formula less -1|", of_formula, 1e-9, 0.1),
        common.enough("C10", "data sets of each judged setting", sets, scope.fewest),
        common.enough("C10", "share that reaches the stop", float(reached), 0.95),
    ]


def found(tables: Tables, series: Series) -> dict[str, Any]:
    """What is reported of one series."""
    return {
        "power in c*": power(tables, series),
        "power in c* by law": {
            name: float(slope_weights(series) @ predictions(tables, series, law).mean(axis=0))
            for name, law in LAWS_OF_C.items()
        },
        "levels": series.levels,
        "log2 alpha*": [optimum(tables, each)[:3] for each in series.settings],
        "share of resamples inside": [optimum(tables, each).interior for each in series.settings],
    }


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Mean errors at three n, and c* against n and h with the powers of the laws."""
    tables = tables_of(common.read_rows(results / "errors.csv"))
    scope = QUICK if common.read_summary(results)["quick"] else FULL
    figure, ((left, middle, right),) = common.new_figure(1, 3, width=2.6, height=2.8)
    first = scope.judged[0]
    for setting, colour in zip(first.settings, (BLUE, GREEN, VERMILION), strict=False):
        mean = curves(tables, [setting])[:, 0].mean(axis=0)
        at, size = 2.0 ** setting.log2_alphas[: mean.size], mean.min()
        left.plot(at, mean / size, ".-", color=colour, label=f"$n={setting.n}$")
        left.axvline(2.0 ** optimum(tables, setting).log_alpha, color=colour, linewidth=0.7)
    left.set(xscale="log", ylim=(0.99, 1.16), xlabel=r"$\alpha$", ylabel="error / lowest error")
    left.legend()
    for ax, factor, guides in (
        (middle, "n", ((-2.0, "-"), (-1.0, "--"), (0.0, ":"))),
        (right, "width", ((-1.0, "-"), (-0.5, "--"))),
    ):
        chosen = [each for each in scope.judged if each.factor == factor]
        draw_powers(ax, tables, [each for each in chosen if each.base.eta == first.base.eta])
        levels = np.array(chosen[0].levels)
        for claimed, dashes in guides:
            line = (levels / levels[0]) ** claimed
            label = f"power ${claimed:g}$"
            ax.plot(levels, line, color=GREY, linestyle=dashes, zorder=0, label=label)
        ax.set(xscale="log", yscale="log", xlabel="$n$" if factor == "n" else "$h$")
        ax.set_xticks(levels, [f"{level:g}" for level in levels])
        ax.minorticks_off()
        ax.legend(fontsize="x-small", loc="lower left")
    middle.set_ylabel(r"$c^*$ over that at the smallest size")
    right.set_ylim(bottom=5e-4)  # room for the legend
    return figure


def draw_powers(ax: Any, tables: Tables, chosen: Sequence[Series]) -> None:
    """c* at every level over that at the first, with the intervals of the levels."""
    looks = (BLACK, "o"), (BLUE, "s"), (VERMILION, "^"), (GREEN, "D"), (GREY, "v")
    for k, (series, (colour, marker)) in enumerate(zip(chosen, looks, strict=False)):
        best = np.array([optimum(tables, each)[:3] for each in series.settings])
        value, low, high = 2.0 ** (2.0 * (best - best[0, 0])).T
        bars = np.maximum([value - low, high - value], 0.0)
        at = np.array(series.levels) * 1.05 ** (k - 0.5 * (len(chosen) - 1))
        label = f"{series.population}, {series.base.law}"
        ax.errorbar(at, value, bars, fmt=marker, color=colour, markersize=3, label=label)


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    tasks = [(each, scope.seed, k) for each, sets in scope.sets.items() for k in range(sets)]
    with open_executor("inline" if chosen.quick else "processes", os.cpu_count()) as pool:
        rows: list[dict[str, Any]] = []
        for row in (pool.map if pool else map)(errors, tasks):
            rows.append(row)
            if len(rows) % 100 == 0:
                common.note(f"{len(rows)} of {len(tasks)} data sets")
    scaled = [row for index in range(RESCALED) for row in rescaled(scope.seed, index)]
    common.save_rows(chosen.output / "errors.csv", rows)
    common.save_rows(chosen.output / "scaled_inputs.csv", scaled)
    # as recorded, so that they are found again
    rows, scaled = (
        common.read_rows(chosen.output / f"{name}.csv") for name in ("errors", "scaled_inputs")
    )
    tables = tables_of(rows)
    measured = {
        f"{each.factor}, {each.base.initialisation}, {each.name}": found(tables, each)
        for each in (*scope.judged, *scope.reported)
    }
    settings = {
        "settings": [each._asdict() | {"sets": sets} for each, sets in scope.sets.items()],
        "seed": scope.seed,
    }
    common.record(
        chosen, "optimal_scale", settings, measured, judge(rows, scaled, scope), ["sympy"]
    )
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
