"""Error against frozen flows and against time, beside general solvers; see criterion.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign import flow
from validation import baselines, common
from validation.baselines import Answer, Plain
from validation.common import Criterion

ERRORS = (1e-12, 1e-3)  # between which a slope is fitted
REQUIRED = {1.0: 3.5, 0.1: 3.5, 1e-3: 4.0, 1e-100: 4.0}
OURS, SINGLE = "overalign", "overalign, single"
LOOSE_ATOL = 1e-3

Solve = Callable[[float], Answer]


class Scope(NamedTuple):
    """Which settings are swept: decades from the first to the last exponent, in steps."""

    alphas: tuple[float, ...]
    ours: tuple[float, float, float]
    single: tuple[float, float, float]
    reference: tuple[float, float, float]
    others: tuple[float, float, float]
    torch: tuple[float, float, float]
    repeats: int


FULL = Scope(
    (1.0, 0.1, 1e-3, 1e-100),
    (2, 11.5, 0.5),
    (2, 13, 0.5),
    (3, 11, 4),
    (3, 9, 2),
    (3, 5, 2),
    2,
)
QUICK = Scope((1.0, 1e-100), (2, 8, 1), (2, 9, 1), (3, 6, 3), (3, 5, 1), (3, 4, 1), 1)


def settings(span: tuple[float, float, float]) -> list[float]:
    """10^-first, ..., 10^-last."""
    first, last, step = span
    return [float(10.0**-k) for k in np.arange(first, last + 0.5 * step, step)]


# --------------------------------------------------------------------------------------- methods


def ours(problem: Plain) -> Solve:
    """The public solver at a tolerance; evaluations are frozen flows."""
    log_alpha, stop = math.log(problem.alpha), oa.stop_at_risk(problem.eta)

    def solve(tolerance: float) -> Answer:
        run = oa.solve(problem.sample, problem.network, log_alpha, stop, tolerance=tolerance)
        theta = common.plain_weights(run.final)
        return Answer(theta, run.time, run.frozen_flows, run.outcome is oa.Outcome.REACHED)

    return solve


def single(problem: Plain) -> Solve:
    """One solution at one local tolerance (internal: it has no error estimate)."""
    stop, log_alpha = oa.stop_at_risk(problem.eta), math.log(problem.alpha)

    def solve(local: float) -> Answer:
        loss = oa.LogisticLoss()
        task = flow._Task.of(problem.sample, problem.network, log_alpha, stop, loss, 20_000)
        end = flow._integrate(task, local)
        theta = common.plain_weights(end.snapshot)
        return Answer(theta, end.time, end.frozen_flows, end.outcome is oa.Outcome.REACHED)

    return solve


def methods(problem: Plain, scope: Scope) -> Iterator[tuple[str, list[float], Solve]]:
    """(name, settings, solve) of everything that can run here."""
    alpha = problem.alpha
    yield OURS, settings(scope.ours), ours(problem)
    yield SINGLE, settings(scope.single), single(problem)
    reference = settings(scope.reference)
    yield "DOP853 between kinks", reference, lambda t: baselines.kink_splitting(problem, t)
    rtols = settings(scope.others)
    yield "DOP853", rtols, lambda r: baselines.dop853(problem, r, r * alpha)
    yield "DOP853, fixed atol", rtols, lambda r: baselines.dop853(problem, r, r * LOOSE_ATOL)
    if baselines.available("jax", "diffrax", "optimistix"):
        for method in baselines.STAGES:
            run = baselines.Diffrax(problem, method)
            run(problem, 1e-2, 1e-2 * alpha)  # compiles
            yield f"diffrax {method}", rtols, lambda r, run=run: run(problem, r, r * alpha)
    if baselines.available("torch", "torchdiffeq"):
        torch = settings(scope.torch)
        yield "torchdiffeq dopri5", torch, lambda r: baselines.torch_dopri5(problem, r, r * alpha)


def measure(problem: Plain, scope: Scope) -> list[dict[str, Any]]:
    """One row per method and setting."""
    reference = baselines.kink_splitting(problem, 1e-13)
    rows = []
    for name, values, solve in methods(problem, scope):
        for value in values:
            answers: list[Answer] = []
            seconds = common.clock(
                lambda v=value, s=solve, a=answers: a.append(s(v)), scope.repeats, 1.0
            )
            rows.append(
                {
                    "alpha": problem.alpha,
                    "method": name,
                    "setting": value,
                    "error": common.weight_error(answers[0].theta, reference.theta),
                    "time_error": abs(answers[0].time - reference.time) / reference.time,
                    "evaluations": answers[0].evaluations,
                    "seconds": min(seconds),
                    "reached": answers[0].reached,
                }
            )
        common.note(f"alpha {problem.alpha:g}, {name}: errors down to {rows[-1]['error']:.1e}")
    return rows


# --------------------------------------------------------------------------------------- verdicts


def order(rows: list[dict[str, Any]], work: str) -> common.Slope:
    """Minus the slope of log error against log work."""
    fitted = [r for r in rows if r["reached"] and ERRORS[0] <= r["error"] <= ERRORS[1]]
    slope = common.log_log_slope([r[work] for r in fitted], [r["error"] for r in fitted])
    return common.Slope(-slope.value, -slope.high, -slope.low, slope.points)


def judge(
    rows: list[dict[str, Any]], alphas: tuple[float, ...], fewest: int
) -> tuple[dict[str, Any], list[Criterion]]:
    """Slopes and the lines of criterion.md."""
    slopes: dict[str, Any] = {}
    lines = []
    for alpha in alphas:
        for name in dict.fromkeys(row["method"] for row in rows):
            here = [r for r in rows if r["alpha"] == alpha and r["method"] == name]
            slopes.setdefault(name, {})[f"{alpha:g}"] = {
                "against_evaluations": order(here, "evaluations")._asdict(),
                "against_seconds": order(here, "seconds")._asdict(),
            }
        mine = [r for r in rows if r["alpha"] == alpha and r["method"] == OURS]
        lines += _lines(alpha, order(mine, "evaluations"), mine, fewest)
    return slopes, sorted(lines, key=lambda line: line.line)


def _lines(
    alpha: float, slope: common.Slope, mine: list[dict[str, Any]], fewest: int
) -> list[Criterion]:
    threshold = REQUIRED[alpha]
    value, low, high = slope[:3] if slope.points >= fewest else (math.nan,) * 3
    line = "C1" if threshold == 4.0 else "C2"
    smallest = min(row["error"] for row in mine)
    return [
        common.at_least(line, f"slope at alpha = {alpha:g}", value, threshold, (low, high)),
        common.at_most("C3", f"smallest error at alpha = {alpha:g}", smallest, 1e-10),
    ]


def fixed_atol(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What plain weights report at the smallest alpha when atol does not know alpha."""
    name, alpha = "DOP853, fixed atol", min(row["alpha"] for row in rows)
    here = [row for row in rows if row["method"] == name and row["alpha"] == alpha]
    keys = ("alpha", "setting", "reached", "time_error", "error")
    return [{key: row[key] for key in keys} for row in here]


