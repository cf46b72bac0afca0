"""Ten classes of the real CIFAR-100 through a small network on a processor; see criterion.md."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from overalign.deepnet.archives import CIFAR
from overalign.deepnet.settings import Architecture, Sweep, Task, Training
from overalign.deepnet.statistics import trained
from validation import common, u_curves

STUDY = "cifar100_cpu"
GUESSING = 0.1
ARCHIVE = CIFAR["cifar100"]
SETTINGS = Sweep(
    task=Task(data="cifar100", classes=10, n=2000),
    architecture=Architecture(model="cnn5", width=16),
    training=Training(epochs=150, evaluate_every=2),
    log2_output_multipliers=(-4.0, -2.0, 0.0),
    learning_rates=(0.02,),
    seeds=1,
    seed=2602,
    control=False,
)


def md5_sums(root: str | None) -> dict[str, str]:
    """MD5 of the files of the archive, as they lie there."""
    folder = Path(root or ".").expanduser() / ARCHIVE.folder
    return {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in ARCHIVE.files}


def is_complete(record: Mapping[str, Any], md5: Mapping[str, str]) -> bool:
    """Whether classes, images and files are known from what is recorded; line C3."""
    rows = [record.get(f"{part}_rows_sha256") for part in ("training", "test")]
    return (
        len(record.get("class_ids", ())) == SETTINGS.task.classes
        and record.get("training_images") == SETTINGS.task.n
        and all(rows)
        and dict(md5) == ARCHIVE.files
    )


FIGURES = u_curves.FIGURES


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    root = os.environ.get("CIFAR_ROOT")
    task = msgspec.structs.replace(SETTINGS.task, data_root=root)
    settings = msgspec.structs.replace(SETTINGS, task=task)
    if chosen.quick:
        few = msgspec.structs.replace(SETTINGS.training, epochs=2)
        settings = msgspec.structs.replace(settings, training=few)
    table, seconds = u_curves.swept(settings, STUDY, small=chosen.quick)
    common.save_rows(chosen.output / "runs.csv", u_curves.rows_of(table))
    u_curves.save_learning_curves(chosen.output, table)
    above = float(table["test_accuracy"].min()) - GUESSING
    records = [json.loads(text) for text in table["data_record"].values.ravel()]
    md5 = md5_sums(root)
    complete = sum(is_complete(record, md5) for record in records)
    criteria = [
        common.at_least("C1", "share of the runs that reach 99 %", float(trained(table).mean()), 1),
        common.at_least("C2", "lowest test accuracy less guessing", above, 0.2),
        common.at_least("C3", "records with classes, images and MD5 sums", complete, len(records)),
    ]
    ends = table[["epochs", "test_accuracy", "test_accuracy_peak"]].squeeze()
    measured = {
        "by_log2_c": {
            f"{log2_c:g}": {str(name): float(ends[name].values[k]) for name in ends.data_vars}
            for k, log2_c in enumerate(settings.log2_output_multipliers)
        },
        "seconds": seconds,
        "data": records,
        "md5": md5,
    }
    plain = msgspec.to_builtins(msgspec.structs.replace(settings, task=SETTINGS.task))
    common.record(chosen, STUDY, plain, measured, criteria, ["torch", "xarray"])
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
