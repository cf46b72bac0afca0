"""The flow solver: against independent references, its invariants, its symmetries, its statuses."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles.kinks import FlowResult, kink_flow
from oracles.sliding import sliding_flow

import overalign as oa
from overalign import _kernels
from overalign.data import read_sample
from overalign.flow import SMALLEST_TOLERANCE, Snapshot

Array = NDArray[np.float64]
KINDS = {oa.LogisticLoss: "logistic", oa.ExponentialLoss: "exponential", oa.SquareLoss: "square"}


def separable(n: int, dimension: int, seed: int) -> oa.Sample:
    mixture = oa.GaussianMixture(dimension, kappa=2.0, sigma=0.5)
    return mixture.sample(n, seed=seed, separability=0.0)


def largest_error(run: oa.Trajectory, reference: FlowResult) -> float:
    """What `tolerance` is about: relative stopping time, log-norms, directions."""
    end = run.final
    return max(
        abs(run.time - reference.time) / reference.time,
        float(np.max(np.abs(end.log_norm - reference.log_norm))),
        float(np.max(np.linalg.norm(end.direction - reference.direction, axis=1))),
    )


def oracle(run: oa.Trajectory, stop: tuple[str, float]) -> FlowResult:
    sample, network, loss = run.sample, run.network, run.loss
    return kink_flow(
        sample.x, sample.y, network.weights, network.output, run.log_alpha,
        KINDS[type(loss)], loss.weight(sample.n), stop,
    )  # fmt: skip


def same_state(first: Snapshot, second: Snapshot, tolerance: float) -> None:
    np.testing.assert_allclose(first.log_norm, second.log_norm, rtol=0, atol=tolerance)
    np.testing.assert_allclose(first.direction, second.direction, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(first.sign, second.sign)


# ------------------------------------------------------------------------ independent references


@pytest.mark.parametrize("log_alpha", [-690.0, -30.0, -7.0, -2.3, 0.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_kink_splitting_dop853(log_alpha: float, seed: int) -> None:
    generator = np.random.default_rng([seed, int(-log_alpha)])
    sample = separable(int(generator.integers(4, 20)), int(generator.integers(3, 20)), seed)
    network = oa.Network.random(int(generator.integers(4, 30)), sample.dimension, seed=seed)
    run = oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.02), tolerance=1e-8)
    reference = oracle(run, ("risk", 0.02))
    assert run.outcome is oa.Outcome.REACHED
    assert largest_error(run, reference) <= 1e-8
    assert len(run.kinks.time) == len(reference.kinks)


@pytest.mark.parametrize(
    ("loss", "stop", "reference_stop"),
    [
        (oa.ExponentialLoss(), oa.stop_at_risk(0.1), ("risk", 0.1)),
        (oa.LogisticLoss(2.0, "sum"), oa.stop_at_risk(0.3), ("risk", 0.3)),
        (oa.LogisticLoss(), oa.stop_at_margin(0.5), ("margin", 0.5)),
        (oa.SquareLoss(), oa.stop_at_time(8.0), ("time", 8.0)),
        (
            oa.LogisticLoss(reduction="sum"),
            oa.stop_at_risk(0.4, "positive"),
            ("risk_positive", 0.4),
        ),
    ],
)
def test_losses_and_stops_agree_with_the_reference(
    loss: oa.LogisticLoss, stop: oa.Stop, reference_stop: tuple[str, float]
) -> None:
    sample, network = separable(9, 6, 3), oa.Network.random(14, 6, seed=3)
    run = oa.solve(sample, network, -3.0, stop, loss, tolerance=1e-8)
    assert largest_error(run, oracle(run, reference_stop)) <= 1e-8


def test_square_loss_with_real_targets() -> None:
    generator = np.random.default_rng(5)
    x = generator.standard_normal((6, 8))
    sample = oa.Sample(x, x[:, 0] + 0.3 * generator.standard_normal(6))
    network = oa.Network.random(12, 8, seed=5)
    run = oa.solve(sample, network, -2.0, oa.stop_at_time(3.0), oa.SquareLoss(), tolerance=1e-8)
    reference = sliding_flow(
        sample.x, sample.y, network.weights, network.output, -2.0, "square", 1 / 6, ("time", 3.0),
        tolerance=1e-11,
    )  # fmt: skip
    assert largest_error(run, reference) <= 1e-8


@pytest.mark.parametrize("share", [3.0, 0.1])
def test_unbalanced_starts(share: float) -> None:
    """Dominated (|v| > ||w||), and |v| < ||w||, where outputs can change sign."""
    sample = separable(8, 5, 1)
    balanced = oa.Network.random(16, 5, seed=2, signs="random")
    network = oa.Network(weights=balanced.weights, output=share * balanced.output)
    run = oa.solve(sample, network, -1.0, oa.stop_at_time(6.0), tolerance=1e-8)
    reference = sliding_flow(
        sample.x, sample.y, network.weights, network.output, -1.0, "logistic", 1 / 8, ("time", 6.0),
        tolerance=1e-11,
    )  # fmt: skip
    if share < 1:
        assert np.any(run.final.sign != network.sign)
    assert largest_error(run, reference) <= 1e-8


@pytest.mark.parametrize("loss", [oa.LogisticLoss(), oa.SquareLoss()])
def test_sliding_on_digits_agrees_with_the_sliding_reference(loss: oa.LogisticLoss) -> None:
    sample = read_sample("digits:3,8", n=30)
    network = oa.Network.random(20, 64, seed=0)
    run = oa.solve(sample, network, -3.0, oa.stop_at_risk(0.3), loss, tolerance=1e-8)
    reference = sliding_flow(
        sample.x, sample.y, network.weights, network.output, -3.0,
        KINDS[type(loss)], loss.weight(30), ("risk", 0.3), tolerance=1e-11,
    )  # fmt: skip
    assert len(run.slides.start) > 20
    assert largest_error(run, reference) <= 1e-7
    np.testing.assert_allclose(run.final.outputs, reference.sample_outputs, atol=1e-7)


# ------------------------------------------------------------------------------------ invariants


def test_a_slide_may_begin_at_time_zero() -> None:
    """On a kink at the start, one sample pushes the neuron onto it from either side."""
    sample = oa.Sample([[1.0, 1.0], [0.0, 1.5]], [1, -1])
    network = oa.Network.balanced(weights=[[1.0, 0.0], [0.0, -1.0]], sign=[1, 1])
    run = oa.solve(sample, network, -3.0, oa.stop_at_time(40.0), tolerance=1e-4)
    np.testing.assert_allclose(run.final.direction[0], [1.0, 0.0], atol=1e-12)
    assert run.kinks.time.size == 0
    np.testing.assert_array_equal(run.initial_pattern, [[1, 0], [-1, -1]])
    slides = [array.tolist() for array in run.slides]
    assert slides == [[0], [1], [0.0], [run.time], [0]]


def test_slides_are_the_times_between_events_of_their_pairs() -> None:
    sample = oa.GaussianMixture(6, kappa=1.5, sigma=1.0).sample(10, seed=2)
    run = oa.solve(
        sample, oa.Network.random(20, 6, seed=2), -6.0, oa.stop_at_risk(0.2), tolerance=1e-4
    )
    products = run.network.weights @ sample.x.T
    expected = []
    for j, i in np.ndindex(run.initial_pattern.shape):
        here = (run.kinks.neuron == j) & (run.kinks.sample == i)
        time, after = run.kinks.time[here], run.kinks.after[here]
        assert run.initial_pattern[j, i] == (1 if products[j, i] > 0 else -1)
        for k in np.flatnonzero(after == 0):
            ended = k + 1 < time.size
            end, side = (time[k + 1], after[k + 1]) if ended else (run.time, 0)
            expected.append((j, i, time[k], end, side))
    assert len(expected) > 5
    assert np.all(np.diff(run.slides.start) >= 0)
    assert sorted(zip(*run.slides, strict=True)) == expected


def test_balance_and_pairwise_conservation() -> None:
    """theory.md 3.4: |v_j| = ||w_j||, and <w_j, w_k> - v_j v_k is constant once sorted."""
    sample, network = separable(8, 12, 0), oa.Network.random(20, 12, seed=0)
    run = oa.solve(sample, network, -7.0, oa.stop_at_risk(0.01), tolerance=1e-10)
    sorted_at = float(run.kinks.time.max())
    states = run.at(np.linspace(sorted_at * (1 + 1e-9), run.time, 7))
    np.testing.assert_allclose(states.log_norm, states.log_output, rtol=0, atol=1e-11)
    weights = np.exp(states.log_norm)[..., None] * states.direction
    outputs = np.exp(states.log_output) * states.sign
    drift = weights @ weights.swapaxes(1, 2) - outputs[:, :, None] * outputs[:, None, :]
    live = np.exp(states.log_norm[-1]) > 1e-2
    same = live & (network.sign > 0)
    conserved = drift[:, same][:, :, same]
    scale = float(np.max(np.exp(2 * states.log_norm[-1])))
    assert np.max(np.abs(conserved - conserved[0])) <= 1e-9 * scale


@pytest.mark.parametrize("log_alpha", [-700.0, -5.0, 0.0])
def test_a_pair_switches_at_most_once_on_separable_data(log_alpha: float) -> None:
    run = oa.solve(
        separable(14, 8, 2), oa.Network.random(40, 8, seed=2), log_alpha, oa.stop_at_risk(0.01)
    )
    pairs = list(zip(run.kinks.neuron.tolist(), run.kinks.sample.tolist(), strict=True))
    assert pairs
    assert len(set(pairs)) == len(pairs)
    direction = run.network.sign[run.kinks.neuron] * run.sample.y[run.kinks.sample]
    np.testing.assert_array_equal(run.kinks.after, direction)
    assert run.slides.start.size == 0


def test_risk_falls_and_outputs_match_the_weights() -> None:
    sample, network = separable(10, 6, 4), oa.Network.random(12, 6, seed=4)
    run = oa.solve(sample, network, -2.0, oa.stop_at_risk(0.05))
    states = run.at(np.linspace(0, run.time, 30))
    risks = [run.loss.risk(f, sample.y) for f in states.outputs]
    assert np.all(np.diff(risks) < 0)
    weights = np.exp(states.log_norm)[..., None] * states.direction
    products = np.maximum(weights @ sample.x.T, 0)
    outputs = np.einsum("tj,tjn->tn", np.exp(states.log_output) * states.sign, products)
    np.testing.assert_allclose(states.outputs, outputs, atol=1e-12)


def test_states_in_between_are_those_of_shorter_runs() -> None:
    sample, network = separable(10, 6, 4), oa.Network.random(12, 6, seed=4)
    run = oa.solve(sample, network, -1.0, oa.stop_at_risk(0.02), tolerance=1e-9)
    times = np.array([0.7, 0.1, 0.4]) * run.time
    states = run.at(times)
    for k, time in enumerate(times):
        short = oa.solve(sample, network, -1.0, oa.stop_at_time(time), tolerance=1e-9)
        same_state(short.final, run.at(time), 1e-8)
        np.testing.assert_array_equal(states.log_norm[k], run.at(time).log_norm)
    same_state(run.at(run.time), run.final, 1e-13)
    same_state(run.at(0.0), _start(network, -1.0, sample), 1e-13)


def test_early_states_cost_only_the_steps_before_them() -> None:
    sample, network = separable(6, 5, 0), oa.Network.random(6, 5, seed=0)
    run = oa.solve(sample, network, -3.0, oa.stop_at_risk(0.2), tolerance=1e-4)
    solution = run._solution

    def flows_up_to(time: float) -> int:
        _, _, events, _ = _kernels.replay(
            solution.problem, solution.method, network.weights, network.output, -3.0,
            solution.wave, np.array([time]), 0,
        )  # fmt: skip
        return int(events.count[1])

    assert flows_up_to(0.0) == 0
    assert 0 < flows_up_to(run.time / 2) < flows_up_to(run.time)


def test_a_replay_that_meets_other_kinks_is_an_error() -> None:
    sample, network = separable(6, 5, 0), oa.Network.random(6, 5, seed=0)
    run = oa.solve(sample, network, -3.0, oa.stop_at_risk(0.2), tolerance=1e-4)
    assert run.kinks.time.size > 0
    for wrong in (-1, 1):
        log = run._solution._replace(events=run.kinks.time.size + wrong)
        with pytest.raises(oa.ToleranceError, match="its replay"):
            _ = replace(run, _solution=log).kinks


def _start(network: oa.Network, log_alpha: float, sample: oa.Sample) -> Snapshot:
    return Snapshot(
        0.0,
        np.log(network.row_norms) + log_alpha,
        network.weights / network.row_norms[:, None],
        np.log(np.abs(network.output)) + log_alpha,
        network.sign,
        network.outputs(sample.x, log_alpha),
    )


# ------------------------------------------------------------------------------------ symmetries


@st.composite
def small_problems(draw: st.DrawFn) -> tuple[oa.Sample, oa.Network, float]:
    """A separable sample, a network and log alpha."""
    n = draw(st.integers(2, 8))
    dimension = draw(st.integers(2, 8))
    width = draw(st.integers(2, 10))
    seed = draw(st.integers(0, 50))
    log_alpha = draw(st.sampled_from([-300.0, -10.0, -3.0, -1.0, 0.0]))
    return separable(n, dimension, seed), oa.Network.random(width, dimension, seed), log_alpha


STOP = oa.stop_at_time(4.0)
FEW = settings(max_examples=15, deadline=None)


@FEW
@given(small_problems(), st.randoms(use_true_random=False))
def test_permuting_neurons_and_samples(problem, random) -> None:  # type: ignore[no-untyped-def]
    sample, network, log_alpha = problem
    neurons = random.sample(range(network.width), network.width)
    rows = random.sample(range(sample.n), sample.n)
    run = oa.solve(sample, network, log_alpha, STOP)
    other = oa.solve(
        oa.Sample(sample.x[rows], sample.y[rows]),
        oa.Network(weights=network.weights[neurons], output=network.output[neurons]),
        log_alpha,
        STOP,
    )
    np.testing.assert_allclose(other.final.log_norm, run.final.log_norm[neurons], atol=2e-8)
    np.testing.assert_allclose(other.final.direction, run.final.direction[neurons], atol=2e-8)


@FEW
@given(small_problems(), st.integers(0, 100))
def test_rotating_the_data(problem, seed: int) -> None:  # type: ignore[no-untyped-def]
    sample, network, log_alpha = problem
    shape = (sample.dimension, sample.dimension)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal(shape))
    run = oa.solve(sample, network, log_alpha, STOP)
    other = oa.solve(
        oa.Sample(sample.x @ rotation, sample.y),
        oa.Network(weights=network.weights @ rotation, output=network.output),
        log_alpha,
        STOP,
    )
    np.testing.assert_allclose(other.final.log_norm, run.final.log_norm, atol=2e-8)
    np.testing.assert_allclose(other.final.direction, run.final.direction @ rotation, atol=2e-8)


@FEW
@given(small_problems(), st.floats(0.1, 10), st.sampled_from(["mean", "sum"]))
def test_the_loss_only_rescales_time(problem, factor: float, reduction) -> None:  # type: ignore[no-untyped-def]
    """theory.md 1.3: time_R = beta * time, for every factor and reduction."""
    sample, network, log_alpha = problem
    reference = oa.LogisticLoss(factor=2.0, reduction="sum")
    loss = oa.LogisticLoss(factor=factor, reduction=reduction)
    time = 1.0 / loss.time_factor(sample.n)
    run = oa.solve(sample, network, log_alpha, oa.stop_at_time(1.0), reference)
    other = oa.solve(sample, network, log_alpha, oa.stop_at_time(time), loss)
    same_state(other.final, run.final, 2e-8)


@FEW
@given(small_problems(), st.floats(0.1, 0.9))
def test_splitting_a_run_in_two(problem, share: float) -> None:  # type: ignore[no-untyped-def]
    sample, network, log_alpha = problem
    whole = oa.solve(sample, network, log_alpha, STOP)
    middle = oa.solve(sample, network, log_alpha, oa.stop_at_time(share * 4.0)).final
    scale = float(np.max(middle.log_norm))
    restart = oa.Network(
        weights=np.exp(middle.log_norm - scale)[:, None] * middle.direction,
        output=np.exp(middle.log_output - scale) * middle.sign,
    )
    rest = oa.solve(sample, restart, scale, oa.stop_at_time((1 - share) * 4.0))
    same_state(rest.final, whole.final, 1e-7)


# ------------------------------------------------------------------------- under given residuals


@pytest.mark.parametrize("depths", [0.5, 0.9, 1.05, 1.2, 1.45, 1.6])
def test_a_neuron_that_turns_back_before_a_kink_goes_on(depths: float) -> None:
    """One sample, c(t) = (t - 0.3) / 20: the neuron falls towards the kink until it turns at 0.3.

    The field keeps its line, so that only the integral of c counts.
    """
    deepest, end = 0.05 * 0.3**2 / 2, 0.05 * (0.5 - 0.3)
    first = depths * deepest
    sample = oa.Sample([[1.0, 0.0]], [1])
    network = oa.Network.balanced(weights=[[first, 1.0]], sign=[1])
    problem = _kernels.Problem(
        sample.x, sample.x.T.copy(), sample.y, sample.norms, np.int64(0), 1.0
    )
    nodes = np.array([0.0, 1.0])
    method = _kernels.Method(nodes, np.array([[1.0, 0.0], [-1.0, 1.0]]), 1e-9, 1e-9, False)
    wave = _kernels.Wave(
        np.zeros(1), np.ones(1), np.array([[[-0.015], [0.05]]]),
        np.zeros(2, np.int64), np.zeros(0), np.zeros((0, 1)),
    )  # fmt: skip
    saved, _, events, unresolved = _kernels.replay(
        problem, method, network.weights, network.output, 0.0, wave, np.ones(1), 4
    )
    turns_back = np.arcsinh(first) > deepest
    assert unresolved == 0
    assert events.count[0] == (0 if turns_back else 1)
    product = saved.weights[0, 0, 0] * np.exp(saved.amplitude[0, 0, 1])
    exact = first * np.cosh(end) + network.output[0] * np.sinh(end) if turns_back else 0.0
    assert product == pytest.approx(exact, abs=1e-12)


# -------------------------------------------------------------------------------------- statuses


def test_a_run_ends_at_its_stop_though_the_largest_norm_bends() -> None:
    """Its slope changes within the last step, so that secants of one slope do not reach it."""
    sample = oa.GaussianMixture(3, kappa=1.0, sigma=1.0).sample(3, seed=133)
    norm = 1.0005 * np.e
    run = oa.solve(
        sample, oa.Network.random(2, 3, seed=133), 1.0, oa.stop_at_norm(norm), tolerance=2e-3
    )
    assert run.is_successful
    assert run.final.log_norm.max() == pytest.approx(np.log(norm), abs=1e-6)


def test_a_dead_network_is_no_success() -> None:
    """Every neuron points away from every sample."""
    sample = oa.Sample([[1.0, 0.1], [1.0, -0.1]], [1, 1])
    network = oa.Network.balanced(weights=[[-1.0, 0.0], [-1.0, 0.2]], sign=[1, -1])
    run = oa.solve(sample, network, -3.0, oa.stop_at_risk(0.1))
    assert run.outcome is oa.Outcome.DEAD
    assert "dead" in run.status
    assert not run.is_successful
    assert run.risk == pytest.approx(np.log(2))


def test_a_network_that_dies_on_the_way_is_found_dead() -> None:
    """Negative outputs are pushed off the only (positive) sample; the positive neuron is off it."""
    sample = oa.Sample([[1.0, 0.0]], [1])
    network = oa.Network.balanced(weights=[[1.0, 1.0], [-1.0, 0.5]], sign=[-1, 1])
    run = oa.solve(sample, network, 0.0, oa.stop_at_risk(0.1))
    assert run.outcome is oa.Outcome.DEAD
    assert len(run.kinks.time) == 1
    assert run.error_estimate <= run.tolerance
    assert run.steps < 100  # where it is found dead is arbitrary, and must not be refined


def test_a_dead_class_stalls() -> None:
    """Only negative outputs: the positive sample is left uncovered and holds its log 2 / 2."""
    sample = oa.Sample([[1.0, 0.0], [-1.0, 0.0]], [1, -1])
    network = oa.Network.balanced(weights=[[-1.0, 0.3], [-1.0, -0.2]], sign=[-1, -1])
    run = oa.solve(sample, network, -1.0, oa.stop_at_risk(0.05))
    assert run.outcome is oa.Outcome.STALLED
    assert run.risk > 0.5 * np.log(2)
    assert not run.is_successful


def test_a_stationary_point_above_the_target_is_verified() -> None:
    """One neuron, square loss, targets it cannot fit: the flow ends where the field vanishes."""
    sample = oa.Sample([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 1.0, 1.0])
    network = oa.Network.balanced(weights=[[1.0, 1.0]], sign=[1])
    run = oa.solve(sample, network, -1.0, oa.stop_at_risk(0.01), oa.SquareLoss())
    assert run.outcome is oa.Outcome.STATIONARY
    assert run.risk == pytest.approx(1 / 18, abs=1e-9)  # least squares: (2/3, 2/3), residuals 1/3
    assert run.error_estimate < 1e-8


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_slow_alignment_is_not_taken_for_rest(tolerance: float) -> None:
    """Orthogonal samples and tiny alpha: the risk stands still for long, but the field does not."""
    sample = oa.Sample(np.eye(50), np.where(np.arange(50) % 2 == 0, 1.0, -1.0))
    for width, log_alpha in [(2, -9.2), (20, -9.2), (20, -18.4)]:
        network = oa.Network.random(width, 50, seed=1)
        loose, tight = (
            oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.45), tolerance=level)
            for level in (tolerance, 1e-9)
        )
        assert loose.outcome is tight.outcome
        assert loose.outcome in (oa.Outcome.REACHED, oa.Outcome.STALLED)


def test_a_margin_that_an_uncovered_sample_forbids_is_a_stall() -> None:
    """On orthogonal samples a positive sample on which every positive neuron is off stays off."""
    sample = oa.Sample(np.eye(4), [1, -1, 1, -1])
    network = oa.Network.balanced(weights=[[1, 1, -1, 1], [1, 1, -1, 1]], sign=[1, -1])
    run = oa.solve(sample, network, -3.0, oa.stop_at_margin(0.5, "positive"))
    assert run.outcome is oa.Outcome.STALLED
    assert not run.is_successful


def test_a_risk_that_non_separable_data_cannot_reach_is_a_stall() -> None:
    """Twenty labels without a pattern in four dimensions: the risk settles above the target."""
    generator = np.random.default_rng(0)
    sample = oa.Sample(generator.standard_normal((20, 4)), np.where(np.arange(20) % 2, 1.0, -1.0))
    network = oa.Network.random(64, 4, seed=0)
    easy = oa.solve(sample, network, -6.9, oa.stop_at_risk(0.1), tolerance=1e-6)
    hard = oa.solve(sample, network, -6.9, oa.stop_at_risk(0.05), tolerance=1e-6)
    assert easy.is_successful
    assert hard.outcome in (oa.Outcome.STATIONARY, oa.Outcome.STALLED)
    assert 0.05 < hard.risk < 0.1
    assert not hard.is_successful


def test_a_start_below_the_target_is_said() -> None:
    sample, network = separable(6, 5, 0), oa.Network.random(8, 5, seed=0)
    run = oa.solve(sample, network, -5.0, oa.stop_at_risk(5.0))
    assert run.outcome is oa.Outcome.ALREADY_THERE
    assert run.time == 0.0
    assert run.error_estimate == 0.0
    same_state(run.at(0.0), run.final, 1e-14)
    assert run.kinks.time.size == 0


def test_the_step_limit_is_a_status() -> None:
    sample, network = separable(6, 5, 0), oa.Network.random(8, 5, seed=0)
    run = oa.solve(sample, network, -5.0, oa.stop_at_risk(1e-6), max_steps=20)
    assert run.outcome is oa.Outcome.STEP_LIMIT
    assert "max_steps" in run.status


def test_tiny_alpha_costs_no_digits() -> None:
    """theory.md 3.6: t_eta grows by 1/(beta ||x_class||) per unit of log(1/alpha), and what the
    class looks like when it is fitted does not depend on alpha."""
    sample, network = separable(8, 6, 1), oa.Network.random(10, 6, seed=1)
    stop = oa.stop_at_risk(0.05, over="positive")
    near, far = (oa.solve(sample, network, log_alpha, stop) for log_alpha in (-5000.0, -50000.0))
    assert near.is_successful
    assert far.is_successful
    positive = sample.positives
    np.testing.assert_allclose(far.final.outputs[positive], near.final.outputs[positive], atol=1e-7)
    rate = near.loss.time_factor(sample.n) * float(np.linalg.norm(sample.class_sum(1)))
    assert (far.time - near.time) / 45000.0 == pytest.approx(1 / rate, rel=1e-9)


# -------------------------------------------------------------------------------------- batches


def test_a_trajectory_is_the_same_alone_and_in_a_batch() -> None:
    samples = [separable(6, 5, k) for k in range(3)]
    networks = [oa.Network.random(8, 5, seed=k) for k in range(3)]
    stop = oa.stop_at_risk(0.1)
    seen: list[int] = []
    batch = oa.solve_many(
        samples, networks, [-8.0, -1.0], stop, progress=lambda done, total: seen.append(done)
    )
    assert seen == list(range(1, 7))
    for k, a in [(0, 0), (1, 1), (2, 0)]:
        run = oa.solve(samples[k], networks[k], [-8.0, -1.0][a], stop)
        cell = batch.isel(sample=k, alpha=a)
        assert float(cell.time) == run.time
        assert str(cell.outcome.values) == "REACHED"
        np.testing.assert_array_equal(cell.log_norm, run.final.log_norm)
        np.testing.assert_array_equal(cell.direction, run.final.direction)
    assert batch.attrs["loss"] == "LogisticLoss"


def test_an_error_in_progress_ends_the_batch() -> None:
    samples = [separable(6, 5, k) for k in range(4)]
    networks = [oa.Network.random(8, 5, seed=k) for k in range(4)]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oa.solve_many(samples, networks, [-8.0], oa.stop_at_risk(0.1), progress=interrupt)


def test_progress_can_interrupt_a_solve() -> None:
    """An exception in the callback ends the kernel; no thread is left behind."""
    sample, network = separable(30, 10, 0), oa.Network.random(60, 10, seed=0)

    def interrupt(time: float, distance: float) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())  # other tests may have left some, as of a cluster
    with pytest.raises(KeyboardInterrupt):
        oa.solve(
            sample, network, 0.0, oa.stop_at_risk(1e-9), tolerance=1e-11, max_steps=10**9,
            progress=interrupt,
        )  # fmt: skip
    assert set(threading.enumerate()) <= before


# ------------------------------------------------------------------------------------- bad input


GOOD = oa.Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
NET = oa.Network.random(4, 2, seed=0)
BAD = [
    (lambda: oa.solve(GOOD, NET, 0.0, oa.stop_at_risk(0.1), tolerance=0.0), "tolerance is 0"),
    (lambda: oa.solve(GOOD, NET, 0.0, oa.stop_at_risk(0.1), tolerance=1e-15), "float64"),
    (lambda: oa.solve(GOOD, NET, np.nan, oa.stop_at_risk(0.1)), "log_alpha is nan"),
    (lambda: oa.solve(GOOD, NET, -np.inf, oa.stop_at_risk(0.1)), "log_alpha is -inf"),
    (lambda: oa.solve(GOOD, oa.Network.random(4, 3, 0), 0.0, oa.stop_at_risk(0.1)), "dimension 2"),
    (lambda: oa.solve(oa.Sample([[1.0]], [0.5]), NET, 0.0, oa.stop_at_risk(0.1)), "dimension"),
    (
        lambda: oa.solve(oa.Sample([[1.0, 0.0]], [0.5]), NET, 0.0, oa.stop_at_risk(0.1)),
        r"y\[0\] is 0.5",
    ),
    (
        lambda: oa.solve(
            oa.Sample([[1.0, 0.0], [1.0, 0.0]], [1, -1]), NET, 0.0, oa.stop_at_risk(0.1)
        ),
        "equal x and different y",
    ),
    (
        lambda: oa.solve(oa.Sample([[1.0, 0.0]], [1]), NET, 0.0, oa.stop_at_risk(0.1, "negative")),
        "no sample is negative",
    ),
    (lambda: oa.solve(GOOD, NET, 300.0, oa.stop_at_risk(0.1)), "choose a smaller alpha"),
    (lambda: oa.stop_at_risk(0.0), "must be positive"),
    (lambda: oa.stop_at_time(np.inf), "give a number"),
    (lambda: oa.Stop("loss", 1.0), "quantity is 'loss'; choose"),  # type: ignore[arg-type]
    (lambda: oa.stop_at_risk(0.1, over="both"), "over is 'both'"),  # type: ignore[arg-type]
    (lambda: oa.solve(GOOD, NET, 0.0, oa.stop_at_risk(0.1), max_steps=0), "max_steps is 0"),
    (lambda: oa.solve_many([GOOD], [], [0.0], oa.stop_at_risk(0.1)), "equally many"),
    (lambda: oa.solve_many([GOOD], [NET], [], oa.stop_at_risk(0.1)), "log_alphas"),
    (
        lambda: oa.solve_many(
            [GOOD, GOOD], [NET, oa.Network.random(6, 2, 0)], [0.0], oa.stop_at_risk(0.1)
        ),
        "one shape",
    ),
    (lambda: oa.solve(GOOD, NET, -1.0, oa.stop_at_time(1.0)).at(2.0), "within"),
    (lambda: oa.solve(GOOD, NET, -1.0, oa.stop_at_time(1.0)).at([np.nan]), "within"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_input_is_named(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(oa.OveralignError, match=words):
        call()


def test_more_than_float64_can_give_is_said() -> None:
    """Repeated near-critical kinks at alpha near 1: the estimate, not a promise, is reported."""
    sample, network = separable(30, 20, 0), oa.Network.random(50, 20, seed=0, signs="random")
    run = oa.solve(sample, network, 0.0, oa.stop_at_risk(0.01), tolerance=SMALLEST_TOLERANCE)
    assert run.is_successful == (run.error_estimate <= SMALLEST_TOLERANCE)
    assert run.error_estimate < 1e-9
    if not run.is_successful:
        assert "exceeds the tolerance" in run.status


@pytest.mark.parametrize(("time", "tolerance"), [(400.0, 1e-3), (2000.0, 1e-4)])
def test_a_neuron_that_rounding_brought_back_is_no_success(time: float, tolerance: float) -> None:
    """One neuron shrinks along its own force, log ||w|| = -3 - t / 4, until rounding turns it."""
    sample = oa.Sample([[1.0], [-1.0]], [1, -1])
    network = oa.Network.balanced(weights=[[1.0]], sign=[-1])
    run = oa.solve(sample, network, -3.0, oa.stop_at_time(time), tolerance=tolerance)
    assert abs(run.final.log_norm[0] + 3.0 + time / 4) > 1.0
    assert run.error_estimate > 1.0
    assert not run.is_successful


@pytest.mark.parametrize("time", [20.0, 40.0, 60.0])
def test_the_estimate_holds_while_a_neuron_shrinks_along_its_own_force(time: float) -> None:
    sample = oa.Sample([[1.0], [-1.0]], [1, -1])
    network = oa.Network.balanced(weights=[[1.0]], sign=[-1])
    run = oa.solve(sample, network, -20.0, oa.stop_at_time(time), tolerance=1e-2)
    assert run.is_successful
    assert abs(run.final.log_norm[0] + 20.0 + time / 4) < run.error_estimate
    grown = np.finfo(np.float64).eps * np.exp(time / 2)
    assert grown / 2 < run.error_estimate < 2 * grown + 1e-8


def test_repeated_samples_are_fine() -> None:
    """Two equal samples meet every kink together; one of weight two is the same problem."""
    once = oa.Sample([[2.0, 1.0], [-1.0, 1.0]], [1, -1])
    twice = oa.Sample([[2.0, 1.0], [2.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]], [1, 1, -1, -1])
    network = oa.Network.random(12, 2, seed=1)
    first, second = (oa.solve(s, network, -3.0, oa.stop_at_risk(0.2)) for s in (once, twice))
    assert second.time == pytest.approx(first.time, rel=1e-7)
    same_state(first.final, second.final, 1e-7)


def test_all_pairs_of_outcomes_have_sentences() -> None:
    sentences = [outcome.value for outcome in oa.Outcome]
    assert all(first != second for first, second in combinations(sentences, 2))
    assert all(sentence.rstrip().endswith(".") for sentence in sentences)


# ------------------------------------------------------------------------- the same bits again


def test_equal_runs_agree_to_the_last_bit() -> None:
    """Wherever memory lies: a vectorised loop may not round otherwise than a plain one."""
    sample = oa.read_sample("mixture:n=6")
    networks = [oa.Network.random(8, 20, seed=2, paired=paired) for paired in (False, True)]
    begins = [(network, log_alpha) for network in networks for log_alpha in (-14.0, -6.0, 1.4)]

    def bits(repeat: int) -> list[tuple[str, str, bytes, bytes]]:
        held = []  # moves what is allocated next
        found = []
        for network, log_alpha in begins:
            held.append(np.zeros(1 + (7 * repeat) % 61))
            run = oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.3), tolerance=1e-3)
            end = run.final
            numbers = (run.time.hex(), run.error_estimate.hex())
            found.append((*numbers, end.log_norm.tobytes(), end.direction.tobytes()))
        return found

    with ThreadPoolExecutor(2) as executor:
        first, *others = executor.map(bits, range(250))
    assert all(other == first for other in others)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [-1.0, 2.0], [-3.0, 7.0]])
def test_a_kink_that_two_samples_share_is_crossed(weights: list[float]) -> None:
    """Opposite inputs with opposite labels: on their kink one switches on as the other goes off."""
    sample = oa.Sample([[1.0, 0.0], [-1.0, 0.0]], [1, -1])
    network = oa.Network.balanced(weights=[weights], sign=[1.0])
    run = oa.solve(sample, network, -9.0, oa.stop_at_risk(0.3, over="positive"))
    assert run.is_successful
    assert run.kinks.time.size == 2
    assert run.kinks.time[0] == run.kinks.time[1]
    assert np.all(np.diff(run.at(np.linspace(0.0, run.time, 50)).direction[:, 0, 0]) > 0.0)


def test_states_at_kinks_are_those_beside_them() -> None:
    """A part of a step that ends at a kink may be as short as rounding."""
    for seed in (479488, 1, 2, 3):
        sample = oa.GaussianMixture(13, 1.3826478521144006, 1.0).sample(3, seed)
        run = oa.solve(
            sample, oa.Network.random(12, 13, seed), -3.6, oa.stop_at_risk(0.05), tolerance=1e-10
        )
        at = run.kinks.time
        both = run.at(np.concatenate([at, np.minimum(at * (1.0 + 1e-10), run.time)])).log_norm
        assert np.abs(both[: at.size] - both[at.size :]).max() < 1e-8
