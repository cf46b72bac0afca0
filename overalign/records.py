"""Files: results that are complete or absent, typed configs, folders of runs, arrays of others.

A file is written under a temporary name in its own folder and then renamed, which replaces an
earlier file of that name in one step.
"""

from __future__ import annotations

import difflib
import errno
import functools
import hashlib
import json
import math
import os
import re
import sys
import tomllib
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Self,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, DataFileError, OutputError, OveralignError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "LOCK",
    "Config",
    "RunFolder",
    "checked",
    "config_from",
    "locked",
    "read_arrays",
    "read_config",
    "read_dataset",
    "read_npz_arrays",
    "replaced",
    "require_writable",
    "run_id",
    "versions",
    "write_config",
    "write_dataset",
]

StrPath: TypeAlias = str | os.PathLike[str]

LOCK = ".lock"
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
        As `require_writable`; or the disk is full. Other errors of the block pass through.

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
    temporary = target.with_name(_temporary(target.name, os.urandom(6).hex()))
    is_written = False
    try:
        yield temporary
        is_written = True
        _to_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        # other errors of the block, as of a file it reads, are not about ``path``
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not (is_written or is_full or error.filename in (temporary, str(temporary))):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _temporary(name: str, mark: str) -> str:
    return f".{name}.{mark}.tmp"


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

    with _reading(path), xr.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()


def read_arrays(path: StrPath) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what a Dataset holds and no more, many times faster than `read_dataset` a small file.

    Parameters
    ----------
    path : str or path
        What `write_dataset` wrote.

    Returns
    -------
    arrays : dict
        By variable, coordinates included; as they are stored: numbers, or str in arrays of objects.
    attributes : dict
        Of the Dataset.

    Raises
    ------
    OutputError
        As `read_dataset`.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_dataset(xr.Dataset({"time": ("run", [1.5, 2.0])}), f"{folder}/run.nc")
    ...     read_arrays(path)[0]["time"].tolist()
    [1.5, 2.0]
    """
    import h5py

    with _reading(path), h5py.File(path, "r") as file:
        arrays = {
            name: np.asarray((each.asstr() if each.dtype == object else each)[()])
            for name, each in file.items()
        }
        return arrays, dict(file.attrs)


@contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """Say of a file that cannot be read what is wrong with it."""
    if not Path(path).is_file():
        raise OutputError(f"{path}: " + ("not a file" if Path(path).exists() else "no such file"))
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: not a readable NetCDF 4 file ({error})") from error


# What numpy and zipfile raise on files that are damaged, encrypted or something else.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz_arrays(
    path: StrPath, wanted: Container[str] | None = None
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read a .npz file that anyone may have written: numbers only, nothing in it is run.

    Parameters
    ----------
    path : str or path
    wanted : container of str, optional
        Names of the arrays to read, as far as they are there; all unless given.

    Returns
    -------
    arrays : dict
        By name.
    names : list of str
        Of all arrays in the file.

    Raises
    ------
    DataFileError
        The file is missing or damaged, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/data.npz", x=np.arange(3), y=np.ones(3))
    ...     read_npz_arrays(f"{folder}/data.npz", wanted=["x"])
    ({'x': array([0, 1, 2])}, ['x', 'y'])
    """
    try:
        # numpy leaves a file it opened itself open when the archive in it is damaged
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = list(archive.files)
            read = [name for name in names if wanted is None or name in wanted]
            return {name: archive[name] for name in read}, names
    except _UNREADABLE as error:
        raise DataFileError(
            f"{path}: not a readable .npz of plain numbers ({_why_no_npz(error)}); expected what "
            "numpy.savez(file, x=..., y=...) writes"
        ) from error


def _why_no_npz(error: Exception) -> str:
    """In words of ours where numpy's advice is to load all the same, which can run any code."""
    if isinstance(error, TypeError):
        return "it is one array, as numpy.save writes it"
    if "allow_pickle" not in str(error):
        return str(error)
    of_objects = "Object arrays" in str(error)
    return "it holds Python objects" if of_objects else "it is not an archive of arrays"


