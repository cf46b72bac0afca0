"""OA and the spread of errors in a cone against an optimiser over unit vectors: criterion.md."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.executors import open_executor
from overalign.plots.style import BLUE, VERMILION
from validation import common
from validation.common import Criterion, FloatArray

STARTS = 2
DIMENSIONS = (2, 3, 5, 20, 100)
EDGE_ANGLES = (0.0, 1e-8, 1e-3, 0.5 * math.pi, math.pi - 1e-3, math.pi)
EDGE_RATIOS = (0.0, 0.1, 3.0, 10.0)
EDGE_DIMENSIONS = (2, 5, 50)
OFF_THE_EDGE = (-1e-3, -1e-8, 0.0, 1e-8, 1e-3)  # theta_c - phi
THRESHOLD, FALSIFIED = 1e-8, 1e-6


class Scope(NamedTuple):
    """How large the study is."""

    seed: int
    random: int
    edges: int  # every so many of the edge cases
    draws: int
    fewest: int


FULL = Scope(7100, 1000, 1, 20_000, 1500)
QUICK = Scope(7900, 60, 10, 2_000, 120)


class Case(NamedTuple):
    """A cone, and the law of the data."""

    dimension: int
    kappa: float
    sigma: float
    phi: float
    theta_c: float


class Extreme(NamedTuple):
    """The direction in the cone with an extreme of the error."""

    direction: FloatArray
    log_tail: float  # log E of the least error, log(1 - E) of the largest


# --------------------------------------------------------------------------------------- the cases


def random_cases(count: int, generator: np.random.Generator) -> Iterator[Case]:
    """Cones of every width about axes at every angle."""
    for _ in range(count):
        ratio, sigma = 10.0 ** generator.uniform([-1.0, -1.0], [1.0, 1.0])
        phi, theta_c = generator.uniform(0.0, math.pi, 2)
        dimension = int(generator.choice(DIMENSIONS))
        yield Case(dimension, float(ratio * sigma), float(sigma), float(phi), float(theta_c))


def edge_cases() -> Iterator[Case]:
    """Angles at and near their ends, the break condition theta_c = phi, and no signal at all."""
    pairs = [
        *itertools.product(EDGE_ANGLES, EDGE_ANGLES),
        *((phi, phi + off) for phi in (0.3, 1.2, 2.5) for off in OFF_THE_EDGE),
    ]
    for dimension, ratio, (phi, theta_c) in itertools.product(EDGE_DIMENSIONS, EDGE_RATIOS, pairs):
        yield Case(dimension, ratio, 1.0, phi, theta_c)


# ---------------------------------------------------------------------------------- the optimiser


def place(case: Case, generator: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A random signal [d], an axis [d] at the angle phi to it, a basis [d, d - 1] across it."""
    across, _ = np.linalg.qr(generator.standard_normal((case.dimension, 2)))
    signal, other = across.T
    axis = math.cos(case.phi) * signal + math.sin(case.phi) * other
    filled = np.column_stack(
        [axis, generator.standard_normal((case.dimension, case.dimension - 1))]
    )
    return signal, axis, np.linalg.qr(filled)[0][:, 1:]


