"""Samples from a short description: the mixture, handwritten digits, or a file.

Nothing is repaired silently: labels are never remapped, rows never dropped.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataFileError, ProblemError
from .problem import GaussianMixture, Sample, SamplingReport, Seed, as_generator
from .records import read_npz_arrays

__all__ = ["Split", "file_digest", "read_sample", "read_split"]

FloatArray: TypeAlias = NDArray[np.float64]
_Number = TypeVar("_Number", int, float)

_FORMS = '"mixture[:key=value,...]", "digits:3,8[,centred]", "FILE.npz" or "FILE.csv"'
_MIXTURE_DEFAULTS: dict[str, str] = {
    "dimension": "20",
    "n": "12",
    "kappa": "1.5",
    "sigma": "1",
    "separability": "0",
}
_DIGIT_IMAGES = 60


def read_sample(spec: str | os.PathLike[str], seed: Seed = 0, n: int | None = None) -> Sample:
    """Read or draw a sample from a short description.

    Parameters
    ----------
    spec : str or path
        * "mixture" or "mixture:key=value,...": `GaussianMixture` with the keys dimension (20),
          n (12), kappa (1.5), sigma (1) and separability (0; "none" draws without conditioning).
        * "digits:3,8": two classes of scikit-learn's embedded 8 x 8 handwritten digits, pixels
          divided by 16 so that they lie in [0, 1]; the first class gets +1, the second -1. Raw
          pixels are not negative, so every pair of unlike digits violates separability;
          "digits:3,8,centred" subtracts the mean of the drawn images first.
        * "FILE.npz": arrays x [m, d] and y [m].
        * "FILE.csv": comma-separated, the last column is the label; a first row of names is
          skipped, also where those of the inputs are 0, 1, ...
    seed : int or numpy.random.Generator
        Decides the draw: the mixture, which digits, which rows of a file.
    n : int, optional
        Number of samples. Mixture: overrides the default 12. Digits: 60 unless given, half of each
        class (the first has one more if n is odd), alternating, first class first. Files: all rows
        unless given, else n rows drawn without replacement, in the order of the file.

    Returns
    -------
    Sample

    Raises
    ------
    DataFileError
        The description or the file does not hold what is expected; says what was found. Two-valued
        labels of a file that are not -1/+1 are an error that says how to map them.
    ProblemError
        A mixture parameter outside its range.
    SamplingError
        A mixture that cannot be conditioned on the separability asked for.

    Examples
    --------
    >>> read_sample("mixture:n=6,kappa=3")
    Sample(n=6, dimension=20, labels: 3 of +1, 3 of -1)
    >>> read_sample("digits:3,8", n=10)
    Sample(n=10, dimension=64, labels: 5 of +1, 5 of -1)
    """
    text = os.fspath(spec)
    _require_count(text, n)
    head, _, tail = text.partition(":")
    if head == "mixture":
        mixture, count, level = _mixture(text, tail, n)
        return mixture.sample(count, seed, level)
    if head == "digits":
        return _digits_split(text, tail, seed, n).train
    sample = _read_file(text)
    return sample if n is None else _choose_rows(text, sample, seed, n)[0]


@dataclass(frozen=True)
class Split:
    """Training data, and what tells the error on fresh data.

    Attributes
    ----------
    train : Sample
        Labels -1 and +1, both present.
    held_out : Sample or None
        The rest of a finite source, both labels present; None for a mixture.
    mixture : GaussianMixture or None
        The law of the data, where it is known.
    report : SamplingReport or None
        How the training data of a mixture were drawn.

    Examples
    --------
    >>> split = read_split("digits:3,8", n=20)
    >>> split.train.n, split.held_out.n, split.mixture
    (20, 337, None)
    """

    train: Sample
    held_out: Sample | None
    mixture: GaussianMixture | None
    report: SamplingReport | None


def read_split(spec: str | os.PathLike[str], seed: Seed = 0, n: int | None = None) -> Split:
    """Read or draw training data, and keep what tells the error on fresh data.

    Parameters
    ----------
    spec : str or path
        As for `read_sample`.
    seed : int or numpy.random.Generator
        Decides the draw.
    n : int, optional
        Number of training samples. Mixture: 12 unless given; digits: 60; files: half of the rows.
        All other rows of a finite source are held out. ``digits:3,8,centred`` subtracts the mean
        of the training images from all.

    Returns
    -------
    Split

    Raises
    ------
    DataFileError
        As for `read_sample`; labels that are not -1 and +1; or one of the two parts would lack a
        class.
    ProblemError, SamplingError
        As for `read_sample`.

    Examples
    --------
    >>> read_split("mixture:n=6,kappa=3").mixture.kappa
    3.0
    """
    text = os.fspath(spec)
    _require_count(text, n)
    head, _, tail = text.partition(":")
    if head == "mixture":
        mixture, count, level = _mixture(text, tail, n)
        sample, report = mixture.sample_with_report(count, seed, level)
        return Split(sample, None, mixture, report)
    if head == "digits":
        split = _digits_split(text, tail, seed, n)
    else:
        sample = _read_file(text)
        train, rest = _choose_rows(text, sample, seed, sample.n // 2 if n is None else n)
        split = Split(train, rest, None, None)
    _require_both_classes(text, split)
    return split


def _require_both_classes(text: str, split: Split) -> None:
    for what, part in (("training", split.train), ("held-out", split.held_out)):
        if part is None:
            raise DataFileError(f"{text}: no rows are left to hold out; lower n")
        if not part.is_classification:
            raise DataFileError(
                f"{text}: an error rate needs labels -1 and +1, the file has other values"
            )
        if not part.has_both_classes:
            raise DataFileError(
                f"{text}: the {part.n} {what} rows hold one class only; change n or the seed, or "
                "give more rows of the other class"
            )


def _require_count(text: str, n: int | None) -> None:
    whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
    if n is not None and not (whole and n >= 1):
        raise DataFileError(f"{text}: n is {n!r}, expected a whole number >= 1")


# ---------------------------------------------------------------- mixture and digits


def _mixture(text: str, tail: str, n: int | None) -> tuple[GaussianMixture, int, float | None]:
    """The mixture, the number of samples and the level of separability to condition on."""
    given = _key_values(text, tail)
    if n is not None:
        if "n" in given:
            raise DataFileError(f"{text}: n is given in the description and as n={n}; give one")
        given["n"] = str(n)
    values = _MIXTURE_DEFAULTS | given
    level = values["separability"]
    mixture = GaussianMixture(
        _number(text, "dimension", values["dimension"], int),
        _number(text, "kappa", values["kappa"], float),
        _number(text, "sigma", values["sigma"], float),
    )
    return (
        mixture,
        _number(text, "n", values["n"], int),
        None if level.lower() == "none" else _number(text, "separability", level, float),
    )


def _key_values(text: str, tail: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in tail.split(",") if tail else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in _MIXTURE_DEFAULTS or key in given:
            known = ", ".join(_MIXTURE_DEFAULTS)
            raise DataFileError(
                f"{text}: {part.strip()!r} is not understood; expected key=value, each of "
                f"{known} at most once"
            )
        given[key] = value
    return given


def _number(text: str, key: str, value: str, kind: type[_Number]) -> _Number:
    try:
        return kind(value)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise DataFileError(f"{text}: {key} is {value!r}, expected {wanted}") from error


def _digits_split(text: str, tail: str, seed: Seed, n: int | None) -> Split:
    """n alternating images to train on; the rest, first class first, held out."""
    first, second, centred = _digit_classes(text, tail)
    images, target = _embedded_digits(text)
    count = _DIGIT_IMAGES if n is None else n
    if count < 2:
        raise DataFileError(f"{text}: n is {count}, two classes need n >= 2")
    generator = as_generator(seed)
    rows, rest = np.empty(count, dtype=np.int64), []
    for start, digit in enumerate((first, second)):
        available = np.flatnonzero(target == digit)
        wanted = len(rows[start::2])
        if wanted > len(available):
            raise DataFileError(
                f"{text}: n={count} needs {wanted} images of the digit {digit}, there are "
                f"{len(available)}; lower n"
            )
        shuffled = generator.permutation(available)
        rows[start::2] = shuffled[:wanted]
        rest.append(shuffled[wanted:])
    x = images / 16.0
    x -= x[rows].mean(axis=0) if centred else 0.0
    held_out = np.concatenate(rest)
    y = np.where(target == first, 1.0, -1.0)
    return Split(
        Sample(x[rows], y[rows]),
        Sample(x[held_out], y[held_out]) if held_out.size else None,
        None,
        None,
    )


def _digit_classes(text: str, tail: str) -> tuple[int, int, bool]:
    pieces = [piece.strip() for piece in tail.split(",")]
    centred = pieces[2:] == ["centred"]
    digits = pieces[:2] if centred else pieces
    single = all(len(piece) == 1 and piece in "0123456789" for piece in digits)
    if len(digits) != 2 or not single or digits[0] == digits[1]:
        raise DataFileError(
            f'{text}: expected two different digits 0 to 9, as in "digits:3,8" or '
            '"digits:3,8,centred"'
        )
    return int(digits[0]), int(digits[1]), centred


def _embedded_digits(text: str) -> tuple[FloatArray, NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataFileError(
            f"{text}: the digits come with scikit-learn, which is not installed; "
            "install overalign[deepnet] or scikit-learn"
        ) from error
    images, target = load_digits(return_X_y=True)
    return np.asarray(images, dtype=np.float64), np.asarray(target, dtype=np.int64)


# ---------------------------------------------------------------- files


def file_digest(spec: str | os.PathLike[str]) -> str | None:
    """SHA-256 of the file that a source is, to tell when its content has changed.

    Parameters
    ----------
    spec : str or path
        As for `read_sample`.

    Returns
    -------
    str or None
        None for a source that is not a file.

    Raises
    ------
    DataFileError
        No such file, or it cannot be read.

    Examples
    --------
    >>> file_digest("digits:3,8") is None
    True
    """
    text = os.fspath(spec)
    if text.partition(":")[0] in ("mixture", "digits"):
        return None
    path, _ = _file_and_reader(text)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataFileError(f"{text}: cannot be read ({error.strerror or error})") from error


def _read_file(text: str) -> Sample:
    path, reader = _file_and_reader(text)
    return reader(path)


def _file_and_reader(text: str) -> tuple[Path, Callable[[Path], Sample]]:
    readers = {".npz": _read_npz, ".csv": _read_csv}
    path = Path(text)
    if path.suffix.lower() not in readers:
        raise DataFileError(f"{text!r} is not a data source; expected {_FORMS}")
    if not path.is_file():
        raise DataFileError(f"{text}: " + ("not a file" if path.exists() else "no such file"))
    return path, readers[path.suffix.lower()]


def _read_npz(path: Path) -> Sample:
    arrays, names = read_npz_arrays(path, wanted=("x", "y"))
    if len(arrays) < 2:
        missing = " and ".join(repr(name) for name in ("x", "y") if name not in names)
        raise DataFileError(
            f"{path}: {missing} not found, expected arrays 'x' [n, d] and 'y' [n]; arrays found: "
            + (", ".join(map(repr, names)) or "none")
        )
    return _file_sample(path, arrays["x"], arrays["y"])


def _read_csv(path: Path) -> Sample:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(f"{path}: not a readable text file ({error})") from error
    if lines and _is_header(lines[0][1]):
        del lines[0]
    if not lines:
        raise DataFileError(f"{path}: no rows of numbers found")
    table = np.array([_csv_row(path, number, cells, lines[0]) for number, cells in lines])
    return _file_sample(path, table[:, :-1], table[:, -1])


def _is_header(cells: list[str]) -> bool:
    """Whether these are names of columns, not a row whose label is missing.

    None is a number, or the inputs are numbered 0, 1, ... as data frames without names are.
    """
    *inputs, label = map(str.strip, cells)
    numbered = inputs == [str(k) for k in range(len(inputs))]
    return bool(label) and not _is_number(label) and (numbered or not any(map(_is_number, inputs)))


def _csv_row(
    path: Path, number: int, cells: list[str], first: tuple[int, list[str]]
) -> list[float]:
    if len(cells) < 2:
        raise DataFileError(
            f"{path}: line {number} has 1 column, expected comma-separated inputs and a label last"
        )
    if len(cells) != len(first[1]):
        raise DataFileError(
            f"{path}: line {number} has {len(cells)} columns, line {first[0]} has {len(first[1])}"
        )
    for column, cell in enumerate(cells, start=1):
        if not _is_number(cell):
            raise DataFileError(
                f"{path}: line {number}, column {column} holds {cell.strip()!r}, expected a number"
            )
    return [float(cell) for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _file_sample(path: Path, x: ArrayLike, y: ArrayLike) -> Sample:
    try:
        sample = Sample(x, y)
    except ProblemError as error:
        raise DataFileError(f"{path}: {error}") from error
    values = np.unique(sample.y)
    if len(values) == 2 and not sample.is_classification:
        low, high = values
        raise DataFileError(
            f"{path}: the labels are {low:g} and {high:g}, expected -1 and +1; nothing is mapped "
            f"silently, so store y = where(y == {high:g}, 1, -1) (or swap the classes); "
            "for a regression with two target values build a Sample from the arrays"
        )
    return sample


def _choose_rows(text: str, sample: Sample, seed: Seed, n: int) -> tuple[Sample, Sample | None]:
    """n rows drawn without replacement, and the rest, both in the order of the file."""
    if n > sample.n:
        raise DataFileError(f"{text}: n={n} rows asked for, the file has {sample.n}")
    if n < 1:
        raise DataFileError(f"{text}: the file has {sample.n} row, too few to hold some out")
    chosen = np.zeros(sample.n, dtype=bool)
    chosen[as_generator(seed).choice(sample.n, size=n, replace=False)] = True
    rest = None if chosen.all() else Sample(sample.x[~chosen], sample.y[~chosen])
    return Sample(sample.x[chosen], sample.y[chosen]), rest
