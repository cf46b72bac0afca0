"""Time for Benchmark A at equal accuracy, beside general solvers; see criterion.md."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from validation import baselines, common
from validation.baselines import Answer, Plain
from validation.common import Criterion, FloatArray

OUR_TOLERANCES = tuple(10.0 ** np.arange(-2.0, -8.1, -0.25))
RTOLS = tuple(10.0 ** np.arange(-5.0, -12.1, -0.5))
REQUIRED = {"DOP853": 100.0, "Tsit5": 25.0}

FIRST_SOLVE = """
import time
from validation.common import benchmark_a
import overalign as oa
sample, network = benchmark_a()
for _ in range(2):
    begin = time.perf_counter()
    oa.solve(sample, network, -7.0, oa.stop_at_risk(1e-2))
    print(time.perf_counter() - begin)
"""


class Scope(NamedTuple):
    """How large the study is."""

    alphas: tuple[float, ...]
    error: float
    repeats: int


FULL = Scope(tuple(common.BENCHMARK_ALPHAS), 2e-6, 5)
QUICK = Scope((1e-6, 1e-3, 1.0), 1e-4, 1)


class Setting(NamedTuple):
    """A baseline at one alpha: its loosest rtol that is accurate enough, or the tightest tried."""

    rtol: float
    error: float
    evaluations: float
    seconds: list[float]

    def met(self, error: float) -> bool:
        """Whether it is accurate enough."""
        return self.error <= error


# ------------------------------------------------------------------------------------------ ours


def our_errors(problems: Sequence[Plain], references: Sequence[FloatArray], tol: float) -> Any:
    """Errors [alpha] of one batch."""
    run = solve_batch(problems, tol, 2)
    errors = []
    for k, reference in enumerate(references):
        end = run.isel(sample=0, alpha=k)
        final = oa.Snapshot(
            float(end.time),
            end.log_norm.values,
            end.direction.values,
            end.log_output.values,
            end.sign.values,
            np.empty(0),
        )
        errors.append(common.weight_error(common.plain_weights(final), reference))
    return np.array(errors)


def solve_batch(problems: Sequence[Plain], tolerance: float, workers: int) -> Any:
    """All alphas with solve_many."""
    first = problems[0]
    logs = np.log([problem.alpha for problem in problems])
    stop = oa.stop_at_risk(first.eta)
    return oa.solve_many(
        [first.sample], [first.network], logs, stop, tolerance=tolerance, workers=workers
    )


def time_ours(
    problems: Sequence[Plain], references: Sequence[FloatArray], scope: Scope
) -> dict[str, Any]:
    """The loosest tolerance that is accurate enough, and its times with two threads and one."""
    sweep = {}
    for tolerance in OUR_TOLERANCES:
        errors = our_errors(problems, references, tolerance)
        sweep[f"{tolerance:.3g}"] = float(errors.max())
        if errors.max() <= scope.error:
            break
    common.note(f"ours: tolerance {tolerance:.3g}, errors {sweep}")
    seconds = {
        workers: common.clock(
            lambda workers=workers: solve_batch(problems, tolerance, workers),
            3 * scope.repeats,
            20.0,
        )
        for workers in (2, 1)
    }
    stop = oa.stop_at_risk(problems[0].eta)
    alone = [
        min(common.clock(lambda p=p: oa.solve(p.sample, p.network, math.log(p.alpha), stop,
                                              tolerance=tolerance), scope.repeats))
        for p in problems
    ]  # fmt: skip
    return {
        "tolerance": float(tolerance),
        "largest_error_by_tolerance": sweep,
        "errors": errors,
        "seconds_two_threads": seconds[2],
        "seconds_one_thread": seconds[1],
        "seconds_by_alpha": alone,
    }


def compile_seconds() -> dict[str, float]:
    """Extra time of the first solve in a new process, with and without compiled kernels on disk."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first_solve_compiling", "first_solve_from_cache"):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_SOLVE],
                cwd=common.ROOT,
                env=os.environ | {"NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            first, second = map(float, done.stdout.split())
            found[name] = first - second
    return found


# ------------------------------------------------------------------------------------- baselines


def settings_of(
    solve: Callable[[Plain, float, float], Answer],
    problems: Sequence[Plain],
    references: Sequence[FloatArray],
    scope: Scope,
    name: str,
) -> list[Setting]:
    """The setting of every alpha."""
    found = []
    for problem, reference in zip(problems, references, strict=True):
        for rtol in RTOLS:
            begin = time.perf_counter()
            answer = solve(problem, rtol, rtol * problem.alpha)
            seconds = [time.perf_counter() - begin]
            error = common.weight_error(answer.theta, reference)
            if answer.reached and error <= scope.error:
                break
        again = lambda p=problem, r=rtol: solve(p, r, r * p.alpha)  # noqa: E731
        repeats = 1 if seconds[0] > 5.0 else max(scope.repeats - 1, 1)
        seconds += common.clock(again, repeats, 10.0)
        found.append(Setting(float(rtol), error, answer.evaluations, seconds))
        common.note(f"{name} alpha {problem.alpha:.3g}: rtol {rtol:.2g}, error {error:.2g}, {min(seconds):.3g} s")  # fmt: skip # noqa: E501
    return found


def time_tsit5(
    problems: Sequence[Plain], references: Sequence[FloatArray], scope: Scope
) -> dict[str, Any]:
    """diffrax Tsit5, as a loop and as one vmap."""
    begin = time.perf_counter()
    loop = baselines.Diffrax(problems[0], "Tsit5")
    loop(problems[0], 1e-3, 1e-3 * problems[0].alpha)
    compiling = time.perf_counter() - begin
    settings = settings_of(loop, problems, references, scope, "Tsit5")
    batch = baselines.Diffrax(problems[0], "Tsit5", batched=True)
    starts = [problem.split(problem.start) for problem in problems]
    rtol = np.array([setting.rtol for setting in settings])
    alphas = np.array([problem.alpha for problem in problems])
    values = [
        np.stack([w for w, _ in starts]),
        np.stack([v for _, v in starts]),
        rtol,
        rtol * alphas,
    ]
    batch.raw(*values)
    together = common.clock(lambda: batch.raw(*values), scope.repeats, 30.0)
    numbers = summed(settings, scope)
    fastest = min(numbers["seconds"], min(together))
    more = {
        "seconds_vmap": together,
        "seconds_loop": numbers["seconds"],
        "compile_seconds": compiling,
    }
    return numbers | more | {"seconds": fastest, "settings": settings}


def summed(settings: Sequence[Setting], scope: Scope) -> dict[str, Any]:
    """Totals over the alphas."""
    return {
        "seconds": sum(min(setting.seconds) for setting in settings),
        "seconds_slowest_repeats": sum(max(setting.seconds) for setting in settings),
        "evaluations": sum(setting.evaluations for setting in settings),
        "largest_error": max(setting.error for setting in settings),
        "accurate": sum(setting.met(scope.error) for setting in settings),
        "settings": settings,
    }


# --------------------------------------------------------------------------------------- verdicts


def judge(
    ours: dict[str, Any], others: dict[str, dict[str, Any]], scope: Scope
) -> tuple[dict[str, Any], list[Criterion], list[Criterion]]:
    """Ratios, the lines of criterion.md, and the lines for one thread."""
    ratios: dict[str, float] = {}
    lines, single = [], []
    for number, (name, threshold) in enumerate(REQUIRED.items(), start=1):
        theirs = others.get(name, {}).get("seconds", math.nan)
        for threads, into in (("two", lines), ("one", single)):
            ratio = theirs / min(ours[f"seconds_{threads}_thread" + "s" * (threads == "two")])
            ratios[f"{name}_over_ours_{threads}_threads"] = ratio
            line = f"C{number}" if threads == "two" else f"C{number}s"
            statement = f"times faster than {name}, threads: {threads}"
            into.append(common.at_least(line, statement, ratio, threshold))
    accurate = [found["accurate"] for found in others.values()]
    accurate.append(int(np.sum(ours["errors"] <= scope.error)))
    lines.append(
        common.enough("C3", "fewest alphas at the accuracy", min(accurate), len(scope.alphas))
    )
    return ratios, lines, single


def without_settings(found: dict[str, Any]) -> dict[str, Any]:
    """What the CSV does not hold already."""
    return {name: value for name, value in found.items() if name != "settings"}


def rows_of(
    scope: Scope, ours: dict[str, Any], others: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The CSV, one row per alpha."""
    rows = []
    for k, alpha in enumerate(scope.alphas):
        row = {
            "alpha": float(alpha),
            "ours_error": float(ours["errors"][k]),
            "ours_seconds": ours["seconds_by_alpha"][k],
        }
        for name, found in others.items():
            setting = found["settings"][k]
            row |= {
                f"{name}_rtol": setting.rtol,
                f"{name}_error": setting.error,
                f"{name}_evaluations": setting.evaluations,
                f"{name}_seconds": min(setting.seconds),
            }
        rows.append(row)
    return rows


def draw_figure(rows: list[dict[str, Any]]) -> Any:
    """Seconds against alpha."""
    figure, ((axes,),) = common.new_figure(1, 1, width=5.0)
    alphas = [row["alpha"] for row in rows]
    for name in ("ours", "DOP853", "Tsit5"):
        if f"{name}_seconds" in rows[0]:
            seconds = [row[f"{name}_seconds"] for row in rows]
            axes.plot(alphas, seconds, "o-", markersize=3, label=name.replace("ours", "overalign"))
    axes.set(xscale="log", yscale="log", xlabel="alpha", ylabel="seconds, one thread")
    axes.legend(fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    sample, network = common.benchmark_a()
    problems = [Plain(sample, network, float(alpha)) for alpha in scope.alphas]
    references = [baselines.kink_splitting(problem).theta for problem in problems]
    common.note("references done")
    solve_batch(problems, 1e-3, 2)  # compiles
    ours = time_ours(problems, references, scope)
    others: dict[str, dict[str, Any]] = {}
    skipped = [] if baselines.available("jax", "diffrax", "optimistix") else ["diffrax Tsit5"]
    if not skipped:
        others["Tsit5"] = time_tsit5(problems, references, scope)
    plain = settings_of(baselines.dop853, problems, references, scope, "DOP853")
    others["DOP853"] = summed(plain, scope)
    ratios, criteria, single = judge(ours, others, scope)
    measured = {
        "ratios": ratios,
        "ours": ours,
        **{name: without_settings(found) for name, found in others.items()},
        "compilation": {} if chosen.quick else compile_seconds(),
        "one_thread": [vars(line) for line in single],
        "skipped": skipped,
    }  # fmt: skip
    rows = rows_of(scope, ours, others)
    common.save_rows(chosen.output / "by_alpha.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows))
    settings = scope._asdict() | {"aims": {"DOP853": 300, "Tsit5": 80}}
    common.record(chosen, "solver_speed", settings, measured, criteria, ["jax", "diffrax"])


if __name__ == "__main__":
    main()
