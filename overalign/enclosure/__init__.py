"""Rigorous values and signs of SymPy expressions, in ball arithmetic (Arb, through python-flint).

An expression is turned into a list of steps once; each step maps balls to a ball that contains the
value at every point of its arguments. What is not defined at every point is not a number, and the
message says which subexpression it was.

Examples
--------
>>> import sympy
>>> x = sympy.Symbol("x")
>>> print(enclose(sympy.tanh(x), {"x": "0.3"}, digits=20))
[0.2913126124515909058182213 +/- 2.72e-26]
>>> certify(x - sympy.tanh(x), "positive", {"x": (0.1, 5.0)}).is_certified
True
"""

from __future__ import annotations

from .forms import ARB_FORMS
from .signs import Certificate, certify, certify_monotone
from .values import Enclosure, enclose, holds_on

__all__ = [
    "ARB_FORMS",
    "Certificate",
    "Enclosure",
    "certify",
    "certify_monotone",
    "enclose",
    "holds_on",
]
