"""The output multiplier: Proposition B.1 (Y20), and modules that start at zero."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import overalign as oa
from overalign.deepnet.models import build_model
from overalign.deepnet.scaling import (
    Centered,
    Paired,
    Scaled,
    scaled_learning_rate,
    with_output_multiplier,
)
from overalign.deepnet.seeds import initialised
from overalign.deepnet.settings import Architecture

SAMPLES, FEATURES, CLASSES = 40, 6, 3
Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def data() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(5)
    x = torch.randn(SAMPLES, FEATURES, generator=stream, dtype=torch.float64)
    return x, torch.randint(CLASSES, (SAMPLES,), generator=stream)


def squared(outputs: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (outputs - nn.functional.one_hot(y, CLASSES)).square().sum(dim=1).mean()


def outputs_along_training(
    network: nn.Module, rate: float, *, batch: int, steps: int, loss: Loss, momentum: float = 0.0
) -> Tensor:
    """Outputs on all samples, every tenth step of gradient descent; [looks, samples, classes]."""
    x, y = data()
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum)
    stream = torch.Generator().manual_seed(6)
    found = [network(x).detach()]
    for step in range(steps):
        chosen = torch.randperm(SAMPLES, generator=stream)[:batch]
        optimiser.zero_grad()
        loss(network(x[chosen]), y[chosen]).backward()
        optimiser.step()
        if step % 10 == 0:
            found.append(network(x).detach())
    return torch.stack(found)


def compare(
    depth: int,
    log2_alpha: float,
    *,
    degree: float | None,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    batch: int = SAMPLES,
    loss: Loss = nn.functional.cross_entropy,
    momentum: float = 0.0,
    steps: int = 200,
) -> tuple[float, float]:
    """Largest difference of c f from theta_0 and f from alpha theta_0, and largest movement."""
    architecture = Architecture(width=16, depth=depth, bias=False)
    bare = [
        initialised(lambda: build_model(architecture, (FEATURES,), CLASSES), 0).double()
        for _ in range(2)
    ]
    with torch.no_grad():
        for network in bare:
            for parameter in network.parameters():  # He's law: outputs of order one
                parameter.mul_(math.sqrt(6.0))
        for parameter in bare[1].parameters():
            parameter.mul_(2.0**log2_alpha)
    c = 2.0 ** (log2_alpha * depth)
    rate = 0.05
    one = outputs_along_training(
        with_output_multiplier(wrap(bare[0]), c),
        scaled_learning_rate(rate, c, homogeneous_degree=degree),
        batch=batch,
        steps=steps,
        loss=loss,
        momentum=momentum,
    )
    two = outputs_along_training(
        wrap(bare[1]), rate, batch=batch, steps=steps, loss=loss, momentum=momentum
    )
    return float((one - two).abs().max()), float((two - two[0]).abs().max())


# ------------------------------------------------------------------------------------- Y20


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("batch", [SAMPLES, 8], ids=["full", "minibatch"])
@pytest.mark.parametrize("log2_alpha", [-1.0, 0.5])
def test_a_small_network_is_a_small_initialisation(
    depth: int, batch: int, log2_alpha: float
) -> None:
    difference, movement = compare(depth, log2_alpha, degree=depth, batch=batch)
    assert difference < 1e-10
    assert movement > 0.1


@pytest.mark.parametrize("wrap", [Centered, Paired])
def test_it_holds_for_networks_that_start_at_zero(wrap: Callable[[nn.Module], nn.Module]) -> None:
    difference, movement = compare(3, -0.5, degree=3, wrap=wrap)
    assert difference < 1e-10
    assert movement > 0.1


def test_it_holds_with_momentum_and_squared_loss() -> None:
    difference, movement = compare(3, -0.5, degree=3, loss=squared, momentum=0.9, batch=8)
    assert difference < 1e-10
    assert movement > 0.1


def test_dividing_by_c_is_the_map_of_two_layers() -> None:
    assert compare(2, -1.0, degree=None)[0] < 1e-10


@pytest.mark.parametrize("depth", [3, 4])
def test_dividing_by_c_is_another_step_size_for_deeper_networks(depth: int) -> None:
    assert compare(depth, -0.5, degree=None)[0] > 1e-2


def test_a_wrong_degree_is_seen() -> None:
    assert compare(3, -0.5, degree=3.01)[0] > 1e-4


# ------------------------------------------------------------------------------- step sizes


@pytest.mark.parametrize(
    ("c", "degree", "expected"),
    [
        (2.0**-6, None, 6.4),
        (2.0**-6, 2.0, 6.4),
        (2.0**-6, 3.0, 1.6),
        (2.0**-6, 4.0, 0.8),
        (16.0, None, 0.1 / 16.0),
        (16.0, 4.0, 0.025),
        (1.0, 3.0, 0.1),
    ],
)
def test_step_sizes(c: float, degree: float | None, expected: float) -> None:
    assert scaled_learning_rate(0.1, c, degree) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_numbers_that_mean_nothing(bad: float) -> None:
    with pytest.raises(oa.ProblemError, match="output_multiplier is"):
        with_output_multiplier(nn.Linear(2, 2), bad)
    with pytest.raises(oa.ProblemError, match="output_multiplier is"):
        scaled_learning_rate(0.1, bad)
    with pytest.raises(oa.ProblemError, match="learning_rate is"):
        scaled_learning_rate(bad, 1.0)
    with pytest.raises(oa.ProblemError, match="homogeneous_degree is"):
        scaled_learning_rate(0.1, 1.0, bad)


def test_a_step_size_beyond_double_precision() -> None:
    with pytest.raises(oa.ProblemError, match="scaled learning rate is inf"):
        scaled_learning_rate(1e300, 1e-300)


# ------------------------------------------------------------------------------- the modules


def test_the_multiplier_shares_weights_with_the_network() -> None:
    network = nn.Linear(2, 2)
    scaled = with_output_multiplier(network, 0.5)
    assert isinstance(scaled, Scaled)
    assert scaled.module is network
    assert list(scaled.parameters()) == list(network.parameters())
    assert "output_multiplier=0.5" in repr(scaled)
    x = torch.ones(1, 2)
    scaled(x).sum().backward()
    assert network.bias.grad is not None
    torch.testing.assert_close(network.bias.grad, torch.full((2,), 0.5))


class Mixed(nn.Module):
    """Parameters of its own, shared ones, normalisation and recurrence: any module will do."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh())
        self.again = nn.Linear(4, 4)
        self.again.weight = self.body[0].weight
        self.memory = nn.LSTM(4, 3, batch_first=True)
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.memory(self.again(self.body(x))[:, None])
        outputs: Tensor = self.gain * states[:, 0] + self.shift
        return outputs


