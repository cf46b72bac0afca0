"""The report as one HTML file, and its two parts as Markdown."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..claims import Finding, find_checkout, read_ledger
from ..errors import OutputError
from ..records import replaced
from ..statements.boxes import PROVENANCE_MEANS
from ..verdicts import Judgement
from .entries import Entry, entries
from .errata import failing_claims, read_errata
from .text import duration, estimate, html_of, in_table, number

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["PAGE", "errata_markdown", "ledger_markdown", "write_report"]

PAGE = "index.html"
_MOST_LINES = 12  # that are shown without being asked for


class Mark(NamedTuple):
    """How a verdict is shown: colour alone would be lost on some readers and in print."""

    name: str
    words: str
    sign: str


NOT_RECORDED = Mark("NOT_RECORDED", "not recorded", "∅")
MARKS = {
    Judgement.HOLDS: Mark("HOLDS", "holds", "✓"),
    Judgement.FAILS: Mark("FAILS", "fails", "✗"),
    Judgement.INCONCLUSIVE: Mark("INCONCLUSIVE", "inconclusive", "?"),
    Judgement.OUT_OF_SCOPE: Mark("OUT_OF_SCOPE", "out of scope", "–"),
}


def write_report(
    findings: Mapping[str, Finding], output: Path, checkout: Path | None = None
) -> Path:
    """Write the report: one page that loads nothing, with every claim of the ledger.

    Parameters
    ----------
    findings : mapping of str to Finding
        As `overalign.claims.recorded` or `overalign.claims.verify` give them; a claim without one
        is shown as not recorded.
    output : path
        The folder; made if missing.
    checkout : path, optional
        As `overalign.claims.find_checkout` gives it, which is asked unless given.

    Returns
    -------
    pathlib.Path
        ``output / "index.html"``.

    Raises
    ------
    OutputError
        The folder cannot be made, or the file cannot be written.
    ClaimError
        A record, a figure or an erratum cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from overalign.claims import recorded
    >>> findings = recorded(find_checkout())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(findings, Path(folder)).read_text("utf-8")[:15]
    '<!doctype html>'
    """
    checkout = find_checkout() if checkout is None else checkout
    text = _rendered("report.html", findings, checkout, output, _html_filters())
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made ({error.strerror or error})") from error
    with replaced(output / PAGE) as temporary:
        temporary.write_text(text, "utf-8")
    return output / PAGE


def ledger_markdown(
    findings: Mapping[str, Finding], folder: Path, checkout: Path | None = None
) -> str:
    """The verdicts and the claims as Markdown.

    Parameters
    ----------
    findings : mapping of str to Finding
    folder : path
        Where the text is to stand; links are relative to it.
    checkout : path, optional

    Returns
    -------
    str

    Raises
    ------
    ClaimError
        As `write_report`.

    Examples
    --------
    >>> from overalign.claims import recorded
    >>> checkout = find_checkout()
    >>> ledger_markdown(recorded(checkout), checkout / "docs")[:12]
    '# The ledger'
    """
    checkout = find_checkout() if checkout is None else checkout
    return _rendered("ledger.md", findings, checkout, folder, {"cell": in_table})


def errata_markdown(
    findings: Mapping[str, Finding], folder: Path, checkout: Path | None = None
) -> str:
    """What is addressed to authors, as Markdown.

    Parameters
    ----------
    findings : mapping of str to Finding
    folder : path
        Where the text is to stand; links are relative to it.
    checkout : path, optional

    Returns
    -------
    str

    Raises
    ------
    ClaimError
        As `write_report`.

    Examples
    --------
    >>> from overalign.claims import recorded
    >>> checkout = find_checkout()
    >>> errata_markdown(recorded(checkout), checkout / "docs")[:8]
    '# Errata'
    """
    checkout = find_checkout() if checkout is None else checkout
    return _rendered("errata.md", findings, checkout, folder, {"cell": in_table})


# ---------------------------------------------------------------- rendering


def _rendered(
    template: str,
    findings: Mapping[str, Finding],
    checkout: Path,
    folder: Path,
    filters: Mapping[str, Callable[..., Any]],
) -> str:
    """A template filled in; links lead from a folder to files of the checkout."""
    found = entries(read_ledger(checkout), findings, checkout)
    environment = _environment()
    environment.filters |= filters
    environment.filters["link"] = partial(_link, folder=folder, checkout=checkout)
    return environment.get_template(template).render(
        entries=found,
        counts=_counts(found),
        dates=sorted(each.date for each in findings.values()),
        failing=failing_claims(findings),
        errata=read_errata(checkout),
        provenance=PROVENANCE_MEANS,
        most_lines=_MOST_LINES,
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("overalign.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    plain = {"number": number, "duration": duration, "mark": _mark}
    environment.filters |= plain | {"measured": lambda line: estimate(line.measured, line.interval)}
    return environment


def _html_filters() -> dict[str, Callable[..., Any]]:
    from markupsafe import Markup

    return {
        "math": lambda text: Markup(html_of(text)),  # html_of escapes
        "base64": lambda content: base64.b64encode(content).decode("ascii"),
    }


def _mark(verdict: Judgement | str | None) -> Mark:
    """Of a judgement, or of its name."""
    if verdict is None:
        return NOT_RECORDED
    return MARKS[Judgement[verdict] if isinstance(verdict, str) else verdict]


def _counts(found: Iterable[Entry]) -> list[tuple[Mark, int]]:
    """How many claims have each verdict, those that none has left out."""
    verdicts = [_mark(entry.verdict) for entry in found]
    marks = [*MARKS.values(), NOT_RECORDED]
    return [(mark, verdicts.count(mark)) for mark in marks if mark in verdicts]


def _link(path: Path, *, folder: Path, checkout: Path) -> str:
    """From a folder to a file of the checkout."""
    place = os.path.relpath(checkout.resolve() / path, folder.resolve())
    return Path(place).as_posix()
