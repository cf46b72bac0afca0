"""What the studies share: problems, errors, verdicts, slopes, clocks and records."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import overalign as oa
from overalign import plots
from overalign.inference import slope

ROOT = Path(__file__).resolve().parent.parent

FloatArray = NDArray[np.float64]
Verdict = Literal["HOLDS", "FAILS", "INCONCLUSIVE"]
# `FIGURES` of a study: the name of a file in results/, and what draws it from the tables there
Figures = Mapping[str, Callable[[Path], Any]]
DPI = 130
BEGAN = time.monotonic()  # of the process, but for the imports

# read with the import, so that it names what runs even when the files change meanwhile
SOURCES = {
    "solver_source_sha256": ("flow.py", "_kernels.py"),
    "measures_source_sha256": (
        *("sampling.py", "problem.py", "alignment.py", "phases.py", "limit.py"),
        *("excess_error.py", "_lines.py", "inference.py", "optimum.py", "ucurve.py"),
    ),
    "training_source_sha256": tuple(
        f"deepnet/{path.name}" for path in sorted((ROOT / "overalign" / "deepnet").glob("*.py"))
    ),
    "engine_source_sha256": ("records.py", "engine.py", "executors.py"),
    "statements_source_sha256": (
        *("special.py", "observation.py", "verdicts.py"),
        *(
            path.relative_to(ROOT / "overalign").as_posix()
            for folder in ("enclosure", "statements")
            for path in sorted((ROOT / "overalign" / folder).rglob("*.py"))
        ),
    ),
}
SOURCE_HASHES = {
    key: hashlib.sha256(
        b"".join((ROOT / "overalign" / name).read_bytes() for name in names)
    ).hexdigest()[:16]
    for key, names in SOURCES.items()
}

BENCHMARK_ALPHAS = np.logspace(-6, 0, 16)
BENCHMARK_ETA = 1e-2


# ------------------------------------------------------------------------------ problems, errors


def benchmark_a(
    n: int = 40, dimension: int = 20, width: int = 50, seed: int = 0
) -> tuple[oa.Sample, oa.Network]:
    """Benchmark A, or a problem like it of another size."""
    mixture = oa.GaussianMixture(dimension, kappa=3.0, sigma=0.3)
    sample = mixture.sample(n, seed=seed, separability=0.0)
    network = oa.Network.random(width, dimension, seed, row_law="gaussian", signs="random")
    return sample, network


def plain_weights(final: oa.Snapshot) -> FloatArray:
    """(w, v) in one row, as Benchmark A compares them; underflows for tiny neurons."""
    with np.errstate(under="ignore"):
        w = np.exp(final.log_norm)[:, None] * final.direction
        v = final.sign * np.exp(final.log_output)
    return np.concatenate([w.ravel(), v])


def weight_error(theta: FloatArray, reference: FloatArray) -> float:
    """max |theta - reference| / max |reference|; infinite for an answer that is not finite."""
    if not np.isfinite(theta).all():
        return math.inf
    return float(np.abs(theta - reference).max() / np.abs(reference).max())


class Ended(NamedTuple):
    """The part of a run that `tolerance` is about."""

    time: float
    log_norm: FloatArray
    direction: FloatArray

    @classmethod
    def of(cls, run: oa.Trajectory) -> Ended:
        """From a trajectory."""
        return cls(run.time, run.final.log_norm, run.final.direction)


def reported_error(a: Any, b: Any) -> float:
    """What `tolerance` bounds, b being the reference: stopping time, log-norms, directions."""
    return max(
        abs(a.time - b.time) / b.time,
        float(np.abs(a.log_norm - b.log_norm).max()),
        float(np.linalg.norm(a.direction - b.direction, axis=1).max()),
    )


def outputs_at(final: oa.Snapshot, points: FloatArray) -> FloatArray:
    """f at the rows of points [m, d], from a snapshot."""
    theta = plain_weights(final)
    w, v = theta[: -final.sign.size].reshape(-1, points.shape[1]), theta[-final.sign.size :]
    return np.asarray(np.maximum(points @ w.T, 0.0) @ v)


# -------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class Criterion:
    """One numbered line of a criterion.md with what was measured."""

    line: str
    statement: str
    measured: float
    interval: tuple[float, float] | None
    threshold: float
    verdict: Verdict
    p_value: float | None = None  # where it was a test that decided


def at_most(
    line: str,
    statement: str,
    measured: float,
    threshold: float,
    interval: tuple[float, float] | None = None,
) -> Criterion:
    """HOLDS when all of the interval is at or below the threshold, FAILS when all is above."""
    low, high = interval or (measured, measured)
    if math.isnan(measured) or math.isnan(low) or math.isnan(high):
        verdict: Verdict = "INCONCLUSIVE"
    elif high <= threshold:
        verdict = "HOLDS"
    else:
        verdict = "FAILS" if low > threshold else "INCONCLUSIVE"
    return Criterion(line, statement, measured, interval, threshold, verdict)


def at_least(
    line: str,
    statement: str,
    measured: float,
    threshold: float,
    interval: tuple[float, float] | None = None,
) -> Criterion:
    """HOLDS when all of the interval is at or above the threshold, FAILS when all is below."""
    turned = None if interval is None else (-interval[1], -interval[0])
    verdict = at_most(line, statement, -measured, -threshold, turned).verdict
    return Criterion(line, statement, measured, interval, threshold, verdict)


def exact(
    line: str, statement: str, measured: float, threshold: float, falsified: float
) -> Criterion:
    """An identity up to rounding: HOLDS to the threshold, FAILS only above `falsified`."""
    if measured <= threshold:
        verdict: Verdict = "HOLDS"
    else:  # not a number is neither
        verdict = "FAILS" if measured > falsified else "INCONCLUSIVE"
    return Criterion(line, statement, measured, None, threshold, verdict)


def enough(line: str, statement: str, measured: float, threshold: float) -> Criterion:
    """A size of the study: too small a study is INCONCLUSIVE, not a failure."""
    verdict: Verdict = "HOLDS" if measured >= threshold else "INCONCLUSIVE"
    return Criterion(line, statement, measured, None, threshold, verdict)


def overall(criteria: Sequence[Criterion]) -> Verdict:
    """The worst verdict of the lines."""
    verdicts = {criterion.verdict for criterion in criteria}
    if "FAILS" in verdicts:
        return "FAILS"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "HOLDS"


# ---------------------------------------------------------------------------- slopes and clocks


class Slope(NamedTuple):
    """Slope of log y against log x with its 95 % interval."""

    value: float
    low: float
    high: float
    points: int


def log_log_slope(x: Any, y: Any) -> Slope:
    """Least squares in the logarithms, Student interval; NaN for fewer than three points."""
    logs = np.log(np.asarray(x, dtype=float))
    return Slope(*slope(logs, np.log(np.asarray(y, dtype=float))), logs.size)


def clock(function: Callable[[], Any], repeats: int = 5, budget: float = 2.0) -> list[float]:
    """Seconds of every repeat; no repeat starts after `budget` seconds."""
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) <= budget:
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return seconds


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so much processor time (main thread, not on Windows)."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


# --------------------------------------------------------------------------------------- records


def arguments(script: str, description: str) -> argparse.Namespace:
    """--quick and --output of a study; `quick` never overwrites the recorded results by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small rerun, for tests")
    parser.add_argument("--output", type=Path, help="folder of the results")
    chosen = parser.parse_args()
    if chosen.output is None:
        recorded = Path(script).resolve().parent / "results"
        chosen.output = Path(tempfile.mkdtemp()) if chosen.quick else recorded
    chosen.output.mkdir(parents=True, exist_ok=True)
    return chosen


