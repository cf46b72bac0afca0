"""Networks on their way through the epochs: the one loop that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import ProblemError
from .batches import LossOf, batches, loss_of
from .images import ImageData, Images
from .learners import Learner, learner_of
from .ledger import End, Ledger
from .mechanism import MECHANISM, Mechanism
from .optimisers import optimiser_of
from .scaling import scaled_learning_rate
from .seeds import Purpose, initialised, torch_stream
from .settings import NO_VALIDATION, Cell, Training

__all__ = ["Course", "Setup", "dtype_of", "evaluate", "require_device"]

_SMALL = 2**24  # numbers, in all sets together: they are normalised once


@dataclass(frozen=True)
class Setup:
    """What all networks of a group share, on the device.

    Parameters
    ----------
    template : nn.Module
        As all of them start.
    data : ImageData
    cells : tuple of Cell
    training : Training
    seed : int
    sets : dict of Images
        "train", "test" and, if there is one, "validation": of small data, the normalised inputs.
    inputs : callable
        Normalises what ``sets`` holds, if that is left to do.
    """

    template: nn.Module
    data: ImageData
    cells: tuple[Cell, ...]
    training: Training
    seed: int
    sets: dict[str, Images]
    inputs: Callable[[Tensor], Tensor]

    @classmethod
    def of(
        cls,
        make_model: Callable[[], nn.Module],
        data: ImageData,
        cells: Sequence[Cell],
        training: Training,
        seed: int,
    ) -> Setup:
        """Make the network and bring all to the device; arguments as `overalign.deepnet.train`."""
        if not cells:
            raise ProblemError("there is no cell to train; give at least one")
        training = training.check()
        if training.patience is not None and data.validation is None:
            raise ProblemError(NO_VALIDATION)
        device = require_device(training.device)
        dtype = dtype_of(training.precision)
        template = initialised(make_model, seed).to(device, dtype).train()
        data = data.to(device)
        names = ("train", "test", "validation")
        sets = {name: images for name in names if (images := getattr(data, name)) is not None}
        inputs: Callable[[Tensor], Tensor] = partial(data.normalised, dtype=dtype)
        small = sum(images.x.numel() for images in sets.values()) <= _SMALL
        if small and not training.augmentation:  # which brings in black, before normalisation
            sets = {name: Images(inputs(images.x), images.y) for name, images in sets.items()}
            inputs = _as_it_is
        return cls(template, data, tuple(cells), training, seed, sets, inputs)

    @property
    def device(self) -> torch.device:
        """Where the networks are trained."""
        return torch.device(self.training.device)

    def _tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype_of(self.training.precision), device=self.device)

    def multipliers(self, members: Sequence[int]) -> Tensor:
        """c of these cells; [members]."""
        return self._tensor([self.cells[member].output_multiplier for member in members])

    def learning_rates(self, members: Sequence[int]) -> Tensor:
        """Step sizes of these cells before they are scaled with c; [members]."""
        return self._tensor([self.cells[member].learning_rate for member in members])

    def rates(self, members: Sequence[int]) -> Tensor:
        """Step sizes of these cells; [members]."""
        return self._tensor([self._rate(self.cells[member]) for member in members])

    def _rate(self, cell: Cell) -> float:
        power, _ = self.training.step_rule()
        return scaled_learning_rate(cell.learning_rate, cell.output_multiplier**power)

    def identity(self, parts: Sequence[Sequence[int]]) -> str:
        """What tells one training from another, as far as it can be told without the data."""
        sizes = [tuple(p.shape) for p in self.template.parameters()]
        n = len(self.data.train)
        return repr((self.cells, self.training, self.seed, parts, sizes, n))


class Course:
    """Networks that go through the same batches, until the last of them has ended.

    Parameters
    ----------
    setup : Setup
    ledger : Ledger
        Is told what comes of them.
    members : sequence of int
        Numbers of their cells.
    mechanism : Mechanism, optional
        Measures each at its end.

    Attributes
    ----------
    members : list of int
        Cells whose training has not ended.
    epoch, steps : int
        Taken so far.
    """

    def __init__(
        self,
        setup: Setup,
        ledger: Ledger,
        members: Sequence[int],
        mechanism: Mechanism | None = None,
    ) -> None:
        self.setup, self.ledger, self.mechanism = setup, ledger, mechanism
        self.epoch = self.steps = 0
        self._loss = loss_of(setup.training)
        self._begin(members)

    def _begin(self, members: Sequence[int]) -> None:
        self.members = list(members)
        self._learner = learner_of(self.setup.template, len(self.members))
        self._multipliers = self.setup.multipliers(self.members)
        rates, before = self.setup.rates(self.members), self.setup.learning_rates(self.members)
        self._optimiser = optimiser_of(self.setup.training, rates, before)

    def advance(self) -> None:
        """One epoch, and a look if one is due."""
        setup = self.setup
        self.epoch += 1
        largest = torch.zeros_like(self._multipliers)
        with _seeded(setup.seed, self.epoch, self._multipliers.device):
            for raw, y in batches(setup.sets["train"], setup.training, setup.seed, self.epoch):
                x = setup.inputs(raw)
                losses, gradients = self._learner.gradients(x, partial(self._losses, y=y))
                self._optimiser.step(self._learner.parameters, gradients)
                del gradients  # the next ones then take the same memory, which is in the cache
                largest = torch.maximum(largest, losses)  # keeps what is not a number
                self.steps += 1
        ends = {
            cell: End("DIVERGED", f"The loss was not finite in epoch {self.epoch}.", self.epoch,
                      self.steps)
            for cell, sound in zip(self.members, largest.isfinite().tolist(), strict=True)
            if not sound
        }  # fmt: skip
        self._leave(ends)
        if self.members and self.ledger.is_due(self.epoch):
            self.look()

    def _losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self._loss(self._multipliers[:, None, None] * outputs, y).mean(1)

    def look(self) -> None:
        """Evaluate all networks; those whose training is over leave."""
        setup = self.setup
        columns: dict[str, list[float]] = {}
        for name, images in setup.sets.items():
            found = evaluate(self._learner, images, setup.inputs, self._multipliers, self._loss)
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


def dtype_of(precision: Literal["float32", "float64"]) -> torch.dtype:
    """The type of torch's numbers."""
    return torch.float64 if precision == "float64" else torch.float32


