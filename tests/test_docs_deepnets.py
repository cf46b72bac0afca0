"""The Python of docs/deepnets.md runs, and its names are those of the package."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from overalign.deepnet.images import read_images
from overalign.deepnet.mechanism import MECHANISM
from overalign.deepnet.statistics import at_best_rates, trained
from overalign.deepnet.transfer import best_multiplier

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "deepnets.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the blocks define, one after another, in a folder of their own."""
    found: dict[str, Any] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small are not worth a second one
    with contextlib.chdir(tmp_path_factory.mktemp("page")):
        for block in BLOCKS:
            exec(compile(block, "deepnets.md", "exec"), found)
        torch.set_num_threads(threads)
        yield found


def test_the_blocks_say_what_the_page_says(names: dict[str, Any]) -> None:
    assert (names["paper"], names["exact"]) == pytest.approx((0.64, 0.16))
    assert names["test"].judgement.name == "INCONCLUSIVE"
    assert "14 seeds" in str(names["test"])
    assert names["axes"].shape == (2, 1)
    neutral = read_images(names["neutral"], seed=0)
    assert (len(neutral.train), len(neutral.test), neutral.classes) == (1000, 1000, 10)
    assert 0.3 < names["found"].validation_accuracy < 1.0
    assert len(names["found"].trials) <= 11
    assert names["search"].best == -5.5
    assert names["law"].coefficients[1:] == pytest.approx([-1.0, -1.0], abs=0.2)
    assert names["theory"].predict((-12.0, 4.0)).log2_c.value == pytest.approx(-1.0, abs=0.2)
    assert names["predicted"].large.value > 0.0


def test_accuracies_of_a_sweep_go_into_the_law_as_the_page_says(names: dict[str, Any]) -> None:
    table = names["table"].copy(deep=True)
    curve = 0.5 - 0.01 * (table.log2_output_multiplier - 1.0) ** 2
    table["test_accuracy"] = 0.0 * table.test_accuracy + curve
    table["outcome"] = table.outcome.where(False, "REACHED")
    chosen = at_best_rates(table)
    best = best_multiplier(
        chosen.test_accuracy.where(trained(chosen)), chosen.log2_output_multiplier
    )
    assert best.log2_c == pytest.approx(1.0)


def test_every_variable_of_a_sweep_is_on_the_page(names: dict[str, Any]) -> None:
    described = set(re.findall(r"`(\w+\*?)`", TEXT))
    roots = ("predictor_change_cosine", "predictor_cosine", "readout_cosine")
    missing = [
        name
        for name in (*names["table"].data_vars, *MECHANISM)
        if name not in described
        and not name.endswith("_history")
        and not name.startswith(roots)
        and name not in ("outcome", "reason")
    ]
    assert not missing
    assert not np.setdiff1d([f"{root}_empirical" for root in roots], MECHANISM).size