def note(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def versions(*more: str) -> dict[str, str]:
    """Versions of what was run; a missing optional package is "absent"."""
    found = {"python": platform.python_version(), "overalign": oa.__version__}
    for name in ("numpy", "scipy", "numba", *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found | SOURCE_HASHES


def hardware() -> str:
    """Processor, cores and operating system."""
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text("utf-8").splitlines()
        model = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def record(
    chosen: argparse.Namespace,
    study: str,
    settings: Mapping[str, Any],
    measured: Mapping[str, Any],
    criteria: Sequence[Criterion],
    packages: Sequence[str] = (),
) -> None:
    """Write summary.json and print the verdicts."""
    summary = {
        "study": study,
        "quick": bool(chosen.quick),
        "date": today(),
        "versions": versions(*packages),
        "hardware": hardware(),
        "seconds": time.monotonic() - BEGAN,
        "settings": dict(settings),
        "measured": dict(measured),
        "criteria": [asdict(criterion) for criterion in criteria],
        "verdict": overall(criteria),
    }
    text = json.dumps(_plain(summary), indent=1, allow_nan=False) + "\n"
    _write(chosen.output / "summary.json", text)
    for criterion in criteria:
        print(f"{criterion.verdict:13} {criterion.line} {criterion.statement}: "
              f"{criterion.measured:.4g} (threshold {criterion.threshold:g})")  # fmt: skip
    print(f"{summary['verdict']} -> {chosen.output}")


def save_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    with _replaced(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _shortened(v) for k, v in row.items()} for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `save_rows` wrote, numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def read_summary(results: Path) -> dict[str, Any]:
    """What `record` wrote."""
    return dict(json.loads((results / "summary.json").read_text("utf-8")))


def save_figures(results: Path, figures: Figures) -> None:
    """Draw each figure from the tables in a folder of results, and write it there."""
    for name, draw in figures.items():
        save_figure(results / name, draw(results), description=str(draw.__doc__))


def save_figure(path: Path, figure: Any, description: str = "") -> None:
    """Write a figure with a line that says what reproduces it."""
    running = sys.modules["__main__"].__spec__
    quick = " --quick" if "--quick" in sys.argv else ""
    command = f"python -m {running.name}{quick}" if running else sys.argv[0]
    line = plots.stamp(command, today(), versions())
    plots.save_figure(figure, path, stamp=line, description=description)


def today() -> str:
    """The date of a record."""
    return datetime.now(UTC).date().isoformat()


def new_figure(rows: int, columns: int, width: float = 4.2, height: float = 3.4) -> Any:
    """(figure, axes [rows, columns]) in the package's style, that needs no display."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # not inside a block: what a study draws on the axes afterwards is to have the style too
    matplotlib.style.use(plots.STYLE)
    figure = Figure((width * columns, height * rows), layout="constrained", dpi=DPI)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _number(text: str) -> int | float | str:
    """A number if it is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _shortened(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    """JSON types only; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


@contextmanager
def _replaced(path: Path) -> Iterator[Any]:
    """A text file that appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        yield file
    partial.replace(path)


def _write(path: Path, text: str) -> None:
    with _replaced(path) as file:
        file.write(text)
