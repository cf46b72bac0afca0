"""Training networks that differ in output multiplier and step size, and nothing else.

All cells of a group share data, initial weights and batches, so that their differences are due to
the cell alone. They are trained in one stack where the network allows it (`learners`), each until
it has ended by itself; what is left of the stack goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ProblemError
from .batches import batches, loss_of
from .checkpoints import Checkpoint
from .images import ImageData, Images
from .learners import Learner, learner_of, why_not_stackable
from .ledger import End, Ledger
from .mechanism import MECHANISM, Mechanism
from .optimisers import optimiser_of
from .scaling import scaled_learning_rate
from .seeds import Purpose, initialised, torch_stream
from .settings import Cell, Training

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["evaluate", "require_device", "train"]


def train(
    make_model: Callable[[], nn.Module],
    data: ImageData,
    cells: Sequence[Cell],
    training: Training,
    seed: int,
    *,
    stacked: bool | None = None,
    measure: bool = True,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Train one network for each cell, from the same weights on the same batches.

    Cell c trains c f by plain steps of `scaled_learning_rate` on the mean loss over batches. After
    every ``evaluate_every`` epochs, at the start and at the end of the budget, c f is evaluated on
    the whole training set, the test set, and the validation set if there is one. Training ends
    there when a target is reached, or when the loss is not finite any more. A validation set does
    not end training: what stopping at the least validation risk would have given is read off the
    history up to the end.

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
    measure : bool
        Measure the mechanism (`Mechanism`) of every network at its end.
    checkpoint : Checkpoint, optional
        Where training is kept on its way, and gone on from.

    Returns
    -------
    xarray.Dataset
        Along ``cell``: ``outcome`` ("REACHED", a target; "BUDGET"; "STUCK": the budget was used and
        the training risk at its end is above 0.99 of that at its half; "DIVERGED") with ``reason``
        in words, ``epochs`` and ``steps`` at the stop; ``train_accuracy``, ``train_risk``,
        ``test_accuracy``, ``test_risk``, ``logit_scale`` (root mean square of c f minus its mean
        over classes, on the training set) at the stop, not a number where training diverged;
        ``test_accuracy_peak`` and ``epoch_peak``; with a validation set ``validation_accuracy``,
        ``validation_risk``, ``validation_risk_stop_epoch``, and
        ``validation_risk_stop_test_accuracy``; and what `Mechanism` measures. Along ``cell`` and
        ``epoch`` the same as ``*_history``, not a number where nothing was evaluated; the epochs
        go to the last of any cell.

    Raises
    ------
    ProblemError
        No such device; networks that cannot be stacked; vectors that are to be augmented; or a
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
    setup = _Setup.of(make_model, data, cells, training, seed)
    if stacked is None:
        stacked = not why_not_stackable(setup.template)
    numbers = range(len(cells))
    parts = [list(numbers)] if stacked else [[number] for number in numbers]
    ledger = Ledger(cells, training, data.validation is not None)
    mechanism = Mechanism(setup.template, setup.data, seed) if measure else None
    record = _Record(checkpoint, ledger, setup.identity(parts))
    state = record.resumed()
    for part in parts:
        if all(cell in ledger.ends for cell in part):
            continue
        course = _Course(setup, ledger, part, mechanism)
        if state is not None and set(state["members"]) <= set(part):
            course.load(state)
        else:
            course.look()
        while course.members:
            course.advance()
            record.keep(course)
    record.close()
    return ledger.dataset()


# ---------------------------------------------------------------- the loop


@dataclass(frozen=True)
class _Setup:
    """What all networks of a group share, on the device."""

    template: nn.Module
    data: ImageData
    cells: tuple[Cell, ...]
    training: Training
    seed: int

    @classmethod
    def of(
        cls,
        make_model: Callable[[], nn.Module],
        data: ImageData,
        cells: Sequence[Cell],
        training: Training,
        seed: int,
    ) -> _Setup:
        if not cells:
            raise ProblemError("there is no cell to train; give at least one")
        device = require_device(training.device)
        template = initialised(make_model, seed).to(device, _dtype(training)).train()
        return cls(template, data.to(device), tuple(cells), training, seed)

    @property
    def device(self) -> torch.device:
        return torch.device(self.training.device)

    def tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=_dtype(self.training), device=self.device)

    def multipliers(self, members: Sequence[int]) -> Tensor:
        """c of these cells; [members]."""
        return self.tensor([self.cells[member].output_multiplier for member in members])

    def rates(self, members: Sequence[int]) -> Tensor:
        """Step sizes of these cells; [members]."""
        degree = self.training.homogeneous_degree
        cells = [self.cells[member] for member in members]
        return self.tensor(
            [scaled_learning_rate(c.learning_rate, c.output_multiplier, degree) for c in cells]
        )

    def identity(self, parts: Sequence[Sequence[int]]) -> str:
        """What tells one training from another, as far as it can be told without the data."""
        sizes = [tuple(p.shape) for p in self.template.parameters()]
        return repr((self.cells, self.training, self.seed, parts, sizes, len(self.data.train)))


class _Course:
    """Networks that go through the same batches, until the last of them has ended."""

    def __init__(
        self,
        setup: _Setup,
        ledger: Ledger,
        members: Sequence[int],
        mechanism: Mechanism | None,
    ) -> None:
        self.setup, self.ledger, self.mechanism = setup, ledger, mechanism
        self.epoch = self.steps = 0
        self._loss = loss_of(setup.training)
        self._begin(members)

    def _begin(self, members: Sequence[int]) -> None:
        self.members = list(members)
        self._learner = learner_of(self.setup.template, len(self.members))
        self._multipliers = self.setup.multipliers(self.members)
        self._optimiser = optimiser_of(self.setup.training, self.setup.rates(self.members))

    def advance(self) -> None:
        """One epoch, and a look if one is due."""
        setup = self.setup
        self.epoch += 1
        is_sound = torch.ones_like(self._multipliers, dtype=torch.bool)
        with _seeded(setup.seed, self.epoch, self._multipliers.device):
            for raw, y in batches(setup.data.train, setup.training, setup.seed, self.epoch):
                x = setup.data.normalised(raw, self._multipliers.dtype)
                losses, gradients = self._learner.gradients(x, partial(self._losses, y=y))
                self._optimiser.step(self._learner.parameters, gradients)
                is_sound &= losses.isfinite()
                self.steps += 1
        ends = {
            cell: End("DIVERGED", f"The loss was not finite in epoch {self.epoch}.", self.epoch,
                      self.steps)
            for cell, sound in zip(self.members, is_sound.tolist(), strict=True)
            if not sound
        }  # fmt: skip
        self._leave(ends)
        if self.members and self.ledger.is_due(self.epoch):
            self.look()

    def _losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self._loss(self._multipliers[:, None, None] * outputs, y).mean(1)

    def look(self) -> None:
        """Evaluate all networks; those whose training is over leave."""
        data, names = self.setup.data, ("train", "test", "validation")
        sets = {name: images for name in names if (images := getattr(data, name)) is not None}
        columns: dict[str, list[float]] = {}
        for name, images in sets.items():
            found = evaluate(self._learner, images, data, self._multipliers, self.setup.training)
            columns |= {f"{name}_{key}": values.tolist() for key, values in found.items()}
        columns["logit_scale"] = columns["train_logit_scale"]
        ends = {}
        for row, cell in enumerate(self.members):
            self.ledger.note(
                cell, self.epoch, {key: column[row] for key, column in columns.items()}
            )
            if (end := self.ledger.end_of(cell, self.epoch, self.steps)) is not None:
                ends[cell] = end
        self._leave(ends)

    def _leave(self, ends: dict[int, End]) -> None:
        """Measure and write down those that have ended; the others go on."""
        for cell, end in ends.items():
            if self.mechanism is not None:
                end.mechanism = self._measured(cell, end, self.mechanism)
            self.ledger.ends[cell] = end
        left = [row for row, cell in enumerate(self.members) if cell not in ends]
        if ends and left:
            rows = torch.tensor(left, device=self._multipliers.device)
            self._learner = self._learner.kept(rows)
            self._optimiser.keep(rows)
            self._multipliers = self._multipliers[rows]
        self.members = [self.members[row] for row in left]

    def _measured(self, cell: int, end: End, mechanism: Mechanism) -> dict[str, float]:
        if end.outcome == "DIVERGED":
            return dict.fromkeys(MECHANISM, float("nan"))
        found = mechanism.measure(self._learner.module(self.members.index(cell)))
        return {name: float(found[name]) for name in MECHANISM}

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, beside the setup."""
        return {
            "members": self.members,
            "epoch": self.epoch,
            "steps": self.steps,
            "learner": self._learner.state(),
            "optimiser": self._optimiser.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._begin(state["members"])
        self.epoch, self.steps = state["epoch"], state["steps"]
        self._learner.load(state["learner"])
        self._optimiser.load(state["optimiser"])


@dataclass(frozen=True)
class _Record:
    """Keeps ledger and course where a checkpoint says, if there is one."""

    checkpoint: Checkpoint | None
    ledger: Ledger
    identity: str

    def resumed(self) -> dict[str, Any] | None:
        """State of a course that was cut off; the ledger then holds what had come of it."""
        if self.checkpoint is None:
            return None
        kept = self.checkpoint.load(self.identity)
        if kept is not None:
            self.ledger.load(kept["ledger"])
        self.checkpoint.begin_history(self.ledger.new_lines())
        return None if kept is None else dict(kept["course"])

    def keep(self, course: _Course) -> None:
        """After an epoch."""
        if self.checkpoint is None:
            return
        self.checkpoint.log(self.ledger.new_lines())
        if self.checkpoint.is_due():
            ledger = self.ledger.state()
            ledger["history"] = {k: torch.from_numpy(v) for k, v in ledger["history"].items()}
            self.checkpoint.save(self.identity, {"ledger": ledger, "course": course.state()})

    def close(self) -> None:
        """After the end."""
        if self.checkpoint is not None:
            self.checkpoint.log(self.ledger.new_lines())
            self.checkpoint.remove()


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators for modules that draw from them (dropout), left as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(torch_stream(seed, Purpose.AUGMENTATION, epoch).initial_seed())
        yield


def evaluate(
    learner: Learner, images: Images, data: ImageData, multipliers: Tensor, training: Training
) -> dict[str, Tensor]:
    """Accuracy, risk and scale of c f on a set of images, in evaluation mode.

    Parameters
    ----------
    learner : Learner
    images : Images
    data : ImageData
        Knows how they are normalised.
    multipliers : Tensor
        c of each network; [networks].
    training : Training
        Its loss.

    Returns
    -------
    dict of Tensor
        ``accuracy``, ``risk``, ``logit_scale``; float64 [networks].
    """
    loss = loss_of(training)
    sums = torch.zeros(3, len(multipliers), dtype=torch.float64, device=multipliers.device)
    # small enough for a processor's cache; a graphics card wants more to do at once
    rows = 256 if multipliers.device.type == "cpu" else 1024
    for x, y in zip(torch.split(images.x, rows), torch.split(images.y, rows), strict=True):
        f = multipliers[:, None, None] * learner.outputs(data.normalised(x, multipliers.dtype))
        centred = f - f.mean(2, keepdim=True)
        sums[0] += (f.argmax(2) == y).sum(1)
        sums[1] += loss(f, y).sum(1, dtype=torch.float64)
        sums[2] += centred.square().mean(2).sum(1, dtype=torch.float64)
    accuracy, risk, square = sums / len(images)
    return {"accuracy": accuracy, "risk": risk, "logit_scale": square.sqrt()}


def _dtype(training: Training) -> torch.dtype:
    return torch.float64 if training.precision == "float64" else torch.float32


def require_device(name: str) -> torch.device:
    """The device of that name.

    Raises
    ------
    ProblemError
        There is none here, or it is neither the processor nor a card of NVIDIA.

    Examples
    --------
    >>> from overalign.deepnet.training import require_device
    >>> require_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ProblemError(f"device is {name!r}; give 'cpu', 'cuda' or 'cuda:N'")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"{count} CUDA device(s) here" if count else "no CUDA device that torch can use"
            raise ProblemError(
                f"device is {name!r}, and there is {found} (torch {torch.__version__}); set "
                "device = 'cpu', or install a driver and a torch built for CUDA"
            )
    return device
