"""Images and labels as others keep them: published archives, folders of images, numpy files.

Nothing is repaired silently, and nothing that a file says is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DataFileError
from ..records import read_npz_arrays

__all__ = [
    "CIFAR",
    "Collection",
    "files_of",
    "read_archive",
    "read_cifar",
    "read_digits",
    "read_folder",
    "read_npz",
]

Array: TypeAlias = NDArray[Any]
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Collection:
    """Labelled images, as many as there are.

    Attributes
    ----------
    x : array [n, channels, height, width] or [n, features]
        uint8 or float32.
    y : int64 array [n]
        Index into ``names``.
    names : tuple of str
        Of the classes.
    test : tuple of arrays (x, y), optional
        A test set that the source keeps apart.
    """

    x: Array
    y: IntArray
    names: tuple[str, ...]
    test: tuple[Array, IntArray] | None = None


# ---------------------------------------------------------------- scikit-learn's digits


def read_digits() -> Collection:
    """The 1,797 handwritten digits that come with scikit-learn.

    Returns
    -------
    Collection
        x uint8 [1797, 1, 8, 8]: the values 0 to 16 of the set times 15, so 0 to 240.

    Raises
    ------
    DataFileError
        scikit-learn is not installed.

    Examples
    --------
    >>> read_digits().x.shape
    (1797, 1, 8, 8)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataFileError(
            "digits: they come with scikit-learn, which is not installed; install "
            "overalign[deepnet] or scikit-learn"
        ) from error
    images, target = load_digits(return_X_y=True)
    x = (15 * images).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Collection(x, target.astype(np.int64), tuple("0123456789"))


# ---------------------------------------------------------------- published archives


@dataclass(frozen=True)
class Cifar:
    """Where the files of a published archive lie, and their MD5.

    Attributes
    ----------
    folder : str
        What the archive unpacks to.
    train, test, names : mapping of str to str
        Files of the training set, of the test set and of the class names, with their MD5.
    labels_key, names_key : str
        Keys of the labels and of the class names.
    """

    folder: str
    train: dict[str, str]
    test: dict[str, str]
    names: dict[str, str]
    labels_key: str
    names_key: str

    @property
    def files(self) -> dict[str, str]:
        """MD5 of every file."""
        return self.train | self.test | self.names


