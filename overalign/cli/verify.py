"""``overalign verify``: the studies behind the claims, run anew and held against the records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..errors import ClaimError, OveralignError, ProblemError
from ..records import RunFolder
from .shared import (
    INTERRUPTED,
    NOT_REACHED,
    REACHED,
    VERDICT_STYLES,
    MaybeInt,
    progress_bar,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..claims import Finding, Study, Verified

__all__ = ["VerifyOptions", "report_verify"]

_WIDTH = 110  # columns of the table where no terminal says how wide it is
_STUDIES_AT_A_TIME = {"quick": 2, "full": 1}  # full ones use all cores by themselves


@dataclass(frozen=True)
class VerifyOptions:
    """Run the studies behind the claims anew, and compare their verdicts with the recorded ones.

    Needs a clone of the repository: the studies are not part of an installed package. Each study
    runs once, whatever the number of claims that it decides, in a folder of its own. Exit code 0:
    every verdict is the recorded one; 1: a verdict changed, was never recorded, or a study failed;
    2: the request cannot be met; 130: interrupted.

    Parameters
    ----------
    ids : str, ...
        Claims, as Y6 Y18; all of validation/ledger.toml unless given.
    tier : {"quick", "full", "gpu"}
        Small variants of the studies, within minutes; the studies themselves, within hours; or
        the claims that need a GPU.
    output : path
        Folder to write to; made if missing.
    workers : int, optional
        Studies at a time (default: two in the quick tier, else one).
    resume : bool
        Keep the studies in the output folder that were finished with the same code.
    record : bool
        Make the verdicts of the quick tier the recorded ones.

    Examples
    --------
    >>> VerifyOptions(("Y6",)).tier
    'quick'
    """

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    tier: Literal["quick", "full", "gpu"] = "quick"
    output: Path = Path("verify")
    workers: MaybeInt = None
    resume: bool = False
    record: bool = False


def report_verify(options: VerifyOptions) -> int:
    """What ``overalign verify`` does: run, tabulate, compare.

    Parameters
    ----------
    options : VerifyOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.
    """
    from rich.console import Console

    from ..claims import find_checkout, find_claims, read_ledger, record, recorded

    if options.workers is not None and options.workers < 1:
        raise ProblemError(f"--workers is {options.workers}, expected a whole number >= 1")
    if options.record and options.tier != "quick":
        raise ProblemError(
            "--record is for the quick tier; python -m validation.STUDY.run writes a full record"
        )
    checkout = find_checkout()
    claims = find_claims(read_ledger(checkout), options.ids)
    if options.tier == "gpu":
        needed = ", ".join(name for name, claim in claims.items() if claim.needs)
        raise ClaimError(
            f"claims that need a GPU: {needed or 'none of these'}. No study trains them: "
            "docs/deepnets.md says how `overalign sweep --device cuda` does, on data that you have"
        )
    before = recorded(checkout, options.tier)
    verified = _run(options, checkout)
    console = Console(highlight=False)
    wide = Console(highlight=False, width=console.width if console.is_terminal else _WIDTH)
    _print_table(verified, wide)
    for study, error in verified.failures.items():
        console.print(f"\n{study} has no result: {error}", markup=False, soft_wrap=True)
    if options.record:
        for path in record(checkout, verified):
            console.print(f"recorded {path.relative_to(checkout)}", markup=False, soft_wrap=True)
        return NOT_REACHED if verified.failures else REACHED
    return _compare(before, verified, console)


# ---------------------------------------------------------------- the studies


def _run(options: VerifyOptions, checkout: Path) -> Verified:
    from rich.console import Console

    from ..claims import verify

    console = Console(stderr=True, highlight=False)
    tier: Literal["quick", "full"] = "full" if options.tier == "full" else "quick"
    try:
        with _live(console) as (progress, on_end):
            return verify(
                checkout,
                options.ids,
                tier,
                options.output,
                workers=options.workers or _STUDIES_AT_A_TIME[tier],
                resume=options.resume,
                progress=progress,
                on_end=on_end,
            )
    except KeyboardInterrupt:
        left = f"finished studies are kept in {options.output}; --resume goes on from there"
        console.print(f"interrupted; {left}", markup=False, soft_wrap=True)
        sys.exit(INTERRUPTED)
    except OSError as error:
        if isinstance(error, OveralignError):
            raise
        reason = error.strerror or error
        raise ProblemError(f"--output {options.output}: cannot be used ({reason})") from error


Watchers = tuple[Callable[[int, int, int], None], Callable[[RunFolder["Study"]], None]]


@contextmanager
def _live(console: Console) -> Iterator[Watchers]:
    """A line for each study that ends, and on a terminal a bar with the time that is left."""
    with progress_bar(console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("studies", total=None)

        def progress(done: int, total: int, kept: int) -> None:
            text = f"studies ({kept} from before)" if kept else "studies"
            bar.update(task, completed=done, total=total, description=text)

        def on_end(run: RunFolder[Study]) -> None:
            said = "no result" if run.error else str(run.result().attrs["verdict"]).lower()
            line = f"{run.config.name}: {said}, {run.seconds:.0f} s"
            console.print(line, markup=False, soft_wrap=True)

        yield progress, on_end


# ---------------------------------------------------------------- what is printed


def _print_table(verified: Verified, console: Console) -> None:
    """Claim, what theory says, what was measured, verdict, tightness, cost."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("claim", no_wrap=True)
    table.add_column("theory says", ratio=5)
    table.add_column("measured", ratio=4)
    table.add_column("verdict", ratio=2)
    table.add_column("tightness", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for name, found in verified.findings.items():
        style = VERDICT_STYLES[found.judgement.name]
        verdict = f"[{style}]{found.judgement.value}[/] ({found.claim.provenance})"
        tightness = "" if found.tightness is None else f"{found.tightness:.2g}"
        cost = "" if found.seconds is None else f"{found.seconds:.0f} s"
        table.add_row(name, found.claim.title, _measured(found), verdict, tightness, cost)
    console.print(table)


def _measured(found: Finding) -> str:
    """The line that decides, in figures."""
    from rich.markup import escape

    if found.reason:
        return found.reason
    line = found.decisive
    value = "nothing" if line.measured is None else f"{line.measured:.3g}"
    if line.interval is not None and None not in line.interval:
        value += f" [{line.interval[0]:.2g}, {line.interval[1]:.2g}]"
    return escape(f"{line.statement}: {value}")


def _compare(before: Mapping[str, Finding], verified: Verified, console: Console) -> int:
    """Say which verdicts are not those of the record; the exit code."""
    changed = []
    ran = {name: found for name, found in verified.findings.items() if not found.claim.needs}
    for name, found in ran.items():
        if name not in before:
            changed.append(f"{name} has no record of this tier; it is {found.judgement.value} now")
        elif before[name].judgement is not found.judgement:
            changed.append(
                f"{name} changed: {before[name].judgement.value} in the record of "
                f"{before[name].date}, {found.judgement.value} now"
            )
    console.print()
    for sentence in changed:
        console.print(sentence, markup=False, soft_wrap=True)
    same = len(ran) - len(changed)
    lost = len(verified.failures)
    failed = f"; {lost} {'study has' if lost == 1 else 'studies have'} no result" if lost else ""
    console.print(f"{same} verdicts as recorded, {len(changed)} not{failed}")
    return NOT_REACHED if changed or verified.failures else REACHED
