"""What statements are held against: a problem, and what was measured on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import Alignment, alignment_of
from .errors import ProblemError, ScopeError, ToleranceError
from .excess_error import class_mean_angle
from .flow import Snapshot, Trajectory, solve, stop_at_risk
from .phases import PhaseTimes, phase_times
from .problem import GaussianMixture, LogisticLoss, Loss, Network, Sample

__all__ = ["CLASSES", "Measured", "Population", "Problem"]

FloatArray: TypeAlias = NDArray[np.float64]

CLASSES = (1, -1)
TIMES = 25  # in each of two grids
TOLERANCE = 1e-8  # of the flow
JUST_AFTER = 1e-8  # relative: where t_1 is looked at
ROUNDING = 4e-15  # of a direction: below it an angle has no digits


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, a network, a scale and a stop: one instance that statements can be held against.

    It is solved on demand and once, at most once for each stop that is asked of it.

    Parameters
    ----------
    sample : Sample
    network : Network
    log_alpha : float
    eta : float
        Risk at the stop, in the loss's own units.
    loss : Loss
        Default ``LogisticLoss(factor=1, reduction="mean")``.
    mixture : GaussianMixture, optional
        The law of the sample, where it has a known one.
    seed : int
        Of the draws that statements about laws take.
    tolerance : float
        Of the flow.

    Attributes
    ----------
    made_by : str
        Code that makes the problem, where it is shorter than its numbers.

    Raises
    ------
    ProblemError
        eta is not positive, or sample and network have different dimensions.

    Examples
    --------
    >>> mixture = GaussianMixture(6, kappa=3.0, sigma=0.5)
    >>> problem = Problem(mixture.sample(8, 0), Network.random(8, 6, 0), -9.0, mixture=mixture)
    >>> problem.run.status
    'The stop was reached.'
    >>> round(problem.facts(1)["x_max"], 3)
    3.896
    """

    sample: Sample
    network: Network
    log_alpha: float
    eta: float = 0.05
    loss: Loss = field(default_factory=LogisticLoss)
    mixture: GaussianMixture | None = None
    seed: int = 0
    tolerance: float = TOLERANCE
    made_by: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.log_alpha):
            raise ProblemError(f"log_alpha is {self.log_alpha}; give a finite number")
        if not 0.0 < self.eta < math.inf:
            raise ProblemError(f"eta is {self.eta:g}; the risk to stop at must be positive")
        for name, other in (("network", self.network), ("mixture", self.mixture)):
            if other is not None and other.dimension != self.sample.dimension:
                raise ProblemError(
                    f"the sample has dimension {self.sample.dimension} and the {name} "
                    f"{other.dimension}; they must agree"
                )

    def __repr__(self) -> str:
        """Code that makes the problem again."""
        if self.made_by:
            return self.made_by
        sample, network = self.sample, self.network
        parts = [
            f"Sample({sample.x.tolist()}, {sample.y.tolist()})",
            f"Network({network.weights.tolist()}, {network.output.tolist()})",
            f"log_alpha={self.log_alpha!r}",
            f"eta={self.eta!r}",
        ]
        if self.loss != LogisticLoss():
            parts.append(f"loss={self.loss!r}")
        if self.mixture is not None:
            m = self.mixture
            s = m.direction.tolist()
            parts.append(f"mixture=GaussianMixture({m.dimension}, {m.kappa}, {m.sigma}, {s})")
        if self.seed:
            parts.append(f"seed={self.seed}")
        if self.tolerance != TOLERANCE:
            parts.append(f"tolerance={self.tolerance!r}")
        return f"Problem({', '.join(parts)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same where hypothesis and IPython print."""
        printer.text(repr(self))

    def at_scale(self, log_alpha: float) -> Problem:
        """The same problem at another scale of the initialisation, one for each scale."""
        if log_alpha not in self._at_scales:
            self._at_scales[log_alpha] = replace(self, log_alpha=log_alpha)
        return self._at_scales[log_alpha]

    @cached_property
    def _at_scales(self) -> dict[float, Problem]:
        return {}

    # ------------------------------------------------------------ solved

    @cached_property
    def run(self) -> Trajectory:
        """The trajectory to the stop over all samples."""
        return self._solved("all")

    def run_of(self, label: int) -> Trajectory:
        """The trajectory to the stop over one class."""
        _require_label(label)
        if label not in self._class_runs:
            self._class_runs[label] = self._solved("positive" if label == 1 else "negative")
        return self._class_runs[label]

    @cached_property
    def _class_runs(self) -> dict[int, Trajectory]:
        return {}

    def _solved(self, over: Any) -> Trajectory:
        stop = stop_at_risk(self.eta, over)
        try:
            return solve(self.sample, self.network, self.log_alpha, stop, self.loss, self.tolerance)
        except ProblemError as error:
            raise ScopeError(f"the flow cannot be solved: {error}") from error

    @property
    def error(self) -> float:
        """Error of log-norms and directions of `run`, with the rounding of a direction."""
        return self.run.error_estimate + ROUNDING

    @cached_property
    def phases(self) -> PhaseTimes:
        """Times that divide `run`, without the onset (ScopeError where sorting means nothing)."""
        run = self.run  # a tolerance that it refuses is the caller's
        try:
            return phase_times(run, onset=False)
        except (ProblemError, ToleranceError) as error:
            raise ScopeError(str(error)) from error

    @cached_property
    def times(self) -> FloatArray:
        """Times at which `run` is looked at: the start, the end, two grids, and its phases."""
        end = self.run.time
        if end == 0.0:
            return np.zeros(1)
        grids = [end * np.linspace(0.0, 1.0, TIMES), end * np.logspace(-4, 0, TIMES)]
        with suppress(ScopeError):
            phases = self.phases
            # on a kink itself rounding decides which side a product is on
            just_after = phases.t_1 * (1.0 + JUST_AFTER)
            marks = np.array([just_after, phases.T, phases.T_G, phases.T_plus, phases.T_minus])
            grids.append(marks[(marks >= 0.0) & (marks <= end)])
        return np.unique(np.concatenate(grids))

    @cached_property
    def states(self) -> Snapshot:
        """The network at `times` (ScopeError where the inside of the run is not resolved)."""
        run, times = self.run, self.times
        try:
            return run.at(times)
        except ToleranceError as error:
            raise ScopeError(str(error)) from error

    @cached_property
    def alignment(self) -> Alignment:
        """Alignment at `times` (ScopeError where a class has no direction)."""
        try:
            return alignment_of(self.states, self.sample)
        except ProblemError as error:
            raise ScopeError(str(error)) from error

    # ------------------------------------------------------------ read off

    @property
    def beta(self) -> float:
        """Time of the theory over time of the loss."""
        return self.loss.time_factor(self.sample.n)

    def facts(self, label: int = 1) -> dict[str, float]:
        """Quantities of statements that data and network fix, by name, for one class."""
        _require_label(label)
        if label not in self._facts:
            self._facts[label] = self._facts_of(label)
        return dict(self._facts[label])

    @cached_property
    def _facts(self) -> dict[int, dict[str, float]]:
        return {}

    def _facts_of(self, label: int) -> dict[str, float]:
        sample, network = self.sample, self.network
        found: dict[str, float] = {
            "n": sample.n,
            "dimension": sample.dimension,
            "x_max": sample.max_norm,
            "x_min": float(sample.norms.min()),
            "width": network.width,
            "W_max": network.max_row_norm,
            "log_alpha": self.log_alpha,
            "beta": self.beta,
        }
        if sample.is_classification:
            found["class_size"] = float(np.count_nonzero(sample.y == label))
            found["class_norm"] = self._class_norm(label)
            found["largest_class_norm"] = max(self._class_norm(1), self._class_norm(-1))
            if sample.n > 1:
                found["separability"] = sample.separability
            if isinstance(self.loss, LogisticLoss):  # the theory's loss is a sum, of factor 2
                count = int(np.count_nonzero(sample.y == label))
                found["eta"] = 2.0 * self.eta / self.loss.weight(count) if count else math.nan
        if self.mixture is not None:
            found |= {"kappa": self.mixture.kappa, "sigma": self.mixture.sigma}
            if sample.has_class_directions:
                found["phi"] = class_mean_angle(sample, self.mixture, label)
        return {name: float(value) for name, value in found.items()}

    def _class_norm(self, label: int) -> float:
        rows = self.sample.x[self.sample.y == label]
        return float(np.linalg.norm(rows.sum(axis=0)))


