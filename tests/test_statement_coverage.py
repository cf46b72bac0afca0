"""No statement without a derivation, a numerical check, a property test and a place in the docs."""

import re
from collections import Counter
from pathlib import Path

import pytest
from derivations import FILES, concluded

from overalign.statements import REGISTRY, Statement

THEORY = (Path(__file__).resolve().parent.parent / "docs" / "theory.md").read_text("utf-8")
SECTIONS = set(re.findall(r"^### (\d\.\d) ", THEORY, re.MULTILINE))
SWEEP = "it compares optima of sweeps over many problems, n and h"
ONLY_A_SWEEP_DECIDES = {
    "scaling_of_the_paper": SWEEP,
    "scaling_by_the_onset": SWEEP,
    "scaling_by_the_initial_function": SWEEP,
    "scaling_with_depth": SWEEP,
}
ALL = pytest.mark.parametrize("statement", REGISTRY.values(), ids=list(REGISTRY))


@pytest.fixture(scope="module")
def derivations() -> Counter[str]:
    """How many files of theory/ derive each statement."""
    return Counter(name for file in FILES for name in concluded(file))


@ALL
def test_it_is_derived_once(statement: Statement, derivations: Counter[str]) -> None:
    assert derivations[statement.name] == 1


def test_what_is_derived_is_a_statement(derivations: Counter[str]) -> None:
    assert set(derivations) <= set(REGISTRY)


@ALL
def test_it_is_measured_or_only_a_sweep_decides_it(statement: Statement) -> None:
    assert (statement.measure is None) == (statement.name in ONLY_A_SWEEP_DECIDES)


@ALL
def test_it_has_a_property_test(statement: Statement) -> None:
    from properties.test_true_statements import MEASURED

    assert (statement.name in MEASURED) != (statement.name in ONLY_A_SWEEP_DECIDES)


@ALL
def test_it_stands_in_the_docs(statement: Statement) -> None:
    named = statement.place.split("theory.md", 1)[1]
    sections = re.findall(r"(?<![\d(])(\d\.\d)(?![\d)])", named)
    equations = re.findall(r"\((\d\.\d'?)\)", named)
    assert sections or equations
    assert set(sections) <= SECTIONS
    assert all(rf"\tag{{{equation}}}" in THEORY for equation in equations)


def test_the_exceptions_are_statements() -> None:
    assert set(ONLY_A_SWEEP_DECIDES) <= set(REGISTRY)
    assert all(ONLY_A_SWEEP_DECIDES.values())
