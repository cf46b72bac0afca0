"""What networks are shown in an epoch, and the losses of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, pad

from ..errors import ProblemError
from .images import Images
from .seeds import Purpose, torch_stream
from .settings import Training

__all__ = ["LossOf", "augmented", "batches", "loss_of"]

LossOf: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def batches(
    images: Images, training: Training, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The training set of one epoch, each image once, in an order drawn by seed and epoch.

    Parameters
    ----------
    images : Images
    training : Training
        Its batch size, and whether images are augmented. The last batch may be smaller; a rest of
        one image, which batch normalisation cannot take, joins the batch before it instead.
    seed, epoch : int

    Yields
    ------
    x : Tensor
        As in ``images``, not normalised; [batch, ...].
    y : Tensor
        [batch].

    Raises
    ------
    ProblemError
        Vectors are to be augmented.
    """
    device = images.y.device
    if training.batch_size is None:
        order = torch.arange(len(images), device=device)
    else:
        # drawn on the processor: the same on every device
        order = torch.randperm(len(images), generator=torch_stream(seed, Purpose.BATCHES, epoch))
        order = order.to(device)
    generator = torch_stream(seed, Purpose.AUGMENTATION, epoch)
    parts = list(torch.split(order, training.batch_size or len(images)))
    if len(parts[-1]) == 1 < len(parts[0]):
        parts[-2:] = [torch.cat(parts[-2:])]
    for chosen in parts:
        x = images.x[chosen]
        yield (augmented(x, generator) if training.augmentation else x), images.y[chosen]


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to an eighth of its side, mirrored or not; black comes in.

    Parameters
    ----------
    x : Tensor
        [n, channels, height, width].
    generator : torch.Generator
        Of the processor.

    Returns
    -------
    Tensor
        Like ``x``.

    Raises
    ------
    ProblemError
        ``x`` holds vectors.

    Examples
    --------
    >>> x = torch.arange(8.0).reshape(1, 1, 1, 8)
    >>> augmented(x, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 1, 8])
    """
    if x.ndim != 4:
        raise ProblemError(
            f"inputs are vectors of {x.shape[1]} numbers, which have no sides to crop or mirror; "
            "set augmentation = false"
        )
    n, channels, height, width = x.shape
    margins = (height // 8, width // 8)
    padded = pad(x, (margins[1], margins[1], margins[0], margins[0]))
    down, right, mirrored = (
        torch.randint(choices, (n, 1), generator=generator)
        for choices in (2 * margins[0] + 1, 2 * margins[1] + 1, 2)
    )
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    columns = torch.where(mirrored == 1, columns.flip(1), columns)
    rows, columns = rows.to(x.device), columns.to(x.device)
    image = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def loss_of(training: Training) -> LossOf:
    """The loss of each output.

    Parameters
    ----------
    training : Training

    Returns
    -------
    callable
        Takes outputs [networks, batch, classes] and labels [batch], returns [networks, batch].

    Examples
    --------
    >>> loss = loss_of(Training(loss="squared"))
    >>> loss(torch.tensor([[[3.0, 0.0]]]), torch.tensor([0])).tolist()  # 1/2 (3 - 1)^2
    [[2.0]]
    """
    return _squared if training.loss == "squared" else _cross_entropy


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    # with the classes in the middle: torch is ten times slower where they are few and last
    return cross_entropy(outputs.mT, y.expand(outputs.shape[:2]), reduction="none")


def _squared(outputs: Tensor, y: Tensor) -> Tensor:
    wanted = one_hot(y, outputs.shape[2]).to(outputs.dtype)
    return 0.5 * (outputs - wanted).square().sum(2)
