"""Statements held against problems: verdicts, what is out of scope, enclosures, certificates."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

from overalign import (
    ExponentialLoss,
    GaussianMixture,
    LogisticLoss,
    Network,
    Sample,
    checks,
    statements,
)
from overalign.data import read_sample
from overalign.errors import EnclosureError, ProblemError
from overalign.observation import Measured, Population, Problem
from overalign.statements import REGISTRY, Quantity, Statement
from overalign.statements.quantities import QUANTITIES
from overalign.verdicts import Judgement, Tally, Verdict

HOLDS, FAILS, INCONCLUSIVE, OUT_OF_SCOPE = Judgement
KAPPA, N = QUANTITIES["kappa"], QUANTITIES["n"]
SMALL = Population(n=6, dimension=5, width=8)


def own(
    measured: Measured,
    expression: Any = N.symbol,
    quantities: tuple[Quantity, ...] = (N,),
    **changes: Any,
) -> Statement:
    """A statement whose left side is given."""
    found = Statement("own", "Own", "x", "at_most", expression, quantities, "here", "ours")
    return replace(found, measure=lambda problem: measured, **changes)


def judged(statement: Statement) -> Verdict:
    return statement.check(Problem(Sample([[1.0]], [1.0]), Network([[1.0]], [1.0]), -9.0))


# ---------------------------------------------------------------------------- one verdict


def test_a_verdict_has_both_sides_and_says_where() -> None:
    measured = Measured([1.0, 2.9, 2.0], {"n": [3.0, 3.0, 4.0]}, 1e-9, {"at_time": [7, 8, 9]}, "us")
    found = judged(own(measured))
    assert (found.judgement, found.points, found.touches, found.evidence) == (HOLDS, 3, 0, "us")
    expected = {"measured": 2.9, "formula": 3.0, "n": 3.0, "at_time": 8.0}
    assert found.witness == pytest.approx(expected)
    assert found.slack == pytest.approx(0.1 / 3.0)
    assert found.tightness == pytest.approx(2.9 / 3.0)
    assert 1e-9 < found.error < 1.1e-9
    assert found.provenance == "ours"


def test_the_witness_of_a_failure_is_its_worst_point() -> None:
    found = judged(own(Measured([1.0, 3.5, 9.0], {"n": [3.0, 3.0, 4.0]}, 1e-9)))
    assert found.judgement is FAILS
    assert found.witness == {"measured": 9.0, "formula": 4.0, "n": 4.0}
    assert found.slack == -1.25


@pytest.mark.parametrize(("error", "expected"), [(1e-9, FAILS), (0.6, INCONCLUSIVE), (0.4, FAILS)])
def test_errors_that_overlap_are_inconclusive(error: float, expected: Judgement) -> None:
    found = judged(own(Measured(3.5, {"n": 3.0}, error)))
    assert found.judgement is expected
    if expected is INCONCLUSIVE:
        assert "does not tell the two sides apart" in found.reason
        assert (found.points, found.unresolved) == (1, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_holds(value: float) -> None:
    for direction in ("at_most", "at_least", "equal"):
        statement = own(Measured([value, 1.0], {"n": 3.0}, math.nan), direction=direction)
        assert judged(statement).judgement is not HOLDS


def test_a_formula_that_has_lost_its_digits_decides_nothing() -> None:
    measured = Measured(2.5, {"n": 3.0}, 1e-12)
    assert judged(own(measured, numeric=lambda n: 1.0 * n)).judgement is HOLDS
    for lost in (-1.0, -4.0):  # a failure in float64 only
        found = judged(own(measured, numeric=lambda n, lost=lost: n + lost))
        assert found.judgement is INCONCLUSIVE
        assert "float64 has lost the formula's digits" in found.reason
    gained = judged(own(replace(measured, value=3.5), numeric=lambda n: n + 1.0))
    assert gained.judgement is INCONCLUSIVE


# ----------------------------------------------------------------------------- out of scope


def out_of_scope(statement: Statement, problem: Problem) -> str:
    found = statement.check(problem)
    assert (found.judgement, found.points) == (OUT_OF_SCOPE, 0)
    assert math.isnan(found.slack)
    assert not found.witness
    return found.reason


def test_data_that_break_a_hypothesis() -> None:
    drawn = replace(SMALL, kappa=0.1, separability=None).problem(0)
    assert drawn.sample.separability < 0.0
    for name in ("phase1_alignment", "switches_at_most_once", "half_angle", "inheritance"):
        reason = out_of_scope(REGISTRY[name], drawn)
        assert reason == "broken: the sample is orthogonally separable, lambda > 0"
    no_law = replace(SMALL.problem(0), mixture=None)
    assert "symmetric Gaussian mixture" in out_of_scope(statements.over_alignment, no_law)


def test_networks_and_losses_that_break_a_hypothesis() -> None:
    problem = SMALL.problem(0)
    heavy = replace(problem, network=Network(problem.network.weights, 2 * problem.network.output))
    assert out_of_scope(statements.norm_growth, heavy).startswith("broken: the network starts bal")
    exponential = replace(problem, loss=ExponentialLoss())
    reason = out_of_scope(statements.norm_growth, exponential)
    assert reason == "broken: the loss is logistic"
    assert statements.norm_growth.broken_by(problem) == []
    assert len(statements.half_angle.broken_by(replace(heavy, loss=ExponentialLoss()))) >= 1


def test_parameters_at_which_no_point_is_left() -> None:
    large = replace(SMALL, log_alpha=math.log(0.05)).problem(0)
    assert out_of_scope(statements.phase1_alignment, large) == "nowhere zeta > 0"
    n = N.symbol
    odd = statements.Hypothesis("n is above 3", n > 3)
    measured = Measured([9.0, 2.0], {"n": [3.0, 4.0]})
    found = judged(own(measured, hypotheses=(odd,)))
    assert (found.judgement, found.points) == (HOLDS, 1), "the point that fails is left out"
    none = own(Measured([9.0, 2.0], {"n": [3.0, 2.0]}), hypotheses=(odd,))
    assert judged(none).reason == "nowhere n is above 3"


def test_where_a_bound_says_nothing() -> None:
    problem = SMALL.problem(0)
    reason = out_of_scope(statements.margin_bound, problem)
    assert reason == "it says nothing: the bound is at least 1"
    silent = statements.Hypothesis("n is at least 4", N.symbol >= 4)
    measured = Measured([2.0, 3.0], {"n": [3.0, 4.0]})
    assert judged(own(measured, says_nothing=silent)).points == 1


def test_nothing_to_measure() -> None:
    problem = SMALL.problem(0)
    assert "takes a sweep over many" in out_of_scope(statements.scaling_with_depth, problem)
    u = [1.0, 0.0]
    sample = Sample([[1.0, 0.1], [-1.0, 0.1]], [1.0, -1.0])
    aligned = Problem(sample, Network.balanced(weights=[u], sign=[1.0]), -9.0)
    assert out_of_scope(statements.switches_at_most_once, aligned) == "no pair switches"
    pair = Network.balanced(weights=[u, [-1.0, 0.0]], sign=[1.0, -1.0])
    one_each = replace(aligned, network=pair)
    assert "no two live neurons" in out_of_scope(statements.gram_conservation, one_each)
    assert judged(own(Measured([], {"n": []}))).reason == "there is no point to compare at"


def test_a_class_without_live_neurons() -> None:
    sample = Sample([[1.0, 0.1], [-1.0, 0.1]], [1.0, -1.0])
    away = Network.balanced(weights=[[-1.0, -0.2], [1.0, -0.2]], sign=[1.0, -1.0])
    both_die = Problem(sample, away, -9.0, mixture=GaussianMixture(2, 1.0, 0.3))
    for name in ("half_angle", "inheritance", "phase1_alignment", "over_alignment"):
        assert out_of_scope(REGISTRY[name], both_die)
    one_lives = replace(both_die, network=Network.balanced(weights=[[1.0, 0.3]], sign=[1.0]))
    found = statements.conic_hull.check(one_lives)
    assert found.judgement is HOLDS
    assert found.witness["label"] == 1.0


def test_quantities_out_of_range_and_formulas_out_of_float64() -> None:
    found = judged(own(Measured(1.0, {"kappa": -1.0}), KAPPA.symbol, (KAPPA,)))
    assert (found.judgement, "kappa is -1" in found.reason) == (OUT_OF_SCOPE, True)
    large = own(Measured(1.0, {"n": 1000.0}), sympy.exp(N.symbol))
    assert judged(large).reason == "the formula is beyond float64"
    for given in ({}, {"m": 1.0}):
        assert out_of_scope_reason(given) == "the measurement gives no n"


def out_of_scope_reason(given: dict[str, float]) -> str:
    found = judged(own(Measured(1.0, given)))
    assert found.judgement is OUT_OF_SCOPE
    return found.reason


def test_a_statement_needs_a_quantity_for_every_symbol() -> None:
    with pytest.raises(ProblemError, match=r"statement own: no quantity for \['kappa'\]"):
        own(Measured(1.0), KAPPA.symbol * N.symbol)


# ---------------------------------------------------------------------------------- tallies


def told(tallies: dict[str, Tally]) -> dict[str, Any]:
    """All there is in tallies, as text."""
    return {name: repr(tally) for name, tally in tallies.items()}


def test_a_verdict_is_the_same_alone_and_in_a_tally_of_any_workers() -> None:
    some = [statements.conic_hull, statements.half_angle, statements.direction_error]
    makers = [lambda seed=seed: SMALL.problem(seed) for seed in range(5)]
    alone = {statement.name: Tally(statement.name) for statement in some}
    for seed in range(5):
        for statement in some:
            alone[statement.name].add(seed, statement.check(SMALL.problem(seed)))
    done: list[tuple[int, int]] = []
    one = checks.tally(some, makers, workers=1, progress=lambda *state: done.append(state))
    assert done == [(k, 5) for k in range(1, 6)]
    assert told(one) == told(alone)
    for workers in (2, 7):
        assert told(checks.tally(some, makers, workers=workers)) == told(one)
    again = checks.tally(some, [SMALL.problem(seed) for seed in range(5)])
    assert told(again) == told(one)
    assert one["conic_hull"].in_scope == 5


def test_an_error_in_a_worker_is_raised() -> None:
    def broken() -> Problem:
        raise ProblemError("no such problem")

    with pytest.raises(ProblemError, match="no such problem"):
        checks.tally([statements.conic_hull], [broken, lambda: SMALL.problem(0)])


def test_no_problem_is_an_empty_tally() -> None:
    found = checks.tally([statements.conic_hull], [])
    assert found["conic_hull"].judgement is OUT_OF_SCOPE


def test_every_statement_that_one_problem_decides_is_in_scope_somewhere() -> None:
    tallies, problems = checks.check_all(seeds=2)
    assert len(problems) == 2 * len(checks.QUICK_POPULATIONS)
    assert list(tallies) == list(REGISTRY)
    wrong = {
        name: str(tally.first_failure)
        for name, tally in tallies.items()
        if tally.first_failure is not None
    }
    assert not wrong
    silent = {name for name, tally in tallies.items() if tally.judgement is not HOLDS}
    assert silent == {name for name, statement in REGISTRY.items() if statement.measure is None}


# ------------------------------------------------------------------------- filled in on a problem


def test_on_a_problem_the_quantities_of_data_and_network_are_filled_in() -> None:
    problem = SMALL.problem(0)
    sample, network, log_alpha = problem.sample, problem.network, -25.0
    bound = statements.phase1_alignment.on(sample, network, log_alpha)
    facts = replace(problem, log_alpha=log_alpha).facts(1)
    by_hand = {q.name: facts[q.name] for q in bound.quantities if q.name not in ("time", "t_1")}
    assert bound.defaults == by_hand
    assert bound(time=3.0, t_1=1.0) == statements.phase1_alignment(time=3.0, t_1=1.0, **by_hand)
    other = statements.phase1_alignment.on(sample, network, log_alpha, label=-1)
    assert other.defaults["class_norm"] == replace(problem).facts(-1)["class_norm"]
    assert bound(time=3.0, t_1=1.0, beta=0.5) != bound(time=3.0, t_1=1.0)
    assert statements.phase1_alignment.defaults == {"beta": 1.0}, "the original is left alone"


def test_loss_risk_and_law_are_filled_in_too() -> None:
    problem = SMALL.problem(0)
    arguments = (problem.sample, problem.network, -25.0)
    summed = LogisticLoss(reduction="sum")
    bound = statements.stopping_time_at_least.on(*arguments, eta=0.2, loss=summed)
    assert (bound.defaults["eta"], bound.defaults["beta"]) == (0.4, 0.5)
    law = statements.over_alignment.on(*arguments, mixture=problem.mixture)
    assert (law.defaults["kappa"], law.defaults["sigma"]) == (2.0, 1.0)
    assert law(theta_c=0.0) > 0.0


def test_on_data_that_break_a_hypothesis_it_is_named() -> None:
    digits = read_sample("digits:3,8", n=30)
    network = Network.random(6, digits.dimension, seed=0)
    with pytest.raises(ProblemError, match=r"phase1_alignment: .* orthogonally separable, lambda"):
        statements.phase1_alignment.on(digits, network, -20.0)
    kept = statements.phase1_alignment.on(digits, network, -20.0, outside="keep")
    assert kept.defaults["n"] == 30.0
    with pytest.raises(ProblemError, match="the loss is logistic"):
        statements.norm_growth.on(
            *(SMALL.problem(0).sample, SMALL.problem(0).network, -20.0), loss=ExponentialLoss()
        )
    with pytest.raises(ProblemError, match="symmetric Gaussian mixture"):
        statements.over_alignment.on(digits, network, -20.0)


# --------------------------------------------------------------------------------- enclosures

OA = statements.over_alignment


def test_enclosures_of_whole_numbers_decimals_and_floats() -> None:
    tenths = OA.enclose(kappa=3, sigma=1, phi="0.3", theta_c="0.1")
    value = OA(kappa=3, sigma=1, phi=0.3, theta_c=0.1)
    assert tenths.low <= value * (1 + 1e-14)
    assert tenths.high >= value * (1 - 1e-14)
    assert tenths.width < 1e-30
    binary = OA.enclose(kappa=3, sigma=1, phi=0.3, theta_c=0.1)
    assert not binary.contains(tenths.ball.mid().str(40, radius=False))
    assert abs(binary.low - tenths.low) <= 1e-14 * value


def test_an_enclosure_of_an_interval_holds_every_value_in_it() -> None:
    found = OA.enclose(kappa=3, sigma=1, phi=("0.29", "0.31"), theta_c=(0, 0.1))
    inside = OA(kappa=3, sigma=1, phi=[[0.29], [0.3], [0.31]], theta_c=np.linspace(0, 0.1, 7))
    assert found.low <= inside.min()
    assert found.high >= inside.max()
    assert found.width < 3 * np.ptp(inside)


def test_an_enclosure_by_another_keyword() -> None:
    by_cosine = OA.enclose(kappa=3, sigma=1, phi="0.3", Psi="0.99")
    assert by_cosine.low == pytest.approx(OA(kappa=3, sigma=1, phi=0.3, Psi=0.99), rel=1e-12)
    filled = replace(OA, defaults={"kappa": 3.0, "sigma": 1.0})
    assert filled.enclose(phi="0.3", Psi="0.99").contains(
        by_cosine.ball.mid().str(60, radius=False)
    )


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"phi": 0.3}, ProblemError, "needs theta_c too"),
        ({"phi": 4, "theta_c": 0}, ProblemError, "phi is 4"),
        ({"phi": (0.1, 4), "theta_c": 0}, ProblemError, "phi is 4"),
        ({"phi": (0.3, 0.1), "theta_c": 0}, EnclosureError, "the low end comes first"),
        ({"phi": 0.3, "theta_c": 0, "psi": 1}, ProblemError, "did you mean"),
    ],
)
def test_what_cannot_be_enclosed_is_named(
    values: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        OA.enclose(kappa=3, sigma=1, **values)


TINY = {"width": 64.0, "class_norm": 18.0, "x_max": 5.0, "W_max": 1.0, "log_alpha": -5000.0} | {
    "time": 200.0,
    "t_1": 1.0,
    "beta": 0.1,
    "n": 12.0,
    "largest_class_norm": 20.0,
    "x_min": 0.5,
    "separability": 0.1,
    "active": 3.0,
    "degree": 2.0,
}
AT_ANY_SCALE = {
    name: s for name, s in REGISTRY.items() if "log_alpha" in [q.name for q in s.quantities]
}


@pytest.mark.parametrize("statement", AT_ANY_SCALE.values(), ids=list(AT_ANY_SCALE))
def test_at_the_smallest_scales_numbers_and_enclosures_agree(statement: Statement) -> None:
    values = {quantity.name: TINY[quantity.name] for quantity in statement.quantities}
    ball, value = statement.enclose(**values), statement(**values)
    assert math.isfinite(value)
    assert ball.low * (1 - 1e-11 * np.sign(ball.low)) <= value
    assert value <= ball.high * (1 + 1e-11 * np.sign(ball.high))


# -------------------------------------------------------------------------------- certificates

OA_BOX = {"kappa": (1, 3), "sigma": 1, "phi": 1.0, "theta_c": (0.1, 0.9)}
G_BOX = {"kappa": (1, 3), "sigma": 1, "phi": (0.3, 0.6), "theta_c": ("0.01", "1.5")} | {
    "dimension": 20,
    "class_size": 50,
}


def test_monotonicity_is_certified() -> None:
    assert OA.certify("decreasing", in_="theta_c", box=OA_BOX).is_certified
    g = statements.over_fitting_concentration
    assert g.certify("increasing", in_="theta_c", box=G_BOX).is_certified
    assert OA.certify("positive", box=OA_BOX).is_certified


def test_a_false_claim_is_met_with_a_counterexample() -> None:
    found = OA.certify("increasing", in_="theta_c", box=OA_BOX, most_parts=200)
    assert not found.is_certified
    assert found.counterexample is not None
    point = found.counterexample
    at = {"sigma": 1.0, "phi": 1.0, "kappa": point["kappa"]}
    step = np.array([-1e-3, 1e-3])
    assert np.diff(OA(theta_c=point["theta_c"] + step, **at))[0] < 0.0
    signs = OA.certify("negative", box=OA_BOX, most_parts=200)
    assert signs.counterexample is not None
    assert (
        OA(sigma=1.0, phi=1.0, **{k: signs.counterexample[k] for k in ("kappa", "theta_c")}) > 0.0
    )


def test_a_claim_that_is_true_in_part_is_not_certified() -> None:
    wide = OA_BOX | {"theta_c": (0.5, 1.5)}  # OA is zero beyond phi
    found = OA.certify("decreasing", in_="theta_c", box=wide, most_parts=500)
    assert not found.is_certified
    assert 0.3 < found.holds < 0.7
    before_phi = QUANTITIES["theta_c"].symbol < 1
    inside = OA.certify("positive", box=wide | {"theta_c": (0.5, 0.99)}, where=before_phi)
    assert inside.is_certified


def test_hypotheses_restrict_the_box() -> None:
    bound = statements.over_alignment_slope  # for theta_c < phi
    box = OA_BOX | {"theta_c": (0.5, 1.5)}
    found = bound.certify("nonpositive", box=box, most_parts=500)
    assert found.fails == 0.0
    free = replace(bound, hypotheses=())
    assert free.certify("nonpositive", box=box, most_parts=500).fails > 0.3


@pytest.mark.parametrize("in_", [None, "theta", "Psi"])
def test_the_quantity_of_a_slope_must_be_one_of_the_statement(in_: str | None) -> None:
    with pytest.raises(ProblemError, match="expected one of kappa, phi, sigma, theta_c"):
        OA.certify("decreasing", in_=in_, box=OA_BOX)


def test_a_box_out_of_range_is_refused() -> None:
    with pytest.raises(ProblemError, match="theta_c is 9, expected"):
        OA.certify("positive", box=OA_BOX | {"theta_c": (0, 9)})
    with pytest.raises(ProblemError, match="needs phi too"):
        OA.certify("positive", box={k: v for k, v in OA_BOX.items() if k != "phi"})


@pytest.mark.parametrize(
    "problem",
    [
        Problem(
            GaussianMixture(2, 2.3671246216697694, 1.0).sample(3, 2041625),
            Network.random(5, 2, 2041625),
            -5.41894541838814,
        ),
        Problem(
            GaussianMixture(3, 2.1533994325059043, 1.0).sample(2, 3141338),
            Network.random(4, 3, 3141338),
            -4.278236776490343,
            tolerance=1e-6,
        ),
    ],
    ids=["1e-8", "1e-6"],
)
def test_a_neuron_that_dies_last_does_not_count_after_that(problem: Problem) -> None:
    """At its last kink rounding decides whether it looks alive; the statements look just after."""
    for name in ("inheritance", "conic_hull_after_sorting", "conic_hull"):
        assert REGISTRY[name].check(problem).judgement is not Judgement.FAILS
