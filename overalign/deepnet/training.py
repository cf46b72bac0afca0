"""Training networks that differ in output multiplier and step size, and nothing else.

All cells of a group share data, initial weights and batches, so that their differences are due to
the cell alone. They are trained in one stack where the network allows it (`learners`), each until
it has ended by itself; what is left of the stack goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ProblemError
from .checkpoints import Checkpoint
from .course import Course, Setup
from .images import ImageData
from .learners import why_not_stackable
from .ledger import Ledger
from .mechanism import Mechanism
from .settings import Cell, Training

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Checkpoint", "train"]


def train(
    make_model: Callable[[], nn.Module],
    data: ImageData,
    cells: Sequence[Cell],
    training: Training,
    seed: int,
    *,
    stacked: bool | None = None,
    mechanism: Callable[[], Mechanism] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Train one network for each cell, from the same weights on the same batches.

    Cell c trains c f by steps on the mean loss over batches, as `Training` says. After every
    ``evaluate_every`` epochs, at the start and at the end of the budget, c f is evaluated on the
    whole training set, the test set, and the validation set if there is one. Training ends there
    when a target is reached, when the loss is not finite any more, or, with `Training.patience`,
    when the validation risk has turned. What stopping at the least validation risk would have given
    is read off the history up to the end.

    Parameters
    ----------
    make_model : callable
        Makes f with torch's own initialisers; called once, seeded.
    data : ImageData
    cells : sequence of Cell
    training : Training
    seed : int
        Decides initial weights, batches and augmentation.
    stacked : bool, optional
        Train all cells in one stack, or one after the other; in a stack where the network can be
        stacked unless given. The results agree to rounding.
    mechanism : callable, optional
        Gives what measures these networks, asked once: for callers that keep it for several
        calls. Made of the network at its start and the data unless given.
    checkpoint : Checkpoint, optional
        Where training is kept on its way, and gone on from. What came of it stays there: a second
        call gives the same table without training.

    Returns
    -------
    xarray.Dataset
        Along ``cell``: ``outcome`` ("REACHED", a target, or the turn of a validation risk that had
        fallen; "BUDGET"; "STUCK": the budget was used and the training risk at its end is above
        0.99 of that at its half, and the accuracy below 1, or the validation risk never fell;
        "DIVERGED") with ``reason`` in words, ``epochs`` and ``steps`` at the stop;
        ``train_accuracy``, ``train_risk``, ``test_accuracy``, ``test_risk``, ``logit_scale`` (root
        mean square of c f minus its mean over classes, on the training set) at the stop, not a
        number where training diverged; ``test_accuracy_peak`` and ``epoch_peak``; with a validation
        set ``validation_accuracy``, ``validation_risk``, ``validation_risk_stop_epoch``, and
        ``validation_risk_stop_test_accuracy``; and, unless ``training.mechanism`` is False, what
        `Mechanism` measures. Along ``cell`` and ``epoch`` the same as ``*_history``, not a number
        where nothing was evaluated; the epochs go to the last of any cell.

    Raises
    ------
    ConfigError, ProblemError
        Settings that mean nothing (`Training.check`); no such device; networks that cannot be
        copied, or not be stacked where that is asked for; vectors that are to be augmented; or a
        step size that is not finite.
    OutputError
        The checkpoint cannot be written, or is one of another training.

    Examples
    --------
    >>> from overalign.deepnet.images import read_images
    >>> from overalign.deepnet.models import build_model
    >>> from overalign.deepnet.settings import Architecture, Cell, Task, Training
    >>> from overalign.deepnet.training import train
    >>> data = read_images(Task(n=100, held_out=100), seed=0)
    >>> cells = [Cell(log2_output_multiplier=log2_c, learning_rate=0.1) for log2_c in (-4.0, 0.0)]
    >>> run = train(
    ...     lambda: build_model(Architecture(width=16), data.shape, data.classes),
    ...     data,
    ...     cells,
    ...     Training(epochs=30),
    ...     seed=0,
    ... )
    >>> run.train_accuracy.dims, run.test_accuracy_history.dims
    (('cell',), ('cell', 'epoch'))
    """
    setup = Setup.of(make_model, data, cells, training, seed)
    _require_copies(setup.template)
    parts = _parts(setup, stacked)
    ledger = Ledger(cells, setup.training, data.validation is not None)
    make = mechanism or partial(Mechanism, setup.template, setup.data, seed)
    measure = make() if setup.training.mechanism else None
    record = _Record(checkpoint, ledger, setup.identity(parts))
    state = record.resumed()
    for part in parts:
        if all(cell in ledger.ends for cell in part):
            continue
        course = Course(setup, ledger, part, measure)
        if state is not None and set(state["members"]) <= set(part):
            course.load(state)
        else:
            course.look()
        while course.members:
            course.advance()
            record.keep(course)
    record.close()
    return ledger.dataset()


def _require_copies(module: nn.Module) -> None:
    try:
        copy.deepcopy(module)
    except RuntimeError as error:  # of torch, which copies no tensor that was computed
        raise ProblemError(
            f"the network cannot be copied ({error}). Every cell starts from a copy: let the "
            "network hold parameters and buffers only (of the weight_norm of torch.nn.utils take "
            "that in its parametrizations)"
        ) from error


def _parts(setup: Setup, stacked: bool | None) -> list[list[int]]:
    """Numbers of the cells that are trained together."""
    numbers = list(range(len(setup.cells)))
    if stacked is False or len(numbers) == 1:
        return [[number] for number in numbers]
    reason = why_not_stackable(setup.template, setup.inputs(setup.sets["train"].x[:2]))
    if reason and stacked:
        raise ProblemError(f"these networks cannot be stacked: {reason}. Train them one by one")
    return [[number] for number in numbers] if reason else [numbers]


@dataclass(frozen=True)
class _Record:
    """Keeps ledger and course where a checkpoint says, if there is one."""

    checkpoint: Checkpoint | None
    ledger: Ledger
    identity: str

    def resumed(self) -> dict[str, Any] | None:
        """State of a course that was cut off; the ledger holds what had come of this and others."""
        if self.checkpoint is None:
            return None
        kept = self.checkpoint.load(self.identity)
        if kept is not None:
            history = {name: each.numpy() for name, each in kept["ledger"]["history"].items()}
            self.ledger.load(kept["ledger"] | {"history": history})
        self.checkpoint.begin_history(self.ledger.new_lines())
        return None if kept is None else kept["course"]

    def keep(self, course: Course) -> None:
        """After an epoch."""
        if self.checkpoint is None:
            return
        self.checkpoint.log(self.ledger.new_lines())
        if self.checkpoint.is_due():
            # the next course begins anew where this one has ended
            self._save(self.checkpoint, course.state() if course.members else None)

    def close(self) -> None:
        """After the end: what came of all cells stays, should the caller be killed with it."""
        if self.checkpoint is not None:
            self.checkpoint.log(self.ledger.new_lines())
            self._save(self.checkpoint, None)

    def _save(self, checkpoint: Checkpoint, course: dict[str, Any] | None) -> None:
        ledger = self.ledger.state()
        history = {name: torch.from_numpy(each) for name, each in ledger["history"].items()}
        checkpoint.save(self.identity, {"ledger": ledger | {"history": history}, "course": course})
