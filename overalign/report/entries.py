"""What the report says of each claim: the finding, its record, its picture and how to repeat it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..claims import Claim, Finding, Line
from ..claims.ledger import RECORDS, read_summary
from ..errors import ClaimError
from ..plots import digest
from ..verdicts import Judgement

__all__ = ["Entry", "Picture", "entries"]

CRITERION = "criterion.md"


@dataclass(frozen=True)
class Picture:
    """A figure of a study.

    Attributes
    ----------
    path : pathlib.Path
    content : bytes
        Of the PNG file.
    width, height : int
        In pixels.
    shows : str
        What is drawn, as its study says; empty if it does not.
    """

    path: Path
    content: bytes
    width: int
    height: int
    shows: str


@dataclass(frozen=True)
class Entry:
    """A claim and what is known of it.

    Attributes
    ----------
    claim : Claim
    finding : Finding or None
        None where nothing is recorded.
    against : str
        The line at the head of the criterion that says what the verdict contradicts; may be empty.
    versions : mapping of str to str
        Of what measured, without hashes.
    digest : str
        Of the hashes of its sources.
    data : tuple of pathlib.Path
        Recorded tables, relative to the checkout.
    picture : Picture or None
    """

    claim: Claim
    finding: Finding | None = None
    against: str = ""
    versions: Mapping[str, str] | None = None
    digest: str = ""
    data: tuple[Path, ...] = ()
    picture: Picture | None = None

    @property
    def study(self) -> Path:
        """The folder of the study, relative to the checkout."""
        return Path("validation", self.claim.study)

    @property
    def criterion(self) -> Path:
        """The criterion, relative to the checkout."""
        return self.study / CRITERION

    @property
    def verdict(self) -> Judgement | None:
        """Of the claim; None where nothing is recorded."""
        return None if self.finding is None else self.finding.judgement

    @property
    def holding(self) -> int:
        """How many of the lines hold."""
        return sum(line.verdict == "HOLDS" for line in self._lines)

    @property
    def deciding(self) -> Line | None:
        """The line that is quoted for all of them."""
        return None if self.finding is None else self.finding.decisive

    @property
    def commands(self) -> tuple[str, ...]:
        """What repeats the measurement, and what draws it again."""
        name = self.claim.id
        tier = "" if self.finding is not None and self.finding.tier == "quick" else " --tier full"
        return (
            f"overalign verify {name}{tier}",
            f"python -m validation.{self.claim.study}.run{'' if tier else ' --quick'}",
            f"overalign plot {name}",
        )

    @property
    def _lines(self) -> Sequence[Line]:
        return () if self.finding is None else self.finding.lines


def entries(
    ledger: Mapping[str, Claim], findings: Mapping[str, Finding], checkout: Path
) -> list[Entry]:
    """Every claim of a ledger, in its order, with what was found.

    Parameters
    ----------
    ledger : mapping of str to Claim
        As `overalign.claims.read_ledger` gives it.
    findings : mapping of str to Finding
        As `overalign.claims.recorded` or `overalign.claims.verify` give them.
    checkout : path
        As `overalign.claims.find_checkout` gives it.

    Returns
    -------
    list of Entry

    Raises
    ------
    ClaimError
        A record or a figure cannot be read, or a finding is of no claim of the ledger.

    Examples
    --------
    >>> from overalign.claims import find_checkout, read_ledger, recorded
    >>> checkout = find_checkout()
    >>> found = entries(read_ledger(checkout), recorded(checkout), checkout)
    >>> next(entry for entry in found if entry.claim.id == "Y10").verdict.name
    'HOLDS'
    """
    strange = ", ".join(set(findings) - set(ledger))
    if strange:
        raise ClaimError(f"there are findings of {strange}, which the ledger does not know")
    return [
        _entry(findings[name], checkout) if name in findings else Entry(claim)
        for name, claim in ledger.items()
    ]


def _entry(finding: Finding, checkout: Path) -> Entry:
    summary, study = _summary(finding), checkout / "validation" / finding.claim.study
    versions = {str(name): str(text) for name, text in summary["versions"].items()}
    return Entry(
        claim=finding.claim,
        finding=finding,
        against=_against(study / CRITERION),
        versions={name: text for name, text in versions.items() if "sha256" not in name},
        digest=digest(versions),
        data=tuple(path.relative_to(checkout) for path in sorted(study.glob("results/*.csv"))),
        picture=_picture(finding),
    )


def _summary(finding: Finding) -> dict[str, Any]:
    """The record of a finding; in the folder of a run it has the name of a full one."""
    paths = [finding.folder / RECORDS[finding.tier], finding.folder / RECORDS["full"]]
    return {"versions": {}} | read_summary(next((p for p in paths if p.is_file()), paths[0]))


def _against(criterion: Path) -> str:
    """What a criterion says at its head against the paper or the theory."""
    try:
        text = criterion.read_text("utf-8")
    except OSError as error:
        raise ClaimError(f"{criterion}: cannot be read ({error.strerror or error})") from error
    found = re.search(r"^> (\*\*Against.*(?:\n> .*)*)", text, re.MULTILINE)
    return "" if found is None else found[1].replace("\n> ", " ")


def _picture(finding: Finding) -> Picture | None:
    """A figure with its size and the description that it holds; None if there is none."""
    from PIL import Image, UnidentifiedImageError

    path = finding.folder / finding.claim.figure
    if not path.is_file():
        return None
    # beside the record of a small variant stands the figure of the full study
    is_of_another = finding.tier == "quick" and (finding.folder / RECORDS["quick"]).is_file()
    note = "Of the full study: " if is_of_another else ""
    try:
        with Image.open(path) as image:
            shows = note + str(image.info.get("Description", ""))
            return Picture(path, path.read_bytes(), image.width, image.height, shows)
    except (OSError, UnidentifiedImageError) as error:
        raise ClaimError(f"{path}: not a picture ({error}); repeat the study") from error
