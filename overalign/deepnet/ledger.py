"""What came of each cell of a group, epoch by epoch, and how it ended.

Torch is not needed here: the numbers are numpy's, and a ledger ends as an `xarray.Dataset`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .settings import Cell, Training

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FAILED", "OUTCOMES", "End", "Ledger", "Outcome"]

FloatArray: TypeAlias = NDArray[np.float64]
Outcome: TypeAlias = Literal["REACHED", "BUDGET", "STUCK", "DIVERGED"]
OUTCOMES: tuple[Outcome, ...] = ("REACHED", "BUDGET", "STUCK", "DIVERGED")
FAILED = "FAILED"  # of a cell whose group ended with an error

_TRAIN = ("train_accuracy", "train_risk", "logit_scale")
_TEST = ("test_accuracy", "test_risk")
_VALIDATION = ("validation_accuracy", "validation_risk")
_STUCK_ABOVE = 0.99  # of the risk at half of the budget


@dataclass
class End:
    """How the training of a cell ended."""

    outcome: Outcome
    reason: str
    epochs: int
    steps: int
    mechanism: dict[str, float] = field(default_factory=dict)


class Ledger:
    """Histories and ends of the cells of a group.

    Parameters
    ----------
    cells : sequence of Cell
    training : Training
    validated : bool
        Whether there is a validation set.

    Attributes
    ----------
    epochs : list of int
        At which is evaluated: 0, every so often, and the last.
    history : dict of ndarray
        [cells, evaluations], not a number where none was made.
    ends : dict
        By number of the cell, of those that have ended.
    """

    def __init__(self, cells: Sequence[Cell], training: Training, validated: bool) -> None:
        self.cells = tuple(cells)
        self.training = training
        self.epochs = [*range(0, training.epochs, training.evaluate_every), training.epochs]
        names = (*_TRAIN, *_TEST, *(_VALIDATION if validated else ()))
        shape = (len(self.cells), len(self.epochs))
        self.history: dict[str, FloatArray] = {name: np.full(shape, np.nan) for name in names}
        self.ends: dict[int, End] = {}
        self._noted: list[tuple[int, int]] = []  # cell and epoch of each evaluation, in order
        self._written = 0  # so many of them are in the history on disk

    # ------------------------------------------------------------ while training goes on

    def is_due(self, epoch: int) -> bool:
        """Whether there is an evaluation after this epoch."""
        return epoch % self.training.evaluate_every == 0 or epoch == self.training.epochs

    def _index(self, epoch: int) -> int:
        return -(-epoch // self.training.evaluate_every)

    def note(self, cell: int, epoch: int, measured: Mapping[str, float]) -> None:
        """Keep an evaluation.

        Parameters
        ----------
        cell : int
            Its number.
        epoch : int
        measured : mapping
            Of all names in ``history``. Where the training risk is not finite none of them is
            kept: the largest of outputs that are no numbers is no class.
        """
        if math.isfinite(measured["train_risk"]):
            for name, values in self.history.items():
                values[cell, self._index(epoch)] = measured[name]
        self._noted.append((cell, epoch))

    def end_of(self, cell: int, epoch: int, steps: int) -> End | None:
        """Whether and why training ends with the evaluation of this epoch.

        Parameters
        ----------
        cell : int
        epoch, steps : int
            Taken so far.

        Returns
        -------
        End or None
        """
        training, now = self.training, self._index(epoch)
        accuracy, risk = (float(self.history[name][cell, now]) for name in _TRAIN[:2])
        end: tuple[Outcome, str] | None = None
        if not math.isfinite(risk):
            end = "DIVERGED", f"The training risk was not finite after epoch {epoch}."
        elif training.stop_accuracy is not None and accuracy >= training.stop_accuracy:
            end = (
                "REACHED",
                f"The training accuracy reached {training.stop_accuracy:g} in epoch {epoch}.",
            )
        elif training.stop_risk is not None and risk <= training.stop_risk:
            end = "REACHED", f"The training risk fell to {training.stop_risk:g} in epoch {epoch}."
        elif (least := self._turned(cell, epoch)) is not None:
            end = (
                "REACHED" if least else "STUCK",
                f"The validation risk was least in epoch {least}, and not lower for "
                f"{epoch - least} epochs.",
            )
        elif epoch >= training.epochs:
            end = self._at_the_budget(cell, accuracy, risk)
        return None if end is None else End(*end, epoch, steps)

    def _turned(self, cell: int, epoch: int) -> int | None:
        """The epoch of the least validation risk, if that is as long ago as patience lasts."""
        if self.training.patience is None:
            return None
        risks = self.history["validation_risk"][cell, : self._index(epoch) + 1]
        least = self.epochs[int(np.where(np.isnan(risks), np.inf, risks).argmin())]
        return least if epoch - least >= self.training.patience else None

    def _at_the_budget(self, cell: int, accuracy: float, risk: float) -> tuple[Outcome, str]:
        budget = self.training.epochs
        half = self.epochs[budget // 2 // self.training.evaluate_every]
        before = float(self.history["train_risk"][cell, self._index(half)])
        if accuracy < 1.0 and risk > _STUCK_ABOVE * before:  # else it converged before the end
            return "STUCK", (
                f"All {budget} epochs were used, and since epoch {half} the training risk fell by "
                f"less than 1 %, from {before:.4g} to {risk:.4g}; its accuracy is {accuracy:.4g}."
            )
        return "BUDGET", (
            f"All {budget} epochs were used; the training accuracy is {accuracy:.4g}, the risk "
            f"{risk:.4g}."
        )

    def new_lines(self) -> list[str]:
        """Evaluations that were noted since the last call, as JSON, a line for each cell."""
        new, self._written = self._noted[self._written :], len(self._noted)
        return [self._line(cell, epoch) for cell, epoch in new]

    def _line(self, cell: int, epoch: int) -> str:
        measured = {name: values[cell, self._index(epoch)] for name, values in self.history.items()}
        known = {name: float(value) for name, value in measured.items() if math.isfinite(value)}
        line = {"cell": cell, **_coordinates(self.cells[cell]), "epoch": epoch, **known}
        return json.dumps(line) + "\n"

    # ------------------------------------------------------------ on disk

    def state(self) -> dict[str, Any]:
        """All that is kept; numpy arrays, numbers, strings, and lists and dicts of them."""
        ends = {cell: vars(end) for cell, end in self.ends.items()}
        return {"history": self.history, "ends": ends, "noted": list(self._noted)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; all of it counts as new to `new_lines`."""
        self.history = {name: state["history"][name].copy() for name in self.history}
        self.ends = {cell: End(**end) for cell, end in state["ends"].items()}
        self._noted, self._written = [(cell, epoch) for cell, epoch in state["noted"]], 0

    # ------------------------------------------------------------ at the end

    def dataset(self) -> xr.Dataset:
        """The table of a group all of whose cells have ended; see `overalign.deepnet.train`."""
        import xarray as xr

        ends = [self.ends[cell] for cell in range(len(self.cells))]
        last = self._index(max(end.epochs for end in ends))
        columns: dict[str, Any] = {
            name: np.array([getattr(end, name) for end in ends])
            for name in ("outcome", "reason", "epochs", "steps")
        }
        columns |= self._at_the_stop(ends) | self._at_the_best()
        for name in ends[0].mechanism:
            columns[name] = np.array([end.mechanism[name] for end in ends])
        variables: dict[str, Any] = {
            name: ("cell", values, self._described(name)) for name, values in columns.items()
        }
        for name, values in self.history.items():
            described = self._described(name)
            variables[f"{name}_history"] = (("cell", "epoch"), values[:, : last + 1], described)
        axes: dict[str, Any] = {
            name: ("cell", [_coordinates(cell)[name] for cell in self.cells], self._described(name))
            for name in ("log2_output_multiplier", "learning_rate")
        }
        epoch = ("epoch", np.array(self.epochs[: last + 1]), self._described("epoch"))
        return xr.Dataset(variables, coords=axes | {"epoch": epoch})

    def _described(self, name: str) -> dict[str, str]:
        text, units = _DESCRIBED.get(name, (name.replace("_", " "), "1"))
        _, step_size = self.training.step_rule()
        return {"long_name": text.format(step_size=step_size), "units": units}

    def _at_the_stop(self, ends: Sequence[End]) -> dict[str, FloatArray]:
        rows = np.arange(len(ends))
        stops = np.array([self._index(end.epochs) for end in ends])
        return {name: values[rows, stops] for name, values in self.history.items()}

    def _at_the_best(self) -> dict[str, FloatArray]:
        """Quantities at the epochs of the best test accuracy, and of the least validation risk."""
        epochs = np.array(self.epochs, dtype=float)
        test, where = self.history["test_accuracy"], _first_of_largest
        peak = where(test)
        columns = {
            "test_accuracy_peak": _taken(test, peak),
            "epoch_peak": _taken(np.broadcast_to(epochs, test.shape), peak),
        }
        if "validation_risk" in self.history:
            least = where(-self.history["validation_risk"])
            columns |= {
                "validation_risk_stop_epoch": _taken(np.broadcast_to(epochs, test.shape), least),
                "validation_risk_stop_test_accuracy": _taken(test, least),
            }
        return columns


