"""Sorting, the onset of fitting, the windows of the theory, and zeta."""

import math

import numpy as np
import pytest
from flows import early, separable, solved

import overalign as oa
from overalign.phases import (
    ONSET,
    log_alpha_where_zeta_vanishes,
    phase_times,
    sorting_times,
    zeta,
)


@pytest.fixture(scope="module")
def run() -> oa.Trajectory:
    return solved()


# --------------------------------------------------------------------------------- onset


def test_the_onset_is_where_the_residuals_have_moved(run: oa.Trajectory) -> None:
    onset = oa.fitting_onset(run)
    assert 0.0 < onset < run.time
    largest = np.abs(run.at([0.999 * onset, onset, 1.001 * onset]).outputs).max(axis=1)
    residual = np.tanh(largest / 2)
    assert residual[0] < ONSET < residual[2]
    assert residual[1] == pytest.approx(ONSET, rel=1e-8)


def test_the_onset_at_the_start_and_beyond_the_end() -> None:
    assert oa.fitting_onset(solved(log_alpha=1.0)) == 0.0
    assert math.isnan(oa.fitting_onset(solved(stop=oa.stop_at_time(0.01))))


def test_the_onset_comes_later_by_the_logarithm_of_alpha() -> None:
    # growth is exponential at a constant rate once the neurons are aligned
    first, second, third = (oa.fitting_onset(solved(log_alpha=a)) for a in (-60.0, -90.0, -120.0))
    assert third - second == pytest.approx(second - first, rel=1e-6)


# ------------------------------------------------------------------------------ sorting


def settled_at(run: oa.Trajectory, times: np.ndarray) -> np.ndarray:
    """Sorted, dead: two boolean arrays [t, h], from the signs of products alone."""
    active = run.at(times).direction @ run.sample.x.T > 1e-11
    own = run.network.sign[:, None] * run.sample.y > 0
    return np.stack([(active == own).all(axis=2), ~active.any(axis=2)])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_t_1_against_a_fine_grid(seed: int) -> None:
    run = early(separable(seed), oa.Network.random(24, 20, seed), -15.0)
    t_1 = phase_times(run).t_1
    grid = np.linspace(0.0, 2.0 * t_1, 2001)
    is_sorted, dead = settled_at(run, grid)
    all_sorted = (is_sorted | dead).all(axis=1)
    assert t_1 > 0.0
    assert 0.0 <= grid[np.argmax(all_sorted)] - t_1 <= 1.01 * grid[1]
    first = grid[np.argmax(is_sorted | dead, axis=0)]
    gap = first - sorting_times(run)
    assert np.all((gap >= 0.0) & (gap <= 1.01 * grid[1]))
    assert np.max(sorting_times(run)) <= t_1


@pytest.mark.parametrize("seed", [2, 5])
def test_sorting_where_neurons_slide(seed: int) -> None:
    sample = oa.GaussianMixture(6, kappa=1.5, sigma=1.0).sample(10, seed)
    run = oa.solve(sample, oa.Network.random(60, 6, seed), -6.0, oa.stop_at_risk(0.2))
    assert run.slides.start.size > 10
    times = sorting_times(run)
    met = np.flatnonzero(times > 0)
    assert met.size > 3
    for j in met[:6]:
        later = run.kinks.time[run.kinks.time > times[j] * (1 + 1e-9)]
        after = 0.5 * (times[j] + (later[0] if later.size else run.time))
        assert settled_at(run, np.array([after])).any(axis=0)[0, j]
        before = np.linspace(0.0, times[j] * (1 - 1e-6), 60)
        assert not settled_at(run, before).any(axis=0)[:, j].any()
    never = np.isnan(times)
    assert not settled_at(run, np.linspace(0.0, run.time, 100)).any(axis=0)[:, never].any()


def test_pairs_of_equal_neurons_and_starts_on_a_kink() -> None:
    sample = oa.Sample([[1.0, 0.0], [0.6, 0.8], [-1.0, -0.2]], [1, 1, -1])
    weights = [[0.0, 1.0], [0.0, 1.0], [-0.8, 0.6], [-1.0, -1.0]]
    run = early(sample, oa.Network.balanced(weights=weights, sign=[1, -1, 1, -1]))
    times = sorting_times(run)
    # on the kink of sample 0: the field sends neuron 0 to its active side, which sorts it
    assert times[0] == 0.0
    assert times[3] == 0.0
    assert times[1] == times[1] > 0.0
    assert run.kinks.time.size > 0
    network = oa.Network.random(8, 20, seed=1, paired=True)
    paired = early(separable(), network)
    assert phase_times(paired).t_1 == np.max(sorting_times(paired))


def test_nothing_is_sorted_before_the_end() -> None:
    run = oa.solve(separable(), oa.Network.random(16, 20, seed=0), -9.0, oa.stop_at_time(1e-6))
    times = phase_times(run)
    assert math.isnan(times.t_1)
    assert math.isnan(times.onset)
    assert math.isnan(times.t_eta)
    assert np.isnan(sorting_times(run)).any()


# ------------------------------------------------------------------------------- phases


