"""Statements held against many problems.

Every problem is solved once for all statements; problems are independent, so they run on all cores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

from .observation import Population, Problem
from .statements import REGISTRY, Statement
from .verdicts import Tally, Verdict

__all__ = ["QUICK_POPULATIONS", "check_all", "tally"]

# Between them every statement that one problem can decide is in scope somewhere: samples of the
# mixture that are separable because they are conditioned, because the signal is strong, because
# the noise is small; many samples, and a wide cone at a large scale.
_TINY = -12.0 * math.log(10.0)
QUICK_POPULATIONS = {
    "conditioned": Population(),
    "strong signal": Population(dimension=20, kappa=3.0, sigma=0.3, log_alpha=4 * _TINY),
    "many samples": Population(
        n=80, dimension=5, width=8, kappa=1.0, sigma=0.05, log_alpha=_TINY, separability=None
    ),
    "large scale": Population(dimension=24, log_alpha=math.log(0.2)),
}


def tally(
    statements: Sequence[Statement],
    problems: Sequence[Problem | Callable[[], Problem]],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Tally]:
    """Verdicts of statements over problems, by name of the statement.

    Parameters
    ----------
    statements : sequence of Statement
    problems : sequence of Problem, or of callables that make one
        Callables leave the drawing to the workers.
    workers : int
        Threads; default one per core.
    progress : callable, optional
        Called with the number of problems done and their total, after each.

    Returns
    -------
    dict of str to Tally
        The keys of a tally's verdicts are positions in ``problems``; its content does not depend on
        the number of workers.

    Examples
    --------
    >>> from overalign import statements
    >>> population = Population(n=6)
    >>> found = tally([statements.conic_hull], [population.problem(seed) for seed in range(2)])
    >>> found["conic_hull"].judgement.name, found["conic_hull"].in_scope
    ('HOLDS', 2)
    """

    def verdicts(problem: Problem | Callable[[], Problem]) -> list[Verdict]:
        made = problem if isinstance(problem, Problem) else problem()
        return [statement.check(made) for statement in statements]

    rows: dict[int, list[Verdict]] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures = {pool.submit(verdicts, problem): k for k, problem in enumerate(problems)}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                rows[futures[future]] = future.result()
                if progress is not None:
                    progress(done, len(futures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    found = {statement.name: Tally(statement.name) for statement in statements}
    for k in sorted(rows):
        for verdict in rows[k]:
            found[verdict.statement].add(k, verdict)
    return found


def check_all(
    seeds: int = 4,
    *,
    tolerance: float = 1e-8,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Tally], list[Callable[[], Problem]]]:
    """Every statement on a few problems of each of `QUICK_POPULATIONS`.

    Returns
    -------
    dict of str to Tally
    list of callables
        That make the problems, in the order of the tallies' keys.

    Examples
    --------
    >>> tallies, problems = check_all(seeds=1)
    >>> {tally.judgement.name for tally in tallies.values()} <= {"HOLDS", "OUT_OF_SCOPE"}
    True
    """
    populations = [replace(p, tolerance=tolerance) for p in QUICK_POPULATIONS.values()]
    problems: list[Callable[[], Problem]] = [
        partial(population.problem, seed) for population in populations for seed in range(seeds)
    ]
    return tally(list(REGISTRY.values()), problems, workers=workers, progress=progress), problems
