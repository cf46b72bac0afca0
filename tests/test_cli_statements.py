"""``statements``, ``show``, ``check`` and ``search``: what they print, refuse, and how they end."""

import math
import time

import pytest
from test_cli import run

from overalign import cli
from overalign.cli import statements as command
from overalign.statements import REGISTRY
from overalign.testing import Search
from overalign.verdicts import Judgement, Verdict

SMALL = ["--n", "4", "--width", "4", "--dimension", "5"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


# ----------------------------------------------------------------------------- statements, show


def test_statements_lists_every_one(capsys: Capture) -> None:
    code, out, err = run(capsys, "statements")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(REGISTRY)
    for line, statement in zip(lines, REGISTRY.values(), strict=True):
        assert statement.title in line
        assert line.endswith(f"({statement.provenance})")


@pytest.mark.parametrize("name", REGISTRY)
def test_show_says_what_a_statement_is(capsys: Capture, name: str) -> None:
    code, out, err = run(capsys, "show", name)
    assert (code, err) == (0, "")
    statement = REGISTRY[name]
    assert out.startswith(f"{name}: {statement.title}\n{statement.place}; ")
    assert {"equal": "  =\n", "at_most": "  ≤\n", "at_least": "  ≥\n"}[statement.direction] in out
    assert all(f"  if {hypothesis.words}\n" in out for hypothesis in statement.hypotheses)
    assert all(f"{q.name}: {q.meaning}" in out for q in statement.quantities)
    if statement.says_nothing is not None:
        assert f"says nothing where {statement.says_nothing.words}" in out


def test_show_draws_the_formula(capsys: Capture) -> None:
    out = run(capsys, "show", "norm_growth")[1]
    assert "log" in out.split("  if ")[0]
    assert "beta: " in out
    assert "(default 1)" in out


# -------------------------------------------------------------------------------------- check


def test_check_has_a_row_for_each_scale_and_the_tightest(capsys: Capture) -> None:
    arguments = ["check", "norm_growth", "--alpha", "1e-3", "1e-6", "--seeds", "3", *SMALL]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if row and row[0] in ("-3", "-6")] == [
        ["-3", "holds", "3/3"],
        ["-6", "holds", "3/3"],
    ]
    assert "the tightest: norm_growth: holds (ours)" in out
    assert "measured = " in out
    assert ".problem(" in out


def test_check_takes_scales_below_float64_and_other_problems(capsys: Capture) -> None:
    options = ["--log-alpha", "-5000", "--kappa", "3", "--sigma", "0.3", "--eta", "0.2"]
    code, out, _ = run(capsys, "check", "half_angle", "--seeds", "2", *SMALL, *options)
    assert code == 0
    assert f"{-5000 / math.log(10):.6g}" in out
    assert "kappa=3.0, sigma=0.3, separability=0.0, log_alpha=-5000.0, eta=0.2" in out


def test_check_of_what_is_never_in_scope_is_exit_code_1(capsys: Capture) -> None:
    code, out, _ = run(capsys, "check", "scaling_with_depth", "--seeds", "2", *SMALL)
    assert code == 1
    assert "out of scope" in out
    assert "2: one problem does not decide it" in out
    drawn = ["--unconditioned", "--kappa", "0.1", "--seeds", "1", "--n", "10", "--dimension", "3"]
    code, out, _ = run(capsys, "check", "half_angle", *drawn)
    assert code == 1
    assert "broken: the sample is orthogonally separable" in out