@contextmanager
def locked(folder: StrPath) -> Iterator[None]:
    """Hold a folder, so that no second process works in it as long as the block runs.

    The system gives the folder back when the process ends, however it ends. Where a folder cannot
    be written there is nothing to guard, and it is not held. Nor is it on a disk that knows no
    locks, as some of a network, or where the lock is a file of another user: a warning says so.

    Parameters
    ----------
    folder : str or path
        Must exist. The file ``.lock`` in it says who holds it, and stays there.

    Raises
    ------
    OutputError
        Another process (or another block of this one) holds the folder; says which.

    Warns
    -----
    UserWarning
        The folder cannot be locked.

    Notes
    -----
    By `flock` on POSIX, which NFS knows since Linux 2.6.12; by a locked byte on Windows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(folder):
    ...     try:
    ...         with locked(folder):
    ...             pass
    ...     except OutputError as error:
    ...         print(str(error).removeprefix(folder))
    : process ... on ... works in it; wait until it has ended, or choose another folder
    """
    import platform

    path = Path(folder) / LOCK
    try:
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise OutputError(f"{path}: cannot be made ({error.strerror or error})") from error
        if os.access(folder, os.W_OK):
            _warn_unlocked(folder, error)
        yield
        return
    with stream:
        try:
            _hold(stream)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                stream.seek(0)
                holder = stream.read() or "another process"
                raise OutputError(
                    f"{folder}: {holder} works in it; wait until it has ended, or choose another "
                    "folder"
                ) from error
            _warn_unlocked(folder, error)
        with suppress(OSError):  # a full disk: the name is for messages only
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {platform.node()}")
            stream.flush()
        try:
            yield
        finally:
            with suppress(OSError):  # closing is not enough: forked processes have it open too
                _release(stream)


def _warn_unlocked(folder: StrPath, error: OSError) -> None:
    warnings.warn(
        f"{folder}: cannot be locked ({error.strerror or error}); make sure that no other process "
        "works in it",
        stacklevel=4,  # who opened the block
    )


def _hold(stream: IO[str]) -> None:
    """Lock an open file, or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(2**20)  # a byte that is never written, so that others can read who holds it
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(stream: IO[str]) -> None:
    """Undo `_hold`, in every process that has the file open."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(2**20)
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_UN)


def versions(*more: str) -> dict[str, str]:
    """Versions of this package and of the libraries a result depends on, as attributes.

    Parameters
    ----------
    *more : str
        Libraries that are not always there, as "torch".

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

    from overalign import __version__

    own = {"version_overalign": __version__, "version_python": platform.python_version()}
    return own | {f"version_{name}": _version(name) for name in (*_LIBRARIES, *more)}


@functools.cache
def _version(name: str) -> str:
    """Version of an installed library; a look takes milliseconds."""
    from importlib.metadata import version

    return version(name)


# ---------------------------------------------------------------- typed configs


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of typed configs: immutable, keyword-only, and strict about keys.

    Subclasses hold finite numbers, strings, booleans, None, ``Literal``, tuples of these, and other
    configs; ``Annotated[int, msgspec.Meta(ge=1)]`` bounds a number. `config_from` and `read_config`
    check what they are given; what is built in Python is checked by `checked`.

    Examples
    --------
    >>> class Training(Config):
    ...     width: int = 64
    ...     eta: float = 0.05
    >>> Training(width=8)
    Training(width=8, eta=0.05)
    """

    def identity(self) -> Self:
        """What decides the result of a run, by which its folder is found: all of it by default.

        A kind that says where something is kept, and by a digest what it is, leaves out the place.

        Returns
        -------
        Config
            Of the same kind.
        """
        return self


AnyConfig = TypeVar("AnyConfig", bound=Config)

_PLAIN = (bool, int, float, str, type(None))
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # what Python makes of bytes that are not UTF-8


def config_from(
    kind: type[AnyConfig], values: Mapping[str, Any], source: str = "config"
) -> AnyConfig:
    """A config from plain values, each checked.

    Parameters
    ----------
    kind : type
        The subclass of `Config` to make.
    values : mapping
        By key; nested configs are mappings too. Keys that are left out keep their defaults. An
        integer may stand for a float, nothing else is converted.
    source : str
        Where the values come from, for the message.

    Returns
    -------
    Config
        Of the given kind.

    Raises
    ------
    ConfigError
        An unknown or missing key, a wrong type, or a value out of range; names the key.

    Examples
    --------
    >>> class Training(Config):
    ...     width: int = 64
    >>> try:
    ...     config_from(Training, {"widht": 8}, "training.toml")
    ... except ConfigError as error:
    ...     print(error)
    training.toml: unknown key 'widht'; did you mean 'width'? (known: width)
    """
    try:
        config = msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_objection(kind, values, str(error))}") from error
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{source}: '{key}' is {value}; give a finite number")
        if isinstance(value, str) and _SURROGATE.search(value):
            raise ConfigError(f"{source}: '{key}' is {value!r}, which is not text; write UTF-8")
    return config


