"""A checkout with studies that take no time, for tests of claims and commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STUDY = """
import argparse, json, pathlib, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--output", type=pathlib.Path)
chosen = parser.parse_args()
chosen.output.mkdir(parents=True)
{before}
(chosen.output / "summary.json").write_text(json.dumps({summary!r} | {{"quick": chosen.quick}}))
"""


def line(name: str, verdict: str = "HOLDS", **fields: Any) -> dict[str, Any]:
    """A line of a summary."""
    plain = {"statement": f"of {name}", "measured": 0.5, "interval": None, "threshold": 1.0}
    return {"line": name, **plain, **fields, "verdict": verdict}


def summary(study: str, *lines: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A record."""
    plain = {"study": study, "quick": False, "date": "2026-01-02", "hardware": "a machine"}
    kept = {"seconds": 2.0, "measured": {}, "criteria": list(lines), "verdict": "HOLDS"}
    return plain | kept | fields


def entry(name: str, study: str, lines: str = '["C1"]', more: str = "") -> str:
    """A claim of a ledger."""
    return (
        f'[{name}]\ntitle = "{name} is so"\ntheory = "$1 = 1$"\nprovenance = "ours"\n'
        f'place = "here"\nstudy = "{study}"\nlines = {lines}\nmeaning = "Nothing."\n{more}\n'
    )


def write_study(
    checkout: Path, study: str, record: Mapping[str, Any], before: str = "", quick: bool = True
) -> None:
    """A study that writes a record, after a few lines of Python; recorded so in both tiers."""
    folder = checkout / "validation" / study
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "run.py").write_text(STUDY.format(summary=dict(record), before=before))
    (folder / "results" / "summary.json").write_text(json.dumps(record))
    if quick:
        (folder / "results" / "quick.json").write_text(json.dumps({**record, "quick": True}))


def write_checkout(checkout: Path) -> Path:
    """Claims A1 and A2 of one study, B1 of another, and G1, which needs a GPU."""
    (checkout / "validation").mkdir(parents=True)
    write_study(checkout, "first", summary("first", line("C1"), line("C2", "INCONCLUSIVE")))
    write_study(checkout, "second", summary("second", line("C1", "FAILS", measured=2.0)))
    (checkout / "validation" / "ledger.toml").write_text(
        entry("A1", "first")
        + entry("A2", "first", '["C1", "C2"]')
        + entry("B1", "second")
        + entry("G1", "second", more='needs = "gpu"')
    )
    return checkout
