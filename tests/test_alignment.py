"""Angles, cones, alignment, phases, the limit of small alpha, and trajectories as Datasets."""

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import overalign as oa
from overalign.alignment import ClassAlignment, Cone, alignment_of
from overalign.flow import Over
from overalign.phases import (
    ONSET,
    limit_alignment,
    log_alpha_where_zeta_vanishes,
    phase_times,
    sorting_times,
    zeta,
)
from overalign.tables import flow_times


def solved(log_alpha: float = -7.0, **options: object) -> oa.Trajectory:
    sample = oa.GaussianMixture(6, kappa=3.0, sigma=0.5).sample(8, seed=3)
    network = oa.Network.random(10, 6, seed=11)
    stop = options.pop("stop", oa.stop_at_risk(0.1))
    return oa.solve(sample, network, log_alpha, stop, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run() -> oa.Trajectory:
    return solved()


@pytest.fixture(scope="module")
def dataset(run: oa.Trajectory) -> xr.Dataset:
    return oa.flow_dataset(run)


# -------------------------------------------------------------------------------- angles


@given(st.floats(-15.0, 0.49), st.floats(-100.0, 100.0), st.floats(-100.0, 100.0))
def test_angles_in_a_plane(exponent: float, log_a: float, log_b: float) -> None:
    theta = 10.0**exponent
    direction = 10.0**log_a * np.array([math.cos(theta), math.sin(theta), 0.0])
    found = float(oa.angle(direction, 10.0**log_b * np.array([1.0, 0.0, 0.0])))
    assert found == pytest.approx(theta, rel=1e-13)


def test_angles_in_space_against_many_digits() -> None:
    generator = np.random.default_rng(5)
    e = generator.normal(size=7)
    for size in (1.0, 1e-3, 1e-6, 1e-9):
        u = e + size * generator.normal(size=7)
        with mpmath.workdps(60):
            a, b = mpmath.matrix(u.tolist()), mpmath.matrix(e.tolist())
            exact = mpmath.acos((a.T * b)[0] / mpmath.norm(a) / mpmath.norm(b))
        assert float(oa.angle(u, e)) == pytest.approx(float(exact), rel=1e-12, abs=1e-15)


def test_angles_keep_leading_axes_and_opposite_vectors_are_pi_apart() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert oa.angle(vectors, vectors[0, 0]).shape == (2, 3)
    assert float(oa.angle([-2.0, 0.0], [1.0, 0.0])) == math.pi


@pytest.mark.parametrize(
    ("direction", "reference", "message"),
    [
        ([0.0, 0.0], [1.0, 0.0], "direction: a vector is zero"),
        ([1.0, 0.0], [0.0, 0.0], "reference: a vector is zero"),
        ([math.nan, 0.0], [1.0, 0.0], "direction: a vector is zero or not finite"),
        ([1.0, 0.0], [1.0, 0.0, 0.0], "expected"),
        (1.0, [1.0], "expected"),
    ],
)
def test_angles_without_meaning(direction: object, reference: object, message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        oa.angle(direction, reference)  # type: ignore[arg-type]


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


# ------------------------------------------------------------------------------- dataset


def test_times_resolve_both_phases(run: oa.Trajectory) -> None:
    onset = oa.fitting_onset(run)
    times = flow_times(run, onset)
    assert times[0] == 0.0
    assert times[-1] == run.time
    assert np.all(np.diff(times) > 0)
    assert onset in times
    assert times.size <= 400
    assert np.sum(times > onset) >= 100
    assert np.sum(times < 0.1 * onset) >= 50
    with pytest.raises(oa.ProblemError, match="at least 10"):
        flow_times(run, onset, most=3)


def test_the_dataset_repeats_the_trajectory(run: oa.Trajectory, dataset: xr.Dataset) -> None:
    end = dataset.isel(time=-1)
    assert float(end.time) == run.time
    assert float(end.risk) == pytest.approx(run.risk, rel=1e-9)
    np.testing.assert_allclose(end.log_norm, run.final.log_norm, rtol=0, atol=1e-8)
    np.testing.assert_allclose(end.output, run.final.outputs, rtol=0, atol=1e-7)
    np.testing.assert_allclose(dataset.log_norm[0], -7.0, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(dataset.kink_time, run.kinks.time)
    np.testing.assert_array_equal(dataset.slide_start, run.slides.start)
    np.testing.assert_array_equal(dataset.sign, run.network.sign)


def test_angles_of_the_dataset(run: oa.Trajectory, dataset: xr.Dataset) -> None:
    assert dataset.angle_positive.attrs["units"] == "rad"
    expected = oa.angle(run.final.direction, run.sample.class_sum(-1))
    np.testing.assert_allclose(dataset.angle_negative[-1], expected, rtol=0, atol=1e-7)


def test_every_variable_is_described(dataset: xr.Dataset) -> None:
    for name, variable in dataset.variables.items():
        assert variable.attrs.get("long_name"), name
        assert variable.attrs.get("units"), name


def test_attributes_hold_the_conventions(run: oa.Trajectory, dataset: xr.Dataset) -> None:
    expected = {
        "loss": "LogisticLoss",
        "loss_factor": 1.0,
        "loss_reduction": "mean",
        "time_factor": 1 / 16,
        "stop": "risk",
        "stop_target": 0.1,
        "tolerance": 1e-8,
        "log_alpha": -7.0,
        "outcome": "REACHED",
        "successful": 1,
        "end": run.time,
        "error_estimate": run.error_estimate,
        "separability": run.sample.separability,
        "violating_pairs": run.sample.violating_pairs,
        "version_overalign": oa.__version__,
    }
    assert {name: dataset.attrs[name] for name in expected} == expected


def test_the_file_is_enough_to_solve_again(
    run: oa.Trajectory, dataset: xr.Dataset, tmp_path: Path
) -> None:
    stored = oa.read_dataset(oa.write_dataset(dataset, tmp_path / "flow.nc"))
    again = oa.solve(
        oa.Sample(stored.x.values, stored.y.values),
        oa.Network(stored.initial_weights.values, stored.initial_output.values),
        float(stored.attrs["log_alpha"]),
        oa.stop_at_risk(float(stored.attrs["stop_target"])),
    )
    assert again.time == run.time


def test_times_can_be_chosen(run: oa.Trajectory) -> None:
    assert oa.flow_dataset(run, [run.time, 0.0]).log_norm.shape == (2, 10)
    assert oa.flow_dataset(run, 0.0).log_norm.shape == (1, 10)
    with pytest.raises(oa.ProblemError, match="within"):
        oa.flow_dataset(run, [2 * run.time])


def test_targets_and_single_classes_have_no_angles() -> None:
    x = np.random.default_rng(1).normal(size=(4, 3))
    network = oa.Network.random(6, 3, seed=2)
    real = oa.solve(
        oa.Sample(x, [0.5, -0.2, 0.1, 0.3]), network, -3.0, oa.stop_at_time(2.0), oa.SquareLoss()
    )
    single = oa.solve(oa.Sample(x, [1, 1, 1, 1]), network, -3.0, oa.stop_at_time(2.0))
    for run in (real, single):
        assert "angle_positive" not in oa.flow_dataset(run)
    assert "separability" not in oa.flow_dataset(real).attrs


def test_a_start_at_the_stop_has_one_time() -> None:
    dataset = oa.flow_dataset(solved(stop=oa.stop_at_risk(0.7)))
    assert dataset.attrs["outcome"] == "ALREADY_THERE"
    assert dataset.time.values.tolist() == [0.0]


def test_dead_neurons_are_those_that_do_not_move(run: oa.Trajectory) -> None:
    sample = oa.Sample([[1.0, 0.2], [0.8, -0.1]], [1, 1])
    network = oa.Network.balanced(weights=[[1.0, 0.0], [-1.0, 0.3], [0.5, 1.0]], sign=[1, 1, 1])
    ended = oa.solve(sample, network, -4.0, oa.stop_at_risk(0.2))
    assert oa.dead_neurons(ended).tolist() == [False, True, False]
    assert not oa.dead_neurons(run).all()


# --------------------------------------------------------------------------------- cones


@given(st.integers(0, 2**32), st.integers(2, 6), st.floats(0.0, math.pi))
def test_the_closest_point_of_a_cone_is_on_the_way_to_its_axis(
    seed: int, dimension: int, half_angle: float
) -> None:
    generator = np.random.default_rng(seed)
    cone = Cone(generator.normal(size=dimension), half_angle)
    direction = generator.normal(size=(7, dimension))
    closest = cone.closest(direction)
    phi = oa.angle(direction, cone.axis)
    distance = [float(oa.angle(c, v)) for c, v in zip(closest, direction, strict=True)]
    np.testing.assert_allclose(distance, np.maximum(0.0, phi - half_angle), rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(closest, axis=1), 1.0, rtol=1e-14)
    assert cone.contains(closest).all()
    assert cone.contains(direction).tolist() == (phi <= half_angle).tolist()


def test_narrow_cones_and_opposite_directions() -> None:
    cone = Cone([0.0, 3.0, 0.0], 1e-9)
    axis = np.array([0.0, 1.0, 0.0])
    for direction in ([1.0, 0.0, 0.0], -axis):
        closest = cone.closest(direction)
        assert float(oa.angle(closest, axis)) == pytest.approx(1e-9, rel=1e-6)
        assert cone.contains(closest)
    assert not cone.contains([2e-9, 1.0, 0.0])
    assert Cone([2.0], 0.5).closest([[-3.0], [4.0]]).tolist() == [[1.0], [1.0]]
    assert cone.Psi == 1.0


@pytest.mark.parametrize(
    ("axis", "half_angle", "message"),
    [
        ([0.0, 0.0], 0.1, "axis: a vector is zero"),
        ([[1.0, 0.0]], 0.1, "expected"),
        ([1.0, 0.0], -0.1, "half_angle"),
        ([1.0, 0.0], 3.2, "half_angle"),
        ([1.0, 0.0], math.nan, "half_angle"),
    ],
)
def test_cones_without_meaning(axis: object, half_angle: float, message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        Cone(axis, half_angle)  # type: ignore[arg-type]
    with pytest.raises(oa.ProblemError, match="zero"):
        Cone([1.0, 0.0], 0.1).contains([0.0, 0.0])


# --------------------------------------------------------------------- alignment of a state


def separable(seed: int = 0) -> oa.Sample:
    return oa.GaussianMixture(20, kappa=1.5, sigma=1.0).sample(12, seed, separability=0.0)


def early(sample: oa.Sample, network: oa.Network, log_alpha: float = -9.0) -> oa.Trajectory:
    return oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05, over="positive"))


@pytest.fixture(scope="module")
def small() -> oa.Trajectory:
    return early(separable(), oa.Network.random(24, 20, seed=3))


def test_alignment_is_what_its_definition_says(small: oa.Trajectory) -> None:
    sample = small.sample
    for time in (0.0, 0.3 * small.time, small.time):
        state = small.at(time)
        found = alignment_of(state, sample)
        w = np.exp(state.log_norm)[:, None] * state.direction
        v = state.sign * np.exp(state.log_output)
        products = w @ sample.x.T
        live = (products > 0).any(axis=1)
        gap = np.zeros(sample.n)
        f = v @ np.maximum(products, 0.0)
        for part, label in ((found.positive, 1), (found.negative, -1)):
            mine, rows = live & (np.sign(v) == label), sample.y == label
            w_hat, x_sum = np.abs(v[mine]) @ w[mine], sample.x[rows].sum(axis=0)
            cosine = w_hat @ x_sum / np.linalg.norm(w_hat) / np.linalg.norm(x_sum)
            assert float(part.Psi) == pytest.approx(cosine, abs=1e-14)
            assert float(part.log_norm) == pytest.approx(np.log(np.linalg.norm(w_hat)), abs=1e-12)
            np.testing.assert_allclose(part.predictor, w_hat / np.linalg.norm(w_hat), atol=1e-13)
            np.testing.assert_allclose(part.margins, label * f[rows], rtol=1e-7)
            assert part.cone.Psi == pytest.approx(cosine, abs=1e-14)
            assert part.cone.contains(part.predictor)
            own = np.sign(v) == label
            psi = w @ x_sum / np.linalg.norm(w, axis=1) / np.linalg.norm(x_sum)
            np.testing.assert_allclose(found.psi[own], psi[own], atol=1e-14)
            gap[rows] = f[rows] - label * sample.x[rows] @ w_hat
        assert float(found.Psi) == pytest.approx(
            float(found.positive.Psi + found.negative.Psi) / 2, abs=0
        )
        np.testing.assert_array_equal(found.is_live, live)
        ratio = np.abs(gap).max() / np.abs(f).max()
        assert float(found.decoupling) == pytest.approx(ratio, rel=1e-9, abs=1e-14)


def test_a_time_axis_repeats_single_times(small: oa.Trajectory) -> None:
    times = [0.0, 0.1 * small.time, small.time]
    together = alignment_of(small.at(times), small.sample)
    for k, time in enumerate(times):
        alone = alignment_of(small.at(time), small.sample)
        for name in ("angle", "is_live", "is_sorted", "decoupling", "Psi"):
            np.testing.assert_array_equal(getattr(together, name)[k], getattr(alone, name))
        np.testing.assert_array_equal(together.positive.predictor[k], alone.positive.predictor)
        np.testing.assert_array_equal(together.negative.margins[k], alone.negative.margins)
    with pytest.raises(oa.ProblemError, match="one time or risk"):
        _ = together.positive.cone


@pytest.mark.parametrize("log_alpha", [-3.0, -9.0, -5000.0])
def test_the_hull_holds_at_every_time_and_classes_decouple_after_sorting(log_alpha: float) -> None:
    run = early(separable(1), oa.Network.random(32, 20, seed=1), log_alpha)
    times = flow_times(run, oa.fitting_onset(run))
    found, sign = alignment_of(run.at(times), run.sample), run.network.sign
    checked = 0
    for part in (found.positive, found.negative):
        mine = found.is_live & (sign == part.label)
        lowest = np.where(mine, found.psi, np.inf).min(axis=1)
        where = lowest >= 0
        checked += int(where.sum())
        assert np.all(part.Psi[where] >= lowest[where] - 1e-12)
    assert checked > times.size
    t_1 = phase_times(run).t_1
    assert np.all(found.decoupling[times > t_1] == 0.0)
    assert np.all(found.decoupling[times < 0.9 * t_1] > 1e-6)
    settled = found.is_sorted | ~found.is_live
    np.testing.assert_array_equal(settled.all(axis=1)[times > t_1], True)


def test_alpha_that_underflows_changes_only_the_logarithm() -> None:
    sample, network = separable(), oa.Network.random(16, 20, seed=2)
    tiny = alignment_of(early(sample, network, -5000.0).at(0.0), sample)
    plain = alignment_of(early(sample, network, -5.0).at(0.0), sample)
    for a, b in ((tiny.positive, plain.positive), (tiny.negative, plain.negative)):
        np.testing.assert_allclose(a.predictor, b.predictor, atol=1e-13)
        assert float(a.log_norm) + 10_000 == pytest.approx(float(b.log_norm) + 10, abs=1e-10)
    assert float(tiny.decoupling) == pytest.approx(float(plain.decoupling), rel=1e-12)
    assert tiny.positive.margins.tolist() == [0.0] * 6
    assert float(tiny.positive.residual_spread(oa.LogisticLoss())) == 0.0


def test_neurons_and_samples_have_no_order() -> None:
    sample, network = separable(), oa.Network.random(16, 20, seed=2)
    generator = np.random.default_rng(0)
    rows, neurons = generator.permutation(12), generator.permutation(16)
    run = early(sample, network)
    other = early(
        oa.Sample(sample.x[rows], sample.y[rows]),
        oa.Network(network.weights[neurons], network.output[neurons]),
    )
    a, b = alignment_of(run.final, sample), alignment_of(other.final, other.sample)
    np.testing.assert_allclose(a.angle[neurons], b.angle, atol=1e-7)
    np.testing.assert_allclose(a.positive.predictor, b.positive.predictor, atol=1e-7)
    np.testing.assert_allclose(sorting_times(run)[neurons], sorting_times(other), rtol=1e-7)
    for first, second in zip(
        map(np.atleast_1d, vars(phase_times(run)).values()),
        map(np.atleast_1d, vars(phase_times(other)).values()),
        strict=True,
    ):
        assert np.sort(first) == pytest.approx(np.sort(second), rel=1e-7)


def test_swapping_the_classes_swaps_the_results(small: oa.Trajectory) -> None:
    sample, network = small.sample, small.network
    run = oa.solve(
        oa.Sample(sample.x, -sample.y),
        oa.Network(network.weights, -network.output),
        small.log_alpha,
        oa.stop_at_risk(0.05, over="negative"),
    )
    a, b = alignment_of(small.final, sample), alignment_of(run.final, run.sample)
    np.testing.assert_allclose(a.angle, b.angle, atol=1e-9)
    np.testing.assert_allclose(a.positive.predictor, b.negative.predictor, atol=1e-9)
    np.testing.assert_allclose(a.negative.margins, b.positive.margins, atol=1e-9)
    assert phase_times(small).T_plus == phase_times(run).T_minus
    assert phase_times(small).t_1 == pytest.approx(phase_times(run).t_1, rel=1e-9)
    limits = (limit_alignment(sample, 0.05), limit_alignment(run.sample, 0.05, label=-1))
    assert float(limits[0].Psi) == float(limits[1].Psi)


def test_dead_neurons_are_left_out() -> None:
    sample = oa.Sample([[1.0, 0.2], [0.8, -0.1], [-1.0, 0.3]], [1, 1, -1])
    rows, sign = [[1.0, 0.3], [-0.9, 0.1]], [1, -1]
    dead = [[0.0, 0.0, 5.0]]  # orthogonal to every input: inactive, but long
    padded = oa.Sample(np.hstack([sample.x, np.zeros((3, 1))]), sample.y)
    network = oa.Network.balanced(weights=np.hstack([rows, np.zeros((2, 1))]), sign=sign)
    more = oa.Network.balanced(weights=np.vstack([network.weights, dead]), sign=[*sign, 1])
    a = alignment_of(early(padded, network).final, padded)
    run = early(padded, more)
    b = alignment_of(run.final, padded)
    np.testing.assert_allclose(a.positive.predictor, b.positive.predictor, atol=1e-12)
    assert b.is_live.tolist() == [True, True, False]
    assert oa.dead_neurons(run).tolist() == [False, False, True]
    assert float(b.decoupling) == 0.0
    assert sorting_times(run)[2] == 0.0


def test_a_class_without_live_neurons_has_no_predictor() -> None:
    sample = oa.Sample([[1.0, 0.0], [-1.0, 0.3]], [1, -1])
    network = oa.Network.balanced(weights=[[1.0, 0.1]], sign=[1])
    run = early(sample, network)
    found = alignment_of(run.final, sample)
    assert np.isnan(found.negative.predictor).all()
    assert np.isnan(found.Psi)
    assert float(found.negative.log_norm) == -math.inf
    assert float(found.positive.Psi) > 0.99
    with pytest.raises(oa.ProblemError, match="no live neuron"):
        _ = found.negative.cone


def test_neurons_without_output_have_no_class() -> None:
    sample = oa.Sample([[1.0, 0.0], [-1.0, 0.3]], [1, -1])
    network = oa.Network(weights=[[1.0, 0.1], [1.0, 0.2]], output=[0.0, 1.5])
    run = oa.solve(sample, network, -3.0, oa.stop_at_time(0.1))
    found = alignment_of(run.at(0.0), sample)
    assert math.isnan(found.angle[0])
    assert found.is_sorted.tolist() == [False, True]
    with pytest.raises(oa.ProblemError, match="may change its sign"):
        sorting_times(run)
    assert "sorting_time" not in oa.flow_dataset(run)
    assert "psi" in oa.flow_dataset(run)


def test_alignment_without_meaning(small: oa.Trajectory) -> None:
    x = small.sample.x
    with pytest.raises(oa.ProblemError, match="both classes"):
        alignment_of(small.final, oa.Sample(x, np.ones(12)))
    with pytest.raises(oa.ProblemError, match="labels"):
        alignment_of(small.final, oa.Sample(x, np.arange(12.0)))
    with pytest.raises(oa.ProblemError, match="12 outputs"):
        alignment_of(small.final, oa.Sample(x[:5], [1, -1, 1, 1, 1]))
    balanced = np.vstack([x[:3], -x[:3], x[6:]])
    with pytest.raises(oa.ProblemError, match="positive inputs sum to zero"):
        alignment_of(small.final, oa.Sample(balanced, [1] * 6 + [-1] * 6))


@pytest.mark.parametrize("loss", [oa.LogisticLoss(), oa.ExponentialLoss(3.0, "sum")])
@pytest.mark.parametrize("scale", [1e-9, 0.3, 5.0, 300.0])
def test_residual_spread_against_many_digits(loss: oa.LogisticLoss, scale: float) -> None:
    margins = scale * np.array([[1.0, 2.0, 1.25], [-1.0, 0.5, 0.75]])
    part = ClassAlignment(1, *[np.zeros(0)] * 4, margins=margins)
    with mpmath.workdps(400):
        shift = 1 if isinstance(loss, oa.LogisticLoss) else 0
        g = [[1 / (shift + mpmath.exp(mpmath.mpf(m))) for m in row] for row in margins.tolist()]
        exact = [float((max(row) - min(row)) / (max(row) + min(row))) for row in g]
    np.testing.assert_allclose(part.residual_spread(loss), exact, rtol=1e-13)
    assert np.all(part.residual_spread(loss) <= np.tanh(part.margin_spread / 2) * (1 + 1e-14))
    with pytest.raises(oa.ProblemError, match="SquareLoss"):
        part.residual_spread(oa.SquareLoss())


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


# -------------------------------------------------------------------------- alpha -> 0


@pytest.mark.parametrize("loss", [oa.LogisticLoss(), oa.ExponentialLoss(2.0, "sum")])
@pytest.mark.parametrize("label", [1, -1])
def test_the_limit_is_one_neuron_that_starts_aligned(loss: oa.LogisticLoss, label: int) -> None:
    sample = separable()
    rows = sample.x[sample.y == label]
    alone, neuron = (
        oa.Sample(rows, np.ones(6)),
        oa.Network.balanced(weights=[rows.sum(axis=0)], sign=[1]),
    )
    etas = [0.5, 0.05, 1e-3, 1e-8]
    limit = limit_alignment(sample, etas, label, loss)
    assert limit.Psi.shape == (4,)
    for k, eta in enumerate(etas):
        run = oa.solve(alone, neuron, -24.0, oa.stop_at_risk(eta), loss, tolerance=1e-11)
        np.testing.assert_allclose(limit.predictor[k], run.final.direction[0], atol=1e-10)
        assert float(limit.log_norm[k]) == pytest.approx(2 * run.final.log_norm[0], abs=1e-10)
        margins = math.exp(limit.log_norm[k]) * rows @ limit.predictor[k]
        assert loss.risk(margins, np.ones(6)) == pytest.approx(eta, rel=1e-11)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("over", "label"), [("positive", 1), ("negative", -1)])
def test_networks_stop_at_the_limit(seed: int, over: Over, label: int) -> None:
    sample, etas = separable(seed), (0.3, 0.05, 0.01)
    limit = limit_alignment(sample, etas, label)
    network = oa.Network.random(16 if seed else 64, 20, seed)
    for alpha in (1e-4, 1e-30):
        for k, eta in enumerate(etas):
            run = oa.solve(sample, network, math.log(alpha), oa.stop_at_risk(eta, over=over))
            found = alignment_of(run.final, sample)
            part = found.positive if label == 1 else found.negative
            assert float(part.Psi) == pytest.approx(float(limit.Psi[k]), abs=1e-5)
            assert float(part.log_norm) == pytest.approx(float(limit.log_norm[k]), abs=1e-2)
            if alpha == 1e-30:
                np.testing.assert_allclose(part.predictor, limit.predictor[k], atol=1e-7)
    assert limit.cone_angle.max() > 0.02


def test_a_stop_over_all_samples_has_no_limit() -> None:
    sample, network = separable(), oa.Network.random(32, 20, seed=0)
    Psi = [
        float(alignment_of(run.final, sample).positive.Psi)
        for run in (
            oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05))
            for log_alpha in (-20.0, -200.0, -2000.0)
        )
    ]
    assert np.linalg.norm(sample.class_sum(1)) > np.linalg.norm(sample.class_sum(-1))
    np.testing.assert_array_less(np.diff(Psi), -0.003)


