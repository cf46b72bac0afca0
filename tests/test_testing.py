"""For people with a lemma: strategies, `assert_holds`, and the search for counterexamples."""

import math
from typing import Any

import falsehoods
import hypothesis
import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import overalign
import overalign.observation
from overalign import ExponentialLoss, Network, Sample, statements
from overalign.errors import ProblemError, ScopeError
from overalign.observation import Measured, Population, Problem
from overalign.statements import REGISTRY, Quantity, Statement
from overalign.testing import (
    Search,
    assert_holds,
    networks,
    problems,
    samples,
    search,
    statement_parameters,
)
from overalign.verdicts import Judgement

NAMES = {
    **vars(overalign.observation),
    **{name: getattr(overalign, name) for name in dir(overalign)},
}
QUIET = settings(database=None, max_examples=3000, suppress_health_check=list(HealthCheck))
FIRST = settings(QUIET, phases=[hypothesis.Phase.generate])  # as it comes, not made small


# ------------------------------------------------------------------------------- strategies


@given(samples())
def test_samples_are_separable_and_have_both_labels(sample: Sample) -> None:
    assert sample.separability > 0.0
    assert set(sample.y.tolist()) == {1.0, -1.0}
    assert 2 <= sample.n <= 8
    assert 1 <= sample.dimension <= 5


@given(samples(separable=False, dimension=st.just(3), n=st.integers(4, 6)))
def test_samples_of_any_kind(sample: Sample) -> None:
    assert set(sample.y.tolist()) == {1.0, -1.0}
    assert np.all(sample.norms > 0.0)
    assert sample.dimension == 3
    assert 4 <= sample.n <= 6


@given(networks(3, width=st.integers(2, 4)), networks(2, balanced=False))
def test_networks_are_balanced_or_not(balanced: Network, free: Network) -> None:
    assert balanced.is_balanced
    assert (balanced.dimension, free.dimension) == (3, 2)
    assert 2 <= balanced.width <= 4
    assert np.all(np.abs(free.output) >= 0.499 * free.row_norms)


@given(problems(log_alpha=(-40.0, -7.5)))
def test_problems_are_in_the_setting_of_the_theory(problem: Problem) -> None:
    assert problem.sample.separability >= 0.0
    assert problem.network.is_balanced
    assert type(problem.loss).__name__ == "LogisticLoss"
    assert -40.0 <= problem.log_alpha <= -7.5
    assert problem.mixture is None or problem.mixture.dimension == problem.sample.dimension


