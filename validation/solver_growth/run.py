"""Growth of time with the sizes of a problem, and memory of a large batch; see criterion.md."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from validation import common
from validation.common import Criterion, FloatArray

ALPHAS = (1e-3, 1.0)
TOLERANCE = 1e-6
GIBIBYTE = 2**30
LIMITS = {"width": 1.15, "dimension": 1.15, "n": 2.1}
SMALLEST = {"width": 50, "dimension": 10, "n": 10}
LINES = {"width": "C1", "dimension": "C2", "n": "C3"}

BATCH = """
import json, resource, sys, time
import overalign as oa
count = int(sys.argv[1])
mixture = oa.GaussianMixture(20, kappa=3.0, sigma=0.3)
samples = [mixture.sample(24, seed=k, separability=0.0) for k in range(count)]
networks = [oa.Network.random(64, 20, seed=k) for k in range(count)]
stop = oa.stop_at_risk(1e-2)
oa.solve(samples[0], networks[0], -7.0, stop)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter()
result = oa.solve_many(samples, networks, [-6.907755278982137], stop, tolerance=1e-6, workers=2)
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
reached = int((result.outcome == "REACHED").sum())
print(json.dumps({"trajectories": count, "reached": reached, "seconds": seconds,
                  "per_second": count / seconds, "peak_bytes": peak * unit,
                  "peak_bytes_before": before * unit}))
"""


class Scope(NamedTuple):
    """How large the study is."""

    seeds: int
    doublings: dict[str, int]
    repeats: int
    trajectories: int


FULL = Scope(3, {"width": 6, "dimension": 5, "n": 5}, 3, 4096)
QUICK = Scope(2, {"width": 2, "dimension": 2, "n": 2}, 1, 64)


# ---------------------------------------------------------------------------------- measurements


def seconds_of(
    problem: tuple[oa.Sample, oa.Network], log_alpha: float, tolerance: float, repeats: int
) -> tuple[float, oa.Trajectory]:
    """Smallest time of a solve, and its result."""
    runs: list[oa.Trajectory] = []
    stop = oa.stop_at_risk(common.BENCHMARK_ETA)
    seconds = common.clock(
        lambda: runs.append(oa.solve(*problem, log_alpha, stop, tolerance=tolerance)), repeats, 1.0
    )
    return min(seconds), runs[0]


def measure_growth(scope: Scope) -> list[dict[str, Any]]:
    """One row per size, value, alpha and seed."""
    rows = []
    for size, doublings in scope.doublings.items():
        for value in (SMALLEST[size] * 2**k for k in range(doublings + 1)):
            for seed in range(scope.seeds):
                problem = common.benchmark_a(**{size: value}, seed=seed)
                for alpha in ALPHAS:
                    seconds, run = seconds_of(problem, math.log(alpha), TOLERANCE, scope.repeats)
                    rows.append(
                        {
                            "size": size,
                            "value": value,
                            "alpha": alpha,
                            "seed": seed,
                            "seconds": seconds,
                            "frozen_flows": run.frozen_flows,
                            "steps": run.steps,
                            "outcome": run.outcome.name,
                        }
                    )
            common.note(f"{size} {value}: {rows[-2]['seconds']:.3g} s, {rows[-1]['seconds']:.3g} s")
    return rows


def tiny_alpha(scope: Scope) -> dict[str, list[float]]:
    """Ratios of the times at alpha = 1e-300 and 1e-3, by tolerance."""
    ratios: dict[str, list[float]] = {}
    for tolerance in (1e-6, 1e-8):
        for seed in range(scope.seeds):
            problem = common.benchmark_a(seed=seed)
            times = [
                seconds_of(problem, math.log(alpha), tolerance, 3 * scope.repeats)[0]
                for alpha in (1e-300, 1e-3)
            ]
            ratios.setdefault(f"{tolerance:g}", []).append(times[0] / times[1])
    return ratios


def run_batch(trajectories: int) -> dict[str, float]:
    """`solve_many` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BATCH, str(trajectories)],
        cwd=common.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


# --------------------------------------------------------------------------------------- verdicts


def exponent(rows: list[dict[str, Any]], seeds: int) -> tuple[float, float, float]:
    """Slope of log seconds against log size, and its bootstrap interval over the seeds."""
    values = sorted({row["value"] for row in rows})
    table = {(row["seed"], row["value"]): row["seconds"] for row in rows}
    logs = np.log([[table[seed, value] for value in values] for seed in range(seeds)])
    centred = np.log(values) - np.mean(np.log(values))
    slopes: FloatArray = logs @ centred / (centred @ centred)  # one per seed
    generator = np.random.default_rng(0)
    means = slopes[generator.integers(seeds, size=(2000, seeds))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(slopes.mean()), float(low), float(high)


def judge(
    rows: list[dict[str, Any]],
    ratios: dict[str, list[float]],
    batch: dict[str, float],
    scope: Scope,
) -> tuple[dict[str, Any], list[Criterion]]:
    """Exponents and the lines of criterion.md."""
    lines = []
    exponents: dict[str, Any] = {}
    for size, limit in LIMITS.items():
        for alpha in ALPHAS:
            here = [row for row in rows if row["size"] == size and row["alpha"] == alpha]
            value, low, high = exponent(here, scope.seeds)
            exponents[f"{size}, alpha = {alpha:g}"] = {"value": value, "low": low, "high": high}
            statement = f"exponent in {size} at alpha = {alpha:g}"
            lines.append(common.at_most(LINES[size], statement, value, limit, (low, high)))
    for tolerance, found in ratios.items():
        statement = f"time at alpha 1e-300 over 1e-3, tolerance {tolerance}"
        lines.append(common.at_most("C4", statement, float(np.median(found)), 2.0))
    gibibytes = batch["peak_bytes"] / GIBIBYTE
    lines.append(common.at_most("C5", "peak memory of the batch, GiB", gibibytes, 1.0))
    outcomes = sorted({row["outcome"] for row in rows})
    return {"exponents": exponents, "outcomes": outcomes}, lines


def draw_figure(rows: list[dict[str, Any]]) -> Any:
    """Seconds against each size."""
    figure, (panels,) = common.new_figure(1, 3)
    for panel, size in zip(panels, LIMITS, strict=True):
        for alpha, color in zip(ALPHAS, ("C0", "C1"), strict=True):
            here = [row for row in rows if row["size"] == size and row["alpha"] == alpha]
            values = sorted({row["value"] for row in here})
            times = [[r["seconds"] for r in here if r["value"] == value] for value in values]
            panel.plot([r["value"] for r in here], [r["seconds"] for r in here], ".", color=color)
            panel.plot(
                values, [np.median(t) for t in times], color=color, label=f"alpha = {alpha:g}"
            )
        panel.set(xscale="log", yscale="log", xlabel=size, ylabel="seconds")
    panels[0].legend(fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    oa.solve(*common.benchmark_a(), -7.0, oa.stop_at_risk(0.1))  # compiles
    rows = measure_growth(scope)
    ratios, batch = tiny_alpha(scope), run_batch(scope.trajectories)
    measured, criteria = judge(rows, ratios, batch, scope)
    measured |= {"time_ratios_at_tiny_alpha": ratios, "batch": batch}
    common.save_rows(chosen.output / "times.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows))
    settings = scope._asdict() | {"tolerance": TOLERANCE, "alphas": ALPHAS}
    common.record(chosen, "solver_growth", settings, measured, criteria, ["xarray"])


if __name__ == "__main__":
    main()
