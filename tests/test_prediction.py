"""The calibrated theory: what it fits, what it says elsewhere, and what its verdicts are worth."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from sweep_tables import GRID, planted_theory, sweep_table

from overalign.deepnet.statistics import Side
from overalign.errors import ProblemError
from overalign.inference import Estimate
from overalign.prediction import (
    LOG2_C,
    REFERENCE,
    SOLVED,
    STEP,
    Calibrated,
    MeasuredCurve,
    TheorySetting,
    calibrate,
    dip_verdict,
    read_theory_curves,
    sign_verdict,
    theory_curve,
    write_theory_curves,
)
from overalign.problem import Network
from overalign.verdicts import Judgement, Verdict

HOLDS, FAILS = Judgement.HOLDS, Judgement.FAILS
INCONCLUSIVE, OUT_OF_SCOPE = Judgement.INCONCLUSIVE, Judgement.OUT_OF_SCOPE
ENDS = (float(GRID[0]), float(GRID[-1]))


def measured(
    at: float = -4.0, small: float = 0.08, large: float = 0.08, **how: Any
) -> MeasuredCurve:
    """Runs with c* at 2^at, and parabolas that are so deep eight octaves below and above it."""
    depth = np.where(at > GRID, small, large)
    curve = 0.8 - depth * ((GRID - at) / 8.0) ** 2
    return MeasuredCurve.of(sweep_table(curve, **{"noise": 0.001} | how))


def calibrated(**theory: Any) -> Calibrated:
    return calibrate(measured(), curve_of=planted_theory(**theory))


def by_kind(theory: Calibrated, there: MeasuredCurve, **ratios: float) -> dict[str, Verdict]:
    kinds = ("small", "large", "deeper", "octave", "moves")
    return dict(zip(kinds, theory.verdicts(there, ratios), strict=True))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- the theory


@pytest.mark.parametrize("setting", [REFERENCE, TheorySetting(width=16, dimension=5, kappa=3.0)])
def test_the_unit_of_c_is_the_initial_output(setting: TheorySetting) -> None:
    random = np.random.default_rng(0)
    outputs = []
    for seed in range(400):
        network = Network.random(setting.width, setting.dimension, seed)
        labels = random.choice([-1.0, 1.0], 50)
        x = random.standard_normal((50, setting.dimension))
        x[:, 0] += setting.kappa * labels
        outputs.append(np.maximum(x @ network.weights.T, 0.0) @ network.sign)
    found = 0.5 * math.log2(np.mean(np.square(outputs)))
    assert found == pytest.approx(setting.log2_unit, abs=0.1)


def test_the_sweep_covers_the_grid_of_c() -> None:
    setting = TheorySetting(width=100, dimension=7)
    log2_alpha = setting.sweep.log_alphas / math.log(2.0)
    assert 2.0 * log2_alpha + setting.log2_unit == pytest.approx(LOG2_C)
    setting.sweep.check()


def test_a_setting_is_multiplied_where_it_is_asked_for() -> None:
    larger = REFERENCE.times({"n": 4.0, "width": 0.25})
    assert (larger.n, larger.width, larger.dimension) == (200, 16, REFERENCE.dimension)


def test_a_solved_curve_is_the_models_own() -> None:
    """Paired networks have nothing to lose at large c, others do; Psi falls with c."""
    small = TheorySetting(n=12, width=16, dimension=8, kappa=1.5, sets=4, eta=0.1)
    curve, paired = theory_curve(small), theory_curve(replace(small, paired=True))
    assert theory_curve(small) is curve, "solved once"
    falls = [
        each.accuracy.mean(axis=0).max() - each.accuracy[:, -1].mean() for each in (curve, paired)
    ]
    assert falls[0] > 0.03 > falls[1]
    assert curve.alignment[:, 0].mean() > curve.alignment[:, -1].mean() + 0.1


def test_the_curves_of_the_package_are_those_of_their_settings() -> None:
    """All counterparts of a study come solved, and the smallest is solved here again."""
    there = read_theory_curves(SOLVED, REFERENCE)
    larger = [REFERENCE.times({name: STEP}) for name in ("n", "width", "dimension")]
    assert set(there) == {REFERENCE, *larger, replace(REFERENCE, paired=True)}
    assert theory_curve() is theory_curve(REFERENCE)
    # a data set does not depend on how many others there are
    few = theory_curve(replace(REFERENCE, sets=3))
    assert there[REFERENCE].log2_c == pytest.approx(few.log2_c)
    assert there[REFERENCE].accuracy[:3] == pytest.approx(few.accuracy, abs=1e-4)
    assert there[REFERENCE].alignment[:3] == pytest.approx(few.alignment, abs=1e-3)


def test_curves_that_are_written_are_read(tmp_path: Path) -> None:
    curve_of = planted_theory(sets=REFERENCE.sets)
    curves = {each: curve_of(each) for each in (REFERENCE, REFERENCE.times({"width": STEP}))}
    write_theory_curves(tmp_path / "curves.csv", curves)
    found = read_theory_curves(tmp_path / "curves.csv", REFERENCE)
    assert list(found) == list(curves)
    for setting, curve in curves.items():
        assert found[setting].log2_c == pytest.approx(curve.log2_c)
        assert found[setting].accuracy == pytest.approx(curve.accuracy, abs=1e-6)
        assert found[setting].alignment == pytest.approx(curve.alignment, abs=1e-6)


# -------------------------------------------------------------------------------- the calibration


def test_where_it_was_fitted_the_theory_says_what_was_measured() -> None:
    here = measured()
    theory = calibrate(here, curve_of=planted_theory(small=0.04, large=0.02))
    said = theory.predict(here.ends)
    assert theory.shift == pytest.approx(4.0, abs=0.2)
    assert said.log2_c.value == pytest.approx(here.best.log2_c)  # type: ignore[union-attr]
    both = here.test.left.difference + here.test.right.difference
    assert said.small.value + said.large.value == pytest.approx(both, rel=0.02)
    assert said.alignment.value == pytest.approx(0.08, abs=0.005)  # eight octaves below c*


@pytest.mark.parametrize(("ratio", "steps"), [(4.0, 1.0), (16.0, 2.0), (2.0, 0.5), (0.25, -1.0)])
def test_what_a_size_changes_is_linear_in_its_logarithm(ratio: float, steps: float) -> None:
    theory = calibrated(n=-0.7, width=-0.2)
    here = theory.predict(ENDS).log2_c.value
    there = theory.predict(ENDS, {"n": ratio}).log2_c.value
    assert there - here == pytest.approx(-0.7 * math.log2(STEP) * steps, abs=0.3)
    both = theory.predict(ENDS, {"n": ratio, "width": ratio}).log2_c.value
    assert both - there == pytest.approx(-0.2 * math.log2(STEP) * steps, abs=0.3)


def test_beyond_the_grid_of_the_theory_its_end_counts() -> None:
    theory = calibrated()
    far, end = (theory.predict((low, 4.0)) for low in (-60.0, LOG2_C[0] + theory.shift))
    assert far.small == pytest.approx(end.small)


@pytest.mark.parametrize(
    ("here", "theory", "message"),
    [
        ({"at": 9.0}, {}, "highest at an end of the grid"),
        ({}, {"small": -0.2}, "highest at an end of its grid"),
        ({}, {"small": 0.002, "large": 0.002}, "a scale needs 0.01 of both"),
        ({}, {"small": 0.0, "large": 0.0, "noise": 1e-9}, "its grid|a scale needs 0.01"),
    ],
)
def test_without_a_u_there_is_nothing_to_calibrate(
    here: dict[str, Any], theory: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProblemError, match=message):
        calibrate(measured(**here), curve_of=planted_theory(**theory))


# ----------------------------------------------------------------------------------- the verdicts


def test_runs_that_follow_the_theory_are_predicted() -> None:
    theory = calibrated(n=-1.0, large=0.08)
    found = by_kind(theory, measured(at=-6.0, large=0.12), n=4.0)
    assert {kind: verdict.judgement for kind, verdict in found.items()} == {
        "small": HOLDS, "large": HOLDS, "deeper": HOLDS, "octave": HOLDS, "moves": HOLDS
    }  # fmt: skip
    assert {verdict.provenance for verdict in found.values()} == {"ours"}


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("small", {"at": -6.0, "small": 0.0}),
        ("large", {"at": -6.0, "large": 0.002}),
        ("deeper", {"at": -6.0, "small": 0.5, "large": 0.02}),
        ("octave", {"at": -2.0}),
        ("moves", {"at": -4.0}),
    ],
)
def test_runs_that_do_not_follow_it_refute_that_prediction(
    kind: str, there: dict[str, Any]
) -> None:
    theory = calibrated(n=-1.0, large=0.08)
    assert by_kind(theory, measured(**there), n=4.0)[kind].judgement is FAILS


def test_a_best_c_at_an_end_leaves_its_movement_open() -> None:
    found = by_kind(calibrated(), measured(at=9.0), n=4.0)
    assert found["octave"].judgement is found["moves"].judgement is INCONCLUSIVE
    assert "extend the grid" in found["moves"].reason


def test_a_theory_that_says_no_movement_does_not_predict_any() -> None:
    found = by_kind(calibrated(n=0.0), measured(at=-4.0), n=4.0)
    assert found["octave"].judgement is HOLDS
    assert found["moves"].judgement is OUT_OF_SCOPE


def test_few_seeds_decide_nothing() -> None:
    found = by_kind(calibrated(n=-1.0, large=0.08), measured(at=-6.0, seeds=4, noise=0.05), n=4.0)
    assert found["small"].judgement is found["large"].judgement is INCONCLUSIVE
    assert found["octave"].judgement is INCONCLUSIVE
    assert "14 seeds" in found["small"].reason


def test_the_theory_without_initial_function_says_no_dip_at_large_c() -> None:
    said = calibrated().predict(ENDS, paired=True).large
    there = measured(large=0.08).test.right
    assert dip_verdict("paired", said, there).judgement is FAILS
    assert dip_verdict("paired", said, measured(large=0.0).test.right).judgement is HOLDS


def test_without_an_end_of_the_runs_it_is_the_runs_that_are_too_few() -> None:
    nothing = Side(*[math.nan] * 5, 0, 0, INCONCLUSIVE, "0 pairs; p < .01 needs 8")
    verdict = dip_verdict("dip", Estimate(*[math.nan] * 3), nothing)
    assert (verdict.judgement, verdict.reason) == (INCONCLUSIVE, nothing.reason)


@pytest.mark.parametrize(
    ("predicted", "side", "judgement"),
    [
        ((0.02, 0.012, 0.03), (0.03, 0.02, 0.04), HOLDS),
        ((0.02, 0.012, 0.03), (0.004, 0.0, 0.008), FAILS),
        ((0.02, 0.012, 0.03), (0.012, 0.0, 0.024), INCONCLUSIVE),
        ((0.002, 0.0, 0.004), (0.004, 0.0, 0.008), HOLDS),
        ((0.002, 0.0, 0.004), (0.03, 0.02, 0.04), FAILS),
        ((0.02, 0.005, 0.03), (0.03, 0.02, 0.04), OUT_OF_SCOPE),
    ],
)
def test_dips_of_a_point(
    predicted: tuple[float, float, float], side: tuple[float, float, float], judgement: Judgement
) -> None:
    there = Side(-12.0, *side, 0.004, 8, 0, HOLDS, "p < .01")
    verdict = dip_verdict("dip", Estimate(*predicted), there)
    assert verdict.judgement is judgement
    assert "points" in verdict.evidence
    if judgement is FAILS and side[2] < 0.01:  # a dip may lie beyond what was trained
        beyond = Side(-12.0, *side, 0.004, 8, 2, HOLDS, "p < .01")
        assert dip_verdict("dip", Estimate(*predicted), beyond).judgement is INCONCLUSIVE


@pytest.mark.parametrize(
    ("predicted", "there", "judgement"),
    [
        ((0.2, 0.1, 0.3), (0.1, 0.05, 0.15), HOLDS),
        ((-0.2, -0.3, -0.1), (-0.1, -0.15, -0.05), HOLDS),
        ((-0.2, -0.3, -0.1), (0.1, 0.05, 0.15), FAILS),
        ((0.2, 0.1, 0.3), (0.1, -0.05, 0.25), INCONCLUSIVE),
        ((0.2, -0.1, 0.5), (0.1, 0.05, 0.15), OUT_OF_SCOPE),
        ((0.2, 0.1, 0.3), (math.nan,) * 3, INCONCLUSIVE),
    ],
)
def test_signs(
    predicted: tuple[float, float, float], there: tuple[float, float, float], judgement: Judgement
) -> None:
    verdict = sign_verdict("a sign", Estimate(*predicted), Estimate(*there))
    assert verdict.judgement is judgement