@pytest.mark.parametrize(
    "loss", [oa.LogisticLoss(2.0, "sum"), oa.LogisticLoss(0.3), oa.LogisticLoss()]
)
def test_phase_times_scale_with_the_loss(loss: oa.LogisticLoss) -> None:
    sample, network = separable(), oa.Network.random(16, 20, seed=0)
    reference = oa.LogisticLoss(2.0, "sum")
    eta = 0.2 * loss.weight(6) / reference.weight(6)
    runs = [
        oa.solve(sample, network, -12.0, oa.stop_at_risk(e, over="positive"), chosen)
        for e, chosen in ((0.2, reference), (eta, loss))
    ]
    beta = {"mean": loss.factor / 24, "sum": loss.factor / 2}[loss.reduction]
    in_r, own = (vars(phase_times(run)) for run in runs)
    for name in in_r:
        assert own[name] * beta == pytest.approx(in_r[name], rel=1e-7), name


def test_windows_are_the_formulas_of_the_reference_convention() -> None:
    sample = separable()
    network = oa.Network.balanced(
        weights=2.5 * oa.Network.random(16, 20, seed=0).weights, sign=[1, -1] * 8
    )
    alpha, h, n = 0.01, 16, 12
    run = oa.solve(
        sample, network, math.log(alpha), oa.stop_at_risk(0.5), oa.LogisticLoss(2.0, "sum")
    )
    times = phase_times(run)
    x_max = np.linalg.norm(sample.x, axis=1).max()
    plus, minus = (np.linalg.norm(sample.x[sample.y == k].sum(axis=0)) for k in (1, -1))
    size = math.log(1 / (math.sqrt(h) * alpha))
    growth = 1 + math.tanh(alpha * math.sqrt(h) * x_max * 2.5**2 / 2)
    assert growth > 1.3
    expected = {
        "T": size / (4 * n * x_max),
        "T_G": size / (2 * growth * max(plus, minus)),
        "T_plus": size / (2 * plus),
        "T_minus": size / (2 * minus),
    }
    assert {name: vars(times)[name] for name in expected} == pytest.approx(expected, rel=1e-13)
    assert times.t_eta == run.time
    assert times.onset == oa.fitting_onset(run)


@pytest.mark.parametrize(
    "loss",
    [oa.LogisticLoss(), oa.ExponentialLoss(0.7), oa.SquareLoss(2.0)],
    ids=["logistic", "exponential", "square"],
)
def test_bounds_hold_up_to_T_G(loss: oa.LogisticLoss) -> None:
    sample, network, alpha = separable(), oa.Network.random(16, 20, seed=0), 0.02
    stop = oa.stop_at_risk(0.5 * loss.risk(np.zeros(12), sample.y))
    run = oa.solve(sample, network, math.log(alpha), stop, loss)
    state = run.at(np.linspace(0.0, min(phase_times(run).T_G, run.time), 50))
    assert np.all(2 * state.log_norm <= math.log(alpha / 4) + 1e-9)
    assert np.all(np.abs(state.outputs) <= 4 * alpha * sample.max_norm)


def test_large_alpha_has_no_window() -> None:
    sample, network = separable(), oa.Network.random(16, 20, seed=0)
    times = phase_times(oa.solve(sample, network, math.log(0.25), oa.stop_at_risk(0.1)))
    assert all(map(math.isnan, (times.T, times.T_G, times.T_plus, times.T_minus)))
    assert times.t_eta > 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_stopping_time_grows_by_the_class_sum(seed: int) -> None:
    sample, network = separable(seed), oa.Network.random(32, 20, seed)
    log_alphas = np.log([1e-12, 1e-9, 1e-6, 1e-3])
    times = [phase_times(early(sample, network, a)).t_eta for a in log_alphas]
    slopes = -np.diff(times) / np.diff(log_alphas) * oa.LogisticLoss().time_factor(12)
    np.testing.assert_allclose(slopes * np.linalg.norm(sample.class_sum(1)), 1.0, rtol=0.02)


def test_zeta_is_the_formula_and_vanishes_where_it_says() -> None:
    sample = separable()
    network = oa.Network.balanced(weights=3.0 * np.eye(5, 20), sign=[1, -1, 1, -1, 1])
    for label in (1, -1):
        x_sum = np.linalg.norm(sample.x[sample.y == label].sum(axis=0))
        x_max = np.linalg.norm(sample.x, axis=1).max()
        slope = 4 * 12 * math.sqrt(5) * x_max**2 * 9.0 / x_sum
        for alpha in (1e-5, 1e-4, 0.01):
            found = zeta(sample, network, math.log(alpha), label)
            assert found == pytest.approx(1 - slope * alpha, rel=1e-12)
        edge = log_alpha_where_zeta_vanishes(sample, network, label)
        assert math.exp(edge) == pytest.approx(1 / slope, rel=1e-12)
        assert zeta(sample, network, edge, label) == 0.0
    assert zeta(sample, network, -5000.0) == 1.0
    assert zeta(sample, network, 5000.0) == -math.inf
    with pytest.raises(oa.ProblemError, match="no sample is negative"):
        zeta(oa.Sample([[1.0, 0.0]], [1]), network, -3.0, label=-1)
