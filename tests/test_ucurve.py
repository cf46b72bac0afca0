"""The U-curve sweep: what it measures, that it resumes, and what its statistics say."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xarray as xr

import overalign as oa
from overalign import ucurve
from overalign.ucurve import UCurve, measure, problem_of, run_ucurve

SMALL = UCurve(
    data="mixture:n=6,dimension=5",
    sets=3,
    width=8,
    alphas=5,
    alpha_min=1e-3,
    alpha_max=2.0,
    eta=0.2,
)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    return run_ucurve(SMALL)


# --------------------------------------------------------------------------------- settings


def test_the_defaults_are_those_of_the_conventions() -> None:
    settings = UCurve()
    split, networks = problem_of(settings.runs[0])
    assert (split.train.n, split.train.dimension, settings.sets, settings.eta) == (12, 20, 16, 0.05)
    assert split.mixture is not None
    assert (split.mixture.kappa, split.mixture.sigma) == (1.5, 1.0)
    assert split.train.separability >= 0.0
    assert list(networks) == ["independent", "paired"]
    np.testing.assert_allclose(networks["independent"].row_norms, 1.0)
    assert np.count_nonzero(networks["paired"].outputs(split.train.x)) == 0
    assert networks["independent"].width == networks["paired"].width == 64
    grid = np.exp(settings.log_alphas)
    assert grid.size == 24
    assert (grid[0], grid[-1]) == (pytest.approx(1e-6), pytest.approx(4.0))
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(4e6) / 23)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alphas": 1}, oa.ProblemError, "the grid has 1 alpha"),
        ({"alphas": 2}, oa.ProblemError, "needs at least 3"),
        ({"alpha_min": 0.0}, oa.ProblemError, "0 < alpha_min < alpha_max"),
        ({"alpha_min": 5.0}, oa.ProblemError, "from 5 to 2"),
        ({"alpha_max": float("inf")}, oa.OveralignError, "inf"),
        ({"eta": 0.8}, oa.ProblemError, r"eta is 0.8; .*the risk at the start, 0.6931"),
        ({"eta": 0.0}, oa.ProblemError, "eta is 0"),
        ({"width": 7}, oa.ProblemError, "even width"),
        ({"sets": 0}, oa.ConfigError, "sets"),
        ({"width": "8"}, oa.ConfigError, "width"),
        ({"initialisation": "other"}, oa.ConfigError, "initialisation"),
        ({"tolerance": 1e-20}, oa.ToleranceError, "float64 can deliver"),
        ({"error_accuracy": 0.0}, oa.ProblemError, "error_accuracy is 0"),
        ({"data": "mixture:kappa=-1"}, oa.ProblemError, "kappa"),
        ({"data": "nothing"}, oa.DataFileError, "not a data source"),
        ({"data": "missing.csv"}, oa.DataFileError, "no such file"),
    ],
)
def test_a_sweep_that_means_nothing(change: dict, error: type, message: str) -> None:
    settings = msgspec.structs.replace(SMALL, **change)
    with pytest.raises(error, match=message):
        run_ucurve(settings)


def test_data_that_cannot_be_drawn_are_named_with_the_acceptance_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overalign.sampling._MOST_EXTENSION", 1)  # gives up sooner
    settings = UCurve(data="mixture:kappa=0.1,n=12,separability=0.95", sets=4)
    with pytest.raises(oa.SamplingError, match=r"acceptance \d.*lower the separability"):
        run_ucurve(settings, tmp_path)
    assert not list(tmp_path.glob("*/result.nc"))


# ------------------------------------------------------------------------------ what is measured


def test_every_quantity_is_measured_and_described(small: xr.Dataset) -> None:
    shape = (3, 2, 5)
    columns = ("network_error", "predictor_error", "over_alignment", "over_fitting", "Psi")
    for name in (*columns, "cosine_to_pooled_mean", "network_error_se", "undecided", "outcome"):
        assert small[name].dims == ("set", "initialisation", "alpha"), name
        assert small[name].shape == shape, name
    assert all(f"{name}_positive" in small for name in columns)
    assert all(variable.attrs["long_name"] for variable in small.data_vars.values())
    assert small.error_bayes.dims == ("set",)
    assert json.loads(small.attrs["settings"])["alphas"] == 5
    assert small.attrs["loss"] == "LogisticLoss"
    assert (small.risk.values[small.outcome.values == "REACHED"] <= 0.2 + 1e-6).all()


def test_the_parts_add_up_and_the_reference_errors_are_in_order(small: xr.Dataset) -> None:
    for end in ("", "_positive"):
        excess = small[f"predictor_error{end}"] - small.error_bayes
        parts = small[f"over_alignment{end}"] + small[f"over_fitting{end}"]
        np.testing.assert_allclose(parts, excess, atol=1e-14)
    assert (small.over_alignment >= 0.0).all()
    assert (small.over_fitting >= 0.0).all()
    assert (small.network_error > small.error_bayes - 3.0 * small.network_error_se).all()
    np.testing.assert_allclose(small.Psi_positive, np.cos(small.cone_angle_positive))


def test_a_set_is_what_solving_by_hand_gives(small: xr.Dataset) -> None:
    split, networks = problem_of(SMALL.runs[2])
    assert split.mixture is not None
    stop = oa.stop_at_risk(0.2)
    for kind, k in (("independent", 0), ("paired", 3)):
        log_alpha = float(SMALL.log_alphas[k])
        run = oa.solve(split.train, networks[kind], log_alpha, stop, tolerance=1e-10)
        found = small.isel(set=2, alpha=k).sel(initialisation=kind)
        state = oa.alignment_of(run.final, split.train)
        assert float(found.time) == pytest.approx(run.time, rel=1e-3)
        assert float(found.Psi) == pytest.approx(float(state.Psi), abs=1e-3)
        by_hand = [
            float(oa.direction_error(of.predictor, split.mixture, of.label))
            for of in (state.positive, state.negative)
        ]
        assert float(found.predictor_error) == pytest.approx(np.mean(by_hand), abs=1e-3)
        assert float(found.predictor_error_positive) == pytest.approx(by_hand[0], abs=1e-3)
        error = oa.network_error(run.final, split.mixture, relative_error=0.005)
        spread = 5.0 * np.hypot(float(found.network_error_se), error.standard_error) + 1e-3
        assert float(found.network_error) == pytest.approx(error.value, abs=spread)


def test_numbers_do_not_depend_on_the_other_sets_or_on_the_executor(small: xr.Dataset) -> None:
    alone = measure(SMALL.runs[1])
    np.testing.assert_array_equal(alone.network_error, small.network_error[1])
    with ThreadPoolExecutor(2) as executor:
        again = run_ucurve(msgspec.structs.replace(SMALL, sets=2), executor=executor)
    np.testing.assert_array_equal(again.network_error, small.network_error[:2])


def test_other_seeds_are_other_data_and_networks() -> None:
    first, second = (problem_of(UCurve(seed=seed).runs[0]) for seed in (0, 1))
    assert not np.any(first[0].train.x == second[0].train.x)
    assert not np.any(first[1]["independent"].weights == second[1]["independent"].weights)
    third = problem_of(UCurve().runs[1])
    assert not np.any(first[0].train.x == third[0].train.x)
    rows = first[1]["independent"].weights
    assert np.max(np.abs(rows @ first[0].train.signed.T / first[0].train.norms)) < 0.95


def test_a_stop_that_is_not_reached_leaves_a_hole() -> None:
    settings = UCurve(
        data="mixture:n=6,dimension=5", sets=2, width=1, alphas=3, initialisation="independent",
        alpha_min=1e-3, eta=0.1,
    )  # fmt: skip
    dataset = run_ucurve(settings)
    assert set(np.unique(dataset.outcome)) <= {"STALLED", "DEAD", "STATIONARY"}
    assert dataset.network_error.isnull().all()
    with pytest.raises(oa.ProblemError, match="at 0 alpha"):
        oa.find_optimum(dataset.network_error[:, 0], dataset.log_alpha)


# ------------------------------------------------------------------------------------- real data


def test_digits_have_held_out_errors_and_no_population(tmp_path: Path) -> None:
    settings = UCurve(
        data="digits:3,8", n=12, sets=2, width=8, alphas=3, eta=0.4, initialisation="paired"
    )
    dataset = run_ucurve(settings, tmp_path)
    assert int(dataset.held_out[0]) == 357 - 12
    for name in ("predictor_error", "over_alignment", "over_fitting", "phi", "error_bayes"):
        assert name not in dataset
    assert ((dataset.network_error > 0.0) & (dataset.network_error < 0.5)).all()
    split, networks = problem_of(settings.runs[0])
    assert split.held_out is not None
    log_alpha = float(settings.log_alphas[1])
    run = oa.solve(split.train, networks["paired"], log_alpha, oa.stop_at_risk(0.4))
    expected = oa.held_out_error(run.final, split.held_out)
    assert float(dataset.network_error[0, 0, 1]) == pytest.approx(expected.value, abs=0.01)


def test_files_are_split_anew_for_every_set(tmp_path: Path) -> None:
    sample = oa.GaussianMixture(4, 2.0, 1.0).sample(30, seed=1)
    np.savez(tmp_path / "mine.npz", x=sample.x, y=sample.y)
    settings = UCurve(data=str(tmp_path / "mine.npz"), sets=2, width=8, alphas=3, eta=0.3)
    splits = [problem_of(run)[0] for run in settings.runs]
    for split in splits:
        assert split.held_out is not None
        assert (split.train.n, split.held_out.n) == (15, 15)
        rows = np.vstack([split.train.x, split.held_out.x])
        assert np.unique(rows, axis=0).shape == (30, 4)
    assert not np.array_equal(splits[0].train.x, splits[1].train.x)
    assert run_ucurve(settings).network_error.notnull().all()


def test_the_tolerance_of_the_flow_does_not_show(small: xr.Dataset) -> None:
    """The default is coarse because the error of a network is known to two digits anyway."""
    finer = run_ucurve(msgspec.structs.replace(SMALL, tolerance=1e-9))
    gap = np.abs(finer.network_error - small.network_error)
    assert (gap < 0.1 * small.network_error_se).all()
    assert float(np.abs(finer.Psi - small.Psi).max()) < 1e-4


# --------------------------------------------------------------------------------------- resuming


def test_another_content_of_a_file_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    settings = UCurve(data=str(file), sets=1, width=8, alphas=3, eta=0.3)
    errors = []
    for seed in (1, 2, 1):
        sample = oa.GaussianMixture(4, 2.0, 1.0).sample(30, seed=seed)
        np.savez(file, x=sample.x, y=sample.y)
        errors.append(run_ucurve(settings, tmp_path / "runs").time.values)
    assert not np.array_equal(errors[0], errors[1])
    np.testing.assert_array_equal(errors[0], errors[2])
    assert len(list(tmp_path.glob("runs/*/config.json"))) == 2


def test_a_file_that_was_moved_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = oa.GaussianMixture(4, 2.0, 1.0).sample(30, seed=1)
    old, new = tmp_path / "old.npz", tmp_path / "elsewhere" / "new.npz"
    np.savez(old, x=sample.x, y=sample.y)
    settings = UCurve(data=str(old), sets=1, width=8, alphas=3, eta=0.3)
    first = run_ucurve(settings, tmp_path / "runs")
    new.parent.mkdir()
    old.rename(new)
    measured: list[str] = []

    def noted(run: ucurve.UCurveRun) -> xr.Dataset:
        measured.append(run.settings.data)
        return measure(run)

    monkeypatch.setattr(ucurve, "measure", noted)
    moved = msgspec.structs.replace(settings, data=str(new), sets=2)
    again = run_ucurve(moved, tmp_path / "runs")
    assert measured == [str(new)]  # the second data set, read where the file is now
    xr.testing.assert_equal(again.isel(set=[0]), first)
    assert str(tmp_path) not in "".join(p.read_text() for p in tmp_path.glob("runs/*/*.json"))


def test_finished_sets_are_kept_and_more_sets_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: xr.Dataset
) -> None:
    measured: list[int] = []

    def counted(run: ucurve.UCurveRun) -> xr.Dataset:
        measured.append(run.index)
        return measure(run)

    monkeypatch.setattr(ucurve, "measure", counted)
    calls: list[tuple[int, int, int]] = []
    run_ucurve(msgspec.structs.replace(SMALL, sets=2), tmp_path)
    dataset = run_ucurve(SMALL, tmp_path, progress=lambda *numbers: calls.append(numbers))
    assert sorted(measured[:2]) == [0, 1]  # threads: in any order
    assert measured[2:] == [2]
    assert calls == [(2, 3, 2), (3, 3, 2)]
    np.testing.assert_array_equal(dataset.network_error, small.network_error)
    run_ucurve(msgspec.structs.replace(SMALL, eta=0.25, sets=1), tmp_path)
    assert measured[-1] == 0  # other settings are other runs
    assert len(list(tmp_path.glob("*/result.nc"))) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL")
def test_a_sweep_that_is_killed_goes_on(tmp_path: Path, small: xr.Dataset) -> None:
    code = (
        "from overalign.ucurve import UCurve, run_ucurve\n"
        "import sys, json, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from overalign import ucurve\n"
        "plain = ucurve.measure\n"
        "def slow(run):\n"
        "    result = plain(run)\n"
        "    print('done', flush=True)\n"
        "    time.sleep(0.5 * run.index)\n"
        "    return result\n"
        "ucurve.measure = slow\n"
        "alone = ThreadPoolExecutor(1)\n"
        "run_ucurve(UCurve(**json.loads(sys.argv[1])), sys.argv[2], executor=alone)\n"
    )
    settings = json.dumps(msgspec.to_builtins(SMALL))
    with subprocess.Popen(
        [sys.executable, "-c", code, settings, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(oa.__file__).parent.parent)},
    ) as process:
        assert process.stdout is not None
        for _ in range(2):  # the second data set is measured and not written yet
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert 1 <= len(list(tmp_path.glob("*/result.nc"))) <= 2
    calls: list[tuple[int, int, int]] = []
    dataset = run_ucurve(SMALL, tmp_path, progress=lambda *numbers: calls.append(numbers))
    assert calls[0][0] >= 1
    np.testing.assert_array_equal(dataset.network_error, small.network_error)
