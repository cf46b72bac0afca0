"""A statement held against a problem: what is in scope, the comparison, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..enclosure import enclose
from ..errors import EnclosureError, ScopeError
from ..observation import Measured, Problem
from ..verdicts import Comparison, Judgement, Verdict, compare

if TYPE_CHECKING:
    from .statement import Statement

__all__ = ["judged"]

FloatArray: TypeAlias = NDArray[np.float64]

# of the formula in float64, relative: functions and the conditioning of a few operations
EVALUATION = 32.0 * float(np.finfo(np.float64).eps)


def judged(statement: Statement, problem: Problem) -> Verdict:
    """The verdict on a statement on a problem."""
    try:
        measured, given, reason = _in_scope(statement, problem)
    except ScopeError as error:
        return _without(statement, Judgement.OUT_OF_SCOPE, str(error))
    if not measured.value.size:
        return _without(statement, Judgement.OUT_OF_SCOPE, reason)
    return _verdict(statement, measured, given)


def _without(statement: Statement, judgement: Judgement, reason: str) -> Verdict:
    return Verdict(statement.name, judgement, statement.provenance, reason)


def _in_scope(
    statement: Statement, problem: Problem
) -> tuple[Measured, dict[str, FloatArray], str]:
    """What is measured where the statement says something, the quantities there, and why no more.

    Raises
    ------
    ScopeError
        The problem breaks a hypothesis, or there is nothing to measure.
    """
    broken = statement.broken_by(problem)
    if broken:
        raise ScopeError(f"broken: {broken[0]}")
    if statement.measure is None:
        raise ScopeError("one problem does not decide it: it takes a sweep over many")
    measured = statement.measure(problem)
    given = _quantities(statement, measured)
    inside, reason = np.isfinite(measured.value), "there is no point to compare at"
    for hypothesis in statement.hypotheses:
        if hypothesis.condition is not None:
            holds = np.broadcast_to(statement.truth(hypothesis, given), inside.shape)
            if inside.any() and not (inside & holds).any():
                reason = f"nowhere {hypothesis.words}"
            inside = inside & holds
    if statement.says_nothing is not None and inside.any():
        silent = statement.truth(statement.says_nothing, given)
        inside = inside & ~np.broadcast_to(silent, inside.shape)
        reason = f"it says nothing: {statement.says_nothing.words}"
    chosen = {n: np.broadcast_to(value, inside.shape)[inside] for n, value in given.items()}
    return measured.at(inside), chosen, reason


def _quantities(statement: Statement, measured: Measured) -> dict[str, FloatArray]:
    """The statement's quantities at the points, or its defaults."""
    given: dict[str, FloatArray] = {}
    for quantity in statement.quantities:
        value = measured.parameters.get(quantity.name, statement.defaults.get(quantity.name))
        if value is None:
            raise ScopeError(f"the measurement gives no {quantity.name}")
        given[quantity.name] = np.asarray(value, dtype=np.float64)
        objection = quantity.objection(given[quantity.name])
        if objection:
            raise ScopeError(objection)
    return given


def _verdict(statement: Statement, measured: Measured, given: dict[str, FloatArray]) -> Verdict:
    value = measured.value
    formula = np.array(np.broadcast_to(statement.formula(given), value.shape))
    finite = np.isfinite(formula)
    if not finite.all():  # beyond float64: nothing is decided there
        measured, value, formula = measured.at(finite), value[finite], formula[finite]
        given = {name: np.broadcast_to(v, finite.shape)[finite] for name, v in given.items()}
        if not value.size:
            reason = "the formula is beyond float64"
            return _without(statement, Judgement.INCONCLUSIVE, reason)
    error = measured.error + EVALUATION * np.abs(formula)
    found = _compared(statement, value, formula, error)
    k = found.decisive
    witness = {"measured": float(value[k]), "formula": float(formula[k])}
    witness |= {name: float(array[k]) for name, array in given.items()}
    witness |= {name: float(array[k]) for name, array in measured.where.items()}
    judgement, reason = _certified(statement, found.judgement, value[k], error[k], given, k)
    return Verdict(
        statement.name,
        judgement,
        statement.provenance,
        reason,
        evidence=measured.how,
        points=int(value.size),
        unresolved=int(found.unresolved.sum()),
        touches=int(found.touches.sum()),
        slack=float(found.slack[k]),
        tightness=float(np.max(np.where(found.unresolved, 0.0, found.tightness))),
        error=float(error[k]),
        witness=witness,
    )


def _compared(
    statement: Statement, value: FloatArray, formula: FloatArray, error: FloatArray
) -> Comparison:
    return compare(
        statement.direction,
        value,
        formula,
        error,
        statement.tolerance,
        statement.scale,
        statement.floor,
    )


def _certified(
    statement: Statement,
    judgement: Judgement,
    value: float,
    error: float,
    given: dict[str, FloatArray],
    k: int,
) -> tuple[Judgement, str]:
    """The judgement with the formula enclosed at the decisive point, and why it changed."""
    if judgement not in (Judgement.HOLDS, Judgement.FAILS):
        return judgement, "the error does not tell the two sides apart"
    at = {quantity.symbol: float(given[quantity.name][k]) for quantity in statement.quantities}
    try:
        ball = enclose(statement.expression, at)
    except EnclosureError as problem:
        return Judgement.INCONCLUSIVE, f"the formula is not enclosed: {problem}"
    ends = np.array([ball.low, ball.high])
    found = _compared(statement, np.full(2, value), ends, np.full(2, error))
    agrees = found.fails if judgement is Judgement.FAILS else found.holds
    if agrees.all():
        return judgement, ""
    return Judgement.INCONCLUSIVE, f"float64 has lost the formula's digits: it is {ball}"
