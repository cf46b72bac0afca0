"""Networks: published sizes, shapes, what is refused, and their last layers."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast, get_args

import pytest
import torch
from torch import Tensor, nn

import overalign as oa
from overalign.deepnet.models import build_model, read_out
from overalign.deepnet.scaling import Centered, Paired
from overalign.deepnet.seeds import initialised
from overalign.deepnet.settings import Architecture, Model

IMAGE = (3, 32, 32)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks: threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(
    architecture: Architecture, shape: tuple[int, ...] = IMAGE, classes: int = 10
) -> nn.Module:
    return initialised(lambda: build_model(architecture, shape, classes), seed=1)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def images(count: int, shape: tuple[int, ...] = IMAGE) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(2))


# ------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("model", "batch_norm", "classes", "published"),
    [
        # kuangliu/pytorch-cifar, as counted in many places; the last is 100 - 10 readout rows more
        ("resnet18", True, 10, 11_173_962),
        ("resnet34", True, 10, 21_282_122),
        ("resnet50", True, 10, 23_520_842),
        ("vgg11", True, 10, 9_231_114),
        ("vgg19", True, 10, 20_040_522),
        ("resnet18", True, 100, 11_220_132),
    ],
)
def test_published_parameter_counts(
    model: Model, batch_norm: bool, classes: int, published: int
) -> None:
    with torch.device("meta"):  # sizes without numbers
        network = build_model(Architecture(model=model, batch_norm=batch_norm), IMAGE, classes)
    assert parameter_count(network) == published


def test_normalisation_of_vgg_is_two_numbers_a_channel() -> None:
    channels = 64 + 128 + 2 * 256 + 4 * 512
    with torch.device("meta"):
        network = build_model(Architecture(model="vgg11"), IMAGE, 10)
    assert parameter_count(network) == 9_231_114 - 2 * channels


def count_by_hand(sizes: Sequence[int], kernel: int, classes: int) -> int:
    body = sum(a * b * kernel + b for a, b in pairwise(sizes))
    return body + sizes[-1] * classes + classes


@pytest.mark.parametrize("width", [4, 10])
def test_counts_of_the_small_networks(width: int) -> None:
    cnn = made(Architecture(model="cnn5", width=width), (1, 8, 8), 7)
    assert parameter_count(cnn) == count_by_hand([1, width, 2 * width, 4 * width, 8 * width], 9, 7)
    mlp = made(Architecture(width=width, depth=4), (20,), 7)
    assert parameter_count(mlp) == count_by_hand([20, width, width, width], 1, 7)


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("cnn5", 5),
        ("vgg11", 9),
        ("vgg19", 17),
        ("resnet18", 18),
        ("resnet34", 34),
        ("resnet50", 50),
    ],
)
def test_number_of_layers(model: Model, layers: int) -> None:
    """Weight layers along the trunk: projections of skip connections do not count."""
    network = made(Architecture(model=model, width=2, batch_norm=False))
    weighted = [
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and ".skip" not in name
    ]
    assert len(weighted) == layers


@pytest.mark.parametrize(
    ("model", "head", "last"),
    [
        ("cnn5", 2, (16, 1, 1)),
        ("vgg11", 3, (16, 1, 1)),
        ("resnet18", 3, (16, 4, 4)),
        ("resnet50", 3, (64, 4, 4)),
    ],
)
def test_what_the_head_is_given(model: Model, head: int, last: tuple[int, ...]) -> None:
    """Channels, height and width before the mean over pixels, for 32 x 32 pixels."""
    network = cast(nn.Sequential, made(Architecture(model=model, width=2)))
    assert network[:-head](images(3)).shape == (3, *last)


def test_an_mlp_is_a_plain_sequence() -> None:
    network = made(Architecture(depth=3), (1, 4, 4))
    kinds = [type(part) for part in cast(nn.Sequential, network)]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


# ------------------------------------------------------------------------------- what they do


@pytest.mark.parametrize("model", get_args(Model))
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_every_parameter_matters(model: Model, batch_norm: bool, bias: bool) -> None:
    shape = IMAGE if model.startswith("vgg") else (3, 8, 8)
    network = made(Architecture(model=model, width=4, batch_norm=batch_norm, bias=bias), shape)
    outputs = network(images(6, shape))
    assert outputs.shape == (6, 10)
    nn.functional.cross_entropy(outputs, torch.arange(6)).backward()
    named = dict(network.named_parameters())
    assert all(cast(Tensor, p.grad).isfinite().all() for p in named.values())
    # a bias before normalisation does nothing, as in the published VGG
    idle = {name for name, p in named.items() if cast(Tensor, p.grad).abs().max() < 1e-6}
    assert all(batch_norm and name.endswith("bias") for name in idle)
    assert any(name.endswith("bias") for name in named) == bias
    norms = [
        part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
    ]
    assert bool(norms) == batch_norm


@pytest.mark.parametrize("model", ["cnn5", "vgg11", "vgg19", "resnet18", "resnet34", "resnet50"])
def test_signals_neither_explode_nor_vanish_without_normalisation(model: Model) -> None:
    x = images(16)
    outputs = [
        initialised(
            lambda: build_model(Architecture(model=model, width=8, batch_norm=False), IMAGE, 10),
            seed,
        )(x)
        for seed in range(3)
    ]
    assert 0.1 < float(torch.stack(outputs).detach().std()) < 5.0


def test_a_residual_network_without_normalisation_can_be_trained() -> None:
    network = made(Architecture(model="resnet18", width=4, batch_norm=False), (1, 8, 8), 2)
    x, y = images(16, (1, 8, 8)), torch.arange(16) % 2
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("model", "degree"), [("mlp", 3), ("cnn5", 5), ("vgg11", 9), ("vgg19", 17), ("resnet18", None)]
)
def test_which_networks_are_homogeneous(model: Model, degree: int | None) -> None:
    """f(2 theta) = 2^L f(theta) without biases and normalisation, unless layers are skipped."""
    architecture = Architecture(model=model, width=3, batch_norm=False, bias=False)
    network, x = made(architecture).double(), images(3).double()
    before = network(x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    ratio = (network(x) / before).detach()
    if degree is None:
        assert float(ratio.std() / ratio.mean().abs()) > 1e-3
    else:
        torch.testing.assert_close(ratio, torch.full_like(ratio, 2.0**degree), rtol=1e-9, atol=0.0)


def test_the_seed_decides_the_network_and_leaves_the_global_state() -> None:
    state = torch.random.get_rng_state()
    architecture = Architecture(model="resnet18", width=2, batch_norm=False)
    one, two = made(architecture), made(architecture)
    other = initialised(lambda: build_model(architecture, IMAGE, 10), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"model": "cnn5"}, (128,), r"cnn5 takes images, .*\(128,\); use 'mlp'"),
        ({"model": "resnet18"}, (1, 4, 8), "at least 8 x 8 pixels, not 4 x 8"),
        ({"model": "vgg11"}, (3, 28, 28), "at least 32 x 32"),
        ({"model": "mlp"}, (28, 28), "channels, height, width"),
        ({"model": "mlp"}, (0,), "channels, height, width"),
        ({"centered": True, "paired": True}, (5,), "leave out centered"),
    ],
)
def test_what_is_refused(change: dict[str, object], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        build_model(Architecture(**change), shape, 10)  # type: ignore[arg-type]


# ------------------------------------------------------------------------ zero at initialisation


@pytest.mark.parametrize("option", ["centered", "paired"])
@pytest.mark.parametrize("model", ["mlp", "cnn5", "resnet18"])
@pytest.mark.parametrize("training", [True, False])
def test_centered_and_paired_networks_start_at_zero(
    option: str, model: Model, training: bool
) -> None:
    architecture = Architecture(model=model, width=3, **{option: True})  # type: ignore[arg-type]
    network = made(architecture, (2, 9, 9)).train(training)
    for _ in range(2):  # the statistics of the batches move in training mode
        assert bool((network(images(4, (2, 9, 9))) == 0.0).all())
    bare = made(Architecture(model=model, width=3), (2, 9, 9))
    copies = 2 if option == "paired" else 1
    assert parameter_count(network) == copies * parameter_count(bare)


# ------------------------------------------------------------------------------- the last layer


class Odd(nn.Module):
    """A network of a user's: the readout is registered first, and not every Linear is called."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.readout = nn.Linear(4, 2)
        self.body = nn.Linear(3, 4)
        self.idle = nn.Linear(3, 3)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.readout(torch.tanh(self.body(x)))
        return outputs if self.scale == 1.0 else self.scale * outputs


