"""Every derivation in theory/ runs, and its numerical check holds."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

THEORY = Path(__file__).resolve().parent.parent / "theory"
FILES = sorted(THEORY.glob("*.py"))
HEADINGS = ("Setting", "Statement", "Derivation", "Numerical check", "References")


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_derivation(file: Path) -> None:
    module = load(file)
    text = module.__doc__ or ""
    positions = [text.find(f"\n{heading}\n{'-' * len(heading)}\n") for heading in HEADINGS]
    assert all(position > 0 for position in positions)
    assert positions == sorted(positions)
    assert module.derive()


def test_pairs_switch_once_where_separable_and_more_often_on_digits() -> None:
    separable, digits = load(THEORY / "each_pair_switches_at_most_once.py").check(instances=4)
    assert separable == 1
    assert digits > 1
