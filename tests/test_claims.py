"""Claims are read from a ledger, found in records, and their studies run anew."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ledgers import entry, line, summary, write_checkout, write_study

from overalign.claims import (
    find_checkout,
    find_claims,
    finding,
    read_ledger,
    record,
    recorded,
    verify,
)
from overalign.errors import ClaimError, ConfigError, OutputError
from overalign.inference import Estimate, widened
from overalign.verdicts import Judgement

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="studies use signals of POSIX")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_checkout(tmp_path / "checkout")


# ---------------------------------------------------------------- the ledger


def test_a_checkout_is_found_from_below(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkout(checkout / "validation" / "first") == checkout
    monkeypatch.chdir(checkout / "validation")
    assert find_checkout() == checkout


def test_the_folder_of_the_package_is_looked_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_checkout() == ROOT


def test_without_a_checkout_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="clone"):
        find_checkout(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("title = ", ClaimError, "not TOML"),
        ('title = "x"', ClaimError, "title stands outside of a claim"),
        ('[Y1]\ntitle = "x"', ConfigError, "theory"),
        (entry("Y1", "first").replace("ours", "theirs"), ConfigError, "theirs"),
        (entry("Y1", "first", more="weight = 1"), ConfigError, "weight"),
        (entry("Y1", "first", lines="[]"), ConfigError, "lines"),
    ],
)
def test_what_is_wrong_with_a_ledger_is_said(
    text: str, error: type[Exception], words: str, checkout: Path
) -> None:
    (checkout / "validation" / "ledger.toml").write_text(text)
    with pytest.raises(error, match=words):
        read_ledger(checkout)


def test_claims_are_found_in_the_order_of_the_ledger(checkout: Path) -> None:
    ledger = read_ledger(checkout)
    assert list(find_claims(ledger, ["B1", "A1", "B1"])) == ["A1", "B1"]
    assert list(find_claims(ledger, [])) == list(ledger) == ["A1", "A2", "B1", "G1"]


@pytest.mark.parametrize(("name", "words"), [("a1", "did you mean A1"), ("zzzz", "there are A1")])
def test_an_unknown_claim_is_answered_with_near_ones(name: str, words: str, checkout: Path) -> None:
    with pytest.raises(ClaimError, match=words):
        find_claims(read_ledger(checkout), [name])


# ---------------------------------------------------------------- what is recorded


def test_a_finding_is_the_worst_of_its_lines_alone(checkout: Path) -> None:
    found = recorded(checkout)
    assert {name: each.judgement.name for name, each in found.items()} == {
        "A1": "HOLDS",
        "A2": "INCONCLUSIVE",
        "B1": "FAILS",
        "G1": "OUT_OF_SCOPE",
    }
    assert [each.line for each in found["A1"].lines] == ["C1"]
    assert found["A2"].decisive.line == "C2"
    assert found["A1"].reason == ""
    assert (found["A1"].seconds, found["A1"].date, found["A1"].hardware) == (
        2.0,
        "2026-01-02",
        "a machine",
    )


def test_a_claim_that_needs_a_gpu_shows_its_miniature(checkout: Path) -> None:
    found = recorded(checkout)["G1"]
    assert found.miniature is Judgement.FAILS
    assert found.reason == "needs a GPU; its miniature on a processor: fails"


def test_a_claim_without_a_record_is_left_out(checkout: Path) -> None:
    (checkout / "validation" / "second" / "results" / "quick.json").unlink()
    assert list(recorded(checkout, "quick")) == ["A1", "A2"]


def test_tightness_is_the_largest_of_the_lines(checkout: Path) -> None:
    measured = {"tightness": {"C1": 0.3, "C2": 0.9, "C3": 1.0}}
    write_study(checkout, "first", summary("first", line("C1"), line("C2"), measured=measured))
    assert [recorded(checkout)[name].tightness for name in ("A1", "A2", "B1")] == [0.3, 0.9, None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a readable record"),
        ("{}", "not the record of a study"),
        (json.dumps(summary("first", line("C9"))), "no line C1"),
    ],
)
def test_a_record_that_says_too_little_is_refused(text: str, words: str, checkout: Path) -> None:
    (checkout / "validation" / "first" / "results" / "summary.json").write_text(text)
    with pytest.raises(ClaimError, match=words):
        recorded(checkout)


def test_truth_values_and_missing_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    lines = (line("C1", measured=False), line("C1", measured=None, interval=[None, 1.0]))
    path.write_text(json.dumps(summary("first", *lines)))
    claim = read_ledger(write_checkout(tmp_path / "checkout"))["A1"]
    assert [each.measured for each in finding(claim, "full", path).lines] == [0.0, None]


# ---------------------------------------------------------------- all claims together


def adjusted_of(checkout: Path, *lines: dict[str, Any]) -> Judgement:
    """The adjusted verdict of A1 when its study has some lines C1."""
    write_study(checkout, "first", summary("first", *lines, line("C2")))
    return recorded(checkout)["A1"].adjusted


def test_an_interval_that_is_just_clear_of_its_threshold_does_not_stand(checkout: Path) -> None:
    clear = line("C1", measured=0.5, interval=[0.0, 0.999], threshold=1.0)
    far = line("C1", statement="far", measured=0.5, interval=[0.4, 0.6], threshold=1.0)
    assert adjusted_of(checkout, clear) is Judgement.HOLDS  # the only interval of the ledger
    assert adjusted_of(checkout, far, clear) is Judgement.INCONCLUSIVE
    assert adjusted_of(checkout, far, far | {"statement": "another"}) is Judgement.HOLDS


def test_the_number_of_intervals_decides_how_wide_they_become(checkout: Path) -> None:
    others = [
        line("C1", statement=f"{k}", measured=0.0, interval=[-0.1, 0.1], threshold=1.0)
        for k in range(9)
    ]
    end = widened(Estimate(0.0, -1.0, 1.0), 10).high
    for threshold, expected in ((end + 1e-6, "HOLDS"), (end - 1e-6, "INCONCLUSIVE")):
        tested = line("C1", measured=0.0, interval=[-1.0, 1.0], threshold=threshold)
        assert adjusted_of(checkout, tested, *others).name == expected


@pytest.mark.parametrize("verdict", ["HOLDS", "FAILS", "INCONCLUSIVE"])
@pytest.mark.parametrize(
    "interval", [None, [0.0, 2.0], [None, 2.0], [0.5, 0.5]], ids=["none", "over", "open", "exact"]
)
def test_other_lines_keep_their_verdict(
    verdict: str, interval: list[float] | None, checkout: Path
) -> None:
    clear = line("C1", measured=0.5, interval=[0.4, 0.6], threshold=1.0)
    kept = line("C1", verdict, measured=0.5, interval=interval, threshold=1.0)
    assert adjusted_of(checkout, kept, clear).name == verdict


@pytest.mark.parametrize(
    ("p_value", "expected"), [(0.004, "HOLDS"), (0.006, "INCONCLUSIVE"), (0.06, "HOLDS")]
)
def test_a_test_is_adjusted_by_its_p_value_and_not_by_its_interval(
    p_value: float, expected: str, checkout: Path
) -> None:
    tested = line("C1", measured=0.03, interval=[0.02, 0.05], threshold=0.0, p_value=p_value)
    others = [
        line("C1", statement=f"{k}", measured=0.0, interval=[-0.1, 0.1], threshold=1.0)
        for k in range(9)
    ]
    assert adjusted_of(checkout, tested, *others).name == expected


# ---------------------------------------------------------------- studies that run anew


@posix
def test_each_study_runs_once_and_no_study_for_a_gpu(checkout: Path, tmp_path: Path) -> None:
    ended: list[str] = []
    done: list[tuple[int, int, int]] = []
    found = verify(
        checkout,
        tier="quick",
        output=tmp_path / "out",
        progress=lambda *counts: done.append(counts),
        on_end=lambda run: ended.append(run.config.name),
    )
    assert sorted(ended) == ["first", "second"]
    assert done[-1] == (2, 2, 0)
    assert {name: each.judgement.name for name, each in found.findings.items()} == {
        "A1": "HOLDS",
        "A2": "INCONCLUSIVE",
        "B1": "FAILS",
        "G1": "OUT_OF_SCOPE",
    }
    assert not found.failures
    said = json.loads((found.findings["A1"].folder / "summary.json").read_text())
    assert said["quick"] is True


@posix
def test_only_what_is_asked_for_runs(checkout: Path, tmp_path: Path) -> None:
    found = verify(checkout, ["B1"], "full", tmp_path / "out")
    assert list(found.findings) == ["B1"]
    assert json.loads((found.findings["B1"].folder / "summary.json").read_text())["quick"] is False


@posix
def test_a_claim_for_a_gpu_alone_runs_nothing(checkout: Path, tmp_path: Path) -> None:
    found = verify(checkout, ["G1"], output=tmp_path / "out")
    assert list(found.findings) == ["G1"]
    assert list((tmp_path / "out").glob("*/config.json")) == []


@posix
@pytest.mark.parametrize("change", ["raise SystemExit('it broke')", "chosen.output.rmdir()"])
def test_a_study_that_fails_is_told_and_the_others_go_on(
    change: str, checkout: Path, tmp_path: Path
) -> None:
    write_study(checkout, "second", summary("second", line("C1")), before=change)
    found = verify(checkout, output=tmp_path / "out")
    assert list(found.findings) == ["A1", "A2", "G1"]
    assert "exit code 1" in found.failures["second"]
    assert "it broke" in found.failures["second"] or "No such file" in found.failures["second"]


@posix
def test_a_study_without_a_record_has_failed(checkout: Path, tmp_path: Path) -> None:
    write_study(checkout, "second", summary("second", line("C1")), before="raise SystemExit(0)")
    found = verify(checkout, ["B1"], output=tmp_path / "out")
    assert "not a readable record" in found.failures["second"]


@posix
def test_a_study_that_takes_too_long_is_ended(checkout: Path, tmp_path: Path) -> None:
    slow = "print('begun', file=sys.stderr, flush=True); time.sleep(60)"
    write_study(checkout, "second", summary("second", line("C1")), before=slow)
    began = time.monotonic()
    found = verify(checkout, ["B1"], output=tmp_path / "out", limit=2.0)
    assert time.monotonic() - began < 30
    assert "longer than 2 s" in found.failures["second"]
    assert "begun" in found.failures["second"]


@posix
def test_what_is_finished_is_kept_on_request_only(checkout: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    count = f"open({str(mark)!r}, 'a').write('x')"
    write_study(checkout, "second", summary("second", line("C1")), before=count)
    for resume, runs in ((False, 1), (True, 1), (False, 2)):
        verify(checkout, ["B1"], output=tmp_path / "out", resume=resume)
        assert len(mark.read_text()) == runs
    with (checkout / "validation" / "second" / "run.py").open("a") as file:
        file.write("# other code\n")
    verify(checkout, ["B1"], output=tmp_path / "out", resume=True)
    assert len(mark.read_text()) == 3


@posix
def test_an_interrupt_ends_the_studies(checkout: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = (
        "import os, subprocess\n"
        f"open({str(mark)!r}, 'a').write(str(os.getpid()) + ' ')\n"
        "time.sleep(60)"
    )
    write_study(checkout, "second", summary("second", line("C1")), before=child)

    def interrupt() -> None:
        while not mark.is_file() or not mark.read_text().endswith(" "):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        verify(checkout, ["B1"], output=tmp_path / "out")
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text().split()[0]), 0)


@posix
def test_two_calls_do_not_share_a_folder(checkout: Path, tmp_path: Path) -> None:
    slow = "time.sleep(3)"
    write_study(checkout, "second", summary("second", line("C1")), before=slow)
    output = tmp_path / "out"
    first = threading.Thread(target=verify, args=(checkout, ["B1"], "quick", output))
    first.start()
    while not list(output.glob("*/stderr.txt")):
        time.sleep(0.05)
    with pytest.raises(OutputError, match="works in it"):
        verify(checkout, ["B1"], output=output)
    first.join()


@posix
def test_quick_results_are_recorded_beside_the_full_ones(checkout: Path, tmp_path: Path) -> None:
    path = checkout / "validation" / "first" / "results" / "quick.json"
    path.unlink()
    (checkout / "validation" / "second" / "results" / "quick.json").unlink()
    before = path.with_name("summary.json").read_text()
    written = record(checkout, verify(checkout, ["A1", "A2", "G1"], output=tmp_path / "out"))
    assert written == [path]
    assert json.loads(path.read_text())["quick"] is True
    assert path.with_name("summary.json").read_text() == before
    assert list(recorded(checkout, "quick")) == ["A1", "A2"]


@posix
def test_full_results_are_no_quick_record(checkout: Path, tmp_path: Path) -> None:
    found = verify(checkout, ["A1"], "full", tmp_path / "out")
    with pytest.raises(ClaimError, match="A1: not of the quick tier"):
        record(checkout, found)


@posix
@pytest.mark.slow
def test_two_runs_of_a_study_give_the_same_numbers(tmp_path: Path) -> None:
    texts = []
    for name in ("once", "again"):
        command = [sys.executable, "-m", "validation.statements_on_populations.run", "--quick"]
        done = subprocess.run([*command, "--output", tmp_path / name], cwd=ROOT, check=False)
        assert done.returncode == 0
        said = json.loads((tmp_path / name / "summary.json").read_text())
        texts.append(
            [
                (tmp_path / name / "statements.csv").read_text(),
                said["criteria"],
                said["measured"],
            ]
        )
    assert texts[0] == texts[1]
