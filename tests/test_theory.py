"""Every derivation in theory/ runs, and ends in the formulas that theory/statements.toml lists."""

import tomllib
from pathlib import Path

import pytest
from derivations import FILES, THEORY, concluded, derived, load

from overalign.derivation import Derivation
from overalign.statements import REGISTRY

HEADINGS = ("Setting", "Statement", "Derivation", "Numerical check", "References")
HOWS = {"algebra", "signs", "box", "numerical only"}


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
