"""Networks for images and vectors, each with a knob for its width.

Parameter counts are those of the published networks with CIFAR stems at width 64 (kuangliu,
pytorch-cifar): ResNet-18/34/50 11,173,962, 21,282,122 and 23,520,842, VGG-11/19 with batch
normalisation 9,231,114 and 20,040,522, for ten classes.

Layers that batch normalisation follows, and all fully connected ones, start as torch makes them.
Convolutions without it start with He's law, N(0, 2 / fan-in) and biases 0 (He et al. 2015), since
torch's own law shrinks the signal by about sqrt(6) in each layer. In a residual network without
batch normalisation the last convolution of each of the B residual branches is divided by sqrt(B)
as well: the second moment then grows by at most (1 + 1/B)^B < e along the trunk (the uniform
scaling of Hayou et al. 2021, "Stable ResNet", at initialisation only).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ProblemError
from .scaling import Centered, Paired
from .settings import Architecture, uses_batch_norm

__all__ = ["Reading", "build_model", "read_out"]

# Output channels of the convolutions in multiples of the width, and "pool" for max-pooling:
# configurations A and E of Simonyan & Zisserman (2015).
VGG: dict[str, tuple[int | str, ...]] = {
    "vgg11": (1, "pool", 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8, "pool"),
    "vgg19": (1, 1, "pool", 2, 2, "pool", *(4,) * 4, "pool", *(8,) * 4, "pool", *(8,) * 4, "pool"),
}
# Blocks in the four stages of He et al. (2016), and whether they are bottlenecks.
RESNET: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}
EXPANSION = 4  # of the channels at the end of a bottleneck
SMALLEST_SIDE = {"cnn5": 8, "vgg11": 32, "vgg19": 32, "resnet18": 8, "resnet34": 8, "resnet50": 8}


def build_model(architecture: Architecture, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network as torch's global generator initialises it.

    Parameters
    ----------
    architecture : Architecture
    shape : tuple of int
        Of one input: (features,) or (channels, height, width). "mlp" flattens images; the others
        need images, of at least 8 x 8 (ResNet, "cnn5") or 32 x 32 pixels (VGG).
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Module
        Float32, on the CPU; inputs [n, *shape], outputs [n, classes]. A `torch.nn.Sequential`
        that ends with a Linear, inside `Centered` or `Paired` where asked for; "mlp" is Flatten,
        Linear, ReLU, ..., Linear.

    Raises
    ------
    ProblemError
        The network cannot take inputs of this shape, or is to be centered and paired at once.

    Examples
    --------
    >>> from overalign.deepnet.models import build_model
    >>> from overalign.deepnet.settings import Architecture
    >>> network = build_model(Architecture(model="resnet18"), (3, 32, 32), classes=10)
    >>> sum(parameter.numel() for parameter in network.parameters())
    11173962

    One seed, one network, whatever torch's global generator has been used for:

    >>> from overalign.deepnet.seeds import initialised
    >>> small = Architecture(model="mlp", width=5, depth=2, bias=False)
    >>> network = initialised(lambda: build_model(small, (3,), classes=2), seed=0)
    >>> [tuple(parameter.shape) for parameter in network.parameters()]
    [(5, 3), (2, 5)]
    """
    architecture = architecture.check()
    _require_shape(architecture.model, shape)
    if architecture.model == "mlp":
        network = _mlp(architecture, math.prod(shape), classes)
    elif architecture.model == "cnn5":
        network = _cnn5(architecture, shape, classes)
    elif architecture.model in VGG:
        network = _vgg(architecture, shape[0], classes)
    else:
        network = _resnet(architecture, shape[0], classes)
    if architecture.centered:
        return Centered(network)
    return Paired(network) if architecture.paired else network


