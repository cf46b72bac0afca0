"""Derivations whose steps are checked by machine and end in the formula of a statement.

A derivation says of each step how it was checked: by algebra, by the signs of what is in it, on a
box of parameters by ball arithmetic, or numerically only. theory/ holds one for each statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import sympy

from .enclosure import certify
from .errors import DerivationError
from .observation import Population
from .statements import find

__all__ = ["Derivation", "Step", "report"]

How: TypeAlias = Literal["algebra", "signs", "box", "numerical only"]


class Step(NamedTuple):
    """One step, and how it was checked.

    Examples
    --------
    >>> Step("x^2 is not negative", "signs")
    Step(text='x^2 is not negative', how='signs')
    """

    text: str
    how: How


class Derivation:
    """Steps that lead to the formulas of statements, checked as they are written down.

    Every method raises DerivationError when its step does not hold, so a derivation that exists is
    one whose steps held.

    Parameters
    ----------
    title : str

    Attributes
    ----------
    steps : list of Step
    concluded : list of str
        Names of the statements whose formulas were reached.

    Examples
    --------
    >>> from overalign.statements.quantities import QUANTITIES
    >>> n, x_max = QUANTITIES["class_size"].symbol, QUANTITIES["x_max"].symbol
    >>> proof = Derivation("The class sum is no longer than its parts")
    >>> proof.equal("n_+ parts of length x_max", sum([x_max] * 3), 3 * x_max)
    >>> proof.ends_with("class_norm_at_most", n * x_max)
    >>> print(proof)
    The class sum is no longer than its parts
      1. n_+ parts of length x_max [algebra]
      2. class_norm_at_most: class_size*x_max [algebra]
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.steps: list[Step] = []
        self.concluded: list[str] = []

    def equal(self, text: str, left: Any, right: Any) -> None:
        """left = right, by algebra.

        Raises
        ------
        DerivationError
            SymPy does not reduce the difference to zero.
        """
        if not _is_zero(sympy.sympify(left) - sympy.sympify(right)):
            raise DerivationError(f"{text}: {left} and {right} are not found equal")
        self.steps.append(Step(text, "algebra"))

    def at_least_zero(self, text: str, expression: Any) -> None:
        """The expression is not negative, by what is assumed of its symbols.

        Raises
        ------
        DerivationError
            The signs do not follow from the assumptions, neither as it stands nor factored.
        """
        forms = (sympy.sympify(expression), sympy.factor(expression), sympy.expand(expression))
        if not any(form.is_nonnegative for form in forms):
            raise DerivationError(f"{text}: the sign of {expression} does not follow")
        self.steps.append(Step(text, "signs"))

    def at_least_zero_on(
        self, text: str, expression: Any, box: Mapping[Any, tuple[float, float]], where: Any = ()
    ) -> None:
        """The expression is not negative anywhere on a box of its symbols, by ball arithmetic.

        Raises
        ------
        DerivationError
            It is negative somewhere, or a part of the box stays undecided.
        """
        found = certify(expression, "nonnegative", box, where=where)
        if not found.is_certified:
            raise DerivationError(f"{text}: {found}")
        self.steps.append(Step(text, "box"))

    def numerical(self, text: str, gap: float, at_most: float) -> None:
        """A number that is zero but for rounding, quadrature or draws: evidence, not proof.

        Raises
        ------
        DerivationError
            The gap is larger, or no number.
        """
        if not abs(gap) <= at_most:
            raise DerivationError(f"{text}: {gap:g}, at most {at_most:g} was expected")
        self.steps.append(Step(f"{text} (to {abs(gap):.1e})", "numerical only"))

    def ends_with(self, name: str, expression: Any) -> None:
        """The formula derived is the one of the statement.

        Raises
        ------
        DerivationError
            It is another one.
        ProblemError
            There is no such statement.
        """
        statement = find(name)
        if not _is_zero(sympy.sympify(expression) - statement.expression):
            raise DerivationError(
                f"{name}: derived {expression}, but the statement has {statement.expression}"
            )
        self.concluded.append(name)
        self.steps.append(Step(f"{name}: {statement.expression}", "algebra"))

    def __str__(self) -> str:
        lines = [f"  {k}. {step.text} [{step.how}]" for k, step in enumerate(self.steps, 1)]
        return "\n".join([self.title, *lines])


def _is_zero(difference: Any) -> bool:
    """Whether SymPy reduces an expression to zero, by the cheapest way that does."""
    if difference == 0:
        return True
    ways = (sympy.expand, sympy.simplify, lambda e: sympy.simplify(e.rewrite(sympy.exp)))
    return any(way(difference) == 0 for way in ways)


def report(derivation: Derivation, seeds: int = 5) -> str:
    """A derivation, and for each statement it ends in the formula's number and the measured one.

    Parameters
    ----------
    derivation : Derivation
    seeds : int
        Problems that are tried until the statement says something about one.

    Examples
    --------
    >>> from overalign.statements.quantities import QUANTITIES
    >>> n, x_max = QUANTITIES["class_size"].symbol, QUANTITIES["x_max"].symbol
    >>> proof = Derivation("The class sum is no longer than its parts")
    >>> proof.ends_with("class_norm_at_most", n * x_max)
    >>> print(report(proof))
    The class sum is no longer than its parts
      1. class_norm_at_most: class_size*x_max [algebra]
    class_norm_at_most: measured ..., formula ...; holds
    """
    lines = [str(derivation)]
    problems = [Population().problem(seed) for seed in range(seeds)]
    for name in derivation.concluded:
        verdicts = [find(name).check(problem) for problem in problems]
        told = next((verdict for verdict in verdicts if verdict.points), None)
        if told is not None:
            sides = "measured {measured:.9g}, formula {formula:.9g}".format(**told.witness)
            lines.append(f"{name}: {sides}; {told.judgement.value}")
        else:
            lines += [f"{name}: {verdict.reason}" for verdict in verdicts[:1]]
    return "\n".join(lines)
