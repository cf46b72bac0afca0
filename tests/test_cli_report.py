"""`overalign report` and `overalign plot`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from overalign.cli import PlotOptions, ReportOptions, main, run_plot, run_report
from overalign.errors import ClaimError, OutputError, ProblemError

ROOT = Path(__file__).resolve().parent.parent
LEDGER = """
[Y0]
title = "A claim"
theory = "$x$"
provenance = "ours"
place = "here"
study = "plain"
lines = ["C1"]
meaning = "Nothing."
"""
SUMMARY = {
    "study": "plain",
    "date": "2026-01-31",
    "hardware": "a processor",
    "versions": {"python": "3.11"},
    "measured": {},
    "criteria": [
        {
            "line": "C1",
            "statement": "gap",
            "measured": 0.1,
            "interval": [0.0, 0.2],
            "threshold": 0.5,
            "verdict": "HOLDS",
        }
    ],
}
DRAWING = """
from matplotlib.figure import Figure

def draw(results):
    \"\"\"A curve.\"\"\"
    figure = Figure((3, 2))
    figure.subplots().plot([float(x) for x in (results / "curve.csv").read_text().split()])
    return figure

FIGURES = {"figure.png": draw}
"""


def checkout(folder: Path, run: str = DRAWING) -> Path:
    """A small checkout with one study."""
    study = folder / "validation" / "plain"
    (study / "results").mkdir(parents=True)
    (folder / "validation" / "ledger.toml").write_text(LEDGER)
    (study / "criterion.md").write_text("# A question\n")
    (study / "run.py").write_text(run)
    (study / "results" / "summary.json").write_text(json.dumps(SUMMARY))
    (study / "results" / "curve.csv").write_text("1 2 4\n")
    return folder


def overalign(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: a study is imported by a name of this checkout's too."""
    code = "from overalign.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- report


def test_report_of_this_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_report(ReportOptions(output=tmp_path / "deep" / "report")) == 0
    assert (tmp_path / "deep" / "report" / "index.html").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "index.html" in said
    assert "claims with a record" in said


def test_report_as_markdown(tmp_path: Path) -> None:
    assert run_report(ReportOptions(markdown=tmp_path / "docs")) == 0
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["errata.md", "ledger.md"]


def test_report_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    (tmp_path / "validation" / "plain" / "results" / "summary.json").unlink()
    with pytest.raises(ClaimError, match="nothing is recorded"):
        run_report(ReportOptions(output=tmp_path / "report"))
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("arguments", [["--output", "file/report"], ["--markdown", "file"]])
def test_report_where_it_cannot_be(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    assert stop.value.code == 2
    assert "cannot be made" in capsys.readouterr().err


# ---------------------------------------------------------------- plot


def test_plot_draws_from_the_record(tmp_path: Path) -> None:
    assert run_plot(PlotOptions("Y10", tmp_path / "Y10.png")) == 0
    with Image.open(tmp_path / "Y10.png") as image:
        assert image.width > 600
        assert "Alignment" in image.info["Description"]


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_plot_elsewhere(ending: str, tmp_path: Path) -> None:
    done = overalign(checkout(tmp_path), "plot", "Y0", "--output", f"Y0.{ending}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"Y0.{ending}").stat().st_size > 1000


def test_plot_has_a_strip_for_its_stamp(tmp_path: Path) -> None:
    done = overalign(checkout(tmp_path), "plot", "Y0")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "Y0.png") as image:
        width, height = image.size
        strip = image.convert("L").crop((0, height - int(0.14 * width / 3.0), width, height))
        assert height / width > 2.1 / 3.0
        assert strip.getextrema()[0] < 150


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("FIGURES = {}", "cannot be drawn from its record: figure.png is not among FIGURES"),
        ("", "is not among FIGURES"),
        ("import no_such_library", "needs what is not installed"),
        (DRAWING.replace("curve.csv", "lost.csv"), "lacks what figure.png is drawn from"),
    ],
)
def test_plot_that_cannot_be_drawn(run: str, said: str, tmp_path: Path) -> None:
    done = overalign(checkout(tmp_path, run), "plot", "Y0")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "Y0.png").exists()


def test_plot_of_a_study_without_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    (tmp_path / "validation" / "plain" / "results" / "summary.json").unlink()
    with pytest.raises(ClaimError, match="not a readable record"):
        run_plot(PlotOptions("Y0"))


def test_plot_of_no_claim() -> None:
    with pytest.raises(ClaimError, match="did you mean Y10"):
        run_plot(PlotOptions("y10"))


def test_plot_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        run_plot(PlotOptions("Y10", tmp_path / "lost" / "Y10.png"))
    with pytest.raises(ProblemError, match=r"\.png or \.pdf"):
        run_plot(PlotOptions("Y10", tmp_path / "Y10.text"))


@pytest.mark.parametrize("command", ["report", "plot"])
def test_help_says_what_is_needed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "Needs a clone" in capsys.readouterr().out
