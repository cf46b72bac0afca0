"""Rigorous values of SymPy expressions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import sympy
from flint import arb

from ..errors import EnclosureError
from .balls import NAN, fmpq_of, fraction_of_float, hull, working
from .forms import names_in, steps_of

Number: TypeAlias = int | float | Fraction | str | sympy.Expr
Value: TypeAlias = Number | tuple[Number, Number]


def ball_of(value: Value, name: str) -> arb:
    """The ball of a value, at the working precision."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise EnclosureError(f"{name} is {value!r}; an interval has two ends")
        low, high = (ball_of(end, name) for end in value)
        if low > high:
            raise EnclosureError(f"{name} is {value!r}; the low end comes first")
        return hull(low, high)
    ball: arb = NAN
    try:
        if isinstance(value, sympy.Expr) and not isinstance(value, sympy.Float | sympy.Rational):
            ball = steps_of((), value)(())[0]
        else:
            ball = arb(fmpq_of(_fraction(value)))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    if not ball.is_finite():
        raise EnclosureError(
            f"{name} is {value!r}, expected a finite number, a decimal such as '0.3', or two ends"
        )
    return ball


def _fraction(value: Any) -> Fraction:
    if isinstance(value, sympy.Float):
        return fraction_of_float(value)
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, numbers.Real):
        return Fraction(float(value))
    return Fraction(value)


def by_name(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by the names of their symbols."""
    return {getattr(key, "name", key): value for key, value in values.items()}


def require_values(names: Sequence[str], given: Mapping[str, Any]) -> None:
    """EnclosureError where a name has no value."""
    missing = sorted(set(names) - set(given))
    if missing:
        raise EnclosureError(f"no value for {', '.join(missing)}")


def float_below(exact: arb) -> float:
    """The largest float64 that is not above."""
    nearest = float(exact)
    return math.nextafter(nearest, -math.inf) if arb(nearest) > exact else nearest


def float_above(exact: arb) -> float:
    """The smallest float64 that is not below."""
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
        with working(self.digits + 20):
            return bool(self.ball.contains(ball_of(value, "value")))

    @property
    def width(self) -> float:
        """Upper bound of the distance of the ball's ends."""
        with working(self.digits):
            return float_above((2 * self.ball.rad()).upper())

    def __str__(self) -> str:
        return self.text


def _enclosure(ball: arb, digits: int, shown: int | None) -> Enclosure:
    low, high = float_below(ball.lower()), float_above(ball.upper())
    text = f"[{low!r}, {high!r}]" if shown is None else ball.str(shown + 5)
    return Enclosure(low, high, digits, text, ball)


def holds_on(condition: Any, values: Mapping[Any, Value], digits: int = 30) -> bool | None:
    """Whether a condition holds at every point of the values, at none, or (None) it is not known.

    Parameters
    ----------
    condition : sympy relational
    values : mapping
        As for `enclose`.
    digits : int
        Working precision.

    Raises
    ------
    EnclosureError
        A function has no form in balls, or a value is missing or not finite.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> holds_on(x > 0, {x: (1, 2)}), holds_on(x > 0, {x: (-1, 2)}), holds_on(x > 0, {x: -1})
    (True, None, False)
    """
    condition = sympy.sympify(condition)
    steps = steps_of(names_in(condition), condition)
    given = by_name(values)
    require_values(steps.names, given)
    with working(digits):
        truth: bool | None = steps([ball_of(given[name], name) for name in steps.names])[0]
    return truth


def enclose(
    expression: Any,
    values: Mapping[Any, Value],
    digits: int = 30,
    *,
    most_digits: int | None = None,
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
        Working precision at which to give up; default 1000, or four times ``digits``. A value that
        even then cannot be told from zero comes as a ball about zero with a radius below
        ``10**-digits``.

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
    if digits < 1:
        raise EnclosureError(f"digits is {digits}, expected at least 1")
    most_digits = max(1000, 4 * digits) if most_digits is None else most_digits
    expression = sympy.sympify(expression)
    steps = steps_of(names_in(expression), expression)
    given = by_name(values)
    require_values(steps.names, given)
    is_interval = any(isinstance(given[name], tuple) for name in steps.names)
    precision = digits if is_interval else min(digits + 10, most_digits)
    while True:
        with working(precision):
            balls = [ball_of(given[name], name) for name in steps.names]
            ball = steps(balls)[0]
            last = is_interval or precision >= most_digits
            if not ball.is_finite():
                if last:
                    raise EnclosureError(steps.objection(balls))
            elif is_interval:
                return _enclosure(ball, precision, None)
            else:
                is_zero = last and ball.contains(0)
                if ball.rad() <= arb(10) ** -digits * (1 if is_zero else ball.abs_lower()):
                    return _enclosure(ball, precision, digits)
        if last:
            raise EnclosureError(
                f"gave up at {precision} digits with {ball.str(8)}, "
                f"less than the {digits} digits asked for; raise most_digits"
            )
        precision = min(2 * precision, most_digits)