def _as_it_is(x: Tensor) -> Tensor:
    return x


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators for modules that draw from them (dropout), left as they were."""
    is_card = device.type == "cuda"
    # only what is put back afterwards is seeded
    put_seed = torch.manual_seed if is_card else torch.default_generator.manual_seed
    with torch.random.fork_rng([device] if is_card else []):
        put_seed(torch_stream(seed, Purpose.DROPOUT, epoch).initial_seed())
        yield


def evaluate(
    learner: Learner,
    images: Images,
    inputs: Callable[[Tensor], Tensor],
    multipliers: Tensor,
    loss: LossOf,
) -> dict[str, Tensor]:
    """Accuracy, risk and scale of c f on a set of images, in evaluation mode.

    Parameters
    ----------
    learner : Learner
    images : Images
    inputs : callable
        Normalises them.
    multipliers : Tensor
        c of each network; [networks].
    loss : callable
        As `loss_of` gives it.

    Returns
    -------
    dict of Tensor
        ``accuracy``, ``risk``, ``logit_scale``; float64 [networks].
    """
    sums = torch.zeros(3, len(multipliers), dtype=torch.float64, device=multipliers.device)
    # on a processor few enough for its cache; a graphics card wants more to do at once
    numbers = 2**20 if multipliers.device.type == "cpu" else 2**23
    rows = min(max(numbers // (len(multipliers) * images.x[0].numel()), 64), 1024)
    for x, y in zip(torch.split(images.x, rows), torch.split(images.y, rows), strict=True):
        f = multipliers[:, None, None] * learner.outputs(inputs(x))
        centred = f - f.mean(2, keepdim=True)
        sums[0] += (f.argmax(2) == y).sum(1)
        sums[1] += loss(f, y).sum(1, dtype=torch.float64)
        sums[2] += centred.square().mean(2).sum(1, dtype=torch.float64)
    accuracy, risk, square = sums / len(images)
    return {"accuracy": accuracy, "risk": risk, "logit_scale": square.sqrt()}


def require_device(name: str) -> torch.device:
    """The device of that name.

    Raises
    ------
    ProblemError
        There is none here, or it is neither the processor nor a card of NVIDIA.

    Examples
    --------
    >>> from overalign.deepnet.course import require_device
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
