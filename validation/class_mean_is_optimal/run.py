"""The class mean against other directions computed from one class: criterion.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overalign.excess_error import max_margin_direction
from overalign.executors import open_executor
from overalign.inference import Estimate, mean
from overalign.plots.style import BLACK, BLUE, GREEN, VERMILION
from validation import common
from validation.common import Criterion, FloatArray

POPULATIONS = ((3, 4, 4, 1.0), (5, 3, 3, 1.0), (20, 6, 6, 1.5), (50, 8, 8, 2.5))
# whole samples are accepted often enough; in the first a class says something of the other
WHOLE = ((3, 2, 6, 1.0), (3, 4, 4, 1.0), (20, 4, 4, 1.5), (50, 4, 4, 2.5))
CONDITIONS = ("none", "class", "sample")
TILTS = (0.1, 0.3, 0.6)
SPREADS = (1.0, 4.0, 16.0)  # largest over smallest variance
SIZES = (6, 24, 96)  # n_+ of anisotropic data
ANISOTROPIC = (20, 1.5)  # d, kappa / root mean variance
PROPOSALS = 4096  # drawn at a time
ERRORS = 2.0


class Population(NamedTuple):
    """Sizes of the problem; sigma = 1."""

    dimension: int
    class_size: int
    other_size: int
    ratio: float


class Setting(NamedTuple):
    """What is drawn: a condition is that of nothing, of the class or of the whole sample."""

    seed: int
    sets: int
    condition: str
    population: Population


class Scope(NamedTuple):
    """How large the study is."""

    seed: int
    sets: int
    leaking_sets: int
    populations: int


FULL = Scope(7400, 5000, 20_000, 4)
QUICK = Scope(7900, 400, 10_000, 2)


# ------------------------------------------------------------------------------------------- data


def normal_cdf(x: Any) -> Any:
    """The distribution function of the standard normal law."""
    from scipy.special import ndtr

    return ndtr(x)


def unit(vectors: FloatArray) -> FloatArray:
    """Rows at unit length."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def data_sets(
    setting: Setting, generator: np.random.Generator
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """(signal, u = y x [n, d]), class + first, by rejection where conditioned.

    The signal is redrawn with every proposal: the condition depends on inner products alone.
    """
    dimension, size, other_size, ratio = setting.population
    left = setting.sets
    while left:
        signal = unit(generator.standard_normal((PROPOSALS, dimension)))
        noise = generator.standard_normal((PROPOSALS, size + other_size, dimension))
        u = ratio * signal[:, None] + noise
        if setting.condition != "none":
            first = u[:, :size] if setting.condition == "class" else u
            smallest = (first @ first.transpose(0, 2, 1)).min(axis=(1, 2))
            signal, u = signal[smallest >= 0.0], u[smallest >= 0.0]
        yield from zip(signal[:left], u[:left], strict=True)
        left -= min(left, len(u))


# ----------------------------------------------------------------------------------------- rules


def rules(u: FloatArray, generator: np.random.Generator) -> dict[str, FloatArray]:
    """Directions computed from the inputs of one class; not a number where there is none."""
    centre = unit(u.sum(axis=0))
    margin = max_margin_direction(u)
    found = {
        "class mean": centre,
        "max-margin": margin,
        "towards max-margin": centre + 0.3 * (margin - centre),
        "reweighted at random": generator.exponential(size=len(u)) @ u,
        "reweighted by logistic loss": 1.0 / (1.0 + np.exp(u @ centre)) @ u,
        "mean of unit inputs": unit(u).sum(axis=0),
    }
    aside = generator.standard_normal(len(centre))
    aside = unit(aside - (aside @ centre) * centre)
    for tilt in TILTS:
        found[f"tilted by {tilt:g}"] = math.cos(tilt) * centre + math.sin(tilt) * aside
    return found


def measure(setting: Setting) -> list[dict[str, Any]]:
    """Mean error of every rule, and mean difference to that of the class mean."""
    population = setting.population
    stream = CONDITIONS.index(setting.condition), population.dimension, population.class_size
    generator = np.random.default_rng([setting.seed, *stream])
    errors: dict[str, list[float]] = {}
    for signal, u in data_sets(setting, generator):
        found = rules(u[: population.class_size], generator) | {"pooled mean": u.sum(axis=0)}
        for name, v in found.items():
            cosine = float(v @ signal) / float(np.linalg.norm(v))
            errors.setdefault(name, []).append(float(normal_cdf(-population.ratio * cosine)))
    key = {"condition": setting.condition, **population._asdict()}
    return [key | row for row in compared(errors)]


