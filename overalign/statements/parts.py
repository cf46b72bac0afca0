"""What statements are made of: quantities and hypotheses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..errors import ProblemError
from ..observation import Problem

__all__ = ["Hypothesis", "Quantity"]


@dataclass(frozen=True)
class Quantity:
    """A parameter of statements: its name, its sign in mathematics, and the values it may take.

    Parameters
    ----------
    name : str
        The keyword.
    latex : str
    meaning : str
        In words, with the unit.
    usual : (float, float)
        Values that examples, searches and sliders take.
    low, high : float
        Ends of the range.
    open_low, open_high : bool
        Whether the ends themselves are excluded.
    integer : bool

    Examples
    --------
    >>> kappa = Quantity("kappa", r"\\kappa", "signal strength", (0.0, 30.0), low=0.0)
    >>> kappa.objection(-1.0)
    'kappa is -1, expected >= 0 (signal strength)'
    """

    name: str
    latex: str
    meaning: str
    usual: tuple[float, float]
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    integer: bool = False

    @cached_property
    def symbol(self) -> sympy.Symbol:
        """The SymPy symbol, with what is assumed of it."""
        assumptions: dict[str, bool] = {"integer": True} if self.integer else {"real": True}
        if self.low > 0.0 or (self.low == 0.0 and self.open_low):
            assumptions["positive"] = True
        elif self.low == 0.0:
            assumptions["nonnegative"] = True
        return sympy.Symbol(self.name, **assumptions)

    @property
    def range(self) -> str:
        """The range in words: ">= 0 and < 1"."""
        ends = []
        if math.isfinite(self.low):
            ends.append(f"{'>' if self.open_low else '>='} {self.low:.6g}")
        if math.isfinite(self.high):
            ends.append(f"{'<' if self.open_high else '<='} {self.high:.6g}")
        return " and ".join(ends) or "a real number"

    def array(self, values: ArrayLike) -> NDArray[np.float64]:
        """Values as float64 (ProblemError names the quantity where they are none)."""
        try:
            return np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ProblemError(
                f"{self.name} is {values!r}, expected numbers ({self.meaning})"
            ) from None

    def objection(self, values: ArrayLike) -> str | None:
        """What is wrong with values of the quantity, or None."""
        array = self.array(values)
        wrong = ~np.isfinite(array)
        wrong |= array <= self.low if self.open_low else array < self.low
        wrong |= array >= self.high if self.open_high else array > self.high
        kind = self.range
        if self.integer:
            wrong |= array != np.round(array)
            kind = f"a whole number {kind}"
        if not wrong.any():
            return None
        return f"{self.name} is {float(array[wrong].flat[0]):.6g}, expected {kind} ({self.meaning})"


@dataclass(frozen=True)
class Hypothesis:
    """A condition of a statement.

    Parameters
    ----------
    words : str
    condition : sympy relational, optional
        In the statement's symbols, where it can be read off the parameters.
    holds : callable, optional
        Of a `Problem`, where data, network or loss decide. Of what neither decides (times, draws)
        the measurement of the left side takes care.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> Hypothesis("x is small", x < 1).condition
    x < 1
    """

    words: str
    condition: Any = None
    holds: Callable[[Problem], bool] | None = None
