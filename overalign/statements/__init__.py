"""Every statement of the theory as an object, by name.

Examples
--------
>>> from overalign import statements
>>> statements.over_alignment
<statement over_alignment(kappa, sigma, phi, theta_c): Over-alignment>
>>> len(statements.REGISTRY) >= 30
True
"""

from __future__ import annotations

import difflib

from ..errors import ProblemError
from . import alignment_phase, data_laws, fitting_phase, generalisation
from .parts import Hypothesis, Quantity
from .statement import Statement

__all__ = ["REGISTRY", "Hypothesis", "Quantity", "Statement", "find"]

REGISTRY: dict[str, Statement] = {
    statement.name: statement
    for module in (alignment_phase, fitting_phase, generalisation, data_laws)
    for statement in module.STATEMENTS
}


def find(name: str) -> Statement:
    """The statement of a name.

    Raises
    ------
    ProblemError
        There is none; suggests the nearest.

    Examples
    --------
    >>> find("over_alignment").title
    'Over-alignment'
    """
    if name not in REGISTRY:
        close = difflib.get_close_matches(name, REGISTRY, 1)
        meant = f"did you mean {close[0]}?" if close else "`overalign statements` lists them"
        raise ProblemError(f"there is no statement {name!r}; {meant}")
    return REGISTRY[name]


def __getattr__(name: str) -> Statement:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return find(name)
    except ProblemError as error:
        raise AttributeError(str(error)) from None


def __dir__() -> list[str]:
    return [*__all__, *REGISTRY]