def compared(errors: Mapping[str, Sequence[float]]) -> Iterator[dict[str, Any]]:
    """Each rule with the class mean, on the sets where both have a direction."""
    reference = np.array(errors["class mean"])
    for name, values in errors.items():
        each = np.array(values)
        fine = np.isfinite(each)
        difference = each[fine] - reference[fine]
        standard_error = float(difference.std(ddof=1)) / math.sqrt(fine.sum())
        yield {
            "rule": name,
            "sets": int(fine.sum()),
            "error": float(each[fine].mean()),
            "difference": float(difference.mean()),
            "standard_error": standard_error,
            "z": float(difference.mean()) / standard_error if standard_error else 0.0,
        }


# ------------------------------------------------------------------------------------ anisotropic


def anisotropic(task: tuple[Scope, float, int]) -> dict[str, Any]:
    """The class mean and the whitened mean where the noise has another variance along each axis."""
    scope, spread, size = task
    dimension, ratio = ANISOTROPIC
    generator = np.random.default_rng([scope.seed, 9, int(spread), size])
    variance = np.geomspace(1.0, spread, dimension)
    variance /= variance.mean()
    # axes need no turning: the signal is uniform on the sphere
    signal = unit(generator.standard_normal((scope.sets, dimension)))
    noise = np.sqrt(variance / size) * generator.standard_normal((scope.sets, dimension))
    centre = ratio * signal + noise
    directions = {
        "class_mean": centre,
        "whitened": centre / variance,
        "class_mean_of_many": signal,
        "bayes": signal / variance,
    }
    errors = {}
    for name, v in directions.items():
        length = np.sqrt(np.sum(variance * v**2, axis=1))
        errors[name] = normal_cdf(-ratio * np.sum(v * signal, axis=1) / length)
    gain = mean(errors["class_mean"] - errors["whitened"])
    return {
        **{"spread": spread, "class_size": size, "sets": scope.sets},
        **{name: float(each.mean()) for name, each in errors.items()},
        **{"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high},
    }


# ---------------------------------------------------------------------------------------- judged


def others(rows: Sequence[Mapping[str, Any]], condition: str) -> list[Mapping[str, Any]]:
    """The rules that see one class, but for its mean."""
    left_out = ("class mean", "pooled mean")
    return [r for r in rows if r["condition"] == condition and r["rule"] not in left_out]


def judge(
    rows: Sequence[Mapping[str, Any]], turned: Sequence[Mapping[str, Any]], scope: Scope
) -> list[Criterion]:
    """The lines of criterion.md."""

    def least(line: str, statement: str, condition: str) -> Criterion:
        worst = min(row["z"] for row in others(rows, condition))
        return common.at_least(line, f"{statement}: smallest z of a rule", worst, -ERRORS)

    pooled = [r["z"] for r in rows if r["rule"] == "pooled mean" and r["condition"] == "none"]
    leaking = next(
        row["z"]
        for row in others(rows, "sample")
        if row["class_size"] == WHOLE[0][1] and row["rule"] == "towards max-margin"
    )
    lines = [
        least("C1", "unconditioned", "none"),
        least("C2", "conditioned on the class", "class"),
        common.at_most("C3", "pooled mean: largest z", max(pooled), -ERRORS),
        common.at_most("C4", "sample separable, towards max-margin: z", leaking, -ERRORS),
    ]
    uneven = [row for row in turned if row["spread"] > 1.0]
    for row in uneven:
        statement = f"variances 1 to {row['spread']:g}, n_+ = {row['class_size']}: gain"
        interval = row["gain_low"], row["gain_high"]
        lines.append(common.at_least("C5", statement, row["gain"], 0.0, interval))
    bias = min(
        row["gain"] / (row["class_mean_of_many"] - row["bayes"])
        for row in uneven
        if row["class_size"] == max(SIZES)
    )
    sets = min(row["sets"] for row in rows if row["rule"] == "class mean")
    return [
        *lines,
        common.at_least("C6", f"smallest gain over its limit, n_+ = {max(SIZES)}", bias, 0.8),
        common.enough("C7", "data sets of a setting", sets, scope.sets),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Differences of the rules to the class mean by condition, and the gain from whitening."""
    rows = common.read_rows(results / "rules.csv")
    figure, ((left, right),) = common.new_figure(1, 2, width=3.9, height=3.6)
    names = list(dict.fromkeys(row["rule"] for row in rows if row["rule"] != "class mean"))
    looks = {"none": (BLUE, "o"), "class": (GREEN, "^"), "sample": (VERMILION, "x")}
    labels = {"none": "unconditioned", "class": "class separable", "sample": "sample separable"}
    for shift, (condition, (colour, marker)) in enumerate(looks.items()):
        mine = [r for r in rows if r["condition"] == condition and r["rule"] != "class mean"]
        y = [names.index(row["rule"]) + 0.22 * (shift - 1) for row in mine]
        left.errorbar(
            [row["difference"] for row in mine],
            y,
            xerr=[ERRORS * row["standard_error"] for row in mine],
            fmt=marker,
            color=colour,
            markersize=3.5,
            fillstyle="none",
            elinewidth=0.8,
            label=labels[condition],
        )
    left.axvline(0.0, color="0.5", linewidth=0.8, zorder=0)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xscale("symlog", linthresh=1e-3)
    left.set_xticks([-0.1, -0.01, 0.0, 0.01, 0.1], ["$-0.1$", "$-0.01$", "0", "0.01", "0.1"])
    left.set_xlabel("mean error less that of the class mean")
    left.legend(loc=(0.02, 0.62), title="bars: 2 s.e.")
    draw_gain(right, common.read_rows(results / "anisotropic.csv"))
    return figure


def draw_gain(ax: Any, turned: Sequence[Mapping[str, Any]]) -> None:
    """What whitening gains against n_+, and its limit."""
    for spread, colour, marker in zip(SPREADS, (BLACK, GREEN, BLUE), "sxo", strict=True):
        mine = [row for row in turned if row["spread"] == spread]
        x, gain = [row["class_size"] for row in mine], np.array([row["gain"] for row in mine])
        ends = [
            gain - [row["gain_low"] for row in mine],
            [row["gain_high"] for row in mine] - gain,
        ]
        style = {"color": colour, "markersize": 4.0, "fillstyle": "none"}
        ax.errorbar(x, gain, ends, fmt=marker + "-", label=f"1 to {spread:g}", **style)
        limit = np.mean([row["class_mean_of_many"] - row["bayes"] for row in mine])
        ax.axhline(float(limit), color=colour, linestyle=":", linewidth=0.9)
    ax.set(
        xscale="log",
        xlabel=r"class size $n_+$",
        ylabel="error of the class mean less that of the whitened",
    )
    ax.set_xticks(SIZES, map(str, SIZES))
    ax.minorticks_off()
    ax.legend(title="variances; dotted: limit")


FIGURES: Mapping[str, Callable[[Path], Any]] = {"figure.png": draw}


def reported(rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """The rules on whole separable samples, less the class mean."""
    found = {}
    for row in others(rows, "sample"):
        half = ERRORS * row["standard_error"]
        sizes = f"n_+ = {row['class_size']}, n_- = {row['other_size']}"
        name = f"d = {row['dimension']}, {sizes}, {row['rule']}"
        middle = row["difference"]
        found[name] = Estimate(middle, middle - half, middle + half)
    return found


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    settings = [
        Setting(
            scope.seed,
            scope.leaking_sets if population == WHOLE[0] else scope.sets,
            condition,
            Population(*population),
        )
        for condition in CONDITIONS
        for population in (WHOLE if condition == "sample" else POPULATIONS)[: scope.populations]
    ]
    turned_tasks = [(scope, spread, size) for spread in SPREADS for size in SIZES]
    with open_executor("processes", 2) as pool:
        rows = [row for found in pool.map(measure, settings) for row in found]
        turned = list(pool.map(anisotropic, turned_tasks))
    common.save_rows(chosen.output / "rules.csv", rows)
    common.save_rows(chosen.output / "anisotropic.csv", turned)
    common.save_figures(chosen.output, FIGURES)
    measured = {"on_separable_samples": reported(rows)}
    constants = {"anisotropic": ANISOTROPIC, "spreads": SPREADS, "sizes": SIZES, **scope._asdict()}
    criteria = judge(rows, turned, scope)
    common.record(chosen, "class_mean_is_optimal", constants, measured, criteria)


if __name__ == "__main__":
    main()
