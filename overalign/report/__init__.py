"""The ledger as a page: every claim with its verdict, its evidence and its picture.

`write_report` writes one HTML file that needs nothing else; `ledger_markdown` and
`errata_markdown` say the same, and what is addressed to authors, as Markdown.
"""

from .entries import Entry, entries
from .errata import Erratum, read_errata
from .pages import errata_markdown, ledger_markdown, write_report

__all__ = [
    "Entry",
    "Erratum",
    "entries",
    "errata_markdown",
    "ledger_markdown",
    "read_errata",
    "write_report",
]