# ----------------------------------------------------------------------------------------- figure


def draw_figure(rows: list[dict[str, Any]], alphas: tuple[float, ...]) -> Any:
    """One column per alpha: against evaluations above, against seconds below."""
    figure, axes = common.new_figure(2, len(alphas), height=3.6)
    names = list(dict.fromkeys(row["method"] for row in rows))
    for column, alpha in enumerate(alphas):
        for line, work in enumerate(("evaluations", "seconds")):
            panel = axes[line, column]
            for number, name in enumerate(names):
                here = [r for r in rows if r["alpha"] == alpha and r["method"] == name]
                here = [r for r in here if math.isfinite(r["error"])]
                values = [r[work] for r in here], [r["error"] for r in here]
                style = "o-" if name == OURS else ".--"
                panel.plot(*values, style, color=f"C{number}", markersize=4, label=name)
            panel.set(xscale="log", yscale="log", xlabel=_label(work), title=f"alpha = {alpha:g}")
        axes[0, column].set_ylabel("error of the weights")
    axes[0, 0].legend(fontsize="x-small")
    return figure


def _label(work: str) -> str:
    return "frozen flows or right-hand sides" if work == "evaluations" else "seconds"


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    sample, network = common.benchmark_a()
    oa.solve(sample, network, -7.0, oa.stop_at_risk(0.1))  # compiles
    rows: list[dict[str, Any]] = []
    for alpha in scope.alphas:
        rows += measure(Plain(sample, network, alpha), scope)
    slopes, criteria = judge(rows, scope.alphas, 3 if chosen.quick else 6)
    libraries = ("jax", "diffrax", "torch", "torchdiffeq")
    measured = {
        "slopes": slopes,
        "plain_weights_with_fixed_atol": fixed_atol(rows),
        "skipped": [name for name in libraries if not baselines.available(name)],
    }
    common.save_rows(chosen.output / "points.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows, scope.alphas))
    common.record(chosen, "solver_work_precision", scope._asdict(), measured, criteria, libraries)


if __name__ == "__main__":
    main()
