"""Images to train on and images held out, from any source, behind one function.

Pixels stay as they are kept, uint8 where the source has bytes, and are normalised on the fly by
mean and standard deviation of the training images.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataFileError, ProblemError
from .archives import CIFAR, Collection, files_of, read_cifar, read_digits, read_folder, read_npz
from .seeds import Purpose, numpy_stream
from .settings import Task
from .synthetic import SyntheticLaw

__all__ = ["ImageData", "Images", "data_digest", "read_images"]

Array: TypeAlias = NDArray[Any]
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

_FORMS = '"synthetic[:key=value,...]", "digits", "images:FOLDER", "npz:FILE", "cifar10", "cifar100"'
_ANY_MD5 = "any_md5"
_SYNTHETIC_TEST = 4000
_PIECE = 4096  # images converted at once
_SOFTNESS = 0.02  # of the teacher's maximum while it is balanced, in standard deviations


@dataclass(frozen=True)
class Images:
    """Inputs and their classes.

    Parameters
    ----------
    x : Tensor [n, channels, height, width] or [n, features]
        uint8 or float32, not normalised.
    y : int64 Tensor [n]

    Examples
    --------
    >>> images = Images(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0]))
    >>> len(images), len(images.subset(images.y == 0))
    (3, 2)
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: str | torch.device) -> Images:
        """The same on a device."""
        return Images(self.x.to(device), self.y.to(device))

    def subset(self, indices: Tensor) -> Images:
        """Those at ``indices``, numbers or a mask."""
        return Images(self.x[indices], self.y[indices])