def _objection(kind: type[Config], values: Mapping[str, Any], message: str) -> str:
    """What msgspec objects to, with the value it met or with the keys it knows."""
    what, _, where = message.partition(" - at `$")
    path = where.removesuffix("`")
    key = path.removeprefix(".")
    types = _types_at(kind, path)
    unknown = re.fullmatch("Object contains unknown field `(.*)`", what, re.DOTALL)
    if unknown:
        known = [name for each in types if _is_config(each) for name in each.__struct_fields__]
        close = difflib.get_close_matches(unknown[1], known, 1)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        place = f" in '{key}'" if key else ""
        return f"unknown key '{unknown[1]}'{place}{meant} (known: {', '.join(known)})"
    if not key or what.startswith("Object missing"):
        return f"{what} in '{key}'" if key else what
    choices = [
        repr(word) for each in types if get_origin(each) is Literal for word in get_args(each)
    ]
    hint = f" (choose from {', '.join(choices)})" if choices else ""
    return f"'{key}' is {_value_at(values, path)!r}: {what}{hint}"


def _types_at(kind: type[Config], path: str) -> list[Any]:
    """The types, unions taken apart, of what stands at a path of msgspec: ".model.widths[0]"."""
    types: list[Any] = [kind]
    for name in re.findall(r"\.(\w+)", path):
        fields = [f for each in types if _is_config(each) for f in msgspec.structs.fields(each)]
        types = [part for f in fields if f.encode_name == name for part in _parts(f.type)]
    return types


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that stands inside its brackets."""
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _is_config(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Config)


def _value_at(values: Any, path: str) -> Any:
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        values = values[name] if name else values[int(index)]
    return values


def _leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """What a config holds, with dotted keys; tuples and nested configs are taken apart."""
    left: list[tuple[str, Any]] = [("", config)]
    while left:
        key, value = left.pop()
        if isinstance(value, Config):
            names = value.__struct_fields__
            inside = [(f"{key}.{name}" if key else name, getattr(value, name)) for name in names]
        elif isinstance(value, list | tuple):
            inside = [(f"{key}[{index}]", each) for index, each in enumerate(value)]
        else:
            yield key, value
            continue
        left += reversed(inside)


def checked(config: AnyConfig) -> AnyConfig:
    """The config with every field of its type and in its range: Python does not look on the way in.

    Parameters
    ----------
    config : Config
        Numbers may be numpy's.

    Returns
    -------
    Config
        Equal to ``config``, its numbers Python's own.

    Raises
    ------
    ConfigError
        As `config_from`.

    Examples
    --------
    >>> class Training(Config):
    ...     width: int = 64
    >>> try:
    ...     checked(Training(width="8"))
    ... except ConfigError as error:
    ...     print(error)
    Training: 'width' is '8': Expected `int`, got `str`
    """
    kind = type(config)
    try:
        return msgspec.convert(_plain(config), kind)
    except (_NotPlainError, msgspec.ValidationError):
        pass  # once more, slowly, to say where
    for key, value in _leaves(config):
        if type(_unwrapped(value)) not in _PLAIN:
            raise ConfigError(
                f"{kind.__name__}: '{key}' is {value!r}; a config holds numbers, strings, "
                "booleans, None, tuples of these, and configs"
            )
    return config_from(kind, msgspec.to_builtins(config, enc_hook=_unwrapped), kind.__name__)


class _NotPlainError(ValueError):
    """Something in a config that it cannot hold."""


def _plain(value: Any) -> Any:
    """What a config holds, in dicts and lists of Python's own numbers and strings."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise _NotPlainError
    elif kind is str:
        if _SURROGATE.search(value):
            raise _NotPlainError
    elif kind in _PLAIN:
        pass
    elif isinstance(value, Config):
        tag = {value.__struct_config__.tag_field: value.__struct_config__.tag}
        fields = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        return fields if None in tag else tag | fields
    elif kind is tuple or kind is list:
        return [_plain(each) for each in value]
    elif isinstance(value, np.generic) and type(value.item()) in _PLAIN:
        return _plain(value.item())
    else:
        raise _NotPlainError
    return value


def _unwrapped(value: Any) -> Any:
    """A number of numpy as Python's own; other values as they are."""
    return value.item() if isinstance(value, np.generic) else value


