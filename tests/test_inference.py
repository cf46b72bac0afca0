"""Estimates and tests against scipy, computations by hand, and simulated truths."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from overalign.errors import ProblemError
from overalign.inference import (
    Estimate,
    bootstrap,
    equivalence,
    expanded_percentiles,
    exponents,
    holm,
    mean,
    paired_difference,
    power,
    sets_needed,
    sign_flip,
    slope,
    student_quantile,
    widened,
)

# two-sided bounds of a binomial count of 400 trials at .95 and of 2000 at .05, at four sigma
COVERED_OF_400 = (362, 398)
REJECTED_OF_2000 = (61, 139)


def values(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, shape)


# -------------------------------------------------------------------------------------- means


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [2, 3, 16])
def test_a_mean_is_that_of_scipy(count: int, level: float) -> None:
    each = values(0, count)
    expected = stats.ttest_1samp(each, 0.0).confidence_interval(level)
    found = mean(each, level)
    assert found == pytest.approx((each.mean(), expected.low, expected.high), rel=1e-12)


def test_a_single_value_has_no_interval_and_nothing_no_mean() -> None:
    assert mean([2.0]).value == 2.0
    assert np.isnan(mean([2.0])[1:]).all()
    assert np.isnan(mean([])).all()


def test_paired_differences_are_those_of_scipy() -> None:
    a, b = values(1, 12), values(2, 12)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    found = paired_difference(a, b)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_what_pairs_share_drops_out() -> None:
    shared = 100.0 * values(3, 10)
    found = paired_difference(shared + 1.0, shared)
    assert found == pytest.approx((1.0, 1.0, 1.0), abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean([1.0, math.nan]),
        lambda: mean([1.0, math.inf]),
        lambda: mean([[1.0, 2.0]]),
        lambda: mean([1.0, 2.0], level=1.0),
        lambda: paired_difference([1.0, 2.0], [1.0]),
        lambda: equivalence([1.0, 2.0], 0.0),
        lambda: slope([1.0, 2.0, 3.0], [1.0, 2.0]),
        lambda: slope([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        lambda: sign_flip([]),
        lambda: sign_flip([1.0, math.nan]),
        lambda: holm([0.1, 1.1]),
        lambda: widened(Estimate(0.0, -1.0, 1.0), 0),
        lambda: widened(Estimate(0.0, -1.0, 1.0), 2, level=0.0),
        lambda: bootstrap(np.mean, seed=0),
        lambda: bootstrap(np.mean, [], seed=0),
        lambda: bootstrap(lambda a, b: 0.0, [1.0, 2.0], [1.0], seed=0),
        lambda: exponents([1.0, 2.0], {}, seed=0),
        lambda: exponents([1.0, 2.0, 3.0], {"n": [1.0, 2.0]}, seed=0),
        lambda: exponents([1.0, -2.0, 3.0], {"n": [1.0, 2.0, 3.0]}, seed=0),
        lambda: exponents([1.0, 2.0, 3.0], {"n": [1.0, 2.0, 3.0]}, [0, 1], seed=0),
        lambda: power(0.0, 1.0, 8),
        lambda: power(1.0, -1.0, 8),
        lambda: power(1.0, 1.0, 1),
        lambda: sets_needed(1.0, 1.0, power=1.0),
        lambda: sets_needed(1e-9, 1.0),
    ],
)
def test_what_cannot_be_answered_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ProblemError):
        call()


def test_the_place_of_a_missing_number_is_named() -> None:
    with pytest.raises(ProblemError, match=r"values\[1\] is nan"):
        mean([0.0, math.nan, 1.0])


@pytest.mark.parametrize(
    ("shift", "spread", "expected"),
    [(0.0, 0.1, "HOLDS"), (3.0, 0.1, "FAILS"), (-3.0, 0.1, "FAILS"), (0.9, 1.0, "INCONCLUSIVE")],
)
def test_equivalence_comes_out_every_way(shift: float, spread: float, expected: str) -> None:
    each = shift + spread * np.linspace(-1.0, 1.0, 9)
    assert equivalence(each, 1.0) == expected


def test_equivalence_is_two_one_sided_tests() -> None:
    for seed in range(200):
        each = values(seed, 7)
        both = max(
            stats.ttest_1samp(each, -1.0, alternative="greater").pvalue,
            stats.ttest_1samp(each, 1.0, alternative="less").pvalue,
        )
        assert (equivalence(each, 1.0) == "HOLDS") == (both <= 0.05)
    assert equivalence([0.0], 1.0) == "INCONCLUSIVE"


def test_equivalence_rarely_holds_at_the_margin() -> None:
    wrong = sum(equivalence(values(k, 8) + 0.7, 1.0) == "HOLDS" for k in range(2000))
    assert wrong <= REJECTED_OF_2000[1]


def test_a_slope_is_that_of_scipy() -> None:
    x, y = values(4, 9), values(5, 9)
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.95, 7) * fit.stderr
    expected = (fit.slope, fit.slope - half, fit.slope + half)
    assert slope(x, y, level=0.9) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(slope([0.0, 1.0], [0.0, 1.0])).all()


# -------------------------------------------------------------------------------------- tests


def test_sign_flips_are_all_signs() -> None:
    for seed in range(20):
        each = values(seed, 7)
        all_signs = itertools.product([-1.0, 1.0], repeat=each.size)
        sums = np.array([np.dot(signs, each) for signs in all_signs])
        assert sign_flip(each) == pytest.approx(np.mean(sums >= each.sum() - 1e-9))


def test_sign_flips_are_those_of_scipy() -> None:
    each = np.round(values(6, 11), 2)  # rounded, so that sums tie
    expected = stats.permutation_test(
        (each,), np.mean, permutation_type="samples", alternative="greater", n_resamples=2**12
    )
    assert sign_flip(each) == expected.pvalue


def test_the_smallest_p_value_is_one_of_all_signs() -> None:
    assert sign_flip(np.full(20, 0.1)) == 2.0**-20
    assert sign_flip(np.zeros(5)) == 1.0
    assert sign_flip([-1.0, -1.0]) == 1.0


def test_random_signs_agree_with_the_normal_law() -> None:
    each = values(7, 60)
    expected = stats.norm.sf(each.sum() / np.sqrt(np.sum(each**2)))
    assert sign_flip(each, seed=1) == pytest.approx(expected, abs=0.01)
    assert sign_flip(each, seed=1) == sign_flip(each, seed=1)


def test_sign_flips_reject_as_often_as_they_say() -> None:
    """Of skew and heavy-tailed pairs, too: the differences are symmetric whatever the law."""
    generator = np.random.default_rng(8)
    pairs = generator.exponential(1.0, (2, 2000, 10)) ** 2
    rejected = sum(sign_flip(each) <= 0.05 for each in pairs[0] - pairs[1])
    assert REJECTED_OF_2000[0] <= rejected <= REJECTED_OF_2000[1]


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_makes_few_false_rejections() -> None:
    tests = np.random.default_rng(9).uniform(size=(2000, 6))
    wrong = sum((holm(each) <= 0.05).any() for each in tests)
    assert REJECTED_OF_2000[0] <= wrong <= REJECTED_OF_2000[1]


def test_widened_intervals_hold_together() -> None:
    errors = np.random.default_rng(10).normal(size=(2000, 5))
    reach = widened(Estimate(0.0, -stats.norm.ppf(0.975), stats.norm.ppf(0.975)), 5)
    assert reach.high == pytest.approx(stats.norm.ppf(1.0 - 0.025 / 5))
    missed = int((np.abs(errors) > reach.high).any(axis=1).sum())
    assert REJECTED_OF_2000[0] <= missed <= REJECTED_OF_2000[1]
    assert widened(reach, 1) == pytest.approx(reach)
    lopsided = widened(Estimate(1.0, 0.0, 3.0), 10)
    assert (lopsided.high - 1.0) == pytest.approx(2.0 * (1.0 - lopsided.low))


# ---------------------------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("count", [4, 8, 30])
def test_expanded_percentiles_of_a_mean_are_as_wide_as_students(count: int) -> None:
    """For normal replicates of the bootstrap's variance."""
    spread = math.sqrt((count - 1) / count)
    replicates = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000) * spread
    low, high = expanded_percentiles(replicates, count)
    assert high == pytest.approx(student_quantile(count - 1), rel=2e-3)
    assert low == pytest.approx(-high)


