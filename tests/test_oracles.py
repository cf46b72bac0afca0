"""The reference integrators held against closed forms, plain integrators and each other."""

from math import exp, inf, log

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import (
    SlidingEncountered,
    StopNotReached,
    catching_up,
    catching_up_ladder,
    kink_flow,
    sliding_flow,
)
from oracles.kinks import earliest_fall, first_fall, pulls, split
from scipy.integrate import solve_ivp
from scipy.special import expi

Array = NDArray[np.float64]
Problem = tuple[Array, Array, Array, Array]


def separable(seed: int, n: int, d: int, h: int, balanced: bool = True) -> Problem:
    """Orthogonally separable data, and a network."""
    rng = np.random.default_rng(seed)
    rows: list[Array] = []
    while len(rows) < n:
        row = 1.5 * np.eye(d)[0] + 0.5 * rng.normal(size=d)
        if all(row @ other > 0 for other in rows):
            rows.append(row)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    weights = rng.normal(size=(h, d)) / np.sqrt(d)
    sizes = np.linalg.norm(weights, axis=1) if balanced else rng.normal(size=h)
    return np.array(rows) * y[:, None], y, weights, sizes * rng.choice([-1.0, 1.0], h)


def mixture(seed: int, n: int = 12, d: int = 8, h: int = 8) -> Problem:
    """Data with many violating pairs: neurons slide."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    x = 0.7 * y[:, None] * np.eye(d)[0] + rng.normal(size=(n, d))
    weights = rng.normal(size=(h, d))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return x, y, weights, np.where(np.arange(h) % 2 == 0, 1.0, -1.0)


def neuron(direction: list[float]) -> tuple[Array, Array]:
    """One balanced neuron with positive output."""
    weights = np.array([direction])
    return weights, np.linalg.norm(weights, axis=1)


# -------------------------------------------------------------------------------- closed forms
def time_to(kind: str, weight: float, start_log: float, end: float) -> float:
    """Time of f' = 2 f c(f) from exp(start_log) to `end` (one aligned neuron, unit x, y = 1)."""
    below = np.euler_gamma + start_log if start_log < -50 else expi(exp(start_log))
    if kind == "logistic":
        return float(log(end) - start_log + expi(end) - below) / (2 * weight)
    if kind == "exponential":
        return float(expi(end) - below) / (2 * weight)
    return (log(end / (1 - end)) - start_log + np.log1p(-exp(start_log))) / (2 * weight)


@pytest.mark.parametrize("kind", ["logistic", "exponential", "square"])
@pytest.mark.parametrize("log_alpha", [-0.7, -5.0, -100.0])
def test_one_aligned_neuron_follows_its_closed_form(kind: str, log_alpha: float) -> None:
    weights, output = neuron([0.6, 0.8])
    run = kink_flow(weights, [1.0], weights, output, log_alpha, kind, 0.5, ("margin", 0.75))
    assert run.time == pytest.approx(time_to(kind, 0.5, 2 * log_alpha, 0.75), rel=2e-13)
    assert run.sample_outputs == pytest.approx([0.75], rel=1e-13)
    assert run.log_norm == pytest.approx([0.5 * log(0.75)], abs=1e-13)


def test_frozen_flow_is_a_hyperbolic_rotation_at_any_scale() -> None:
    x, y, (w, v) = np.array([[1.0, 0.2], [-0.9, 0.3]]), np.array([1.0, -1.0]), ([0.5, 2.0], -0.3)
    drive = 0.25 * (x[0] - x[1])
    speed = float(np.linalg.norm(drive))
    unit = drive / speed
    along, across, time = float(w @ unit), w - (w @ unit) * unit, 1.3
    run = kink_flow(x, y, [w], [v], -5000.0, "logistic", 0.5, ("time", time))
    grown = across + unit * (along * np.cosh(speed * time) + v * np.sinh(speed * time))
    assert run.kinks == []
    assert run.direction[0] == pytest.approx(grown / np.linalg.norm(grown), abs=1e-14)
    assert run.log_norm[0] == pytest.approx(log(np.linalg.norm(grown)) - 5000.0, abs=2e-12)
    value = v * np.cosh(speed * time) + along * np.sinh(speed * time)
    assert run.output[0] / np.linalg.norm(run.weights) == pytest.approx(
        value / np.linalg.norm(grown), rel=1e-13
    )


