"""The Python of docs/statements.md runs, and its lemma is refuted as the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "statements.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks define, one after another."""
    found: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, PAGE.name, "exec"), found)
    return found


def test_there_are_two_blocks() -> None:
    assert len(BLOCKS) == 2


def test_the_lemma_is_refuted(names: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="no_neuron_is_better: fails"):
        names["test_my_lemma"]()


def test_its_counterexample_is_code(names: dict[str, Any]) -> None:
    import overalign as oa

    found = names["search"](names["lemma"], budget=20, shrink=1.0)
    assert found.is_refuted
    again = eval(repr(found.problem), vars(oa).copy())
    assert names["lemma"].check(again).judgement is oa.Judgement.FAILS
