"""Recorded results of validation/ are complete, and the quick reruns still meet the criteria."""

import csv
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(path.parent for path in (ROOT / "validation").glob("*/criterion.md"))
FIELDS = {
    "study": str,
    "quick": bool,
    "date": str,
    "versions": dict,
    "hardware": str,
    "settings": dict,
    "measured": dict,
    "criteria": list,
    "verdict": str,
}
VERDICTS = ("FAILS", "INCONCLUSIVE", "HOLDS")  # the worst first

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the time limits use signals")


def read(folder: Path) -> dict[str, Any]:
    """A summary."""
    return dict(json.loads((folder / "summary.json").read_text("utf-8")))


def lines_of(study: Path) -> set[str]:
    """The numbers of the criteria in criterion.md."""
    return set(re.findall(r"\b(C\d+)\. ", (study / "criterion.md").read_text("utf-8")))


def objections(summary: dict[str, Any], study: Path) -> Iterator[str]:
    """What is wrong with a summary."""
    for name, kind in FIELDS.items():
        if not isinstance(summary.get(name), kind):
            yield f"{name} is {summary.get(name)!r}, expected a {kind.__name__}"
    if summary["study"] != study.name:
        yield f"it is of {summary['study']}"
    date.fromisoformat(summary["date"])
    if not {"python", "numpy", "numba", "overalign"} <= set(summary["versions"]):
        yield "a version is missing"
    judged = {criterion["line"] for criterion in summary["criteria"]}
    if judged != lines_of(study):
        yield f"judged {sorted(judged)}, criterion.md has {sorted(lines_of(study))}"
    found = {criterion["verdict"] for criterion in summary["criteria"]}
    if summary["verdict"] != next(verdict for verdict in VERDICTS if verdict in found):
        yield f"the verdict is {summary['verdict']}, its lines say {found}"


def test_there_are_studies() -> None:
    assert len(STUDIES) >= 5


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_recorded_result_is_complete(study: Path) -> None:
    results = study / "results"
    summary = read(results)
    assert not list(objections(summary, study))
    assert not summary["quick"], "the recorded result is that of the full study"
    assert (results / "figure.png").stat().st_size > 0
    assert list(results.glob("*.csv")), "the curves are recorded too"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "solver_honest_tolerance",
        "solver_sliding",
        "small_alpha_limit",
        "network_error",
        "certified_signs",
        "statements_under_attack",
    ],
)
def test_quick_rerun_meets_the_criterion(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"validation.{name}.run", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = read(tmp_path)
    assert not list(objections(summary, ROOT / "validation" / name))
    missed = [c for c in summary["criteria"] if c["verdict"] != "HOLDS"]
    assert not missed, missed


@pytest.mark.slow
def test_quick_ucurve_contradicts_nothing(tmp_path: Path) -> None:
    """Six data sets are too few to decide every line; none may fail."""
    command = [sys.executable, "-m", "validation.ucurve_two_layer.run", "--quick"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = read(tmp_path)
    assert not list(objections(summary, ROOT / "validation" / "ucurve_two_layer"))
    verdicts = {(c["line"], c["statement"]): c["verdict"] for c in summary["criteria"]}
    assert "FAILS" not in verdicts.values()
    large = "C, independent: large-alpha rise"
    assert verdicts["C2", large] == "HOLDS"


@pytest.mark.slow
def test_quick_scales_contradict_nothing(tmp_path: Path) -> None:
    """Three problems are too few to decide every line; the formulas and flows must agree."""
    command = [sys.executable, "-m", "validation.where_bounds_speak.run", "--quick"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = read(tmp_path)
    assert not list(objections(summary, ROOT / "validation" / "where_bounds_speak"))
    verdicts = {(c["line"], c["verdict"]) for c in summary["criteria"]}
    for line in ("C5", "C7", "C10", "C11"):
        assert {verdict for other, verdict in verdicts if other == line} == {"HOLDS"}, line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["effective_dimension", "sweep_resume"])
def test_quick_training_goes_through(name: str, tmp_path: Path) -> None:
    """Too few seeds to decide what is to be decided; the record must be whole."""
    command = [sys.executable, "-m", f"validation.{name}.run", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = read(tmp_path)
    assert not list(objections(summary, ROOT / "validation" / name))
    if name == "sweep_resume":
        assert summary["verdict"] == "HOLDS", summary["criteria"]


def table(study: str, name: str) -> list[dict[str, str]]:
    """A recorded table."""
    path = ROOT / "validation" / study / "results" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def judged_again(study: str) -> list[Any]:
    """The criteria, from the recorded tables alone."""
    run = importlib.import_module(f"validation.{study}.run")
    if study == "certified_signs":
        return list(run.judge(table(study, "certificates"), run.FULL))
    if study in ("u_curve_synthetic", "u_curve_digits"):
        shared = importlib.import_module("validation.u_curves")
        settings = shared.settings_of(study)
        runs = shared.table_of(table(study, "runs"), settings)
        return list(shared.judge(runs, settings))
    if study == "where_bounds_speak":
        return list(run.judge(table(study, "statements"), table(study, "problems"), run.FULL))
    errors = read(ROOT / "validation" / study / "results")["measured"]["errors"]
    return list(run.judge(table(study, "statements"), sum(map(len, errors.values())), run.FULL))


@pytest.mark.parametrize(
    "study",
    [
        *("certified_signs", "statements_under_attack", "where_bounds_speak"),
        *("u_curve_synthetic", "u_curve_digits"),
    ],
)
def test_verdicts_follow_from_the_recorded_tables(
    study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    recorded = read(ROOT / "validation" / study / "results")["criteria"]
    found = judged_again(study)
    recorded = [c for c in recorded if c["line"] in {each.line for each in found}]
    assert found
    assert [(c["line"], c["statement"], c["verdict"]) for c in recorded] == [
        (c.line, c.statement, c.verdict) for c in found
    ]
    for old, new in zip(recorded, found, strict=True):
        assert old["measured"] == pytest.approx(new.measured, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"verdict": "FAILS"}, "the verdict is FAILS"),
        ({"criteria": [{"line": "C9", "verdict": "HOLDS"}]}, "judged ['C9']"),
        ({"hardware": None}, "hardware is None"),
        ({"study": "another"}, "it is of another"),
    ],
)
def test_an_incomplete_record_is_seen(change: dict[str, Any], expected: str) -> None:
    study = ROOT / "validation" / "solver_speed"
    criteria = [{"line": line, "verdict": "HOLDS"} for line in lines_of(study)]
    sound = dict.fromkeys(FIELDS, "") | {
        "study": study.name,
        "quick": False,
        "date": "2026-01-01",
        "versions": dict.fromkeys(("python", "numpy", "numba", "overalign"), "1"),
        "settings": {},
        "measured": {},
        "criteria": criteria,
        "verdict": "HOLDS",
    }
    assert not list(objections(sound, study))
    assert any(expected in line for line in objections(sound | change, study))