@dataclass(frozen=True)
class ImageData:
    """Images to train on, for validation and for the test.

    Attributes
    ----------
    name : str
        The source, as asked for.
    train, test : Images
    validation : Images or None
    classes : int
    class_names : tuple of str
    mean, std : float64 Tensor, [channels, 1, 1] or [1]
        Of the training inputs, uint8 divided by 255; of all features together where they are
        not images.
    population_means : float64 Tensor [classes, *shape] or None
        Class means of the law of the inputs, normalised, where they are known exactly.
    record : dict
        Source, seed, classes, sizes, digests of the data files and of the numbers of the rows that
        were taken from a finite source: plain values, for JSON.
    """

    name: str
    train: Images
    validation: Images | None
    test: Images
    classes: int
    class_names: tuple[str, ...]
    mean: Tensor
    std: Tensor
    population_means: Tensor | None
    record: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.x.shape[1:])

    def to(self, device: str | torch.device) -> ImageData:
        """The same on a device."""
        means = self.population_means
        return replace(
            self,
            train=self.train.to(device),
            validation=None if self.validation is None else self.validation.to(device),
            test=self.test.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
            population_means=None if means is None else means.to(device),
        )

    def normalised(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Inputs of `Images` with mean 0 and variance 1 over the training set, on x's device.

        Parameters
        ----------
        x : Tensor [n, *shape]
            uint8 or floating-point.
        dtype : torch.dtype
            Of the result.
        """
        scale = 255.0 if x.dtype == torch.uint8 else 1.0
        mean, std = (each.to(x.device, dtype) for each in (self.mean * scale, self.std * scale))
        return x.to(dtype).sub_(mean).div_(std) if x.dtype != dtype else (x - mean).div_(std)


def read_images(task: Task, seed: int) -> ImageData:
    """Read or draw the images of a task.

    Parameters
    ----------
    task : Task
        ``task.data`` is one of

        * "synthetic" or "synthetic:key=value,...": see `SyntheticLaw` and `SyntheticSettings`.
          The law is fixed, inputs are drawn by the seed; 4,000 of them to test on unless
          ``held_out`` is given.
        * "digits": the 8 x 8 digits of scikit-learn, values 0 to 16 times 15.
        * "images:FOLDER": a folder of images for each class, see `read_folder`.
        * "npz:FILE": arrays x and y, see `read_npz`.
        * "cifar10", "cifar100": the published archive under ``task.data_root``, see `read_cifar`;
          "cifar10:any_md5" reads files with another MD5, as carefully.

        Sources without a test set of their own are split by the seed. With ``task.labels``
        "linear_teacher" the labels are argmax_k <w_k, x> + b_k of the normalised inputs x instead,
        with Gaussian w drawn by the seed, and b such that the classes are equally frequent among
        the test inputs.
    seed : int
        Decides classes, split, draws and the teacher, from separate streams. The images for a
        smaller n are among those for a larger; with ``held_out`` given, the test set is the same.

    Returns
    -------
    ImageData
        Classes are numbered from 0 in the order of the source.

    Raises
    ------
    DataFileError
        The source is missing or does not hold what is expected, or holds fewer images than asked
        for; says how many there are.
    ConfigError
        A key of "synthetic" that is unknown or has a wrong value.
    ProblemError
        Something that this source cannot do.

    Examples
    --------
    >>> data = read_images(Task(data="digits", n=500), seed=0)
    >>> len(data.train), len(data.test), data.shape, data.classes
    (500, 1297, (1, 8, 8), 10)
    """
    kind, rest = _source(task.data)
    if kind == "synthetic":
        drawn = _drawn(SyntheticLaw.from_text(rest), task, seed)
    else:
        drawn = _chosen(_collection(kind, rest, task.data_root), task, seed)
    return _assembled(drawn, task, seed)


def data_digest(task: Task) -> str | None:
    """SHA-256 of the data files of a task, their names included; None where there are no files.

    Raises
    ------
    DataFileError
        The files are missing or cannot be read.

    Examples
    --------
    >>> print(data_digest(Task(data="digits")))
    None
    """
    kind, rest = _source(task.data)
    total = hashlib.sha256()
    files = list(files_of(kind, rest, task.data_root))
    for name, path in files:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataFileError(f"{path}: cannot be read ({error.strerror or error})") from error
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest() if files else None


def _source(text: str) -> tuple[str, str]:
    kind, colon, rest = text.partition(":")
    allowed = {
        "synthetic": True,
        "digits": not colon,
        "images": bool(rest),
        "npz": bool(rest),
        "cifar10": rest == _ANY_MD5 or not colon,
        "cifar100": rest == _ANY_MD5 or not colon,
    }
    if not allowed.get(kind):
        raise DataFileError(f"{text!r} is not a source of images; expected {_FORMS}")
    return kind, rest


def _collection(kind: str, rest: str, root: str | None) -> Collection:
    if kind in CIFAR:
        return read_cifar(kind, root, any_md5=rest == _ANY_MD5)
    if kind == "digits":
        return read_digits()
    path = Path(rest).expanduser()
    return read_folder(path) if kind == "images" else read_npz(path)


# ---------------------------------------------------------------- parts

_Part: TypeAlias = tuple[Array, IntArray]


@dataclass(frozen=True)
class _Parts:
    """Inputs and classes of the three parts, and what else a source knows."""

    train: _Part
    validation: _Part | None
    test: _Part
    names: tuple[str, ...]
    record: dict[str, Any]
    means: FloatArray | None = None


def _class_ids(task: Task, seed: int, there: int) -> IntArray:
    """Classes to use, as numbered in the source, in its order."""
    wanted = there if task.classes is None else task.classes
    if wanted > there:
        raise DataFileError(f"{task.data}: {wanted} classes asked for, there are {there}")
    if wanted < 2:
        raise DataFileError(f"{task.data}: there is one class only, and telling classes needs two")
    return np.sort(numpy_stream(seed, Purpose.CLASSES).choice(there, wanted, replace=False))


def _drawn(law: SyntheticLaw, task: Task, seed: int) -> _Parts:
    if task.n is None:
        raise ProblemError("synthetic images have no end; give n")
    ids = _class_ids(task, seed, law.settings.classes)

    def draw(count: int, part: int) -> tuple[Array, IntArray, FloatArray]:
        y = np.arange(count) % len(ids)
        x, z = law.draw(ids[y], numpy_stream(seed, Purpose.DATA, part))
        return x.astype(np.float32), y, z

    x, y, z = draw(task.held_out or _SYNTHETIC_TEST, 1)
    error = np.mean(law.nearest_centre(z, ids) != ids[y])
    return _Parts(
        train=draw(task.n, 0)[:2],
        validation=draw(task.validation, 2)[:2] if task.validation else None,
        test=(x, y),
        names=tuple(str(each) for each in ids),
        record={"class_ids": ids.tolist(), "nearest_centre_test_error": float(error)},
        means=law.class_means[ids],
    )


def _chosen(source: Collection, task: Task, seed: int) -> _Parts:
    ids = _class_ids(task, seed, len(source.names))
    random = numpy_stream(seed, Purpose.DATA)
    names = tuple(source.names[each] for each in ids)
    # in this order neither n nor validation changes the test set, nor validation the training set
    sizes = {"held_out": task.held_out, "n": task.n, "validation": task.validation}
    if source.test is None:
        rows = _allotted(task, sizes, _shuffled(source.y, ids, random), names)
        test = _part(source.x, source.y, rows["held_out"], ids)
    else:
        test_sizes = {"held_out": sizes.pop("held_out")}
        rows = _allotted(task, sizes, _shuffled(source.y, ids, random), names)
        rows |= _allotted(task, test_sizes, _shuffled(source.test[1], ids, random), names)
        test = _part(*source.test, rows["held_out"], ids)
    return _Parts(
        train=_part(source.x, source.y, rows["n"], ids),
        validation=_part(source.x, source.y, rows["validation"], ids) if task.validation else None,
        test=test,
        names=names,
        record={
            "class_ids": ids.tolist(),
            "training_rows_sha256": _digest(rows["n"]),
            "validation_rows_sha256": _digest(rows["validation"]),
            "test_rows_sha256": _digest(rows["held_out"]),
        },
    )


def _digest(rows: IntArray) -> str:
    """SHA-256 of row numbers, in order, as little-endian integers of 8 bytes."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def _shuffled(y: IntArray, ids: IntArray, random: np.random.Generator) -> list[IntArray]:
    """Rows of each class, in random order."""
    return [random.permutation(np.flatnonzero(y == each)) for each in ids]


def _allotted(
    task: Task, sizes: dict[str, int | None], pools: list[IntArray], names: tuple[str, ...]
) -> dict[str, IntArray]:
    """Rows of each part: classes in turn where a size is given, what is left where none is."""
    rest = [field for field, size in sizes.items() if size is None]
    if len(rest) > 1:
        raise ProblemError(
            f"{task.data} has no test set of its own; give n or held_out, the other gets what is "
            "left"
        )
    rows = {}
    for field, size in sizes.items():
        if size is not None:
            rows[field], pools = _taken(task, field, size, pools, names)
    return rows | {field: np.concatenate(pools) for field in rest}


def _taken(
    task: Task, field: str, size: int, pools: list[IntArray], names: tuple[str, ...]
) -> tuple[IntArray, list[IntArray]]:
    """``size`` rows, classes in turn, and what is left of each class."""
    turn = np.arange(size) % len(pools)
    rows = np.empty(size, dtype=np.int64)
    left = []
    for index, (pool, name) in enumerate(zip(pools, names, strict=True)):
        wanted = int(np.count_nonzero(turn == index))
        if wanted > len(pool):
            raise DataFileError(
                f"{task.data}: {field} = {size} takes {wanted} images of class {name!r}, one of "
                f"{len(pools)}, and there are {len(pool)} left; lower {field}"
            )
        rows[turn == index] = pool[:wanted]
        left.append(pool[wanted:])
    return rows, left


def _part(x: Array, y: IntArray, rows: IntArray, ids: IntArray) -> _Part:
    """Inputs at ``rows`` and their classes, numbered within ``ids``."""
    return x[rows], np.searchsorted(ids, y[rows])


# ---------------------------------------------------------------- normalisation and labels


def _require_every_class(
    task: Task, names: tuple[str, ...], train: Array | Tensor, test: Array | Tensor
) -> None:
    for what, field, y in (("train on", "n", train), ("test on", "held_out", test)):
        counts = np.bincount(y, minlength=len(names))
        if counts.min() == 0:
            raise DataFileError(
                f"{task.data}: of {counts.sum()} images to {what} none is of class "
                f"{names[counts.argmin()]!r}; raise {field}, or lower what else is taken"
            )


def _assembled(parts: _Parts, task: Task, seed: int) -> ImageData:
    _require_every_class(task, parts.names, parts.train[1], parts.test[1])
    mean, std = _moments(task, parts.train[0])
    data = ImageData(
        name=task.data,
        train=_tensors(parts.train),
        validation=None if parts.validation is None else _tensors(parts.validation),
        test=_tensors(parts.test),
        classes=len(parts.names),
        class_names=parts.names,
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        population_means=(
            None if parts.means is None else torch.from_numpy((parts.means - mean) / std)
        ),
        record={
            "data": task.data,
            "seed": seed,
            "labels": task.labels,
            "class_names": list(parts.names),
            "training_images": len(parts.train[1]),
            "validation_images": 0 if parts.validation is None else len(parts.validation[1]),
            "test_images": len(parts.test[1]),
            "data_sha256": data_digest(task),
            **parts.record,
        },
    )
    return _taught(data, task, seed) if task.labels == "linear_teacher" else data


def _tensors(part: _Part) -> Images:
    x, y = part
    return Images(torch.from_numpy(x), torch.from_numpy(y))


def _moments(task: Task, x: Array) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, [channels, 1, 1] or [1]; bytes count as 0 to 1."""
    axes = (0, 2, 3) if x.ndim == 4 else (0, 1)
    pieces = np.array_split(x, -(-len(x) // _PIECE))
    count = x.size // (x.shape[1] if x.ndim == 4 else 1)

    def average(of: Callable[[Array], Array]) -> FloatArray:
        sums = [of(piece).sum(axes, np.float64, keepdims=True) for piece in pieces]
        return np.asarray(sum(sums) / count)

    mean = average(lambda piece: piece)
    std = np.sqrt(average(lambda piece: (piece - mean) ** 2))
    if not std.min() > 0.0:
        raise DataFileError(f"{task.data}: a channel of the training images is constant; drop it")
    scale = 255.0 if x.dtype == np.uint8 else 1.0
    return mean[0] / scale, std[0] / scale


def _taught(data: ImageData, task: Task, seed: int) -> ImageData:
    """The same inputs with the labels of a linear teacher, its offsets chosen on test inputs."""
    random = numpy_stream(seed, Purpose.LABELS)
    size = math.prod(data.shape)
    weights = torch.from_numpy(random.standard_normal((size, data.classes)) / math.sqrt(size))

    def scores(images: Images) -> Tensor:
        pieces = torch.split(images.x, _PIECE)
        return torch.cat([data.normalised(x, torch.float64).flatten(1) @ weights for x in pieces])

    offsets = torch.from_numpy(_balancing_offsets(scores(data.test).numpy()))

    def taught(images: Images) -> Images:
        return Images(images.x, (scores(images) + offsets).argmax(1))

    train, test = taught(data.train), taught(data.test)
    names = tuple(f"teacher {index}" for index in range(data.classes))
    _require_every_class(task, names, train.y, test.y)
    return replace(
        data,
        train=train,
        validation=None if data.validation is None else taught(data.validation),
        test=test,
        class_names=names,
        population_means=None,
        record=data.record
        | {"class_names": list(names), "training_images_of_class": train.y.bincount().tolist()},
    )


def _balancing_offsets(scores: FloatArray) -> FloatArray:
    """Offsets b [classes] such that argmax_k (scores + b)_k is each class equally often.

    They minimise the mean of max_k (scores + b)_k less the mean of b, which is convex; the maximum
    is smoothed a little, so that frequencies are equal within some per cent.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax

    unit = _SOFTNESS * scores.std()
    scaled = scores / unit

    def objective(offsets: FloatArray) -> tuple[float, FloatArray]:
        sums = scaled + offsets
        value = logsumexp(sums, axis=1).mean() - offsets.mean()
        return float(value), softmax(sums, axis=1).mean(axis=0) - 1.0 / len(offsets)

    found = minimize(objective, -scaled.mean(axis=0), jac=True, method="L-BFGS-B")
    return np.asarray(unit * found.x)
