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
    if study == "effective_dimension":
        gains = [
            run.gain_of_seeds(run.recorded_table(table(study, "runs"), dimension, run.FULL))
            for dimension in run.FULL.dimensions
        ]
        measured = read(ROOT / "validation" / study / "results")["measured"]
        estimates = [measured[str(d)]["estimated_dimension"][0] for d in run.FULL.dimensions]
        return list(run.judge(gains, estimates, run.FULL))
    if study == "where_bounds_speak":
        return list(run.judge(table(study, "statements"), table(study, "problems"), run.FULL))
    errors = read(ROOT / "validation" / study / "results")["measured"]["errors"]
    return list(run.judge(table(study, "statements"), sum(map(len, errors.values())), run.FULL))


@pytest.mark.parametrize(
    "study",
    [
        *("certified_signs", "statements_under_attack", "where_bounds_speak"),
        *("u_curve_synthetic", "u_curve_digits", "effective_dimension"),
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


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the studies of real training share."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("validation.u_curves")


def test_nothing_holds_of_a_sweep_that_trained_nothing(shared: Any) -> None:
    settings = shared.settings_of("u_curve_digits")
    rows = [row | {"outcome": "BUDGET"} for row in table("u_curve_digits", "runs")]
    found = shared.judge(shared.table_of(rows, settings), settings)
    assert [each.line for each in found] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    assert {each.verdict for each in found} == {"INCONCLUSIVE"}


@pytest.mark.parametrize(
    ("p_value", "pairs", "judgement", "expected"),
    [
        (0.004, 8, "HOLDS", "FAILS"),
        (0.3, 8, "INCONCLUSIVE", "HOLDS"),
        (float("nan"), 8, "FAILS", "HOLDS"),  # c* is the end itself
        (float("nan"), 6, "INCONCLUSIVE", "INCONCLUSIVE"),
    ],
)
def test_a_control_that_could_show_no_dip_says_nothing(
    p_value: float, pairs: int, judgement: str, expected: str, shared: Any
) -> None:
    side = shared.Side(
        -12.0, 0.0, -0.01, 0.01, p_value, pairs, 0, shared.Judgement[judgement], "as given"
    )
    assert shared.no_dip("C3", "control", side).verdict == expected


@pytest.mark.parametrize(
    ("stopped", "best", "expected"),
    [
        (-2.0, 0.0, "HOLDS"),
        (-4.0, 0.0, "INCONCLUSIVE"),
        (2.0, -4.0, "FAILS"),
        (float("nan"), 0.0, "INCONCLUSIVE"),
        (0.0, float("nan"), "INCONCLUSIVE"),
        (float("nan"), float("nan"), "INCONCLUSIVE"),
    ],
)
def test_two_best_multipliers_are_compared_if_both_are_known(
    stopped: float, best: float, expected: str, shared: Any
) -> None:
    assert shared.same_best("C6", stopped, best, (-4.0, -2.0, 0.0, 2.0)).verdict == expected


def test_a_group_done_again_after_a_kill_is_seen(shared: Any) -> None:
    run = importlib.import_module("validation.sweep_resume.run")
    groups = [Path(name) for name in "abcd"]
    later = dict.fromkeys(groups[:3], 1)
    assert not run.done_again(dict.fromkeys(groups[:2], 1), later)
    assert run.done_again({groups[0]: 1, groups[1]: 0, groups[3]: 1}, later) == {
        groups[1],
        groups[3],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"class_ids": []},
        {"training_images": 1999},
        {"training_rows_sha256": None},
        {"test_rows_sha256": None},
        {"md5": {"train": "0", "test": "0", "meta": "0"}},
    ],
)
def test_a_record_of_images_holds_what_its_line_names(change: dict[str, Any], shared: Any) -> None:
    run = importlib.import_module("validation.cifar100_cpu.run")
    sound = {
        "class_ids": list(range(10)),
        "training_images": 2000,
        "training_rows_sha256": "0",
        "test_rows_sha256": "0",
    }
    md5 = change.get("md5", run.ARCHIVE.files)
    assert run.is_complete(sound, run.ARCHIVE.files)
    assert not run.is_complete(sound | change, md5)


@pytest.mark.parametrize("calls", [1, 2])
def test_a_run_that_is_begun_twice_is_counted(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    run = importlib.import_module("validation.engine_overhead.run")
    marked = run.marked

    def work(group: Any, marks: Path) -> Any:
        return [marked(group, marks) for _ in range(calls)][-1]

    monkeypatch.setattr(run, "marked", work)
    assert run.time_runs("inline", 3, tmp_path / "inline")["each_once"] == int(calls == 1)