def read_config(kind: type[AnyConfig], path: StrPath) -> AnyConfig:
    """Read a config from TOML; keys that are left out keep their defaults.

    Parameters
    ----------
    kind : type
        The subclass of `Config` to make.
    path : str or path
        TOML has no None: the word "none" stands for it in a field that takes None and no text.

    Returns
    -------
    Config
        Of the given kind.

    Raises
    ------
    ConfigError
        No such file, not TOML, or as `config_from`.

    Examples
    --------
    >>> class Training(Config):
    ...     width: int = 64
    >>> try:
    ...     read_config(Training, "missing.toml")
    ... except ConfigError as error:
    ...     print(error)
    missing.toml: cannot be read (No such file or directory)
    """
    try:
        values = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    return config_from(kind, _with_none(kind, values), str(path))


def write_config(config: Config, path: StrPath) -> Path:
    """Write a config as TOML, in one step, every number to its last bit.

    Parameters
    ----------
    config : Config
        A None is written as `read_config` takes it, or left out where the field takes text.
    path : str or path

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ConfigError
        As `checked`; or a field is None that would not be None when it is left out.
    OutputError
        As `replaced`.

    Examples
    --------
    >>> import tempfile
    >>> class Training(Config):
    ...     width: int = 64
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_config(Training, write_config(Training(width=8), f"{folder}/config.toml"))
    Training(width=8)
    """
    import tomli_w

    config = checked(config)
    kind = type(config)
    values = _without_none(kind, msgspec.to_builtins(config))
    again = config_from(kind, _with_none(kind, values), str(path))
    if again != config:
        raise ConfigError(f"{path}: TOML has no None; it would hold {again}, not {config}")
    with replaced(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), "utf-8")
    return Path(path)


_NONE = "none"


def _with_none(kind: type[Config], values: Any, path: str = "") -> Any:
    """Values of TOML with None for the word that stands for it."""
    if isinstance(values, dict):
        return {key: _with_none(kind, value, f"{path}.{key}") for key, value in values.items()}
    if isinstance(values, list):
        return [_with_none(kind, value, f"{path}[]") for value in values]
    return None if values == _NONE and _may_say_none(kind, path) else values


def _without_none(kind: type[Config], values: Any, path: str = "") -> Any:
    """Plain values as TOML can hold them."""
    if isinstance(values, dict):
        each = {key: _without_none(kind, value, f"{path}.{key}") for key, value in values.items()}
        return {key: value for key, value in each.items() if value is not None}
    if isinstance(values, list | tuple):
        every = [_without_none(kind, value, f"{path}[]") for value in values]
        return [value for value in every if value is not None]
    return _NONE if values is None and _may_say_none(kind, path) else values


def _may_say_none(kind: type[Config], path: str) -> bool:
    """Whether a field, not an item of a list, takes None and no text."""
    types = _types_at(kind, path)
    return not path.endswith("]") and NoneType in types and str not in types


# ---------------------------------------------------------------- run folders


def run_id(config: Config) -> str:
    """Name of the run of a config: 16 hexadecimal digits.

    Parameters
    ----------
    config : Config

    Returns
    -------
    str
        The hash of `Config.identity`, the kind of the config, and the version of this package:
        results of another version are never taken for current ones.

    Raises
    ------
    ConfigError
        As `checked`.

    Examples
    --------
    >>> class Training(Config):
    ...     eta: float = 1
    >>> run_id(Training()) == run_id(Training(eta=1.0)), len(run_id(Training()))
    (True, 16)
    """
    return _digest(_identity(checked(config)))


def _identity(config: Config) -> dict[str, Any]:
    """All that tells one run from another."""
    from overalign import __version__

    content = msgspec.to_builtins(config.identity())
    return {"kind": type(config).__name__, "version": __version__, "config": content}


