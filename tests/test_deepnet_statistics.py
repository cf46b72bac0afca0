"""Statistics of sweeps: no dip where there is none, and one where it was planted."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from sweep_tables import GRID, planted_u, sweep_table

import overalign as oa
from overalign.deepnet.statistics import (
    control,
    dispersion,
    gain,
    summary,
    trained,
    u_curve,
)

HOLDS, FAILS = oa.Judgement.HOLDS, oa.Judgement.FAILS
INCONCLUSIVE, OUT_OF_SCOPE = oa.Judgement.INCONCLUSIVE, oa.Judgement.OUT_OF_SCOPE
BOTH = ("given", "linear_teacher")


# --------------------------------------------------------------------------- error rates


def test_a_flat_curve_has_no_dip_in_99_sweeps_of_100() -> None:
    generator = np.random.default_rng(42)
    sides = []
    for _ in range(400):
        found = u_curve(sweep_table(np.full(9, 0.75), generator=generator))
        sides.append([found.left.judgement is HOLDS, found.right.judgement is HOLDS])
    allowed = 0.01 + 3.0 * math.sqrt(0.01 * 0.99 / 400)
    assert (np.mean(sides, axis=0) <= allowed).all()


def test_choosing_and_testing_on_the_same_seeds_would_find_a_u_in_noise() -> None:
    """What the split is for: the naive test rejects far more often."""
    generator, naive = np.random.default_rng(43), 0
    for _ in range(100):
        values = sweep_table(np.full(9, 0.75), generator=generator).test_accuracy.values[0, :, 0]
        best = values.mean(axis=0).argmax()
        naive += scipy.stats.ttest_rel(values[:, best], values[:, 0]).pvalue < 0.1
    assert naive > 10  # of 100, at a one-sided level of .05


def test_a_planted_dip_is_found() -> None:
    generator = np.random.default_rng(1)
    found = [u_curve(sweep_table(planted_u(), generator=generator)) for _ in range(50)]
    assert np.mean([each.judgement is HOLDS for each in found]) >= 0.9
    inside = [each.left.low <= 0.02 <= each.left.high for each in found if each.log2_best == -4]
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize(("sign", "flat", "falls"), [(1, "right", "left"), (-1, "left", "right")])
def test_a_monotone_curve_dips_on_one_side_only(sign: int, flat: str, falls: str) -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        found = u_curve(sweep_table(0.7 + sign * 0.01 * GRID, generator=generator))
        assert getattr(found, flat).judgement is FAILS
        assert "end itself" in getattr(found, flat).reason
        assert getattr(found, falls).judgement is HOLDS
        assert found.judgement is FAILS


def test_intervals_cover() -> None:
    generator = np.random.default_rng(3)
    tests = [u_curve(sweep_table(planted_u(depth=0.04), generator=generator)) for _ in range(200)]
    covered = [each.right.low <= 0.16 <= each.right.high for each in tests if each.log2_best == -4]
    assert len(covered) > 150
    assert abs(np.mean(covered) - 0.95) < 3.0 * math.sqrt(0.95 * 0.05 / len(covered))


# ------------------------------------------------------------------------------ the halves


def test_the_choice_does_not_see_the_testing_half() -> None:
    table = sweep_table(planted_u(), noise=0.001)
    before = u_curve(table)
    table.test_accuracy[0, 1::2, 0, 7] = 0.99  # the testing half likes another c
    after = u_curve(table)
    assert before.log2_best == after.log2_best == -4.0
    assert after.right.difference == before.right.difference
    table.test_accuracy[0, 0::2, 0, 7] = 0.99
    assert u_curve(table).log2_best == 2.0


def test_the_difference_is_that_of_the_testing_half() -> None:
    table = sweep_table(planted_u(), noise=0.001)
    found = u_curve(table)
    values = table.test_accuracy.values[0, 1::2, 0]
    differences = values[:, 4] - values[:, 0]
    assert found.left.difference == pytest.approx(differences.mean(), rel=1e-12)
    expected = scipy.stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found.left.low, found.left.high) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize(("seeds", "judgement"), [(14, HOLDS), (13, INCONCLUSIVE), (1, None)])
def test_too_few_seeds_are_said_and_never_judged(seeds: int, judgement: object) -> None:
    found = u_curve(sweep_table(planted_u(), seeds=seeds, noise=1e-4))
    assert found.left.judgement is (judgement or INCONCLUSIVE)
    if found.judgement is INCONCLUSIVE:
        assert "14 seeds" in str(found)
    assert found.choosing + found.testing == seeds


def test_untrained_runs_are_no_ends() -> None:
    table = sweep_table(planted_u())
    table.outcome[0, 4, 0, 8] = "BUDGET"  # one run of the choosing half
    table.outcome[0, 2, 0, 0] = "STUCK"
    table.outcome[0, 6, 0, 1] = "DIVERGED"
    found = u_curve(table)
    assert (found.left.log2_end, found.left.left_out) == (-8.0, 2)
    assert (found.right.log2_end, found.right.left_out) == (2.0, 1)
    assert "2 c beyond it left out" in str(found)


@pytest.mark.parametrize(
    ("curve", "reason"), [(0.8 - 0.01 * GRID, "end itself"), (np.full(9, 0.75), "ruled out")]
)
def test_a_dip_beyond_what_was_tested_is_not_denied(curve: np.ndarray, reason: str) -> None:
    table = sweep_table(curve, noise=0.0001)
    whole = u_curve(table).left
    assert (whole.judgement, whole.left_out) == (FAILS, 0)
    assert reason in whole.reason
    table.outcome[0, 0, 0, :5] = "STUCK"
    part = u_curve(table).left
    assert (part.judgement, part.left_out) == (INCONCLUSIVE, 5)
    assert reason in part.reason
    assert "may be beyond" in str(part)


def test_untrained_runs_of_the_testing_half_are_no_pairs() -> None:
    table = sweep_table(planted_u())
    table.outcome[0, 3, 0, 0] = "BUDGET"
    table.test_accuracy[0, 3, 0, 0] = 0.1
    found = u_curve(table)
    assert (found.left.pairs, found.right.pairs) == (7, 8)
    assert found.left.high < 0.1  # the untrained network was not compared
    table.outcome[0, 5, 0, 0] = "BUDGET"
    assert u_curve(table).left.judgement is INCONCLUSIVE


def test_without_a_target_the_budget_is_the_end_of_training() -> None:
    table = sweep_table(planted_u())
    table["outcome"] = table.outcome.where(table.outcome != "REACHED", "BUDGET")
    assert not trained(table).any()
    nothing = u_curve(table)
    assert nothing.judgement is INCONCLUSIVE
    assert math.isnan(nothing.log2_best)
    assert "at no c" in str(nothing)
    table.attrs["settings"] = json.dumps({"training": {"stop_accuracy": None, "stop_risk": None}})
    assert trained(table).all()
    assert u_curve(table).judgement is HOLDS
    to_the_turn = {"stop_accuracy": None, "stop_risk": None, "patience": 3}
    table.attrs["settings"] = json.dumps({"training": to_the_turn})
    assert not trained(table).any()


def test_seeds_with_missing_runs_keep_the_halves_apart() -> None:
    table = sweep_table(planted_u(), seeds=18)
    whole = u_curve(table)
    table.test_accuracy[0, 5] = math.nan
    table.outcome[0, 5] = math.nan
    part = u_curve(table)
    assert (part.choosing, part.testing, part.incomplete) == (9, 8, 1)
    assert part.log2_best == whole.log2_best
    assert "1 seeds with missing runs" in str(part)


# ------------------------------------------------------------------------- learning rates


def test_the_best_learning_rate_at_each_c_is_chosen_on_one_half() -> None:
    tilt = 0.0095 * GRID  # a small rate is better at small c, a large one at large c
    curve = np.stack([planted_u() - tilt - 0.1, planted_u(), planted_u() + tilt - 0.1])[None, None]
    table = sweep_table(curve, rates=(0.001, 0.01, 0.1), noise=0.002)
    best, fixed = u_curve(table), u_curve(table, learning_rate=0.01)
    assert best.rates == 3
    assert "Best of 3 learning rates" in str(best)
    # at the left end the small rate gains 1.4 points of the dip of two
    assert fixed.left.difference == pytest.approx(0.02, abs=0.003)
    assert best.left.difference == pytest.approx(0.006, abs=0.003)
    assert best.learning_rate == fixed.learning_rate == 0.01


def test_a_learning_rate_that_diverges_cannot_be_chosen() -> None:
    curve = np.stack([planted_u(), planted_u() + 0.1])[None, None]
    table = sweep_table(curve, rates=(0.01, 0.1))
    table.outcome[0, 0, 1] = "DIVERGED"
    assert u_curve(table).learning_rate == 0.01
    assert u_curve(table, learning_rate=0.1).judgement is INCONCLUSIVE


# --------------------------------------------------------------------------------- control


def both_tasks(control_curve: np.ndarray, noise: float = 0.005, **options: int) -> object:
    curve = np.stack([planted_u(), control_curve])[:, None, None]
    return control(sweep_table(curve, tasks=BOTH, noise=noise, **options))  # type: ignore[arg-type]


def test_a_control_that_likes_small_c_holds() -> None:
    found = both_tasks(0.8 - 0.01 * GRID)
    assert found.judgement is HOLDS  # type: ignore[attr-defined]
    assert "as deep as that of the given labels is ruled out" in str(found)


def test_a_flat_control_holds() -> None:
    assert both_tasks(np.full(9, 0.8)).judgement is HOLDS  # type: ignore[attr-defined]


def test_a_control_with_a_dip_of_its_own_fails() -> None:
    assert both_tasks(planted_u(at=-6.0)).judgement is FAILS  # type: ignore[attr-defined]


def test_a_control_that_was_not_tested_at_the_same_small_c_says_nothing() -> None:
    curve = np.stack([planted_u(), 0.8 - 0.01 * GRID])[:, None, None]
    table = sweep_table(curve, tasks=BOTH)
    assert control(table).judgement is HOLDS
    table.outcome[1, :, 0, :4] = "BUDGET"
    found = control(table)
    assert found.judgement is INCONCLUSIVE
    assert "down to c = 2^-4, the given labels down to 2^-12" in str(found)
    table.outcome[0, :, 0, :4] = "BUDGET"  # nor were the given labels
    assert control(table).judgement is OUT_OF_SCOPE
    table.outcome[1] = "STUCK"
    assert "2^nan" not in str(control(table))


def test_dips_are_told_apart_only_if_their_intervals_are() -> None:
    noise = np.array([0.012, 0.005])[:, None, None, None]  # of the given labels, of the control
    curve = np.stack([planted_u(at=2.0, depth=0.022), planted_u(at=2.0, depth=0.003)])
    found = control(sweep_table(curve[:, None, None], tasks=BOTH, noise=noise, generator=3))
    given, taught = found.given.left, found.control.left
    assert (given.judgement, taught.judgement) == (HOLDS, INCONCLUSIVE)
    assert given.low < taught.high < given.difference
    assert found.judgement is INCONCLUSIVE


def test_a_noisy_control_says_nothing() -> None:
    noise = np.array([0.002, 0.1])[:, None, None, None]
    curve = np.stack([planted_u(), planted_u(depth=0.005, at=0.0)])[:, None, None]
    found = control(sweep_table(curve, tasks=BOTH, noise=noise, generator=5))
    assert found.control.left.judgement is INCONCLUSIVE
    assert found.judgement is INCONCLUSIVE


def test_without_a_dip_there_is_nothing_to_control() -> None:
    curve = np.stack([np.full(9, 0.8), 0.8 - 0.01 * GRID])[:, None, None]
    found = control(sweep_table(curve, tasks=BOTH, noise=0.001))
    assert found.judgement is OUT_OF_SCOPE


def test_a_control_of_few_seeds_says_nothing() -> None:
    assert both_tasks(0.8 - 0.01 * GRID, seeds=8).judgement is OUT_OF_SCOPE  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- dispersion and gain


def test_variance_and_its_interval() -> None:
    table = sweep_table(planted_u())
    found = dispersion(table)
    values = table.test_accuracy.values[0, :, 0]
    np.testing.assert_allclose(found.variance, values.var(axis=0, ddof=1), rtol=1e-12)
    law = scipy.stats.chi2(15)
    np.testing.assert_allclose(found.low, 15 * found.variance / law.ppf(0.975), rtol=1e-9)
    np.testing.assert_allclose(found.high, 15 * found.variance / law.ppf(0.025), rtol=1e-9)


def test_the_largest_variance_is_placed_against_the_best_c() -> None:
    noise, drop = np.full(9, 0.001), np.zeros(9)
    noise[6], drop[6] = 0.1, 0.3
    found = dispersion(sweep_table(planted_u() - drop, noise=noise))
    assert (found.log2_largest, found.log2_best) == (0.0, -4.0)
    assert "at c = 2^0, 2^4 above the best c = 2^-4" in str(found)


def test_variance_is_that_of_trained_runs() -> None:
    table = sweep_table(planted_u())
    table.outcome[0, ::2, 0, 8] = "DIVERGED"
    table.outcome[0, 2:, 0, 0] = "BUDGET"
    table.test_accuracy[0, ::2, 0, 8] = math.nan
    found = dispersion(table)
    assert found.runs.tolist() == [2, 16, 16, 16, 16, 16, 16, 16, 8]
    expected = table.test_accuracy.values[0, 1::2, 0, 8].var(ddof=1)
    assert found.variance[8] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(found.variance[0])


def test_gain_over_one() -> None:
    table = sweep_table(planted_u(depth=0.04), noise=0.001)
    found = gain(table)
    values = table.test_accuracy.values[0, 1::2, 0]
    assert (found.log2_best, found.log2_reference) == (-4.0, 0.0)
    assert found.value == pytest.approx((values[:, 4] - values[:, 6]).mean(), rel=1e-12)
    table.outcome[0, 0, 0, 6] = "DIVERGED"
    assert gain(table).log2_reference == -2.0  # the nearest there is
    assert "over c = 2^-2" in str(gain(table))
    at_one = gain(sweep_table(planted_u(at=0.0, depth=0.1), noise=0.001))
    assert str(at_one) == "Gain over c = 1: none, the best c is 1."


def test_gain_of_noise_is_zero_on_average() -> None:
    """The best of nine on the same seeds would gain 1.5 standard errors."""
    generator = np.random.default_rng(6)
    gains = [gain(sweep_table(np.full(9, 0.7), generator=generator)).value for _ in range(300)]
    assert abs(np.mean(gains)) < 3.0 * np.std(gains) / math.sqrt(300)


# --------------------------------------------------------------------------------- the rest


def test_the_summary_speaks_of_everything_there_is() -> None:
    curve = np.stack([planted_u(), np.full(9, 0.8)])[:, None, None]
    said = list(summary(sweep_table(curve, tasks=BOTH)))
    assert [text.split()[0] for text in said] == ["U-curve", "Control", "Gain", "Largest"]
    assert len(list(summary(sweep_table(planted_u())))) == 3
    assert len(list(summary(sweep_table(planted_u(), tasks=("linear_teacher",))))) == 3


def test_the_summary_does_without_its_control() -> None:
    table = sweep_table(planted_u(), tasks=BOTH)
    table.outcome[1, :, 0, 0] = "FAILED"
    said = list(summary(table))
    assert [text.split()[0] for text in said] == ["U-curve", "Control", "Gain", "Largest"]
    assert "inconclusive (labels linear_teacher: runs of every seed are missing" in said[1]


def test_a_sweep_without_trained_runs_has_a_summary() -> None:
    table = sweep_table(planted_u())
    table["outcome"] = table.outcome.where(table.outcome != "REACHED", "STUCK")
    table["test_accuracy"] = table.test_accuracy * math.nan
    assert "at no c" in next(summary(table))
    table["outcome"] = table.outcome.where(table.outcome != "STUCK", "FAILED")
    with pytest.raises(oa.ProblemError, match="runs of every seed are missing"):
        u_curve(table)
    table.outcome[0, 1] = "REACHED"  # a single seed, of the testing half
    assert u_curve(table).incomplete == 15
    assert "no testing seed" in str(gain(table))
    assert "fewer than three" in str(dispersion(table))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantity": "accuracy"}, "lacks 'accuracy'.*test_accuracy"),
        ({"task": "control"}, "no task 'control'; it has given"),
        ({"learning_rate": 0.3}, r"no learning rate 0.3; it has 0.01"),
    ],
)
def test_what_the_table_does_not_have_is_said(options: dict[str, str], message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        u_curve(sweep_table(planted_u()), **options)  # type: ignore[arg-type]


def test_no_heavy_library_is_loaded() -> None:
    code = (
        "import sys, overalign.deepnet.statistics, overalign.deepnet.transfer, "
        "overalign.deepnet.search\n"
        "print([m for m in ('torch', 'scipy.stats', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
