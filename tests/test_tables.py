"""Trajectories as Datasets."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from flows import separable, solved

import overalign as oa
from overalign.alignment import alignment_of
from overalign.phases import (
    phase_times,
    sorting_times,
)
from overalign.tables import flow_times


@pytest.fixture(scope="module")
def run() -> oa.Trajectory:
    return solved()


@pytest.fixture(scope="module")
def dataset(run: oa.Trajectory) -> xr.Dataset:
    return oa.flow_dataset(run)


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
