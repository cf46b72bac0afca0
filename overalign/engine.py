"""Runs of many configs: what is finished is kept, what is not is done, on any executor.

An executor is anything with the ``submit`` of `concurrent.futures.Executor`: threads, processes, or
a cluster's. Nothing but the run folders is state, so any call resumes what an earlier one left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    as_completed,
)
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import OutputError, OveralignError, RunError
from .records import AnyConfig, RunFolder, StrPath, locked, require_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["OnError", "run_all"]

OnError: TypeAlias = Literal["continue", "stop"]

# None of a finished run; else what `work` raised on purpose, or that it failed, which its folder
# explains: not every error can leave its process
_End: TypeAlias = OveralignError | Literal["failed"] | None

# What dask raises of a run whose workers ended, again and again; by name, for dask may be missing
_GIVEN_UP = "KilledWorker"
_NAMED = 4  # run folders, in a message


def run_all(
    configs: Sequence[AnyConfig],
    work: Callable[[AnyConfig], xr.Dataset],
    root: StrPath,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    on_end: Callable[[RunFolder[AnyConfig]], None] | None = None,
    retries: int = 0,
    retry_failed: bool = False,
    on_error: OnError = "continue",
) -> list[RunFolder[AnyConfig]]:
    """Do what is not finished yet of a list of runs.

    Parameters
    ----------
    configs : sequence of Config
        Equal configs are one run.
    work : callable
        Takes a config, returns its result; a function of a module if the executor uses processes.
    root : path
        Folder of the run folders; made if missing.
    executor : concurrent.futures.Executor, optional
        Where the runs are done; here, one after another, unless given.
    progress : callable, optional
        Called with the numbers of runs done, in all, and found finished; at the start and after
        each.
    on_end : callable, optional
        Called with every run that is found finished or failed and is left so, and with each when
        it ends.
    retries : int
        Further attempts at a run that fails in this call.
    retry_failed : bool
        Do runs again that failed in an earlier call; otherwise they are reported as they are.
    on_error : {"continue", "stop"}
        After a failure, do all others first; or leave what has not begun.

    Returns
    -------
    list of RunFolder
        In the order of ``configs``, all finished.

    Raises
    ------
    ConfigError
        A config has a wrong field, or its folder the config of something else.
    OutputError
        ``root`` cannot be written, another process does runs in it, or the disk is full: at once,
        what has not begun is left.
    OveralignError
        The first that ``work`` raised for a request that cannot be met, as it is, when all others
        are done: such a run counts as unfinished, and the next call tries it again.
    RunError
        Runs failed otherwise, in this call or earlier; or the executor broke. What is finished is
        kept. A run that an executor gives up, as a cluster does that lost several workers over it,
        has failed; a pool that breaks with its worker takes no more, and ends the call.

    Notes
    -----
    The folder of a run exists before ``work`` begins. A ``work`` that keeps something on its way
    (a checkpoint, a history) finds it at ``RunFolder(root, config).path``.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> from overalign.records import Config
    >>> class Square(Config):
    ...     x: int
    >>> folder = tempfile.mkdtemp()
    >>> runs = run_all([Square(x=2), Square(x=3)], lambda c: xr.Dataset({"y": c.x**2}), folder)
    >>> [int(run.result().y) for run in runs]
    [4, 9]
    """
    runs = [RunFolder(root, config) for config in configs]
    states = {run.path: (run, run.state) for run in runs}
    finished = [run for run, state in states.values() if state == "finished"]
    failed = [run for run, state in states.values() if state == "failed" and not retry_failed]
    settled = {"finished"} if retry_failed else {"finished", "failed"}
    left = [run for run, state in states.values() if state not in settled]
    if failed and on_error == "stop":
        left = []
    if left:
        _make_writable(Path(root))
    kept, total = len(finished), len(states)
    tell, report = on_end or _say_nothing, progress or _say_nothing
    for run in [*finished, *failed]:
        tell(run)
    report(kept, total, kept)
    refused: list[OveralignError] = []
    with (
        locked(root) if left else nullcontext(),
        closing(_done(left, work, executor, retries)) as ends,
    ):
        for count, (run, end) in enumerate(ends, start=kept + 1):
            tell(run)
            report(count, total, kept)
            if end is None:
                continue
            if isinstance(end, OveralignError):
                refused.append(end)
            else:
                failed.append(run)
            if on_error == "stop":
                break
    if refused:
        raise refused[0]
    if failed:
        raise RunError(
            f"{len(failed)} of {total} runs failed; the first: {failed[0].error}. Its traceback is "
            f"in {failed[0].path / 'status.json'}. What is finished is kept; to do the failed ones "
            "again, give retry_failed=True, on the command line --retry-failed"
        )
    return runs


def _say_nothing(*_: Any) -> None:
    """The progress of those who did not ask for any."""


def _make_writable(root: Path) -> None:
    """Make the folder; raise before the work if its results could not be kept."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        pass  # a file: named below
    except OSError as error:
        raise OutputError(f"{root}: cannot be made ({error.strerror or error})") from error
    require_writable(root / "status.json")


