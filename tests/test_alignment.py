"""Angles, the onset of fitting, and trajectories as Datasets."""

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import overalign as oa
from overalign.alignment import ONSET, flow_times


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