def test_one_sample_in_closed_form() -> None:
    sample = oa.Sample([[3.0, 4.0]], [-1])
    limit = limit_alignment(sample, [[0.6], [1e-12]], label=-1)
    np.testing.assert_allclose(limit.cone_angle, np.zeros((2, 1)), rtol=0, atol=1e-15)
    np.testing.assert_allclose(limit.predictor, [[[0.6, 0.8]]] * 2)
    margins = -np.log(np.expm1(limit.eta))
    np.testing.assert_allclose(limit.log_norm, np.log(margins / 5), atol=1e-11)
    assert limit_alignment(sample, 0.6, -1).cone.half_angle < 1e-15


def test_the_limit_at_the_ends_of_eta() -> None:
    sample = separable()
    near = limit_alignment(sample, math.log(2) * (1 - 1e-9))
    assert float(near.cone_angle) < 1e-8
    late = limit_alignment(sample, [1e-6, 1e-100])
    assert late.cone_angle[1] > late.cone_angle[0] > 0.1
    scaled = limit_alignment(oa.Sample(1e5 * sample.x, sample.y), 0.05)
    assert float(scaled.Psi) == pytest.approx(float(limit_alignment(sample, 0.05).Psi), abs=1e-11)


@pytest.mark.parametrize("eta", [math.log(2), 0.7, 0.0, -1.0, math.nan, [0.1, 0.7], []])
def test_risks_outside_the_limit(eta: object) -> None:
    with pytest.raises(oa.ProblemError, match="below the risk at f = 0"):
        limit_alignment(separable(), eta)  # type: ignore[arg-type]


