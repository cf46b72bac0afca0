"""Numbers, times and formulas as text: for HTML, and for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..errors import ClaimError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["duration", "estimate", "html_of", "in_table", "interval", "number"]


_OPENS, _CLOSES = tuple("([{⟨"), tuple(")]}⟩")
_CUTS = tuple("=<>≤≥≈∝→≲≳∼+−")


def number(value: float | None, digits: int = 3) -> str:
    """A number, rounded unless it is whole; a dash where there is none.

    Parameters
    ----------
    value : float or None
    digits : int

    Returns
    -------
    str

    Examples
    --------
    >>> number(0.0123456), number(-2.5e-7), number(24.0), number(559597.0), number(None)
    ('0.0123', '-2.5e-7', '24', '559597', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if abs(value) < 1e9 and float(value).is_integer():
        return f"{value:.0f}"
    return re.sub(r"e([+-])0*", r"e\1", f"{value:.{digits}g}").replace("e+", "e")


def interval(ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """An interval in brackets; empty where there is none.

    Parameters
    ----------
    ends : (float or None, float or None) or None
    digits : int

    Returns
    -------
    str

    Examples
    --------
    >>> interval((0.25, 0.5)), interval(None)
    ('[0.25, 0.5]', '')
    """
    return f"[{', '.join(number(end, digits) for end in ends)}]" if ends else ""


def estimate(value: float | None, ends: Sequence[float | None] | None) -> str:
    """A number with its interval, in as many digits as tell its ends apart.

    Parameters
    ----------
    value : float or None
    ends : (float or None, float or None) or None

    Returns
    -------
    str

    Examples
    --------
    >>> estimate(0.3, (0.25, 0.35)), estimate(0.49976, (0.49966, 0.49987)), estimate(2.0, None)
    ('0.3 [0.25, 0.35]', '0.4998 [0.4997, 0.4999]', '2')
    """
    apart = (d for d in range(3, 6) if not ends or len({number(end, d) for end in ends}) > 1)
    digits = next(apart, 3)
    return f"{number(value, digits)} {interval(ends, digits)}".rstrip()


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it; a dash where it is not known.

    Parameters
    ----------
    seconds : float or None

    Returns
    -------
    str

    Examples
    --------
    >>> duration(12.3), duration(190.0), duration(9000.0), duration(None)
    ('12 s', '3.2 min', '2.5 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    if seconds < 6000.0:
        return f"{seconds / 60.0:.2g} min"
    return f"{seconds / 3600.0:.2g} h"


def html_of(text: str) -> str:
    r"""Inline Markdown with LaTeX between dollars as HTML with MathML, which browsers draw.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Raises
    ------
    ClaimError
        A formula cannot be read, or a dollar has no partner.

    Examples
    --------
    >>> html_of("**no** $x<1$ & so on")
    '<strong>no</strong> <math><mi>x</mi></math><math><mo form="infix">&lt;</mo>...&amp; so on'
    """
    words = _markdown()
    return "".join(
        _mathml(part) if is_formula else _spaced(part, words) for is_formula, part in _parts(text)
    )


def in_table(text: str) -> str:
    r"""Markdown for a cell of a table, in which a bar would end the cell.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Raises
    ------
    ClaimError
        A dollar has no partner.

    Examples
    --------
    >>> in_table(r"a | b, $\|x\| > |y|$")
    'a \\| b, $\\Vert x\\Vert  > \\vert y\\vert $'
    """
    return "".join(
        "$" + part.replace(r"\|", r"\Vert ").replace("|", r"\vert ") + "$"
        if is_formula
        else part.replace("|", r"\|")
        for is_formula, part in _parts(text)
    )


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """Pieces of text in turn, and whether each is a formula."""
    pieces = text.split("$")
    if len(pieces) % 2 == 0:
        raise ClaimError(f"a dollar without a partner in {text!r}; formulas stand between two")
    for place, piece in enumerate(pieces):
        yield place % 2 == 1, piece


def _spaced(piece: str, words: MarkdownIt) -> str:
    """Inline HTML, spaces at the ends kept."""
    body = piece.strip()
    if not body:
        return piece
    before, after = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
    return f"{before}{words.renderInline(body).strip()}{after}"


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


@cache
def _mathml(latex: str) -> str:
    from latex2mathml.converter import convert

    try:
        formula = convert(latex)
    except Exception as error:  # it raises many kinds
        raise ClaimError(f"the formula ${latex}$ cannot be read ({error})") from error
    left = re.search(r"\\[a-zA-Z]+", formula)
    if left is not None:
        raise ClaimError(f"the formula ${latex}$ has {left[0]}, which MathML has no sign for")
    return _breakable(formula)


def _breakable(formula: str) -> str:
    """One formula as several, cut before its relations and sums: lines break between formulas."""
    root = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", formula))
    pieces, depth = [ElementTree.Element("math")], 0
    for part in root[0] if len(root) == 1 and root[0].tag == "mrow" else root:
        sign = part.text or "" if part.tag == "mo" else ""
        depth += (sign in _OPENS) - (sign in _CLOSES)
        if sign in _CUTS and depth == 0 and len(pieces[-1]):
            part.set("form", "infix")  # at the beginning of a formula it would be a prefix
            pieces.append(ElementTree.Element("math"))
        pieces[-1].append(part)
    return "".join(ElementTree.tostring(piece, "unicode") for piece in pieces)
