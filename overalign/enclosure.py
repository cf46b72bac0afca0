"""Rigorous values and signs of SymPy expressions, in ball arithmetic (Arb, through python-flint).

An expression is turned into a list of steps once; each step maps balls to a ball that contains the
value at every point of its arguments. What is not defined at every point is not a number, and the
message says which subexpression it was.

Examples
--------
>>> x = sympy.Symbol("x")
>>> print(enclose(sympy.tanh(x), {"x": "0.3"}, digits=20))
[0.2913126124515909058182213 +/- 2.72e-26]
>>> certify(x - sympy.tanh(x), "positive", {"x": (0.1, 5.0)}).is_certified
True
"""

from __future__ import annotations

import heapq
import math
import numbers
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import sympy
from flint import arb, ctx, fmpq, fmpz
from sympy.codegen.cfunctions import expm1, log1p
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from .errors import EnclosureError
from .special import NoncentralFCdf, NoncentralTSurvival, OptimalConeAngle, Phi

__all__ = ["ARB_FORMS", "Certificate", "Enclosure", "certify", "certify_monotone", "enclose"]

Sign: TypeAlias = Literal["positive", "negative", "nonnegative", "nonpositive"]
Number: TypeAlias = int | float | Fraction | str | sympy.Expr
Value: TypeAlias = Number | tuple[Number, Number]
Operation: TypeAlias = Callable[..., Any]  # of balls, truths or both
Function: TypeAlias = Callable[[arb], arb]
Sides: TypeAlias = tuple[tuple[float, float], ...]

NAN = arb.nan()
ZERO, ONE = arb(0), arb(1)
BITS_PER_DIGIT = math.log2(10)
NARROW = 40  # bits of relative accuracy from which a ball is as good as a point
NEXT_TO_ZERO = arb(2) ** -60
MOST_TERMS = 5_000_000
SMALLEST = 1e-60  # share of the box below which a sub-box is left undecided
BORDER_FIRST = 32.0  # how much narrower a sub-box on a border gets along what the border depends on
SHOWN_BOXES = 20

# flint's precision belongs to the process, so threads take turns
_TURN = threading.RLock()


@contextmanager
def _working(digits: int) -> Iterator[None]:
    """Work with that many decimal digits, and leave the precision as it was."""
    with _TURN, ctx.workprec(math.ceil(digits * BITS_PER_DIGIT) + 10):
        yield


# ------------------------------------------------------------------------------------ balls


def _between(low: arb, high: arb) -> arb:
    """A ball that contains [low, high], both exact.

    A radius has 30 bits, so one end only can be kept as it is: the one with fewer bits, because
    ends of domains are round numbers. An end much nearer to zero than the other becomes zero, which
    keeps the sign.
    """
    if ZERO < low < high * NEXT_TO_ZERO:
        low = ZERO
    elif low * NEXT_TO_ZERO < high < ZERO:
        high = ZERO
    radius = ((high - low) / 2).upper()
    if not radius.is_finite():
        return NAN if radius.is_nan() else low.union(high)
    spread = arb(0, radius)
    reach = spread.rad()
    return (low + reach if low.bits() <= high.bits() else high - reach) + spread


def _hull(*balls: arb) -> arb:
    """A ball that contains all of them."""
    low, high = balls[0].lower(), balls[0].upper()
    for ball in balls[1:]:
        low, high = low.min(ball.lower()), high.max(ball.upper())
    return _between(low, high)


def _is_narrow(ball: arb) -> bool:
    return bool(ball.rel_accuracy_bits() >= NARROW)


def _monotone(function: Function) -> Function:
    """Of a monotone function: its value at the ends of a wide ball."""

    def of_ball(x: arb) -> arb:
        if _is_narrow(x) or x.is_nan():
            return function(x)
        return _hull(function(x.lower()), function(x.upper()))

    return of_ball


def _wave(function: Function, phase: float) -> Function:
    """Of sine or cosine: its extremes are (-1)^k at (k + phase) pi."""

    def of_ball(x: arb) -> arb:
        if _is_narrow(x) or not x.is_finite():
            return function(x)
        if x.rad() > 4:
            return arb(0, 1)
        low, high = x.lower(), x.upper()
        first = _floor((low / arb.pi() - phase).lower())
        last = _floor((high / arb.pi() - phase).upper())
        if last - first > 1:
            return arb(0, 1)
        ends = [function(low), function(high)]
        return _hull(*ends) if first == last else _hull(*ends, arb(1 - 2 * (last % 2)))

    return of_ball


def _floor(exact: arb) -> int:
    return int(exact.floor().fmpz())


def _between_poles(function: Function, phase: float) -> Function:
    """Of tangent or cotangent: monotone between its poles at (k + phase) pi."""

    def of_ball(x: arb) -> arb:
        if _is_narrow(x) or not x.is_finite():
            return function(x)
        low, high = x.lower(), x.upper()
        first = _floor((low / arb.pi() - phase).lower())
        if x.rad() > 4 or first != _floor((high / arb.pi() - phase).upper()):
            return NAN
        return _hull(function(low), function(high))

    return of_ball