def test_a_bootstrap_is_of_the_rows_of_all_arrays() -> None:
    a, b = values(11, 10, 2), values(12, 10)
    found = bootstrap(lambda x, y: float((x.sum(axis=1) - y).mean()), a, b, seed=3)
    rows = np.random.default_rng(3).integers(10, size=(4000, 10))
    replicates = (a.sum(axis=1) - b)[rows].mean(axis=1)
    assert found.value == pytest.approx((a.sum(axis=1) - b).mean())
    assert (found.low, found.high) == pytest.approx(expanded_percentiles(replicates, 10))
    assert np.isnan(bootstrap(np.mean, [1.0], seed=0)[1:]).all()


def test_a_statistic_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ProblemError, match="not finite on"), np.errstate(divide="ignore"):
        bootstrap(lambda x: float(1.0 / np.ptp(x)), [0.0, 1.0, 2.0], seed=0)


def test_a_bootstrap_covers() -> None:
    """The ratio of two means over nine data sets, about 95 % of the time."""
    covered = 0
    for seed in range(400):
        a, b = 2.0 + 0.4 * values(seed, 2, 9)
        found = bootstrap(lambda x, y: float(x.mean() / y.mean()), a, b, seed=seed, resamples=300)
        covered += found.low <= 1.0 <= found.high
    assert COVERED_OF_400[0] <= covered <= COVERED_OF_400[1]