def test_risks_that_no_linear_function_reaches() -> None:
    x = [[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.5], [0.5, 3.0]]
    sample = oa.Sample(x, [1, 1, 1, 1])
    with pytest.raises(oa.ProblemError, match="comes to rest near") as raised:
        limit_alignment(sample, 0.1)
    loss = oa.LogisticLoss()
    best = minimize(lambda v: loss.risk(sample.x @ v, np.ones(4)), np.zeros(2), tol=1e-12).fun
    assert f"{best:g}"[:6] in str(raised.value)
    assert float(limit_alignment(sample, 0.5 * (best + math.log(2))).Psi) < 1.0


def test_other_losses_and_labels_have_no_limit() -> None:
    with pytest.raises(oa.ProblemError, match="SquareLoss"):
        limit_alignment(separable(), 0.1, loss=oa.SquareLoss())
    with pytest.raises(oa.ProblemError, match="expected -1 or"):
        limit_alignment(separable(), 0.1, label=0)


# ---------------------------------------------------------- alignment in the Dataset


def test_the_dataset_holds_alignment_and_phases(
    run: oa.Trajectory, dataset: xr.Dataset, tmp_path: Path
) -> None:
    found = alignment_of(run.at(dataset.time.values), run.sample)
    expected = {
        "psi": found.psi,
        "Psi": found.Psi,
        "Psi_positive": found.positive.Psi,
        "Psi_negative": found.negative.Psi,
        "predictor_positive": found.positive.predictor,
        "log_predictor_negative": found.negative.log_norm,
        "margin_spread_positive": found.positive.margin_spread,
        "residual_spread_negative": found.negative.residual_spread(run.loss),
        "decoupling": found.decoupling,
        "sorting_time": sorting_times(run),
    }
    stored = oa.read_dataset(oa.write_dataset(dataset, tmp_path / "flow.nc"))
    for name, values in expected.items():
        np.testing.assert_array_equal(stored[name], values, err_msg=name)
    assert stored.predictor_negative.dims == ("time", "dimension")
    assert stored.psi.dims == ("time", "neuron")
    times = vars(phase_times(run))
    np.testing.assert_array_equal(stored["sorting_time"], times.pop("sorting_times"))
    for name, value in times.items():
        np.testing.assert_equal(float(stored.attrs[name]), value, err_msg=name)


def test_data_without_class_directions_have_no_alignment() -> None:
    x = [[1.0, 0.0], [-1.0, 0.0], [0.3, 1.0]]
    run = oa.solve(
        oa.Sample(x, [1, 1, -1]), oa.Network.random(6, 2, seed=2), -3.0, oa.stop_at_time(2.0)
    )
    dataset = oa.flow_dataset(run)
    assert "angle_negative" in dataset
    assert "Psi" not in dataset
    assert "t_1" not in dataset.attrs


def test_the_square_loss_has_alignment_but_no_residual_spread() -> None:
    sample, network = separable(), oa.Network.random(8, 20, seed=0)
    dataset = oa.flow_dataset(
        oa.solve(sample, network, -6.0, oa.stop_at_risk(0.1), oa.SquareLoss()), [0.0]
    )
    assert "margin_spread_positive" in dataset
    assert "residual_spread_positive" not in dataset
