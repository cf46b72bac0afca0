"""What settings say of a training is what the training does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from overalign.deepnet.course import Setup
from overalign.deepnet.images import read_images
from overalign.deepnet.models import build_model
from overalign.deepnet.settings import Architecture, Cell, Sweep, Task, Training
from overalign.errors import ProblemError

RULES = [
    (Training(), "lr / c", [1.6, 0.1, 0.00625]),
    (Training(homogeneous_degree=2.0), "lr c^(-2/2)", [1.6, 0.1, 0.00625]),
    (Training(homogeneous_degree=4.0), "lr c^(-2/4)", [0.4, 0.1, 0.025]),
    (Training(homogeneous_degree=2.5), "lr c^(-2/2.5)", [0.1 * 2.0**3.2, 0.1, 0.1 * 2.0**-3.2]),
    (Training(optimiser="adam"), "lr", [0.1, 0.1, 0.1]),
]


@pytest.mark.parametrize(("training", "words", "expected"), RULES)
def test_the_step_rule_is_that_of_the_steps(
    training: Training, words: str, expected: list[float]
) -> None:
    data = read_images(Task(n=20, held_out=20), seed=0)
    cells = [Cell(log2_output_multiplier=log2_c, learning_rate=0.1) for log2_c in (-4.0, 0.0, 4.0)]
    setup = Setup.of(
        lambda: build_model(Architecture(width=4), data.shape, data.classes),
        *(data, cells, training, 0),
    )
    power, said = training.step_rule()
    assert said == words
    assert setup.rates(range(3)).tolist() == pytest.approx(expected, rel=1e-6)
    assert [0.1 / cell.output_multiplier**power for cell in cells] == pytest.approx(expected)


def test_a_checked_sweep_has_numbers_and_tuples_of_its_own() -> None:
    sweep = Sweep(seeds=np.int64(2), log2_output_multipliers=[-2.0, 0])  # type: ignore[arg-type]
    checked = sweep.check()
    assert checked == Sweep(seeds=2, log2_output_multipliers=(-2.0, 0.0))
    assert type(checked.seeds) is int
    assert checked.check() == checked


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("model", ["mlp", "cnn5", "vgg11", "vgg19", "resnet18", "resnet50"])
def test_the_degree_of_a_network_is_that_of_its_outputs(
    model: str, batch_norm: bool, paired: bool
) -> None:
    architecture = Architecture(
        model=model,  # type: ignore[arg-type]
        width=8,
        depth=4,
        batch_norm=batch_norm,
        bias=False,
        paired=paired,
    )
    torch.manual_seed(0)
    network = build_model(architecture, (1, 32, 32), classes=3).double()
    with torch.no_grad():
        for part in network.modules():
            if hasattr(part, "eps"):
                part.eps = 1e-30
        for parameter in network.parameters():  # gains too; and copies that differ
            parameter.mul_(1.0 + 0.5 * torch.rand_like(parameter))
        x = torch.randn(8, 1, 32, 32, dtype=torch.float64)
        before = network(x)
        for parameter in network.parameters():
            parameter.mul_(1.3)
        powers = (network(x) / before).abs().log() / math.log(1.3)
    degree = architecture.homogeneous_degree()
    if degree is None:
        assert float(powers.max() - powers.min()) > 1e-3
    else:
        assert powers.numpy() == pytest.approx(degree, abs=1e-6)


@pytest.mark.parametrize(
    ("architecture", "degree", "message"),
    [
        (Architecture(bias=False), 2.0, "is 2, and that of this network is 3; give that"),
        (Architecture(model="vgg11", bias=False, batch_norm=True), 9.0, "of this network is 2"),
        (Architecture(), 3.0, "a network with biases.*bias = false"),
        (Architecture(model="resnet18", bias=False, batch_norm=False), 2.0, "not homogeneous"),
    ],
)
def test_a_degree_that_the_network_has_not_is_refused(
    architecture: Architecture, degree: float, message: str
) -> None:
    training = Training(homogeneous_degree=degree)
    with pytest.raises(ProblemError, match=message):
        Sweep(architecture=architecture, training=training).check()
    assert Architecture(bias=True).homogeneous_degree() is None


def test_what_means_nothing_is_known_before_any_data_is_read() -> None:
    with pytest.raises(ProblemError, match="leave out centered"):
        Sweep(architecture=Architecture(centered=True, paired=True)).check()
