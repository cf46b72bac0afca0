"""``overalign report``: the ledger as one page, or as Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import ClaimError
from ..records import replaced
from .shared import REACHED, MaybePath, made_folder

if TYPE_CHECKING:
    from ..claims import Finding

__all__ = ["ReportOptions", "run_report"]


@dataclass(frozen=True)
class ReportOptions:
    """Write what is recorded about the claims as one page, index.html, which loads nothing.

    Needs a clone of the repository, in which the records are. Exit code 0: written; 2: the request
    cannot be met.

    Parameters
    ----------
    output : path
        Folder to write to; made if missing.
    tier : {"full", "quick"}
        The records of the full studies, or those of their small variants.
    markdown : path, optional
        Write ledger.md and errata.md to this folder instead.

    Examples
    --------
    >>> ReportOptions().output.name
    'report'
    """

    output: Path = Path("report")
    tier: Literal["full", "quick"] = "full"
    markdown: MaybePath = None


def run_report(options: ReportOptions) -> int:
    """What ``overalign report`` does.

    Parameters
    ----------
    options : ReportOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.
    """
    from ..claims import find_checkout, recorded
    from ..report import errata_markdown, ledger_markdown, write_report

    checkout = find_checkout()
    findings = recorded(checkout, options.tier)
    if not findings:
        raise ClaimError(
            f"{checkout}: nothing is recorded about any claim in the {options.tier} tier; "
            f"`overalign verify --tier {options.tier}` measures"
        )
    if options.markdown is None:
        written = [write_report(findings, options.output, checkout)]
    else:
        folder = made_folder(options.markdown)
        texts = {"ledger.md": ledger_markdown, "errata.md": errata_markdown}
        for name, text_of in texts.items():
            with replaced(folder / name) as temporary:
                temporary.write_text(text_of(findings, folder, checkout), "utf-8")
        written = [folder / name for name in texts]
    for path in written:
        print(f"wrote {path}")
    print(_summary(findings))
    return REACHED


def _summary(findings: dict[str, Finding]) -> str:
    """How many claims have each verdict."""
    counts = Counter(found.judgement.value for found in findings.values())
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(findings)} claims with a record: {said}"
