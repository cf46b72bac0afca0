"""Claims, the lines of studies that decide them, and what is recorded about them."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ..errors import ClaimError
from ..records import Config, config_from
from ..verdicts import Judgement

Provenance: TypeAlias = Literal["paper", "reconstructed", "ours"]
Tier: TypeAlias = Literal["quick", "full"]

LEDGER = Path("validation", "ledger.toml")
RECORDS: Mapping[Tier, str] = {"full": "summary.json", "quick": "quick.json"}
_WORST_FIRST = (Judgement.FAILS, Judgement.INCONCLUSIVE, Judgement.HOLDS)


# ---------------------------------------------------------------- the ledger


class Claim(Config, frozen=True):
    """One claim of the theory and where it is decided.

    Attributes
    ----------
    id, title : str
    theory : str
        What is said, in one sentence, LaTeX between dollars.
    provenance : {"paper", "reconstructed", "ours"}
        FAILS on a reconstructed claim says that our reading of it fails.
    place : str
        Where it stands.
    study : str
        Folder under ``validation``.
    lines : tuple of str
        The numbered lines of its criterion that decide.
    meaning : str
        What the verdict means for a user.
    needs : {"", "gpu"}
        What this machine cannot be expected to have; the study is then a miniature.
    figure : str
        In the results of the study.

    Examples
    --------
    >>> claim = Claim(
    ...     id="Y0", title="A claim", theory="$1 = 1$", provenance="ours", place="theory.md",
    ...     study="small_alpha_limit", lines=("C1",), meaning="Nothing.",
    ... )
    >>> claim.needs, claim.figure
    ('', 'figure.png')
    """

    id: str
    title: str
    theory: str
    provenance: Provenance
    place: str
    study: str
    lines: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    meaning: str
    needs: Literal["", "gpu"] = ""
    figure: str = "figure.png"


def find_checkout(start: Path | None = None) -> Path:
    """The folder that holds ``validation/ledger.toml``: studies are not part of an installation.

    Parameters
    ----------
    start : path, optional
        Only this folder and those above it are looked at; unless given, the working folder and
        those above it, then the folder that this package was installed from.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ClaimError
        There is none.

    Examples
    --------
    >>> (find_checkout() / "validation" / "ledger.toml").is_file()
    True
    """
    beginnings = [start] if start is not None else [Path.cwd(), Path(__file__).parent]
    for beginning in beginnings:
        for folder in (beginning.absolute(), *beginning.absolute().parents):
            if (folder / LEDGER).is_file():
                return folder
    raise ClaimError(
        f"no {LEDGER} in {' or '.join(map(str, beginnings))} or above: claims and their studies "
        "come with a clone of the repository, not with an installed package; clone it, run "
        'python -m pip install -e ".[all]" there, and call again from that folder'
    )


def read_ledger(checkout: Path) -> dict[str, Claim]:
    """The claims of a checkout by id, in the order of the ledger.

    Raises
    ------
    ClaimError
        The ledger cannot be read.
    ConfigError
        An entry has an unknown, missing or wrong field.

    Examples
    --------
    >>> read_ledger(find_checkout())["Y10"].study
    'small_alpha_limit'
    """
    path = checkout / LEDGER
    tables = _read_toml(path)
    return {
        name: config_from(Claim, {"id": name, **fields}, f"{path}, [{name}]")
        for name, fields in tables.items()
    }


def _read_toml(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ClaimError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: not TOML ({error})") from error
    loose = [name for name, fields in tables.items() if not isinstance(fields, dict)]
    if loose:
        raise ClaimError(f"{path}: {loose[0]} stands outside of a claim; each claim is a table")
    return tables


def find_claims(ledger: Mapping[str, Claim], ids: Sequence[str]) -> dict[str, Claim]:
    """The claims of some ids, in the order of the ledger; all of them if none is given.

    Raises
    ------
    ClaimError
        There is no such claim; the message names those that are near.

    Examples
    --------
    >>> try:
    ...     find_claims(read_ledger(find_checkout()), ["y10"])
    ... except ClaimError as error:
    ...     print(error)
    there is no claim 'y10'; did you mean Y10...
    """
    for name in ids:
        if name not in ledger:
            folded = {known.casefold(): known for known in ledger}
            near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
            known = ", ".join(folded[each] for each in near)
            there = f"there are {', '.join(ledger)}" if ledger else "the ledger is empty"
            raise ClaimError(
                f"there is no claim '{name}'; " + (f"did you mean {known}?" if near else there)
            )
    return {name: claim for name, claim in ledger.items() if not ids or name in ids}


# ---------------------------------------------------------------- what was found


class Line(Config, frozen=True):
    """One numbered line of a criterion with what was measured, as in summary.json.

    Attributes
    ----------
    line, statement : str
    measured, threshold : float or None
        None where there is no finite number.
    interval : tuple of two, or None
        Of 95 %, unless the criterion says otherwise.
    verdict : {"HOLDS", "FAILS", "INCONCLUSIVE"}
    p_value : float or None
        Where it was a test that decided.

    Examples
    --------
    >>> line = Line(
    ...     line="C1", statement="slope", measured=0.5, interval=(0.48, 0.52), threshold=0.53,
    ...     verdict="HOLDS",
    ... )
    >>> line.interval[1] <= line.threshold
    True
    """

    line: str
    statement: str
    measured: float | None
    interval: tuple[float | None, float | None] | None
    threshold: float | None
    verdict: Literal["HOLDS", "FAILS", "INCONCLUSIVE"]
    p_value: float | None = None


@dataclass(frozen=True)
class Finding:
    """What a study found about a claim.

    Attributes
    ----------
    claim : Claim
    tier : {"quick", "full"}
    lines : tuple of Line
        Those that decide the claim.
    judgement : Judgement
        The worst of the lines; OUT_OF_SCOPE where the claim needs what was not there.
    adjusted : Judgement
        The same with intervals widened so that all of the ledger hold together.
    tightness : float or None
        Of a bound, the largest quotient of the smaller and the larger side: 1 where it is attained.
    seconds : float or None
        Of the study.
    date, hardware : str
        Of the study.
    folder : pathlib.Path
        The results, curves and figures of the study.
    """

    claim: Claim
    tier: Tier
    lines: tuple[Line, ...]
    judgement: Judgement
    adjusted: Judgement
    tightness: float | None
    seconds: float | None
    date: str
    hardware: str
    folder: Path

    @property
    def decisive(self) -> Line:
        """The first of the lines with the worst verdict."""
        return next(line for line in self.lines if line.verdict == self.miniature.name)

    @property
    def miniature(self) -> Judgement:
        """The worst of the lines, whatever the claim needs."""
        return _worst(line.verdict for line in self.lines)

    @property
    def reason(self) -> str:
        """Why the claim is out of scope; empty if it is not."""
        if self.judgement is not Judgement.OUT_OF_SCOPE:
            return ""
        return f"needs a GPU; its miniature on a processor: {self.miniature.value}"


def recorded(checkout: Path, tier: Tier = "full") -> dict[str, Finding]:
    """What is recorded about the claims of a checkout, by id.

    Parameters
    ----------
    checkout : path
        As `find_checkout` gives it.
    tier : {"quick", "full"}
        Of the full studies, or of the small variants that ``overalign verify`` repeats.

    Returns
    -------
    dict of str to Finding
        In the order of the ledger, without claims whose study has no record of that tier.

    Raises
    ------
    ClaimError
        A record cannot be read, or lacks a line that a claim names.

    Examples
    --------
    >>> recorded(find_checkout())["Y10"].judgement.name
    'HOLDS'
    """
    found = {}
    for name, claim in read_ledger(checkout).items():
        folder = checkout / "validation" / claim.study / "results"
        if (folder / RECORDS[tier]).is_file():
            found[name] = finding(claim, tier, folder / RECORDS[tier])
    return adjusted(found)


def finding(claim: Claim, tier: Tier, record: Path) -> Finding:
    """What one summary says about one claim, not yet adjusted for the others.

    Raises
    ------
    ClaimError
        As `recorded`.
    """
    summary = read_summary(record)
    lines = tuple(
        config_from(Line, _plain(entry), f"{record}, {entry.get('line')}")
        for entry in summary["criteria"]
        if entry.get("line") in claim.lines
    )
    missing = set(claim.lines) - {line.line for line in lines}
    if missing:
        raise ClaimError(
            f"{record}: has no line {', '.join(sorted(missing))}, which claim {claim.id} names; "
            f"correct the ledger, or repeat validation.{claim.study}"
        )
    judgement = _worst(line.verdict for line in lines)
    if claim.needs:
        judgement = Judgement.OUT_OF_SCOPE
    tightness = summary["measured"].get("tightness", {})
    return Finding(
        claim=claim,
        tier=tier,
        lines=lines,
        judgement=judgement,
        adjusted=judgement,
        tightness=max((tightness[line] for line in claim.lines if line in tightness), default=None),
        seconds=summary.get("seconds"),
        date=summary["date"],
        hardware=summary["hardware"],
        folder=record.parent,
    )


def read_summary(path: Path) -> dict[str, Any]:
    """The record of a study.

    Raises
    ------
    ClaimError
        It cannot be read, or is something else.
    """
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ClaimError(f"{path}: not a readable record ({error}); repeat the study") from error
    wanted = {"study", "date", "hardware", "measured", "criteria"}
    if not isinstance(summary, dict) or not wanted <= set(summary):
        raise ClaimError(f"{path}: not the record of a study; repeat the study")
    return summary


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a record with numbers for the truth values that some lines measure."""
    truth = {key: float(value) for key, value in entry.items() if isinstance(value, bool)}
    return {**entry, **truth}


