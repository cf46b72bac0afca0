"""What is false must be refuted, by the search that users run, in little time."""

import time

import pytest
from falsehoods import FALSEHOODS, NAMES, Falsehood

from overalign.statements import REGISTRY
from overalign.testing import search
from overalign.verdicts import Judgement

BUDGET = 20.0  # seconds for one; together they take a fraction of that
seconds: dict[str, float] = {}


@pytest.mark.parametrize("falsehood", FALSEHOODS, ids=NAMES)
def test_a_falsehood_is_refuted(falsehood: Falsehood, request: pytest.FixtureRequest) -> None:
    began = time.monotonic()
    found = search(falsehood.statement, BUDGET, shrink=0.5, problems=falsehood.among)
    seconds[request.node.name] = time.monotonic() - began
    assert found.is_refuted, f"{falsehood.why}: not found; {found}"
    assert found.problem is not None
    verdict = falsehood.statement.check(found.problem)
    assert verdict.judgement is Judgement.FAILS
    assert verdict.slack < 0.0


def test_all_of_them_take_less_than_three_minutes() -> None:
    assert sum(seconds.values()) < 180.0, sorted(seconds.items(), key=lambda item: -item[1])[:5]


def test_each_is_a_variant_of_a_statement_and_says_why_it_is_false() -> None:
    originals = {falsehood.statement.name.removesuffix("_but_false") for falsehood in FALSEHOODS}
    assert originals <= set(REGISTRY)
    assert len(FALSEHOODS) >= 30
    assert all(falsehood.why for falsehood in FALSEHOODS)
