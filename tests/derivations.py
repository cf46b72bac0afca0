"""The derivations of theory/, each run once for all tests."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from overalign.derivation import Derivation

THEORY = Path(__file__).resolve().parent.parent / "theory"
FILES = sorted(THEORY.glob("*.py"))


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
    """What derive() of a file returns."""
    return load(file).derive()


def concluded(file: Path) -> list[str]:
    """The statements that a file derives; what is about no statement derives none."""
    derivation = derived(file)
    return derivation.concluded if isinstance(derivation, Derivation) else []