@dataclass(frozen=True, kw_only=True)
class Population:
    """A law of problems: the mixture, independent networks, one scale and one stop.

    Parameters
    ----------
    n, dimension, width : int
    kappa, sigma : float
    separability : float, optional
        The samples are conditioned on it; None leaves them as they are drawn.
    log_alpha, eta, tolerance : float
        As for `Problem`.

    Examples
    --------
    >>> problem = Population(n=6, dimension=5).problem(seed=3)
    >>> problem.sample.n, problem.network.width, problem.seed
    (6, 16, 3)
    """

    n: int = 8
    dimension: int = 10
    width: int = 16
    kappa: float = 2.0
    sigma: float = 1.0
    separability: float | None = 0.0
    log_alpha: float = -8.0 * math.log(10.0)
    eta: float = 0.05
    tolerance: float = 1e-8

    def problem(self, seed: int) -> Problem:
        """The problem of a seed: its data, its network and its draws."""
        mixture = GaussianMixture(self.dimension, self.kappa, self.sigma)
        problem = Problem(
            mixture.sample(self.n, seed, separability=self.separability),
            Network.random(self.width, self.dimension, seed),
            self.log_alpha,
            eta=self.eta,
            mixture=mixture,
            seed=seed,
            tolerance=self.tolerance,
        )
        object.__setattr__(problem, "made_by", f"{self!r}.problem({seed})")
        return problem