def test_a_kink_is_crossed_where_the_frozen_flow_crosses_it() -> None:
    x, y = np.array([[1.0, 0.5], [0.2, 1.0]]), np.array([1.0, 1.0])
    weights, output = neuron([1.0, -0.6])
    c, unit = 0.25, x[0] / np.linalg.norm(x[0])
    speed, along = c * float(np.linalg.norm(x[0])), float(weights[0] @ unit)
    across = weights[0] - along * unit
    needed = -float(across @ x[1]) / float(unit @ x[1])
    size = float(np.linalg.norm(across))
    expected = (np.arcsinh(needed / size) - np.arcsinh(along / size)) / speed
    run = kink_flow(x, y, weights, output, -400.0, "logistic", 0.5, ("time", 20.0))
    ((time, j, i, active),) = run.kinks
    assert (j, i, active) == (0, 1, True)
    assert time == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("log_alpha", [-30.0, -700.0])
def test_sliding_has_a_closed_form_while_the_residuals_rest(log_alpha: float) -> None:
    x, y = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([1.0, -1.0])
    weights, output = neuron([0.8, 0.3])
    c, drive = 0.25, np.array([1.0, -0.5])
    speed, unit = c * float(np.linalg.norm(drive)), drive / np.linalg.norm(drive)
    along = float(weights[0] @ unit)
    across = weights[0] - along * unit
    size = float(np.linalg.norm(across))
    reached = across[1] / -unit[1]
    meeting = (np.arcsinh(reached / size) - np.arcsinh(along / size)) / speed
    at_kink = float(across[0] + reached * unit[0])
    run = sliding_flow(x, y, weights, output, log_alpha, "logistic", 0.5, ("time", meeting + 9.0))
    ((start, end, j, i),) = run.slides
    assert (end, j, i) == (inf, 0, 1)
    assert start == pytest.approx(meeting, rel=1e-13)
    assert run.direction[0] == pytest.approx([1.0, 0.0], abs=1e-15)
    assert run.log_norm[0] - log_alpha == pytest.approx(log(at_kink) + 9.0 * c, abs=2e-12)


def test_a_neuron_that_decays_along_a_kink_keeps_its_digits() -> None:
    x, y = np.array([[1.0, -0.5], [0.0, 1.0]]), np.array([-1.0, -1.0])
    weights, output = neuron([1.0, 0.0])
    run = sliding_flow(x, y, weights, output, -20.0, "logistic", 0.5, ("time", 400.0))
    assert [slide[2:] for slide in run.slides] == [(0, 1)]
    assert run.log_norm == pytest.approx([-120.0], abs=1e-11)
    assert run.log_output == pytest.approx([-120.0], abs=1e-11)


# ----------------------------------------------------------------------------- root isolation
def test_first_fall_is_the_first_root() -> None:
    rng = np.random.default_rng(0)
    grid = np.linspace(0, 1, 101)
    for _ in range(200):
        coefficients = rng.normal(size=8)
        coefficients[0] = abs(coefficients[0])
        below = np.array([split(coefficients, s)[0][-1] < 0 for s in grid])
        found = first_fall(coefficients)
        if found is None:
            assert not below.any()
            continue
        assert split(coefficients, found)[0][-1] == pytest.approx(0, abs=1e-13)
        assert not below[grid < found].any()
        assert split(coefficients, found + 1e-9)[0][-1] < 0


def test_a_double_crossing_inside_a_step_is_seen() -> None:
    centre, half = 0.4, 1e-4
    powers = np.array([(centre**2 - half**2), -2 * centre, 1.0])
    c = np.array([powers[0] + powers[1] * k / 7 + powers[2] * k * (k - 1) / 42 for k in range(8)])
    assert first_fall(c) == pytest.approx(centre - half, abs=1e-10)
    assert first_fall(c + 2 * half**2) is None
    assert earliest_fall(np.array([c[::-1], c, c + 1.0])) == (pytest.approx(centre - half), 1)


