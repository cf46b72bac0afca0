"""Two sides and an error: what they are worth, alone and in a tally."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overalign.verdicts import Comparison, Direction, Judgement, Scale, Tally, Verdict, compare

HOLDS, FAILS, INCONCLUSIVE, OUT_OF_SCOPE = Judgement
DIRECTIONS = pytest.mark.parametrize("direction", ["at_most", "at_least", "equal"])
SIGN = {"at_most": 1.0, "at_least": -1.0, "equal": 1.0}


def one(
    direction: Direction,
    measured: float,
    formula: float,
    error: float,
    tolerance: float = 0.01,
    scale: Scale = "relative",
    floor: float = 0.0,
) -> str:
    """What a single point is: holds, fails, unresolved or undecided."""
    sides = (np.array([value]) for value in (measured, formula, error))
    found = compare(direction, *sides, tolerance, scale, floor)
    kinds = {"holds": found.holds, "fails": found.fails, "unresolved": found.unresolved}
    is_one = [name for name, truth in kinds.items() if truth[0]]
    assert len(is_one) <= 1
    return is_one[0] if is_one else "undecided"


# ------------------------------------------------------------------------------- one point


@DIRECTIONS
@pytest.mark.parametrize(
    ("beyond", "error", "expected"),
    [  # by how much the bound 2 is missed, of which 0.02 are allowed
        (0.0, 1e-9, "holds"),
        (0.019, 1e-9, "holds"),
        (0.021, 1e-9, "fails"),
        (0.021, 0.002, "undecided"),
        (0.019, 0.002, "undecided"),
        (0.021, 0.03, "unresolved"),
        (0.019, 0.03, "unresolved"),
        (1.0, 0.03, "fails"),
        (1.0, 0.99, "unresolved"),
        (1.0, 0.97, "fails"),
    ],
)
def test_a_point(direction: Direction, beyond: float, error: float, expected: str) -> None:
    assert one(direction, 2.0 + SIGN[direction] * beyond, 2.0, error) == expected


@pytest.mark.parametrize("direction", ["at_most", "at_least"])
def test_a_bound_that_is_far_holds_whatever_the_error(direction: Direction) -> None:
    assert one(direction, 2.0 - SIGN[direction], 2.0, 0.9) == "holds"
    assert one(direction, 2.0 - SIGN[direction], 2.0, 1.1) == "unresolved"


def test_an_equation_fails_to_either_side() -> None:
    assert [one("equal", value, 2.0, 1e-9) for value in (1.5, 2.0, 2.5)] == [
        *("fails", "holds", "fails"),
    ]


@DIRECTIONS
@pytest.mark.parametrize(
    ("scale", "expected"), [("relative", "fails"), ("absolute", "holds"), ("log", "holds")]
)
def test_the_scale_says_what_the_tolerance_is_of(
    direction: Direction, scale: Scale, expected: str
) -> None:
    assert one(direction, 0.1 + SIGN[direction] * 0.005, 0.1, 1e-9, scale=scale) == expected
    large = "holds" if scale == "relative" else "fails"
    assert one(direction, 100.0 + SIGN[direction] * 0.5, 100.0, 1e-9, scale=scale) == large


@DIRECTIONS
def test_the_floor_is_for_formulas_below_it(direction: Direction) -> None:
    measured = 1e-9 + SIGN[direction] * 5e-9
    assert one(direction, measured, 1e-9, 1e-12) == "fails"
    assert one(direction, measured, 1e-9, 1e-12, floor=1e-6) == "holds"
    assert one(direction, measured, 1e-9, 1e-12, floor=1e-7) == "fails"
    assert one(direction, 2.0 + SIGN[direction] * 0.5, 2.0, 1e-12, floor=1e-6) == "fails"


@given(
    direction=st.sampled_from(["at_most", "at_least", "equal"]),
    scale=st.sampled_from(["relative", "absolute", "log"]),
    sides=st.tuples(*[st.floats(-1e3, 1e3)] * 2),
    error=st.floats(0.0, 10.0),
    other=st.floats(0.0, 10.0),
)
def test_a_larger_error_never_decides_more(
    direction: Direction, scale: Scale, sides: tuple[float, float], error: float, other: float
) -> None:
    low, high = sorted((error, other))
    before, after = (one(direction, *sides, e, scale=scale) for e in (low, high))
    assert after in {before, "unresolved", "undecided"}


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0.0, 10.0))
def test_the_two_bounds_mirror_each_other_and_make_an_equation(
    measured: float, formula: float, error: float
) -> None:
    upper = one("at_most", measured, formula, error, scale="absolute")
    assert upper == one("at_least", -measured, -formula, error, scale="absolute")
    lower = one("at_least", measured, formula, error, scale="absolute")
    equation = one("equal", measured, formula, error, scale="absolute")
    assert (equation == "holds") == (upper == lower == "holds")
    assert (equation == "fails") == ("fails" in (upper, lower))


# ------------------------------------------------------------------------------ many points


def points(
    direction: Direction, measured: list[float], error: list[float], scale: Scale = "relative"
) -> Comparison:
    """Against the formula 2, of which 0.02 are allowed."""
    found = np.array(measured)
    return compare(direction, found, np.full(found.shape, 2.0), np.array(error), 0.01, scale)


@pytest.mark.parametrize(
    ("measured", "error", "expected"),
    [
        ([1.0, 2.0], [0.0, 0.0], HOLDS),
        ([1.0, 3.0], [0.0, 0.0], FAILS),
        ([1.0, 2.0], [0.0, 5.0], HOLDS),
        ([1.0, 2.021], [0.0, 0.002], INCONCLUSIVE),
        ([3.0, 2.021], [0.0, 0.002], FAILS),
        ([2.5, 2.0], [5.0, 5.0], INCONCLUSIVE),
    ],
    ids=["holds", "fails", "unresolved", "undecided", "fails_first", "nothing_resolved"],
)
def test_all_points_together(
    measured: list[float], error: list[float], expected: Judgement
) -> None:
    assert points("at_most", measured, error).judgement is expected


def test_no_point_never_holds() -> None:
    assert points("at_most", [], []).judgement is INCONCLUSIVE


def test_the_decisive_point_is_a_failure_before_what_is_unresolved() -> None:
    # the third is farther off, but its error covers it
    assert points("at_most", [1.0, 2.5, 4.0], [0.0, 0.0, 5.0]).decisive == 1
    assert points("at_most", [1.0, 1.9, 4.0], [0.0, 0.0, 5.0]).decisive == 1
    assert points("at_least", [9.0, 2.5, 3.0], [0.0, 0.0, 0.0]).decisive == 1
    assert points("equal", [2.001, 2.01, 2.0], [0.0, 0.0, 0.0]).decisive == 1


def test_slack_touches_and_tightness() -> None:
    upper = points("at_most", [1.0, 2.0, 2.5], [1e-9, 1e-9, 1e-9])
    assert upper.slack.tolist() == [0.5, 0.0, -0.25]
    assert upper.touches.tolist() == [False, True, False]
    assert upper.tightness.tolist() == [0.5, 1.0, 0.8]
    lower = points("at_least", [4.0, 2.0], [1e-9, 1e-9])
    assert lower.slack.tolist() == [1.0, 0.0]
    logs = points("at_most", [1.0, 2.0], [1e-9, 1e-9], "log")
    assert logs.slack.tolist() == [1.0, 0.0]
    assert logs.tightness.tolist() == pytest.approx([math.exp(-1.0), 1.0])


def test_both_sides_zero_are_equal() -> None:
    zero = np.zeros(1)
    found = compare("equal", zero, zero, zero, 1e-6)
    assert (found.judgement, found.slack[0], found.tightness[0]) == (HOLDS, 0.0, 1.0)


# -------------------------------------------------------------------------------------- tallies


def verdict(judgement: Judgement, reason: str = "", tightness: float = math.nan) -> Verdict:
    in_scope = judgement in (HOLDS, FAILS)
    points_, touches = (3, 1) if in_scope else (0, 0)
    return Verdict(
        *("x", judgement, "ours", reason, "draws"),
        points=points_,
        touches=touches,
        tightness=tightness,
    )


def test_a_tally_counts_and_keeps_the_tightest_and_the_first_failure() -> None:
    tally = Tally("x")
    assert (tally.judgement, tally.commonest_reason) == (OUT_OF_SCOPE, "")
    tally.add("a", verdict(OUT_OF_SCOPE, "dead"))
    assert tally.judgement is OUT_OF_SCOPE
    tally.add("b", verdict(INCONCLUSIVE, "error"))
    assert (tally.judgement, tally.in_scope) == (INCONCLUSIVE, 0)
    tally.add("c", verdict(HOLDS, tightness=0.5))
    tally.add("d", verdict(HOLDS, tightness=0.9))
    tally.add("e", verdict(HOLDS, tightness=0.7))
    assert tally.judgement is HOLDS
    tally.add("f", verdict(FAILS, tightness=0.8))
    tally.add("g", verdict(FAILS, tightness=0.95))
    tally.add("h", verdict(OUT_OF_SCOPE, "dead"))
    assert tally.judgement is FAILS
    assert tally.counts == {HOLDS: 3, FAILS: 2, INCONCLUSIVE: 1, OUT_OF_SCOPE: 2}
    assert (tally.in_scope, tally.points, tally.touches) == (5, 15, 5)
    assert tally.tightest is not None
    assert tally.first_failure is not None
    assert (tally.tightest[0], tally.first_failure[0]) == ("g", "f")
    assert tally.reasons == {"dead": 2, "error": 1}
    assert tally.commonest_reason == "dead"


def test_a_verdict_is_a_sentence() -> None:
    text = str(verdict(HOLDS, tightness=0.5))
    assert text.startswith("x: holds (ours); draws; 3 points (0 unresolved), 1 touches")
    assert str(verdict(OUT_OF_SCOPE, "no neuron")) == "x: out of scope (ours); no neuron; draws"