def test_the_readout_is_found_in_any_module() -> None:
    network, x = Odd(1.0), images(5, (3,))
    reading = read_out(network, x)
    torch.testing.assert_close(reading.features, torch.tanh(network.body(x)))
    assert reading.weights is network.readout.weight
    assert torch.equal(reading.outputs, network(x))
    assert not any(part._forward_hooks for part in network.modules())


def test_a_network_that_does_not_end_with_a_linear_has_no_readout() -> None:
    x = images(5, (3,))
    for network in (Odd(2.0), nn.Identity(), Centered(Odd(2.0)), Paired(Odd(2.0))):
        reading = read_out(network, x)
        assert reading.features is None
        assert reading.weights is None
        assert torch.equal(reading.outputs, network(x))


@pytest.mark.parametrize("option", ["plain", "centered", "paired"])
@pytest.mark.parametrize("model", ["mlp", "cnn5", "resnet18"])
def test_outputs_are_linear_in_the_features(model: Model, option: str) -> None:
    chosen = {} if option == "plain" else {option: True}
    architecture = Architecture(model=model, width=3, bias=False, batch_norm=False, **chosen)  # type: ignore[arg-type]
    network = made(architecture, (1, 8, 8), 4).double()
    with torch.no_grad():  # away from initialisation, the copies apart
        for index, parameter in enumerate(network.parameters()):
            parameter.mul_(1.0 + 0.1 * index)
    x = images(5, (1, 8, 8)).double()
    reading = read_out(network, x)
    torch.testing.assert_close(reading.outputs, network(x), rtol=0.0, atol=0.0)
    subtracted = network.initial(x) if isinstance(network, Centered) else 0.0
    assert reading.features is not None
    assert reading.weights is not None
    torch.testing.assert_close(reading.features @ reading.weights.T, network(x) + subtracted)


def test_hooks_are_removed_when_the_network_fails() -> None:
    network = Odd(1.0)
    with pytest.raises(RuntimeError):
        read_out(network, images(5, (7,)))
    assert not any(part._forward_hooks for part in network.modules())