def _worst(verdicts: Iterable[str]) -> Judgement:
    found = {Judgement[verdict] for verdict in verdicts}
    return next(judgement for judgement in _WORST_FIRST if judgement in found)


# ---------------------------------------------------------------- many claims at once


def adjusted(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Findings judged as if all intervals and tests of the ledger had to hold together.

    An interval decides its line if all of it is on one side of the threshold, a test if p < 0.05.
    With m such lines in all, intervals are widened to the level 1 - 0.05/m, and p must be below
    0.05/m; a line that this leaves undecided is INCONCLUSIVE.
    """
    deciding = {
        (found.claim.study, line.line, line.statement)
        for found in findings.values()
        for line in found.lines
        if _decides(line, 1)
    }
    return {
        name: replace(found, adjusted=_judged_together(found, max(len(deciding), 1)))
        for name, found in findings.items()
    }


def _judged_together(found: Finding, comparisons: int) -> Judgement:
    if found.judgement is Judgement.OUT_OF_SCOPE:
        return found.judgement
    return _worst(
        "INCONCLUSIVE" if _decides(line, 1) and not _decides(line, comparisons) else line.verdict
        for line in found.lines
    )


def _decides(line: Line, comparisons: int) -> bool:
    """Whether a test or an interval decides its line, with room for so many comparisons."""
    from ..inference import LEVEL, Estimate, widened

    if line.p_value is not None:
        return line.p_value < (1.0 - LEVEL) / comparisons
    if line.interval is None or line.threshold is None:
        return False
    low, high = line.interval
    if line.measured is None or low is None or high is None:
        return False
    wide = widened(Estimate(line.measured, low, high), comparisons)
    return not wide.low < line.threshold < wide.high
