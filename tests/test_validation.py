"""Recorded results of validation/ are complete, and the quick reruns still meet the criteria."""

import importlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from overalign.claims import Claim, Verified, read_ledger, recorded, verify
from validation import common

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


# Studies of no claim whose small variants are run anew here; those of claims are run by `verified`.
RERUN = (
    *("solver_honest_tolerance", "solver_sliding", "network_error"),
    *("statements_under_attack", "sweep_resume"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", RERUN)
def test_quick_rerun_meets_the_criterion(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"validation.{name}.run", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = read(tmp_path)
    assert not list(objections(summary, ROOT / "validation" / name))
    missed = [c for c in summary["criteria"] if c["verdict"] != "HOLDS"]
    assert not missed, missed


# ---------------------------------------------------------------- claims

LEDGER = read_ledger(ROOT)
# Claims of docs/theory.md. Y16, OA + OF = E(w_hat) - E*, is an identity and tested as one:
# test_excess_error.py::test_the_parts_add_up_to_the_excess_error
CLAIMS = {*(f"Y{k}" for k in range(1, 28) if k != 16), "Y6b", "Y6c", "Y22b"}


def test_no_claim_is_skipped() -> None:
    assert not CLAIMS - set(LEDGER)


@pytest.mark.parametrize("claim", LEDGER.values(), ids=lambda claim: claim.id)
def test_a_claim_names_lines_of_a_recorded_study(claim: Claim) -> None:
    study = ROOT / "validation" / claim.study
    assert set(claim.lines) <= lines_of(study)
    assert (study / "results" / claim.figure).is_file()
    assert claim.theory.count("$") % 2 == 0
    assert len(claim.title) <= 100, "a title is one line"


def test_the_verdict_on_a_claim_is_the_worst_of_its_lines() -> None:
    found = recorded(ROOT)
    assert set(found) == set(LEDGER), "a claim has no record"
    for claim in LEDGER.values():
        lines = read(ROOT / "validation" / claim.study / "results")["criteria"]
        verdicts = {each["verdict"] for each in lines if each["line"] in claim.lines}
        worst = next(verdict for verdict in VERDICTS if verdict in verdicts)
        assert found[claim.id].miniature.name == worst
        assert found[claim.id].judgement.name == ("OUT_OF_SCOPE" if claim.needs else worst)


def test_a_verdict_against_the_paper_stands_on_top_of_its_criterion() -> None:
    for claim in LEDGER.values():
        text = (ROOT / "validation" / claim.study / "criterion.md").read_text("utf-8")
        if recorded(ROOT)[claim.id].judgement.name == "FAILS":
            assert re.match(r"> \*\*Against (the paper|docs/theory\.md):\*\*", text), claim.id


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Verified:
    """The quick tier of every study behind a claim."""
    return verify(ROOT, tier="quick", output=tmp_path_factory.mktemp("verify"), workers=2)


@pytest.mark.slow
def test_quick_studies_go_through_and_are_complete(verified: Verified) -> None:
    assert not verified.failures
    for found in verified.findings.values():
        if not found.claim.needs:
            said = read(found.folder)
            assert said["quick"]
            assert not list(objections(said, ROOT / "validation" / found.claim.study))
            assert (found.folder / found.claim.figure).stat().st_size > 0


@pytest.mark.slow
def test_quick_verdicts_are_the_recorded_ones(verified: Verified) -> None:
    found = {
        name: each.judgement.name
        for name, each in verified.findings.items()
        if not each.claim.needs
    }
    before = {name: each.judgement.name for name, each in recorded(ROOT, "quick").items()}
    assert found == {name: before.get(name) for name in found}


# ---------------------------------------------------------------- verdicts from recorded tables


def table(study: str, name: str) -> list[dict[str, Any]]:
    """A recorded table."""
    return common.read_rows(ROOT / "validation" / study / "results" / f"{name}.csv")


# The tables from which `judge` of a study finds its lines again.
TABLES = {
    "alignment_at_the_stop": ("stops",),
    "beyond_the_flow": ("runs",),
    "certified_signs": ("certificates",),
    "class_mean_is_optimal": ("rules", "anisotropic"),
    "laws_of_the_data": ("angles", "pairs", "samples"),
    "mechanism_of_the_dip": ("runs",),
    "network_error": ("networks",),
    "oa_and_of_along_runs": ("parts",),
    "other_losses": ("ends", "beginnings"),
    "optimal_scale": ("errors", "scaled_inputs"),
    "output_multiplier_is_scale": ("pairs",),
    "over_alignment_is_the_minimum": ("cones",),
    "separability_relaxed": ("runs",),
    "small_alpha_limit": ("alignments", "slopes", "stops_over_all"),
    "solver_honest_tolerance": ("instances",),
    "solver_sliding": ("runs",),
    "statements_on_populations": ("statements",),
    "theory_against_deep_nets": ("runs",),
    "time_to_fit": ("times", "large_scales", "training"),
    "where_bounds_speak": ("statements", "problems"),
}


def judged_u_curve(study: str) -> list[Any]:
    """A U-curve of real training, from its runs."""
    shared = importlib.import_module("validation.u_curves")
    settings = shared.settings_of(study)
    return list(shared.judge(shared.table_of(table(study, "runs"), settings), settings))


def judged_effective_dimension(study: str) -> list[Any]:
    """The gain against the effective dimension, from its runs."""
    run, rows = importlib.import_module(f"validation.{study}.run"), table(study, "runs")
    dimensions = run.FULL.dimensions
    gains = [run.gain_of_seeds(run.recorded_table(rows, each, run.FULL)) for each in dimensions]
    measured = read(ROOT / "validation" / study / "results")["measured"]
    estimates = [measured[str(each)]["estimated_dimension"][0] for each in dimensions]
    return list(run.judge(gains, estimates, run.FULL))


def judged_exponents(study: str) -> list[Any]:
    """The powers of alpha in the angle, from those of the problems."""
    run = importlib.import_module(f"validation.{study}.run")
    verdicts = read(ROOT / "validation" / study / "results")["measured"]["verdicts_in_the_limit"]
    return list(run.judge(table(study, "powers"), verdicts, run.FULL))


def judged_attack(study: str) -> list[Any]:
    """The attack on the statements, from its counts."""
    run = importlib.import_module(f"validation.{study}.run")
    errors = read(ROOT / "validation" / study / "results")["measured"]["errors"]
    return list(run.judge(table(study, "statements"), sum(map(len, errors.values())), run.FULL))


def judged_transfer(study: str) -> list[Any]:
    """The transfer between sizes, from its runs."""
    run, rows = importlib.import_module(f"validation.{study}.run"), table(study, "runs")
    return [
        line
        for network in run.NETWORKS
        for best in [
            {size: run.best_of(rows, network, size, run.FULL) for size in run.sizes_of(run.FULL)}
        ]
        for line in run.judge(network, best, run.FULL)
    ]


JUDGED = {
    "u_curve_synthetic": judged_u_curve,
    "u_curve_digits": judged_u_curve,
    "effective_dimension": judged_effective_dimension,
    "exponents_of_the_angle": judged_exponents,
    "statements_under_attack": judged_attack,
    "scaling_transfer": judged_transfer,
}
# Of these the tables hold less than the lines are judged by.
SUMMARISED = {
    "cifar100_cpu": "its runs lack the digests of the images",
    "ucurve_two_layer": "its curves are means over data sets",
}


def judged_again(study: str) -> list[Any]:
    """The criteria, from the recorded tables alone."""
    if study in JUDGED:
        return JUDGED[study](study)
    run = importlib.import_module(f"validation.{study}.run")
    found = run.judge(*(table(study, name) for name in TABLES[study]), run.FULL)
    return list(found[1] if isinstance(found, tuple) else found)


def test_every_study_of_a_claim_is_judged_again() -> None:
    missing = {claim.study for claim in LEDGER.values()} - {*TABLES, *JUDGED, *SUMMARISED}
    assert not missing, f"name the tables of {missing}"


@pytest.mark.parametrize("study", [*TABLES, *JUDGED])
def test_verdicts_follow_from_the_recorded_tables(study: str) -> None:
    criteria = read(ROOT / "validation" / study / "results")["criteria"]
    found = judged_again(study)
    assert found
    before = [c for c in criteria if c["line"] in {each.line for each in found}]
    if study in ("u_curve_synthetic", "u_curve_digits"):  # the sizes are judged from all runs
        before = [c for c in before if c["statement"] in {each.statement for each in found}]
    before.sort(key=lambda c: (c["line"], c["statement"]))
    found.sort(key=lambda c: (c.line, c.statement))
    assert [(c["line"], c["statement"], c["verdict"]) for c in before] == [
        (c.line, c.statement, c.verdict) for c in found
    ]
    for old, new in zip(before, found, strict=True):
        measured = math.nan if old["measured"] is None else old["measured"]
        assert measured == pytest.approx(new.measured, rel=1e-4, abs=1e-5, nan_ok=True)


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
