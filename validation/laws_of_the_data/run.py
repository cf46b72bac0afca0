"""The laws of the class mean's angle, of pairs and of whole samples against draws: criterion.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overalign.excess_error import ClassMeanAngleLaw
from overalign.executors import open_executor
from overalign.inference import holm
from overalign.plots.style import BLACK, BLUE, VERMILION
from overalign.statements import REGISTRY
from validation import common
from validation.common import Criterion, FloatArray

SIGMA = 0.7
ANGLES = (  # d, kappa / sigma, n_+
    *((2, 1.0, 1), (3, 0.3, 2), (5, 1.5, 3), (10, 1.0, 4)),
    *((20, 0.0, 5), (20, 3.0, 5), (50, 2.0, 12), (100, 0.5, 6)),
)
PAIRS = tuple((d, ratio) for d in (2, 5, 20, 100) for ratio in (0.0, 1.0, 2.0, 4.0))
LEVELS = (0.0, 0.05, 0.2, 0.5)
SAMPLES = (  # n, d, kappa / sigma
    *((4, 2, 2.0), (6, 20, 3.0), (10, 20, 4.0), (20, 50, 5.0)),
    *((10, 100, 4.0), (8, 5, 3.0), (12, 20, 4.5), (6, 100, 5.0)),
)
SAMPLE_LEVELS = (0.0, 0.1)
SETTING = ("dimension", "ratio", "class_size")
ERRORS, LEAST_P = 3.0, 0.01
ELEMENTS = 1 << 22  # numbers drawn at a time
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


class Scope(NamedTuple):
    """How large the study is."""

    seed: int
    draws: int


FULL = Scope(7300, 100_000)
QUICK = Scope(7900, 5_000)


# -------------------------------------------------------------------------------------- measured


def blocks(
    scope: Scope, stream: tuple[int, int], count: int, dimension: int, ratio: float
) -> Iterator[FloatArray]:
    """Draws [block, count, d] of u = y x about a random signal, as many as asked for."""
    generator = np.random.default_rng([scope.seed, *stream])
    signal = generator.standard_normal(dimension)
    signal *= ratio * SIGMA / np.linalg.norm(signal)
    most, left = max(1, ELEMENTS // (count * dimension)), scope.draws
    while left:
        size = min(most, left)
        yield signal + SIGMA * generator.standard_normal((size, count, dimension))
        left -= size


def angles(task: tuple[Scope, int]) -> list[dict[str, Any]]:
    """One setting of the class mean's angle: the test, and quantiles beside those of the law."""
    from scipy.stats import kstest

    scope, k = task
    dimension, ratio, count = ANGLES[k]
    generator = np.random.default_rng([scope.seed, 1, k])
    # the signal is the first axis here, so that the angle has all its digits
    signal = np.zeros(dimension)
    signal[0] = ratio * SIGMA
    found, most = [], max(1, ELEMENTS // (count * dimension))
    while (left := scope.draws - sum(map(len, found))) > 0:
        noise = generator.standard_normal((min(most, left), count, dimension))
        total = (signal + SIGMA * noise).sum(axis=1)
        found.append(np.arctan2(np.linalg.norm(total[:, 1:], axis=1), total[:, 0]))
    phi = np.concatenate(found)
    law = ClassMeanAngleLaw(dimension, count, ratio * SIGMA, SIGMA)
    test = kstest(phi, law.cdf)
    key = {"dimension": dimension, "ratio": ratio, "class_size": count}
    key |= {"statistic": float(test.statistic), "p_value": float(test.pvalue)}
    rows = []
    for q, expected in zip(QUANTILES, law.quantile(QUANTILES), strict=True):
        rows.append(
            key | {"q": q, "of_the_law": float(expected), "drawn": float(np.quantile(phi, q))}
        )
    return rows


def pairs(task: tuple[Scope, int]) -> list[dict[str, Any]]:
    """One setting of a pair: how often it violates each level, and the test of its whole law."""
    from scipy.stats import kstest, ncf

    scope, k = task
    dimension, ratio = PAIRS[k]
    violated, quotients = np.zeros(len(LEVELS)), []
    for u in blocks(scope, (2, k), 2, dimension, ratio):
        product = np.sum(u[:, 0] * u[:, 1], axis=1)
        norms = np.linalg.norm(u, axis=2).prod(axis=1)
        violated += [np.sum(product <= level * norms) for level in LEVELS]
        # a pair violates the level zero where this quotient is at most one
        quotients.append(
            np.sum((u[:, 0] + u[:, 1]) ** 2, axis=1) / np.sum((u[:, 0] - u[:, 1]) ** 2, axis=1)
        )
    law = ncf(dimension, dimension, 2.0 * ratio**2)
    test = kstest(np.concatenate(quotients), law.cdf)
    key = {"dimension": dimension, "ratio": ratio, "draws": scope.draws}
    key["p_value"] = float(test.pvalue)
    rows = []
    for level, share in zip(LEVELS, violated / scope.draws, strict=True):
        expected = probability(dimension, ratio, level)
        key |= {"level": level, "drawn": float(share), "expected": expected}
        rows.append(key | {"z": deviation(float(share), expected, scope.draws)})
    return rows


def samples(task: tuple[Scope, int]) -> list[dict[str, Any]]:
    """One setting of a whole sample: how often it is separable, and its bounds."""
    scope, k = task
    count, dimension, ratio = SAMPLES[k]
    separable = np.zeros(len(SAMPLE_LEVELS))
    upper = np.triu_indices(count, 1)
    for u in blocks(scope, (3, k), count, dimension, ratio):
        u /= np.linalg.norm(u, axis=2, keepdims=True)
        smallest = (u @ u.transpose(0, 2, 1))[:, upper[0], upper[1]].min(axis=1)
        separable += [np.sum(smallest >= level) for level in SAMPLE_LEVELS]
    rows = []
    for level, share in zip(SAMPLE_LEVELS, separable / scope.draws, strict=True):
        violates, combinations = probability(dimension, ratio, level), math.comb(count, 2)
        row = {"n": count, "dimension": dimension, "ratio": ratio, "level": level}
        row |= {"draws": scope.draws, "drawn": float(share)}
        row |= {"union": 1.0 - combinations * violates, "product": (1.0 - violates) ** combinations}
        for bound in ("union", "product"):
            # a bound below zero says nothing
            speaks = row[bound] > 0.0
            z = deviation(row["drawn"], row[bound], scope.draws) if speaks else math.nan
            row[f"z_over_{bound}"] = z
        rows.append(row)
    return rows


def probability(dimension: int, ratio: float, level: float) -> float:
    """That a pair violates a level, or its bound, by the registry's formula."""
    law = {"dimension": dimension, "kappa": ratio, "sigma": 1.0}
    if level == 0.0:
        return float(REGISTRY["pair_violates_at_zero"](**law))
    return float(REGISTRY["pair_violates"](**law, separability=level))


def deviation(share: float, expected: float, draws: int) -> float:
    """A share less its probability, in standard errors of that probability."""
    error = math.sqrt(expected * (1.0 - expected) / draws)
    if share == expected:
        return 0.0
    return (share - expected) / error if error else math.copysign(math.inf, share - expected)


# ---------------------------------------------------------------------------------------- judged


def speaking(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Settings in which the union bound is positive."""
    return [row for row in rows if row["union"] > 0.0]


def adjusted(rows: Sequence[Mapping[str, Any]]) -> float:
    """The smallest of the p-values of the settings, adjusted for their number."""
    settings = {tuple(row[k] for k in SETTING if k in row): row["p_value"] for row in rows}
    return float(holm(list(settings.values())).min())


def judge(
    mean_angles: Sequence[Mapping[str, Any]],
    of_pairs: Sequence[Mapping[str, Any]],
    of_samples: Sequence[Mapping[str, Any]],
    scope: Scope,
) -> list[Criterion]:
    """The lines of criterion.md."""
    at_zero = [abs(row["z"]) for row in of_pairs if row["level"] == 0]
    above = [row["z"] for row in of_pairs if row["level"] > 0]
    union = [row["z_over_union"] for row in speaking(of_samples)]
    product = [row["z_over_product"] for row in of_samples]
    return [
        common.at_least("C1", "angle: smallest adjusted p", adjusted(mean_angles), LEAST_P),
        common.at_most("C2", "pairs at level 0: largest |z|", max(at_zero), ERRORS),
        common.at_least("C3", "pairs: smallest adjusted p", adjusted(of_pairs), LEAST_P),
        common.at_most("C4", "pairs above level 0: largest z over the bound", max(above), ERRORS),
        common.at_least("C5", "samples: smallest z over the union bound", min(union), -ERRORS),
        common.at_least("C6", "samples: smallest z over the product", min(product), -ERRORS),
        common.enough("C7", "draws", min(row["draws"] for row in of_pairs), scope.draws),
        common.enough("C7", "settings in which the union bound speaks", len(union), 8),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Quantiles of the angle, violating pairs and separable samples, drawn against the laws."""
    mean_angles, of_pairs, of_samples = (
        common.read_rows(results / f"{name}.csv") for name in ("angles", "pairs", "samples")
    )
    figure, ((left, middle, right),) = common.new_figure(1, 3, width=2.6, height=2.8)
    left.plot(
        [row["of_the_law"] for row in mean_angles],
        [row["drawn"] for row in mean_angles],
        "o",
        color=BLUE,
        markersize=3.0,
        fillstyle="none",
    )
    left.plot([0.0, math.pi], [0.0, math.pi], color="0.5", linewidth=0.8, zorder=0)
    left.set(
        xlabel=r"quantile of $\varphi$, noncentral $t$", ylabel=r"quantile of $\varphi$, drawn"
    )
    for zero, label, colour, marker in (
        (True, r"$\lambda=0$", BLUE, "o"),
        (False, r"$\lambda>0$ (bound)", VERMILION, "x"),
    ):
        shown = [row for row in of_pairs if (row["level"] == 0) == zero and row["drawn"] > 0]
        x, y = ([row[name] for row in shown] for name in ("expected", "drawn"))
        middle.plot(x, y, marker, color=colour, markersize=3.5, fillstyle="none", label=label)
    middle.plot([1e-5, 1.0], [1e-5, 1.0], color="0.5", linewidth=0.8, zorder=0)
    middle.set(
        xscale="log",
        yscale="log",
        xlabel="probability or bound, noncentral $F$",
        ylabel="share of violating pairs",
    )
    middle.legend()
    for bound, label, colour, marker in (
        ("union", "union bound", BLUE, "o"),
        ("product", r"$(1-p)^{n(n-1)/2}$", BLACK, "+"),
    ):
        shown = [row for row in of_samples if row[bound] > 0.0]
        x, y = ([row[name] for row in shown] for name in (bound, "drawn"))
        right.plot(x, y, marker, color=colour, markersize=4.0, fillstyle="none", label=label)
    right.plot([0.0, 1.0], [0.0, 1.0], color="0.5", linewidth=0.8, zorder=0)
    right.set(xlabel="bound on P(separable)", ylabel="share of separable samples")
    right.legend(loc="lower right")
    return figure


FIGURES: Mapping[str, Callable[[Path], Any]] = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    tables: dict[str, list[dict[str, Any]]] = {}
    with open_executor("processes", 2) as pool:
        for name, measure, settings in (
            ("angles", angles, ANGLES),
            ("pairs", pairs, PAIRS),
            ("samples", samples, SAMPLES),
        ):
            tasks = [(scope, k) for k in range(len(settings))]
            tables[name] = [row for rows in pool.map(measure, tasks) for row in rows]
            common.save_rows(chosen.output / f"{name}.csv", tables[name])
    common.save_figures(chosen.output, FIGURES)
    union = speaking(tables["samples"])
    measured = {
        "tightness": {"C5": max(row["union"] / row["drawn"] for row in union)},
        "settings_in_which_the_union_bound_is_empty": len(tables["samples"]) - len(union),
        "largest_bound_over_share_of_pairs": max(
            row["expected"] / row["drawn"]
            for row in tables["pairs"]
            if row["level"] > 0 and row["drawn"] > 0.01
        ),
    }
    criteria = judge(tables["angles"], tables["pairs"], tables["samples"], scope)
    common.record(
        chosen,
        "laws_of_the_data",
        {"sigma": SIGMA, **scope._asdict()},
        measured,
        criteria,
        ["sympy"],
    )


if __name__ == "__main__":
    main()
