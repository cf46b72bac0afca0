"""Steps of many networks at once, against torch's own optimisers one network at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from overalign.deepnet.optimisers import Optimiser, optimiser_of
from overalign.deepnet.settings import Training

RATES = (0.3, 0.01, 7.0)
SCALES = (1.0, 8.0, 0.25)  # what the learning rates were divided by
SHAPES = ((4, 3), (5,))
KINDS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.02},
    {"momentum": 0.5, "weight_decay": 0.1},
    {"optimiser": "adam"},
    {"optimiser": "adam", "weight_decay": 0.1},
]


def random_tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(len(RATES), *shape, generator=generator, dtype=torch.float64)
        for shape in SHAPES
    ]


def ours(training: Training) -> Optimiser:
    rates = torch.tensor(RATES, dtype=torch.float64)
    return optimiser_of(training, rates, rates * torch.tensor(SCALES))


def torchs(training: Training, parameters: list[Tensor], k: int) -> torch.optim.Optimizer:
    """A step takes the learning rate times the weight decay off the weights, whatever the scale."""
    rate, decay = RATES[k], training.weight_decay * SCALES[k]
    if training.optimiser == "adam":
        return torch.optim.AdamW(parameters, rate, weight_decay=decay)
    return torch.optim.SGD(parameters, rate, momentum=training.momentum, weight_decay=decay)


@pytest.mark.parametrize("kind", KINDS)
def test_each_network_steps_as_with_torch(kind: dict[str, Any]) -> None:
    training = Training(**kind)
    stacked, optimiser = random_tensors(0), ours(training)
    alone = [[p[k].clone() for p in stacked] for k in range(len(RATES))]
    references = [torchs(training, alone[k], k) for k in range(len(RATES))]
    for step in range(1, 20):
        gradients = random_tensors(step)
        optimiser.step(stacked, gradients)
        for k, reference in enumerate(references):
            for parameter, gradient in zip(alone[k], gradients, strict=True):
                parameter.grad = gradient[k]
            reference.step()
    for k in range(len(RATES)):
        for parameter, expected in zip(stacked, alone[k], strict=True):
            assert (parameter[k] - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_those_that_are_kept_go_on_as_before(kind: dict[str, Any]) -> None:
    all_of_them, optimiser = random_tensors(0), ours(Training(**kind))
    optimiser.step(all_of_them, random_tensors(1))
    rest, fewer = [p[[0, 2]].clone() for p in all_of_them], ours(Training(**kind))
    fewer.load(optimiser.state())
    fewer.averages = [[each.clone() for each in averages] for averages in fewer.averages]
    fewer.keep(torch.tensor([0, 2]))
    optimiser.step(all_of_them, random_tensors(2))
    fewer.step(rest, [g[[0, 2]] for g in random_tensors(2)])
    for whole, part in zip(all_of_them, rest, strict=True):
        assert torch.equal(whole[[0, 2]], part)


def test_gradients_are_left_as_they_are() -> None:
    for kind in KINDS:
        gradients = random_tensors(1)
        optimiser = ours(Training(**kind))
        for _ in range(2):
            optimiser.step(random_tensors(0), gradients)
        assert all(map(torch.equal, gradients, random_tensors(1)))
