"""Every derivation in theory/ runs, and ends in the formulas that theory/statements.toml lists."""

import importlib.util
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from overalign.derivation import Derivation
from overalign.statements import REGISTRY

THEORY = Path(__file__).resolve().parent.parent / "theory"
FILES = sorted(THEORY.glob("*.py"))
HEADINGS = ("Setting", "Statement", "Derivation", "Numerical check", "References")
HOWS = {"algebra", "signs", "box", "numerical only"}


@cache
def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def derived(file: Path) -> Any:
    """What derive() of a file returns: once for all tests."""
    return load(file).derive()


def concluded(file: Path) -> list[str]:
    """The statements that a file derives; what is about no statement derives none."""
    derivation = derived(file)
    return derivation.concluded if isinstance(derivation, Derivation) else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_derivation(file: Path) -> None:
    text = load(file).__doc__ or ""
    positions = [text.find(f"\n{heading}\n{'-' * len(heading)}\n") for heading in HEADINGS]
    assert all(position > 0 for position in positions)
    assert positions == sorted(positions)
    derivation = derived(file)
    assert derivation
    if isinstance(derivation, Derivation):
        assert derivation.concluded
        assert {step.how for step in derivation.steps} <= HOWS
        assert len(derivation.steps) > len(derivation.concluded), "it only repeats the formula"
        assert all(f"``{name}``" in text for name in derivation.concluded)


def test_the_list_of_derivations_is_what_they_derive() -> None:
    with (THEORY / "statements.toml").open("rb") as listed:
        table = tomllib.load(listed)
    expected = {
        file.stem: {"statements": names, "places": [REGISTRY[name].place for name in names]}
        for file in FILES
        if (names := concluded(file))
    }
    assert table == expected


def test_pairs_switch_once_where_separable_and_more_often_on_digits() -> None:
    separable, digits = load(THEORY / "each_pair_switches_at_most_once.py").check(instances=4)
    assert separable == 1
    assert digits > 1