def _sum(*terms: arb) -> arb:
    wide = sum(not _is_narrow(term) for term in terms)
    if wide < 2:
        return sum(terms[1:], terms[0])
    low, high = (
        sum(ends, ZERO) for ends in zip(*((t.lower(), t.upper()) for t in terms), strict=True)
    )
    return _hull(low, high)


def _product(*factors: arb) -> arb:
    total = factors[0]
    for factor in factors[1:]:
        total = _times(total, factor)
    return total


def _times(x: arb, y: arb) -> arb:
    if _is_narrow(x) and _is_narrow(y):
        return x * y
    a, b, c, d = x.lower(), x.upper(), y.lower(), y.upper()
    if a >= 0 and c >= 0:
        return _hull(a * c, b * d)
    return _hull(a * c, a * d, b * c, b * d)


def _absolute(x: arb) -> arb:
    return abs(x) if _is_narrow(x) else _between(x.abs_lower(), x.abs_upper())


def _sign(x: arb) -> arb:
    return _three_ways(x, arb(-1), ZERO, ONE)


def _heaviside(x: arb, at_zero: arb) -> arb:
    return _three_ways(x, ZERO, at_zero, ONE)


def _delta(x: arb, _order: arb = ZERO) -> arb:
    return ZERO if x > 0 or x < 0 else NAN


def _three_ways(x: arb, negative: arb, zero: arb, positive: arb) -> arb:
    if x.is_nan():
        return NAN
    if x.is_zero():
        return zero
    if x > 0 or x < 0:
        return positive if x > 0 else negative
    return _hull(negative, zero, positive)


def _extreme(choose: Callable[[arb, arb], arb]) -> Operation:
    """Max or Min of any number of balls, end by end."""

    def of_balls(*balls: arb) -> arb:
        best = balls[0]
        for ball in balls[1:]:
            if _is_narrow(best) and _is_narrow(ball):
                best = choose(best, ball)
            else:
                low = choose(best.lower(), ball.lower())
                best = _between(low, choose(best.upper(), ball.upper()))
        return best

    return of_balls


# ----------------------------------------------------------------------------------- powers


def _power(base: Any, exponent: Any) -> Operation:
    """The operation base -> base**exponent, of a rational exponent."""
    top, bottom = abs(int(exponent.p)), int(exponent.q)
    raised = _whole_power(top)
    rooted = _root(bottom, bool(base.is_nonnegative)) if bottom > 1 else None

    def of_ball(x: arb) -> arb:
        result = raised(x if rooted is None else rooted(x))
        return _reciprocal(result) if exponent.p < 0 else result

    return of_ball


def _whole_power(n: int) -> Operation:
    if n == 1:
        return lambda x: x
    # arb raises to a fmpz by multiplications, so negative bases are in order
    power = _monotone(lambda x: x ** fmpz(n))
    return power if n % 2 else lambda x: power(_absolute(x))


def _root(n: int, is_nonnegative: bool) -> Operation:
    def root(x: arb) -> arb:
        if n == 2:
            return x.sqrt()
        if x.is_zero():
            return ZERO
        return x.root(n) if n <= 64 else (x.log() / n).exp()

    ends = _monotone(root)

    def of_ball(x: arb) -> arb:
        # what is below zero is rounding where SymPy knows that the base is not negative
        if is_nonnegative and x.lower() < 0 <= x.upper():
            x = _between(ZERO, x.upper())
        return ends(x)

    return of_ball


def _reciprocal(x: arb) -> arb:
    if _is_narrow(x):
        return 1 / x
    return NAN if x.contains(0) else _hull(1 / x.lower(), 1 / x.upper())


def _general_power(base: arb, exponent: arb) -> arb:
    if base > 0:
        return _EXP(_times(exponent, _LOG(base)))
    return base**exponent if base.is_exact() and exponent.is_exact() else NAN


# ---------------------------------------------------------------------------------- the laws


def _phi(x: arb) -> arb:
    """Through erfc, which keeps its digits in the tail."""
    return (-x / arb(2).sqrt()).erfc() / 2


def _mixture(rate: arb, shift: Any, a: arb, b: arb, s: arb, rest: arb, upper: bool) -> arb:
    """Sum over j of w_j I_j with w_j = e^-rate rate^(j + shift) / Gamma(j + shift + 1).

    I_j is the regularised incomplete beta function at s with parameters a + j and b or, if upper,
    what it lacks to one; rest = 1 - s. The sum is taken over a window; what lies outside is bounded
    by geometric series.
    """
    with ctx.workprec(ctx.prec + 64):
        if rate.is_zero():
            return ZERO if shift else _beta(a, b, s, rest, upper)
        low, top = _window(float(rate), float(b), float(s), upper)
        sum_of = _summed_upwards if upper else _summed_downwards
        return sum_of(rate, arb(shift), a, b, s, rest, low, top)


def _beta(a: arb, b: arb, s: arb, rest: arb, upper: bool) -> arb:
    return rest.beta_lower(b, a, 1) if upper else s.beta_lower(a, b, 1)