def extreme(
    case: Case,
    sign: float,
    signal: FloatArray,
    axis: FloatArray,
    basis: FloatArray,
    generator: np.random.Generator,
) -> Extreme:
    """The least (sign -1) or largest (sign 1) error over the cone, from several random starts.

    A point of the cone is the axis turned by at most theta_c towards any basis y: nothing is
    assumed of where in the cone the extreme is. The optimiser sees the error's normal quantile over
    kappa / sigma, which has slopes where the error itself is 0 or 1 to rounding.
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    along, across = float(axis @ signal), basis.T @ signal

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        turn, length = point[0], np.linalg.norm(point[1:])
        towards = point[1:] / length
        aside = towards @ across
        quantile = math.cos(turn) * along + math.sin(turn) * aside
        by_turn = math.cos(turn) * aside - math.sin(turn) * along
        by_azimuth = math.sin(turn) / length * (across - aside * towards)
        return sign * quantile, sign * np.append(by_turn, by_azimuth)

    bounds = [(-case.theta_c, case.theta_c), *[(None, None)] * (case.dimension - 1)]
    options = {"maxiter": 500, "ftol": 1e-16, "gtol": 1e-11}
    found = []
    for _ in range(STARTS):
        azimuth = generator.standard_normal(case.dimension - 1)
        azimuth /= np.linalg.norm(azimuth)
        turn = generator.uniform(0.0, case.theta_c)
        # either side: in the plane both ends of the arc can be local extremes
        for start in (np.append(side * turn, azimuth) for side in (-1.0, 1.0)):
            found.append(
                minimize(
                    objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
                )
            )
    best = min(found, key=lambda each: float(each.fun))
    turn, towards = best.x[0], basis @ best.x[1:] / np.linalg.norm(best.x[1:])
    log_tail = float(log_ndtr(case.kappa / case.sigma * best.fun))
    return Extreme(math.cos(turn) * axis + math.sin(turn) * towards, log_tail)


# -------------------------------------------------------------------------------------- measured


def measure(task: tuple[Case, int, tuple[int, int]]) -> dict[str, float]:
    """The closed forms of one case against the optimiser, and the errors against fresh inputs."""
    case, draws, seed = task
    generator = np.random.default_rng(seed)
    signal, axis, basis = place(case, generator)
    least, largest = (extreme(case, sign, signal, axis, basis, generator) for sign in (-1.0, 1.0))
    law = (case.kappa, case.sigma)
    mixture = oa.GaussianMixture(case.dimension, *law, direction=signal)
    bayes = oa.bayes_error(mixture)
    over_alignment = float(oa.over_alignment(case.phi, case.theta_c, *law))
    spread = float(oa.over_fitting_in_cone(case.phi, case.theta_c, *law))
    smallest = math.exp(least.log_tail)
    # 1 - E and not E where errors are near 1
    gap = -math.expm1(largest.log_tail) - smallest
    wrong = case.kappa * signal + case.sigma * generator.standard_normal((draws, case.dimension))
    return {
        **case._asdict(),
        "over_alignment": over_alignment,
        "minimum_less_bayes": smallest - bayes,
        "difference": abs(smallest - bayes - over_alignment),
        "relative_difference": abs(smallest / (bayes + over_alignment) - 1.0),
        "spread": spread,
        "difference_of_spread": abs(gap - spread),
        "outside": max(
            float(oa.angle(each.direction, axis)) - case.theta_c for each in (least, largest)
        ),
        "least_error": smallest,
        "wrong_less_expected": float(np.mean(wrong @ least.direction <= 0.0)) - smallest,
    }


# ---------------------------------------------------------------------------------------- judged


def pooled_z(rows: Sequence[Mapping[str, Any]], draws: int) -> float:
    """All wrong inputs less those expected, in standard deviations."""
    expected = np.array([row["least_error"] for row in rows])
    excess = sum(row["wrong_less_expected"] for row in rows)
    return float(excess / math.sqrt(np.sum(expected * (1.0 - expected)) / draws))


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""

    def largest(name: str) -> float:
        return max(float(row[name]) for row in rows)

    limits = THRESHOLD, FALSIFIED
    return [
        common.exact("C1", "largest |OA - least error + E*|", largest("difference"), *limits),
        common.exact(
            "C2", "largest relative difference of E* + OA", largest("relative_difference"), *limits
        ),
        common.exact(
            "C3", "largest |spread - largest + least|", largest("difference_of_spread"), *limits
        ),
        common.at_most("C4", "|z| of all wrong inputs", abs(pooled_z(rows, scope.draws)), 3.0),
        common.enough("C5", "cones", len(rows), scope.fewest),
    ]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """OA found by the optimiser against its closed form, and the differences by their size."""
    rows = common.read_rows(results / "cones.csv")
    figure, ((left, right),) = common.new_figure(1, 2, width=3.4, height=3.0)
    shown = [row for row in rows if row["over_alignment"] > 1e-12]
    form, found = (
        np.array([r[k] for r in shown]) for k in ("over_alignment", "minimum_less_bayes")
    )
    left.plot(form, found, ".", color=BLUE, markersize=3.0)
    left.plot([1e-12, 1.0], [1e-12, 1.0], color="0.5", linewidth=0.8, zorder=0)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="OA, closed form",
        ylabel="OA, found by the optimiser",
    )
    for name, label, colour, line in (
        ("difference", "OA", BLUE, "-"),
        ("difference_of_spread", "largest $-$ least error", VERMILION, "-."),
    ):
        # an exact agreement is drawn at the rounding of the errors
        floored = np.maximum([float(row[name]) for row in rows], 1e-17)
        right.plot(
            np.sort(floored), np.linspace(0.0, 1.0, len(rows)), line, color=colour, label=label
        )
    for limit, style in ((THRESHOLD, "--"), (FALSIFIED, ":")):
        right.axvline(limit, color="0.4", linestyle=style, linewidth=0.9)
    right.set(
        xscale="log",
        xlabel="difference of closed form and optimiser",
        ylabel="share of the cones up to it",
    )
    right.legend(loc=(0.22, 0.4), title="dashed: holds below\ndotted: false above")
    return figure


FIGURES: Mapping[str, Callable[[Path], Any]] = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    random = random_cases(scope.random, np.random.default_rng(scope.seed))
    cases = [*random, *list(edge_cases())[:: scope.edges]]
    tasks = [(case, scope.draws, (scope.seed, k)) for k, case in enumerate(cases)]
    with open_executor("processes") as pool:
        rows = list(pool.map(measure, tasks, chunksize=20))
    common.save_rows(chosen.output / "cones.csv", rows)
    common.save_figures(chosen.output, FIGURES)
    measured = {
        "largest_angle_outside_of_the_cone": max(row["outside"] for row in rows),
        "cones_that_hold_the_signal": sum(row["theta_c"] >= row["phi"] for row in rows),
        "z_of_the_wrong_inputs": pooled_z(rows, scope.draws),
    }
    settings = {"starts": STARTS, **scope._asdict()}
    common.record(chosen, "over_alignment_is_the_minimum", settings, measured, judge(rows, scope))


if __name__ == "__main__":
    main()
