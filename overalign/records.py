"""Results on disk: a file is complete or absent, never half-written.

A file is written under a temporary name in its own folder and then renamed, which replaces an
earlier file of that name in one step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import OutputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_dataset", "replaced", "require_writable", "versions", "write_dataset"]

StrPath: TypeAlias = str | os.PathLike[str]

_LIBRARIES = ("numpy", "scipy", "numba", "xarray", "h5netcdf")


@contextmanager
def replaced(path: StrPath) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; move it there when the block ends well.

    Parameters
    ----------
    path : str or path
        The file to make, or to replace. A link is followed: the file it points to is replaced.

    Yields
    ------
    pathlib.Path
        Where to write. It does not exist yet. If the block raises it is removed and ``path`` is
        left as it was.

    Raises
    ------
    OutputError
        As `require_writable`; or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replaced(f"{folder}/note.txt") as temporary:
    ...         count = temporary.write_text("done")
    ...     Path(folder, "note.txt").read_text()
    'done'
    """
    target = Path(path).resolve()
    require_writable(target)
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def require_writable(path: StrPath) -> None:
    """Raise unless a file could be written at ``path``: to be asked before long work, not after.

    Raises
    ------
    OutputError
        The folder is missing or cannot be written, or ``path`` is a folder.

    Examples
    --------
    >>> try:
    ...     require_writable("/missing/folder/flow.nc")
    ... except OutputError as error:
    ...     print(error)
    /missing/folder: the folder does not exist; create it or choose another
    """
    target = Path(path).resolve()
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file")
    if not os.path.lexists(folder):
        raise OutputError(f"{folder}: the folder does not exist; create it or choose another")
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder; choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: the folder cannot be written; choose another")


def _to_disk(path: Path) -> None:
    """Have the content on the disk before the name: a power cut must not leave an empty file."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def write_dataset(dataset: xr.Dataset, path: StrPath) -> Path:
    """Write a Dataset as NetCDF 4, compressed; an earlier file is replaced in one step.

    Parameters
    ----------
    dataset : xarray.Dataset
        Attributes must be numbers, strings, or lists of one of them.
    path : str or path

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    OutputError
        As `replaced`.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_dataset(xr.Dataset({"time": 1.5}), f"{folder}/run.nc")
    ...     float(read_dataset(path).time)
    1.5
    """
    encoding = {
        name: {"zlib": True, "complevel": 4}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.size and variable.dtype.kind in "iuf"
    }
    # made in memory: HDF5 on a full disk prints pages and can crash the process
    content = dataset.to_netcdf(engine="h5netcdf", encoding=encoding)
    with replaced(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def read_dataset(path: StrPath) -> xr.Dataset:
    """Read a Dataset into memory and close the file.

    Parameters
    ----------
    path : str or path
        What `write_dataset` wrote.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    OutputError
        No such file, or not a NetCDF 4 file.

    Examples
    --------
    >>> try:
    ...     read_dataset("missing.nc")
    ... except OutputError as error:
    ...     print(error)
    missing.nc: no such file
    """
    import xarray as xr

    if not Path(path).is_file():
        raise OutputError(f"{path}: " + ("not a file" if Path(path).exists() else "no such file"))
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return dataset.load()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: not a readable NetCDF 4 file ({error})") from error


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries a result depends on, as attributes.

    Returns
    -------
    dict
        Keys ``version_overalign``, ``version_python``, ``version_numpy``, ...

    Examples
    --------
    >>> import overalign
    >>> versions()["version_overalign"] == overalign.__version__
    True
    """
    import platform
    from importlib.metadata import version

    from overalign import __version__

    own = {"version_overalign": __version__, "version_python": platform.python_version()}
    return own | {f"version_{name}": version(name) for name in _LIBRARIES}
