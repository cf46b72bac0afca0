"""Every statement held against problems drawn to refute it; see criterion.md."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overalign import ExponentialLoss, LogisticLoss, Network, Sample
from overalign.errors import ScopeError
from overalign.observation import Population, Problem
from overalign.problem import Loss
from overalign.statements import REGISTRY
from overalign.verdicts import Judgement, Verdict
from validation import common
from validation.common import Criterion

SEED = 2602
ETAS = (0.5, 0.3, 0.1, 0.05, 0.01)
NAMES = tuple(name for name, statement in REGISTRY.items() if statement.measure is not None)


class Scope(NamedTuple):
    """How large the study is."""

    enough: int  # verdicts in scope, for each statement
    most: int  # problems
    problems_a_round: int
    problems_a_chunk: int
    minutes: float


FULL = Scope(10_000, 60_000, 500, 25, math.inf)
QUICK = Scope(4, 40, 20, 10, math.inf)


# -------------------------------------------------------------------------------------- problems


class Drawn(NamedTuple):
    """A problem and code that makes it again."""

    problem: Problem
    code: str


def scale(generator: np.random.Generator) -> float:
    """log alpha: mostly small, some of them large, a few beyond the range of float64."""
    low, high = ((-60.0, -12.0), (-12.0, -3.0), (-3.0, 1.0), (-700.0, -60.0))[
        generator.choice(4, p=[0.59, 0.27, 0.1, 0.04])
    ]
    return round(float(generator.uniform(low, high)), 2)


def of_mixture(
    generator: np.random.Generator,
    n: tuple[int, int],
    dimension: tuple[int, int],
    sigmas: Sequence[float],
    conditioned: float = 0.85,
) -> Drawn:
    """A problem of a random population, rarely with the exponential loss."""
    population = Population(
        n=few(generator, *n),
        dimension=few(generator, *dimension),
        width=few(generator, 1, 12),
        kappa=float(generator.choice([2.0, 1.0, 1.5, 3.0, 4.0, 0.5])),
        sigma=float(generator.choice(sigmas)),
        separability=0.0 if generator.random() < conditioned else None,
        log_alpha=scale(generator),
        eta=float(generator.choice(ETAS)),
    )
    problem = population.problem(int(generator.integers(2**20)))
    code = repr(problem)
    if generator.random() < 0.06:
        problem = replace(problem, loss=ExponentialLoss())
        code = f"replace({code}, loss=ExponentialLoss())"
    return Drawn(problem, code)


def few(generator: np.random.Generator, low: int, high: int) -> int:
    """A whole number in a range, small ones more often."""
    return low + int((high - low + 1) * generator.random() ** 1.5)


def of_integers(generator: np.random.Generator, *, positive: bool) -> Drawn:
    """A small explicit problem; if positive separable, else any data, weights and loss."""
    n, dimension, width = (int(generator.integers(*ends)) for ends in ((2, 7), (1, 6), (1, 7)))
    u, rows = (
        np.array([entries(generator, dimension, positive=sign) for _ in range(count)])
        for count, sign in ((n, positive), (width, False))
    )
    if positive:  # the first coordinate keeps the cosines away from zero
        u[:, 0] = generator.integers(1, 4, size=n)
    y = np.append([1.0, -1.0], generator.choice([1.0, -1.0], size=n - 2))
    sign = generator.choice([1.0, -1.0], size=width)
    share = np.ones(width) if positive else generator.choice([1.0, 1.0, 0.5, 2.0], size=width)
    is_exponential = generator.random() < (0.06 if positive else 0.33)
    loss: Loss = ExponentialLoss() if is_exponential else LogisticLoss()
    problem = Problem(
        Sample(u * y[:, None] if positive else u, y),
        Network(rows, np.linalg.norm(rows, axis=1) * sign * share),
        scale(generator),
        eta=float(generator.choice(ETAS)),
        loss=loss,
    )
    return Drawn(problem, repr(problem))


def entries(generator: np.random.Generator, dimension: int, *, positive: bool) -> Any:
    """A vector that is not zero: whole numbers, or quarters of them."""
    parts = generator.choice([1, 4])
    low = 0 if positive else -4 * parts
    row = np.zeros(dimension)
    while not row.any():
        row = generator.integers(low, 4 * parts + 1, size=dimension) / parts
    return row


class Family(NamedTuple):
    """A law of problems, how often it is drawn, and the statements that need it."""

    weight: float
    draw: Callable[[np.random.Generator], Drawn]
    aims: tuple[str, ...] = ()  # none: all that no other family aims at


FAMILIES = {
    "mixture": Family(0.25, lambda g: of_mixture(g, (2, 10), (2, 30), (1.0, 0.5, 0.1, 0.03))),
    "noisy": Family(
        0.10,
        lambda g: of_mixture(g, (3, 8), (2, 6), (1.0, 1.0, 0.5), 0.4),
        ("pair_violates", "pair_violates_at_zero", "class_mean_is_optimal"),
    ),
    "clear": Family(
        0.25,
        lambda g: of_mixture(g, (2, 6), (2, 6), (0.1, 0.05, 0.03)),
        ("over_fitting_concentration", "margin_bound", "sample_is_separable", "sorting_time"),
    ),
    "wide": Family(
        0.15,
        lambda g: of_mixture(g, (2, 6), (20, 30), (1.0, 0.5, 0.1)),
        ("class_mean_angle_centre", "typical_error"),
    ),
    "many": Family(0.01, lambda g: of_mixture(g, (40, 100), (2, 4), (0.05, 0.03), 0.0)),
    "positive integers": Family(0.18, lambda g: of_integers(g, positive=True)),
    "any integers": Family(0.06, lambda g: of_integers(g, positive=False)),
}


def family_of(index: int, families: Sequence[str]) -> str:
    """Which of some families the problem of an index is drawn from."""
    weights = np.array([FAMILIES[name].weight for name in families])
    chosen = np.random.default_rng([SEED, index]).choice(len(families), p=weights / weights.sum())
    return families[chosen]


def made(index: int, family: str) -> Drawn:
    """The problem of an index in a family."""
    generator = np.random.default_rng([SEED, index, list(FAMILIES).index(family)])
    return FAMILIES[family].draw(generator)


# ----------------------------------------------------------------------------------------- chunks


class Chunk(NamedTuple):
    """Problems that one process looks at, and the statements it holds them against."""

    indices: tuple[int, ...]
    families: tuple[str, ...]
    names: tuple[str, ...]


def attack(chunk: Chunk) -> dict[str, Any]:
    """Verdicts of a chunk, counted; what JSON holds."""
    found: dict[str, Any] = {name: empty() for name in chunk.names}
    families: Counter[str] = Counter()
    begin = time.process_time()
    for index in chunk.indices:
        family = family_of(index, chunk.families)
        families[family] += 1
        drawn = made(index, family)
        with np.errstate(all="ignore"):
            with suppress(ScopeError):
                _ = drawn.problem.run
            for name in chunk.names:
                count_verdict(found[name], name, drawn, [index, family])
    return {
        "chunk": chunk._asdict(),
        "sources": common.SOURCE_HASHES,
        "families": dict(families),
        "seconds": time.process_time() - begin,
        "statements": found,
    }


def empty() -> dict[str, Any]:
    """Counts of one statement."""
    return {
        "counts": {judgement.name: 0 for judgement in Judgement},
        "reasons": {"OUT_OF_SCOPE": {}, "INCONCLUSIVE": {}},
        "points": 0,
        "touches": 0,
        "tightest": [-math.inf, None],
        "worst": [math.inf, None],
        "failures": [],
        "errors": [],
        "seconds": 0.0,
    }


def count_verdict(into: dict[str, Any], name: str, drawn: Drawn, key: list[Any]) -> None:
    """Check one statement on one problem; an exception is recorded as one."""
    begin = time.process_time()
    try:
        verdict = REGISTRY[name].check(drawn.problem)
    except Exception as error:
        into["errors"].append([key, f"{type(error).__name__}: {error}", drawn.code])
        return
    finally:
        into["seconds"] += time.process_time() - begin
    add(into, verdict, key, drawn.code)


def add(into: dict[str, Any], verdict: Verdict, key: list[Any], code: str) -> None:
    """Count a verdict."""
    kind = verdict.judgement.name
    into["counts"][kind] += 1
    if kind in into["reasons"]:
        reason = re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", verdict.reason)
        into["reasons"][kind][reason] = into["reasons"][kind].get(reason, 0) + 1
        return
    into["points"] += verdict.points
    into["touches"] += verdict.touches
    if verdict.tightness > into["tightest"][0]:
        into["tightest"] = [verdict.tightness, key]
    if verdict.slack < into["worst"][0]:
        into["worst"] = [verdict.slack, key]
    if verdict.judgement is Judgement.FAILS:
        witness = ", ".join(f"{k} = {v:.10g}" for k, v in verdict.witness.items())
        into["failures"].append([key, f"{verdict}; {witness}", code])


def merged(chunks: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The counts of all chunks, in their order."""
    total = {name: empty() for name in NAMES}
    for chunk in chunks:
        for name, part in chunk["statements"].items():
            combine(total[name], part)
    return total


