"""Angles, cones, and the alignment of a state."""

import math

import mpmath
import numpy as np
import pytest
from flows import early, separable, solved
from hypothesis import given
from hypothesis import strategies as st

import overalign as oa
from overalign.alignment import ClassAlignment, Cone, alignment_of
from overalign.limit import limit_alignment
from overalign.phases import (
    phase_times,
    sorting_times,
)
from overalign.tables import flow_times


@pytest.fixture(scope="module")
def run() -> oa.Trajectory:
    return solved()


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


def test_dead_neurons_are_those_that_do_not_move(run: oa.Trajectory) -> None:
    sample = oa.Sample([[1.0, 0.2], [0.8, -0.1]], [1, 1])
    network = oa.Network.balanced(weights=[[1.0, 0.0], [-1.0, 0.3], [0.5, 1.0]], sign=[1, 1, 1])
    ended = oa.solve(sample, network, -4.0, oa.stop_at_risk(0.2))
    assert oa.dead_neurons(ended).tolist() == [False, True, False]
    assert not oa.dead_neurons(run).all()