@dataclass(frozen=True)
class Measured:
    """The left side of a statement, measured at some points of a problem.

    Parameters
    ----------
    value : array [k]
        What was measured.
    parameters : mapping of arrays [k] or numbers
        Quantities of the statement at the same points, by name.
    error : array [k] or number
        How far ``value`` may be off, absolute: the solver's estimate, or half an interval.
    where : mapping of arrays [k] or numbers
        What tells the points apart: time, neuron, label.
    how : str
        What measured it, in words.

    Examples
    --------
    >>> Measured([0.2, 0.9], {"psi_min": [0.1, 0.8]}, error=1e-8).value.shape
    (2,)
    """

    value: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    error: Any = 0.0
    where: Mapping[str, Any] = field(default_factory=dict)
    how: str = "gradient flow"

    def __post_init__(self) -> None:
        value = np.atleast_1d(np.asarray(self.value, dtype=np.float64)).ravel()
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "error", _spread(self.error, value.size))
        for name in ("parameters", "where"):
            spread = {k: _spread(v, value.size) for k, v in getattr(self, name).items()}
            object.__setattr__(self, name, spread)

    def at(self, chosen: NDArray[np.bool_]) -> Measured:
        """Some of the points."""
        return Measured(
            self.value[chosen],
            {name: array[chosen] for name, array in self.parameters.items()},
            self.error[chosen],
            {name: array[chosen] for name, array in self.where.items()},
            self.how,
        )

    @classmethod
    def joined(cls, parts: list[Measured]) -> Measured:
        """Several as one."""
        first = parts[0]
        return cls(
            np.concatenate([part.value for part in parts]),
            {k: np.concatenate([p.parameters[k] for p in parts]) for k in first.parameters},
            np.concatenate([part.error for part in parts]),
            {k: np.concatenate([part.where[k] for part in parts]) for k in first.where},
            first.how,
        )


def _require_label(label: int) -> None:
    if label not in CLASSES or isinstance(label, bool):
        raise ProblemError(f"label is {label!r}; the classes are 1 and -1")


def _spread(value: ArrayLike, size: int) -> FloatArray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64).ravel(), (size,)))
