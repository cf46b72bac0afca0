"""What a statement is: a formula with its quantities, hypotheses, direction and place.

The formula is a SymPy expression, written once. Numbers come from it, or from a function of the
package that keeps its digits where the expression would lose them; a test holds the two together.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..errors import ProblemError
from ..observation import Problem
from ..special import compiled

__all__ = ["Hypothesis", "Quantity", "Statement"]

FloatArray: TypeAlias = NDArray[np.float64]
Direction: TypeAlias = Literal["equal", "at_most", "at_least"]
Provenance: TypeAlias = Literal["paper", "reconstructed", "ours"]

_RELATIONS = {"equal": "=", "at_most": r"\le", "at_least": r"\ge"}
_MEANS = {
    "paper": "stated by the paper",
    "reconstructed": "the paper's, completed by us where its wording is not known",
    "ours": "derived by us",
}


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

    def objection(self, values: ArrayLike) -> str | None:
        """What is wrong with values of the quantity, or None."""
        array = np.asarray(values, dtype=np.float64)
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


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement of the theory.

    Parameters
    ----------
    name : str
        The name under which the registry knows it.
    title : str
    left : str
        LaTeX of what is bounded or given.
    direction : {"equal", "at_most", "at_least"}
        How the left side relates to the formula.
    expression : sympy expression
        The formula, in the symbols of ``quantities``.
    quantities : tuple of Quantity
    place : str
        Where it stands: the paper's number and the section of docs/theory.md.
    provenance : {"paper", "reconstructed", "ours"}
    hypotheses : tuple of Hypothesis
    says_nothing : Hypothesis, optional
        Where the bound is weaker than what holds anyway.
    defaults : mapping
        Values of quantities that may be left out.
    given_as : mapping
        Other keywords for a quantity, each (quantity, function of the value).
    numeric : callable, optional
        Of the quantities by keyword; where the expression would lose digits.

    Examples
    --------
    >>> from overalign import statements
    >>> statements.over_alignment(kappa=3.0, sigma=1.0, phi=0.3, theta_c=[0.0, 0.1, 0.3])
    array([0.00072851, 0.00029011, 0.        ])
    """

    name: str
    title: str
    left: str
    direction: Direction
    expression: Any
    quantities: tuple[Quantity, ...]
    place: str
    provenance: Provenance
    hypotheses: tuple[Hypothesis, ...] = ()
    says_nothing: Hypothesis | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)
    given_as: Mapping[str, tuple[str, Callable[[Any], Any]]] = field(default_factory=dict)
    numeric: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        known = {quantity.symbol for quantity in self.quantities}
        conditions = [h.condition for h in self._conditions]
        strange = set().union(*(c.free_symbols for c in (self.expression, *conditions))) - known
        if strange:
            raise ProblemError(
                f"statement {self.name}: no quantity for {sorted(map(str, strange))}"
            )

    @property
    def _conditions(self) -> list[Hypothesis]:
        extra = () if self.says_nothing is None else (self.says_nothing,)
        return [h for h in (*self.hypotheses, *extra) if h.condition is not None]

    # ------------------------------------------------------------ numbers

    def __call__(self, *, outside: Literal["raise", "nan"] = "raise", **values: ArrayLike) -> Any:
        """The formula's value.

        Parameters
        ----------
        outside : {"raise", "nan"}
            What happens where a hypothesis on the parameters is broken.
        **values : array
            One for each quantity without a default; they broadcast.

        Returns
        -------
        array or float
            A float where every value is one.

        Raises
        ------
        ProblemError
            A quantity is missing, unknown, or outside its range; or a hypothesis is broken.
        """
        given = self._checked(values)
        broken = self._first_broken(given)
        if broken is not None and outside == "raise":
            hypothesis, example = broken
            raise ProblemError(
                f"{self.name}: {example} break the hypothesis that {hypothesis.words}; "
                "outside='nan' leaves such places out"
            )
        with np.errstate(all="ignore"):
            result = np.asarray(self._function(**given), dtype=np.float64)
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        result = np.array(np.broadcast_to(result, shape))
        if broken is not None:
            result[~self.holds_for(**values)] = math.nan
        return result if shape else float(result)

    def holds_for(self, **values: ArrayLike) -> NDArray[np.bool_]:
        """Where the hypotheses on the parameters hold, elementwise; others are not looked at."""
        given = self._checked(values)
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        fulfilled = np.ones(shape, dtype=bool)
        for hypothesis in self.hypotheses:
            if hypothesis.condition is not None:
                fulfilled &= self._truth(hypothesis.condition, given)
        return fulfilled

    def says_nothing_for(self, **values: ArrayLike) -> NDArray[np.bool_]:
        """Where the bound is trivial, elementwise."""
        given = self._checked(values)
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        if self.says_nothing is None or self.says_nothing.condition is None:
            return np.zeros(shape, dtype=bool)
        return np.array(np.broadcast_to(self._truth(self.says_nothing.condition, given), shape))

    def _checked(self, values: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Every quantity as an array, in its range."""
        given = dict(values)
        for keyword, (name, convert) in self.given_as.items():
            if keyword in given:
                if name in given:
                    raise ProblemError(f"{self.name}: give {keyword} or {name}, not both")
                given[name] = convert(np.asarray(given.pop(keyword), dtype=np.float64))
        names = [quantity.name for quantity in self.quantities]
        self._require_names(given, names)
        found = {}
        for quantity in self.quantities:
            value = given.get(quantity.name, self.defaults.get(quantity.name))
            array = np.asarray(value, dtype=np.float64)
            objection = quantity.objection(array)
            if objection:
                raise ProblemError(f"{self.name}: {objection}")
            found[quantity.name] = array
        return found

    def _require_names(self, given: Iterable[str], names: list[str]) -> None:
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, [*names, *self.given_as], 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                raise ProblemError(
                    f"{self.name} has no quantity {name}{meant} (it has {', '.join(names)})"
                )
        missing = [name for name in names if name not in given and name not in self.defaults]
        if missing:
            raise ProblemError(f"{self.name} needs {', '.join(missing)} too")

    def _first_broken(self, given: dict[str, FloatArray]) -> tuple[Hypothesis, str] | None:
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        for hypothesis in self.hypotheses:
            if hypothesis.condition is None:
                continue
            broken = ~np.broadcast_to(self._truth(hypothesis.condition, given), shape)
            if broken.any():
                where = np.unravel_index(int(np.argmax(broken)), shape) if shape else ()
                names = sorted(str(symbol) for symbol in hypothesis.condition.free_symbols)
                at = {n: float(np.broadcast_to(given[n], shape)[where]) for n in names}
                return hypothesis, ", ".join(f"{n} = {value:.6g}" for n, value in at.items())
        return None

    def _truth(self, condition: Any, given: dict[str, FloatArray]) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(self._compiled(condition)(*given.values()), dtype=bool)

    @cached_property
    def _function(self) -> Callable[..., Any]:
        if self.numeric is not None:
            return self.numeric
        formula = self._compiled(self.expression)
        return lambda **values: formula(*values.values())

    def _compiled(self, expression: Any) -> Callable[..., Any]:
        return compiled([quantity.symbol for quantity in self.quantities], expression)

    # ------------------------------------------------------------ to be read

    def latex(self) -> str:
        """The statement in LaTeX: left side, relation, formula."""
        names = {quantity.symbol: quantity.latex for quantity in self.quantities}
        formula = sympy.latex(self.expression, symbol_names=names)
        return f"{self.left} {_RELATIONS[self.direction]} {formula}"

    def _repr_markdown_(self) -> str:
        """A theorem box, for notebooks."""
        lines = [f"**{self.title}** ({self.place}; {_MEANS[self.provenance]})", ""]
        lines += [f"$$ {self.latex()} $$", ""]
        lines += [f"- if {hypothesis.words}" for hypothesis in self.hypotheses]
        if self.says_nothing is not None:
            lines.append(f"- says nothing where {self.says_nothing.words}")
        lines += ["", *(f"- ${q.latex}$ `{q.name}`: {q.meaning}" for q in self.quantities)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        names = ", ".join(quantity.name for quantity in self.quantities)
        return f"<statement {self.name}({names}): {self.title}>"