def _window(rate: float, b: float, s: float, upper: bool) -> tuple[int, int]:
    """Where the terms are largest, with room for all that the precision can tell.

    I_(j+1) / I_j is about 1 or s (j + b) / j, the smaller one (if upper, the larger one).
    """
    turn = (rate * s + math.sqrt((rate * s) ** 2 + 4 * rate * s * b)) / 2
    peak = max(rate, turn) if upper else min(rate, turn)
    depth = 0.7 * ctx.prec + 20
    reach = math.sqrt(2 * depth * (peak + 1)) + depth
    if not 2 * reach <= MOST_TERMS:
        raise EnclosureError(
            f"a noncentral law needs {2 * reach:.3g} terms, more than {MOST_TERMS}; "
            "lower the noncentrality or the digits"
        )
    return max(0, math.floor(peak - reach)), math.ceil(peak + reach)


def _weight(rate: arb, at: arb) -> arb:
    return (at * rate.log() - rate - (at + 1).lgamma()).exp()


def _difference(c: arb, b: arb, s: arb, rest: arb) -> arb:
    """I_s(c, b) - I_s(c + 1, b)."""
    size = c * s.log() + b * rest.log() + (c + b).lgamma() - (c + 1).lgamma() - b.lgamma()
    return size.exp()


def _summed_downwards(
    rate: arb, shift: arb, a: arb, b: arb, s: arb, rest: arb, low: int, top: int
) -> arb:
    """The mixture of I_j, from the top of the window: every addition is of positive numbers."""
    weight, value = _weight(rate, top + shift), _beta(a + top, b, s, rest, False)
    step = _difference(a + top - 1, b, s, rest)
    end = a + top
    # I_(c+1) / I_c <= s (c + b) / c, and falls with c as rate / j does
    outside = _tail(weight * value, rate / (top + 1 + shift) * ONE.min(s * (end + b) / end))
    total = weight * value
    for j in range(top, low, -1):
        c = a + j - 1
        value += step
        step = step * c / (s * (c - 1 + b))
        weight = weight * (j + shift) / rate
        total += weight * value
    if low:
        ratio = (low + shift) / rate
        if b >= 1:  # I is log-concave in j: a tail sum of differences that are
            outside += _tail(weight * value, ratio * (value + step) / value)
        else:
            outside += _tail(weight, ratio)
    return total + outside


def _summed_upwards(
    rate: arb, shift: arb, a: arb, b: arb, s: arb, rest: arb, low: int, top: int
) -> arb:
    """The mixture of 1 - I_j, from the foot of the window."""
    weight, value = _weight(rate, low + shift), _beta(a + low, b, s, rest, True)
    step = _difference(a + low, b, s, rest)
    outside = ZERO
    if low:
        c = a + low - 1
        # J_c / J_(c+1) <= min(1, c / ((c + b) s)), and rises with c
        ratio = (low + shift) / rate * ONE.min(c / ((c + b) * s))
        outside = _tail(weight * value, ratio)
    total = weight * value
    for j in range(low, top):
        c = a + j
        value += step
        step = step * s * (c + b) / (c + 1)
        weight = weight * rate / (j + 1 + shift)
        total += weight * value
    end = a + top
    # J_(c+1) / J_c <= min((c + b) / c, 1 / J_c), and falls with c
    ratio = rate / (top + 1 + shift) * ((end + b) / end).min(1 / value)
    return total + outside + _tail(weight * value, ratio)


def _tail(last: arb, ratio: arb) -> arb:
    """[0, what follows the last term], where each term is at most ratio times the one before."""
    return _between(ZERO, (last * ratio / (1 - ratio)).upper()) if ratio < 1 else NAN


def _noncentral_f_cdf(x: arb, m: arb, n: arb, nu: arb) -> arb:
    """Rises with x and falls with the noncentrality."""
    _require_points("NoncentralFCdf", m, n)
    if not (nu.lower() >= 0 and m > 0 and n > 0):
        return NAN
    lowest = _f_cdf_at(x.lower(), m, n, nu.upper())
    if x.is_exact() and nu.is_exact():
        return lowest
    return _hull(lowest, _f_cdf_at(x.upper(), m, n, nu.lower()))


def _f_cdf_at(x: arb, m: arb, n: arb, nu: arb) -> arb:
    if not x > 0:
        return ZERO if x <= 0 else NAN
    whole = m * x + n
    return _mixture(nu / 2, 0, m / 2, n / 2, m * x / whole, n / whole, upper=False)


def _noncentral_t_survival(x: arb, nu: arb, tau: arb) -> arb:
    """Falls with x and rises with the noncentrality."""
    _require_points("NoncentralTSurvival", nu)
    if not nu > 0:
        return NAN
    lowest = _t_survival_at(x.upper(), nu, tau.lower())
    if x.is_exact() and tau.is_exact():
        return lowest
    return _hull(lowest, _t_survival_at(x.lower(), nu, tau.upper()))


def _t_survival_at(x: arb, nu: arb, tau: arb) -> arb:
    if x < 0:
        return 1 - _t_survival_at(-x, nu, -tau)
    if not x > 0:
        return _phi(tau) if x.is_zero() else NAN
    whole = x**2 + nu
    half, law = arb(0.5), (nu / 2, x**2 / whole, nu / whole, True)
    even = _mixture(tau**2 / 2, 0, half, *law)
    odd = _mixture(tau**2 / 2, half, ONE, *law)
    return (even + odd if tau >= 0 else even - odd) / 2