SIZES = np.array([[8, 16], [16, 16], [32, 16], [64, 16], [16, 32], [16, 64], [16, 128], [64, 64]])


def law(seed: int, noise: float, sizes: np.ndarray) -> np.ndarray:
    errors = np.random.default_rng(seed).normal(0.0, noise, len(sizes))
    return 5.0 * sizes[:, 0] ** -2.0 * sizes[:, 1] ** -1.0 * np.exp(errors)


def test_exponents_are_those_of_least_squares() -> None:
    y = law(0, 0.3, SIZES)
    design = np.column_stack([np.ones(len(SIZES)), np.log(SIZES)])
    expected = np.linalg.lstsq(design, np.log(y), rcond=None)[0]
    found = exponents(y, {"n": SIZES[:, 0], "h": SIZES[:, 1]}, seed=0)
    assert list(found) == ["n", "h"]
    assert [each.value for each in found.values()] == pytest.approx(expected[1:])


def test_exponents_of_factors_that_hardly_differ_keep_their_digits() -> None:
    n = np.array([8.0, 16.0, 32.0, 64.0, 16.0, 32.0, 128.0, 5.0])
    h = n * np.exp(8.377e-8 * np.array([1, -1, 1, 1, -1, -1, 1, -1]))
    found = exponents(n**-2.0 / h, {"n": n, "h": h}, seed=0, resamples=500)
    assert found["n"].value == pytest.approx(-2.0, abs=1e-6)
    assert found["h"].value == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("noise_of", ["rows", "groups"])
def test_exponents_cover(noise_of: str) -> None:
    """Ten rows of two exponents; or six seeds that each have a slope of their own."""
    covered = 0
    sizes = SIZES if noise_of == "groups" else np.vstack([SIZES, [[32, 32], [8, 128]]])
    seeds = 6 if noise_of == "groups" else 1
    rows = np.tile(sizes, (seeds, 1)).astype(float)
    groups = np.repeat(np.arange(seeds), len(sizes)) if noise_of == "groups" else None
    for seed in range(400):
        y = law(seed, 0.3, rows)
        if groups is not None:
            y *= rows[:, 0] ** np.random.default_rng([seed, 1]).normal(0.0, 0.3, seeds)[groups]
        found = exponents(y, {"n": rows[:, 0], "h": rows[:, 1]}, groups, seed=seed, resamples=500)
        covered += found["n"].low <= -2.0 <= found["n"].high
    assert COVERED_OF_400[0] <= covered <= COVERED_OF_400[1]


def test_sizes_that_do_not_tell_exponents_apart_are_refused() -> None:
    n = np.array([8.0, 16.0, 32.0, 64.0])
    with pytest.raises(ProblemError, match="do not tell the exponents of n, h apart"):
        exponents(n**-2.0, {"n": n, "h": 3.0 * n}, seed=0)
    with pytest.raises(ProblemError, match="too few for intervals"):
        exponents([1.0, 2.0, 3.0], {"n": [1.0, 2.0, 2.0], "h": [1.0, 1.0, 3.0]}, seed=0)


# --------------------------------------------------------------------------------- study sizes


@pytest.mark.parametrize(("effect", "count"), [(0.3, 30), (1.0, 9), (2.0, 3)])
def test_power_is_how_often_an_interval_is_above_zero(effect: float, count: int) -> None:
    each = np.random.default_rng(13).normal(effect, 1.0, (20_000, count))
    half = student_quantile(count - 1) * each.std(axis=1, ddof=1) / math.sqrt(count)
    assert power(effect, 1.0, count) == pytest.approx(np.mean(each.mean(axis=1) > half), abs=0.014)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("effect", [0.1, 0.7, 5.0])
def test_the_fewest_sets_are_enough_and_one_less_is_not(effect: float, wanted: float) -> None:
    count = sets_needed(effect, 1.0, power=wanted)
    assert power(effect, 1.0, count) >= wanted
    assert count == 2 or power(effect, 1.0, count - 1) < wanted
