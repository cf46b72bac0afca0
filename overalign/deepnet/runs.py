"""One group of a sweep, from its settings to its table: what an executor does."""

from __future__ import annotations

import json
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ..errors import DataFileError
from ..records import RunFolder, StrPath
from .checkpoints import Checkpoint
from .course import require_device
from .images import ImageData, data_digest, read_images
from .models import build_model
from .settings import Group, Task
from .training import train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["run_group"]


def run_group(group: Group, root: StrPath | None = None) -> xr.Dataset:
    """Train the networks of a group.

    Parameters
    ----------
    group : Group
    root : path, optional
        Folder of the run folders. The group's own, which exists (`overalign.engine.run_all` makes
        it), then holds a checkpoint, from which a second call goes on, and ``history.jsonl``.

    Returns
    -------
    xarray.Dataset
        As `overalign.deepnet.train`; attribute ``data`` is the record of the data, as JSON, with
        the digest of files and not their place.

    Raises
    ------
    OveralignError
        No such device; the data cannot be read, or are not those the group was planned with; the
        network cannot take them; or the folder cannot be written.

    Examples
    --------
    >>> from overalign.deepnet.runs import run_group
    >>> from overalign.deepnet.settings import Architecture, Cell, Group, Task, Training
    >>> group = Group(
    ...     task=Task(n=50, held_out=50),
    ...     architecture=Architecture(width=8),
    ...     training=Training(epochs=2),
    ...     seed=0,
    ...     cells=(Cell(log2_output_multiplier=-2.0, learning_rate=0.1),),
    ... )
    >>> run_group(group).epoch.values.tolist()
    [0, 1, 2]
    """
    require_device(group.training.device)  # before any work
    data = _images(group.task, group.seed, group.data_sha256)
    table = train(
        partial(build_model, group.architecture, data.shape, data.classes),
        data,
        group.cells,
        group.training,
        group.seed,
        measure=group.training.mechanism,
        checkpoint=None if root is None else Checkpoint(RunFolder(root, group).path),
    )
    table.attrs["data"] = json.dumps(data.record | {"data": group.identity().task.data})
    return table


@lru_cache(maxsize=1)  # the groups of one seed follow each other
def _images(task: Task, seed: int, sha256: str | None) -> ImageData:
    """Read the images of a group, if they are those it was planned with."""
    if sha256 is not None and data_digest(task) != sha256:
        raise DataFileError(
            f"the files of {task.data!r} changed after the sweep was planned; put the old ones "
            "back, or begin another sweep, in another folder"
        )
    return read_images(task, seed)
