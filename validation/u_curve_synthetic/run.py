"""The U-curve of real training on synthetic images; see criterion.md."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import xarray as xr
from msgspec.structs import replace

from overalign.deepnet.settings import Sweep
from overalign.deepnet.statistics import u_curve
from overalign.deepnet.synthetic import SyntheticSettings
from validation import common, u_curves

STUDY = "u_curve_synthetic"
SECONDS = 180.0
POOL = 40_000  # so that the training sets of two seeds share few rows


def isotropic(settings: Sweep, folder: Path) -> Sweep:
    """The sweep on ten isotropic Gaussian classes, of the dimension and separation of the task."""
    law = SyntheticSettings()
    random = np.random.default_rng(settings.seed)
    y = np.arange(POOL) % law.classes
    centres = law.separation * np.linalg.qr(random.normal(size=(law.dimension, law.classes)))[0].T
    x = centres[y] + random.normal(size=(POOL, law.dimension))
    path = folder / "isotropic.npz"
    np.savez(path, x=x.astype(np.float32), y=y)
    held_out = settings.task.held_out or 4000
    task = replace(settings.task, data=f"npz:{path}", held_out=held_out)
    return replace(settings, task=task, control=False)


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    settings = u_curves.settings_of(STUDY)
    if chosen.quick:
        settings = u_curves.quick(settings, n=250)
    table, seconds = u_curves.swept(settings, STUDY)
    with tempfile.TemporaryDirectory() as folder:
        neutral, _ = u_curves.swept(isotropic(settings, Path(folder)), "isotropic classes")
    named = replace(settings.task, data="isotropic Gaussian classes")
    named_settings = msgspec.to_builtins(replace(settings, task=named, control=False))
    neutral = neutral.assign_attrs(settings=json.dumps(named_settings))
    save(chosen.output, table, neutral)
    curve = u_curve(neutral)
    criteria = [
        *u_curves.judge(table, settings),
        u_curves.no_dip("C7", "isotropic classes, dip at small c", curve.left),
        common.at_most("C8", "seconds on two cores", seconds, SECONDS),
        *u_curves.judge_size("C9", table, settings),
    ]
    measured = u_curves.reported(table) | {"seconds": seconds, "isotropic_classes": str(curve)}
    common.record(
        chosen, STUDY, msgspec.to_builtins(settings), measured, criteria, ["torch", "xarray"]
    )


def save(folder: Path, table: xr.Dataset, neutral: xr.Dataset) -> None:
    """Tables and pictures."""
    from overalign.plots.sweep import plot_accuracy

    common.save_rows(folder / "runs.csv", u_curves.rows_of(table))
    common.save_rows(folder / "isotropic.csv", u_curves.rows_of(neutral))
    u_curves.save_pictures(folder, table)
    common.save_figure(folder / "isotropic.png", plot_accuracy(neutral).flat[0].figure)


if __name__ == "__main__":
    main()