@pytest.mark.parametrize("wrap", [Centered, Paired])
def test_any_module_can_start_at_zero(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = wrap(Mixed()).double()
    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert bool((network(x) == 0.0).all())
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network(x).square().sum().backward()  # zero gradient: at a minimum
    (network(x).sum()).backward()
    optimiser.step()
    assert float(network(x).detach().abs().max()) > 1e-3


def test_what_is_subtracted_stays_and_is_kept_with_the_state() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    network = Centered(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    before = network.module(x).detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (network(x) - 1.0).square().mean().backward()
        optimiser.step()
    assert torch.equal(network.initial(x), before)
    assert not torch.equal(network.module(x), before)
    assert torch.equal(network(x), network.module(x) - before)
    assert list(network.initial.parameters()) == []
    assert not network.initial(x).requires_grad
    other = Centered(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))


def test_both_copies_of_a_pair_are_trained() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    network = Paired(nn.Linear(3, 2))
    (network(x).sum()).backward()
    assert isinstance(network.module, nn.Linear)
    assert isinstance(network.twin, nn.Linear)
    assert network.module.weight.grad is not None
    assert network.twin.weight.grad is not None
    torch.testing.assert_close(network.module.weight.grad, -network.twin.weight.grad)
    torch.testing.assert_close(
        network.module.weight.grad, x.sum(dim=0).expand(2, 3) / math.sqrt(2.0)
    )
