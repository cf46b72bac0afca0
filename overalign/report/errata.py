"""What is addressed to authors: where our reading of a statement fails, and what shows it.

``validation/errata.toml`` of a checkout has the sentences; the numbers in them are places of
recorded results, and an erratum that a record no longer shows is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..claims import Finding
from ..claims.ledger import read_summary
from ..errors import ClaimError
from ..records import Config, config_from
from ..verdicts import Judgement
from .text import estimate, interval, number

__all__ = ["Erratum", "failing_claims", "read_errata"]

ERRATA = Path("validation", "errata.toml")
_PLACE = re.compile(r"<<(.+?)>>")


class Shown(Config, frozen=True):
    """A line of a study's criterion, and the verdict by which it shows an erratum."""

    study: str
    line: str
    verdict: Literal["HOLDS", "FAILS"]


class Erratum(Config, frozen=True):
    """A statement that fails as we read it.

    Attributes
    ----------
    id, title : str
    place : str
        Where the statement stands.
    reading : str
        What we take it to say, LaTeX between dollars.
    finds : str
        What was found instead; numbers are put in for ``<<study > measured > key>>``, from a
        record, and for ``<<study > C1 > beginning of a statement>>``, from a line of it.
    shown_by : tuple of Shown
        Lines whose recorded verdicts show it.
    command : str
        What shows it on the smallest problem that we know.
    shows : str
        What to look at in the output of the command.
    repair : str
        What holds instead; may be empty.
    """

    id: str
    title: str
    place: str
    reading: str
    finds: str
    shown_by: tuple[Shown, ...]
    command: str
    shows: str
    repair: str = ""


def failing_claims(findings: Mapping[str, Finding]) -> list[Finding]:
    """Findings against the paper, or against our reading of it.

    Parameters
    ----------
    findings : mapping of str to Finding

    Returns
    -------
    list of Finding
        Those that FAIL and are not of our own making.

    Examples
    --------
    >>> from overalign.claims import find_checkout, recorded
    >>> {found.judgement.name for found in failing_claims(recorded(find_checkout()))} <= {"FAILS"}
    True
    """
    return [
        found
        for found in findings.values()
        if found.judgement is Judgement.FAILS and found.claim.provenance != "ours"
    ]


def read_errata(checkout: Path) -> list[Erratum]:
    """The errata of a checkout with the numbers of its full records put in.

    Parameters
    ----------
    checkout : path
        As `overalign.claims.find_checkout` gives it.

    Returns
    -------
    list of Erratum
        Empty where the checkout has no errata.

    Raises
    ------
    ClaimError
        A record lacks what an erratum quotes, or does not show it.
    ConfigError
        An erratum has an unknown, missing or wrong field.

    Examples
    --------
    >>> from overalign.claims import find_checkout
    >>> any("<<" in erratum.finds for erratum in read_errata(find_checkout()))
    False
    """
    path = checkout / ERRATA
    if not path.is_file():
        return []
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ClaimError(f"{path}: cannot be read ({error})") from error
    record = cache(lambda study: _record(checkout, study))  # many quote the same
    errata = []
    for name, fields in tables.items():
        where = f"{path}, [{name}]"
        quoted = {
            key: _quoted(text, record, where) if isinstance(text, str) else text
            for key, text in fields.items()
        }
        erratum = config_from(Erratum, {"id": name, **quoted}, where)
        _require_shown(erratum, record, where)
        errata.append(erratum)
    return errata


def _record(checkout: Path, study: str) -> dict[str, Any]:
    return read_summary(checkout / "validation" / study / "results" / "summary.json")


def _require_shown(erratum: Erratum, record: Any, where: str) -> None:
    for shown in erratum.shown_by:
        verdicts = {entry["verdict"] for entry in _lines(record(shown.study), shown.line)}
        # a line of several statements fails where one of them does
        met = shown.verdict in verdicts if shown.verdict == "FAILS" else verdicts == {"HOLDS"}
        if not met:
            raise ClaimError(
                f"{where}: {shown.line} of {shown.study} is recorded as "
                f"{', '.join(sorted(verdicts)) or 'nothing'}, not {shown.verdict}; correct the "
                "erratum or take it out"
            )


def _lines(summary: Mapping[str, Any], line: str) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in summary["criteria"] if entry["line"] == line)


def _quoted(text: str, record: Any, where: str) -> str:
    """Text with the recorded numbers in their places."""

    def value(found: re.Match[str]) -> str:
        study, *keys = (part.strip() for part in found[1].split(" > "))
        summary = record(study)
        try:
            return _words(_at(summary, keys))
        except (LookupError, TypeError, ValueError) as error:
            raise ClaimError(
                f"{where}: the record of {study} has no number at {' > '.join(keys)}"
            ) from error

    return _PLACE.sub(value, text)


def _at(summary: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What stands at a place of a record; of a line what was measured, with its interval."""
    if not re.fullmatch(r"C\d+", keys[0]):
        at: Any = summary
        for key in keys:
            at = at[int(key)] if isinstance(at, list) else at[key]
        return at
    line, beginning, *part = keys
    found = [each for each in _lines(summary, line) if each["statement"].startswith(beginning)]
    entry = found[0]
    return entry[part[0]] if part else [entry["measured"], *(entry["interval"] or ())]


def _words(value: Any) -> str:
    """A number; one with the ends of its interval; or an interval."""
    if not isinstance(value, list):
        return number(float(value))
    middle, ends = value[: len(value) % 2], value[len(value) % 2 :]
    return estimate(middle[0], ends) if middle else interval(ends)