def _digest(identity: Any) -> str:
    canonical = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class RunFolder(Generic[AnyConfig]):
    """One run on disk: ``root/<run_id>`` with config.json, result.nc and status.json.

    config.json holds the `Config.identity`. The status is written last and holds the hash of the
    result: a run that was killed, or whose files are damaged, is unfinished. One process at a time
    should write to a run; it may keep further files in the folder, which `begin` leaves alone.

    Parameters
    ----------
    root : path
        The folder of all runs.
    config : Config

    Attributes
    ----------
    config : Config
        As `checked` gives it.
    path : pathlib.Path
        The folder, absolute; `begin` makes it.

    Raises
    ------
    ConfigError
        As `checked`; or the folder holds the config of something else.
    OutputError
        The folder cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> class Training(Config):
    ...     width: int = 64
    >>> run = RunFolder(tempfile.mkdtemp(), Training())
    >>> run.state
    'absent'
    >>> run.begin()
    >>> run.finish(xr.Dataset({"time": 1.5}), seconds=0.1)
    >>> run.state, float(run.result().time)
    ('finished', 1.5)
    """

    def __init__(self, root: StrPath, config: AnyConfig) -> None:
        self.config = checked(config)
        self._identity = _identity(self.config)
        self.path = Path(root).absolute() / _digest(self._identity)
        # reading many small variables back is slow
        self._finished: xr.Dataset | None = None
        self._arrays: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None = None
        self._require_same_config()

    def _require_same_config(self) -> None:
        kept = self.path / "config.json"
        try:
            found = json.loads(kept.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise OutputError(f"{kept}: cannot be read ({error.strerror or error})") from error
        except ValueError:
            found = None
        if _digest(found) != self.path.name:
            raise ConfigError(
                f"{kept}: is not the config of this run, so it was changed; remove {self.path} to "
                "do the run again"
            )

    @property
    def state(self) -> Literal["absent", "unfinished", "finished", "failed"]:
        """How far the run is."""
        if not self.path.is_dir():
            return "absent"
        status = self._status()
        if status.get("state") == "finished" and (self.path / "config.json").is_file():
            return "finished" if status.get("sha256") == self._result_hash() else "unfinished"
        return "failed" if status.get("state") == "failed" and self.error else "unfinished"

    @property
    def error(self) -> str:
        """What ended the last attempt, in one line or a few; empty if nothing did."""
        error = self._status().get("error")
        return error if isinstance(error, str) else ""

    @property
    def seconds(self) -> float:
        """How long the last attempt took that ended; not a number if none did."""
        seconds = self._status().get("seconds")
        return float(seconds) if isinstance(seconds, int | float) else math.nan

    @property
    def traceback(self) -> str:
        """Where in the code the last attempt ended; empty unless by an error."""
        return str(self._status().get("traceback", ""))

    def _status(self) -> dict[str, Any]:
        """Empty if there is none, or if it is damaged."""
        try:
            status = json.loads((self.path / "status.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def _result_hash(self) -> str | None:
        try:
            with (self.path / "result.nc").open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return None

    def result(self) -> xr.Dataset:
        """The result of a finished run.

        Raises
        ------
        OutputError
            There is none, or it cannot be read.
        """
        if self._finished is not None:
            return self._finished.copy()
        return read_dataset(self.path / "result.nc")

    def arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The values and attributes of a finished run, as `read_arrays`; the file is read once.

        Raises
        ------
        OutputError
            As `result`.
        """
        if self._arrays is None:
            self._arrays = (
                read_arrays(self.path / "result.nc")
                if self._finished is None
                else (
                    {str(name): each.values for name, each in self._finished.variables.items()},
                    dict(self._finished.attrs),
                )
            )
        return self._arrays

    def begin(self) -> None:
        """Make the folder, and take back what an earlier attempt said: the run is unfinished.

        What an attempt that was killed was writing, under temporary names, is removed.

        Raises
        ------
        OutputError
            The folder cannot be made or written.
        """
        self._finished = self._arrays = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "status.json").unlink(missing_ok=True)
            for temporary in self.path.glob(_temporary("*", "*")):
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be made ({error.strerror or error})") from error
        self._write_json("config.json", self._identity)

    def finish(self, dataset: xr.Dataset, seconds: float) -> None:
        """Keep the result of a run that has begun, then say that it is finished.

        Parameters
        ----------
        dataset : xarray.Dataset
            As `write_dataset` takes it.
        seconds : float
            How long it took.

        Raises
        ------
        OutputError
            As `replaced`.
        """
        write_dataset(dataset, self.path / "result.nc")
        self._end("finished", seconds, sha256=self._result_hash())
        self._finished = dataset

    def fail(self, error: BaseException, seconds: float | None = None) -> None:
        """Keep the traceback of a run that has begun.

        Parameters
        ----------
        error : exception
            An `OveralignError` says what to change, a file or the room on the disk: the run is then
            unfinished, to be tried again without further ado. Any other error is a failure.
        seconds : float, optional
            How long it took, if that is known.

        Raises
        ------
        OutputError
            As `replaced`.
        """
        lines = traceback.format_exception(error)
        said = {"error": f"{type(error).__name__}: {error}", "traceback": "".join(lines)}
        state = "unfinished" if isinstance(error, OveralignError) else "failed"
        self._end(state, seconds, **said)

    def _end(self, state: str, seconds: float | None, **details: Any) -> None:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        status = {"state": state, "seconds": seconds, "date": date, "versions": versions()}
        self._write_json("status.json", status | details)

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        with replaced(self.path / name) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
