"""One group of a sweep, from its settings to its table: what an executor does."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from torch import nn

from ..errors import DataFileError
from ..records import RunFolder, StrPath, versions
from .checkpoints import Checkpoint
from .course import dtype_of, require_device
from .images import ImageData, read_images
from .mechanism import Mechanism
from .models import build_model
from .seeds import initialised
from .settings import Architecture, Group, Task
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
        the digest of files and not their place, and ``versions`` the libraries', as JSON.

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
    of = group.task, group.seed, group.data_sha256
    data = _images(*of)
    training = group.training
    table = train(
        _maker(group.architecture, data),
        data,
        group.cells,
        training,
        group.seed,
        mechanism=partial(_mechanism, *of, group.architecture, training.precision, training.device),
        checkpoint=None if root is None else Checkpoint(RunFolder(root, group).path),
    )
    table.attrs["data"] = json.dumps(data.record | {"data": group.identity().task.data})
    table.attrs["versions"] = json.dumps(versions("torch"))
    return table


@lru_cache(maxsize=1)  # the groups of one seed follow each other
def _images(task: Task, seed: int, sha256: str | None) -> ImageData:
    """Read the images of a group, if they are those it was planned with."""
    data = read_images(task, seed)
    if sha256 is not None and data.record["data_sha256"] != sha256:
        raise DataFileError(
            f"the files of {task.data!r} changed after the sweep was planned; put the old ones "
            "back, or begin another sweep, in another folder"
        )
    return data


@lru_cache(maxsize=1)  # its kernels at initialisation are those of all cells of a seed
def _mechanism(
    task: Task,
    seed: int,
    sha256: str | None,
    architecture: Architecture,
    precision: Literal["float32", "float64"],
    device: str,
) -> Mechanism:
    """What measures the networks of a group."""
    data = _images(task, seed, sha256)
    start = initialised(_maker(architecture, data), seed).to(device, dtype_of(precision)).train()
    return Mechanism(start, data, seed)


def _maker(architecture: Architecture, data: ImageData) -> Callable[[], nn.Module]:
    return partial(build_model, architecture, data.shape, data.classes)
