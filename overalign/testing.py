"""For your own property-based tests: strategies, `assert_holds`, and a search for counterexamples.

Needs hypothesis (the extra ``testing``). A test of a lemma is a statement and five lines:

    from hypothesis import given
    from overalign.testing import assert_holds, problems

    @given(problems())
    def test_my_lemma(problem):
        assert_holds(my_statement, problem)
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .errors import ProblemError, ScopeError
from .observation import Population, Problem
from .problem import ExponentialLoss, LogisticLoss, Loss, Network, Sample
from .statements import Quantity, Statement
from .verdicts import Judgement, Verdict

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise ImportError(
        'overalign.testing needs hypothesis: python -m pip install "overalign[testing]"'
    ) from error

__all__ = [
    "Search",
    "assert_holds",
    "networks",
    "problems",
    "samples",
    "search",
    "statement_parameters",
]

LARGEST_ENTRY = 4
TRIES = 10  # at values that fulfil the hypotheses; a fifth of all does in the worst case


# ---------------------------------------------------------------- strategies


def samples(
    *,
    dimension: st.SearchStrategy[int] | int | None = None,
    n: st.SearchStrategy[int] | int | None = None,
    separable: bool = True,
) -> st.SearchStrategy[Sample]:
    """Small samples with both labels.

    Parameters
    ----------
    dimension, n : int, or strategy of int
        Default 1 to 5, and 2 to 8.
    separable : bool
        Orthogonally separable with lambda > 0, or anything whose inputs are not zero.

    Returns
    -------
    strategy of Sample
        Shrinks to few samples with small whole numbers.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=20, database=None)
    ... @given(samples())
    ... def test_separability(sample):
    ...     if not sample.separability > 0.0:
    ...         raise AssertionError(sample)
    >>> test_separability()
    """
    dimensions, sizes = _ints(dimension, 1, 5), _ints(n, 2, 8)

    @st.composite
    def drawn(draw: st.DrawFn) -> Sample:
        d, count = draw(dimensions), draw(sizes)
        rows = [draw(_rows(d, positive=separable)) for _ in range(count)]
        more = draw(st.lists(st.sampled_from([1.0, -1.0]), min_size=count - 2, max_size=count - 2))
        y = np.array([1.0, -1.0, *more])
        u = np.array(rows)
        return Sample(u * y[:, None] if separable else u, y)

    return drawn()


def _ints(
    asked: st.SearchStrategy[int] | int | None, low: int, high: int
) -> st.SearchStrategy[int]:
    if asked is None:
        return st.integers(low, high)
    return st.just(asked) if isinstance(asked, int) else asked


def _rows(dimension: int, *, positive: bool) -> st.SearchStrategy[list[float]]:
    """Vectors that are not zero; if positive, with products at least 1 among each other."""
    low = 0 if positive else -LARGEST_ENTRY
    entry = st.one_of(
        st.integers(low, LARGEST_ENTRY).map(float),
        st.floats(low, LARGEST_ENTRY, width=16, allow_subnormal=False),
    )
    if positive:  # the first coordinate keeps the cosines away from zero
        rest = st.lists(entry, min_size=dimension - 1, max_size=dimension - 1)
        return st.tuples(st.integers(1, 3), rest).map(lambda parts: [float(parts[0]), *parts[1]])
    vectors = st.lists(entry, min_size=dimension, max_size=dimension)
    return vectors.filter(lambda vector: any(abs(value) > 1e-3 for value in vector))


def networks(
    dimension: int,
    *,
    width: st.SearchStrategy[int] | int | None = None,
    balanced: bool = True,
) -> st.SearchStrategy[Network]:
    """Small initialisation shapes.

    Parameters
    ----------
    dimension : int
        Of the inputs.
    width : int, or strategy of int
        Default 1 to 6.
    balanced : bool
        |V_j| = ||W_j||, or any output weights of at least half that.

    Returns
    -------
    strategy of Network
        Shrinks to few neurons with small whole numbers.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=20, database=None)
    ... @given(networks(3))
    ... def test_balance(network):
    ...     if not network.is_balanced:
    ...         raise AssertionError(network)
    >>> test_balance()
    """
    widths = _ints(width, 1, 6)

    @st.composite
    def drawn(draw: st.DrawFn) -> Network:
        count = draw(widths)
        rows = [draw(_rows(dimension, positive=False)) for _ in range(count)]
        sign = draw(st.lists(st.sampled_from([1.0, -1.0]), min_size=count, max_size=count))
        if balanced:
            return Network.balanced(weights=rows, sign=sign)
        share = draw(st.lists(st.sampled_from([1.0, 0.5, 2.0]), min_size=count, max_size=count))
        return Network(rows, np.linalg.norm(rows, axis=1) * sign * share)

    return drawn()


def problems(
    *,
    separable: bool = True,
    balanced: bool = True,
    logistic: bool = True,
    log_alpha: tuple[float, float] = (-60.0, -3.0),
) -> st.SearchStrategy[Problem]:
    """Problems to hold statements against: data, network, scale and stop.

    By default in the setting of the theory: orthogonally separable data, a balanced network, the
    logistic loss, a small scale. Switch off what your lemma does not assume.

    Parameters
    ----------
    separable : bool
        Without it, any data.
    balanced : bool
        Without it, any output weights.
    logistic : bool
        Without it, the exponential loss too.
    log_alpha : (float, float)
        Range of the logarithm of alpha.

    Returns
    -------
    strategy of Problem
        Half of them small and explicit, half drawn from a Gaussian mixture by a seed (these have a
        ``mixture``). Their ``repr`` is code that makes them again.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> from overalign import statements
    >>> @settings(max_examples=10, database=None, deadline=None)
    ... @given(problems())
    ... def test_growth(problem):
    ...     assert_holds(statements.norm_growth, problem)
    >>> test_growth()
    """
    low, high = log_alpha
    if not -math.inf < low <= high < math.inf:
        raise ProblemError(f"log_alpha is {log_alpha}; give two numbers, the lower end first")
    # shrinks to the larger scale, and to whole steps from it
    scales = st.integers(0, math.floor(high - low)).map(lambda step: high - float(step))
    etas = st.sampled_from([0.1, 0.05, 0.01, 0.3, 0.5])

    @st.composite
    def explicit(draw: st.DrawFn) -> Problem:
        sample = draw(samples(separable=separable))
        network = draw(networks(sample.dimension, balanced=balanced))
        losses: list[Loss] = [LogisticLoss()] if logistic else [LogisticLoss(), ExponentialLoss()]
        loss = draw(st.sampled_from(losses))
        return Problem(sample, network, draw(scales), eta=draw(etas), loss=loss)

    @st.composite
    def from_mixture(draw: st.DrawFn) -> Problem:
        population = Population(
            n=draw(st.integers(2, 8)),
            dimension=draw(st.integers(2, 8) | st.integers(9, 30)),
            width=draw(st.integers(1, 10)),
            kappa=draw(st.sampled_from([2.0, 1.0, 1.5, 3.0, 4.0])),
            sigma=draw(st.sampled_from([1.0, 0.5, 0.1, 0.03])),
            separability=0.0 if separable else None,
            log_alpha=draw(scales),
            eta=draw(etas),
        )
        return population.problem(draw(st.integers(0, 999)))

    return (explicit() | from_mixture()).map(_solved)


def _solved(problem: Problem) -> Problem:
    """Solved while it is drawn, which does not count towards the deadline of a test."""
    with suppress(ScopeError):
        _ = problem.run
    return problem


def statement_parameters(statement: Statement) -> st.SearchStrategy[dict[str, float]]:
    """Values for every quantity of a statement at which its hypotheses on them hold.

    Parameters
    ----------
    statement : Statement

    Returns
    -------
    strategy of dict of str to float
        Over the usual ranges, spread over decades where a range has several.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> from overalign import statements
    >>> OA = statements.over_alignment
    >>> @settings(max_examples=20, database=None)
    ... @given(statement_parameters(OA))
    ... def test_that_it_is_a_difference_of_probabilities(values):
    ...     if not 0.0 <= OA(**values) <= 1.0:
    ...         raise AssertionError(values)
    >>> test_that_it_is_a_difference_of_probabilities()
    """
    every = st.fixed_dictionaries({q.name: _values(q) for q in statement.quantities})

    @st.composite
    def drawn(draw: st.DrawFn) -> dict[str, float]:
        for _ in range(TRIES):
            values = draw(every)
            if statement.holds_for(**values):
                return values
        return hypothesis.reject()

    return drawn()


def _values(quantity: Quantity) -> st.SearchStrategy[float]:
    """Values over the usual range, spread over its decades where it has any."""
    low, high = quantity.usual
    if quantity.integer:
        return st.integers(int(low), int(high)).map(float)
    if low > 0.0:
        logarithms = st.floats(math.log(low), math.log(high))
        return logarithms.map(lambda value: min(max(math.exp(value), low), high))
    return st.floats(low, high, exclude_min=quantity.open_low, exclude_max=quantity.open_high)


# ---------------------------------------------------------------- checks


def assert_holds(statement: Statement, problem: Problem) -> Verdict:
    """Fail if a statement fails on a problem; leave problems out that it says nothing about.

    Parameters
    ----------
    statement : Statement
        One of `overalign.statements`, or your own, with ``measure``.
    problem : Problem

    Returns
    -------
    Verdict
        HOLDS or INCONCLUSIVE.

    Raises
    ------
    AssertionError
        It fails; the message holds the verdict, both sides, and the problem as code.
    hypothesis.errors.UnsatisfiedAssumption
        Out of scope, in a test of hypothesis: it draws another problem, and a test that is never in
        scope is an error, not a success.
    ScopeError
        Out of scope, elsewhere.

    Examples
    --------
    >>> from overalign import statements
    >>> assert_holds(statements.norm_growth, Population().problem(0)).judgement.name
    'HOLDS'
    """
    verdict = statement.check(problem)
    if verdict.judgement is Judgement.FAILS:
        raise AssertionError(verdict.describe(problem))
    if verdict.judgement is Judgement.OUT_OF_SCOPE:
        if hypothesis.currently_in_test_context():
            hypothesis.reject()
        raise ScopeError(f"{statement.name}: {verdict.reason}")
    return verdict


@dataclass(frozen=True)
class Search:
    """What a search for a counterexample came to.

    Attributes
    ----------
    verdict : Verdict or None
        A failure if there is one, else the tightest instance; None if nothing was in scope.
    problem : Problem or None
        Its problem; the ``repr`` is code that makes it again.
    examples, in_scope : int
        Problems tried, and those the statement says something about.
    seconds : float

    Examples
    --------
    >>> Search(None, None, examples=3, in_scope=0, seconds=0.1).is_refuted
    False
    """

    verdict: Verdict | None
    problem: Problem | None
    examples: int
    in_scope: int
    seconds: float

    @property
    def is_refuted(self) -> bool:
        """Whether a problem was found on which the statement fails."""
        return self.verdict is not None and self.verdict.judgement is Judgement.FAILS

    def __str__(self) -> str:
        tried = f"{self.examples} problems in {self.seconds:.0f} s, {self.in_scope} in scope"
        if self.verdict is None or self.problem is None:
            return f"nothing was in scope: {tried}"
        found = "a counterexample" if self.is_refuted else "no counterexample; the tightest"
        return f"{found} ({tried}): {self.verdict.describe(self.problem)}"


class _Enough(BaseException):
    """Ends a search; no Exception, so that hypothesis does not take it for a failure."""


def search(
    statement: Statement,
    budget: float = 60.0,
    *,
    seed: int = 0,
    shrink: float = 10.0,
    problems: st.SearchStrategy[Problem] | None = None,
) -> Search:
    """Look for a problem on which a statement fails; otherwise return the tightest one met.

    Problems are drawn at random and moved towards tighter ones (hypothesis' targets); a failure is
    made small.

    Parameters
    ----------
    statement : Statement
    budget : float
        Seconds. The search ends with the first problem drawn after them.
    seed : int
    shrink : float
        Seconds more in which a failure is made small.
    problems : strategy of Problem, optional
        Default `problems`: the setting of the theory.

    Returns
    -------
    Search

    Raises
    ------
    ProblemError
        A time is negative, or the statement has nothing to measure.
    hypothesis.errors.HypothesisException
        The strategy cannot draw a problem.

    Examples
    --------
    >>> from overalign import statements
    >>> found = search(statements.conic_hull, budget=2.0)
    >>> found.is_refuted, found.in_scope > 0
    (False, True)
    """
    if not (0.0 < budget < math.inf and 0.0 <= shrink < math.inf):
        raise ProblemError(f"budget and shrink are {budget} and {shrink} seconds; give times")
    if statement.measure is None:
        raise ProblemError(f"{statement.name} cannot be searched: no single problem decides it")
    hunt = _Hunt(statement, budget, shrink)
    drawn = hunt.in_time(_default_problems() if problems is None else problems)
    run = hypothesis.given(drawn)(hunt.look)
    run = hypothesis.seed(seed)(
        hypothesis.settings(
            max_examples=10**6,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[
                hypothesis.Phase.generate,
                hypothesis.Phase.target,
                hypothesis.Phase.shrink,
            ],
            report_multiple_bugs=False,
            verbosity=hypothesis.Verbosity.quiet,
        )(run)
    )
    try:
        run()
    except (_Enough, _Refuted):  # out of time, or a failure made small
        pass
    except hypothesis.errors.HypothesisException:
        if not hunt.examples:
            raise
    return hunt.result()


_default_problems = problems  # `search` has a parameter of that name


class _Refuted(Exception):
    """A problem on which the statement fails."""


class _Hunt:
    """The state of a search."""

    def __init__(self, statement: Statement, budget: float, shrink: float) -> None:
        self.statement = statement
        self.began = time.monotonic()
        self.end = self.began + budget
        self.shrink = shrink
        self.examples = self.in_scope = 0
        self.best: tuple[Verdict, Problem] | None = None

    def in_time(self, problems: st.SearchStrategy[Problem]) -> st.SearchStrategy[Problem]:
        """The same strategy, which ends the search when the time is over."""

        @st.composite
        def drawn(draw: st.DrawFn) -> Problem:
            if time.monotonic() > self.end:
                raise _Enough
            return draw(problems)

        return drawn()

    def look(self, problem: Problem) -> None:
        """Check one problem, and keep it if it is the best so far."""
        verdict = self.statement.check(problem)
        self.examples += 1
        if verdict.judgement not in (Judgement.HOLDS, Judgement.FAILS):
            return
        self.in_scope += 1
        if verdict.judgement is Judgement.FAILS:
            self._failed(verdict, problem)
            raise _Refuted
        if self.best is None or (
            not self._has_failure and verdict.tightness > self.best[0].tightness
        ):
            self.best = verdict, problem
        if math.isfinite(verdict.tightness):
            hypothesis.target(verdict.tightness)

    @property
    def _has_failure(self) -> bool:
        return self.best is not None and self.best[0].judgement is Judgement.FAILS

    def _failed(self, verdict: Verdict, problem: Problem) -> None:
        if not self._has_failure:
            self.end = time.monotonic() + self.shrink
        if self.best is None or not self._has_failure or _size(problem) <= _size(self.best[1]):
            self.best = verdict, problem

    def result(self) -> Search:
        """What came of it."""
        verdict, problem = self.best or (None, None)
        seconds = time.monotonic() - self.began
        return Search(verdict, problem, self.examples, self.in_scope, seconds)


def _size(problem: Problem) -> tuple[int, int]:
    numbers = problem.sample.n * problem.sample.dimension
    return numbers + problem.network.weights.size, len(repr(problem))