def test_check_of_what_fails_is_exit_code_1(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from falsehoods import variant

    false = variant("norm_growth", expression=REGISTRY["norm_growth"].expression - 9)
    monkeypatch.setitem(REGISTRY, false.name, false)
    code, out, _ = run(capsys, "check", false.name, "--seeds", "2", *SMALL)
    assert code == 1
    assert "fails" in out
    assert f"it fails: {false.name}: fails (ours)" in out
    assert "on Population(n=4" in out


def test_check_all_in_a_minute(capsys: Capture) -> None:
    began = time.process_time()
    code, out, _ = run(capsys, "check", "--all", "--seeds", "1")
    assert time.process_time() - began < 60.0
    assert code == 0
    assert all(name in out for name in REGISTRY)
    assert "4 problems, " in out
    assert "fails" not in out


# ------------------------------------------------------------------------------------- search


def test_search_shows_the_tightest(capsys: Capture) -> None:
    code, out, _ = run(capsys, "search", "conic_hull", "--budget", "1s", "--beyond")
    assert code == 0
    assert out.startswith("conic_hull: no counterexample; the tightest (")
    assert "in scope): conic_hull: holds" in out


def test_search_for_a_counterexample_is_exit_code_1(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from falsehoods import variant

    false = variant("norm_growth", expression=REGISTRY["norm_growth"].expression - 9)
    monkeypatch.setitem(REGISTRY, false.name, false)
    code, out, _ = run(capsys, "search", false.name, "--budget", "5")
    assert code == 1
    assert out.startswith(f"{false.name}: a counterexample (")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Search(None, None, 3, 0, 1.0), 1),
        (Search(Verdict("x", Judgement.FAILS, "ours", ""), None, 3, 1, 1.0), 1),
        (Search(Verdict("x", Judgement.HOLDS, "ours", ""), None, 3, 1, 1.0), 0),
    ],
    ids=["nothing_in_scope", "refuted", "not_refuted"],
)
def test_search_ends_as_it_went(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, found: Search, expected: int
) -> None:
    monkeypatch.setattr("overalign.testing.search", lambda *_, **__: found)
    assert run(capsys, "search", "conic_hull")[0] == expected


@pytest.mark.parametrize(
    ("budget", "seconds"), [("60s", 60.0), ("5m", 300.0), ("1.5h", 5400.0), (" 7 ", 7.0)]
)
def test_budgets(budget: str, seconds: float) -> None:
    assert command._seconds(budget) == seconds


# --------------------------------------------------------------------------- it says what is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "over_alignmnt"], "no statement 'over_alignmnt'; did you mean over_alignment?"),
        (["show", "x"], "there is no statement 'x'"),
        (["check", "conic_hul"], "did you mean conic_hull?"),
        (["check"], "give the name of one statement, or --all"),
        (["check", "conic_hull", "--all"], "give the name of one statement, or --all"),
        (["check", "conic_hull", "--alpha", "0"], "--alpha is 0, expected positive"),
        (["check", "conic_hull", "--alpha", "1e-3", "-1"], "--alpha is -1"),
        (["check", "conic_hull", "--alpha", "1e-400"], "--log-alpha"),
        (["check", "conic_hull", "--alpha", "nan"], "--alpha is nan"),
        (["check", "conic_hull", "--seeds", "0"], "--seeds is 0"),
        (["check", "--all", "--seeds", "-1"], "--seeds is -1"),
        (["check", "conic_hull", "--n", "0"], "n is 0"),
        (["check", "conic_hull", "--width", "0"], "width is 0"),
        (["check", "conic_hull", "--dimension", "0"], "dimension is 0"),
        (["check", "conic_hull", "--sigma", "-1"], "sigma is -1"),
        (["check", "conic_hull", "--kappa", "-1"], "kappa is -1"),
        (["check", "conic_hull", "--eta", "0"], "eta is 0"),
        (["check", "conic_hull", "--log-alpha", "nan"], "log_alpha is nan"),
        (["check", "conic_hull", "--tolerance", "1e-15"], "float64 can deliver"),
        (["check", "--all", "--tolerance", "0"], "tolerance"),
        (["check", "conic_hull", "--separability", "2"], "separability is 2"),
        (["search", "conic_hul"], "did you mean conic_hull?"),
        (["search", "conic_hull", "--budget", "0s"], "--budget '0s' is no time"),
        (["search", "conic_hull", "--budget", "soon"], "--budget 'soon' is no time"),
        (["search", "conic_hull", "--budget", "-3s"], "is no time"),
        (["search", "scaling_with_depth", "--budget", "1s"], "cannot be searched"),
    ],
    ids=" ".join,
)
def test_a_request_that_cannot_be_met_is_one_line_and_exit_code_2(
    capsys: Capture, arguments: list[str], message: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    lines = [line for line in err.splitlines() if line.startswith("overalign: ")]
    assert len(lines) == 1
    assert err.endswith(lines[0] + "\n")
    assert "Traceback" not in err


def test_help_names_the_commands(capsys: Capture) -> None:
    out = run(capsys, "--help")[1]
    assert all(name in out for name in ("statements", "show", "check", "search"))
    assert cli.__all__
    for name in ("check", "search"):
        assert "Exit code 0" in " ".join(run(capsys, name, "--help")[1].split())
