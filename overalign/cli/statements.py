"""``overalign statements``, ``show``, ``check`` and ``search``: the theory from the terminal."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.markup import escape

from ..errors import ProblemError
from .shared import NOT_REACHED, REACHED, VERDICT_STYLES, MaybeFloat, MaybeText, interrupt_ends

if TYPE_CHECKING:
    from ..observation import Population, Problem
    from ..verdicts import Tally

__all__ = [
    "CheckOptions",
    "SearchOptions",
    "ShowOptions",
    "StatementsOptions",
    "run_check",
    "run_search",
    "run_show",
    "run_statements",
]

_OF_A_POPULATION = {
    *("alpha", "log_alpha", "n", "dimension", "width", "kappa", "sigma"),
    *("separability", "unconditioned", "eta"),
}


@dataclass(frozen=True)
class StatementsOptions:
    """List the statements of the theory: name, title, provenance, place."""


@dataclass(frozen=True)
class ShowOptions:
    """Show one statement: formula, hypotheses, quantities, where it says nothing.

    Parameters
    ----------
    name : str
        As `overalign statements` lists it.
    """

    name: tyro.conf.Positional[str]


@dataclass(frozen=True)
class CheckOptions:
    """Hold a statement against gradient flows, draws or descent on fresh problems.

    Exit code 0: it fails nowhere; 1: it fails somewhere, or nothing is in scope; 2: the request
    cannot be met.

    Parameters
    ----------
    name : str, optional
        The statement; leave it out with --all.
    all : bool
        Every statement, on a few problems of four populations.
    alpha : float, ...
        Scales of the initialisation; a row of the table each.
    log_alpha : float, optional
        One scale by its natural logarithm instead; -5000 is an ordinary number here.
    seeds : int, optional
        Problems for each scale (default 20; 4 for each population with --all).
    n, dimension, width : int
        Samples, inputs and neurons of a problem.
    kappa, sigma : float
        Of the Gaussian mixture.
    separability : float
        Samples are conditioned on it.
    unconditioned : bool
        Samples are taken as they are drawn.
    eta : float
        Risk at the stop.
    tolerance : float
        Of the flow.
    """

    name: Annotated[MaybeText, tyro.conf.Positional] = None
    all: bool = False
    alpha: tuple[float, ...] = (1e-8,)
    log_alpha: MaybeFloat = None
    seeds: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    n: int = 8
    dimension: int = 10
    width: int = 16
    kappa: float = 2.0
    sigma: float = 1.0
    separability: float = 0.0
    unconditioned: bool = False
    eta: float = 0.05
    tolerance: float = 1e-8


@dataclass(frozen=True)
class SearchOptions:
    """Look for a problem on which a statement fails; otherwise show the tightest one met.

    Exit code 0: no counterexample; 1: there is one, or nothing was in scope; 2: the request cannot
    be met.

    Parameters
    ----------
    name : str
        As `overalign statements` lists it.
    budget : str
        Time for the search: 60s, 5m, or seconds.
    seed : int
        Of the search.
    beyond : bool
        Search beyond the setting of the theory too: data that are not separable, networks that are
        not balanced, the exponential loss. Hypotheses that are broken are out of scope all the
        same.
    """

    name: tyro.conf.Positional[str]
    budget: str = "60s"
    seed: int = 0
    beyond: bool = False


# ---------------------------------------------------------------- statements, show


def run_statements(options: StatementsOptions) -> int:
    """What ``overalign statements`` does.

    Examples
    --------
    >>> run_statements(StatementsOptions())
    class_norm_at_least...
    0
    """
    from ..statements import REGISTRY

    longest = max(map(len, REGISTRY))
    for statement in REGISTRY.values():
        print(f"{statement.name:<{longest}}  {statement.title} ({statement.provenance})")
    return REACHED


def run_show(options: ShowOptions) -> int:
    """What ``overalign show NAME`` does.

    Examples
    --------
    >>> run_show(ShowOptions("conic_hull"))
    conic_hull: The effective predictor is as aligned as its neurons
    ...
    0
    """
    from ..statements import find
    from ..statements.boxes import PROVENANCE_MEANS, readable
    from .formulas import letter_of, plain, pretty_lines

    statement = find(options.name)
    relation = {"equal": "=", "at_most": "≤", "at_least": "≥"}[statement.direction]
    print(f"{statement.name}: {statement.title}")
    print(f"{statement.place}; provenance: {PROVENANCE_MEANS[statement.provenance]}\n")
    formula, parts = readable(statement)
    for left, right in {f"{plain(statement.left)}  {relation}": formula, **parts}.items():
        print(f"  {left if right is formula else f'with {plain(left.name)}  ='}\n")
        print("\n".join(f"      {line}" for line in pretty_lines(right, statement)), end="\n\n")
    for hypothesis in statement.hypotheses:
        print(f"  if {hypothesis.words}")
    if statement.says_nothing is not None:
        print(f"  says nothing where {statement.says_nothing.words}")
    for quantity in statement.quantities:
        default = statement.defaults.get(quantity.name)
        filled = "" if default is None else f" (default {default:g})"
        letter = letter_of(quantity)
        name = quantity.name if letter == quantity.name else f"{letter} = {quantity.name}"
        print(f"  {name}: {quantity.meaning}{filled}")
    return REACHED


# ---------------------------------------------------------------- check


def run_check(options: CheckOptions) -> int:
    """What ``overalign check`` does.

    Raises
    ------
    OveralignError
        The request cannot be met.

    Examples
    --------
    >>> run_check(CheckOptions("conic_hull", seeds=2, n=4, width=4))
    conic_hull: The effective predictor is as aligned as its neurons
    ...
    0
    """
    if options.all == (options.name is not None):
        raise ProblemError(
            "give the name of one statement, or --all for every one; "
            "`overalign statements` lists them"
        )
    changed = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(options)
        if field.name in _OF_A_POPULATION and getattr(options, field.name) != field.default
    ]
    if options.all and changed:
        raise ProblemError(
            f"{', '.join(changed)} cannot go with --all, which has populations of its own"
        )
    if options.seeds is not None and options.seeds < 1:
        raise ProblemError(f"--seeds is {options.seeds}, expected at least 1")
    return _check_every(options) if options.all else _check_one(options)


def _check_one(options: CheckOptions) -> int:
    from ..checks import tally
    from ..statements import find

    statement, seeds = find(str(options.name)), options.seeds or 20
    populations = [_population(options, log_alpha) for log_alpha in _log_alphas(options)]
    makers = [
        partial(population.problem, seed) for population in populations for seed in range(seeds)
    ]
    with _progress("problems") as progress:
        rows = [
            tally([statement], makers[k : k + seeds], progress=_later(progress, k, len(makers)))
            for k in range(0, len(makers), seeds)
        ]
    tallies = [row[statement.name] for row in rows]
    print(f"{statement.name}: {statement.title}")
    labels = [f"{population.log_alpha / math.log(10.0):.6g}" for population in populations]
    _print_table("log10 alpha", labels, tallies)
    for k, found in enumerate(tallies):
        if found.first_failure is not None:
            _describe("it fails", found.first_failure, makers[k * seeds :])
            return NOT_REACHED
    in_scope = [(k, found) for k, found in enumerate(tallies) if found.tightest is not None]
    if not in_scope:
        return NOT_REACHED
    k, found = max(in_scope, key=lambda pair: pair[1].tightest[1].tightness)  # type: ignore[index]
    _describe("the tightest", found.tightest, makers[k * seeds :])
    return REACHED


def _check_every(options: CheckOptions) -> int:
    from ..checks import check_all

    began = time.monotonic()
    with _progress("problems") as progress:
        seeds = {} if options.seeds is None else {"seeds": options.seeds}
        tallies, makers = check_all(tolerance=options.tolerance, progress=progress, **seeds)
    _print_table("statement", list(tallies), list(tallies.values()))
    failed = [found for found in tallies.values() if found.first_failure is not None]
    for found in failed:
        _describe("it fails", found.first_failure, makers)
    print(f"{len(makers)} problems, {time.monotonic() - began:.0f} s")
    return NOT_REACHED if failed else REACHED


def _log_alphas(options: CheckOptions) -> list[float]:
    if options.log_alpha is not None:
        return [options.log_alpha]
    for alpha in options.alpha:
        if not 0.0 < alpha < math.inf:
            raise ProblemError(
                f"--alpha is {alpha:g}, expected positive numbers; scales below 1e-300 are given "
                "by --log-alpha"
            )
    return [math.log(alpha) for alpha in options.alpha]


def _population(options: CheckOptions, log_alpha: float) -> Population:
    from ..observation import Population

    return Population(
        n=options.n,
        dimension=options.dimension,
        width=options.width,
        kappa=options.kappa,
        sigma=options.sigma,
        separability=None if options.unconditioned else options.separability,
        log_alpha=log_alpha,
        eta=options.eta,
        tolerance=options.tolerance,
    )


def _later(
    progress: Callable[[int, int], None], before: int, total: int
) -> Callable[[int, int], None]:
    return lambda done, _: progress(before + done, total)


def _print_table(first: str, labels: list[str], tallies: list[Tally]) -> None:
    """A line for each tally; what is long comes last, so that nothing is cut off."""
    from rich.console import Console

    console, width = Console(highlight=False, soft_wrap=True), max(map(len, [first, *labels]))
    head = f"{first:<{width}}  {'verdict':<12} {'in scope':>8} {'points':>7} {'tightness':>9}"
    console.print(f"[bold]{head}  evidence; left out, because[/]")
    for label, found in zip(labels, tallies, strict=True):
        judgement, out = found.judgement, sum(found.reasons.values())
        tightest = "" if found.tightest is None else f"{found.tightest[1].tightness:.4g}"
        asked = f"{found.in_scope}/{sum(found.counts.values())}"
        how = [] if found.tightest is None else [found.tightest[1].evidence]
        why = "; ".join(how + ([f"{out}: {found.commonest_reason}"] if out else []))
        verdict = f"[{VERDICT_STYLES[judgement.name]}]{judgement.value:<12}[/]"
        numbers = f"{asked:>8} {found.points:>7} {tightest:>9}"
        console.print(f"{label:<{width}}  {verdict} {numbers}  {escape(why)}")


def _describe(what: str, found: Any, makers: Sequence[Callable[[], Problem]]) -> None:
    key, verdict = found
    print(f"{what}: {verdict.describe(makers[key]())}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line on stderr; an interrupt ends the process at once."""
    from rich.console import Console

    console = Console(stderr=True)
    with (
        interrupt_ends(console, "nothing was written"),
        console.status("loading (the first run on a machine compiles the solver)") as status,
    ):
        yield lambda done, total: status.update(f"{done} of {total} {what}")


# ---------------------------------------------------------------- search


def run_search(options: SearchOptions) -> int:
    """What ``overalign search NAME`` does.

    Raises
    ------
    OveralignError
        The request cannot be met.

    Examples
    --------
    >>> run_search(SearchOptions("conic_hull", budget="1s"))
    conic_hull: no counterexample; the tightest...
    0
    """
    try:
        from ..testing import problems, search
    except ImportError as error:
        raise ProblemError(str(error)) from error
    from ..statements import find

    statement, budget = find(options.name), _seconds(options.budget)
    beyond = problems(separable=False, balanced=False, logistic=False, log_alpha=(-60.0, 1.0))
    with _progress("problems"):
        found = search(
            statement, budget, seed=options.seed, problems=beyond if options.beyond else None
        )
    print(f"{statement.name}: {found}")
    return NOT_REACHED if found.is_refuted or not found.in_scope else REACHED


def _seconds(budget: str) -> float:
    matched = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(s|m|h)?\s*", budget)
    if matched is None or float(matched[1]) == 0.0:
        raise ProblemError(f"--budget {budget!r} is no time; give seconds, or 60s, 5m, 1h")
    return float(matched[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[matched[2] or "s"]