CIFAR = {
    "cifar10": Cifar(
        folder="cifar-10-batches-py",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        names={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        labels_key="labels",
        names_key="label_names",
    ),
    "cifar100": Cifar(
        folder="cifar-100-python",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        names={"meta": "7973b15100ade9c7d40fb424638fde48"},
        labels_key="fine_labels",
        names_key="fine_label_names",
    ),
}


def read_cifar(name: str, root: str | None, any_md5: bool = False) -> Collection:
    """CIFAR-10 or CIFAR-100 from its published archive for Python, unpacked.

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
    root : str
        The folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``.
    any_md5 : bool
        Read files whose MD5 is not the published one. They are read by `read_archive` in any case,
        which can build nothing but plain containers and arrays of numbers.

    Returns
    -------
    Collection
        x uint8 [n, 3, 32, 32], with the test set of the archive.

    Raises
    ------
    DataFileError
        The folder or a file is missing (says what to get and where to put it), has another MD5, or
        does not hold what it should.
    """
    archive = CIFAR[name]
    folder = _cifar_folder(name, root)

    def read(file: str, md5: str) -> dict[str, Any]:
        return read_archive(folder / file, None if any_md5 else md5)

    (meta, md5), *_ = archive.names.items()
    names = _class_names(folder / meta, read(meta, md5), archive.names_key)
    parts = []
    for files in (archive.train, archive.test):
        pieces = [
            _cifar_images(folder / file, read(file, md5), archive.labels_key, len(names))
            for file, md5 in files.items()
        ]
        x, y = (
            np.concatenate(each) if len(each) > 1 else each[0] for each in zip(*pieces, strict=True)
        )
        parts.append((x, y))
    return Collection(*parts[0], names=names, test=parts[1])


def _cifar_folder(name: str, root: str | None) -> Path:
    archive = CIFAR[name]
    folder = Path(root or ".").expanduser() / archive.folder
    missing = [file for file in archive.files if not (folder / file).is_file()]
    if missing:
        number = name.removeprefix("cifar")
        what = "no such folder" if not folder.is_dir() else f"no file {missing[0]}"
        where = "" if root else " in the current folder, as data_root is not given"
        raise DataFileError(
            f"{folder}: {what}{where}; download cifar-{number}-python.tar.gz from "
            "https://www.cs.toronto.edu/~kriz/cifar.html, unpack it, and set data_root to the "
            f"folder that holds {archive.folder}"
        )
    return folder


def _class_names(path: Path, content: dict[str, Any], key: str) -> tuple[str, ...]:
    names = content.get(key)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataFileError(f"{path}: no list of names {key!r}; found {sorted(content)}")
    return tuple(_text(name) for name in names)


def _cifar_images(
    path: Path, content: dict[str, Any], key: str, classes: int
) -> tuple[Array, IntArray]:
    data, labels = content.get("data"), content.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise DataFileError(f"{path}: no uint8 array 'data' [n, 3072]; found {sorted(content)}")
    if (
        not isinstance(labels, list)
        or len(labels) != len(data)
        or not all(type(label) is int and 0 <= label < classes for label in labels)
    ):
        raise DataFileError(
            f"{path}: no list {key!r} of {len(data)} whole numbers from 0 to {classes - 1}, the "
            "range of the names"
        )
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


# ---------------------------------------------------------------- pickles


def read_archive(path: Path, md5: str | None) -> dict[str, Any]:
    """A pickled dictionary of arrays, lists, numbers and text; nothing else can be built from it.

    Python's own unpickler calls whatever a file names. Here a file may name only what arrays of
    numpy are pickled with, and even these names stand for code of this module, which reads the
    bytes of an array as numbers of the type it states.

    Parameters
    ----------
    path : path
    md5 : str, optional
        Checked before anything is read; None lets any file pass.

    Returns
    -------
    dict
        Keys are text; text of Python 2 is ``bytes`` elsewhere. Arrays are read-only.

    Raises
    ------
    DataFileError
        The file cannot be read, has another MD5, is damaged, or asks for anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise DataFileError(
            f"{path}: its MD5 is {found}, the published file's {md5}; get it again, or say "
            '"cifar10:any_md5" or "cifar100:any_md5" to read your own version of the archive'
        )
    try:
        loaded = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        return {
            _text(key): value.array if isinstance(value, _Array) else value
            for key, value in loaded.items()
        }
    # a damaged pickle can raise anything: it is a program for a small machine
    except Exception as error:
        raise DataFileError(f"{path}: not a readable archive of arrays ({error})") from error


def _text(value: Any) -> str:
    if not isinstance(value, bytes | str):
        raise pickle.UnpicklingError(f"{value!r} instead of a name")
    return value.decode("latin-1") if isinstance(value, bytes) else value


_ORDERS = ("<", ">", "|")


class _Type:
    """A type of numbers, from the pickle of a numpy.dtype."""

    __slots__ = ("dtype",)

    def __init__(self, code: object) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array of {code!r} instead of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order not in _ORDERS:
            raise pickle.UnpicklingError(f"an array in the byte order {order!r}")
        self.dtype = np.dtype(order + self.dtype.str[1:])


class _Array:
    """An array, from the pickle of a numpy.ndarray."""

    __slots__ = ("array",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.fill(content, kind, shape, "F" if fortran else "C")

    def fill(self, content: Any, kind: _Type, shape: Any, order: Any) -> None:
        self.array = np.frombuffer(content, kind.dtype).reshape(shape, order=order)


class _Name:
    """What a file may name. It has no attributes, so a file cannot change it."""

    __slots__ = ()


class _Reconstruct(_Name):
    def __call__(self, *_: object) -> _Array:
        return _Array()


class _FromBuffer(_Name):
    def __call__(self, content: object, kind: _Type, shape: object, order: object) -> _Array:
        array = _Array()
        array.fill(content, kind, shape, order)
        return array


class _Dtype(_Name):
    def __call__(self, code: object, *_: object) -> _Type:
        return _Type(code)


_KNOWN: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _Name(),
    ("numpy", "dtype"): _Dtype(),
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return _KNOWN[module, name]


# ---------------------------------------------------------------- folders of images

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


def read_folder(folder: Path) -> Collection:
    """One sub-folder of images for each class; optionally apart in ``train`` and ``test``.

    Parameters
    ----------
    folder : path
        Holds ``CLASS/IMAGE`` or ``train/CLASS/IMAGE`` and ``test/CLASS/IMAGE``. Grey and RGB
        images with 8 bits, all of one size. Names that begin with a dot are passed over.

    Returns
    -------
    Collection
        x uint8 [n, channels, height, width]; classes in the order of their names.

    Raises
    ------
    DataFileError
        Names the folder or file that is not as expected.
    """
    parts = _folder_parts(folder)
    names = tuple(path.name for path in _listed(parts[0]) if path.is_dir())
    if not names:
        raise DataFileError(f"{parts[0]}: no folders of classes in it; expected CLASS/IMAGE")
    files = [_labelled_files(part, names) for part in parts]
    images = [[_read_image(path) for path, _ in part] for part in files]
    sizes = Counter(image.shape for part in images for image in part)
    if len(sizes) > 1:
        common, count = sizes.most_common(1)[0]
        odd, shape = next(
            (path, image.shape)
            for part, read in zip(files, images, strict=True)
            for (path, _), image in zip(part, read, strict=True)
            if image.shape != common
        )
        raise DataFileError(
            f"{odd}: channels, height and width are {shape}, of {count} other images {common}; "
            "bring all to one size"
        )
    stacked = [
        (np.stack(read), np.array([label for _, label in part], dtype=np.int64))
        for part, read in zip(files, images, strict=True)
    ]
    return Collection(*stacked[0], names=names, test=stacked[1] if len(stacked) > 1 else None)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataFileError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _folder_parts(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataFileError(
            f"{folder}: no such folder; expected one that holds a folder of images for each class"
        )
    parts = [folder / "train", folder / "test"]
    if {path.name for path in _listed(folder) if path.is_dir()} == {"train", "test"}:
        return parts
    return [folder]


def _labelled_files(part: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    found = {path.name for path in _listed(part) if path.is_dir()}
    if found != set(names):
        odd = sorted(found ^ set(names))
        raise DataFileError(f"{part}: training and test set have other classes: {', '.join(odd)}")
    labelled = []
    for label, name in enumerate(names):
        files = _listed(part / name)
        if not files:
            raise DataFileError(f"{part / name}: no images in this class; add some or remove it")
        labelled += [(file, label) for file in files]
    return labelled


def _read_image(path: Path) -> Array:
    from PIL import Image

    if path.suffix.lower() not in _SUFFIXES:
        raise DataFileError(f"{path}: not an image; keep only images in the folder of a class")
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image.convert(_MODES.get(mode, mode)))
    # the readers of the many formats raise whatever comes up in a damaged file
    except Exception as error:
        raise DataFileError(f"{path}: not a readable image ({error})") from error
    if mode not in _MODES:
        raise DataFileError(f"{path}: pixels of kind {mode!r}; store it as grey or RGB with 8 bits")
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


# ---------------------------------------------------------------- numpy files

_APART = ("x_train", "y_train", "x_test", "y_test")
_CHANNELS = (1, 3, 4)


def read_npz(path: Path) -> Collection:
    """Arrays x and y of a numpy file, or x_train, y_train, x_test and y_test.

    Parameters
    ----------
    path : path
        x is uint8 or floating-point, [n, height, width], [n, height, width, channels],
        [n, channels, height, width] or [n, features]; y holds whole numbers [n].

    Returns
    -------
    Collection
        Floating-point numbers as float32. Classes in the order of their labels, which are their
        names.

    Raises
    ------
    DataFileError
        The file is damaged or does not hold these arrays.
    """
    if not path.is_file():
        raise DataFileError(f"{path}: " + ("not a file" if path.exists() else "no such file"))
    arrays, _ = read_npz_arrays(path)
    keys = _APART if "x_train" in arrays else ("x", "y")
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise DataFileError(
            f"{path}: {', '.join(missing)} not found, expected arrays x and y, or "
            f"{', '.join(_APART)}; arrays found: {', '.join(arrays) or 'none'}"
        )
    x, y = _npz_part(path, arrays, *keys[:2])
    labels, index = np.unique(y, return_inverse=True)
    names = tuple(str(label) for label in labels.tolist())
    if keys != _APART:
        return Collection(x, index.astype(np.int64), names)
    test_x, test_y = _npz_part(path, arrays, *keys[2:])
    unknown = np.setdiff1d(test_y, labels)
    if unknown.size:
        raise DataFileError(f"{path}: the label {unknown[0]} is in y_test and not in y_train")
    if test_x.shape[1:] != x.shape[1:] or test_x.dtype != x.dtype:
        raise DataFileError(f"{path}: x_train and x_test differ in shape or type")
    test = (test_x, np.searchsorted(labels, test_y).astype(np.int64))
    return Collection(x, index.astype(np.int64), names, test)


def _npz_part(path: Path, arrays: dict[str, Array], x_key: str, y_key: str) -> tuple[Array, Array]:
    x, y = arrays[x_key], arrays[y_key]
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DataFileError(f"{path}: {x_key} has type {x.dtype}; expected uint8 or float")
    if 0 in x.shape:
        raise DataFileError(f"{path}: {x_key} has shape {x.shape} and so holds nothing")
    if x.ndim not in (2, 3, 4):
        raise DataFileError(
            f"{path}: {x_key} has shape {x.shape}; expected [n, height, width], [n, height, width, "
            "channels], [n, channels, height, width] or [n, features]"
        )
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataFileError(
            f"{path}: {y_key} has type {y.dtype} and shape {y.shape}; expected {len(x)} whole "
            "numbers"
        )
    if x.dtype != np.uint8:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DataFileError(f"{path}: {x_key} holds numbers that are not finite in float32")
    return _channels_first(path, x_key, x), y


def _channels_first(path: Path, key: str, x: Array) -> Array:
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x[:, None]
    first, last = x.shape[1] in _CHANNELS, x.shape[3] in _CHANNELS
    if first == last:
        raise DataFileError(
            f"{path}: {key} has shape {x.shape}, which does not tell the channels; expected 1, 3 "
            "or 4 of them, second or last"
        )
    return x if first else np.ascontiguousarray(np.moveaxis(x, -1, 1))


# ---------------------------------------------------------------- files


def files_of(kind: str, rest: str, root: str | None) -> Iterator[tuple[str, Path]]:
    """The files of a source, with their names in it, in a fixed order; none of "digits".

    Raises
    ------
    DataFileError
        They are missing.
    """
    if kind in CIFAR:
        folder = _cifar_folder(kind, root)
        yield from ((file, folder / file) for file in CIFAR[kind].files)
    elif kind == "npz":
        yield "", Path(rest).expanduser()
    elif kind == "images":
        folder = Path(rest).expanduser()
        for part in _folder_parts(folder):
            for sub in filter(Path.is_dir, _listed(part)):
                yield from ((file.relative_to(folder).as_posix(), file) for file in _listed(sub))