# -------------------------------------------------------------------- plain integrator, invariants
def plain(problem: Problem, log_alpha: float, kind: str, time: float) -> tuple[Array, Array]:
    """(w, v) by scipy's DOP853 straight across the kinks."""
    x, y, weights, output = problem
    h, d = weights.shape

    def velocity(_: float, state: Array) -> Array:
        w, v = state[: h * d].reshape(h, d), state[h * d :]
        s = w @ x.T
        c = pulls(kind, 1 / len(y), v @ np.maximum(s, 0), y)
        drive = ((s > 0) * c) @ x
        return np.concatenate([(v[:, None] * drive).ravel(), np.einsum("jd,jd->j", w, drive)])

    start = np.exp(log_alpha) * np.concatenate([weights.ravel(), output])
    end = solve_ivp(velocity, (0, time), start, "DOP853", rtol=1e-9, atol=1e-13).y[:, -1]
    return end[: h * d].reshape(h, d), end[h * d :]


@pytest.mark.parametrize("kind", ["logistic", "exponential", "square"])
@pytest.mark.parametrize("balanced", [True, False])
def test_agrees_with_a_plain_integrator(kind: str, balanced: bool) -> None:
    problem = separable(3, 8, 5, 10, balanced)
    time = 2.0 if kind == "square" else 12.0
    for run in (
        kink_flow(*problem, -1.5, kind, 1 / 8, ("time", time)),
        sliding_flow(*problem, -1.5, kind, 1 / 8, ("time", time)),
    ):
        w, v = plain(problem, -1.5, kind, time)
        assert len(run.kinks) > 10
        assert run.time == time
        assert run.parameters[0] == pytest.approx(w, abs=2e-7)
        assert run.parameters[1] == pytest.approx(v, abs=2e-7)


@pytest.mark.parametrize("log_alpha", [1.3, -1.0, -12.0, -200.0])
def test_kink_flow_converges_with_its_tolerance(log_alpha: float) -> None:
    problem = separable(5, 12, 6, 16)
    stop = ("risk", 1e-2)
    fine, coarse = (
        kink_flow(*problem, log_alpha, "logistic", 1 / 12, stop, tolerance=tol)
        for tol in (1e-12, 1e-10)
    )
    assert fine.risk == pytest.approx(1e-2, rel=1e-12)
    assert coarse.time == pytest.approx(fine.time, rel=1e-9)
    assert coarse.log_norm == pytest.approx(fine.log_norm, abs=1e-9)
    assert coarse.direction == pytest.approx(fine.direction, abs=1e-9)
    assert [k[1:] for k in coarse.kinks] == [k[1:] for k in fine.kinks]


def test_balance_is_conserved_and_pairs_switch_once() -> None:
    problem = separable(7, 12, 6, 16)
    run = kink_flow(*problem, -6.0, "logistic", 1 / 12, ("risk", 1e-2))
    assert run.log_output == pytest.approx(run.log_norm, abs=1e-11)
    pairs = [k[1:3] for k in run.kinks]
    assert len(set(pairs)) == len(pairs) > 20
    for _, j, i, active in run.kinks:
        assert active == (run.sign[j] == problem[1][i])


def test_unbalanced_neurons_conserve_their_difference() -> None:
    x, y, weights, output = separable(8, 10, 5, 12, balanced=False)
    run = kink_flow(x, y, weights, output, -1.0, "logistic", 0.1, ("risk", 1e-2))
    w, v = run.parameters
    start = np.exp(-2.0) * (output**2 - np.sum(weights**2, axis=1))
    assert v**2 - np.sum(w**2, axis=1) == pytest.approx(start, abs=1e-11)
    assert np.any(run.sign != np.sign(output))


def test_stops_are_met() -> None:
    problem = separable(9, 8, 5, 12)
    y = problem[1]
    run = kink_flow(*problem, -4.0, "logistic", 1 / 8, ("margin", 1.0))
    assert (y * run.sample_outputs).min() == pytest.approx(1.0, rel=1e-12)
    run = kink_flow(*problem, -4.0, "logistic", 1 / 8, ("risk_positive", 0.05))
    assert np.logaddexp(0, -run.sample_outputs[y > 0]).sum() / 8 == pytest.approx(0.05, rel=1e-12)
    assert kink_flow(*problem, -4.0, "square", 1 / 8, ("risk", 9.0)).time == 0.0


