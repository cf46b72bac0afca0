"""``overalign judge``: files that are read and refused, verdicts where the truth is known."""

import csv
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_tables import GRID, planted_theory, planted_u, sweep_table
from test_cli import run

from overalign.deepnet.statistics import u_curve
from overalign.deepnet.transfer import best_multiplier
from overalign.errors import DataFileError, ProblemError
from overalign.judge import Runs, Size, judge, read_runs
from overalign.prediction import calibrate
from overalign.verdicts import Judgement, Verdict

HOLDS, FAILS, INCONCLUSIVE = Judgement.HOLDS, Judgement.FAILS, Judgement.INCONCLUSIVE
OUT_OF_SCOPE = Judgement.OUT_OF_SCOPE
HEAD = "c,learning_rate,seed,test_accuracy"
ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "validation"
Rows = Sequence[dict[str, Any]]


def rows_of(
    curve: np.ndarray, seeds: int = 16, noise: float = 0.005, generator: int = 0, **more: Any
) -> list[dict[str, Any]]:
    """Runs on the grid, all seeds at every c."""
    values = sweep_table(curve, seeds=seeds, noise=noise, generator=generator).test_accuracy.values
    return [
        {"c": 2.0**k, "learning_rate": 0.01, "seed": seed, "test_accuracy": values[0, seed, 0, at]}
        | more
        for seed in range(seeds)
        for at, k in enumerate(GRID)
    ]


