"""Executors for `overalign.engine.run_all`: none, processes of this machine, or a dask cluster.

Workers have one thread each, unless the user gave another number, and end by themselves when the
process that asked for them is gone, however that one ended. Work that is done without them, and
whose last bits depend on the number of threads, takes `threads_of_a_worker`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    Executor,
    Future,
    InvalidStateError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

from .errors import ProblemError, RunError

__all__ = ["ExecutorKind", "open_executor", "threads_of_a_worker"]

ExecutorKind: TypeAlias = Literal["inline", "processes", "dask"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def open_executor(
    kind: ExecutorKind, workers: int | None = None, address: str | None = None
) -> Iterator[Executor | None]:
    """Open an executor, and close it when the block ends.

    Parameters
    ----------
    kind : {"inline", "processes", "dask"}
        No executor: runs are done one after another where `run_all` is called. Fresh (spawned)
        processes. Or a scheduler of dask.distributed with worker processes, on this machine
        unless ``address`` is given; a run whose worker dies is then given to another one.
    workers : int, optional
        Processes; one for each core unless given.
    address : str, optional
        Of a running dask scheduler, as "tcp://10.0.0.1:8786". Its workers need this package, and
        the folder of the runs under the same path.

    Yields
    ------
    concurrent.futures.Executor or None
        None for "inline". Processes that the user did not give ``OMP_NUM_THREADS`` and its like
        have one thread each.

    Raises
    ------
    ProblemError
        A number of workers below one, an address without "dask", or a missing package.
    RunError
        No scheduler answers at the address.

    Examples
    --------
    >>> with open_executor("inline") as executor:
    ...     print(executor)
    None
    """
    if workers is not None and workers < 1:
        raise ProblemError(f"workers is {workers}, expected a whole number >= 1")
    if address is not None and kind != "dask":
        raise ProblemError(f"an address of a scheduler belongs to executor 'dask', not '{kind}'")
    count = workers or os.cpu_count() or 1
    if kind == "inline":
        yield None
    elif kind == "processes":
        with _processes(count) as pool:
            yield pool
    else:
        with _dask(count, address) as cluster:
            yield cluster


def threads_of_a_worker(variable: str) -> int:
    """How many threads a worker of this machine has in a library.

    Parameters
    ----------
    variable : str
        Of the environment, which the library reads: "OMP_NUM_THREADS" or its like.

    Returns
    -------
    int
        What the user set it to; one unless set.

    Examples
    --------
    >>> threads_of_a_worker("NUMBA_NUM_THREADS")
    1
    """
    asked = os.environ.get(variable, "").partition(",")[0].strip()  # more are for nested threads
    return max(int(asked), 1) if asked.isdecimal() else 1


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give child processes one thread; libraries read this when they are loaded, not later."""
    before = dict(os.environ)
    os.environ.update({name: before.get(name, "1") for name in _THREADS})
    try:
        yield
    finally:
        for name in _THREADS:
            del os.environ[name]
        os.environ.update({name: before[name] for name in _THREADS if name in before})


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """A pool whose workers end at once when this end of a pipe is closed, or its process ends."""
    context = get_context("spawn")
    line, held = context.Pipe(duplex=False)
    with (
        line,
        held,
        _one_thread_each(),
        ProcessPoolExecutor(workers, context, _follow, (line,)) as pool,
    ):
        try:
            yield pool
        except Exception:
            raise  # what has begun is finished
        except BaseException:  # an interrupt does not wait
            # before Python 3.12 the pool chokes on cancelled tasks when it finds its workers gone
            threading.excepthook = partial(_but_invalid_state, threading.excepthook)
            pool.shutdown(wait=False, cancel_futures=True)
            held.close()
            raise


def _but_invalid_state(hook: Callable[[Any], object], thread: Any) -> None:
    """What a thread dies of is reported as before, unless it is a task that was cancelled."""
    if not issubclass(thread.exc_type, InvalidStateError):
        hook(thread)


def _follow(line: Connection) -> None:
    """In a worker process: leave interrupts to the parent, and end when the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()


def _end_with(line: Connection) -> None:
    with suppress(EOFError, OSError):
        line.recv_bytes()  # nothing is ever sent
    os._exit(1)


@contextmanager
def _dask(workers: int, address: str | None) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ProblemError(
            f"executor 'dask' needs dask.distributed ({error}): pip install 'overalign[cluster]'"
        ) from error
    if address is not None:
        try:
            client = Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RunError(f"no dask scheduler answers at {address} ({error})") from error
        with client:
            yield _Cluster(client.get_executor(pure=False))
        return
    with (
        _one_thread_each(),  # the cluster would set, and leave, the same
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any free port
            memory_limit=0,
            silence_logs=logging.ERROR,  # it warns of every worker that it replaces
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield _Cluster(client.get_executor(pure=False))


class _Cluster(Executor):
    """The executor of a dask client, whose workers do not see that they are part of a cluster."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        return self._executor.submit(_call_in_thread, fn, *args, **kwargs)


def _call_in_thread(
    fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Call in a thread that dask does not know: xarray would ask the scheduler for a file lock."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(fn, *args, **kwargs).result()