def test_refusals() -> None:
    with pytest.raises(SlidingEncountered, match="slides on sample"):
        kink_flow(*mixture(2), -3.0, "logistic", 1 / 12, ("risk", 0.1))
    with pytest.raises(StopNotReached, match="rest"):
        kink_flow([[1.0]], [1.0], [[-1.0]], [1.0], 0.0, "logistic", 1.0, ("risk", 0.1))
    with pytest.raises(ValueError, match="stop must be"):
        kink_flow([[1.0]], [1.0], [[1.0]], [1.0], 0.0, "logistic", 1.0, ("norm", 0.1))


# ------------------------------------------------------------------------------------- sliding
def test_without_sliding_both_event_driven_flows_are_one() -> None:
    problem = separable(5, 12, 6, 16)
    one, other = (
        flow(*problem, -8.0, "logistic", 1 / 12, ("risk", 1e-2))
        for flow in (kink_flow, sliding_flow)
    )
    assert other.slides == []
    assert other.time == pytest.approx(one.time, rel=1e-13)
    assert other.direction == pytest.approx(one.direction, abs=1e-13)


@pytest.mark.parametrize(("kind", "log_alpha"), [("logistic", -3.0), ("square", -7.0)])
def test_sliding_flow_converges_with_its_tolerance(kind: str, log_alpha: float) -> None:
    problem = mixture(3, n=12, d=6, h=16)
    fine, coarse = (
        sliding_flow(*problem, log_alpha, kind, 1 / 16, ("risk", 0.1), tolerance=tol)
        for tol in (1e-12, 1e-10)
    )
    assert len(fine.slides) > 20
    assert coarse.time == pytest.approx(fine.time, rel=1e-9)
    assert coarse.sample_outputs == pytest.approx(fine.sample_outputs, abs=1e-8)
    # Neurons with the same kinks leave them together: the order is round-off.
    assert sorted(s[2:] for s in coarse.slides) == sorted(s[2:] for s in fine.slides)


@pytest.mark.parametrize(("kind", "time"), [("logistic", 8.0), ("square", 5.0)])
def test_catching_up_converges_to_the_sliding_flow(kind: str, time: float) -> None:
    problem = mixture(3, n=8, d=5, h=6)
    exact = sliding_flow(*problem, -1.2, kind, 1 / 8, ("time", time))
    assert len(exact.slides) >= 5
    errors = []
    for steps in (250, 1000):
        w, v = catching_up(*problem, -1.2, kind, 1 / 8, time, steps)
        f = np.maximum(problem[0] @ w.T, 0) @ v
        errors.append(float(np.abs(f - exact.sample_outputs).max()))
    assert errors[1] < 0.45 * errors[0] < 0.02
    extrapolated, finest, change = catching_up_ladder(*problem, -1.2, kind, 1 / 8, time, 250)
    assert np.abs(extrapolated - exact.sample_outputs).max() < 10 * max(change, 1e-5)
    assert finest == pytest.approx(f, abs=1e-14)


def test_a_fixed_amount_of_phase_one_does_not_depend_on_the_scale() -> None:
    problem = mixture(5, n=10, d=6, h=12)
    near, far = (
        sliding_flow(*problem, log_alpha, "logistic", 0.1, ("time", 6.0))
        for log_alpha in (-40.0, -900.0)
    )
    assert [k[1:] for k in near.kinks] == [k[1:] for k in far.kinks]
    assert far.direction == pytest.approx(near.direction, abs=1e-12)
    assert far.log_norm + 860 == pytest.approx(near.log_norm, abs=1e-11)


@pytest.mark.slow
def test_digits_slide_and_converge() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == k)[:15] for k in (3, 8)])
    x, y = digits.data[rows] / 16, np.repeat([1.0, -1.0], 15)
    problem = (x, y, *mixture(0, d=64, h=30)[2:])
    fine, coarse = (
        sliding_flow(*problem, log(1e-2), "logistic", 1 / 30, ("risk", 0.1), tolerance=tol)
        for tol in (1e-12, 1e-10)
    )
    assert len(fine.slides) > 50
    assert coarse.sample_outputs == pytest.approx(fine.sample_outputs, abs=1e-8)
    assert coarse.time == pytest.approx(fine.time, rel=1e-9)