@pytest.fixture(autouse=True)
def theory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A theory whose curves are known."""
    known = partial(calibrate, curve_of=planted_theory(n=-1.0, width=0.0))
    monkeypatch.setattr("overalign.judge.calibrate", known)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Iterable[dict[str, Any]] | str | bytes], Path]:
    """A file of rows, or of a text."""

    def saved(content: Iterable[dict[str, Any]] | str | bytes) -> Path:
        path = tmp_path / "runs.csv"
        if isinstance(content, str | bytes):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            return path
        rows = list(content)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return saved


Save = Callable[[Iterable[dict[str, Any]] | str | bytes], Path]


def by_name(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    return {verdict.statement: verdict for verdict in verdicts}


# ----------------------------------------------------------------------------------- verdicts


def test_a_planted_u_is_found_with_its_best_c(save: Save) -> None:
    path = save(rows_of(planted_u(at=-4.0, depth=0.04)))
    (verdicts,) = judge(path).by_size.values()
    assert [verdict.judgement for verdict in verdicts] == [HOLDS, HOLDS, HOLDS]
    best = verdicts[0].witness
    assert best["low"] < best["log2_c"] < best["high"]
    assert best["log2_c"] == pytest.approx(-4.0, abs=1.0)  # the two sides are not equally steep
    assert "p < .01" in str(verdicts[1])


def test_the_statistics_are_those_of_a_sweep(save: Save) -> None:
    """Shuffled lines and text make the table of the sweep again."""
    table = sweep_table(planted_u(depth=0.03), seeds=16, generator=3)
    rows = rows_of(planted_u(depth=0.03), generator=3)
    np.random.default_rng(0).shuffle(rows)
    found = judge(save(rows)).by_size[Size()]
    curve = u_curve(table)
    assert found[1].witness["p_value"] == curve.left.p_value
    assert found[2].witness["difference"] == pytest.approx(curve.right.difference)
    best = best_multiplier(table.test_accuracy[0, :, 0], GRID)
    assert found[0].witness["log2_c"] == pytest.approx(best.log2_c)
    same = judge(Runs({Size(1000, 64): table})).by_size[Size(1000, 64)]
    assert [v.judgement for v in same] == [v.judgement for v in found]


def test_a_rising_curve_has_no_dip_at_large_c(save: Save) -> None:
    (verdicts,) = judge(save(rows_of(0.7 + 0.01 * GRID))).by_size.values()
    found = by_name(verdicts)
    assert found["best c inside the grid"].judgement is INCONCLUSIVE
    assert "extend the grid" in found["best c inside the grid"].reason
    assert found["dip at small c"].judgement is HOLDS
    assert found["dip at large c"].judgement is FAILS


def test_noise_has_no_dip_in_most_files(save: Save) -> None:
    held = 0
    for generator in range(40):
        rows = rows_of(np.full(GRID.size, 0.75), generator=generator)
        (verdicts,) = judge(save(rows)).by_size.values()
        held += sum(verdict.judgement is HOLDS for verdict in verdicts[1:])
    assert held <= 5  # of 80 tests at 1 %


@pytest.mark.parametrize("seeds", [1, 2, 4, 13])
def test_few_seeds_are_inconclusive_and_the_number_needed_is_said(save: Save, seeds: int) -> None:
    (verdicts,) = judge(save(rows_of(planted_u(), seeds=seeds))).by_size.values()
    for verdict in verdicts[1:]:
        assert verdict.judgement is INCONCLUSIVE
        assert "14 seeds" in verdict.reason


def test_a_wide_spread_says_how_many_seeds_find_a_dip(save: Save) -> None:
    rows = rows_of(planted_u(depth=0.01), noise=0.03, generator=1)
    verdict = judge(save(rows)).by_size[Size()][1]
    assert verdict.judgement is INCONCLUSIVE
    half = 0.5 * (verdict.witness["high"] - verdict.witness["low"])
    spread = math.sqrt(8) * half / 2.365
    expected = 2 * ((2.326 + 1.282) * spread / 0.01) ** 2  # of normal differences at p < .01
    needed = int(verdict.evidence.split(" seeds")[0].split()[-1])
    assert needed == pytest.approx(expected, rel=0.05)


def test_seeds_that_differ_between_c_are_not_compared(save: Save) -> None:
    rows = [row | {"seed": number} for number, row in enumerate(rows_of(planted_u(), seeds=3))]
    (verdicts,) = judge(save(rows)).by_size.values()
    assert all(verdict.judgement is INCONCLUSIVE for verdict in verdicts)
    assert all("same seeds at every c" in verdict.reason for verdict in verdicts)


def test_a_seed_with_a_missing_run_is_left_out(save: Save) -> None:
    rows = rows_of(planted_u(depth=0.04), seeds=17)
    without = [row for row in rows if row["seed"] != 16]
    partly = [row for row in rows if row["seed"] != 16 or row["c"] < 1.0]
    expected, found = (judge(save(each)).by_size[Size()] for each in (without, partly))
    assert list(map(str, found)) == list(map(str, expected))


def test_a_learning_rate_of_its_own_at_each_c_is_no_missing_run(save: Save) -> None:
    """As lr / c: every c has its own steps."""
    rows = rows_of(planted_u(depth=0.04))
    own = [row | {"learning_rate": 0.01 / row["c"]} for row in rows]
    expected, found = (judge(save(each)).by_size[Size()] for each in (rows, own))
    assert list(map(str, found)) == list(map(str, expected))


def test_each_c_is_taken_at_its_best_learning_rate(save: Save) -> None:
    worse = rows_of(planted_u(depth=0.04) - 0.2, generator=1, learning_rate=0.1)
    rows = rows_of(planted_u(depth=0.04))
    found = judge(save([*worse, *rows])).by_size[Size()]
    assert list(map(str, found)) == list(map(str, judge(save(rows)).by_size[Size()]))


def test_runs_that_missed_their_target_are_not_compared(save: Save) -> None:
    rows = [row | {"outcome": "REACHED"} for row in rows_of(planted_u(depth=0.04))]
    for row in rows:
        if row["c"] == 2.0 ** GRID[0]:
            row |= {"outcome": "diverged", "test_accuracy": ""}
    verdict = judge(save(rows)).by_size[Size()][1]
    assert "1 c beyond it left out" in verdict.evidence
    assert "2^-10" in verdict.evidence


def test_without_any_target_the_budget_counts(save: Save) -> None:
    rows = [row | {"outcome": "BUDGET"} for row in rows_of(planted_u(depth=0.04))]
    runs = read_runs(save(rows))
    assert any("the end of the budget" in note for note in runs.notes)
    assert judge(runs).by_size[Size()][1].judgement is HOLDS


# ------------------------------------------------------------------------------- several sizes


def sized(
    n_exponent: float, width_exponent: float, sizes: Iterable[tuple[float, float]]
) -> list[dict[str, Any]]:
    """Nine seeds of parabolas around c* = 2^-4 (n / 8)^b (h / 8)^e."""
    rows = []
    for k, (n, width) in enumerate(sizes):
        place = -4.0 + n_exponent * np.log2(n / 8) + width_exponent * np.log2(width / 8)
        curve = 0.8 - 0.002 * (GRID - place) ** 2
        rows += rows_of(curve, seeds=9, noise=0.002, generator=k, n=n, width=width)
    return rows


SIZES = ((4, 8), (8, 8), (16, 8), (8, 2), (8, 32), (16, 4))


@pytest.mark.parametrize(
    ("exponents", "judgement"),
    [((-2.0, -1.0), HOLDS), ((-0.3, -0.3), FAILS), ((-1.0, -1.0), FAILS)],
)
def test_exponents_are_held_against_the_papers(
    save: Save, exponents: tuple[float, float], judgement: Judgement
) -> None:
    (verdict,) = judge(save(sized(*exponents, SIZES))).together
    assert verdict.statement == "c* grows as n^-2 width^-1"
    assert verdict.judgement is judgement
    for name, exponent in zip(("n", "width"), exponents, strict=True):
        assert verdict.witness[name] == pytest.approx(exponent, abs=0.15)
        assert verdict.witness[f"{name}_low"] < verdict.witness[f"{name}_high"]


@pytest.mark.parametrize(("exponent", "judgement"), [(-2.0, HOLDS), (-1.0, FAILS), (0.0, FAILS)])
def test_n_alone_has_an_exponent_of_its_own(
    save: Save, exponent: float, judgement: Judgement
) -> None:
    rows = sized(exponent, 0.0, ((4, 8), (8, 8), (16, 8)))
    for row in rows:
        del row["width"]
    (verdict,) = judge(save(rows)).together
    assert verdict.statement == "c* grows as n^-2"
    assert verdict.judgement is judgement
    assert verdict.witness["n"] == pytest.approx(exponent, abs=0.15)


def test_rivals_that_fit_as_well_leave_it_open(save: Save) -> None:
    rows = []
    for k, n in enumerate((8, 10)):  # hardly different sizes
        curve = 0.8 - 0.0004 * (GRID + 4.0) ** 2
        rows += rows_of(curve, seeds=9, noise=0.002, generator=k, n=n)
    (verdict,) = judge(save(rows)).together
    assert verdict.judgement is INCONCLUSIVE
    assert "angle at the onset of fitting" in verdict.reason


def test_sizes_without_a_best_c_are_left_out_and_said(save: Save) -> None:
    rows = rows_of(planted_u(), n=10) + rows_of(0.7 + 0.01 * GRID, n=20)
    (verdict,) = judge(save(rows)).together
    assert verdict.judgement is INCONCLUSIVE
    assert "best c at two sizes" in verdict.reason
    assert "1 of 2 sizes left out" in verdict.evidence


def test_p_values_of_several_sizes_are_adjusted_too(save: Save) -> None:
    rows = rows_of(planted_u(depth=0.04), n=10) + rows_of(planted_u(depth=0.04), n=20)
    found = judge(save(rows))
    for verdicts in found.by_size.values():
        for verdict in verdicts[1:]:
            assert verdict.witness["p_adjusted"] == pytest.approx(4 * 2.0**-8)
            assert "adjusted for 4 tests" in verdict.evidence


# --------------------------------------------------------------------------------- predictions


def test_of_one_size_nothing_is_predicted(save: Save) -> None:
    found = judge(save(rows_of(planted_u(depth=0.04))))
    (verdict,) = found.predicted
    assert verdict.judgement is OUT_OF_SCOPE
    assert "one size" in verdict.reason
    assert "calibrated on all runs:\n  what the two-layer theory predicts" in str(found)


@pytest.mark.parametrize(("exponent", "judgement"), [(-1.0, HOLDS), (0.5, FAILS)])
def test_other_sizes_are_predicted_from_one(
    save: Save, exponent: float, judgement: Judgement
) -> None:
    rows = sized(exponent, 0.0, ((4, 8), (16, 8), (16, 32)))
    found = judge(save(rows))
    assert found.calibrated_on == Size(4, 8)
    verdicts = by_name(found.predicted)
    assert len(verdicts) == 5 * 2, "five predictions for each of the two other sizes"
    for there in ("n = 16, width = 8", "n = 16, width = 32"):
        assert verdicts[f"best c at {there} within an octave"].judgement is judgement
        assert verdicts[f"best c at {there} moves as predicted"].judgement is judgement


def test_the_size_to_calibrate_on_can_be_named(save: Save, capsys: Any) -> None:
    path = save(sized(-1.0, 0.0, ((4, 8), (16, 8))))
    code, out, err = run(capsys, "judge", str(path), "--calibrate-on", "n=16, width=8")
    assert (code, err) == (0, "")
    assert "calibrated on n = 16, width = 8:" in out
    assert "best c at n = 4, width = 8 moves as predicted: holds (ours)" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n=7,width=8", "no runs have n = 7, width = 8.*there are n = 4, width = 8; n = 16"),
        ("n=4", "no runs have n = 4, to"),
        ("depth=3", "'depth=3' is no size; expected"),
        ("n=many", "'n=many' is no size"),
        ("n=4,n=16", "'n=4,n=16' is no size"),
        ("", "'' is no size"),
    ],
)
def test_a_size_that_is_not_there_is_refused(
    save: Save, text: str, message: str, capsys: Any
) -> None:
    path = save(sized(-1.0, 0.0, ((4, 8), (16, 8))))
    with pytest.raises(ProblemError, match=message):
        judge(path, calibrate_on=Size.from_text(text))
    code, out, _ = run(capsys, "judge", str(path), "--calibrate-on", text)
    assert code == 2
    assert "calibrated" not in out


def test_sizes_may_lack_a_number() -> None:
    tables = [sweep_table(planted_u(depth=0.04)) for _ in range(2)]
    found = judge(Runs(dict(zip((Size(n=250, width=64), Size(width=128)), tables, strict=True))))
    assert found.calibrated_on == Size(n=250, width=64)


def test_a_size_without_a_best_c_cannot_calibrate(save: Save) -> None:
    rows = rows_of(0.7 + 0.01 * GRID, n=10) + rows_of(planted_u(depth=0.04), n=20)
    (verdict,) = judge(save(rows)).predicted
    assert verdict.judgement is OUT_OF_SCOPE
    assert "extend the grid" in verdict.reason


def test_a_size_whose_seeds_differ_is_not_held_against_the_theory(save: Save) -> None:
    rows = rows_of(planted_u(depth=0.04), n=10)
    apart = [row | {"n": 20, "seed": at} for at, row in enumerate(rows_of(planted_u(), seeds=3))]
    (verdict,) = judge(save([*rows, *apart])).predicted
    assert verdict.judgement is INCONCLUSIVE
    assert "n = 20" in verdict.statement


def recorded(study: str) -> list[dict[str, Any]]:
    """Runs of a study, of networks of three layers with the labels of the data."""
    with (RECORDED / study / "results" / "runs.csv").open(encoding="utf-8") as file:
        return [
            {"c": 2.0 ** float(row["log2_output_multiplier"])}
            | {name: row[name] for name in ("learning_rate", "seed", "test_accuracy", "outcome")}
            | {name: row[name] for name in ("n", "width") if name in row}
            for row in csv.DictReader(file)
            if row["task"] == "given" and row.get("network", "three layers") == "three layers"
        ]


def test_recorded_sizes_are_judged_as_in_their_study(save: Save) -> None:
    (verdict,) = judge(save(recorded("scaling_transfer"))).together
    assert verdict.judgement is FAILS
    assert verdict.witness["n_low"] > -2.0


def test_the_example_is_recorded_and_judged_as_its_page_says() -> None:
    path = ROOT / "docs" / "example_runs.csv"
    with path.open(encoding="utf-8") as file:
        rows = [row | {"c": float(row["c"])} for row in csv.DictReader(file)]
    assert rows == recorded("u_curve_synthetic")
    page = (ROOT / "docs" / "deepnets.md").read_text("utf-8")
    assert all(line in page for line in path.read_text("utf-8").splitlines()[:3])
    (verdicts,) = judge(path).by_size.values()
    assert all(f"    {verdict}\n" in page for verdict in verdicts)


# ------------------------------------------------------------------------------------ the file


def test_percent_and_fractions_are_recognised_and_said(save: Save) -> None:
    rows = rows_of(planted_u(depth=0.04))
    percent = [row | {"test_accuracy": 100.0 * row["test_accuracy"]} for row in rows]
    notes = [read_runs(save(each)).notes for each in (rows, percent)]
    assert "as fractions" in notes[0][1]
    assert "as percent" in notes[1][1]
    found = [judge(save(each)).by_size[Size()] for each in (rows, percent)]
    assert [v.judgement for v in found[0]] == [v.judgement for v in found[1]]
    assert found[0][0].witness == pytest.approx(found[1][0].witness)


def test_one_percent_of_a_hundred_classes_can_be_said(save: Save) -> None:
    path = save(f"{HEAD}\n1,0.1,0,1.0\n2,0.1,0,52.0\n")
    with pytest.raises(DataFileError, match=r"line 2 .* line 3 .* mixed.*--unit percent"):
        read_runs(path)
    accuracy = read_runs(path, unit="percent").tables[Size()].test_accuracy
    assert accuracy.values.ravel() == pytest.approx([0.01, 0.52])


def test_a_file_of_a_spreadsheet_is_read(save: Save) -> None:
    """With a byte-order mark, other line ends, blank lines, spaces, quotes and columns."""
    text = f'\ufeff{HEAD.replace(",", ", ")},comment\r\n1,.1,0,.5,\r\n\r\n2,1e-1,0,0.6,"a, b"\r\n'
    runs = read_runs(save(text))
    assert runs.tables[Size()].test_accuracy.values.ravel().tolist() == [0.5, 0.6]
    assert "columns not used: comment" in runs.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds nothing"),
        ("\n\n", "holds nothing"),
        (f"{HEAD}\n", "no runs"),
        ("c,lr,seed,test_acc\n1,1,1,.5\n", "'learning_rate' .is it 'lr'. rename it"),
        ("c,lr,seed,test_acc\n1,1,1,.5\n", "'test_accuracy' .is it 'test_acc'. rename it"),
        ("C,learning_rate,seed,test_accuracy\n1,1,1,.5\n", "'c' .is it 'C'. rename it"),
        ("log2_c,learning_rate,seed,test_accuracy\n1,1,1,.5\n", "its logarithm"),
        ("a,b\n1,2\n", "no column 'c'; no column 'learning_rate'.*the columns are a, b"),
        ("c;learning_rate;seed;test_accuracy\n1;1;1;0,5\n", "semicolons; expected commas"),
        (f"{HEAD},c\n1,1,1,1,1\n", "two columns have the name 'c'"),
        (f"{HEAD}\n1,1,1\n", "line 2 has 3 columns, the line of names has 4"),
        (f"{HEAD}\n1,1,1,.5\n\n2,1,x,.5\n", "line 4, column 'seed' holds 'x'"),
        (f"{HEAD}\n1,1,1,.5\ntwo,1,1,.5\n", "line 3, column 'c' holds 'two'"),
        (f"{HEAD}\ninf,1,1,.5\n", "line 2, column 'c' holds 'inf'"),
        (f"{HEAD}\n0,1,1,.5\n", "line 2: c is 0; it must be positive"),
        (f"{HEAD}\n-2,1,1,.5\n", "line 2: c is -2"),
        (f"{HEAD}\n1,0,1,.5\n", "learning_rate is 0"),
        (f"{HEAD}\n1,1,1.5,.5\n", "seed is 1.5; it must be a whole number"),
        (f"{HEAD},n\n1,1,1,.5,0\n", "n is 0; it must be positive"),
        (f"{HEAD},width\n1,1,1,.5,\n", "column 'width' holds ''"),
        (f"{HEAD}\n1,1,1,\n", "holds no number; if the run broke down"),
        (f"{HEAD},outcome\n1,1,1,.5,DONE\n", "'DONE', expected REACHED, BUDGET"),
        (f"{HEAD},outcome\n1,1,1,,STUCK\n2,1,1,,STUCK\n", "no run has a test accuracy"),
        (f"{HEAD}\n1,1,1,.5\n1.0,1,1,.6\n", "lines 2 and 3 are the same run: seed 1"),
        (f"{HEAD}\n1,1,1,.5\n1,1,2,.6\n", "every run has c = 1; nothing to compare"),
        (f"{HEAD},n\n1,1,1,.5,4\n2,1,1,.5,4\n1,1,1,.5,8\n", "n = 8: every run has c = 1"),
        (f"{HEAD}\n1,1,1,.5\n2,1,1,55\n", "fractions and percent are mixed"),
        (f"{HEAD}\n1,1,1,50\n2,1,1,155\n", "155 is not between 0 and 100"),
        (f"{HEAD}\n1,1,1,-.5\n2,1,1,.5\n", "-0.5 is not between 0 and 1"),
        (f'{HEAD}\n1,1,1,"5\n', "not a CSV file"),
        (b"c,learning_rate,seed,test_accuracy\n1,1,1,.5 \xff\n", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused(
    save: Save, text: str | bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(text)
    with pytest.raises(DataFileError, match=message) as caught:
        read_runs(path)
    assert str(caught.value).startswith(f"{path}: ")
    code, out, err = run(capsys, "judge", str(path))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", [".", "missing.csv"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataFileError, match="cannot be read"):
        read_runs(tmp_path / name)


# ------------------------------------------------------------------------------------- command


def test_the_command_prints_curves_and_verdicts(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "judge", str(save(rows_of(planted_u(depth=0.04)))))
    assert (code, err) == (0, "")
    assert "runs: 144" in out
    assert "2^-12" in out
    assert "16/16" in out
    assert "dip at small c: holds (paper); p < .01" in out


@pytest.mark.parametrize("curve", [np.full(GRID.size, 0.7), 0.7 + 0.01 * GRID])
def test_verdicts_of_every_kind_end_with_zero(
    save: Save, curve: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "judge", str(save(rows_of(curve, seeds=2))))
    assert code == 0
    assert "inconclusive" in out


def test_the_command_does_without_torch(save: Save) -> None:
    path = save(rows_of(planted_u()))
    code = (
        "import sys; from overalign.cli import main\n"
        f"try: main(['judge', {str(path)!r}])\n"
        "except SystemExit as stop: sys.exit(stop.code or ('torch' in sys.modules) * 3)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begin < 30.0