def _first_of_largest(values: FloatArray) -> NDArray[np.int64]:
    """Index in each row, -1 where there is no number."""
    index = np.where(np.isnan(values), -np.inf, values).argmax(axis=1)
    return np.where(np.isnan(values).all(axis=1), -1, index)


def _taken(values: FloatArray, index: NDArray[np.int64]) -> FloatArray:
    taken = values[np.arange(len(index)), index]
    return np.where(index < 0, np.nan, taken)


def _coordinates(cell: Cell) -> dict[str, float]:
    return {
        "log2_output_multiplier": cell.log2_output_multiplier,
        "learning_rate": cell.learning_rate,
    }


_DESCRIBED = {
    "log2_output_multiplier": ("binary logarithm of the output multiplier c", "1"),
    "learning_rate": ("learning rate lr; the step size is {step_size}", "1"),
    "epoch": ("epochs trained", "epoch"),
    "outcome": ("why training ended", "1"),
    "reason": ("why training ended, in words", "1"),
    "epochs": ("epochs at the stop", "epoch"),
    "steps": ("steps at the stop", "step"),
    "train_accuracy": ("accuracy on the training set", "1"),
    "train_risk": ("mean loss of c f on the training set", "loss"),
    "test_accuracy": ("accuracy on the test set", "1"),
    "test_risk": ("mean loss of c f on the test set", "loss"),
    "validation_accuracy": ("accuracy on the validation set", "1"),
    "validation_risk": ("mean loss of c f on the validation set", "loss"),
    "logit_scale": ("root mean square of c f minus its mean over classes, training set", "1"),
    "test_accuracy_peak": ("largest test accuracy up to the stop", "1"),
    "epoch_peak": ("epoch of the largest test accuracy", "epoch"),
    "validation_risk_stop_epoch": ("epoch of the least validation risk up to the stop", "epoch"),
    "validation_risk_stop_test_accuracy": ("test accuracy at the least validation risk", "1"),
}
