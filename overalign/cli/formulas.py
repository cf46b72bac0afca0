"""Formulas on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..statements import Quantity, Statement

__all__ = ["letter_of", "plain", "pretty_lines"]

# fmt: off
_LETTERS = {
    "alpha": "α", "delta": "δ", "eta": "η", "gamma": "γ", "zeta": "ζ", "ell": "ℓ",
    "lambda": "λ", "phi": "φ", "varphi": "φ", "Phi": "Φ", "Psi": "Ψ", "psi": "ψ",
    "theta": "θ", "rho": "ρ", "pi": "π", "le": "≤", "ge": "≥", "angle": "∠",
    "ast": "*", "lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "langle": "⟨",
    "rangle": "⟩",
}
# fmt: on
_FRACTION = r"\\frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}"
_FONTS = r"\\(?:mathrm|mathbb|text|overline)\b\s*"


def plain(latex: str) -> str:
    """LaTeX as a line of text.

    Examples
    --------
    >>> plain(r"\\log\\max_j\\lVert w_j(t)\\rVert")
    'log max_j‖w_j(t)‖'
    """
    text = re.sub(_FRACTION, r"(\1)/(\2)", latex)
    text = re.sub(r"\\hat\s*(\w)", "\\1\u0302", text)  # combining characters
    text = re.sub(r"\\bar\s*(\w)", "\\1\u0304", text)
    text = re.sub(_FONTS, "", text).replace(r"\,", " ")
    text = re.sub(r"\\([A-Za-z]+)\s*", lambda m: _LETTERS.get(m[1], f" {m[1]} "), text)
    text = re.sub(r" ([_^(⟨‖|])", r"\1", re.sub(r"[{}]", "", text))
    return re.sub(r"\s+", " ", text).strip()


def letter_of(quantity: Quantity) -> str:
    """The letter of a quantity, where it is one that a terminal can show; else its name.

    Examples
    --------
    >>> from overalign.statements.quantities import QUANTITIES
    >>> letter_of(QUANTITIES["class_norm"]), letter_of(QUANTITIES["log_size"])
    ('X', 'log_size')
    """
    letter = re.sub(r"[\\{}]", "", quantity.latex).replace("varphi", "phi")
    return letter if re.fullmatch(r"[A-Za-z]+(?:_[\w+]+)?", letter) else quantity.name


def pretty_lines(expression: Any, statement: Statement) -> list[str]:
    """An expression of a statement as lines of characters.

    Examples
    --------
    >>> from overalign import statements
    >>> pretty_lines(statements.class_norm_at_most.expression, statements.class_norm_at_most)
    ['n₊⋅xₘₐₓ']
    """
    from sympy import Symbol, pretty

    letters = {q.symbol: Symbol(letter_of(q)) for q in statement.quantities}
    letters |= {
        symbol: Symbol(plain(symbol.name)) for symbol in expression.free_symbols - set(letters)
    }
    text: str = pretty(
        expression.subs(letters, simultaneous=True), use_unicode=True, wrap_line=False
    )
    return text.splitlines()