def _require_shape(model: str, shape: tuple[int, ...]) -> None:
    """Raise unless a network can take inputs of this shape."""
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ProblemError(f"inputs are {shape}; give (features,) or (channels, height, width)")
    if model == "mlp":
        return
    if len(shape) == 1:
        raise ProblemError(f"{model} takes images, and the inputs are vectors {shape}; use 'mlp'")
    if min(shape[1:]) < (side := SMALLEST_SIDE[model]):
        raise ProblemError(
            f"{model} takes images of at least {side} x {side} pixels, not "
            f"{shape[1]} x {shape[2]}; use larger images or 'mlp'"
        )


# ------------------------------------------------------------------------------- the networks


def _mlp(architecture: Architecture, features: int, classes: int) -> nn.Sequential:
    """Flatten, Linear, ReLU, ..., Linear, batches normalised before each ReLU if asked for."""
    bias, width = architecture.bias, architecture.width
    parts: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise([features, *[width] * (architecture.depth - 1)]):
        parts.append(nn.Linear(inputs, outputs, bias=bias))
        if uses_batch_norm(architecture):
            parts.append(_norm(nn.BatchNorm1d(outputs), bias))
        parts.append(nn.ReLU())
    return nn.Sequential(*parts, nn.Linear(width, classes, bias=bias))


