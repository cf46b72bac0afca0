"""A derivation takes a step that holds and refuses one that does not."""

from typing import Any

import pytest
import sympy as sp

from overalign.derivation import Derivation, report
from overalign.errors import DerivationError, ProblemError
from overalign.statements.quantities import QUANTITIES

n_plus, x_max = (QUANTITIES[name].symbol for name in ("class_size", "x_max"))
x, y = sp.symbols("x y", real=True)
a = sp.Symbol("a", positive=True)


@pytest.fixture
def proof() -> Derivation:
    return Derivation("Title")


def test_steps_are_kept_with_how_they_were_checked(proof: Derivation) -> None:
    proof.equal("one", (x + y) ** 2, x**2 + 2 * x * y + y**2)
    proof.at_least_zero("two", a**2 + x**2)
    proof.at_least_zero_on("three", x * (1 - x), {x: (0, 1)})
    proof.numerical("four", -1e-9, at_most=1e-6)
    proof.ends_with("class_norm_at_most", x_max * n_plus)
    hows = ["algebra", "signs", "box", "numerical only", "algebra"]
    assert [step.how for step in proof.steps] == hows
    assert proof.steps[3].text == "four (to 1.0e-09)"
    assert proof.concluded == ["class_norm_at_most"]
    lines = str(proof).splitlines()
    assert (lines[0], lines[3]) == ("Title", "  3. three [box]")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (sp.sin(2 * x), 2 * sp.sin(x) * sp.cos(x)),
        (sp.tanh(x), (sp.exp(2 * x) - 1) / (sp.exp(2 * x) + 1)),
        (sp.sqrt(a**2), a),
        (1, 1),
    ],
)
def test_what_is_equal(proof: Derivation, left: Any, right: Any) -> None:
    proof.equal("it is", left, right)
    assert len(proof.steps) == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [(x, y), (sp.sqrt(x**2), x), (sp.sin(x), x), (1, 1 + sp.Float("1e-12")), (x, sp.nan)],
)
def test_what_is_not_equal(proof: Derivation, left: Any, right: Any) -> None:
    with pytest.raises(DerivationError, match=r"step: .* are not found equal"):
        proof.equal("step", left, right)
    assert not proof.steps


def test_signs_that_follow_only_factored_or_expanded(proof: Derivation) -> None:
    proof.at_least_zero("a square, factored", x**2 - 2 * x * y + y**2)
    proof.at_least_zero("a product, expanded", (a + 1) * (a**2 - a + 1))
    for expression in (x, x - x**2, a - 1, -(a**2)):
        with pytest.raises(DerivationError, match=r"the sign of .* does not follow"):
            proof.at_least_zero("step", expression)
    assert len(proof.steps) == 2


def test_signs_on_a_box(proof: Derivation) -> None:
    square = {x: (0, 1), y: (0, 1)}
    proof.at_least_zero_on("restricted", 1 - x - y, square, where=x + y < 0.75)
    with pytest.raises(DerivationError, match="step: "):
        proof.at_least_zero_on("step", x - sp.Rational(1, 2), {x: (0, 1)})
    assert len(proof.steps) == 1


@pytest.mark.parametrize("gap", [1e-3, -1e-3, float("nan"), float("inf")])
def test_a_gap_that_is_too_large_or_no_number(proof: Derivation, gap: float) -> None:
    with pytest.raises(DerivationError, match="at most 1e-06 was expected"):
        proof.numerical("step", gap, at_most=1e-6)
    assert not proof.steps


def test_a_derivation_ends_in_the_formula_of_its_statement(proof: Derivation) -> None:
    with pytest.raises(DerivationError, match=r"class_norm_at_most: derived .* the statement has"):
        proof.ends_with("class_norm_at_most", 2 * x_max * n_plus)
    with pytest.raises(DerivationError):  # the name alone does not make it the same symbol
        proof.ends_with("class_norm_at_most", sp.Symbol("x_max") * n_plus)
    with pytest.raises(ProblemError, match="did you mean class_norm_at_most"):
        proof.ends_with("class_norm_at_mos", x_max * n_plus)
    assert not proof.concluded
    assert not proof.steps


def test_a_report_holds_the_formula_against_a_measurement(proof: Derivation) -> None:
    proof.ends_with("class_norm_at_most", n_plus * x_max)
    proof.concluded.append("scaling_with_depth")
    lines = report(proof).splitlines()
    assert lines[0] == "Title"
    assert lines[2].startswith("class_norm_at_most: measured ")
    assert lines[2].endswith("; holds")
    assert lines[3].startswith("scaling_with_depth: one problem does not decide it")
