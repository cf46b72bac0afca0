"""The U-curve of real training on synthetic images; see criterion.md."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from overalign.deepnet.settings import Sweep
from overalign.deepnet.statistics import u_curve
from overalign.deepnet.synthetic import SyntheticSettings
from overalign.plots import plot_accuracy
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


def draw_isotropic(results: Path) -> Any:
    """Test accuracy on isotropic Gaussian classes, against the output multiplier."""
    settings = u_curves.recorded_settings(results)
    named = replace(settings.task, data="isotropic Gaussian classes")
    of_classes = replace(settings, task=named, control=False)
    table = u_curves.table_of(common.read_rows(results / "isotropic.csv"), of_classes)
    return plot_accuracy(table).flat[0].figure


FIGURES: common.Figures = {**u_curves.FIGURES, "isotropic.png": draw_isotropic}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    settings = u_curves.settings_of(STUDY)
    if chosen.quick:
        settings = u_curves.quick(settings, n=250)
    table, seconds = u_curves.swept(settings, STUDY, small=chosen.quick)
    with tempfile.TemporaryDirectory() as folder:
        neutral, _ = u_curves.swept(
            isotropic(settings, Path(folder)), "isotropic classes", small=chosen.quick
        )
    common.save_rows(chosen.output / "runs.csv", u_curves.rows_of(table))
    common.save_rows(chosen.output / "isotropic.csv", u_curves.rows_of(neutral))
    u_curves.save_learning_curves(chosen.output, table)
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
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
