"""`overalign sweep`: what it prints, keeps, refuses, and how it ends and goes on."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from rich.console import Console

from overalign import cli
from overalign.cli import sweep as command
from overalign.cli.sweep import SweepOptions, Tally
from overalign.deepnet import sweep as module
from overalign.deepnet.settings import Architecture, Group, Sweep, Task, Training
from overalign.deepnet.sweep import plan, run_sweep, runs_of
from overalign.records import read_config, read_dataset

SIZES = ["--n", "40", "--held-out", "40", "--width", "8", "--epochs", "3", "--seeds", "2"]
GRID = ["--log2-output-multipliers", "-4", "0", "--learning-rates", "0.1", "--stack", "2"]
SMALL = [*SIZES, *GRID, "--executor", "inline"]
ENDED = re.compile(r"^(group \d+ of|\d+ of \d+ groups are finished from before).*\n", re.MULTILINE)
FILES = [".lock", "config.toml", "plan.json", "results.nc", "runs", "u_curve.png"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and standard error without the groups that ended."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", *arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, ENDED.sub("", captured.err)


# ----------------------------------------------------------------------------- it works


def test_a_sweep_prints_tables_and_statistics_and_writes_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    code, out, err = run(capsys, *SMALL, "--output", str(tmp_path / "new" / "sweep"))
    assert (code, err) == (0, "")
    assert sorted(os.listdir(tmp_path / "new" / "sweep")) == FILES
    rows = [line.split() for line in out.splitlines() if line.lstrip().startswith("2^")]
    assert [row[0] for row in rows] == ["2^-4", "2^0", "2^-4", "2^0"]
    assert "…" not in out
    table = read_dataset(tmp_path / "new" / "sweep" / "results.nc")
    means = table.test_accuracy.mean("seed").values.ravel()
    assert [row[1] for row in rows] == [f"{mean:.4f}" for mean in means]
    assert "labels: linear teacher" in out
    assert "U-curve of test accuracy" in out
    assert "inconclusive" in out  # two seeds prove nothing


def test_a_file_gives_the_defaults_and_options_override_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "seeds = 1\nlearning_rates = [0.1]\nlog2_output_multipliers = [-4.0, 0.0]\n"
        'control = false\n[task]\nn = 40\nheld_out = 40\n[training]\nstop_accuracy = "none"\n'
        "epochs = 2\n[architecture]\nwidth = 8\nbias = false\n"
    )
    out = tmp_path / "sweep"
    options = ["--output", str(out), "--executor", "inline", "--stack", "2"]
    code, _, err = run(capsys, str(path), *options, "--epochs", "1", "--no-bias", "--width", "6")
    assert (code, err) == (0, "")
    kept = read_config(Sweep, out / "config.toml")
    assert (kept.training.epochs, kept.training.stop_accuracy) == (1, None)
    assert (kept.architecture.width, kept.architecture.bias) == (6, False)
    assert kept.control is False
    assert tomllib.loads((out / "config.toml").read_text())["training"]["stop_accuracy"] == "none"


def test_a_sweep_goes_on_with_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "sweep")
    run(capsys, *SMALL, "--output", out)
    whole = (tmp_path / "sweep" / "results.nc").read_bytes()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(module, "run_group", never)
    for again in ([*SMALL, "--output", out], ["--resume", "--output", out, "--executor", "inline"]):
        code, said, _ = run(capsys, *again)
        assert code == 0
        assert "failed" not in said
        assert (tmp_path / "sweep" / "results.nc").read_bytes() == whole
    code, said, _ = run(capsys, "--resume", "--output", out, "--executor", "inline", "--seeds", "3")
    assert code == 1
    assert "4 of 12 networks failed and are left out; the first: AssertionError" in said
    monkeypatch.undo()
    _, said, _ = run(capsys, "--resume", "--output", out, "--executor", "inline", "--dry-run")
    assert "4 groups finished, 2 failed" in said
    assert "nothing is left to do" in said  # without being asked
    code, said, _ = run(
        capsys, "--resume", "--output", out, "--executor", "inline", "--retry-failed"
    )
    assert code == 0
    assert "3 seeds" in said


def test_a_sweep_goes_on_with_its_data_in_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "old.npz", x=generator.normal(size=(90, 5)), y=np.arange(90) % 3)
    old, new = (f"npz:{tmp_path / name}.npz" for name in ("old", "new"))
    out, kept = str(tmp_path / "sweep"), tmp_path / "sweep" / "config.toml"
    run(capsys, *SMALL, "--data", old, "--output", str(tmp_path / "whole"))
    run(capsys, *SMALL, "--data", old, "--output", out, "--seeds", "1")
    (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    code, _, err = run(capsys, "--resume", "--output", out, "--executor", "inline")
    assert (code, "old.npz" in err) == (2, True)
    moved = ["--resume", "--data", new, "--output", out, "--executor", "inline", "--seeds", "2"]
    _, said, _ = run(capsys, *moved, "--dry-run")
    assert "2 groups finished, 0 failed, 0 begun, 2 not begun" in said
    assert run(capsys, *moved)[0] == 0
    whole = (tmp_path / "whole" / "results.nc").read_bytes()
    assert (tmp_path / "sweep" / "results.nc").read_bytes() == whole
    assert read_config(Sweep, kept).task.data == new

    (tmp_path / "new.npz").rename(tmp_path / "old.npz")
    kept.write_text(kept.read_text().replace("new.npz", "old.npz"))  # by hand, in the file
    monkeypatch.setattr(module, "run_group", lambda *_, **__: pytest.fail("done again"))
    code, _, err = run(capsys, str(kept), "--output", out, "--executor", "inline")
    assert (code, err) == (0, "")
    assert (tmp_path / "sweep" / "results.nc").read_bytes() == whole


def test_failures_are_said_where_no_seed_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = module.run_group

    def breaks(group: Group, root: Path) -> xr.Dataset:
        if group.task.labels == "given" and group.cells[0].log2_output_multiplier == 0.0:
            raise ZeroDivisionError("of zero")
        return true(group, root)

    monkeypatch.setattr(module, "run_group", breaks)
    small = [option if option != "2" else "1" for option in SMALL]  # stack 1, seed 1
    for _ in range(2):
        code, said, err = run(capsys, *small, "--output", str(tmp_path))
        assert (code, err) == (1, "")
        failed, missing = (
            said.index("1 of 4 networks failed"),
            said.index("no statistics of labels"),
        )
        assert failed < missing
        assert "ZeroDivisionError: of zero" in said
        assert "labels: linear teacher" in said  # of which all are there
        assert (tmp_path / "results.nc").is_file()


ZERO = "of 4 runs failed; the first: ZeroDivisionError: of zero"


@pytest.mark.parametrize(
    ("broken", "on_error", "message"),
    [
        ({0}, "continue", ""),
        ({0}, "stop", f"overalign: 1 {ZERO}"),
        ({0, 1}, "continue", f"overalign: 4 {ZERO}"),
    ],
)
def test_failed_groups_have_an_exit_code_of_their_own(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    broken: set[int],
    on_error: str,
    message: str,
) -> None:
    true = module.run_group

    def breaks(group: Group, root: Path) -> xr.Dataset:
        if group.seed in broken:
            raise ZeroDivisionError("of zero")
        return true(group, root)

    monkeypatch.setattr(module, "run_group", breaks)
    arguments = [*SMALL, "--on-error", on_error, "--output", str(tmp_path)]
    for _ in range(2):  # when they fail, and when they are found failed
        code, out, err = run(capsys, *arguments)
        assert code == 1
        assert err.startswith(message)
        assert err.count("\n") == bool(message)
        assert "--retry-failed" in out + err
    monkeypatch.undo()
    assert run(capsys, *arguments, "--retry-failed")[::2] == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_worker_has_the_exit_code_of_a_failure(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from overalign import cli\n"
        "from overalign.deepnet import sweep\n"
        "def run_group(group, root):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "sweep.run_group = run_group\n"
        "if __name__ == '__main__':\n"
        f"    cli.main({['sweep', *SIZES, *GRID, '--workers', '1', '--output', str(tmp_path)]!r})\n"
    )
    (tmp_path / "killed.py").write_text(script)
    command = [sys.executable, str(tmp_path / "killed.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith("overalign: a worker ended without a word"), ended.stderr


def test_a_card_has_one_worker_unless_more_are_asked_for() -> None:
    on_card = Sweep(training=Training(device="cuda:0"))
    assert command._workers(SweepOptions(settings=on_card)) == 1
    assert command._workers(SweepOptions(settings=on_card, workers=3)) == 3
    assert command._workers(SweepOptions()) == os.cpu_count()


def test_short_times_and_single_things_are_said_in_words() -> None:
    assert command._duration(0.3) == "less than a second"
    assert command._duration(100.0) == "100 s"
    assert command._counted(1, "seed") == "1 seed"
    assert "; 1 seed;" in command._describe(Sweep(seeds=1))


def test_what_differs_from_the_default_is_described() -> None:
    usual = command._describe(Sweep())
    assert "sgd with step 0.01 / c on cross entropy, to training accuracy 0.99" in usual
    assert "depth" not in usual
    unusual = command._describe(
        Sweep(
            architecture=Architecture(depth=4, bias=False),
            training=Training(
                homogeneous_degree=4.0,
                momentum=0.9,
                weight_decay=1e-4,
                augmentation=True,
                batch_size=None,
            ),
        )
    )
    assert "width 64 and depth 4, no bias, sgd with step 0.01 c^(-2/4) on cross entropy" in unusual
    assert ", momentum 0.9, weight decay 0.0001, augmentation, batch size all, to" in unusual
    assert "batch size 8, " in command._describe(Sweep(training=Training(batch_size=8)))
    other = command._describe(
        Sweep(
            task=Task(classes=5),
            architecture=Architecture(paired=True, batch_norm=True),
            training=Training(precision="float64"),
        )
    )
    assert "images, classes 5: mlp of width 64, batch norm, paired, sgd" in other
    assert "cross entropy, precision float64, to training accuracy" in other
    adam = command._describe(Sweep(training=Training(optimiser="adam")))
    assert "adam with step 0.01 on" in adam


def test_a_look_before_writes_nothing_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    code, said, err = run(capsys, *SMALL, "--output", str(out), "--dry-run")
    assert (code, err) == (0, "")
    assert not out.exists()
    weights = 128 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    for words in (
        "data: 40 training, 0 validation and 40 test images of shape (128,), 10 classes",
        f"network: {weights:,} parameters",
        "plan: 8 networks in 4 groups of at most 2, 2 tasks\n",
        "0 groups finished, 0 failed, 0 begun, 4 not begun",
        "time: between ",
    ):
        assert words in said
    at = SMALL.index("--stack")
    without = [*SMALL[:at], *SMALL[at + 2 :]]
    _, said, _ = run(capsys, *without, "--no-control", "--output", str(out), "--dry-run")
    assert "timed now, and once more when the sweep begins: --stack fixes it" in said
    run(capsys, *SMALL, "--output", str(out), "--seeds", "1")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    _, said, _ = run(capsys, "--resume", "--output", str(out), "--seeds", "2", "--dry-run")
    assert "2 groups finished, 0 failed, 0 begun, 2 not begun" in said
    assert "if the other groups take as long as the finished ones did" in said
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    _, said, _ = run(capsys, "--resume", "--output", str(out), "--dry-run")
    assert "nothing is left to do" in said


def test_the_live_table_counts_what_ended(tmp_path: Path) -> None:
    options = ["--no-control", "--seeds", "1"]
    with pytest.raises(SystemExit):
        cli.main(["sweep", *SMALL, *options, "--output", str(tmp_path)])
    settings = read_config(Sweep, tmp_path / "config.toml")
    tally = Tally(settings)
    [finished] = runs_of(plan(settings, tmp_path), tmp_path)
    tally.add(finished)
    [failed] = runs_of(plan(settings, stack=2), tmp_path / "elsewhere")
    failed.begin()
    failed.fail(ZeroDivisionError(), 0.0)
    tally.add(failed)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(tally)
    rows = [
        line.split()
        for line in console.export_text().splitlines()
        if line.lstrip().startswith("2^")
    ]
    accuracies = finished.result().test_accuracy.values
    assert [row[0] for row in rows] == ["2^-4", "2^0"]
    assert [row[1] for row in rows] == ["2", "2"]
    assert [row[-2] for row in rows] == ["1", "1"]  # failed
    assert [row[-1] for row in rows] == [f"{accuracy:.4f}" for accuracy in accuracies]


def test_elsewhere_there_is_a_line_for_each_group_that_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = module.run_group

    def breaks(group: Group, root: Path) -> xr.Dataset:
        if group.seed == 1:
            raise ZeroDivisionError("of zero\nand more")
        return true(group, root)

    monkeypatch.setattr(module, "run_group", breaks)
    arguments = [*SMALL, "--no-control", "--output", str(tmp_path)]
    which = r"labels given, c = 2\^-4 to 2\^0"
    for expected in (
        rf"group 1 of 2: seed 0, {which}; \d [a-z, \d]*; \d+\.\d s\n"
        rf"group 2 of 2: seed 1, {which}; failed: ZeroDivisionError: of zero\n",
        "1 of 2 groups are finished from before\n",
    ):
        with pytest.raises(SystemExit):
            cli.main(["sweep", *arguments])
        assert re.fullmatch(expected, capsys.readouterr().err)


def test_on_a_terminal_the_table_is_shown_and_leaves_the_screen(tmp_path: Path) -> None:
    settings = Sweep(seeds=1)
    screen = io.StringIO()
    console = Console(force_terminal=True, width=100, file=screen)
    with command._live(console, settings) as (progress, on_end):
        progress(0, 2, 0)
        [first, _] = runs_of(plan(settings, stack=9), tmp_path)
        first.begin()
        first.fail(ZeroDivisionError(), 0.0)
        on_end(first)
        progress(1, 2, 0)
    assert "test accuracy" in screen.getvalue()


# ----------------------------------------------------------------------------- refusals

REFUSED = [
    (["--resume", "--output", "nowhere"], "--resume: there is no sweep in nowhere"),
    (["missing.toml"], "missing.toml: cannot be read"),
    (["--workers", "0"], "--workers is 0"),
    (["--workers", "2", "--executor", "inline"], "'inline' does one group after another"),
    (["--retries", "-1"], "--retries is -1"),
    (["--stack", "0", "--executor", "inline"], "stack is 0"),
    (["--optimiser", "adam", "--momentum", "0.9"], "momentum belongs to optimiser 'sgd'"),
    (["--learning-rates", "0.1", "0.1"], "learning_rates is (0.1, 0.1)"),
    (["--data", "cifar100", "--data-root", "nowhere", "--executor", "inline"], "cifar-100-python"),
    (["--scheduler", "tcp://127.0.0.1:1"], "belongs to executor 'dask'"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_requests_that_cannot_be_met_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert not (tmp_path / "sweep").exists()
    assert err.startswith("overalign: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_misspelled_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[training]\nepoch = 3\n")
    code, _, err = run(capsys, str(path))
    assert code == 2
    assert "unknown key 'epoch' in 'training'; did you mean 'epochs'?" in err


def test_another_sweep_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, *SMALL, "--output", str(tmp_path), "--seeds", "1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, _, err = run(capsys, *SMALL, "--output", str(tmp_path), "--epochs", "4")
    assert code == 2
    assert "training.epochs is 3 there, 4 was asked for" in err
    del before[tmp_path / ".lock"]
    assert before == {path: path.read_bytes() for path in before}


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = run(capsys, "--output", str(tmp_path / "sweep"))
    assert code == 2
    assert "pip install 'overalign[deepnet]'" in err
    assert not (tmp_path / "sweep").exists()


def test_the_options_stand_for_themselves() -> None:
    assert SweepOptions().config_path() is None
    assert SweepOptions(config=Path("a.toml")).config_path() == Path("a.toml")


# ----------------------------------------------------------------------------- interrupts


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupt_leaves_at_once_and_the_sweep_goes_on_from_there(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    # more groups than the pool hands to its worker in advance
    sizes = [*SIZES, *GRID, "--no-control", "--seeds", "9"]
    arguments = [*sizes, "--executor", "processes", "--workers", "1", "--output", str(out)]
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from overalign.cli import main\nmain({['sweep', *arguments]!r})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as sweep:
        try:
            deadline = time.monotonic() + 60
            while not list(out.rglob("status.json")) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does: to the workers too
            _, said = sweep.communicate(timeout=20)
        finally:
            sweep.kill()
    assert sweep.returncode == 130, said
    assert said.startswith("interrupted; finished groups are kept"), said
    assert said.count("\n") == 1, said
    settings = read_config(Sweep, out / "config.toml")
    table = run_sweep(settings, out)
    assert bool((table.outcome != "FAILED").all())
