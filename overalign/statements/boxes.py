"""Statements as people read them: LaTeX, and boxes for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.latex import LatexPrinter

from ..special import NOTATION

if TYPE_CHECKING:
    from .statement import Statement

__all__ = ["PROVENANCE_MEANS", "box", "latex", "readable"]

_ALPHA = sympy.Symbol(r"\alpha")
_RELATIONS = {"equal": "=", "at_most": r"\le", "at_least": r"\ge"}
PROVENANCE_MEANS = {
    "paper": "the paper's",
    "reconstructed": "the paper's, completed here where its wording is not known",
    "ours": "derived here",
}


class _Printer(LatexPrinter):  # type: ignore[misc]
    """Sums begin with what is added: 1 - x, not -x + 1."""

    def _as_ordered_terms(self, expr: Any, order: str | None = None) -> list[Any]:
        terms = super()._as_ordered_terms(expr, order=order)
        return sorted(terms, key=lambda term: term.could_extract_minus_sign())

    def _print_expm1(self, expr: Any) -> str:
        return rf"\left(e^{{{self._print(expr.args[0])}}}-1\right)"


def readable(statement: Statement) -> tuple[Any, dict[Any, Any]]:
    """The formula with letters for its parts and for alpha, and what the letters stand for."""
    logarithm = [q.symbol for q in statement.quantities if q.name == "log_alpha"]
    alpha = {sympy.exp(symbol): _ALPHA for symbol in logarithm}
    formula, parts = statement.expression, {}
    for letter, part in statement.short.items():
        formula = formula.subs(part, sympy.Symbol(letter))
        parts[sympy.Symbol(letter)] = part.subs(alpha)
    return formula.subs(alpha), parts


def latex(statement: Statement) -> str:
    """Left side, relation and formula, and the letters of its parts, in LaTeX."""
    formula, parts = readable(statement)
    names = {quantity.symbol: quantity.latex for quantity in statement.quantities}

    def written(expression: Any) -> str:
        return str(_Printer({"symbol_names": names}).doprint(expression))

    where = [f"{letter} = {written(part)}" for letter, part in parts.items()]
    relation = _RELATIONS[statement.direction]
    return r",\quad ".join([f"{statement.left} {relation} {written(formula)}", *where])


def box(statement: Statement) -> str:
    """The statement with its hypotheses and quantities, in Markdown."""
    title = statement.title.replace("*", r"\*")
    lines = [f"**{title}** (`{statement.name}`)", "", f"$$ {latex(statement)} $$", ""]
    if statement.hypotheses:
        lines += ["holds if", "", *(f"- {h.words}" for h in statement.hypotheses), ""]
    if statement.says_nothing is not None:
        lines += [f"says nothing where {statement.says_nothing.words}", ""]
    rows = [
        f"| ${q.latex}$ | `{q.name}` | {q.meaning} | {_filled(statement, q)} |"
        for q in statement.quantities
    ]
    if rows:
        lines += ["| | name | meaning | value or range |", "|---|---|---|---|", *rows, ""]
    for keyword, (name, convert) in statement.given_as.items():
        written = sympy.latex(convert(sympy.Symbol(keyword)))
        lines += [f"`{keyword}` may be given for `{name}` $= {written}$", ""]
    lines += [
        f"{meaning}  " for kind, meaning in NOTATION.items() if statement.expression.has(kind)
    ]
    lines.append(f"{statement.place}; provenance: {PROVENANCE_MEANS[statement.provenance]}")
    return "\n".join(lines)


def _filled(statement: Statement, quantity: Any) -> str:
    value = statement.defaults.get(quantity.name)
    return str(quantity.range) if value is None else f"{value:.6g}"
