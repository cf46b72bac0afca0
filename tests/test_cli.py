"""The command line: what it prints, writes, refuses, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import overalign as oa
from overalign import cli
from overalign.cli import flow as flow_command

SMALL = ["flow", "--data", "mixture:n=6,kappa=3", "--width", "8", "--eta", "0.2"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, captured.err


# ----------------------------------------------------------------------------- it works


def test_a_run_says_what_it_did_and_writes_two_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    code, out, err = run(capsys, *SMALL, "--output", str(folder))
    assert (code, err) == (0, "")
    for part in ("n = 6, d = 20", "separability lambda", "The stop was reached.", "kinks"):
        assert part in out
    assert "(tolerance 1.0e-08)" in out
    assert f"wrote {folder / 'flow_mixture_n=6_kappa=3.nc'}" in out
    assert sorted(os.listdir(folder)) == [
        "flow_mixture_n=6_kappa=3.nc",
        "flow_mixture_n=6_kappa=3.png",
    ]
    stored = oa.read_dataset(folder / "flow_mixture_n=6_kappa=3.nc")
    assert stored.attrs["data"] == "mixture:n=6,kappa=3"
    assert stored.sizes["neuron"] == 8
    assert stored.attrs["log_alpha"] == pytest.approx(np.log(1e-3))


def test_digits_are_said_to_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--n", "20", "--width", "6", "--eta", "0.4", "--output", str(tmp_path)]
    code, out, _ = run(capsys, "flow", "--data", "digits:3,8", *options)
    assert code == 0
    assert "% of the pairs violate it: not orthogonally separable, so neurons can slide" in out
    assert (tmp_path / "flow_digits_3_8.png").exists()


def test_files_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "mine.npz", x=np.eye(3), y=[1.0, -1.0, 1.0])
    (tmp_path / "real.csv").write_text("a,b,target\n1,0,0.5\n0,1,-0.25\n1,1,0.1\n")
    where = ["--output", str(tmp_path), "--width", "8"]
    code, out, _ = run(capsys, "flow", "--data", str(tmp_path / "mine.npz"), *where)
    assert code == 0
    assert "on the boundary of orthogonal separability" in out
    assert (tmp_path / "flow_mine.nc").exists()
    square = ["--loss", "square", "--time", "2", "--log-alpha", "-1e0", "--name", "chosen"]
    code, out, _ = run(capsys, "flow", "--data", str(tmp_path / "real.csv"), *where, *square)
    assert code == 0
    assert "real targets" in out
    assert (tmp_path / "chosen.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--margin", "0.5", "--over", "positive"],
        ["--norm", "0.3"],
        ["--time", "1"],
        ["--log-alpha", "-5000"],
        ["--loss", "exponential", "--reduction", "sum", "--factor", "2"],
        ["--paired", "--row-law", "gaussian"],
        ["--signs", "random"],
    ],
    ids=lambda options: options[0],
)
def test_options(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    arguments = [*SMALL[:5], *options, "--output", str(tmp_path)]
    assert run(capsys, *arguments)[0] == 0


def test_the_seed_decides_data_and_network_from_separate_streams() -> None:
    sample, network = flow_command._problem(
        cli.FlowOptions(data="mixture:kappa=0,separability=none")
    )
    again = flow_command._problem(cli.FlowOptions(data="mixture:kappa=0,separability=none"))
    other = flow_command._problem(cli.FlowOptions(data="mixture:kappa=0,separability=none", seed=1))
    np.testing.assert_array_equal(network.weights, again[1].weights)
    assert not np.any(network.weights == other[1].weights)
    # the noise of a sample must not reappear as the row of a neuron
    rows = network.weights / network.row_norms[:, None]
    assert np.max(np.abs(rows @ (sample.x / sample.norms[:, None]).T)) < 0.95


def test_results_replace_earlier_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--output", str(tmp_path), "--name", "same"]
    run(capsys, *arguments)
    first = (tmp_path / "same.png").read_bytes()
    run(capsys, *arguments)
    assert (tmp_path / "same.png").read_bytes() == first
    assert len(os.listdir(tmp_path)) == 2


# ---------------------------------------------------------------------- it says what is wrong


def test_a_stop_that_is_not_reached_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *SMALL[:3], "--width", "1", "--output", str(tmp_path))
    assert code == 1
    assert "The stop cannot be reached" in out
    assert (tmp_path / "flow_mixture_n=6_kappa=3.png").exists()


def test_a_start_at_the_stop_has_no_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *SMALL[:5], "--eta", "0.7", "--output", str(tmp_path))
    assert code == 0
    assert "already at or past the stop" in out
    assert os.listdir(tmp_path) == ["flow_mixture_n=6_kappa=3.nc"]


def bad_files(folder: Path) -> None:
    """Files that must be refused."""
    (folder / "zero_one.csv").write_text("1,2,0\n2,1,1\n")
    (folder / "nan.csv").write_text("1,2,1\n2,nan,-1\n")
    (folder / "equal.csv").write_text("1,2,1\n1,2,-1\n3,1,1\n")
    (folder / "real.csv").write_text("1,2,0.5\n3,1,1\n0,1,3\n")
    (folder / "junk.npz").write_bytes(b"junk")
    np.savez(folder / "names.npz", inputs=np.eye(2), labels=[1, -1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "missing.npz"], "missing.npz: no such file"),
        (["--data", "nothing"], "is not a data source"),
        (["--data", "junk.npz"], "not a readable .npz"),
        (["--data", "names.npz"], "arrays found: 'inputs', 'labels'"),
        (["--data", "zero_one.csv"], "expected -1 and +1"),
        (["--data", "nan.csv"], "x[1, 1] is nan"),
        (["--data", "equal.csv"], "equal x and different y"),
        (["--data", "real.csv"], "y[0] is 0.5"),
        (["--data", "digits:3,3"], "two different digits"),
        (["--data", "mixture:m=3"], "'m=3' is not understood"),
        (["--n", "0"], "n is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--width", "0"], "width is 0"),
        (["--width", "100000000000"], "not enough memory"),
        (["--width", "3", "--paired"], "even width"),
        (["--alpha", "0"], "--alpha is 0"),
        (["--alpha", "1e-400"], "--log-alpha"),
        (["--alpha", "1", "--log-alpha", "0"], "both given"),
        (["--log-alpha", "nan"], "log_alpha is nan"),
        (["--eta", "-1"], "must be positive"),
        (["--eta", "0.1", "--time", "3"], "give one of --eta, --time"),
        (["--time", "3", "--over", "positive"], "--over goes with"),
        (["--tolerance", "1e-15"], "float64 can deliver"),
        (["--factor", "0"], "factor is 0"),
        (["--output", "junk.npz"], "cannot be made"),
        (["--output", "junk.npz/folder"], "cannot be made"),
        (["--name", "a/b"], "not the name of a file"),
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
    bad_files(tmp_path)
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "flow", *options)
    assert code == 2
    assert message in err
    assert err.startswith("overalign: ")
    assert err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flow_command, "_solve", lambda *_: pytest.fail("it solved first"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, _, err = run(capsys, *SMALL, "--output", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "the folder cannot be written" in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["flow", "--etaa", "1"], "--eta"),
        (["flow", "--loss", "hinge"], "logistic"),
        (["x"], "flow"),
    ],
)
def test_misspelled_options_are_met_with_a_suggestion(
    capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert hint in out + err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"overalign {oa.__version__}\n", "")
    assert "flow" in run(capsys)[1]
    assert "--log-alpha" in run(capsys, "flow", "--help")[1]


# ------------------------------------------------------------------------------ it ends


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from overalign.cli import main; main()", "flow"]
    return subprocess.Popen(
        [*command, "--output", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupt_ends_a_long_run_at_once(tmp_path: Path) -> None:
    long = ["--data", "digits:3,8", "--n", "300", "--width", "300", "--log-alpha", "-300"]
    with start(tmp_path, *long) as process:
        try:
            assert process.stdout
            process.stdout.readline()  # it has read the data and goes on to solve
            time.sleep(1.0)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            assert time.monotonic() - began < 2.0
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert os.listdir(tmp_path) == []


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    with start(tmp_path, *SMALL[1:]) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=60)
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_the_progress_says_which_stage_it_is() -> None:
    lines: list[str] = []
    progress = flow_command._Progress(lines.append)
    progress(0.0, 0.0)
    progress._began -= 10.0
    for state in ((0.0, 0.0), (2.5, 0.4), (0.0, 0.0), (1.0, 0.9)):
        progress(*state)
    assert "loading the solver" in lines[0]
    assert "compiling the solver, once per machine (10 s)" in lines[1]
    assert "time 2.5, distance to the stop 0.4 (10 s)" in lines[2]
    assert "again for the error estimate" in lines[4]


def test_an_interrupt_while_writing_is_exit_code_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flow_command, "_write", interrupted)
    code, _, err = run(capsys, *SMALL, "--output", str(tmp_path))
    assert code == 130
    assert err.startswith("interrupted")
