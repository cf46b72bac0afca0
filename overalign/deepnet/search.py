"""The best output multiplier for a network of one's own, within a budget of trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from ..errors import ProblemError
from ..optimum import over_sets
from .settings import Cell, Training
from .statistics import trained

if TYPE_CHECKING:
    from torch import nn

    from .images import ImageData

__all__ = ["OutputMultiplierSearch", "SearchResult", "Trial", "find_output_multiplier"]

FEWEST_SEEDS = 4  # intervals over fewer are too wide to end a search by


class Trial(NamedTuple):
    """A network to train: log2 c, and the number of the seed.

    Examples
    --------
    >>> Trial(-4.0, 0).log2_output_multiplier
    -4.0
    """

    log2_output_multiplier: float
    seed: int


class OutputMultiplierSearch:
    """Which output multipliers to try next: a coarse grid, then ever closer around the best.

    Whoever trains asks for trials and tells what came out, in any order. The grid is in log2 c;
    around the best mean over the seeds its spacing is halved until the resolution is reached, the
    budget is used up, or the noise decides: with four seeds or more there is no use in a closer
    look where neither neighbour of the best can be told from it (95 % Student intervals of the
    differences within seeds).

    Parameters
    ----------
    low, high : float
        Range of log2 c.
    coarse : int
        Points of the first grid.
    resolution : float
        Smallest spacing in log2 c.
    seeds : int
        Trials at every c.
    budget : int, optional
        Trials in all; no bound unless given.

    Raises
    ------
    ProblemError
        A range or number that means nothing, or a budget below the first grid.

    Examples
    --------
    >>> search = OutputMultiplierSearch(-10, 2)
    >>> while not search.is_done:
    ...     for trial in search.ask():
    ...         search.tell(trial, -((trial.log2_output_multiplier + 5.6) ** 2))
    >>> search.best, search.trainings, search.reason
    (-5.5, 11, 'the resolution is reached')
    """

    def __init__(
        self,
        low: float = -10.0,
        high: float = 2.0,
        coarse: int = 7,
        *,
        resolution: float = 0.5,
        seeds: int = 1,
        budget: int | None = None,
    ) -> None:
        if not -math.inf < low < high < math.inf or resolution <= 0.0:
            raise ProblemError(
                f"the search goes from 2^{low:g} to 2^{high:g} with resolution {resolution:g}; "
                "give low < high and a positive resolution"
            )
        if coarse < 3 or seeds < 1:
            raise ProblemError(
                f"coarse is {coarse} and seeds is {seeds}; give at least 3 points and 1 seed"
            )
        if budget is not None and budget < coarse * seeds:
            raise ProblemError(
                f"a budget of {budget} trainings is less than the first grid: {coarse} points on "
                f"{seeds} seed(s) take {coarse * seeds}; raise it, or lower coarse or seeds"
            )
        self._resolution = resolution
        self._seeds, self._budget = seeds, budget
        grid = [float(place) for place in np.linspace(low, high, coarse)]
        self._spacing = (high - low) / (coarse - 1)
        self._to_ask: list[Trial] = []
        self._asked: set[Trial] = set()
        self._values: dict[Trial, float] = {}
        self._reason = ""
        self._enqueue(*grid)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to ask."""
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Why the search is over; empty while it is not."""
        return self._reason

    @property
    def trainings(self) -> int:
        """Number of trials that were told."""
        return len(self._values)

    @property
    def trials(self) -> dict[Trial, float]:
        """What was told, in that order."""
        return dict(self._values)

    @property
    def best(self) -> float | None:
        """The log2 c of the highest mean of those of which every seed came out; None if none did.

        Of equals the largest, which trains fastest.
        """
        places = {trial.log2_output_multiplier for trial in self._values}
        scores = {place: score for place in places if math.isfinite(score := self.mean(place))}
        return max(scores, key=lambda place: (scores[place], place), default=None)

    def mean(self, log2_c: float) -> float:
        """Mean value at one c; not a number before all its seeds are told, or if one failed."""
        return float(self._at(log2_c).mean())

    def ask(self, count: int | None = None) -> tuple[Trial, ...]:
        """Trials to do next.

        Parameters
        ----------
        count : int, optional
            At most so many; all that do not wait for others unless given.

        Returns
        -------
        tuple of Trial
            Each is handed out once. Empty when the search is done, or waits to be told.
        """
        trials = self._to_ask[:count]
        del self._to_ask[:count]
        self._asked.update(trials)
        return tuple(trials)

    def tell(self, trial: Trial, value: float) -> None:
        """Say what came out.

        Parameters
        ----------
        trial : Trial
            As it was handed out.
        value : float
            More is better. Not a number, or infinite: it failed, and so does this c.

        Raises
        ------
        ProblemError
            The trial was not asked for, or was told before.
        """
        if trial not in self._asked or trial in self._values:
            how = "told before" if trial in self._values else "not asked for"
            raise ProblemError(f"{trial} was {how}; tell each trial of ask() once")
        self._values[trial] = value if math.isfinite(value) else math.nan
        if not self._to_ask and len(self._values) == len(self._asked):
            self._go_on()

    def _at(self, log2_c: float) -> np.ndarray:
        trials = [Trial(log2_c, seed) for seed in range(self._seeds)]
        return np.array([self._values.get(trial, math.nan) for trial in trials])

    def _enqueue(self, *places: float) -> None:
        self._to_ask = [Trial(place, seed) for seed in range(self._seeds) for place in places]

    def _go_on(self) -> None:
        """All that was asked is told: look closer around the best, or end."""
        best, closer = self.best, 0.5 * self._spacing
        if best is None:
            self._reason = "no network trained at any output multiplier"
        elif closer < self._resolution:
            self._reason = "the resolution is reached"
        elif self._neighbours_are_as_good(best):
            self._reason = f"the neighbours at 2^{self._spacing:g} cannot be told from the best"
        else:
            places = [0.5 * (best + neighbour) for neighbour in self._neighbours(best)]
            cost = len(places) * self._seeds
            if self._budget is not None and self.trainings + cost > self._budget:
                self._reason = "the budget is used up"
            else:
                self._spacing = closer
                self._enqueue(*places)

    def _neighbours_are_as_good(self, best: float) -> bool:
        if self._seeds < FEWEST_SEEDS:
            return False
        near = self._neighbours(best)
        return not any(_differs(self._at(best) - self._at(place)) for place in near)

    def _neighbours(self, best: float) -> list[float]:
        """The places next to the best among those told: one at an end of the range."""
        places = sorted({trial.log2_output_multiplier for trial in self._values})
        at = places.index(best)
        return places[max(at - 1, 0) : at] + places[at + 1 : at + 2]


def _differs(differences: np.ndarray) -> bool:
    """Whether the Student interval of the mean leaves 0 out; a failed trial differs."""
    import xarray as xr

    if not np.isfinite(differences).all():
        return True
    _, low, high = over_sets(xr.DataArray(differences, dims="set")).values
    return not low <= 0.0 <= high


# ---------------------------------------------------------------- networks


@dataclass(frozen=True)
class SearchResult:
    """The best output multiplier that was found.

    Attributes
    ----------
    log2_output_multiplier : float
    validation_accuracy : float
        Mean over the seeds, at the stop; the largest of those looked at, so it flatters.
    trials : tuple of (Trial, float)
        Validation accuracies; not a number where the network did not train: it missed its target
        or, without one, diverged or was stuck.
    reason : str
        Why the search ended.

    Examples
    --------
    >>> SearchResult(-4.0, 0.8, ((Trial(-4.0, 0), 0.8),), "the budget is used up").output_multiplier
    0.0625
    """

    log2_output_multiplier: float
    validation_accuracy: float
    trials: tuple[tuple[Trial, float], ...]
    reason: str

    @property
    def output_multiplier(self) -> float:
        """The output multiplier c."""
        return float(2.0**self.log2_output_multiplier)

    @property
    def is_at_end(self) -> bool:
        """Whether it is the smallest or the largest of the range: a better one may lie beyond."""
        tried = [trial.log2_output_multiplier for trial, _ in self.trials]
        return self.log2_output_multiplier in (min(tried), max(tried))

    def __str__(self) -> str:
        end = " It is an end of the range; a better one may lie beyond." if self.is_at_end else ""
        failed = sum(math.isnan(value) for _, value in self.trials)
        return (
            f"Best output multiplier: c = 2^{self.log2_output_multiplier:g}, validation accuracy "
            f"{self.validation_accuracy:.4f}, after {len(self.trials)} trainings ({failed} missed "
            f"their target, or were stuck): {self.reason}.{end}"
        )


def find_output_multiplier(
    make_model: Callable[[], nn.Module],
    data: ImageData,
    *,
    budget: int = 24,
    learning_rate: float = 0.01,
    training: Training | None = None,
    low: float = -10.0,
    high: float = 2.0,
    seeds: int = 2,
    seed: int = 0,
) -> SearchResult:
    """Search for the output multiplier of the highest validation accuracy.

    Networks are compared if they are `overalign.deepnet.statistics.trained`: they reached their
    target, or there is none and they went through all epochs without being stuck.

    Parameters
    ----------
    make_model : callable
        Makes the network, any torch module, with torch's own initialisers.
    data : ImageData
        With validation images: the choice does not see the test set.
    budget : int
        Most networks to train.
    learning_rate : float
        lr, of which `Training.step_rule` makes the step size.
    training : Training, optional
        Its default, the paper's protocol, unless given.
    low, high : float
        Range of log2 c.
    seeds : int
        Initial weights at every c, the same for all c.
    seed : int
        The first of them.

    Returns
    -------
    SearchResult

    Raises
    ------
    ProblemError
        There are no validation images; the budget is below the first grid; no network trained; or
        as `overalign.deepnet.training.train`.

    Examples
    --------
    >>> from overalign.deepnet.images import read_images
    >>> from overalign.deepnet.models import build_model
    >>> from overalign.deepnet.settings import Architecture, Task
    >>> data = read_images(Task(n=60, held_out=20, validation=200), seed=0)
    >>> found = find_output_multiplier(
    ...     lambda: build_model(Architecture(width=32), data.shape, data.classes),
    ...     data,
    ...     budget=9,
    ...     seeds=1,
    ...     learning_rate=1.0,
    ...     training=Training(epochs=40, batch_size=None, evaluate_every=10),
    ... )
    >>> len(found.trials)
    9
    """
    from .training import train

    if data.validation is None:
        raise ProblemError(
            "the data have no validation images to choose by; read them with "
            "Task(..., validation=500), or put ImageData(validation=...) together"
        )
    settings = replace(training or Training(), mechanism=False)
    recorded = json.dumps({"training": msgspec.to_builtins(settings)})
    search = OutputMultiplierSearch(low, high, seeds=seeds, budget=budget)
    said = ""
    while not search.is_done:
        trials = search.ask()
        for number in sorted({trial.seed for trial in trials}):
            group = [trial for trial in trials if trial.seed == number]
            cells = [
                Cell(
                    log2_output_multiplier=trial.log2_output_multiplier,
                    learning_rate=learning_rate,
                )
                for trial in group
            ]
            run = train(make_model, data, cells, settings, seed + number)
            is_trained = trained(run.assign_attrs(settings=recorded))
            values = run["validation_accuracy"].where(is_trained).values
            said = str(run["reason"].values[0])
            for trial, value in zip(group, values, strict=True):
                search.tell(trial, float(value))
    if search.best is None:
        raise ProblemError(
            f"no network trained between c = 2^{low:g} and 2^{high:g} ({said}); change the "
            "learning rate, raise the epochs, or lower the target"
        )
    trials_told = tuple(search.trials.items())
    return SearchResult(search.best, search.mean(search.best), trials_told, search.reason)
