"""Stacked networks compute what each computes alone."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from overalign.deepnet.learners import Alone, Stacked, learner_of, why_not_stackable
from overalign.deepnet.models import build_model
from overalign.deepnet.scaling import Centered
from overalign.deepnet.seeds import initialised
from overalign.deepnet.settings import Architecture

COUNT, CLASSES = 3, 4
NETWORKS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"width": 7}, (6,)),
    ({"width": 7, "depth": 4, "bias": False}, (6,)),
    ({"width": 7}, (1, 2, 3)),
    ({"width": 7, "centered": True}, (6,)),
    ({"width": 7, "paired": True, "depth": 2}, (6,)),
    ({"model": "cnn5", "width": 2}, (1, 8, 8)),
    ({"model": "cnn5", "width": 2, "paired": True, "bias": False}, (3, 8, 8)),
    ({"model": "resnet18", "width": 2, "batch_norm": False}, (1, 8, 8)),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would wait for each other: the networks are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(architecture: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
    make = lambda: build_model(Architecture(**architecture), shape, CLASSES)  # noqa: E731
    return initialised(make, 0).double()


def inputs(shape: tuple[int, ...], rows: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (rows,), generator=generator)


def disturbed(stack: Stacked) -> None:
    """Make the networks of a stack differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in stack.parameters:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.1)


def losses_of(y: Tensor) -> Any:
    return lambda f: torch.stack([cross_entropy((k + 1.0) * f[k], y) for k in range(len(f))])


@pytest.mark.parametrize(("architecture", "shape"), NETWORKS)
def test_a_stack_computes_what_its_members_do_alone(
    architecture: dict[str, Any], shape: tuple[int, ...]
) -> None:
    stack = Stacked(network(architecture, shape), COUNT)
    disturbed(stack)
    x, y = inputs(shape)
    losses, gradients = stack.gradients(x, losses_of(y))
    outputs = stack.outputs(x)
    assert outputs.shape == (COUNT, 5, CLASSES)
    for k in range(COUNT):
        module = stack.module(k)
        own = module(x)
        loss = cross_entropy((k + 1.0) * own, y)
        expected = torch.autograd.grad(loss, list(module.parameters()))
        assert (outputs[k] - own).abs().max() < 1e-12
        assert abs(float(losses[k] - loss.detach())) < 1e-12
        for one, many in zip(expected, gradients, strict=True):
            assert (many[k] - one).abs().max() < 1e-12
    assert max(float(g.abs().max()) for g in gradients) > 1e-3


def test_a_network_that_broke_does_not_touch_the_others() -> None:
    for architecture, shape in NETWORKS:
        stack = Stacked(network(architecture, shape), COUNT)
        x, y = inputs(shape)
        _, sound = stack.gradients(x, losses_of(y))
        with torch.no_grad():
            for parameter in stack.parameters:
                parameter[1] = math.nan
        losses, gradients = stack.gradients(x, losses_of(y))
        assert losses.isfinite().tolist() == [True, False, True]
        for k in (0, 2):
            assert all(torch.equal(a[k], b[k]) for a, b in zip(gradients, sound, strict=True))


def test_alone_is_the_plain_module() -> None:
    module = network({"width": 7}, (6,))
    x, y = inputs((6,))
    learner = Alone(module)
    loss = cross_entropy(module(x), y)
    losses, gradients = learner.gradients(x, losses_of(y))
    expected = torch.autograd.grad(loss, list(module.parameters()))
    assert torch.equal(losses, loss.detach()[None])
    assert all(torch.equal(a[0], b) for a, b in zip(gradients, expected, strict=True))
    with torch.no_grad():
        learner.parameters[0].zero_()
    assert not next(module.parameters()).any(), "the optimiser must change the module itself"


def test_learners_go_to_evaluation_and_back() -> None:
    module = network({"width": 7, "batch_norm": True}, (6,))
    learner = learner_of(module, 1)
    x, y = inputs((6,))
    before = learner.outputs(x)
    assert torch.equal(before, learner.outputs(x)), "evaluation changes nothing"
    learner.gradients(x, losses_of(y))
    assert not torch.equal(before, learner.outputs(x)), "training moves the averages"


