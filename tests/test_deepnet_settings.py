"""What settings say of a training is what the training does."""

from __future__ import annotations

import pytest

from overalign.deepnet.course import Setup
from overalign.deepnet.images import read_images
from overalign.deepnet.models import build_model
from overalign.deepnet.settings import Architecture, Cell, Task, Training

RULES = [
    (Training(), "lr / c", [1.6, 0.1, 0.00625]),
    (Training(homogeneous_degree=2.0), "lr c^(-2/2)", [1.6, 0.1, 0.00625]),
    (Training(homogeneous_degree=4.0), "lr c^(-2/4)", [0.4, 0.1, 0.025]),
    (Training(homogeneous_degree=2.5), "lr c^(-2/2.5)", [0.1 * 2.0**3.2, 0.1, 0.1 * 2.0**-3.2]),
    (Training(optimiser="adam"), "lr", [0.1, 0.1, 0.1]),
    (Training(optimiser="adam", homogeneous_degree=4.0), "lr", [0.1, 0.1, 0.1]),
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
