"""Elementary functions of balls, which contain the value at every point of their arguments."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, TypeAlias

from flint import arb, ctx, fmpq, fmpz

Operation: TypeAlias = Callable[..., Any]  # of balls, truths or both
Function: TypeAlias = Callable[[arb], arb]

NAN = arb.nan()
ZERO, ONE = arb(0), arb(1)
BITS_PER_DIGIT = math.log2(10)
NARROW = 40  # bits of relative accuracy from which a ball is as good as a point
NEXT_TO_ZERO = arb(2) ** -60

# flint's precision belongs to the process, so threads take turns
_TURN = threading.RLock()


@contextmanager
def working(digits: int) -> Iterator[None]:
    """Work with that many decimal digits, and leave the precision as it was."""
    with _TURN, ctx.workprec(math.ceil(digits * BITS_PER_DIGIT) + 10):
        yield


# ------------------------------------------------------------------------------------ balls


def between(low: arb, high: arb) -> arb:
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


def hull(*balls: arb) -> arb:
    """A ball that contains all of them."""
    low, high = balls[0].lower(), balls[0].upper()
    for ball in balls[1:]:
        low, high = low.min(ball.lower()), high.max(ball.upper())
    return between(low, high)


def is_narrow(ball: arb) -> bool:
    """Whether a ball is as good as a point."""
    return bool(ball.rel_accuracy_bits() >= NARROW)


def monotone(function: Function) -> Function:
    """Of a monotone function: its value at the ends of a wide ball."""

    def of_ball(x: arb) -> arb:
        if is_narrow(x) or x.is_nan():
            return function(x)
        return hull(function(x.lower()), function(x.upper()))

    return of_ball


def wave(function: Function, phase: float) -> Function:
    """Of sine or cosine: its extremes are (-1)^k at (k + phase) pi."""

    def of_ball(x: arb) -> arb:
        if is_narrow(x) or not x.is_finite():
            return function(x)
        if x.rad() > 4:
            return arb(0, 1)
        low, high = x.lower(), x.upper()
        first = _floor((low / arb.pi() - phase).lower())
        last = _floor((high / arb.pi() - phase).upper())
        if last - first > 1:
            return arb(0, 1)
        ends = [function(low), function(high)]
        return hull(*ends) if first == last else hull(*ends, arb(1 - 2 * (last % 2)))

    return of_ball


def _floor(exact: arb) -> int:
    return int(exact.floor().fmpz())


def between_poles(function: Function, phase: float) -> Function:
    """Of tangent or cotangent: monotone between its poles at (k + phase) pi."""

    def of_ball(x: arb) -> arb:
        if is_narrow(x) or not x.is_finite():
            return function(x)
        low, high = x.lower(), x.upper()
        first = _floor((low / arb.pi() - phase).lower())
        if x.rad() > 4 or first != _floor((high / arb.pi() - phase).upper()):
            return NAN
        return hull(function(low), function(high))

    return of_ball


def sum_of(*terms: arb) -> arb:
    """Sum, by the ends of wide balls."""
    wide = sum(not is_narrow(term) for term in terms)
    if wide < 2:
        return sum(terms[1:], terms[0])
    low, high = (
        sum(ends, ZERO) for ends in zip(*((t.lower(), t.upper()) for t in terms), strict=True)
    )
    return hull(low, high)


def product(*factors: arb) -> arb:
    """Product, by the ends of wide balls."""
    total = factors[0]
    for factor in factors[1:]:
        total = times(total, factor)
    return total


def times(x: arb, y: arb) -> arb:
    """Product of two."""
    if is_narrow(x) and is_narrow(y):
        return x * y
    a, b, c, d = x.lower(), x.upper(), y.lower(), y.upper()
    if a >= 0 and c >= 0:
        return hull(a * c, b * d)
    return hull(a * c, a * d, b * c, b * d)


def absolute(x: arb) -> arb:
    """Absolute value, never below zero."""
    return abs(x) if is_narrow(x) else between(x.abs_lower(), x.abs_upper())


def sign(x: arb) -> arb:
    """-1, 0 or 1."""
    return _three_ways(x, arb(-1), ZERO, ONE)


def heaviside(x: arb, at_zero: arb) -> arb:
    """The step function, with its value at zero."""
    return _three_ways(x, ZERO, at_zero, ONE)


def delta(x: arb, _order: arb = ZERO) -> arb:
    """Zero away from zero, and undefined there."""
    return ZERO if x > 0 or x < 0 else NAN


def _three_ways(x: arb, negative: arb, zero: arb, positive: arb) -> arb:
    if x.is_nan():
        return NAN
    if x.is_zero():
        return zero
    if x > 0 or x < 0:
        return positive if x > 0 else negative
    return hull(negative, zero, positive)


def extreme(choose: Callable[[arb, arb], arb]) -> Operation:
    """Max or Min of any number of balls, end by end."""

    def of_balls(*balls: arb) -> arb:
        best = balls[0]
        for ball in balls[1:]:
            if is_narrow(best) and is_narrow(ball):
                best = choose(best, ball)
            else:
                low = choose(best.lower(), ball.lower())
                best = between(low, choose(best.upper(), ball.upper()))
        return best

    return of_balls


# ----------------------------------------------------------------------------------- powers


def power(base: Any, exponent: Any) -> Operation:
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
    raised = monotone(lambda x: x ** fmpz(n))
    return raised if n % 2 else lambda x: raised(absolute(x))


def _root(n: int, is_nonnegative: bool) -> Operation:
    def root(x: arb) -> arb:
        if n == 2:
            return x.sqrt()
        if x.is_zero():
            return ZERO
        return x.root(n) if n <= 64 else (x.log() / n).exp()

    ends = monotone(root)

    def of_ball(x: arb) -> arb:
        # what is below zero is rounding where SymPy knows that the base is not negative
        if is_nonnegative and x.lower() < 0 <= x.upper():
            x = between(ZERO, x.upper())
        return ends(x)

    return of_ball


def _reciprocal(x: arb) -> arb:
    if is_narrow(x):
        return 1 / x
    return NAN if x.contains(0) else hull(1 / x.lower(), 1 / x.upper())


def general_power(base: arb, exponent: arb) -> arb:
    """A power whose exponent is no rational number."""
    if base > 0:
        raised: arb = monotone(arb.exp)(times(exponent, monotone(arb.log)(base)))
        return raised
    return base**exponent if base.is_exact() and exponent.is_exact() else NAN


# ----------------------------------------------------------------------------- conditions


def less(x: arb, y: arb) -> bool | None:
    """Whether x < y: yes, no, or (None) not the same at every point."""
    return True if x < y else (False if x >= y else None)


def no_more(x: arb, y: arb) -> bool | None:
    """Whether x <= y."""
    return True if x <= y else (False if x > y else None)


def equal(x: arb, y: arb) -> bool | None:
    """Whether x = y."""
    if x < y or x > y:
        return False
    return True if x.is_exact() and y.is_exact() and x == y else None


def negation(truth: bool | None) -> bool | None:
    """Not."""
    return None if truth is None else not truth


def all_of(*truths: bool | None) -> bool | None:
    """And."""
    if False in truths:
        return False
    return None if None in truths else True


def any_of(*truths: bool | None) -> bool | None:
    """Or."""
    return negation(all_of(*(negation(truth) for truth in truths)))


def piecewise(*parts: Any) -> arb:
    """Parts: value, condition, value, condition, ..."""
    reached: list[arb] = []
    for value, condition in zip(parts[::2], parts[1::2], strict=True):
        if condition is not False:
            reached.append(value)
        if condition is True:
            return reached[0] if len(reached) == 1 else hull(*reached)
    return NAN


# ------------------------------------------------------------------------- exact numbers


def fraction_of_float(number: Any) -> Fraction:
    """A SymPy float as the binary number that it is."""
    sign, mantissa, exponent, _ = number._mpf_
    return Fraction(-int(mantissa) if sign else int(mantissa)) * Fraction(2) ** int(exponent)


def fmpq_of(number: Fraction) -> fmpq:
    """The same number for flint."""
    return fmpq(number.numerator, number.denominator)
