"""True error against `tolerance` and `error_estimate` on random instances; see criterion.md."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from oracles import FlowResult, SlidingEncountered, StopNotReached, kink_flow

import overalign as oa
from validation import common
from validation.common import Criterion

SECONDS = 60.0  # for the reference on one instance


class Scope(NamedTuple):
    """How large the study is."""

    instances: int
    compared: int
    n: int
    dimension: int
    width: int
    tolerances: tuple[float, ...]


FULL = Scope(210, 200, 40, 50, 64, (1e-4, 1e-6, 1e-8, 1e-10))
QUICK = Scope(6, 5, 10, 10, 10, (1e-4, 1e-8))


@dataclass(frozen=True)
class Instance:
    """One problem of the population."""

    seed: int
    sample: oa.Sample
    network: oa.Network
    log_alpha: float
    eta: float


def draw(seed: int, scope: Scope) -> Instance:
    """Instance number `seed` of the population."""
    generator = np.random.default_rng([2602, seed])
    n, d, h = (
        int(generator.integers(low, high + 1))
        for low, high in ((4, scope.n), (3, scope.dimension), (4, scope.width))
    )
    smallest = math.log(1e-2) if generator.random() < 1 / 3 else math.log(1e-300)
    log_alpha = float(generator.uniform(smallest, 0.0))
    eta = float(np.exp(generator.uniform(math.log(1e-3), math.log(0.1))))
    sigma = float(np.exp(generator.uniform(math.log(0.1), 0.0)))
    mixture = oa.GaussianMixture(d, float(generator.uniform(1.0, 4.0)), sigma)
    rows, signs = ("sphere", "gaussian"), ("alternating", "random")
    sample = mixture.sample(n, seed=generator, separability=0.0)
    network = oa.Network.random(
        h, d, generator, rows[int(generator.integers(2))], signs[int(generator.integers(2))]
    )
    return Instance(seed, sample, network, log_alpha, eta)


def refer(instance: Instance, tolerance: float, stop: tuple[str, float]) -> FlowResult:
    """The reference answer, within the time allowed."""
    sample, network = instance.sample, instance.network
    with common.time_limit(SECONDS):
        return kink_flow(
            sample.x,
            sample.y,
            network.weights,
            network.output,
            instance.log_alpha,
            "logistic",
            1.0 / sample.n,
            stop,
            tolerance=tolerance,
        )


# ------------------------------------------------------------------------------------ comparison


def compare(instance: Instance, tolerances: Sequence[float]) -> Iterator[dict[str, Any]]:
    """One row per tolerance; `case` says whether the instance could be compared."""
    row = {
        "seed": instance.seed,
        "n": instance.sample.n,
        "d": instance.sample.dimension,
        "h": instance.network.width,
        "log10_alpha": instance.log_alpha / math.log(10.0),
        "eta": instance.eta,
    }
    begin = time.perf_counter()
    case, answer, uncertainty = reference(instance)
    row |= {"reference_seconds": time.perf_counter() - begin, "uncertainty": uncertainty}
    for tolerance in tolerances:
        begin = time.perf_counter()
        run = oa.solve(*_problem(instance), tolerance=tolerance)
        seconds = time.perf_counter() - begin
        reached = run.outcome is oa.Outcome.REACHED
        here = case if case != "compared" or reached else disagreement(instance, run)
        if case == "no stop":
            here = "wrongly reached" if reached else disagreement(instance, run)
        error = math.nan
        if answer is not None and here == "compared":
            error = common.reported_error(common.Ended.of(run), answer)
        yield row | {
            "tolerance": tolerance,
            "case": here,
            "outcome": run.outcome.name,
            "error": error,
            "estimate": run.error_estimate,
            "seconds": seconds,
        }


def reference(instance: Instance) -> tuple[str, FlowResult | None, float]:
    """(case, answer, uncertainty): "compared", "already there", "no stop" or "dropped: why"."""
    stop = ("risk", instance.eta)
    try:
        rough, fine = refer(instance, 1e-11, stop), refer(instance, 1e-12, stop)
    except StopNotReached:
        return "no stop", None, math.nan
    except TimeoutError:
        return unreached_or_slow(instance), None, math.nan
    except SlidingEncountered as error:
        return f"dropped: {type(error).__name__}", None, math.nan
    if fine.time == 0.0:
        return "already there", None, 0.0
    return "compared", fine, common.reported_error(rough, fine)


def unreached_or_slow(instance: Instance) -> str:
    """A flow without a stop runs out of time: then the uncovered samples hold the risk up."""
    try:
        held = uncovered_risk(instance, 1e3 * instance.sample.n)
    except TimeoutError:
        return "dropped: time limit"
    return "no stop" if held >= instance.eta else "dropped: time limit"


def disagreement(instance: Instance, run: oa.Trajectory) -> str:
    """For a run that did not reach the stop: whether the reference cannot reach it either."""
    horizon = 3.0 * run.time + 100.0
    try:
        held = uncovered_risk(instance, horizon)
    except StopNotReached:
        return "unreached, agreed"
    except TimeoutError:
        return "dropped: time limit"
    return "unreached, agreed" if held >= instance.eta else "wrongly unreached"


def uncovered_risk(instance: Instance, horizon: float) -> float:
    """Risk at a time held by samples on which no neuron is active (their output is 0)."""
    end = refer(instance, 1e-9, ("time", horizon))
    active = (end.weights @ instance.sample.x.T > 0.0).any(axis=0)
    return math.log(2.0) * np.count_nonzero(~active) / instance.sample.n


def _problem(instance: Instance) -> tuple[oa.Sample, oa.Network, float, oa.Stop]:
    stop = oa.stop_at_risk(instance.eta)
    return instance.sample, instance.network, instance.log_alpha, stop


# --------------------------------------------------------------------------------------- verdicts


def is_unresolved(row: dict[str, Any]) -> bool:
    """The reference is not accurate enough to call this a failure."""
    tolerance = row["tolerance"]
    return bool(row["error"] > tolerance and row["uncertainty"] > 0.1 * tolerance)


def judge(rows: list[dict[str, Any]], scope: Scope) -> tuple[dict[str, Any], list[Criterion]]:
    """Measured numbers and the lines of criterion.md."""
    compared = [row for row in rows if row["case"] == "compared"]
    unresolved = sum(map(is_unresolved, compared))
    seeds = {row["seed"] for row in compared}
    lines = [common.enough("C1", "instances compared", len(seeds), scope.compared)]
    measured: dict[str, Any] = {
        "instances": scope.instances,
        "compared": len(seeds),
        "cases": _counts(rows, scope.tolerances[0]),
        "unresolved_comparisons": unresolved,
        "tolerances": {},
    }
    for tolerance in scope.tolerances:
        here = [row for row in compared if row["tolerance"] == tolerance]
        if not here:
            continue
        numbers = shares([row for row in here if not is_unresolved(row)], here)
        measured["tolerances"][f"{tolerance:g}"] = numbers
        lines += _lines(tolerance, numbers)
    wrong = sum(row["case"].startswith("wrongly") for row in rows)
    lines.append(common.at_most("C5", "outcomes that disagree", wrong, 0))
    share = unresolved / max(len(compared), 1)
    lines.append(common.at_most("C6", "share of comparisons unresolved", share, 0.01))
    return measured, lines


def shares(resolved: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares at one tolerance."""
    ratio = np.array([row["error"] / row["tolerance"] for row in resolved])
    error, estimate, uncertainty, seconds = (
        np.array([row[name] for row in rows])
        for name in ("error", "estimate", "uncertainty", "seconds")
    )
    return {
        "within_tolerance": float(np.mean(ratio <= 1.0)),
        "largest_error_over_tolerance": float(ratio.max()),
        "median_error_over_tolerance": float(np.median(ratio)),
        "covered": float(np.mean((error <= estimate) | (error <= uncertainty))),
        "covered_without_allowance": float(np.mean(error <= estimate)),
        "median_estimate_over_error": float(np.median(estimate / error)),
        "admitted_above_tolerance": int(np.sum(estimate > [row["tolerance"] for row in rows])),
        "median_seconds": float(np.median(seconds)),
        "largest_seconds": float(seconds.max()),
    }