def _optimal_cone_angle(r: arb, phi: arb, a: arb) -> arb:
    """The root delta = phi - theta of a function that crosses zero once, upwards, below pi / 2."""
    if a.is_zero():
        return phi

    def lead(delta: arb, rest: arb) -> arb:
        law = (-((r * delta.cos()) ** 2) / 2).exp() / (2 * arb.pi()).sqrt()
        return r * delta.sin() * law - a * rest.cos()

    if not (a > 0 and r > 0 and phi > 0 and phi < arb.pi() / 2 and lead(phi, ZERO) > 0):
        return NAN
    roots = []
    for is_left in (lambda value: value < 0, lambda value: not value > 0):
        low, high = ZERO, phi.upper()
        for _ in range(ctx.prec):
            middle = ((low + high) / 2).mid()
            if is_left(lead(middle, phi - middle)):
                low = middle
            else:
                high = middle
        roots.append((low, high))
    # left of the first low end all points lie below the root, right of the second high end above
    return phi - _between(roots[0][0], roots[1][1])


def _require_points(law: str, *degrees: arb) -> None:
    for degree in degrees:
        if not _is_narrow(degree):
            raise EnclosureError(
                f"{law}: degrees of freedom are single numbers here, not {degree}; fix them"
            )


# ----------------------------------------------------------------------------- conditions


def _less(x: arb, y: arb) -> bool | None:
    """Whether x < y: yes, no, or (None) not the same at every point."""
    return True if x < y else (False if x >= y else None)


def _no_more(x: arb, y: arb) -> bool | None:
    return True if x <= y else (False if x > y else None)


def _equal(x: arb, y: arb) -> bool | None:
    if x < y or x > y:
        return False
    return True if x.is_exact() and y.is_exact() and x == y else None


