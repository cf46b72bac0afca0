"""No statement fails on any problem: in the setting of the theory, and beyond it."""

from hypothesis import event, given, settings

from overalign.observation import Problem
from overalign.statements import REGISTRY
from overalign.testing import problems
from overalign.verdicts import Judgement

MEASURED = {name: s for name, s in REGISTRY.items() if s.measure is not None}
beyond = problems(separable=False, balanced=False, logistic=False, log_alpha=(-60.0, 1.0))
large = problems(separable=False, log_alpha=(-4.0, 1.0))


def require_no_failure(problem: Problem) -> None:
    """Every statement on one problem, which is solved once for all."""
    failed = []
    for name, statement in MEASURED.items():
        verdict = statement.check(problem)
        event(f"{name}: {verdict.judgement.value}")
        if verdict.judgement is Judgement.FAILS:
            failed.append(verdict.describe(problem))
        if verdict.judgement is Judgement.HOLDS:
            assert verdict.points > verdict.unresolved, f"{name} holds of nothing"
            assert verdict.slack >= -1.01 * statement.tolerance or verdict.unresolved
            assert not statement.broken_by(problem)
    assert not failed, "\n".join(failed)


@settings(max_examples=15)
@given(problems())
def test_in_the_setting_of_the_theory(problem: Problem) -> None:
    require_no_failure(problem)


@settings(max_examples=15)
@given(beyond)
def test_beyond_it(problem: Problem) -> None:
    require_no_failure(problem)


@settings(max_examples=10)
@given(large)
def test_on_any_data_at_large_scales(problem: Problem) -> None:
    require_no_failure(problem)