def _lines(tolerance: float, numbers: dict[str, float]) -> list[Criterion]:
    at = f"at {tolerance:g}"
    within, largest = numbers["within_tolerance"], numbers["largest_error_over_tolerance"]
    return [
        common.at_least("C2", f"share of errors within the tolerance, {at}", within, 0.99),
        common.at_most("C3", f"largest error over tolerance, {at}", largest, 10.0),
        common.at_least("C4", f"share covered by the estimate, {at}", numbers["covered"], 0.95),
    ]


def _counts(rows: list[dict[str, Any]], tolerance: float) -> dict[str, int]:
    cases = [row["case"] for row in rows if row["tolerance"] == tolerance]
    return {case: cases.count(case) for case in sorted(set(cases))}


# ----------------------------------------------------------------------------------------- figure


def draw_figure(rows: list[dict[str, Any]], tolerances: Sequence[float]) -> Any:
    """Error against alpha, and estimate against error."""
    figure, ((left, right),) = common.new_figure(1, 2, width=4.8)
    for tolerance in tolerances:
        here = [r for r in rows if r["tolerance"] == tolerance and r["case"] == "compared"]
        error = [row["error"] for row in here]
        label = f"tolerance {tolerance:g}"
        (dots,) = left.plot([r["log10_alpha"] for r in here], error, ".", label=label)
        left.axhline(tolerance, color=dots.get_color(), linewidth=0.8)
        right.plot(error, [row["estimate"] for row in here], ".", color=dots.get_color())
    span = (1e-14, 1e-3)
    right.plot(span, span, "k-", linewidth=0.8, label="estimate = error")
    left.set(yscale="log", xlabel="log10 alpha", ylabel="true error")
    right.set(xscale="log", yscale="log", xlabel="true error", ylabel="error_estimate")
    left.legend(fontsize="small")
    right.legend(fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    begin = time.perf_counter()
    oa.solve(*_problem(draw(0, QUICK)))  # compiles
    rows: list[dict[str, Any]] = []
    for seed in range(scope.instances):
        latest = list(compare(draw(seed, scope), scope.tolerances))
        ratios = ", ".join(f"{row['error'] / row['tolerance']:.2g}" for row in latest)
        common.note(f"{seed}: {latest[-1]['case']}; error/tolerance {ratios}")
        rows += latest
        if seed % 10 == 9:  # an interrupted study leaves what it had measured
            common.save_rows(chosen.output / "instances.csv", rows)
    measured, criteria = judge(rows, scope)
    measured["minutes"] = (time.perf_counter() - begin) / 60.0
    settings = scope._asdict() | {"reference_tolerances": [1e-12, 1e-11], "seconds": SECONDS}
    common.save_rows(chosen.output / "instances.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows, scope.tolerances))
    common.record(chosen, "solver_honest_tolerance", settings, measured, criteria)


if __name__ == "__main__":
    main()