def _done(
    runs: Sequence[RunFolder[AnyConfig]],
    work: Callable[[AnyConfig], xr.Dataset],
    executor: Executor | None,
    retries: int,
) -> Generator[tuple[RunFolder[AnyConfig], _End], None, None]:
    """Do the runs; yield each as it ends, and how."""
    if executor is None:
        for run in runs:
            yield run, _do(run, work, retries)
        return
    futures: dict[Future[_End], RunFolder[AnyConfig]] = {}
    try:
        for run in runs:
            futures[executor.submit(_do, run, work, retries)] = run
        for future in as_completed(futures):
            run = futures[future]
            yield run, _end_of(run, future)
    except OveralignError:
        raise
    except BrokenExecutor as error:
        raise RunError(
            f"a worker ended without a word, perhaps for want of memory ({error}). "
            f"{_begun(futures.values())}What is finished is kept; call again for the rest, with "
            "fewer workers if memory ran out; a script that starts processes needs the line: if "
            "__name__ == '__main__':"
        ) from error
    except Exception as error:  # not of the work, which keeps its own
        raise RunError(
            f"the executor cannot do the runs ({type(error).__name__}: {error}). It must be open, "
            "and with processes the work must be a function of a module. What is finished is kept"
        ) from error
    finally:  # after an error, an interrupt, or a caller that stops listening
        for future in futures:
            future.cancel()


def _end_of(run: RunFolder[AnyConfig], future: Future[_End]) -> _End:
    """How a run ended; raise what the executor says, unless it is of this run alone."""
    try:
        return future.result()
    except Exception as error:  # the work keeps its own
        if type(error).__name__ != _GIVEN_UP:
            raise
        if run.state == "finished":  # and the worker that did it ended before it said so
            return None
        run.begin()
        run.fail(error)
        return "failed"


def _begun(runs: Iterable[RunFolder[AnyConfig]]) -> str:
    """Which runs a pool may have been at when it broke."""
    names = [str(run.path) for run in runs if run.state == "unfinished"]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"Begun and not finished: {', '.join(names[:_NAMED])}{more}. " if names else ""


def _do(run: RunFolder[AnyConfig], work: Callable[[AnyConfig], xr.Dataset], retries: int) -> _End:
    """One run, in whatever process: only its folder keeps what came of it."""
    if run.state == "finished":  # a cluster hands a run out again when it loses sight of a worker
        return None
    end = _attempt(run, work)
    for _ in range(retries):
        if end == "failed":
            end = _attempt(run, work)
    return end


def _attempt(run: RunFolder[AnyConfig], work: Callable[[AnyConfig], xr.Dataset]) -> _End:
    began = time.monotonic()
    try:
        run.begin()
        run.finish(work(run.config), time.monotonic() - began)
    except OutputError as error:  # the disk: the others would meet the same
        with suppress(OutputError):
            run.fail(error, time.monotonic() - began)
        raise
    except OveralignError as error:
        run.fail(error, time.monotonic() - began)
        return error
    except Exception as error:
        run.fail(error, time.monotonic() - began)
        return "failed"
    return None
