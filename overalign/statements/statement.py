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
from typing import Any, Literal, TypeAlias

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy.printing.latex import LatexPrinter

from ..enclosure import Certificate, Enclosure, certify, certify_monotone, enclose
from ..errors import EnclosureError, ProblemError, ScopeError
from ..observation import Measured, Problem
from ..problem import GaussianMixture, Loss, Network, Sample
from ..special import compiled
from ..verdicts import Direction, Judgement, Scale, Verdict, compare

__all__ = ["Hypothesis", "Quantity", "Statement"]

FloatArray: TypeAlias = NDArray[np.float64]
Provenance: TypeAlias = Literal["paper", "reconstructed", "ours"]


class _Latex(LatexPrinter):  # type: ignore[misc]
    """Sums begin with what is added: 1 - x, not -x + 1."""

    def _as_ordered_terms(self, expr: Any, order: str | None = None) -> list[Any]:
        terms = super()._as_ordered_terms(expr, order=order)
        return sorted(terms, key=lambda term: term.could_extract_minus_sign())


_ALPHA = sympy.Symbol(r"\alpha")
_RELATIONS = {"equal": "=", "at_most": r"\le", "at_least": r"\ge"}
PROVENANCE_MEANS = {
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
        Other keywords for a quantity, each (quantity, SymPy function of the value).
    short : mapping
        LaTeX letters for parts of the formula, where it is read.
    numeric : callable, optional
        Of the quantities by keyword; where the expression would lose digits.
    measure : callable, optional
        Of a `Problem`: the left side where the statement speaks, with the quantities there, as
        `Measured`. It raises ScopeError where there is nothing to measure. Without it only sweeps
        over many problems can decide.
    tolerance : float
        By how much an equation may be off, or a bound be missed, before it counts as broken.
    scale : {"relative", "absolute", "log"}
        What the tolerance is relative to: the formula, or 1; "log" where the left side is one.
    floor : float
        Values of the formula below it count as that large.

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
                given_value = np.asarray(given.pop(keyword), dtype=np.float64)
                symbol = sympy.Symbol(keyword)
                with np.errstate(invalid="ignore"):
                    given[name] = compiled((symbol,), convert(symbol))(given_value)
        names = [quantity.name for quantity in self.quantities]
        self._require_names(given, names)
        found = {}
        for quantity in self.quantities:
            value: Any = given.get(quantity.name, self.defaults.get(quantity.name))
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
        problem = Problem(sample, network, log_alpha, eta=eta, mixture=mixture)
        if loss is not None:
            problem = replace(problem, loss=loss)
        broken = self.broken_by(problem)
        if broken and outside == "raise":
            raise ProblemError(
                f"{self.name}: the problem breaks the hypothesis that {broken[0]}; "
                "outside='keep' fills the formula in all the same"
            )
        names = {quantity.name for quantity in self.quantities}
        facts = {name: value for name, value in problem.facts(label).items() if name in names}
        return replace(self, defaults={**self.defaults, **facts})

    def check(self, problem: Problem) -> Verdict:
        """The statement held against what is measured on a problem.

        Returns
        -------
        Verdict
            Decided where the measured side and the formula differ by more than the error of the
            measurement; the formula is enclosed, in ball arithmetic, where that is closest.

        Examples
        --------
        >>> from overalign import GaussianMixture, Network, statements
        >>> from overalign.observation import Problem
        >>> sample = GaussianMixture(6, kappa=3.0, sigma=0.3).sample(8, seed=0)
        >>> problem = Problem(sample, Network.random(8, 6, 0), -20.0)
        >>> statements.norm_growth.check(problem).judgement.name
        'HOLDS'
        """
        broken = self.broken_by(problem)
        if broken:
            return self._out_of_scope(f"broken: {broken[0]}")
        if self.measure is None:
            return self._out_of_scope("one problem does not decide it: it takes a sweep over many")
        try:
            measured = self.measure(problem)
            inside, reason = self._in_scope(measured)
        except ScopeError as error:
            return self._out_of_scope(str(error))
        if not inside.any():
            return self._out_of_scope(reason)
        return self._verdict(measured, inside)

    def _out_of_scope(self, reason: str) -> Verdict:
        return Verdict(self.name, Judgement.OUT_OF_SCOPE, self.provenance, reason)

    def _in_scope(self, measured: Measured) -> tuple[NDArray[np.bool_], str]:
        """The points at which the statement says something, and why others are left out."""
        for quantity in self.quantities:
            if quantity.name in measured.parameters:
                objection = quantity.objection(measured.parameters[quantity.name])
                if objection:
                    raise ScopeError(objection)
        given = self._of_points(measured)
        size = measured.value.shape
        inside, reason = np.isfinite(measured.value), "there is no point to compare at"
        for hypothesis in self.hypotheses:
            if hypothesis.condition is not None:
                holds = np.broadcast_to(self._truth(hypothesis.condition, given), size)
                if inside.any() and not (inside & holds).any():
                    reason = f"nowhere {hypothesis.words}"
                inside = inside & holds
        if self.says_nothing is not None and inside.any():
            silent = np.broadcast_to(self._truth(self.says_nothing.condition, given), size)
            inside = inside & ~silent
            reason = f"it says nothing: {self.says_nothing.words}"
        return inside, reason

    def _of_points(self, measured: Measured) -> dict[str, FloatArray]:
        """Every quantity at every point, in order."""
        given = dict(self.defaults) | dict(measured.parameters)
        self._require_names(measured.parameters, [quantity.name for quantity in self.quantities])
        return {q.name: np.asarray(given[q.name], dtype=np.float64) for q in self.quantities}

    def _verdict(self, measured: Measured, inside: NDArray[np.bool_]) -> Verdict:
        points = np.flatnonzero(inside)
        given = {
            name: np.broadcast_to(value, inside.shape)[points]
            for name, value in self._of_points(measured).items()
        }
        with np.errstate(all="ignore"):
            formula = np.broadcast_to(
                np.asarray(self._function(**given), dtype=np.float64), points.shape
            )
        value, error = measured.value[points], measured.error[points]
        if not np.isfinite(formula).all():
            return self._out_of_scope("the formula leaves float64")
        error = error + 32.0 * np.finfo(np.float64).eps * np.abs(formula)
        found = compare(
            self.direction, value, formula, error, self.tolerance, self.scale, self.floor
        )
        k = found.decisive
        witness = {"measured": float(value[k]), "formula": float(formula[k])}
        witness |= {name: float(array[k]) for name, array in given.items()}
        witness |= {name: float(array[points[k]]) for name, array in measured.where.items()}
        judgement, reason = self._certified(found.judgement, value[k], error[k], given, k)
        return Verdict(
            self.name,
            judgement,
            self.provenance,
            reason or measured.how,
            points=points.size,
            unresolved=int(found.unresolved.sum()),
            touches=int(found.touches.sum()),
            slack=float(found.slack[k]),
            tightness=float(np.max(np.where(found.unresolved, 0.0, found.tightness))),
            error=float(error[k]),
            witness=witness,
        )

    def _certified(
        self,
        judgement: Judgement,
        value: float,
        error: float,
        given: dict[str, FloatArray],
        k: int,
    ) -> tuple[Judgement, str]:
        """The judgement with the formula enclosed at the decisive point, and why it changed."""
        if judgement not in (Judgement.HOLDS, Judgement.FAILS):
            return judgement, "the error does not tell the two sides apart"
        try:
            ball = enclose(
                self.expression, {q.symbol: float(given[q.name][k]) for q in self.quantities}
            )
        except EnclosureError as problem:
            return Judgement.INCONCLUSIVE, f"the formula is not enclosed: {problem}"
        ends = np.array([ball.low, ball.high])
        both = np.full(2, value)
        found = compare(
            self.direction, both, ends, np.full(2, error), self.tolerance, self.scale, self.floor
        )
        agrees = found.fails if judgement is Judgement.FAILS else ~found.fails
        if agrees.all():
            return judgement, ""
        return Judgement.INCONCLUSIVE, f"float64 has lost the formula's digits: it is {ball}"

    # ------------------------------------------------------------ certified

    def enclose(self, *, digits: int = 30, **values: Any) -> Enclosure:
        """An interval that holds the formula's value for certain.

        Parameters
        ----------
        digits : int
            To be right, for values that are points.
        **values : int, float, Fraction, str or (low, high)
            A float is its exact binary value, a string a decimal: "0.1" is one tenth. A pair is an
            interval.

        Raises
        ------
        ProblemError
            A quantity is missing, unknown, or outside its range.
        EnclosureError
            The formula is undefined somewhere on the values, or not found to so many digits.

        Examples
        --------
        >>> from overalign import statements
        >>> OA = statements.over_alignment
        >>> print(OA.enclose(kappa=3, sigma=1, phi="0.3", theta_c=0, digits=15))
        [0.00072851103903827... +/- ...]
        """
        expression, given = self._exact(values)
        return enclose(expression, given, digits)

    def certify(
        self,
        claim: Literal["positive", "negative", "nonnegative", "nonpositive"]
        | Literal["increasing", "decreasing"],
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
            "increasing" and "decreasing" are strict, and in the quantity ``in_``.
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

        Examples
        --------
        >>> from overalign import statements
        >>> box = {"kappa": (1, 3), "sigma": 1, "phi": 1.0, "theta_c": (0.1, 0.9)}
        >>> found = statements.over_alignment.certify("decreasing", in_="theta_c", box=box)
        >>> found.is_certified
        True
        """
        expression, given = self._exact(box)
        conditions = list(where) if isinstance(where, list | tuple) else [where]
        conditions += [h.condition for h in self.hypotheses if h.condition is not None]
        if claim != "increasing" and claim != "decreasing":
            return certify(
                expression,
                claim,
                given,
                where=conditions,
                most_parts=most_parts,
                claim=f"{self.name} is {claim}",
            )
        if in_ not in {quantity.name for quantity in self.quantities}:
            raise ProblemError(f"{self.name}: in_ is {in_!r}; name the quantity it is {claim} in")
        symbol = next(q.symbol for q in self.quantities if q.name == in_)
        return certify_monotone(
            expression,
            claim,
            symbol,
            given,
            where=conditions,
            most_parts=most_parts,
            claim=f"{self.name} is {claim} in {in_}",
        )

    def _exact(self, values: Mapping[str, Any]) -> tuple[Any, dict[Any, Any]]:
        """The formula in the symbols that are given, and their values, neither rounded."""
        expression, given = self.expression, dict(values)
        symbols = {quantity.name: quantity.symbol for quantity in self.quantities}
        for keyword, (name, convert) in self.given_as.items():
            if keyword in given and name not in given:
                symbols[keyword] = sympy.Symbol(keyword, real=True)
                expression = expression.subs(symbols[name], convert(symbols[keyword]))
        for k in (0, -1):  # both ends of every interval are in range
            self._checked({name: self._end(name, value, k) for name, value in given.items()})
        found = {
            symbols[name]: given.get(name, self.defaults.get(name))
            for name in symbols
            if name in given or (name in self.defaults and symbols[name] in expression.free_symbols)
        }
        return expression, found

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
        formula, parts = self.readable()
        names = {quantity.symbol: quantity.latex for quantity in self.quantities}

        def written(expression: Any) -> str:
            return str(_Latex({"symbol_names": names}).doprint(expression))

        where = [f"{letter} = {written(part)}" for letter, part in parts.items()]
        return r",\quad ".join(
            [f"{self.left} {_RELATIONS[self.direction]} {written(formula)}", *where]
        )

    def readable(self) -> tuple[Any, dict[Any, Any]]:
        """The formula with letters for its parts and for alpha, and what the letters stand for."""
        alpha = {sympy.exp(q.symbol): _ALPHA for q in self.quantities if q.name == "log_alpha"}
        formula, parts = self.expression, {}
        for letter, part in self.short.items():
            shorter = formula.subs(part, sympy.Symbol(letter))
            if shorter != formula:
                formula, parts[sympy.Symbol(letter)] = shorter, part.subs(alpha)
        return formula.subs(alpha), parts

    def _repr_markdown_(self) -> str:
        """A theorem box, for notebooks."""
        lines = [f"**{self.title}** ({self.place}; {PROVENANCE_MEANS[self.provenance]})", ""]
        lines += [f"$$ {self.latex()} $$", ""]
        lines += [f"- if {hypothesis.words}" for hypothesis in self.hypotheses]
        if self.says_nothing is not None:
            lines.append(f"- says nothing where {self.says_nothing.words}")
        lines += ["", *(f"- ${q.latex}$ `{q.name}`: {q.meaning}" for q in self.quantities)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        names = [
            quantity.name for quantity in self.quantities if quantity.name not in self.defaults
        ]
        filled = ", ".join(f"{name}={value:.6g}" for name, value in self.defaults.items())
        inner = ", ".join(names) + (f"; {filled}" if filled else "")
        return f"<statement {self.name}({inner}): {self.title}>"