@pytest.mark.parametrize(
    ("beyond", "condition"),
    [
        ({"separable": False}, lambda p: p.sample.separability < -0.5),
        ({"balanced": False}, lambda p: not p.network.is_balanced),
        ({"logistic": False}, lambda p: isinstance(p.loss, ExponentialLoss)),
        ({"log_alpha": (-60.0, 1.0)}, lambda p: p.log_alpha > 0.0),
        ({}, lambda p: p.mixture is not None),
        ({}, lambda p: p.mixture is None),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_switched_off_is_met(beyond: dict[str, Any], condition: Any) -> None:
    assert find(problems(**beyond), condition, settings=FIRST)


@pytest.mark.parametrize(
    ("condition", "n", "width", "dimension"),
    [
        (lambda p: True, 2, 1, 2),
        (lambda p: p.sample.n >= 4 and p.network.width >= 3, 4, 3, 2),
        (lambda p: p.sample.dimension >= 4, 2, 1, 4),
    ],
    ids=["any", "wide", "many_inputs"],
)
def test_problems_shrink(condition: Any, n: int, width: int, dimension: int) -> None:
    problem = find(problems(), condition, settings=QUIET)
    assert problem.sample.n <= n
    assert problem.network.width <= width
    assert problem.sample.dimension <= dimension
    assert problem.log_alpha == -3.0, "the largest scale is the plainest"
    assert problem.eta == 0.1
    assert len(repr(problem)) < 250


def test_numbers_shrink_to_whole_ones() -> None:
    sample = find(samples(), lambda s: s.n >= 3 and s.dimension >= 2, settings=QUIET)
    assert np.abs(sample.x).tolist() == [[1.0, 0.0]] * 3
    network = find(networks(2), lambda w: bool(w.weights[0, 1] > 1.0), settings=QUIET)
    assert network.weights.tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("statement", REGISTRY.values(), ids=list(REGISTRY))
def test_parameters_fulfil_the_hypotheses_of_every_statement(statement: Statement) -> None:
    @settings(max_examples=20, database=None)
    @given(statement_parameters(statement))
    def drawn(values: dict[str, float]) -> None:
        assert set(values) == {quantity.name for quantity in statement.quantities}
        assert statement.holds_for(**values)

    drawn()


def test_parameters_are_spread_over_decades() -> None:
    strategy = statement_parameters(statements.direction_error)
    for low, high in ((0.05, 0.2), (5.0, 20.0)):
        assert find(strategy, lambda v, a=low, b=high: a <= v["sigma"] <= b, settings=FIRST)


@pytest.mark.parametrize("log_alpha", [(0.0, -1.0), (math.nan, -1.0), (-1.0, math.nan)])
def test_a_range_that_is_none_is_refused(log_alpha: tuple[float, float]) -> None:
    with pytest.raises(ProblemError, match=r"log_alpha is .*the lower end first"):
        problems(log_alpha=log_alpha)


def test_a_range_without_a_whole_number_is_a_range_too() -> None:
    found = find(problems(log_alpha=(-3.7, -3.2)), lambda p: True, settings=FIRST)
    assert -3.7 <= found.log_alpha <= -3.2


# --------------------------------------------------------------------------------- a user's lemma

PSI = Quantity("Psi", r"\Psi", "alignment of the effective predictor", (0, 1), low=-1, high=1)


def weakest_neuron(problem: Problem) -> Measured:
    """The smallest psi_j of a live neuron of the positive class at the stop, with Psi."""
    aligned = problem.alignment
    live = aligned.is_live[-1] & (problem.network.sign == 1)
    if not live.any():
        raise ScopeError("no live neuron")
    weakest = np.cos(aligned.angle[-1, live]).min()
    return Measured(weakest, {"Psi": aligned.positive.Psi[-1]}, 10 * problem.error)


def strongest_neuron(problem: Problem) -> Measured:
    """The largest psi_j."""
    aligned = problem.alignment
    live = aligned.is_live[-1] & (problem.network.sign == 1)
    if not live.any():
        raise ScopeError("no live neuron")
    strongest = np.cos(aligned.angle[-1, live]).max()
    return Measured(strongest, {"Psi": aligned.positive.Psi[-1]}, 10 * problem.error)


LEMMA = Statement(
    name="weakest_neuron",
    title="The predictor is at least as aligned as its weakest neuron",
    left=r"\min_j\psi_j",
    direction="at_most",
    expression=PSI.symbol,
    quantities=(PSI,),
    place="a note of mine",
    provenance="ours",
    measure=weakest_neuron,
)
FALSE_LEMMA = Statement(
    name="strongest_neuron",
    title="The predictor is at most as aligned as its strongest neuron",
    left=r"\max_j\psi_j",
    direction="at_least",
    expression=PSI.symbol,
    quantities=(PSI,),
    place="a note of mine",
    provenance="ours",
    measure=strongest_neuron,
)


@settings(max_examples=30)
@given(problems())
def test_my_lemma(problem: Problem) -> None:
    assert_holds(LEMMA, problem)


def test_a_false_lemma_is_refuted_by_a_problem_that_the_message_makes() -> None:
    @settings(FIRST, print_blob=False)
    @given(problems())
    def test_my_false_lemma(problem: Problem) -> None:
        assert_holds(FALSE_LEMMA, problem)

    with pytest.raises(AssertionError) as caught:
        test_my_false_lemma()
    message = str(caught.value)
    assert message.startswith("strongest_neuron: fails (ours)")
    assert "measured = " in message
    code = message.split("\n  on ", 1)[1]
    verdict = FALSE_LEMMA.check(eval(code, dict(NAMES)))
    assert verdict.judgement is Judgement.FAILS
    assert f"measured = {verdict.witness['measured']:.10g}" in message


def test_what_is_out_of_scope_is_another_draw_and_never_in_scope_is_an_error() -> None:
    problem = Population(n=4, width=2).problem(0)
    with pytest.raises(ScopeError, match="scaling_with_depth: one problem does not decide it"):
        assert_holds(statements.scaling_with_depth, problem)

    @settings(max_examples=5, database=None)
    @given(st.just(problem))
    def never_in_scope(drawn: Problem) -> None:
        assert_holds(statements.scaling_with_depth, drawn)

    with pytest.raises(hypothesis.errors.Unsatisfiable):
        never_in_scope()


# -------------------------------------------------------------------------------------- search


def falsehood(name: str) -> Statement:
    return next(f.statement for f in falsehoods.FALSEHOODS if f.statement.name == name)


def test_a_search_finds_a_counterexample_and_makes_it_small() -> None:
    found = search(falsehood("norm_growth_but_false"), budget=20.0, shrink=20.0)
    assert found.is_refuted
    assert found.verdict is not None
    assert found.problem is not None
    assert found.verdict.slack < 0.0
    assert (found.problem.sample.n, found.problem.network.width) == (2, 1)
    again = eval(repr(found.problem), dict(NAMES))
    verdict = falsehood("norm_growth_but_false").check(again)
    assert verdict.judgement is Judgement.FAILS
    assert str(found).startswith("a counterexample (")
    assert repr(found.problem) in str(found)
    assert 1 <= found.in_scope <= found.examples


def test_a_search_that_ends_by_itself_is_the_same_for_the_same_seed() -> None:
    # what a search returns when its time is up depends on how far it came: no two are the same
    first, second = (
        search(falsehood("norm_growth_but_false"), budget=60.0, shrink=60.0, seed=5)
        for _ in range(2)
    )
    assert repr(first.problem) == repr(second.problem)
    assert repr(first.verdict) == repr(second.verdict)
    assert (first.examples, first.in_scope) == (second.examples, second.in_scope)


def test_a_search_for_what_is_true_returns_the_tightest() -> None:
    seen: list[float] = []
    few = st.sampled_from([Population(n=3, width=2).problem(seed) for seed in range(6)])
    found = search(statements.over_fitting_at_most, budget=10.0, problems=few)
    assert not found.is_refuted
    assert found.verdict is not None
    for seed in range(6):
        verdict = statements.over_fitting_at_most.check(Population(n=3, width=2).problem(seed))
        if verdict.judgement is Judgement.HOLDS:
            seen.append(verdict.tightness)
    assert found.verdict.tightness == max(seen)
    assert found.seconds < 9.0, "there are six problems only"
    assert str(found).startswith("no counterexample; the tightest (")


def test_a_search_among_what_is_out_of_scope_says_so() -> None:
    unlabelled = Problem(Sample([[1.0]], [1.0]), Network([[1.0]], [1.0]), -9.0)
    found = search(statements.half_angle, budget=2.0, problems=st.just(unlabelled))
    assert (found.verdict, found.problem, found.in_scope) == (None, None, 0)
    assert found.examples > 0
    assert str(found).startswith("nothing was in scope: ")


def test_a_search_keeps_to_its_budget() -> None:
    found = search(statements.conic_hull, budget=1.5)
    assert 1.4 < found.seconds < 6.0


def test_an_error_in_the_measurement_is_not_swallowed() -> None:
    def broken(problem: Problem) -> Measured:
        raise ZeroDivisionError("in my measure")

    lemma = Statement("own", "Own", "x", "equal", sympy.Integer(1), (), "here", "ours")
    object.__setattr__(lemma, "measure", broken)
    with pytest.raises(ZeroDivisionError, match="in my measure"):
        search(lemma, budget=5.0)


@pytest.mark.parametrize(
    "times", [{"budget": 0.0}, {"budget": -1.0}, {"budget": math.nan}, {"budget": math.inf}]
)
def test_times_that_are_none_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ProblemError, match="give times"):
        search(statements.conic_hull, **times)
    with pytest.raises(ProblemError, match="give times"):
        search(statements.conic_hull, budget=1.0, shrink=-1.0)


def test_what_cannot_be_measured_cannot_be_searched() -> None:
    with pytest.raises(ProblemError, match="scaling_with_depth cannot be searched"):
        search(statements.scaling_with_depth, budget=1.0)


def test_a_search_is_a_value() -> None:
    nothing = Search(None, None, examples=3, in_scope=0, seconds=0.1)
    assert not nothing.is_refuted
    assert str(nothing) == "nothing was in scope: 3 problems in 0 s, 0 in scope"
