"""Predictors after sliding motion against an independent integrator; see criterion.md."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from oracles import AmbiguousFlow, SlidingResult, StopNotReached, sliding_flow

import overalign as oa
from overalign.data import read_sample
from validation import common
from validation.common import Criterion, FloatArray

SECONDS = 300.0  # for the reference on one instance
TOLERANCE = 1e-8
LOSSES = {"square": oa.SquareLoss(), "logistic": oa.LogisticLoss()}
DIGITS_ETA = {"square": 0.05, "logistic": 0.1}


class Scope(NamedTuple):
    """How large the study is."""

    images: int
    width: int
    alphas: tuple[float, ...]
    mixtures: int


FULL = Scope(60, 100, (1e-3, 0.1), 20)
QUICK = Scope(16, 12, (0.1,), 4)


class Case(NamedTuple):
    """One problem, and points that were not trained on."""

    name: str
    sample: oa.Sample
    network: oa.Network
    alpha: float
    loss: str
    stop: oa.Stop
    fresh: FloatArray


# ------------------------------------------------------------------------------------ population


def digit_cases(scope: Scope) -> list[Case]:
    """Digits 3 against 8, both losses."""
    sample = read_sample("digits:3,8", n=scope.images)
    known = {row.tobytes() for row in sample.x}
    everything = read_sample("digits:3,8", n=340).x
    fresh = np.array([row for row in everything if row.tobytes() not in known])
    network = oa.Network.random(scope.width, sample.dimension, seed=0)
    return [
        Case("digits", sample, network, a, loss, oa.stop_at_risk(DIGITS_ETA[loss]), fresh)
        for loss in LOSSES
        for a in scope.alphas
    ]


def mixture_case(seed: int) -> Case:
    """Mixture number `seed`."""
    generator = np.random.default_rng([827, seed])
    n, d, h = (int(generator.integers(*ends)) for ends in ((8, 25), (4, 13), (8, 33)))
    alpha = float(np.exp(generator.uniform(math.log(1e-6), math.log(0.5))))
    mixture = oa.GaussianMixture(d, kappa=1.0, sigma=1.0)
    sample = mixture.sample(n, seed=generator)
    while sample.separability >= 0.0:
        sample = mixture.sample(n, seed=generator)
    network = oa.Network.random(h, d, generator)
    loss = tuple(LOSSES)[seed % 2]
    rate = (1.0 if loss == "square" else 0.5) / n
    rate *= max(float(np.linalg.norm(sample.x[sample.y == y].sum(axis=0))) for y in (-1.0, 1.0))
    stop = oa.stop_at_time((math.log(1.0 / alpha) + 5.0) / rate)
    fresh = mixture.sample(200, seed=generator).x
    return Case(f"mixture {seed}", sample, network, alpha, loss, stop, fresh)


# ------------------------------------------------------------------------------------ comparison


def refer(case: Case) -> SlidingResult:
    """The reference answer, within the time allowed."""
    sample, network = case.sample, case.network
    with common.time_limit(SECONDS):
        return sliding_flow(
            sample.x,
            sample.y,
            network.weights,
            network.output,
            math.log(case.alpha),
            case.loss,
            1.0 / sample.n,
            (case.stop.quantity, case.stop.target),
        )


def compare(case: Case) -> dict[str, Any]:
    """One row."""
    row: dict[str, Any] = {"name": case.name, "loss": case.loss, "alpha": case.alpha}
    row |= {"n": case.sample.n, "d": case.sample.dimension, "h": case.network.width}
    row |= {"separability": case.sample.separability}
    log_alpha = math.log(case.alpha)
    loss = LOSSES[case.loss]
    run = oa.solve(case.sample, case.network, log_alpha, case.stop, loss, TOLERANCE)
    row |= {"outcome": run.outcome.name, "estimate": run.error_estimate, "slides": 0}
    row |= dict.fromkeys(("error", "training_error", "time_error", "reported_error"), math.nan)
    row |= {"reference_slides": 0, "why_left_out": ""}
    try:
        end = refer(case)
    except (AmbiguousFlow, StopNotReached, TimeoutError) as error:
        return row | {"why_left_out": type(error).__name__}
    return row | differences(case, run, end)


def differences(case: Case, run: oa.Trajectory, end: SlidingResult) -> dict[str, Any]:
    """Errors of the solver, and how much was slid."""
    points = np.concatenate([case.sample.x, case.fresh])
    wanted, found = end.predict(points), common.outputs_at(run.final, points)
    error = np.abs(found - wanted) / max(1.0, float(np.abs(wanted).max()))
    ended = common.Ended.of(run)
    return {
        "error": float(error.max()),
        "training_error": float(error[: case.sample.n].max()),
        "time_error": abs(run.time - end.time) / end.time,
        "reported_error": common.reported_error(ended, end),
        "slides": int(run.slides.start.size),
        "reference_slides": len(end.slides),
    }


def judge(rows: list[dict[str, Any]], scope: Scope) -> tuple[dict[str, Any], list[Criterion]]:
    """Measured numbers and the lines of criterion.md."""
    kept = [row for row in rows if not row["why_left_out"]]
    digits = [row for row in kept if row["name"] == "digits"]
    mixtures = [row for row in kept if row["name"] != "digits"]
    sliding = sum(row["reference_slides"] > 0 for row in kept)
    worst = {
        "digits": max((row["error"] for row in digits), default=math.nan),
        "mixtures": max((row["error"] for row in mixtures), default=math.nan),
        "digits_time": max((row["time_error"] for row in digits), default=math.nan),
    }
    other = sum(row["outcome"] != "REACHED" for row in digits)
    lines = [
        common.at_most("C1", "largest output error, digits", worst["digits"], 1e-6),
        common.at_most("C2", "largest output error, mixtures", worst["mixtures"], 1e-6),
        common.at_most("C3", "largest time error, digits", worst["digits_time"], 1e-6),
        common.at_most("C3", "digit runs that did not stop", other, 0),
        common.enough("C4", "digit runs compared", len(digits), 2 * len(scope.alphas)),
        common.enough("C4", "mixtures compared", len(mixtures), scope.mixtures),
        common.enough("C4", "share of runs that slide", sliding / max(len(kept), 1), 0.5),
    ]
    same = sum(row["slides"] == row["reference_slides"] for row in kept)
    measured = {
        "largest_error": worst,
        "left_out": [row["why_left_out"] for row in rows if row["why_left_out"]],
        "runs_that_slide": sliding,
        "runs_with_as_many_slides_as_the_reference": same,
        "compared": len(kept),
        "runs": [row for row in rows if row["name"] == "digits"],
    }
    return measured, lines


def draw_figure(rows: list[dict[str, Any]]) -> Any:
    """Output error of every run against the number of slides."""
    figure, ((axes,),) = common.new_figure(1, 1, width=5.0)
    for label, marker in (("digits", "s"), ("mixture", "o")):
        here = [r for r in rows if r["name"].startswith(label) and not r["why_left_out"]]
        error = [max(row["error"], 1e-16) for row in here]
        axes.plot([row["reference_slides"] for row in here], error, marker, label=label)
    axes.axhline(1e-6, color="k", linewidth=0.8, label="criterion")
    axes.set(xscale="symlog", yscale="log", xlabel="slides", ylabel="largest output error")
    axes.legend(fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    rows: list[dict[str, Any]] = []
    for case in digit_cases(scope):
        rows.append(compare(case))
        common.note(f"{case.name} {case.loss} {case.alpha:g}: {rows[-1]['error']:.1e}")
    seed = compared = 0
    while compared < scope.mixtures and seed < 1.5 * scope.mixtures:
        rows.append(compare(mixture_case(seed)))
        compared += not rows[-1]["why_left_out"]
        seed += 1
        common.note(f"{rows[-1]['name']}: {rows[-1]['error']:.1e} {rows[-1]['why_left_out']}")
    measured, criteria = judge(rows, scope)
    settings = scope._asdict() | {"tolerance": TOLERANCE, "reference_tolerance": 1e-12}
    common.save_rows(chosen.output / "runs.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows))
    common.record(chosen, "solver_sliding", settings, measured, criteria, ["scikit-learn"])


if __name__ == "__main__":
    main()
