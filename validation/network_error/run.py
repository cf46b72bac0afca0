"""Error of a network and its standard error against importance sampling; see criterion.md."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.excess_error import ErrorEstimate, network_error
from validation import common
from validation.common import Criterion, FloatArray

KAPPAS = (1.5, 2.0, 3.0, 4.0, 5.0)
STUDENT_15 = 2.1314495
ACCURACY = 0.05
PILOT_POINTS, PILOT_ROUNDS = 20_000, 4
BLOCK = 50_000


class Scope(NamedTuple):
    """How large the study is."""

    networks: int
    points: int
    fewest: int
    fewest_rare: int
    coverage: float
    timed: bool


FULL = Scope(200, 400_000, 180, 20, 0.90, timed=True)
QUICK = Scope(40, 100_000, 35, 4, 0.75, timed=False)


# ------------------------------------------------------------------------------------- reference


def wrong(state: oa.Snapshot, x: FloatArray, label: int) -> FloatArray:
    """1 where the sign of f is wrong, 1/2 where f = 0."""
    size = state.log_norm + state.log_output
    weights = state.sign * np.exp(size - size.max())
    margin = label * (np.maximum(x @ state.direction.T, 0.0) @ weights)
    return np.where(margin == 0.0, 0.5, margin < 0.0)


def moved(
    state: oa.Snapshot, mean: FloatArray, label: int, generator: np.random.Generator
) -> FloatArray:
    """Mean noise of the errors, by rounds of weighted points; the first lie about the origin."""
    shift = -mean
    for _ in range(PILOT_ROUNDS):
        z = shift + generator.standard_normal((PILOT_POINTS, mean.size))
        log_ratio = 0.5 * np.sum((z - shift) ** 2, axis=1) - 0.5 * np.sum(z**2, axis=1)
        weight = wrong(state, mean + z, label) * np.exp(log_ratio - log_ratio.max())
        if weight.sum() == 0.0:
            break
        shift = weight @ z / weight.sum()
    return shift


def reference(
    state: oa.Snapshot, mixture: oa.GaussianMixture, points: int, seed: int
) -> tuple[float, float]:
    """Value and standard error, the mean over both classes."""
    generator = np.random.default_rng([seed, 99])
    values, variances = [], []
    for label in (1, -1):
        mean = label * mixture.kappa * mixture.direction
        shift = moved(state, mean, label, generator)
        parts = []
        for _ in range(points // BLOCK):
            z = generator.standard_normal((BLOCK, mean.size))
            z[: BLOCK // 2] += shift
            # density of the normal law over that of the half-and-half law
            weight = 2.0 / (1.0 + np.exp(z @ shift - 0.5 * shift @ shift))
            parts.append(weight * wrong(state, mean + z, label))
        all_parts = np.concatenate(parts)
        # two strata, drawn in equal numbers: the variance is that inside them
        strata = all_parts.reshape(-1, 2, BLOCK // 2).transpose(1, 0, 2).reshape(2, -1)
        values.append(float(all_parts.mean()))
        variances.append(float(sum(s.var() / s.size for s in strata)) / 4.0)
    return float(np.mean(values)), 0.5 * math.sqrt(sum(variances))


# ----------------------------------------------------------------------------------- measurements


def network(seed: int) -> tuple[oa.Trajectory, oa.GaussianMixture]:
    """One trained network of the population."""
    generator = np.random.default_rng([seed, 7])
    mixture = oa.GaussianMixture(20, float(generator.choice(KAPPAS)), 1.0)
    paired, log_alpha = bool(generator.integers(2)), math.log(10) * generator.uniform(-7.0, 0.6)
    sample = mixture.sample(12, seed, separability=0.0)
    start = oa.Network.random(64, 20, seed, paired=paired)
    return oa.solve(sample, start, log_alpha, oa.stop_at_risk(0.05), tolerance=1e-3), mixture


def measure(scope: Scope) -> list[dict[str, Any]]:
    """One row per network."""
    rows = []
    network_error(*first_of_all(), seed=1)  # compiles
    for seed in range(scope.networks):
        run, mixture = network(seed)
        if not run.is_successful:
            common.note(f"{seed}: {run.status}")
            continue
        began = time.perf_counter()
        estimate: ErrorEstimate = network_error(
            run.final, mixture, relative_error=ACCURACY, seed=seed
        )
        seconds = time.perf_counter() - began
        value, error = reference(run.final, mixture, scope.points, seed)
        gap = estimate.value - value
        rows.append({
            "seed": seed, "kappa": mixture.kappa, "log_alpha": run.log_alpha,
            "estimate": estimate.value, "standard_error": estimate.standard_error,
            "lines": estimate.draws, "undecided": estimate.undecided, "seconds": seconds,
            "reference": value, "reference_error": error,
            "score": gap / math.hypot(estimate.standard_error, error),
        })  # fmt: skip
        if seed % 20 == 0:
            common.note(f"{seed}: {estimate.value:.3g} against {value:.3g} in {seconds:.3f} s")
    return rows


def first_of_all() -> tuple[oa.Snapshot, oa.GaussianMixture]:
    """A network to compile with."""
    mixture = oa.GaussianMixture(3, 2.0, 1.0)
    sample = mixture.sample(4, 0)
    run = oa.solve(sample, oa.Network.random(8, 3, 0), -3.0, oa.stop_at_time(1.0))
    return run.final, mixture


# --------------------------------------------------------------------------------------- verdicts


def judge(rows: list[dict[str, Any]], scope: Scope) -> tuple[dict[str, Any], list[Criterion]]:
    """The lines of criterion.md."""
    from scipy.stats import binomtest

    scores = np.abs([row["score"] for row in rows])
    inside = int(np.sum(scores <= STUDENT_15))
    interval = binomtest(inside, scores.size).proportion_ci(method="exact")
    share = inside / scores.size
    lines = [common.at_least("C1", "coverage of the 95 % interval", share, scope.coverage)]
    if scope.timed:
        low = float(interval.low)
        lines.append(common.at_least("C1", "lower end of its interval", low, 0.88))
    usual = [row for row in rows if row["reference"] >= 1e-3]
    rare = [row for row in rows if 1e-7 <= row["reference"] <= 1e-5]
    for line, which, limit, quantile in (("C2", usual, 0.1, 0.95), ("C3", rare, 3.0, 1.0)):
        accuracy = [row["standard_error"] / row["estimate"] for row in which] or [math.nan]
        seconds = [row["seconds"] for row in which] or [math.nan]
        found = float(np.quantile(accuracy, quantile))
        lines.append(common.at_most(line, "relative standard error", found, ACCURACY))
        if scope.timed:
            found = float(np.quantile(seconds, quantile))
            lines.append(common.at_most(line, "seconds of a call", found, limit))
    gaps = [abs(row["estimate"] / row["reference"] - 1.0) for row in rare] or [math.nan]
    lines += [
        common.at_most("C4", "relative error at operating point 2", float(max(gaps)), 0.15),
        common.enough("C5", "networks compared", len(rows), scope.fewest),
        common.enough("C5", "networks at operating point 2", len(rare), scope.fewest_rare),
    ]
    measured = {
        "coverage": share, "coverage_low": interval.low, "coverage_high": interval.high,
        "compared": len(rows), "at_point_1": len(usual), "at_point_2": len(rare),
        "median_seconds_point_1": np.median([row["seconds"] for row in usual]),
        "median_seconds_point_2": np.median([row["seconds"] for row in rare] or [math.nan]),
        "median_accuracy": np.median([row["standard_error"] / row["estimate"] for row in rows]),
        "median_accuracy_of_reference": np.median(
            [row["reference_error"] / row["reference"] for row in rows]
        ),
    }  # fmt: skip
    return measured, lines


def draw_figure(rows: list[dict[str, Any]]) -> Any:
    """Estimate against reference, and the distribution of the scores."""
    from scipy.stats import t

    figure, (panels,) = common.new_figure(1, 2)
    a, b = (np.array([row[name] for row in rows]) for name in ("reference", "estimate"))
    panels[0].loglog(a, b, ".", markersize=4)
    ends = [a.min() / 2, 0.7]
    panels[0].loglog(ends, ends, color="0.6", linewidth=0.8)
    panels[0].set(xlabel="importance sampling", ylabel="network_error")
    scores = np.sort([row["score"] for row in rows])
    quantiles = t.ppf((np.arange(scores.size) + 0.5) / scores.size, 15)
    panels[1].plot(quantiles, scores, ".", markersize=4)
    panels[1].plot([-4, 4], [-4, 4], color="0.6", linewidth=0.8)
    panels[1].set(xlabel="quantile of Student's law, 15 d.o.f.", ylabel="error / standard error")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows = measure(scope)
    measured, criteria = judge(rows, scope)
    common.save_rows(chosen.output / "networks.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows))
    common.record(chosen, "network_error", scope._asdict(), measured, criteria)


if __name__ == "__main__":
    main()
