"""Certified signs of SymPy expressions over boxes of parameters, by subdivision."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sympy
from flint import arb

from ..errors import EnclosureError
from .balls import ZERO, all_of, between, hull, less, no_more, working
from .forms import Steps, names_in, steps_of
from .values import Value, ball_of, by_name, float_above, float_below, require_values

Sign: TypeAlias = Literal["positive", "negative", "nonnegative", "nonpositive"]
Sides: TypeAlias = tuple[tuple[float, float], ...]

SMALLEST = 1e-60  # share of the box below which a sub-box is left undecided
BORDER_FIRST = 32.0  # how much narrower a sub-box on a border gets along what the border depends on
SHOWN_BOXES = 20


@dataclass(frozen=True, repr=False)
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
    where : str
        The conditions; empty if there are none.
    inside : float
        Share of the box that they leave, their border included.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> print(certify(x**2 - x, "negative", {x: (0.25, 1.25)}, most_parts=200))
    not certified: x**2 - x < 0 on 0.25 <= x <= 1.25
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
    where: str = ""
    inside: float = 1.0

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
        word = "certified" if self.is_certified else "not certified"
        lines = [f"{word}: {self.claim} on {', '.join(ranges)}", shares]
        if self.where:
            lines.insert(1, f"where {self.where}: {100 * self.inside:.4g} % of the box")
        if self.counterexample is not None:
            point = ", ".join(f"{name} = {at:.6g}" for name, at in self.counterexample.items())
            lines.append(f"false at {point}")
        return "\n".join(lines)

    __repr__ = __str__


_SIGNS: dict[str, tuple[str, Callable[[arb], bool | None]]] = {
    "positive": (">", lambda ball: less(ZERO, ball)),
    "negative": ("<", lambda ball: less(ball, ZERO)),
    "nonnegative": (">=", lambda ball: no_more(ZERO, ball)),
    "nonpositive": ("<=", lambda ball: no_more(ball, ZERO)),
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
        self.names = names_in(expression, *conditions, *defined)
        self._moving = [k for k, name in enumerate(self.names) if name in moving]
        self._values = steps_of(self.names, expression, *defined)
        self._conditions = steps_of(self.names, *conditions)
        self.bounded = frozenset(names_in(*conditions))
        self._slopes = _slopes(expression, self.names, self._moving)

    def inside(self, balls: Sequence[arb]) -> bool | None:
        """Whether the conditions hold on a sub-box."""
        return all_of(*self._conditions(balls))

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
        return hull(self._values(lowest)[0], self._values(highest)[0])

    def _about_the_centre(self, balls: Sequence[arb], slopes: Mapping[int, arb]) -> arb:
        """The mean-value form."""
        centre = list(balls)
        for k in slopes:
            centre[k] = balls[k].mid()
        value: arb = self._values(centre)[0]
        for k, slope in slopes.items():
            value = value + slope * (balls[k] - centre[k])
        return value


def _slopes(expression: Any, names: tuple[str, ...], places: Sequence[int]) -> Steps | None:
    """The derivatives along some names, if all have a form in balls."""
    if expression.has(sympy.Piecewise):  # may jump
        return None
    try:
        return steps_of(names, *(_derivative(expression, names[k]) for k in places))
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
            ball = ball_of(value, name)
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
            between(arb(ends[name][0]), arb(ends[name][1])) if name in ends else self.fixed[name]
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

    def certificate(self, claim: str, conditions: Sequence[Any]) -> Certificate:
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
            where=" and ".join(str(condition) for condition in conditions),
            inside=min(total, 1.0),
        )


def _outer_ends(value: Value, name: str) -> tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    below = float_below(ball_of(low, name).lower())
    above = float_above(ball_of(high, name).upper())
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
    given = by_name(box)
    moving = [name for name, value in given.items() if isinstance(value, tuple)]
    judge = _Judge(expression, sign, conditions, defined, moving)
    require_values(judge.names, given)
    with working(digits):
        search = _Subdivision(judge, given)
        search.run(most_parts)
        return search.certificate(claim or f"{expression} {_SIGNS[sign][0]} 0", conditions)