@pytest.mark.parametrize(("architecture", "shape"), [NETWORKS[0], NETWORKS[3], NETWORKS[5]])
def test_those_that_are_kept_stay_as_they_are(
    architecture: dict[str, Any], shape: tuple[int, ...]
) -> None:
    stack = Stacked(network(architecture, shape), COUNT)
    disturbed(stack)
    x, _ = inputs(shape)
    outputs = stack.outputs(x)
    two = stack.kept(torch.tensor([0, 2]))
    assert (two.outputs(x) - outputs[[0, 2]]).abs().max() < 1e-14
    one = two.kept(torch.tensor([1]))
    assert isinstance(one, Alone)
    assert (one.outputs(x) - outputs[[2]]).abs().max() < 1e-14


@pytest.mark.parametrize("count", [1, COUNT])
def test_a_state_is_all_there_is(count: int) -> None:
    module = network({"width": 7, "paired": True}, (6,))
    one, other = learner_of(module, count), learner_of(module, count)
    with torch.no_grad():
        for parameter in one.parameters:
            parameter.mul_(1.5)
    other.load({name: value.clone() for name, value in one.state().items()})
    x, y = inputs((6,))
    assert torch.equal(one.outputs(x), other.outputs(x))
    a, b = one.gradients(x, losses_of(y))[1], other.gradients(x, losses_of(y))[1]
    assert all(map(torch.equal, a, b))


def test_the_module_that_is_stacked_is_left_alone() -> None:
    module = network({"width": 7}, (6,))
    before = [p.detach().clone() for p in module.parameters()]
    for count in (1, COUNT):
        for parameter in learner_of(module, count).parameters:
            with torch.no_grad():
                parameter.add_(1.0)
    assert all(map(torch.equal, before, module.parameters()))


def test_frozen_weights_are_not_trained() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)).double()
    module[0].requires_grad_(False)
    x, y = inputs((6,))
    for count in (1, COUNT):
        learner = learner_of(module, count)
        assert [tuple(p.shape[1:]) for p in learner.parameters] == [(CLASSES, 5), (CLASSES,)]
        assert len(learner.gradients(x, losses_of(y))[1]) == 2
        assert torch.allclose(learner.outputs(x)[0], module(x))


class Counting(nn.Module):
    """A module with a number that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.linear(x)
        return outputs


class Dropping(nn.Module):
    """A module that draws without a layer for it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return dropout(self.linear(x), 0.5, self.training)


class Squared(Centered):
    """Looks like one that is known, and computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


def branching(module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
    """A hook that torch cannot follow in a stack."""
    return outputs if float(outputs.sum()) > 0.0 else -outputs


SHARED = nn.Linear(CLASSES, CLASSES)
HOOKED = nn.Sequential(nn.Linear(6, CLASSES))
HOOKED[0].register_forward_hook(branching)


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (network({"model": "resnet18", "width": 2}, (1, 8, 8)), (1, 8, 8), "normalises batches"),
        (network({"width": 7, "batch_norm": True, "centered": True}, (6,)), (6,), "averages"),
        (nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 4)), (6,), "at random"),
        (nn.Sequential(nn.Linear(6, CLASSES), SHARED, nn.ReLU(), SHARED), (6,), "share their"),
        (Counting(), (6,), "buffer"),
        (Dropping(), (6,), "stack of two fails .*random operation"),
        (HOOKED, (6,), "stack of two fails .*item()"),
        (Squared(nn.Linear(6, CLASSES)), (6,), "compute something else than alone"),
    ],
)
def test_what_cannot_be_stacked_says_why(
    module: nn.Module, shape: tuple[int, ...], reason: str
) -> None:
    x, _ = inputs(shape)
    module = module.double()
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    assert re.search(reason, why_not_stackable(module, x))
    assert all(map(torch.equal, before.values(), module.state_dict().values()))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("architecture", "shape"), NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_can_be_stacked_passes_its_trial(
    architecture: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, _ = inputs(shape, rows=2)
    assert why_not_stackable(network(architecture, shape).to(dtype), x.to(dtype)) == ""


def test_a_layer_that_comes_twice_is_applied_twice() -> None:
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(6, 5), relu, nn.Linear(5, 5), relu, nn.Linear(5, CLASSES))
    x, _ = inputs((6,))
    stack = Stacked(module.double(), COUNT)
    assert (stack.outputs(x) - module(x)).abs().max() < 1e-14


def test_what_hangs_on_a_layer_is_not_left_out() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)).double()
    module[0].register_forward_hook(lambda layer, given, outputs: 3.0 * outputs)
    x, _ = inputs((6,))
    assert why_not_stackable(module, x) == ""
    assert (Stacked(module, COUNT).outputs(x) - module(x)).abs().max() < 1e-14
