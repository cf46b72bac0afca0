"""What a comparison of a measured left side with a formula is worth.

A verdict needs the error of the measurement and an enclosure of the formula; where they do not
tell the two sides apart it is INCONCLUSIVE, and where a statement says nothing, OUT_OF_SCOPE.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "Direction", "Judgement", "Scale", "Tally", "Verdict", "compare"]

FloatArray: TypeAlias = NDArray[np.float64]
Direction: TypeAlias = Literal["equal", "at_most", "at_least"]
Scale: TypeAlias = Literal["relative", "absolute", "log"]


class Judgement(enum.Enum):
    """The four verdicts.

    Examples
    --------
    >>> [judgement.name for judgement in Judgement]
    ['HOLDS', 'FAILS', 'INCONCLUSIVE', 'OUT_OF_SCOPE']
    """

    HOLDS = "holds"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True, repr=False)
class Verdict:
    """What became of one statement on one problem.

    Attributes
    ----------
    statement : str
    judgement : Judgement
    provenance : str
        Of the statement: FAILS on a reconstructed one says that our reading of it fails.
    reason : str
        Why it is out of scope or inconclusive.
    evidence : str
        What measured it.
    points : int
        Where the statement was compared.
    unresolved : int
        Those of them at which the error is larger than the tolerance, and the two sides are closer
        than the error: they say nothing.
    touches : int
        Points at which the bound is attained, to the tolerance.
    slack : float
        Of a bound, the smallest distance by which it is fulfilled, negative where it is missed; of
        an equation, minus the largest difference; in the scale of the statement.
    tightness : float
        Largest quotient of the smaller side and the larger side, 1 where a bound is attained; 0
        where their signs differ.
    error : float
        Of the measurement where the slack is smallest.
    witness : mapping
        That point: measured, formula, the parameters, and where it is.

    Examples
    --------
    >>> Verdict("half_angle", Judgement.OUT_OF_SCOPE, "ours", "no neuron is sorted").judgement.value
    'out of scope'
    """

    statement: str
    judgement: Judgement
    provenance: str
    reason: str = ""
    evidence: str = ""
    points: int = 0
    unresolved: int = 0
    touches: int = 0
    slack: float = math.nan
    tightness: float = math.nan
    error: float = math.nan
    witness: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [f"{self.statement}: {self.judgement.value} ({self.provenance})"]
        text = "; ".join([*words, *filter(None, [self.reason, self.evidence])])
        if self.points:
            text += (
                f"; {self.points} points ({self.unresolved} unresolved), {self.touches} touches, "
                f"slack {self.slack:.3g} (error {self.error:.1e}), tightness {self.tightness:.4g}"
            )
        return text

    __repr__ = __str__

    def describe(self, problem: Any) -> str:
        """The verdict with both sides, the quantities, and the problem as code."""
        sides = ", ".join(f"{name} = {value:.10g}" for name, value in self.witness.items())
        return f"{self}\n  {sides}\n  on {problem!r}"


@dataclass
class Tally:
    """The verdicts of one statement over many problems, as they come in.

    Attributes
    ----------
    counts : dict of Judgement to int
    reasons : dict of str to int
        Why problems were out of scope, or undecided.
    tightest, first_failure : (key, Verdict) or None
        Of what is in scope: where the bound comes closest, and the first failure.

    Examples
    --------
    >>> tally = Tally("conic_hull")
    >>> tally.add(0, Verdict("conic_hull", Judgement.HOLDS, "ours", "", points=3, tightness=0.9))
    >>> tally.judgement.name, tally.in_scope, tally.tightest[0]
    ('HOLDS', 1, 0)
    """

    statement: str
    counts: dict[Judgement, int] = field(default_factory=lambda: dict.fromkeys(Judgement, 0))
    reasons: dict[str, int] = field(default_factory=dict)
    points: int = 0
    touches: int = 0
    tightest: tuple[Any, Verdict] | None = None
    first_failure: tuple[Any, Verdict] | None = None

    def add(self, key: Any, verdict: Verdict) -> None:
        """Count a verdict; ``key`` says on which problem."""
        self.counts[verdict.judgement] += 1
        if verdict.judgement in (Judgement.OUT_OF_SCOPE, Judgement.INCONCLUSIVE):
            self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + 1
            return
        self.points += verdict.points
        self.touches += verdict.touches
        if self.tightest is None or verdict.tightness > self.tightest[1].tightness:
            self.tightest = key, verdict
        if verdict.judgement is Judgement.FAILS and self.first_failure is None:
            self.first_failure = key, verdict

    @property
    def in_scope(self) -> int:
        """Problems on which the statement holds or fails."""
        return self.counts[Judgement.HOLDS] + self.counts[Judgement.FAILS]

    @property
    def judgement(self) -> Judgement:
        """FAILS if it fails anywhere, else HOLDS if it holds anywhere."""
        for judgement in (Judgement.FAILS, Judgement.HOLDS, Judgement.INCONCLUSIVE):
            if self.counts[judgement]:
                return judgement
        return Judgement.OUT_OF_SCOPE

    @property
    def commonest_reason(self) -> str:
        """Why most problems were left out."""
        return max(self.reasons, key=lambda reason: self.reasons[reason], default="")


@dataclass(frozen=True)
class Comparison:
    """Two sides of a statement at points [k], by `compare`."""

    holds: NDArray[np.bool_]
    fails: NDArray[np.bool_]
    unresolved: NDArray[np.bool_]
    touches: NDArray[np.bool_]
    slack: FloatArray
    tightness: FloatArray

    @property
    def judgement(self) -> Judgement:
        """Of all points together."""
        if self.fails.any():
            return Judgement.FAILS
        decided = self.holds | self.unresolved
        if self.holds.any() and decided.all():
            return Judgement.HOLDS
        return Judgement.INCONCLUSIVE

    @property
    def decisive(self) -> int:
        """Index of the point with the smallest slack: among failures, or among what is resolved."""
        counted = self.fails if self.fails.any() else ~self.unresolved
        return int(np.argmin(np.where(counted, self.slack, np.inf)))


def compare(
    direction: Direction,
    measured: FloatArray,
    formula: FloatArray,
    error: FloatArray,
    tolerance: float,
    scale: Scale = "relative",
    floor: float = 0.0,
) -> Comparison:
    """Both sides of a statement, point by point.

    Parameters
    ----------
    direction : {"equal", "at_most", "at_least"}
        How ``measured`` is said to relate to ``formula``.
    measured, formula, error : array [k]
        The error is that of the difference, absolute.
    tolerance : float
        By how much an equation may be off, or a bound be missed.
    scale : {"relative", "absolute", "log"}
        What the tolerance, and the slack, are relative to: the formula, or 1. Of logarithms they
        are absolute, and the tightness is the quotient of what they are logarithms of.
    floor : float
        Formulas below it count as that large.

    Returns
    -------
    Comparison
        A point fails if it is beyond the tolerance by more than the error, and holds if it is
        within the tolerance by more than the error. Otherwise it is unresolved if the error exceeds
        the tolerance, and undecided if not.

    Examples
    --------
    >>> found = compare("at_most", np.array([0.5, 1.1]), np.ones(2), np.full(2, 1e-9), 1e-6)
    >>> found.judgement.name, found.decisive
    ('FAILS', 1)
    """
    difference = formula - measured
    gap = {"at_most": difference, "at_least": -difference, "equal": -np.abs(difference)}[direction]
    unit = np.maximum(np.abs(formula), floor) if scale == "relative" else np.ones_like(formula)
    allowed = tolerance * unit
    fails = gap + error < -allowed
    holds = gap - error >= -allowed
    unresolved = ~fails & ~holds & (error > allowed)
    with np.errstate(divide="ignore", invalid="ignore"):
        slack = np.where(unit > 0.0, gap / unit, gap)
        if scale == "log":
            tightness = np.exp(-np.abs(difference))
        else:
            small, large = np.sort([np.abs(measured), np.abs(formula)], axis=0)
            tightness = np.where(large > 0.0, small / large, 1.0)
            tightness = np.where(measured * formula < 0.0, 0.0, tightness)
    return Comparison(
        holds=holds,
        fails=fails,
        unresolved=unresolved,
        touches=holds & (np.abs(gap) <= allowed + error),
        slack=slack,
        tightness=np.asarray(tightness),
    )
