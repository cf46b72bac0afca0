"""`overalign ucurve`: what it prints, keeps, refuses, and how it ends."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import overalign as oa
from overalign import cli
from overalign.cli import ucurve as command

SMALL = ["--data", "mixture:n=6", "--sets", "2", "--width", "8", "--alphas", "3", "--eta", "0.3"]
HEADING = ["alpha", "c", "error", "E(w_hat)", "OA", "OF", "Psi", "pooled", "zeta"]
FILES = ["config.toml", "results.nc", "runs", "ucurve.png"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["ucurve", *arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, captured.err


# ----------------------------------------------------------------------------- it works


def test_a_sweep_prints_a_table_and_writes_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *SMALL, "--output", str(tmp_path / "new" / "folder"))
    assert (code, err) == (0, "")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == FILES
    lines = out.splitlines()
    (heading,) = {line.strip() for line in lines if line.lstrip().startswith("alpha")}
    assert heading.split() == HEADING
    rows = [line.split() for line in lines if line[:1].isdigit()]
    assert [row[:2] for row in rows] == 2 * [
        ["1.0e-6", "1.0e-12"],
        ["2.0e-3", "4.0e-6"],
        ["4.0e+0", "1.6e+1"],
    ]
    stored = oa.read_dataset(tmp_path / "new" / "folder" / "results.nc")
    errors = stored.network_error.mean("set").values.ravel()
    assert [row[2] for row in rows] == [f"{error:.4f}" for error in errors]
    assert "reference errors: bayes" in out
    for kind in ("independent", "paired"):
        assert f"{kind}: lowest network error" in out


def test_no_line_of_the_table_is_cut_at_eighty_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = run(capsys, *SMALL, "--output", str(tmp_path))
    assert "…" not in out
    assert max(len(line) for line in out.splitlines() if line[:1].isdigit()) <= 80


def test_real_data_have_held_out_errors_and_say_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--n", "20", "--sets", "2", "--width", "8", "--alphas", "3", "--eta", "0.3"]
    code, out, _ = run(capsys, "--data", "digits:3,8", *few, "--output", str(tmp_path))
    assert code == 0
    assert "E(w_hat), OA, OF, phi and the reference errors are not defined" in out
    assert "E(w_hat)" not in out.partition("alpha")[2].splitlines()[0]
    stored = oa.read_dataset(tmp_path / "results.nc")
    assert "predictor_error" not in stored
    assert int(stored.held_out[0]) == 183 + 174 - 20  # of the 3s and 8s in the set


def test_a_file_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(5)
    y = np.repeat([1.0, -1.0], 12)
    x = y[:, None] * np.array([2.0, 0.0, 0.0]) + generator.standard_normal((24, 3))
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    options = [*SMALL[2:], "--data", str(tmp_path / "mine.npz"), "--output", str(tmp_path / "out")]
    code, out, _ = run(capsys, *options)
    assert code == 0
    assert "held-out rows" in out
    assert int(oa.read_dataset(tmp_path / "out" / "results.nc").held_out[0]) == 12


def test_the_written_config_repeats_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(capsys, *SMALL, "--output", str(first))
    config = first / "config.toml"
    assert tomllib.loads(config.read_text("utf-8"))["width"] == 8
    assert run(capsys, "--config", str(config), "--output", str(second))[0] == 0
    xr.testing.assert_allclose(
        oa.read_dataset(second / "results.nc"), oa.read_dataset(first / "results.nc"), rtol=1e-9
    )
    run(capsys, f"--config={config}", "--sets", "3", "--output", str(second))
    assert oa.read_dataset(second / "results.nc").sizes["set"] == 3


def test_what_is_finished_is_not_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*SMALL, "--output", str(tmp_path)]
    run(capsys, *arguments)
    first = oa.read_dataset(tmp_path / "results.nc")
    picture = (tmp_path / "ucurve.png").read_bytes()
    monkeypatch.setattr(oa.ucurve, "measure", lambda run: pytest.fail("it was done again"))
    assert run(capsys, *arguments)[0] == 0
    assert oa.read_dataset(tmp_path / "results.nc").equals(first)
    assert (tmp_path / "ucurve.png").read_bytes() == picture


def test_failed_data_sets_have_an_exit_code_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = oa.ucurve.measure

    def breaks(run: oa.ucurve.UCurveRun) -> xr.Dataset:
        if run.index == 1:
            raise ZeroDivisionError("of zero")
        return true(run)

    monkeypatch.setattr(oa.ucurve, "measure", breaks)
    arguments = [*SMALL, "--output", str(tmp_path)]
    for _ in range(2):  # when it fails, and when it is found failed
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("overalign: 1 of 2 runs failed; the first: ZeroDivisionError: of")
        assert err.endswith("give retry_failed=True, on the command line --retry-failed\n")
        assert not (tmp_path / "results.nc").exists()
    monkeypatch.undo()
    assert run(capsys, *arguments)[0] == 1  # not without being asked
    code, _, err = run(capsys, *arguments, "--retry-failed")
    assert (code, err) == (0, "")
    assert oa.read_dataset(tmp_path / "results.nc").sizes["set"] == 2


def test_a_sweep_goes_on_with_its_file_in_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = oa.GaussianMixture(4, 2.0, 1.0).sample(30, seed=1)
    np.savez(tmp_path / "old.npz", x=sample.x, y=sample.y)
    arguments = [*SMALL[2:], "--output", str(tmp_path / "out")]
    run(capsys, *arguments, "--data", str(tmp_path / "old.npz"))
    first = oa.read_dataset(tmp_path / "out" / "results.nc")
    (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    code, _, err = run(capsys, *arguments, "--data", str(tmp_path / "old.npz"))
    assert (code, "no such file" in err) == (2, True)
    monkeypatch.setattr(oa.ucurve, "measure", lambda run: pytest.fail("it was done again"))
    assert run(capsys, *arguments, "--data", str(tmp_path / "new.npz"))[0] == 0
    assert oa.read_dataset(tmp_path / "out" / "results.nc").equals(first)


def test_a_stop_that_is_not_reached_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--data", "mixture:n=6", "--sets", "2", "--alphas", "3", "--width", "1"]
    options = [*few, "--initialisation", "independent", "--output", str(tmp_path)]
    code, out, _ = run(capsys, *options)
    assert code == 1
    assert "did not reach the stop" in out
    assert "no optimum" in out


# ---------------------------------------------------------------------- it says what is wrong


def test_data_that_cannot_be_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("overalign.sampling._MOST_EXTENSION", 1)  # gives up sooner
    code, _, err = run(capsys, "--data", "mixture:n=12,kappa=0.1,separability=0.95", "--sets", "2")
    assert code == 2
    assert "acceptance" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alphas", "1"], "the grid has 1 alpha(s)"),
        (["--eta", "0.8"], "the risk at the start, 0.6931"),
        (["--eta", "nan"], "'eta' is nan"),
        (["--width", "7"], "even width, got 7"),
        (["--width", "0"], "'width' is 0"),
        (["--sets", "0"], "'sets' is 0"),
        (["--seed", "-1"], "'seed' is -1"),
        (["--alpha-min", "0"], "0 < alpha_min < alpha_max"),
        (["--alpha-max", "1e-9"], "0 < alpha_min < alpha_max"),
        (["--error-accuracy", "0"], "expected a positive number"),
        (["--workers", "0"], "--workers is 0"),
        (["--tolerance", "1e-15"], "float64 can deliver"),
        (["--data", "nothing"], "is not a data source"),
        (["--data", "four.csv", "--n", "4"], "no rows are left to hold out"),
        (["--config", "missing.toml"], "missing.toml: cannot be read"),
        (["--config", "typo.toml"], "did you mean 'width'?"),
        (["--output", "typo.toml"], "cannot be made"),
    ],
    ids=" ".join,
)
def test_a_request_that_cannot_be_met_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    (tmp_path / "typo.toml").write_text("widht = 8\n")
    (tmp_path / "four.csv").write_text("1,2,1\n2,1,-1\n3,1,1\n0,1,-1\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *options)
    assert code == 2
    assert message in err
    assert err.startswith("overalign: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "ucurve" / "results.nc").exists()


def test_a_place_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.nc").mkdir()
    monkeypatch.setattr(command, "_sweep", lambda *_: pytest.fail("it swept first"))
    code, _, err = run(capsys, *SMALL, "--output", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "is a folder" in err


# ------------------------------------------------------------------------------ it ends


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupted_sweep_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SMALL, "--sets", "400", "--output", str(tmp_path)]
    code = f"from overalign.cli import main; main({['ucurve', *arguments]!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 300  # the first run may compile
            while len(list(tmp_path.glob("runs/*/status.json"))) < 3:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on from there" in err
    assert os.listdir(tmp_path) == ["runs"]
    finished = [status.with_name("result.nc") for status in tmp_path.glob("runs/*/status.json")]
    kept = {path: path.stat().st_mtime_ns for path in finished}
    assert len(kept) >= 3
    run(capsys, *SMALL, "--sets", "3", "--output", str(tmp_path))
    assert oa.read_dataset(tmp_path / "results.nc").sizes["set"] == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
