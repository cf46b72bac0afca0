"""What the commands share: exit codes, options that may be missing, places, interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import tyro

from ..errors import OutputError, RunError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

REACHED, NOT_REACHED, REFUSED, INTERRUPTED = 0, 1, 2, 130

VERDICT_STYLES = {
    "HOLDS": "green",
    "FAILS": "bold red",
    "INCONCLUSIVE": "yellow",
    "OUT_OF_SCOPE": "dim",
}

# Options that stand for "not given" with None show neither it nor a default.
MaybeInt: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
MaybeFloat: TypeAlias = Annotated[
    float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")
]
MaybeText: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")]
MaybePath: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]


def made_folder(folder: Path) -> Path:
    """The folder of ``--output``, made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"--output {folder}: cannot be made ({reason})") from error
    return folder


def progress_bar(console: Console, **options: Any) -> Progress:
    """What is done of how much, how long it took and how long it may take.

    Parameters
    ----------
    console : rich.console.Console
    **options
        As `rich.progress.Progress` takes them.

    Returns
    -------
    rich.progress.Progress
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        **options,
    )


def end_failed(console: Console, error: RunError) -> NoReturn:
    """End the process because runs failed, and say it in one line."""
    console.print(f"overalign: {' '.join(str(error).split())}", markup=False, soft_wrap=True)
    sys.exit(NOT_REACHED)


@contextmanager
def interrupt_ends(console: Console, left: str) -> Iterator[None]:
    """End the process on an interrupt: no Python code can stop the compiler in its thread.

    Files are complete or absent at every moment; ``left`` says what there is.
    """

    def end(number: int, frame: object) -> None:
        with suppress(Exception):
            console.show_cursor(True)
            os.write(2, f"\ninterrupted; {left}\n".encode())
        os._exit(INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
