"""The studies behind claims, run anew as processes in run folders."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from ..engine import run_all
from ..errors import ClaimError, RunError
from ..records import Config, RunFolder, locked, replaced
from .ledger import (
    RECORDS,
    Finding,
    Tier,
    adjusted,
    find_claims,
    finding,
    read_ledger,
    read_summary,
    recorded,
)

if TYPE_CHECKING:
    import xarray as xr

LIMITS: Mapping[Tier, float] = {"full": 7200.0, "quick": 600.0}  # seconds of one study
_TAIL = 15  # lines of what a study that fails said last


class Study(Config, frozen=True):
    """One study to be run.

    Attributes
    ----------
    name : str
        Folder under ``validation``.
    tier : {"quick", "full"}
    sources : str
        Hash of the code of package, studies and oracles.
    checkout : str
        Where it runs; does not tell one run from another.

    Examples
    --------
    >>> here = Study(name="solver_speed", tier="quick", sources="0f", checkout="/a")
    >>> there = Study(name="solver_speed", tier="quick", sources="0f", checkout="/b")
    >>> here.identity() == there.identity()
    True
    """

    name: str
    tier: Tier
    sources: str
    checkout: str

    def identity(self) -> Self:
        """The study wherever the checkout is."""
        return msgspec.structs.replace(self, checkout="")


@dataclass(frozen=True)
class Verified:
    """What came of studies that ran anew.

    Attributes
    ----------
    findings : dict of str to Finding
        By claim, in the order of the ledger.
    failures : dict of str to str
        Why a study has no result, by its name.
    """

    findings: dict[str, Finding]
    failures: dict[str, str]


def verify(
    checkout: Path,
    ids: Sequence[str] = (),
    tier: Tier = "quick",
    output: Path = Path("verify"),
    *,
    workers: int = 2,
    resume: bool = False,
    limit: float | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    on_end: Callable[[RunFolder[Study]], None] | None = None,
) -> Verified:
    """Run the studies that decide some claims, each once and in a process of its own.

    Of a claim that needs a GPU nothing runs: what is recorded of its miniature is shown.

    Parameters
    ----------
    checkout : path
        As `find_checkout` gives it.
    ids : sequence of str
        Claims; all of the ledger unless given.
    tier : {"quick", "full"}
    output : path
        Folder of the run folders, in each of which ``results`` holds what the study writes.
    workers : int
        Studies at a time.
    resume : bool
        Keep what an earlier call with the same code finished.
    limit : float, optional
        Seconds after which a study is ended.
    progress, on_end : callable, optional
        As `overalign.engine.run_all` takes them.

    Returns
    -------
    Verified
        A study that fails, or takes longer than its limit, is among the failures; the others go on.

    Raises
    ------
    ClaimError
        There is no such claim, or a result lacks a line that a claim names.
    OutputError
        ``output`` cannot be written, or another call works in it.
    """
    claims = find_claims(read_ledger(checkout), ids)
    here = {name: claim for name, claim in claims.items() if not claim.needs}
    runs = _planned(checkout, {claim.study for claim in here.values()}, tier, output)
    output.mkdir(parents=True, exist_ok=True)
    if not resume:
        with locked(output):
            for run in runs.values():
                run.begin()
    with (
        _Studies(output, limit or LIMITS[tier]) as studies,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            run_all(
                [run.config for run in runs.values()],
                studies.run,
                output,
                executor=pool,
                progress=progress,
                on_end=on_end,
                retry_failed=True,
            )
        except RunError:
            pass  # told below, for each study
        except BaseException:
            studies.end()
            raise
    failures = {name: run.error for name, run in runs.items() if run.state != "finished"}
    found = {
        name: finding(claim, tier, runs[claim.study].path / "results" / RECORDS["full"])
        for name, claim in here.items()
        if claim.study not in failures
    }
    found |= {name: each for name, each in recorded(checkout).items() if each.claim.needs}
    together = adjusted({**recorded(checkout, tier), **found})
    return Verified({name: together[name] for name in claims if name in found}, failures)


def _planned(
    checkout: Path, names: Iterable[str], tier: Tier, output: Path
) -> dict[str, RunFolder[Study]]:
    """The run folder of every study, those first that took longest when they were recorded."""
    sources, place = _sources(checkout), str(checkout.absolute())

    def seconds(name: str) -> float:
        record = checkout / "validation" / name / "results" / RECORDS[tier]
        return float((read_summary(record) if record.is_file() else {}).get("seconds") or 0.0)

    return {
        name: RunFolder(output, Study(name=name, tier=tier, sources=sources, checkout=place))
        for name in sorted(names, key=lambda name: (-seconds(name), name))
    }


def _sources(checkout: Path) -> str:
    """Hash of all code and settings that a study may use."""
    digest = hashlib.sha256()
    folders = [checkout / name for name in ("overalign", "validation", "tests/oracles")]
    for pattern in ("*.py", "*.toml"):  # settings of studies are files, too
        for path in sorted(path for folder in folders for path in folder.rglob(pattern)):
            digest.update(path.relative_to(checkout).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass
class _Studies:
    """Runs studies as processes, and ends them all when it is left."""

    output: Path
    limit: float
    ended: bool = False
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End what runs, with all processes that it started; nothing begins any more."""
        with self.lock:
            self.ended = True
            for process in self.running:
                _end(process)

    def run(self, study: Study) -> xr.Dataset:
        """Run one study; its verdict is an attribute of the result, the rest is in the folder."""
        import xarray as xr

        folder = RunFolder(self.output, study).path / "results"
        shutil.rmtree(folder, ignore_errors=True)
        log = folder.with_name("stderr.txt")
        code = self._wait(study, folder, log)
        said = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-_TAIL:])
        if code is None:
            raise RuntimeError(f"{study.name} took longer than {self.limit:g} s; it said\n{said}")
        if code:
            raise RuntimeError(f"{study.name} ended with exit code {code}; it said\n{said}")
        try:
            verdict = read_summary(folder / RECORDS["full"])["verdict"]
        except ClaimError as error:  # a failure of this study, no reason to stop the others
            raise RuntimeError(str(error)) from error
        return xr.Dataset(attrs={"verdict": verdict})

    def _wait(self, study: Study, folder: Path, log: Path) -> int | None:
        """The exit code, or None after the time limit.

        Raises
        ------
        CancelledError
            Nothing begins any more.
        """
        command = [sys.executable, "-m", f"{__package__}.launcher", f"validation.{study.name}.run"]
        command += ["--output", str(folder), *["--quick"] * (study.tier == "quick")]
        with log.open("wb") as stream:
            with self.lock:
                if self.ended:
                    raise CancelledError(f"{study.name} was not begun")
                process = subprocess.Popen(
                    command,
                    cwd=study.checkout,
                    stdin=subprocess.PIPE,  # the study ends with it: see launcher.py
                    stdout=subprocess.DEVNULL,
                    stderr=stream,
                    start_new_session=True,  # so that all of its processes can be ended together
                )
                self.running.add(process)
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                _end(process)
                process.wait()
                return None
            finally:
                with self.lock:
                    self.running.discard(process)
                if process.stdin:
                    process.stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def record(checkout: Path, verified: Verified) -> list[Path]:
    """Keep quick results beside the full ones, for later calls to compare with.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    ClaimError
        They are of the full tier, whose records the studies write themselves.
    OutputError
        A file cannot be written.
    """
    here = {name: found for name, found in verified.findings.items() if not found.claim.needs}
    if full := [name for name, found in here.items() if found.tier != "quick"]:
        raise ClaimError(
            f"{', '.join(full)}: not of the quick tier; python -m validation.STUDY.run writes the "
            "record of a full study"
        )
    written = {}
    for found in here.values():
        name = found.claim.study
        path = checkout / "validation" / name / "results" / RECORDS["quick"]
        if name not in written:
            with replaced(path) as temporary:
                shutil.copyfile(found.folder / RECORDS["full"], temporary)
            written[name] = path
    return list(written.values())