def _cnn5(architecture: Architecture, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Four convolutions and a Linear; the last pooling leaves one pixel (Nakkiran et al. 2020)."""
    make, width = _Convolutions.of(architecture, bias_before_norm=True), architecture.width
    last = (shape[1] // 8, shape[2] // 8)
    poolings = [[], [nn.MaxPool2d(2)], [nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.MaxPool2d(last)]]
    channels = [shape[0], width, 2 * width, 4 * width, 8 * width]
    parts: list[nn.Module] = []
    for (inputs, outputs), pooling in zip(pairwise(channels), poolings, strict=True):
        parts += [*make(inputs, outputs), nn.ReLU(), *pooling]
    return nn.Sequential(
        *parts, nn.Flatten(), nn.Linear(channels[-1], classes, bias=architecture.bias)
    )


def _vgg(architecture: Architecture, channels: int, classes: int) -> nn.Sequential:
    """A VGG network: convolutions, the mean over pixels, one Linear."""
    make = _Convolutions.of(architecture, bias_before_norm=True)
    parts: list[nn.Module] = []
    for step in VGG[architecture.model]:
        if isinstance(step, str):
            parts.append(nn.MaxPool2d(2))
        else:
            outputs = step * architecture.width
            parts += [*make(channels, outputs), nn.ReLU()]
            channels = outputs
    return nn.Sequential(*parts, *_head(channels, classes, architecture.bias))


def _resnet(architecture: Architecture, channels: int, classes: int) -> nn.Sequential:
    """A ResNet with a stem for small images: one 3 x 3 convolution of stride 1, no pooling."""
    make = _Convolutions.of(architecture, bias_before_norm=False)
    stages, bottleneck = RESNET[architecture.model]
    parts: list[nn.Module] = [*make(channels, architecture.width), nn.ReLU()]
    channels = architecture.width
    for stage, blocks in enumerate(stages):
        width = architecture.width * 2**stage
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            branch, outputs = _branch(make, channels, width, stride, bottleneck)
            if not make.batch_norm:
                _shrink(branch[-1], 1.0 / math.sqrt(sum(stages)))
            projected = stride > 1 or channels != outputs
            skip = make(channels, outputs, 1, stride) if projected else []
            parts.append(_Residual(nn.Sequential(*branch), nn.Sequential(*skip)))
            channels = outputs
    return nn.Sequential(*parts, *_head(channels, classes, architecture.bias))


class _Residual(nn.Module):
    """ReLU of the sum of a branch and a skip connection."""

    def __init__(self, branch: nn.Sequential, skip: nn.Sequential) -> None:
        super().__init__()
        self.branch = branch
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Inputs [n, channels, height, width]; outputs with the channels of the branch."""
        return torch.relu(self.branch(x) + self.skip(x))


def _branch(
    make: _Convolutions, channels: int, width: int, stride: int, bottleneck: bool
) -> tuple[list[nn.Module], int]:
    """Convolutions of a residual block, and the number of channels they end with."""
    if bottleneck:
        outputs = EXPANSION * width
        return [
            *make(channels, width, 1),
            nn.ReLU(),
            *make(width, width, 3, stride),
            nn.ReLU(),
            *make(width, outputs, 1),
        ], outputs
    return [*make(channels, width, 3, stride), nn.ReLU(), *make(width, width)], width


def _head(channels: int, classes: int, bias: bool) -> list[nn.Module]:
    """The mean over pixels and the readout."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes, bias=bias)]


# ------------------------------------------------------------------------------- their layers


@dataclass(frozen=True)
class _Convolutions:
    """Makes convolutions that keep the size of an image, with batch normalisation or without."""

    batch_norm: bool
    bias: bool
    bias_before_norm: bool  # as published: VGG has it, ResNet has not

    @classmethod
    def of(cls, architecture: Architecture, *, bias_before_norm: bool) -> _Convolutions:
        return cls(uses_batch_norm(architecture), architecture.bias, bias_before_norm)

    def __call__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1
    ) -> list[nn.Module]:
        bias = self.bias and (self.bias_before_norm or not self.batch_norm)
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
        if self.batch_norm:
            return [layer, _norm(nn.BatchNorm2d(outputs), self.bias)]
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return [layer]


def _norm(norm: nn.Module, bias: bool) -> nn.Module:
    """A normalisation layer, its bias taken away where there are to be none."""
    if not bias:
        norm.register_parameter("bias", None)
    return norm


@torch.no_grad()
def _shrink(layer: nn.Module, factor: float) -> None:
    """Multiply the weights of a layer."""
    for parameter in layer.parameters():
        parameter.mul_(factor)


# ------------------------------------------------------------------------------- the readout


class Reading(NamedTuple):
    """Outputs of a network, and the last layer that they come from.

    Attributes
    ----------
    outputs : torch.Tensor
        [n, classes].
    features : torch.Tensor or None
        [n, features], what goes into the last Linear; None where the network does not end so.
    weights : torch.Tensor or None
        [classes, features], of the last Linear.
    """

    outputs: Tensor
    features: Tensor | None
    weights: Tensor | None


def read_out(model: nn.Module, x: Tensor) -> Reading:
    """Outputs, penultimate features and readout of a network, in one pass.

    Works for every module whose outputs are those of a `torch.nn.Linear`. `Centered` has the
    features of the network that is trained; `Paired` those of both copies side by side, so that
    its outputs are linear in them too.

    Parameters
    ----------
    model : torch.nn.Module
    x : torch.Tensor
        Inputs [n, *shape].

    Returns
    -------
    Reading

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.models import read_out
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    >>> reading = read_out(network, torch.ones(4, 3))
    >>> reading.features.shape, reading.weights.shape
    (torch.Size([4, 5]), torch.Size([2, 5]))
    """
    if isinstance(model, Centered):
        reading = read_out(model.module, x)
        return reading._replace(outputs=reading.outputs - model.initial(x))
    if isinstance(model, Paired):
        return _pair(read_out(model.module, x), read_out(model.twin, x))
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
        calls.append((layer, arguments[0], result))  # type: ignore[arg-type]

    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    handles = [linear.register_forward_hook(keep) for linear in linears]
    try:
        outputs: Tensor = model(x)
    finally:
        for handle in handles:
            handle.remove()
    if calls and calls[-1][2] is outputs:
        layer, features, _ = calls[-1]
        return Reading(outputs, features, layer.weight)
    return Reading(outputs, None, None)


def _pair(first: Reading, second: Reading) -> Reading:
    """(f_1 - f_2) / sqrt(2) as a linear function of both features."""
    outputs = (first.outputs - second.outputs) / math.sqrt(2.0)
    if first.features is None or second.features is None:
        return Reading(outputs, None, None)
    if first.weights is None or second.weights is None:
        return Reading(outputs, None, None)
    return Reading(
        outputs,
        torch.cat([first.features, second.features], dim=1),
        torch.cat([first.weights, -second.weights], dim=1) / math.sqrt(2.0),
    )