def combine(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add one statement's counts; of equally tight problems the first one stays."""
    for kind, count in part["counts"].items():
        into["counts"][kind] += count
    for kind, reasons in part["reasons"].items():
        for reason, count in reasons.items():
            into["reasons"][kind][reason] = into["reasons"][kind].get(reason, 0) + count
    for key in ("points", "touches", "seconds", "failures", "errors"):
        into[key] += part[key]
    if part["tightest"][0] > into["tightest"][0]:
        into["tightest"] = part["tightest"]
    if part["worst"][0] < into["worst"][0]:
        into["worst"] = part["worst"]


def in_scope(statement: Mapping[str, Any]) -> int:
    """Problems on which a statement holds or fails."""
    return int(statement["counts"]["HOLDS"] + statement["counts"]["FAILS"])


# ----------------------------------------------------------------------------------------- rounds


def planned(number: int, chunks: Sequence[Mapping[str, Any]], scope: Scope) -> list[Chunk]:
    """The chunks of a round, from what all earlier rounds found; none if all is done."""
    total = merged(chunks)
    wanting = tuple(name for name in NAMES if in_scope(total[name]) < scope.enough)
    first = number * scope.problems_a_round
    last = min(first + scope.problems_a_round, scope.most)
    families = tuple(name for name in FAMILIES if is_needed(name, wanting))
    return [
        Chunk(tuple(range(start, min(start + scope.problems_a_chunk, last))), families, wanting)
        for start in range(first, last, scope.problems_a_chunk)
        if wanting
    ]


def is_needed(family: str, wanting: Sequence[str]) -> bool:
    """Whether a statement that wants verdicts is one that the family is for."""
    aims = FAMILIES[family].aims
    elsewhere = {name for other in FAMILIES.values() for name in other.aims}
    return any(name in aims if aims else name not in elsewhere for name in wanting)


def rounds(scope: Scope, scratch: Path, workers: int) -> Iterator[list[dict[str, Any]]]:
    """The chunks found so far, after every round, until all is done or time is up."""
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})  # of the workers
    end = time.monotonic() + 60.0 * scope.minutes
    chunks: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for number in range(-(-scope.most // scope.problems_a_round)):
            plan = planned(number, chunks, scope)
            if not plan or time.monotonic() > end:
                return
            found = dict(stored(plan, scratch))
            futures = {pool.submit(attack, c): k for k, c in enumerate(plan) if k not in found}
            for future in as_completed(futures):
                found[futures[future]] = keep(future.result(), scratch)
            chunks += [found[k] for k in range(len(plan))]
            yield chunks


def stored(plan: Sequence[Chunk], scratch: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Chunks of a plan that an earlier run has finished with the same sources."""
    for k, chunk in enumerate(plan):
        path = file_of(chunk.indices, scratch)
        if path.is_file():
            found = json.loads(path.read_text("utf-8"))
            same_plan = found["chunk"] == json.loads(json.dumps(chunk._asdict()))
            if same_plan and found["sources"] == common.SOURCE_HASHES:
                yield k, found


def keep(found: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Save a finished chunk, and read it as a resumed run would."""
    if found["sources"] != common.SOURCE_HASHES:
        raise RuntimeError("the sources changed while the study ran; start it again")
    path = file_of(found["chunk"]["indices"], scratch)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found), "utf-8")
    partial.replace(path)
    return dict(json.loads(path.read_text("utf-8")))


def file_of(indices: Sequence[int], scratch: Path) -> Path:
    """Where a chunk is kept."""
    return scratch / f"{indices[0]:06d}.json"


# ---------------------------------------------------------------------------------------- results


def row_of(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """One line of statements.csv."""
    statement, counts = REGISTRY[name], found["counts"]
    out = found["reasons"]["OUT_OF_SCOPE"]
    return {
        "statement": name,
        "provenance": statement.provenance,
        "direction": statement.direction,
        "checked": sum(counts.values()),
        "in_scope": in_scope(found),
        "holds": counts["HOLDS"],
        "fails": counts["FAILS"],
        "inconclusive": counts["INCONCLUSIVE"],
        "out_of_scope": counts["OUT_OF_SCOPE"],
        "inconclusive_because": "; ".join(
            f"{count}: {reason}" for reason, count in found["reasons"]["INCONCLUSIVE"].items()
        ),
        "mostly_out_of_scope_because": max(out, key=lambda reason: out[reason], default=""),
        "points": found["points"],
        "touches": found["touches"],
        "tightness": found["tightest"][0],
        "tightest_problem": code_of(found["tightest"][1]),
        "worst_slack": found["worst"][0],
        "worst_slack_problem": code_of(found["worst"][1]),
        "milliseconds": 1e3 * found["seconds"] / max(sum(counts.values()), 1),
    }


def code_of(key: Sequence[Any] | None) -> str:
    """Code that makes a problem again."""
    return "" if key is None else made(*key).code


def judge(rows: Sequence[Mapping[str, Any]], errors: int, scope: Scope) -> list[Criterion]:
    """The lines of criterion.md, from the table."""
    ready = sum(int(row["in_scope"]) >= scope.enough for row in rows)
    lines = [
        common.at_most("C1", "verdicts that fail", sum(int(row["fails"]) for row in rows), 0),
        common.at_most("C1", "checks that raise an exception", errors, 0),
        common.enough("C2", "statements with enough verdicts in scope", ready, len(NAMES)),
    ]
    for row in rows:
        if (count := int(row["in_scope"])) < scope.enough:
            text = f"{row['statement']}, verdicts in scope"
            lines.append(common.enough("C2", text, count, scope.enough))
    return lines


def draw_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """What became of every check, and how close the two sides came."""
    figure, (panels,) = common.new_figure(1, 2, width=5.0, height=0.2 * len(rows) + 1.2)
    shares, gaps = panels
    at = range(len(rows))
    left = np.zeros(len(rows))
    for kind, colour in (
        ("holds", "#1b7837"),
        ("fails", "#b2182b"),
        ("inconclusive", "#fdb863"),
        ("out_of_scope", "#dddddd"),
    ):
        share = np.array([row[kind] / max(row["checked"], 1) for row in rows])
        shares.barh(at, share, left=left, color=colour, label=kind.replace("_", " "), height=0.8)
        left += share
    shares.set(xlabel="share of the problems checked", xlim=(0, 1))
    shares.set_yticks(at, [row["statement"] for row in rows], fontsize=7)
    for equal, marker, label in ((False, "o", "bound"), (True, "x", "equation")):
        here = [k for k in at if (rows[k]["direction"] == "equal") is equal and rows[k]["in_scope"]]
        gap = [max(1.0 - rows[k]["tightness"], 1e-16) for k in here]
        gaps.semilogx(gap, here, marker, color="#2166ac", markersize=4, label=label)
    gaps.set(xlabel="1 - tightness of the tightest instance (1e-16: attained)", xlim=(3e-17, 2))
    gaps.set_yticks(at, [""] * len(rows))
    gaps.grid(alpha=0.3)
    for panel in panels:
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure


def options() -> argparse.Namespace:
    """The arguments of every study, and three more."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--minutes", type=float, help="start no round after so many")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--scratch", type=Path, help="folder of finished chunks, to go on with")
    mine, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    chosen = common.arguments(__file__, str(__doc__))
    return argparse.Namespace(**vars(mine), **vars(chosen))


def main() -> None:
    """Run the study."""
    chosen = options()
    scope = QUICK if chosen.quick else FULL
    scope = scope._replace(minutes=scope.minutes if chosen.minutes is None else chosen.minutes)
    scratch = Path(tempfile.mkdtemp()) if chosen.scratch is None else chosen.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    common.note(f"finished chunks are in {scratch}")
    begin, chunks = time.monotonic(), []
    for chunks in rounds(scope, scratch, chosen.workers):
        total = merged(chunks)
        wanting = sum(in_scope(found) < scope.enough for found in total.values())
        failures = sum(len(found["failures"]) for found in total.values())
        common.note(f"{(time.monotonic() - begin) / 60:.1f} min: {len(chunks)} chunks, "
                    f"{wanting} statements want more, {failures} failures")  # fmt: skip
    total = merged(chunks)
    rows = [row_of(name, found) for name, found in total.items()]
    measured = {
        "problems": sum(sum(chunk["families"].values()) for chunk in chunks),
        "families": dict(sum((Counter(chunk["families"]) for chunk in chunks), Counter())),
        "verdicts_in_scope": sum(row["in_scope"] for row in rows),
        "points": sum(row["points"] for row in rows),
        "processor_minutes": sum(chunk["seconds"] for chunk in chunks) / 60.0,
        "failures": {k: found["failures"] for k, found in total.items() if found["failures"]},
        "errors": {k: found["errors"] for k, found in total.items() if found["errors"]},
    }
    errors = sum(map(len, measured["errors"].values()))
    common.save_rows(chosen.output / "statements.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(rows))
    settings = scope._asdict() | {"seed": SEED, "weights": {k: f[0] for k, f in FAMILIES.items()}}
    common.record(chosen, "statements_under_attack", settings, measured, judge(rows, errors, scope))


if __name__ == "__main__":
    main()
