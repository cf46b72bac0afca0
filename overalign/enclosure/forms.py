"""SymPy expressions as lists of steps on balls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sympy
from flint import arb, fmpq
from sympy.codegen.cfunctions import expm1, log1p
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from ..errors import EnclosureError
from ..special import NoncentralFCdf, NoncentralTSurvival, OptimalConeAngle, Phi
from .balls import (
    Operation,
    absolute,
    all_of,
    any_of,
    between_poles,
    delta,
    equal,
    extreme,
    fmpq_of,
    fraction_of_float,
    general_power,
    heaviside,
    less,
    monotone,
    negation,
    no_more,
    piecewise,
    power,
    product,
    sign,
    sum_of,
    wave,
)
from .laws import noncentral_f_cdf, noncentral_t_survival, normal_cdf, optimal_cone_angle

ARB_FORMS: dict[type, Operation] = {
    sympy.Add: sum_of,
    sympy.Mul: product,
    sympy.exp: monotone(arb.exp),
    sympy.log: monotone(arb.log),
    expm1: monotone(arb.expm1),
    log1p: monotone(arb.log1p),
    sympy.sin: wave(arb.sin, 0.5),
    sympy.cos: wave(arb.cos, 0.0),
    sympy.tan: between_poles(arb.tan, 0.5),
    sympy.cot: between_poles(arb.cot, 0.0),
    sympy.asin: monotone(arb.asin),
    sympy.acos: monotone(arb.acos),
    sympy.atan: monotone(arb.atan),
    sympy.sinh: monotone(arb.sinh),
    sympy.cosh: lambda x: monotone(arb.cosh)(absolute(x)),
    sympy.tanh: monotone(arb.tanh),
    sympy.asinh: monotone(arb.asinh),
    sympy.acosh: monotone(arb.acosh),
    sympy.atanh: monotone(arb.atanh),
    sympy.erf: monotone(arb.erf),
    sympy.erfc: monotone(arb.erfc),
    sympy.Max: extreme(arb.max),
    sympy.Min: extreme(arb.min),
    sympy.Abs: absolute,
    sympy.sign: sign,
    sympy.Heaviside: heaviside,
    sympy.DiracDelta: delta,
    Phi: monotone(normal_cdf),
    NoncentralFCdf: noncentral_f_cdf,
    NoncentralTSurvival: noncentral_t_survival,
    OptimalConeAngle: optimal_cone_angle,
    sympy.StrictLessThan: less,
    sympy.LessThan: no_more,
    sympy.StrictGreaterThan: lambda x, y: less(y, x),
    sympy.GreaterThan: lambda x, y: no_more(y, x),
    sympy.Equality: equal,
    sympy.Unequality: lambda x, y: negation(equal(x, y)),
    sympy.And: all_of,
    sympy.Or: any_of,
    sympy.Not: negation,
}
"""SymPy class -> function of balls, one for each argument, that returns a ball.

To add a function is to add an entry. Whatever the arguments' points, the ball must contain the
value; where some point has none it must be not a number (``arb.nan()``).
"""


# ------------------------------------------------------------------------------------ steps


class Steps:
    """Expressions as one list of steps; equal subexpressions are one step."""

    def __init__(self, names: tuple[str, ...], expressions: Sequence[Any]) -> None:
        self.names = names
        self._place: dict[Any, int] = {}
        self._expressions: list[Any] = list(names)
        self._steps: list[tuple[Operation, tuple[int, ...]]] = []
        self._results = [self._placed(expression) for expression in expressions]

    def __call__(self, balls: Sequence[arb]) -> list[Any]:
        """The results, of one ball for each of `names`."""
        registers = self._registers(balls)
        return [registers[place] for place in self._results]

    def _registers(self, balls: Sequence[arb]) -> list[Any]:
        registers: list[Any] = list(balls)
        for operation, places in self._steps:
            registers.append(operation(*[registers[place] for place in places]))
        return registers

    def _placed(self, expression: Any) -> int:
        if isinstance(expression, sympy.Symbol):
            return self.names.index(expression.name)
        if expression not in self._place:
            operation, arguments = _step(expression)
            places = tuple(self._placed(argument) for argument in arguments)
            self._steps.append((operation, places))
            self._expressions.append(expression)
            self._place[expression] = len(self._expressions) - 1
        return self._place[expression]

    def objection(self, balls: Sequence[arb]) -> str:
        """Which subexpression of the first result is undefined, and on which balls."""
        registers = self._registers(balls)
        place = self._results[0]
        while place >= len(self.names):
            _, places = self._steps[place - len(self.names)]
            deeper = [k for k in places if _is_bad(registers[k])]
            if not deeper:
                given = {str(self._expressions[k]): registers[k] for k in places}
                words = ", ".join(f"{name} = {_in_short(ball)}" for name, ball in given.items())
                return f"{self._expressions[place]} is undefined or unbounded where {words}"
            place = deeper[0]
        return f"{self._expressions[place]} is not a number"


def _is_bad(ball: Any) -> bool:
    return isinstance(ball, arb) and not ball.is_finite()


def _in_short(ball: Any) -> str:
    return ball.str(8) if isinstance(ball, arb) else str(ball)


def _step(expression: Any) -> tuple[Operation, tuple[Any, ...]]:
    """The operation of an expression's outermost function, and what it is applied to."""
    if isinstance(expression, sympy.Rational):
        exact = fmpq(int(expression.p), int(expression.q))
        return (lambda: arb(exact)), ()
    if isinstance(expression, sympy.Float):
        exact = fmpq_of(fraction_of_float(expression))
        return (lambda: arb(exact)), ()
    if expression is sympy.pi or expression is sympy.E:
        return (arb.pi if expression is sympy.pi else arb.const_e), ()
    if isinstance(expression, BooleanTrue | BooleanFalse):
        truth = bool(expression)
        return (lambda: truth), ()
    if isinstance(expression, sympy.Pow):
        base, exponent = expression.args
        if isinstance(exponent, sympy.Float):
            exponent = sympy.Rational(*fraction_of_float(exponent).as_integer_ratio())
        if isinstance(exponent, sympy.Rational):
            return power(base, exponent), (base,)
        return general_power, (base, exponent)
    if isinstance(expression, sympy.Piecewise):
        return piecewise, tuple(part for piece in expression.args for part in piece.args)
    operation = ARB_FORMS.get(expression.func)
    if operation is None:
        raise EnclosureError(
            f"{expression}: {expression.func.__name__} has no form in balls; add one to ARB_FORMS"
        )
    return operation, expression.args


@lru_cache(maxsize=512)
def steps_of(names: tuple[str, ...], *expressions: Any) -> Steps:
    """The steps of expressions, whose symbols are named."""
    return Steps(names, expressions)


def names_in(*expressions: Any) -> tuple[str, ...]:
    """Names of the symbols of expressions."""
    return tuple(sorted({s.name for expression in expressions for s in expression.free_symbols}))