def _negation(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _all(*truths: bool | None) -> bool | None:
    if False in truths:
        return False
    return None if None in truths else True


def _any(*truths: bool | None) -> bool | None:
    return _negation(_all(*(_negation(truth) for truth in truths)))


def _piecewise(*parts: Any) -> arb:
    """Parts: value, condition, value, condition, ..."""
    reached: list[arb] = []
    for value, condition in zip(parts[::2], parts[1::2], strict=True):
        if condition is not False:
            reached.append(value)
        if condition is True:
            return reached[0] if len(reached) == 1 else _hull(*reached)
    return NAN


_EXP, _LOG = _monotone(arb.exp), _monotone(arb.log)

ARB_FORMS: dict[type, Operation] = {
    sympy.Add: _sum,
    sympy.Mul: _product,
    sympy.exp: _EXP,
    sympy.log: _LOG,
    expm1: _monotone(arb.expm1),
    log1p: _monotone(arb.log1p),
    sympy.sin: _wave(arb.sin, 0.5),
    sympy.cos: _wave(arb.cos, 0.0),
    sympy.tan: _between_poles(arb.tan, 0.5),
    sympy.cot: _between_poles(arb.cot, 0.0),
    sympy.asin: _monotone(arb.asin),
    sympy.acos: _monotone(arb.acos),
    sympy.atan: _monotone(arb.atan),
    sympy.sinh: _monotone(arb.sinh),
    sympy.cosh: lambda x: _monotone(arb.cosh)(_absolute(x)),
    sympy.tanh: _monotone(arb.tanh),
    sympy.asinh: _monotone(arb.asinh),
    sympy.acosh: _monotone(arb.acosh),
    sympy.atanh: _monotone(arb.atanh),
    sympy.erf: _monotone(arb.erf),
    sympy.erfc: _monotone(arb.erfc),
    sympy.Max: _extreme(arb.max),
    sympy.Min: _extreme(arb.min),
    sympy.Abs: _absolute,
    sympy.sign: _sign,
    sympy.Heaviside: _heaviside,
    sympy.DiracDelta: _delta,
    Phi: _monotone(_phi),
    NoncentralFCdf: _noncentral_f_cdf,
    NoncentralTSurvival: _noncentral_t_survival,
    OptimalConeAngle: _optimal_cone_angle,
    sympy.StrictLessThan: _less,
    sympy.LessThan: _no_more,
    sympy.StrictGreaterThan: lambda x, y: _less(y, x),
    sympy.GreaterThan: lambda x, y: _no_more(y, x),
    sympy.Equality: _equal,
    sympy.Unequality: lambda x, y: _negation(_equal(x, y)),
    sympy.And: _all,
    sympy.Or: _any,
    sympy.Not: _negation,
}
"""SymPy class -> function of balls, one for each argument, that returns a ball.

To add a function is to add an entry. Whatever the arguments' points, the ball must contain the
value; where some point has none it must be not a number (``arb.nan()``).
"""


# ------------------------------------------------------------------------------------ steps


class _Steps:
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
        exact = _fmpq(_fraction_of_float(expression))
        return (lambda: arb(exact)), ()
    if expression is sympy.pi or expression is sympy.E:
        return (arb.pi if expression is sympy.pi else arb.const_e), ()
    if isinstance(expression, BooleanTrue | BooleanFalse):
        truth = bool(expression)
        return (lambda: truth), ()
    if isinstance(expression, sympy.Pow):
        base, exponent = expression.args
        if isinstance(exponent, sympy.Float):
            exponent = sympy.Rational(*_fraction_of_float(exponent).as_integer_ratio())
        if isinstance(exponent, sympy.Rational):
            return _power(base, exponent), (base,)
        return _general_power, (base, exponent)
    if isinstance(expression, sympy.Piecewise):
        return _piecewise, tuple(part for piece in expression.args for part in piece.args)
    operation = ARB_FORMS.get(expression.func)
    if operation is None:
        raise EnclosureError(
            f"{expression}: {expression.func.__name__} has no form in balls; add one to ARB_FORMS"
        )
    return operation, expression.args


@lru_cache(maxsize=512)
def _steps_of(names: tuple[str, ...], *expressions: Any) -> _Steps:
    return _Steps(names, expressions)


def _names(*expressions: Any) -> tuple[str, ...]:
    """Names of the symbols of expressions."""
    return tuple(sorted({s.name for expression in expressions for s in expression.free_symbols}))


# ----------------------------------------------------------------------------------- values


def _fraction_of_float(number: Any) -> Fraction:
    sign, mantissa, exponent, _ = number._mpf_
    return Fraction(-int(mantissa) if sign else int(mantissa)) * Fraction(2) ** int(exponent)


def _fmpq(number: Fraction) -> fmpq:
    return fmpq(number.numerator, number.denominator)


def _ball_of(value: Value, name: str) -> arb:
    """The ball of a value, at the working precision."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise EnclosureError(f"{name} is {value!r}; an interval has two ends")
        low, high = (_ball_of(end, name) for end in value)
        if low > high:
            raise EnclosureError(f"{name} is {value!r}; the low end comes first")
        return _hull(low, high)
    ball: arb = NAN
    try:
        if isinstance(value, sympy.Expr) and not isinstance(value, sympy.Float | sympy.Rational):
            ball = _steps_of((), value)(())[0]
        else:
            ball = arb(_fmpq(_fraction(value)))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    if not ball.is_finite():
        raise EnclosureError(
            f"{name} is {value!r}, expected a finite number, a decimal such as '0.3', or two ends"
        )
    return ball


def _fraction(value: Any) -> Fraction:
    if isinstance(value, sympy.Float):
        return _fraction_of_float(value)
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, numbers.Real):
        return Fraction(float(value))
    return Fraction(value)


def _by_name(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {getattr(key, "name", key): value for key, value in values.items()}


def _require_values(names: Sequence[str], given: Mapping[str, Any]) -> None:
    missing = sorted(set(names) - set(given))
    if missing:
        raise EnclosureError(f"no value for {', '.join(missing)}")


def _float_below(exact: arb) -> float:
    nearest = float(exact)
    return math.nextafter(nearest, -math.inf) if arb(nearest) > exact else nearest


def _float_above(exact: arb) -> float:
    nearest = float(exact)
    return math.nextafter(nearest, math.inf) if arb(nearest) < exact else nearest


@dataclass(frozen=True)
class Enclosure:
    """An interval that contains a value, whatever rounding did.

    Parameters
    ----------
    low, high : float
        Ends, rounded outward; infinite where float64 ends.
    digits : int
        Decimal digits of the arithmetic that gave it.
    text : str
        The ball in decimal digits, itself rounded outward; of intervals the ends.
    ball : flint.arb
        The ball itself.

    Examples
    --------
    >>> third = enclose(sympy.Rational(1, 3), {}, digits=20)
    >>> print(third)
    [0.33333333333333333333... +/- ...]
    >>> third.contains(Fraction(1, 3)), third.contains(1 / 3)
    (True, False)
    """

    low: float
    high: float
    digits: int
    text: str
    ball: arb = field(repr=False, compare=False)

    def contains(self, value: Number) -> bool:
        """Whether the ball contains a number; floats count as the binary number they are."""
        with _working(self.digits + 20):
            return bool(self.ball.contains(_ball_of(value, "value")))

    @property
    def width(self) -> float:
        """Upper bound of the distance of the ball's ends."""
        with _working(self.digits):
            return _float_above((2 * self.ball.rad()).upper())

    def __str__(self) -> str:
        return self.text


def _enclosure(ball: arb, digits: int, shown: int | None) -> Enclosure:
    low, high = _float_below(ball.lower()), _float_above(ball.upper())
    text = f"[{low!r}, {high!r}]" if shown is None else ball.str(shown + 5)
    return Enclosure(low, high, digits, text, ball)


def enclose(
    expression: Any, values: Mapping[Any, Value], digits: int = 30, *, most_digits: int = 1000
) -> Enclosure:
    """A ball that contains an expression's value.

    Parameters
    ----------
    expression : sympy expression
    values : mapping
        Symbol or name -> number or (low, high). A float is the binary number that it is, a string
        the decimal number that it says; SymPy's numbers and constants such as pi are exact.
        Names that do not occur are ignored.
    digits : int
        Of single numbers: the digits to be right. The working precision is doubled until they are.
        If some value is an interval: the working precision.
    most_digits : int
        Working precision at which to give up. A value that even then cannot be told from zero comes
        as a ball about zero with a radius below ``10**-digits``.

    Returns
    -------
    Enclosure

    Raises
    ------
    EnclosureError
        The expression is undefined somewhere on the values, a function has no form in balls, a
        value is missing or not finite, or ``most_digits`` are not enough.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> print(enclose(sympy.sqrt(x), {x: 2}, digits=10))
    [1.4142135623... +/- ...]
    >>> enclose(x**2, {x: (-1, 2)}).low
    0.0
    """
    expression = sympy.sympify(expression)
    steps = _steps_of(_names(expression), expression)
    given = _by_name(values)
    _require_values(steps.names, given)
    is_interval = any(isinstance(given[name], tuple) for name in steps.names)
    working = digits if is_interval else min(digits + 10, most_digits)
    while True:
        with _working(working):
            balls = [_ball_of(given[name], name) for name in steps.names]
            ball = steps(balls)[0]
            last = is_interval or working >= most_digits
            if not ball.is_finite():
                if last:
                    raise EnclosureError(steps.objection(balls))
            elif is_interval:
                return _enclosure(ball, working, None)
            else:
                is_zero = last and ball.contains(0)
                if ball.rad() <= arb(10) ** -digits * (1 if is_zero else ball.abs_lower()):
                    return _enclosure(ball, working, digits)
        if last:
            raise EnclosureError(
                f"gave up at {working} digits with {ball.str(8)}, "
                f"less than the {digits} digits asked for; raise most_digits"
            )
        working = min(2 * working, most_digits)


# ------------------------------------------------------------------------------ certificates


@dataclass(frozen=True)
class Certificate:
    """What is proved of a claim over a box of parameters.

    Shares are of the volume of all sub-boxes that do not lie outside the conditions; a sub-box
    on their border counts whole, under ``holds`` if the claim is true on all of it.

    Parameters
    ----------
    claim : str
    holds, fails, undecided : float
        Shares where the claim is true at every point, where it is false at every point, and the
        rest.
    box : dict
        Name -> (low, high), rounded outward.
    counterexample : dict or None
        A point where the claim is false and the conditions hold.
    undecided_boxes : tuple of dict
        The largest sub-boxes that are left, 20 at most.
    parts : int
        Sub-boxes looked at.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> print(certify(x**2 - x, "negative", {x: (0.25, 1.25)}, most_parts=200))
    x**2 - x < 0 on 0.25 <= x <= 1.25
    holds on 75 %, fails on 25 %, undecided on 1.1e-14 % (107 parts)
    false at x = 1.125
    """

    claim: str
    holds: float
    fails: float
    undecided: float
    box: dict[str, tuple[float, float]]
    counterexample: dict[str, float] | None
    undecided_boxes: tuple[dict[str, tuple[float, float]], ...]
    parts: int

    @property
    def is_certified(self) -> bool:
        """Whether the claim is proved on the whole box."""
        return not self.undecided_boxes and self.counterexample is None

    def __str__(self) -> str:
        ranges = [
            f"{low:.6g} <= {name} <= {high:.6g}" if low < high else f"{name} = {low:.6g}"
            for name, (low, high) in self.box.items()
        ]
        shares = (
            f"holds on {100 * self.holds:.6g} %, fails on {100 * self.fails:.6g} %, "
            f"undecided on {100 * self.undecided:.3g} % ({self.parts} parts)"
        )
        lines = [f"{self.claim} on {', '.join(ranges)}", shares]
        if self.counterexample is not None:
            point = ", ".join(f"{name} = {at:.6g}" for name, at in self.counterexample.items())
            lines.append(f"false at {point}")
        return "\n".join(lines)


_SIGNS: dict[str, tuple[str, Callable[[arb], bool | None]]] = {
    "positive": (">", lambda ball: _less(ZERO, ball)),
    "negative": ("<", lambda ball: _less(ball, ZERO)),
    "nonnegative": (">=", lambda ball: _no_more(ZERO, ball)),
    "nonpositive": ("<=", lambda ball: _no_more(ball, ZERO)),
}


class _Judge:
    """Decides a sign and conditions on sub-boxes; balls come in the order of `names`.

    `defined` are further expressions that have to be defined where the claim is to hold.
    """

    def __init__(
        self,
        expression: Any,
        sign: Sign,
        conditions: Sequence[Any],
        defined: Sequence[Any],
        moving: Sequence[str],
    ) -> None:
        self._truth = _SIGNS[sign][1]
        self.names = _names(expression, *conditions, *defined)
        self._moving = [k for k, name in enumerate(self.names) if name in moving]
        self._values = _steps_of(self.names, expression, *defined)
        self._conditions = _steps_of(self.names, *conditions)
        self.bounded = frozenset(_names(*conditions))
        self._slopes = _slopes(expression, self.names, self._moving)

    def inside(self, balls: Sequence[arb]) -> bool | None:
        """Whether the conditions hold on a sub-box."""
        return _all(*self._conditions(balls))

    def claim(self, balls: Sequence[arb]) -> tuple[bool | None, dict[str, float] | None]:
        """Whether the claim holds, and how much each coordinate adds to the doubt."""
        values = self._values(balls)
        truth = self._truth(values[0])
        # a slope tells something only where the expression is defined at every point
        if not all(value.is_finite() for value in values):
            return None, None
        if truth is not None or self._slopes is None:
            return truth, None
        slopes = dict(zip(self._moving, self._slopes(balls), strict=True))
        for sharper in (self._at_corners, self._about_the_centre):
            truth = self._truth(sharper(balls, slopes))
            if truth is not None:
                return truth, None
        doubt = {
            self.names[k]: float(slope.abs_upper()) * float(balls[k].rad())
            for k, slope in slopes.items()
        }
        return None, doubt if all(map(math.isfinite, doubt.values())) else None

    def _at_corners(self, balls: Sequence[arb], slopes: Mapping[int, arb]) -> arb:
        """Along a coordinate in which the expression is monotone its ends are enough."""
        lowest, highest = list(balls), list(balls)
        for k, slope in slopes.items():
            if slope >= 0:
                lowest[k], highest[k] = balls[k].lower(), balls[k].upper()
            elif slope <= 0:
                lowest[k], highest[k] = balls[k].upper(), balls[k].lower()
        return _hull(self._values(lowest)[0], self._values(highest)[0])

    def _about_the_centre(self, balls: Sequence[arb], slopes: Mapping[int, arb]) -> arb:
        """The mean-value form."""
        centre = list(balls)
        for k in slopes:
            centre[k] = balls[k].mid()
        value: arb = self._values(centre)[0]
        for k, slope in slopes.items():
            value = value + slope * (balls[k] - centre[k])
        return value


def _slopes(expression: Any, names: tuple[str, ...], places: Sequence[int]) -> _Steps | None:
    """The derivatives along some names, if all have a form in balls."""
    if expression.has(sympy.Piecewise):  # may jump
        return None
    try:
        return _steps_of(names, *(_derivative(expression, names[k]) for k in places))
    except EnclosureError:
        return None


def _derivative(expression: Any, name: str) -> Any:
    symbols = [symbol for symbol in expression.free_symbols if symbol.name == name]
    return sympy.Add(*(expression.diff(symbol) for symbol in symbols))


class _Subdivision:
    """Halves the sub-boxes that are not decided, the largest first."""

    def __init__(self, judge: _Judge, given: Mapping[str, Value]) -> None:
        self.judge = judge
        self.fixed: dict[str, arb] = {}
        self.moving: dict[str, tuple[float, float]] = {}
        self.box: dict[str, tuple[float, float]] = {}
        for name, value in given.items():
            ball = _ball_of(value, name)
            low, high = self.box[name] = _outer_ends(value, name)
            if isinstance(value, tuple) and low < high and name in judge.names:
                self.moving[name] = (low, high)
            else:
                self.fixed[name] = ball
        self.holds = self.fails = 0.0
        self.counterexample: dict[str, float] | None = None
        self.parts = 0
        self.undecided: list[tuple[float, int, Sides, Mapping[str, float]]] = []
        self.stuck: list[tuple[float, Sides]] = []

    def run(self, most_parts: int) -> None:
        """Look at the box, then at halves, until all is decided or the parts are used up."""
        self._look(tuple(self.moving.values()), 1.0)
        while self.undecided and self.parts + 2 <= most_parts:
            size, _, sides, weights = heapq.heappop(self.undecided)
            halves = self._halved(sides, weights) if -size > SMALLEST else []
            for half in halves:
                self._look(half, -size / 2)
            if not halves:
                self.stuck.append((-size, sides))

    def _look(self, sides: Sides, volume: float) -> None:
        self.parts += 1
        ends = dict(zip(self.moving, sides, strict=True))
        balls = [
            _between(arb(ends[name][0]), arb(ends[name][1])) if name in ends else self.fixed[name]
            for name in self.judge.names
        ]
        inside = self.judge.inside(balls)
        if inside is False:
            return
        truth, doubt = self.judge.claim(balls)
        if truth:
            self.holds += volume
        elif truth is False and inside:
            self.fails += volume
            if self.counterexample is None:
                self.counterexample = self._centre(ends)
        else:
            weights = (
                doubt if inside and doubt and any(doubt.values()) else self._widths(ends, inside)
            )
            heapq.heappush(self.undecided, (-volume, self.parts, sides, weights))

    def _widths(
        self, ends: Mapping[str, tuple[float, float]], inside: bool | None
    ) -> dict[str, float]:
        """Widths relative to the box; on a border those that it depends on come first."""
        weights = {}
        for name, (low, high) in ends.items():
            first, last = self.moving[name]
            weights[name] = (high - low) / (last - first)
            if inside is None and name in self.judge.bounded:
                weights[name] *= BORDER_FIRST
        return weights

    def _centre(self, ends: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        sides = {name: ends.get(name, self.box[name]) for name in self.box}
        return {name: low + (high - low) / 2 for name, (low, high) in sides.items()}

    def _halved(self, sides: Sides, weights: Mapping[str, float]) -> list[Sides]:
        """The halves across the coordinate of the largest weight that float64 can halve."""
        best, most, middle = None, -1.0, 0.0
        for k, (name, (low, high)) in enumerate(zip(self.moving, sides, strict=True)):
            centre = low + (high - low) / 2
            if weights[name] > most and low < centre < high:
                best, most, middle = k, weights[name], centre
        if best is None:
            return []
        before, (low, high), after = sides[:best], sides[best], sides[best + 1 :]
        return [(*before, (low, middle), *after), (*before, (middle, high), *after)]

    def certificate(self, claim: str) -> Certificate:
        """What was found."""
        left = [(-size, sides) for size, _, sides, _ in self.undecided] + self.stuck
        undecided = math.fsum(volume for volume, _ in left)
        total = self.holds + self.fails + undecided
        if total == 0.0:
            raise EnclosureError("the conditions leave nothing of the box")
        largest = heapq.nlargest(SHOWN_BOXES, left, key=lambda item: item[0])
        return Certificate(
            claim=claim,
            holds=self.holds / total,
            fails=self.fails / total,
            undecided=undecided / total,
            box=self.box,
            counterexample=self.counterexample,
            undecided_boxes=tuple(
                self.box | dict(zip(self.moving, sides, strict=True)) for _, sides in largest
            ),
            parts=self.parts,
        )


def _outer_ends(value: Value, name: str) -> tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    below = _float_below(_ball_of(low, name).lower())
    above = _float_above(_ball_of(high, name).upper())
    if not (math.isfinite(below) and math.isfinite(above)):
        raise EnclosureError(f"{name} is {value!r}; a box ends within float64")
    return below, above


def certify(
    expression: Any,
    sign: Sign,
    box: Mapping[Any, Value],
    *,
    where: Any = (),
    digits: int = 30,
    most_parts: int = 20_000,
    claim: str | None = None,
) -> Certificate:
    """Prove or refute the sign of an expression over a box of parameters.

    Parameters
    ----------
    expression : sympy expression
        Symbols of whole numbers count as real.
    sign : {"positive", "negative", "nonnegative", "nonpositive"}
    box : mapping
        Symbol or name -> (low, high), or a number that is fixed. Ends that float64 lacks are
        rounded outward.
    where : sympy relational, or sequence of them
        Conditions, in symbols of the box; places where one is false do not count.
    digits : int
        Working precision.
    most_parts : int
        Sub-boxes to look at; those then undecided stay so.
    claim : str, optional
        In words.

    Returns
    -------
    Certificate

    Raises
    ------
    EnclosureError
        A function has no form in balls, a value is missing or not finite, or the conditions leave
        nothing of the box. Sub-boxes where the expression is not defined at every point are
        undecided.

    Notes
    -----
    Sub-boxes are halved, the largest first. Each is decided by the balls themselves; where they
    leave it open, by the ends of coordinates in which the expression is monotone, or by the
    mean-value form.

    Examples
    --------
    >>> x, y = sympy.symbols("x y")
    >>> found = certify(x - y, "positive", {x: (0, 1), y: (0, 1)}, where=x >= y + 0.125)
    >>> found.is_certified
    True
    """
    return _certified(sympy.sympify(expression), sign, box, where, digits, most_parts, claim, ())


def certify_monotone(
    expression: Any,
    direction: Literal["increasing", "decreasing"],
    in_: Any,
    box: Mapping[Any, Value],
    *,
    where: Any = (),
    digits: int = 30,
    most_parts: int = 20_000,
    claim: str | None = None,
) -> Certificate:
    """Prove that an expression strictly rises or falls in a symbol, by the sign of its derivative.

    At the kinks of Max, Min and Abs every slope between the one-sided ones has to have the sign.
    Where the conditions cut a line along the symbol into pieces, each piece counts alone.

    Parameters
    ----------
    expression : sympy expression
    direction : {"increasing", "decreasing"}
    in_ : sympy symbol or str
    box, where, digits, most_parts, claim
        As for `certify`.

    Returns
    -------
    Certificate
        Its counterexample is a point where the derivative has the wrong sign or is zero.

    Raises
    ------
    EnclosureError
        As for `certify`; or the expression is a Piecewise, which may jump.

    Examples
    --------
    >>> x, y = sympy.symbols("x y", real=True)
    >>> certify_monotone(x - sympy.Max(0, x - y) / 2, "increasing", x, {x: (0, 1), y: (0, 1)}).holds
    1.0
    """
    expression = sympy.sympify(expression)
    name = getattr(in_, "name", in_)
    if expression.has(sympy.Piecewise):
        raise EnclosureError(f"{expression} may jump; write it with Max, Min or Abs")
    if claim is None:
        claim = f"{expression} is {direction} in {name}"
    sign: Sign = "positive" if direction == "increasing" else "negative"
    slope = _derivative(expression, name)
    return _certified(slope, sign, box, where, digits, most_parts, claim, (expression,))


def _certified(
    expression: Any,
    sign: Sign,
    box: Mapping[Any, Value],
    where: Any,
    digits: int,
    most_parts: int,
    claim: str | None,
    defined: Sequence[Any],
) -> Certificate:
    if sign not in _SIGNS:
        raise EnclosureError(f"sign is {sign!r}, expected one of {', '.join(_SIGNS)}")
    several = isinstance(where, Sequence)
    conditions = [sympy.sympify(condition) for condition in (where if several else [where])]
    for condition in conditions:
        if isinstance(condition, sympy.Expr):
            raise EnclosureError(f"where: {condition} is not a condition, such as x < y")
    given = _by_name(box)
    moving = [name for name, value in given.items() if isinstance(value, tuple)]
    judge = _Judge(expression, sign, conditions, defined, moving)
    _require_values(judge.names, given)
    with _working(digits):
        search = _Subdivision(judge, given)
        search.run(most_parts)
        return search.certificate(claim or f"{expression} {_SIGNS[sign][0]} 0")
