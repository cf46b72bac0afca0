"""What a statement is: a formula with its quantities, hypotheses, direction and place.

The formula is a SymPy expression, written once. Numbers come from it, or from a function of the
package that keeps its digits where the expression would lose them; a test holds the two together.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..enclosure import Certificate, Enclosure, certify, certify_monotone, enclose, holds_on
from ..errors import ProblemError
from ..observation import Measured, Problem
from ..problem import GaussianMixture, Loss, Network, Sample
from ..special import compiled
from ..verdicts import Direction, Scale, Verdict
from .boxes import box, latex
from .judging import judged
from .parts import Hypothesis, Quantity
from .quantities import QUANTITIES

__all__ = ["Statement"]

FloatArray: TypeAlias = NDArray[np.float64]
Provenance: TypeAlias = Literal["paper", "reconstructed", "ours"]
Sign: TypeAlias = Literal["positive", "negative", "nonnegative", "nonpositive"]
Monotony: TypeAlias = Literal["increasing", "decreasing"]


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
        Where the bound is no better than what holds anyway.
    defaults : mapping
        Values of quantities that may be left out.
    given_as : mapping
        Other keywords for a quantity, each (quantity, SymPy function of the value).
    short : mapping
        LaTeX letters for parts of the formula, where it is read.
    numeric : callable, optional
        Of the quantities by keyword; where the expression would lose digits.
    measure : callable, optional
        Of a `Problem`: the left side where the statement speaks, with the quantities there (others
        may stand beside them), as `Measured`. It raises ScopeError where there is nothing to
        measure. Without it only sweeps over many problems can decide.
    tolerance : float
        By how much an equation may be off, or a bound be missed, before it counts as broken.
    scale : {"relative", "absolute", "log"}
        What the tolerance is relative to: the formula, or 1; "log" where the left side is one.
    floor : float
        Values of the formula below it count as that large.

    Raises
    ------
    ProblemError
        The expression or a condition has a symbol without a quantity, or a word is unknown.

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
    given_as: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    short: Mapping[str, Any] = field(default_factory=dict)
    numeric: Callable[..., Any] | None = None
    measure: Callable[[Problem], Measured] | None = None
    tolerance: float = 1e-6
    scale: Scale = "relative"
    floor: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", sympy.sympify(self.expression))
        words = {"direction": Direction, "provenance": Provenance, "scale": Scale}
        for name, allowed in words.items():
            if getattr(self, name) not in get_args(allowed):
                raise ProblemError(
                    f"statement {self.name}: {name} is {getattr(self, name)!r}, expected one of "
                    f"{', '.join(get_args(allowed))}"
                )
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

    @property
    def names(self) -> list[str]:
        """The names of its quantities."""
        return [quantity.name for quantity in self.quantities]

    # ------------------------------------------------------------ numbers

    def __call__(self, *, outside: Literal["raise", "nan"] = "raise", **values: ArrayLike) -> Any:
        """The formula's value.

        Parameters
        ----------
        outside : {"raise", "nan"}
            What happens where a hypothesis on the quantities is broken.
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
        _require_word("outside", outside, ("raise", "nan"))
        given = self._checked(values)
        broken = self._first_broken(given)
        if broken is not None and outside == "raise":
            hypothesis, example = broken
            raise ProblemError(
                f"{self.name}: {example} break the hypothesis that {hypothesis.words}; "
                "outside='nan' leaves such places out"
            )
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        result = np.array(np.broadcast_to(self.formula(given), shape))
        if broken is not None:
            result[~self.holds_for(**values)] = math.nan
        return result if shape else float(result)

    def formula(self, given: Mapping[str, FloatArray]) -> FloatArray:
        """The formula at arrays of every quantity, unchecked."""
        ordered = {name: given[name] for name in self.names}
        with np.errstate(all="ignore"):
            return np.asarray(self._function(**ordered), dtype=np.float64)

    def holds_for(self, **values: ArrayLike) -> NDArray[np.bool_]:
        """Where the hypotheses on the quantities hold, elementwise; others are not looked at."""
        given = self._checked(values)
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        fulfilled = np.ones(shape, dtype=bool)
        for hypothesis in self.hypotheses:
            if hypothesis.condition is not None:
                fulfilled &= self.truth(hypothesis, given)
        return fulfilled

    def says_nothing_for(self, **values: ArrayLike) -> NDArray[np.bool_]:
        """Where the bound is trivial, elementwise."""
        given = self._checked(values)
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        if self.says_nothing is None:
            return np.zeros(shape, dtype=bool)
        return np.array(np.broadcast_to(self.truth(self.says_nothing, given), shape))

    def truth(self, hypothesis: Hypothesis, given: Mapping[str, FloatArray]) -> NDArray[np.bool_]:
        """Where the condition of a hypothesis holds, at arrays of every quantity."""
        ordered = [given[name] for name in self.names]
        with np.errstate(all="ignore"):
            return np.asarray(self._compiled(hypothesis.condition)(*ordered), dtype=bool)

    def _checked(self, values: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Every quantity as an array, in its range."""
        given: dict[str, Any] = dict(values)
        for keyword, (name, convert) in self.given_as.items():
            if keyword in given:
                if name in given:
                    raise ProblemError(f"{self.name}: give {keyword} or {name}, not both")
                value = self._in_range(QUANTITIES[keyword], given.pop(keyword))
                symbol = sympy.Symbol(keyword)
                given[name] = compiled((symbol,), convert(symbol))(value)
        self._require_names(given)
        return {
            quantity.name: self._in_range(
                quantity, given.get(quantity.name, self.defaults.get(quantity.name))
            )
            for quantity in self.quantities
        }

    def _in_range(self, quantity: Quantity, value: Any) -> FloatArray:
        array = quantity.array(value)
        objection = quantity.objection(array)
        if objection:
            raise ProblemError(f"{self.name}: {objection}")
        return array

    def _require_names(self, given: Iterable[str]) -> None:
        given = list(given)
        for name in given:
            if name not in self.names:
                close = difflib.get_close_matches(name, [*self.names, *self.given_as], 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                has = ", ".join([*self.names, *self.given_as])
                raise ProblemError(f"{self.name} has no quantity {name}{meant} (it has {has})")
        missing = [name for name in self.names if name not in given and name not in self.defaults]
        if missing:
            raise ProblemError(f"{self.name} needs {', '.join(missing)} too")

    def _first_broken(self, given: Mapping[str, FloatArray]) -> tuple[Hypothesis, str] | None:
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
        for hypothesis in self.hypotheses:
            if hypothesis.condition is None:
                continue
            broken = ~np.broadcast_to(self.truth(hypothesis, given), shape)
            if broken.any():
                where = np.unravel_index(int(np.argmax(broken)), shape) if shape else ()
                names = sorted(str(symbol) for symbol in hypothesis.condition.free_symbols)
                at = {n: float(np.broadcast_to(given[n], shape)[where]) for n in names}
                return hypothesis, ", ".join(f"{n} = {value:.6g}" for n, value in at.items())
        return None

    @cached_property
    def _function(self) -> Callable[..., Any]:
        if self.numeric is not None:
            return self.numeric
        formula = self._compiled(self.expression)
        return lambda **values: formula(*values.values())

    def _compiled(self, expression: Any) -> Callable[..., Any]:
        return compiled(tuple(quantity.symbol for quantity in self.quantities), expression)

    # ------------------------------------------------------------ on a problem

    def broken_by(self, problem: Problem) -> list[str]:
        """The hypotheses on data, network and loss that a problem breaks, in words."""
        return [
            hypothesis.words
            for hypothesis in self.hypotheses
            if hypothesis.holds is not None and not hypothesis.holds(problem)
        ]

    def on(
        self,
        sample: Sample,
        network: Network,
        log_alpha: float,
        *,
        label: int = 1,
        outside: Literal["raise", "keep"] = "raise",
        eta: float = 0.05,
        loss: Loss | None = None,
        mixture: GaussianMixture | None = None,
    ) -> Statement:
        """The statement with the quantities filled in that data and network fix.

        Parameters
        ----------
        sample, network, log_alpha
        label : {1, -1}
            The class that statements about one class are about.
        outside : {"raise", "keep"}
            What happens if the problem breaks a hypothesis.
        eta, loss, mixture
            As for `Problem`.

        Returns
        -------
        Statement
            The same one; what is filled in has become a default.

        Raises
        ------
        ProblemError
            The problem breaks a hypothesis on data, network or loss.

        Examples
        --------
        >>> from overalign import GaussianMixture, Network, statements
        >>> sample = GaussianMixture(20, kappa=3.0, sigma=0.3).sample(8, seed=0)
        >>> bound = statements.phase1_alignment.on(sample, Network.random(16, 20, 0), -20.0)
        >>> bound
        <statement phase1_alignment(time, t_1; ...): Neurons align in phase 1>
        >>> round(bound(time=1.0, t_1=0.5), 3)
        0.365
        """
        _require_word("outside", outside, ("raise", "keep"))
        problem = Problem(sample, network, log_alpha, eta=eta, mixture=mixture)
        if loss is not None:
            problem = replace(problem, loss=loss)
        broken = self.broken_by(problem)
        if broken and outside == "raise":
            raise ProblemError(
                f"{self.name}: the problem breaks the hypothesis that {broken[0]}; "
                "outside='keep' fills the formula in all the same"
            )
        facts = problem.facts(label)
        filled = {name: facts[name] for name in self.names if name in facts}
        return replace(self, defaults={**self.defaults, **filled})

    def check(self, problem: Problem) -> Verdict:
        """The statement held against what is measured on a problem.

        Returns
        -------
        Verdict
            Decided where the measured side and the formula differ by more than the error of the
            measurement; the formula is enclosed, in ball arithmetic, where that is closest.

        Raises
        ------
        ProblemError
            What is given is no `Problem`.

        Examples
        --------
        >>> from overalign import GaussianMixture, Network, statements
        >>> from overalign.observation import Problem
        >>> sample = GaussianMixture(6, kappa=3.0, sigma=0.3).sample(8, seed=0)
        >>> problem = Problem(sample, Network.random(8, 6, 0), -20.0)
        >>> statements.norm_growth.check(problem).judgement.name
        'HOLDS'
        """
        if not isinstance(problem, Problem):
            raise ProblemError(
                f"{self.name}: check takes a Problem, not a {type(problem).__name__}; make one by "
                "Problem(sample, network, log_alpha) or Population(...).problem(seed)"
            )
        return judged(self, problem)

    # ------------------------------------------------------------ certified

    def enclose(
        self, *, digits: int = 30, most_digits: int | None = None, **values: Any
    ) -> Enclosure:
        """An interval that holds the formula's value for certain.

        Parameters
        ----------
        digits : int
            To be right, for values that are points.
        most_digits : int
            Working precision at which to give up; default 1000, or four times ``digits``.
        **values : int, float, Fraction, str or (low, high)
            A float is its exact binary value, a string a decimal: "0.1" is one tenth. A pair is an
            interval.

        Raises
        ------
        ProblemError
            A quantity is missing, unknown, or outside its range; or a hypothesis on the quantities
            is broken, on part of the values or everywhere.
        EnclosureError
            The formula is undefined somewhere on the values, or not found to so many digits.

        Examples
        --------
        >>> from overalign import statements
        >>> OA = statements.over_alignment
        >>> print(OA.enclose(kappa=3, sigma=1, phi="0.3", theta_c=0, digits=15))
        [0.00072851103903827... +/- ...]
        """
        (expression, *conditions), given = self._exact(values)
        for hypothesis, condition in conditions:
            holds = holds_on(condition, given)
            if not holds:
                where = "breaks" if holds is False else "on part of it breaks"
                raise ProblemError(
                    f"{self.name}: what is given {where} the hypothesis that {hypothesis.words}"
                )
        return enclose(expression, given, digits, most_digits=most_digits)

    def certify(
        self,
        claim: Sign | Monotony,
        *,
        in_: str | None = None,
        box: Mapping[str, Any],
        where: Any = (),
        most_parts: int = 20_000,
    ) -> Certificate:
        """The sign of the formula, or of its slope, for certain, all over a box of quantities.

        Parameters
        ----------
        claim : str
            A sign: "positive", "negative", "nonnegative" or "nonpositive"; or "increasing" or
            "decreasing", which are strict, in the quantity ``in_``.
        in_ : str
        box : mapping
            A pair (low, high) or a number for each quantity.
        where : SymPy relational, or several
            Restricts the box, as do the hypotheses on the quantities.
        most_parts : int
            The box is cut into at most so many parts.

        Returns
        -------
        Certificate
            The shares of the box where the claim holds, fails, and is undecided.

        Raises
        ------
        ProblemError
            A quantity is missing, unknown, or outside its range; the claim is no such word; or
            ``in_`` is no quantity of the box.
        EnclosureError
            As `overalign.enclosure.certify`.

        Examples
        --------
        >>> from overalign import statements
        >>> box = {"kappa": (1, 3), "sigma": 1, "phi": 1.0, "theta_c": (0.1, 0.9)}
        >>> found = statements.over_alignment.certify("decreasing", in_="theta_c", box=box)
        >>> found.is_certified
        True
        """
        _require_word("claim", claim, (*get_args(Sign), *get_args(Monotony)))
        (expression, *conditions), given = self._exact(box)
        wanted = list(where) if isinstance(where, list | tuple) else [where]
        options: dict[str, Any] = {
            "where": [*wanted, *(condition for _, condition in conditions)],
            "most_parts": most_parts,
        }
        if claim != "increasing" and claim != "decreasing":
            if in_ is not None:
                raise ProblemError(f"{self.name}: in_ goes with increasing and decreasing")
            return certify(expression, claim, given, claim=f"{self.name} is {claim}", **options)
        names = {symbol.name: symbol for symbol in given}
        if in_ not in names:
            raise ProblemError(
                f"{self.name}: in_ is {in_!r}, expected one of {', '.join(sorted(names))}"
            )
        words = f"{self.name} is {claim} in {in_}"
        return certify_monotone(expression, claim, names[in_], given, claim=words, **options)

    def _exact(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[Any, Any]]:
        """Formula and conditions in the symbols that are given, and their values, not rounded."""
        for k in (0, -1):  # both ends of every interval are in range
            self._checked({name: self._end(name, value, k) for name, value in values.items()})
        symbols = {quantity.name: quantity.symbol for quantity in self.quantities}
        change = {}
        for keyword, (name, convert) in self.given_as.items():
            if keyword in values:
                symbols[keyword] = sympy.Symbol(keyword, real=True)
                change[symbols.pop(name)] = convert(symbols[keyword])
        given = {**self.defaults, **values}
        conditions = [
            (hypothesis, hypothesis.condition.subs(change))
            for hypothesis in self.hypotheses
            if hypothesis.condition is not None
        ]
        found = {symbol: given[name] for name, symbol in symbols.items()}
        return [self.expression.subs(change), *conditions], found

    def _end(self, name: str, value: Any, k: int) -> float:
        """One end of a value, as a float."""
        try:
            return float(sympy.sympify(value[k] if isinstance(value, tuple) else value))
        except (TypeError, ValueError, IndexError, sympy.SympifyError):
            raise ProblemError(
                f"{self.name}: {name} is {value!r}, expected a number, a decimal such as '0.3', "
                "or a pair (low, high)"
            ) from None

    # ------------------------------------------------------------ to be read

    def latex(self) -> str:
        """The statement in LaTeX: left side, relation, formula."""
        return latex(self)

    def _repr_markdown_(self) -> str:
        """A theorem box, for notebooks."""
        return box(self)

    def __repr__(self) -> str:
        names = [name for name in self.names if name not in self.defaults]
        filled = ", ".join(f"{name}={value:.6g}" for name, value in self.defaults.items())
        inner = ", ".join(names) + (f"; {filled}" if filled else "")
        return f"<statement {self.name}({inner}): {self.title}>"


def _require_word(what: str, word: str, allowed: tuple[str, ...]) -> None:
    if word not in allowed:
        raise ProblemError(f"{what} is {word!r}, expected one of {', '.join(allowed)}")
