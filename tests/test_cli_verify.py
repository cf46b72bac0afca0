"""`overalign verify`: what it prints, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledgers import entry, line, summary, write_checkout, write_study

from overalign.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="studies use signals of POSIX")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = write_checkout(tmp_path / "checkout")
    monkeypatch.chdir(made)
    return made


def run(*arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        main(["verify", *arguments])
    return int(str(stop.value.code))


def test_verdicts_as_recorded_are_a_success(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    said = capsys.readouterr()
    rows = [row.split() for row in said.out.splitlines()]
    assert [row[0] for row in rows if row][:5] == ["claim", "A1", "A2", "B1", "G1"]
    assert "3 verdicts as recorded, 0 not" in said.out
    assert "of C1: 2" in said.out
    assert "fails (ours)" in said.out
    assert "needs a GPU" in said.out
    assert sorted(said.err.splitlines())[0].startswith("first: holds, ")
    assert list((checkout / "verify").glob("*/results/summary.json"))


def test_a_changed_verdict_is_named(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkout / "validation" / "second" / "results" / "quick.json"
    path.write_text(json.dumps(summary("second", line("C1"))))
    assert run() == 1
    said = capsys.readouterr().out
    assert "B1 changed: holds in the record of 2026-01-02, fails now" in said
    assert "2 verdicts as recorded, 1 not" in said


def test_a_verdict_that_was_never_recorded_is_named_until_it_is(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "validation" / "second" / "results" / "quick.json"
    path.unlink()
    assert run("B1") == 1
    assert "B1 has no record of this tier; it is fails now" in capsys.readouterr().out
    assert run("B1", "--record") == 0
    assert "recorded validation/second/results/quick.json" in capsys.readouterr().out
    assert path.is_file()
    assert run("B1") == 0


def test_a_study_that_fails_is_reported_and_the_others_go_on(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(checkout, "second", summary("second", line("C1")), "raise SystemExit('it broke')")
    assert run() == 1
    said = capsys.readouterr()
    assert "second: no result" in said.err
    assert "second has no result: RuntimeError: second ended with exit code 1; it said" in said.out
    assert "it broke" in said.out
    assert "2 verdicts as recorded, 0 not; 1 study has no result" in said.out


def test_the_full_tier_is_held_against_the_full_record(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "validation" / "second" / "results" / "quick.json"
    path.write_text(json.dumps(summary("second", line("C1"))))
    assert run("B1", "--tier", "full") == 0
    capsys.readouterr()


def test_studies_are_kept_on_request(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--output", "here") == 0
    made = {path: path.stat().st_mtime_ns for path in Path("here").glob("*/results/*")}
    assert run("--output", "here", "--resume") == 0
    assert made == {path: path.stat().st_mtime_ns for path in Path("here").glob("*/results/*")}
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("b1",), "there is no claim 'b1'; did you mean B1"),
        (("--workers", "0"), "--workers is 0"),
        (("--record", "--tier", "full"), "--record is for the quick tier"),
        (("--tier", "gpu"), "claims that need a GPU: G1"),
        (("B1", "--output", "validation/ledger.toml"), "cannot be used"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    arguments: tuple[str, ...],
    words: str,
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_a_wrong_ledger_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "validation" / "ledger.toml").write_text(entry("A1", "first", '["C9"]'))
    assert run() == 2
    assert "has no line C9, which claim A1 names" in capsys.readouterr().err


def test_without_a_checkout_it_is_said_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("overalign.claims.ledger.__file__", str(tmp_path / "claims" / "ledger.py"))
    assert run() == 2
    assert "come with a clone of the repository" in capsys.readouterr().err


def begun(checkout: Path, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """The command with a study that goes on for a minute, and the number of that process."""
    mark = tmp_path / "mark"
    slow = f"open({str(mark)!r}, 'w').write(str(__import__('os').getpid())); time.sleep(60)"
    write_study(checkout, "second", summary("second", line("C1")), slow)
    command = [sys.executable, "-c", "from overalign.cli import main; main()", "verify", "B1"]
    process = subprocess.Popen(command, cwd=checkout, stderr=subprocess.PIPE, text=True)
    while not mark.is_file() or not mark.read_text():
        time.sleep(0.05)
    return process, int(mark.read_text())


def is_alive(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_a_study_ends_with_the_command(number: str, checkout: Path, tmp_path: Path) -> None:
    process, study = begun(checkout, tmp_path)
    process.send_signal(getattr(signal, number))
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while is_alive(study) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(study)


def test_an_interrupt_ends_the_command_and_its_studies(checkout: Path, tmp_path: Path) -> None:
    process, study = begun(checkout, tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "interrupted; finished studies are kept in verify; --resume goes on from there\n"
    assert not is_alive(study)
