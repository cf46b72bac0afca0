"""Archives give their arrays and nothing else; folders and files are read or refused by name."""

import functools
import hashlib
import os
import pickle
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from overalign.deepnet.archives import (
    CIFAR,
    files_of,
    read_archive,
    read_cifar,
    read_digits,
    read_folder,
    read_npz,
)
from overalign.errors import DataFileError

Array = NDArray[Any]

# ---------------------------------------------------------------- pickles


def text_of_python_2(text: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(text)) + text


def pickle_of_python_2(data: Array, labels: list[int], key: bytes) -> bytes:
    """Opcode by opcode what the published files hold: {"data": uint8 [n, m], key: list}."""
    minus_one = b"J\xff\xff\xff\xff"
    shape = b"".join(b"J" + struct.pack("<i", side) for side in data.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + (b"(K\x01" + shape + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R")
        + (b"(K\x03U\x01|NNN" + 2 * minus_one + b"K\x00tb\x89")
        + (text_of_python_2(data.tobytes()) + b"tb")
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = (text_of_python_2(b"data"), text_of_python_2(key))
    return b"\x80\x02}(" + names[0] + array + names[1] + numbers + b"u."


def test_an_archive_of_python_2_is_read(tmp_path: Path) -> None:
    data = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = pickle_of_python_2(data, [2, 0, 1], b"labels")
    # the bytes made here are a pickle that Python itself reads the same way
    loaded = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(loaded[b"data"], data)
    (tmp_path / "batch").write_bytes(content)
    found = read_archive(tmp_path / "batch", hashlib.md5(content).hexdigest())
    assert set(found) == {"data", "labels"}
    np.testing.assert_array_equal(found["data"], data)
    assert found["data"].dtype == np.uint8
    assert found["labels"] == [2, 0, 1]


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4", "<f4", ">f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_survive(tmp_path: Path, protocol: int, kind: str, order: str) -> None:
    array = np.array([[1, 0, 3], [4, 5, 250]]).astype(kind, order=order)  # type: ignore[call-overload]
    content = {"data": array, "names": ["a", b"b"], "size": (1, 2.5, None, True), "more": {"k": []}}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol))
    found = read_archive(tmp_path / "batch", None)
    np.testing.assert_array_equal(found.pop("data"), array)
    del content["data"]
    assert found == content


class Calls:
    """Pickled as a call of a function, which Python's own unpickler makes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(mark: Path) -> dict[str, Any]:
    """Contents that write a file when they are unpickled without care."""
    shell = Calls(os.system, f"touch '{mark}'")
    objects = np.empty(1, dtype=object)
    objects[0] = shell
    return {
        "shell": shell,
        "exec": Calls(exec, f"import pathlib; pathlib.Path({str(mark)!r}).touch()"),
        "partial": Calls(functools.partial(Path.touch, mark)),
        "path": Calls(Path.write_text, mark, "here"),
        "array of objects": {"data": objects},
        "nested": {"data": [({"deep": [shell]},)]},
        "key": {(shell,): 1},
        "numpy": {"data": Calls(np.lib.format.open_memmap, str(mark), "w+", "u1", (1,))},
    }


ATTACKS = tuple(attacks(Path("mark")))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_executed(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    content = pickle.dumps(attacks(mark)[name], protocol)
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataFileError, match=r"refused|instead of numbers"):
        read_archive(tmp_path / "batch", None)
    assert not mark.exists()
    # the attack is one: without care it succeeds
    with suppress(TypeError):
        pickle.loads(content)
    assert mark.exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + DTYPE + b"}U\x08__call__K\x01sb.",
        b"\x80\x02" + DTYPE + b"N}U\x08__call__K\x01s\x86b.",
        b"\x80\x02" + RECONSTRUCT + b"N}U\x08__dict__K\x01s\x86b.",
        b"\x80\x02}U\x04data" + RECONSTRUCT + b")Rs.",  # an array without content
        b"\x80\x02}U\x04data" + DTYPE + b"U\x01OK\x00K\x01\x87Rs.",  # the type of objects
        b"\x80\x02}U\x04data" + DTYPE + b"U\x05i4,O8\x85Rs.",
        b"\x80\x02}U\x04data" + DTYPE + b"U\x02u1\x85R(K\x03U\x01!NNNK\x01K\x01K\x3ftbs.",
        b"\x80\x02}U\x04datacnumpy\nndarray\n)Rs.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        b"\x80\x02U\x01xQ.",  # a persistent name
        b"\x80\x02\x82\x01.",  # a name from the registry of extensions
        b"\x80\x02]K\x01a.",  # a list
        b"\x80\x02}K\x01K\x02s.",  # a number as key
        b"",
        b"text",
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataFileError, match="batch: not a readable archive"):
        read_archive(tmp_path / "batch", None)
    # and the reader is what it was
    test_an_archive_of_python_2_is_read(tmp_path)


@pytest.mark.parametrize("length", [1, 10, 60, 150, 260, 400])
def test_a_truncated_archive_is_refused(tmp_path: Path, length: int) -> None:
    content = pickle_of_python_2(np.zeros((10, 30), np.uint8), [0] * 10, b"labels")
    assert len(content) > 400
    (tmp_path / "batch").write_bytes(content[:length])
    with pytest.raises(DataFileError, match="not a readable archive"):
        read_archive(tmp_path / "batch", None)


def test_another_md5_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batch").write_bytes(b"anything")

    def load(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("overalign.deepnet.archives._PlainUnpickler.load", load)
    with pytest.raises(
        DataFileError, match=r"its MD5 is f0e166dc34d14d6c228ffac576c9a43c, .*'s 00;"
    ):
        read_archive(tmp_path / "batch", "00")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="batch: cannot be read"):
        read_archive(tmp_path / "batch", None)


# ---------------------------------------------------------------- CIFAR

NAMES = ["apple", "bear", "castle"]


def write_cifar(root: Path, name: str, per_file: int = 6) -> dict[str, str]:
    """A small archive in the published form; MD5 of its files."""
    archive = CIFAR[name]
    folder = root / archive.folder
    folder.mkdir()
    random = np.random.default_rng(0)
    for file in archive.train | archive.test:
        data = random.integers(0, 256, (per_file, 3072), dtype=np.uint8)
        labels = [index % len(NAMES) for index in range(per_file)]
        content = pickle_of_python_2(data, labels, archive.labels_key.encode())
        (folder / file).write_bytes(content)
    for file in archive.names:
        (folder / file).write_bytes(pickle.dumps({archive.names_key: NAMES}))
    return {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in archive.files}


@pytest.mark.parametrize("name", CIFAR)
def test_an_archive_is_read_whole(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write_cifar(tmp_path, name)
    archive = CIFAR[name]
    with pytest.raises(DataFileError, match="its MD5 is"):
        read_cifar(name, str(tmp_path))
    parts = {
        part: {file: found[file] for file in getattr(archive, part)}
        for part in ("train", "test", "names")
    }
    monkeypatch.setitem(CIFAR, name, replace(archive, **parts))
    data = read_cifar(name, str(tmp_path))
    assert data.names == tuple(NAMES)
    assert data.x.shape == (6 * len(archive.train), 3, 32, 32)
    assert data.test is not None
    assert data.test[0].shape == (6, 3, 32, 32)
    np.testing.assert_array_equal(data.y, np.arange(len(data.y)) % 3)
    # rows come file by file; of each image first all of red, then green, then blue
    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    np.testing.assert_array_equal(data.x[4, 1, 2], rows[4, 1024 + 64 : 1024 + 96])


def test_another_version_of_an_archive_is_read_on_request(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar100")
    assert len(read_cifar("cifar100", str(tmp_path), any_md5=True).y) == 6


def test_a_missing_folder_says_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"cifar-10-python\.tar\.gz from https://www\.cs"):
        read_cifar("cifar10", str(tmp_path))
    with pytest.raises(DataFileError, match="data_root"):
        read_cifar("cifar100", None)
    write_cifar(tmp_path, "cifar100")
    (tmp_path / "cifar-100-python" / "test").unlink()
    with pytest.raises(DataFileError, match="no file test"):
        read_cifar("cifar100", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fine_labels": [0]}, "no uint8 array 'data'"),
        ({"data": np.zeros((1, 3072)), "fine_labels": [0]}, "no uint8 array 'data'"),
        ({"data": np.zeros((1, 3071), np.uint8), "fine_labels": [0]}, "no uint8 array 'data'"),
        (
            {"data": np.zeros((1, 3072), np.uint8)},
            "no list 'fine_labels' of . whole numbers from 0 to 2",
        ),
        (
            {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [0, 1]},
            "no list 'fine_labels' of . whole numbers from 0 to 2",
        ),
        (
            {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [0.5]},
            "no list 'fine_labels' of . whole numbers from 0 to 2",
        ),
        (
            {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [3]},
            "no list 'fine_labels' of . whole numbers from 0 to 2",
        ),
        (
            {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [2**70]},
            "no list 'fine_labels' of . whole numbers from 0 to 2",
        ),
    ],
)
def test_an_archive_that_holds_something_else_is_refused(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    write_cifar(tmp_path, "cifar100")
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.dumps(content))
    with pytest.raises(DataFileError, match=message):
        read_cifar("cifar100", str(tmp_path), any_md5=True)


def test_an_archive_without_names_is_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar100")
    (tmp_path / "cifar-100-python" / "meta").write_bytes(pickle.dumps({"names": NAMES}))
    with pytest.raises(DataFileError, match="no list of names 'fine_label_names'"):
        read_cifar("cifar100", str(tmp_path), any_md5=True)


# ---------------------------------------------------------------- folders


def write_images(folder: Path, classes: dict[str, list[Array]]) -> None:
    for name, images in classes.items():
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{index}.png")


def some_images(count: int, *shape: int, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (count, *shape), dtype=np.uint8))


def test_a_folder_of_grey_images(tmp_path: Path) -> None:
    cats, dogs = some_images(2, 4, 5), some_images(3, 4, 5, seed=1)
    write_images(tmp_path, {"dog": dogs, "cat": cats})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / ".thumbnails").write_text("")
    (tmp_path / "notes.txt").write_text("beside the classes, not in one")
    data = read_folder(tmp_path)
    assert data.names == ("cat", "dog")
    assert data.test is None
    np.testing.assert_array_equal(data.y, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(data.x, np.stack(cats + dogs)[:, None])


def test_a_folder_of_colour_images_with_a_test_set(tmp_path: Path) -> None:
    cats, dogs = some_images(2, 4, 5, 3), some_images(2, 4, 5, 3, seed=1)
    held = some_images(2, 4, 5, 3, seed=2)
    write_images(tmp_path / "train", {"cat": cats, "dog": dogs})
    write_images(tmp_path / "test", {"cat": held[:1], "dog": held[1:]})
    data = read_folder(tmp_path)
    assert data.test is not None
    np.testing.assert_array_equal(data.x[3], np.moveaxis(dogs[1], -1, 0))
    np.testing.assert_array_equal(data.test[0], np.moveaxis(np.stack(held), -1, 1))
    np.testing.assert_array_equal(data.test[1], [0, 1])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": [], "b": some_images(1, 2, 2, 3)})
    image = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a" / "0.gif")
    np.testing.assert_array_equal(read_folder(tmp_path).x[0, :, 0, 1], [40, 50, 60])


def test_a_folder_that_is_not_right_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(DataFileError, match="no folders of classes"):
        read_folder(tmp_path)
    write_images(tmp_path, {"a": some_images(3, 4, 4), "b": some_images(1, 4, 4)})

    def refused(message: str) -> None:
        with pytest.raises(DataFileError, match=message):
            read_folder(tmp_path)

    def odd(image: Array, name: str, message: str) -> None:
        Image.fromarray(image).save(tmp_path / "b" / name)
        refused(message)
        (tmp_path / "b" / name).unlink()

    odd(np.zeros((4, 5), np.uint8), "wide.png", r"wide\.png: .*\(1, 4, 5\), of 4 .* \(1, 4, 4\)")
    odd(np.zeros((4, 4, 3), np.uint8), "colour.png", r"colour\.png: .*\(3, 4, 4\)")
    odd(np.zeros((4, 4, 4), np.uint8), "clear.png", r"clear\.png: pixels of kind 'RGBA'")
    odd(np.zeros((4, 4), np.uint16), "deep.png", r"deep\.png: pixels of kind 'I;16'")
    whole = (tmp_path / "a" / "0.png").read_bytes()
    for name, content in (("cut.png", whole[:50]), ("text.png", b"text"), ("empty.png", b"")):
        (tmp_path / "b" / name).write_bytes(content)
        refused(rf"{name}: not a readable image")
        (tmp_path / "b" / name).unlink()
    (tmp_path / "b" / "notes.txt").write_text("")
    refused(r"notes\.txt: not an image")
    (tmp_path / "b" / "notes.txt").unlink()
    (tmp_path / "c").mkdir()
    refused("c: no images in this class")


def test_training_and_test_folders_need_the_same_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"a": some_images(1, 4, 4), "b": some_images(1, 4, 4)})
    write_images(tmp_path / "test", {"a": some_images(1, 4, 4), "x": some_images(1, 4, 4)})
    with pytest.raises(DataFileError, match="other classes: b, x"):
        read_folder(tmp_path)


# ---------------------------------------------------------------- numpy files


@pytest.mark.parametrize(
    ("shape", "read_as"),
    [
        ((6, 4, 5), (6, 1, 4, 5)),
        ((6, 8, 5, 3), (6, 3, 8, 5)),
        ((6, 3, 8, 5), (6, 3, 8, 5)),
        ((6, 1, 8, 5), (6, 1, 8, 5)),
        ((6, 7), (6, 7)),
    ],
)
@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
def test_shapes_of_a_numpy_file(
    tmp_path: Path, shape: tuple[int, ...], read_as: tuple[int, ...], kind: str
) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    np.savez(tmp_path / "set.npz", x=x, y=[7, 3, 3, 7, 9, 7])
    data = read_npz(tmp_path / "set.npz")
    assert data.x.shape == read_as
    assert data.x.dtype == (np.uint8 if kind == "u1" else np.float32)
    assert data.names == ("3", "7", "9")
    np.testing.assert_array_equal(data.y, [1, 0, 0, 1, 2, 1])
    last = np.moveaxis(data.x, 1, -1) if shape[-1] == 3 else data.x
    np.testing.assert_array_equal(last.reshape(shape), x)


def test_a_numpy_file_with_a_test_set(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    parts = {"x_train": x[:6], "y_train": [5, 4, 5, 4, 5, 4], "x_test": x[6:]}
    np.savez(tmp_path / "set.npz", **parts, y_test=[4, 4, 5, 5])  # type: ignore[arg-type]
    data = read_npz(tmp_path / "set.npz")
    assert data.test is not None
    np.testing.assert_array_equal(data.test[1], [0, 0, 1, 1])
    np.testing.assert_array_equal(data.test[0][:, 0], x[6:])
    np.savez(tmp_path / "set.npz", **parts, y_test=[4, 4, 5, 6])  # type: ignore[arg-type]
    with pytest.raises(DataFileError, match="label 6 is in y_test and not in y_train"):
        read_npz(tmp_path / "set.npz")
    np.savez(tmp_path / "set.npz", **parts | {"x_test": x[6:, :1]}, y_test=[4, 4, 5, 5])  # type: ignore[arg-type]
    with pytest.raises(DataFileError, match="differ in shape or type"):
        read_npz(tmp_path / "set.npz")


IMAGES = np.zeros((4, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "y not found"),
        ({"images": IMAGES}, "x, y not found.*arrays found: images"),
        ({"x_train": IMAGES, "y_train": [0, 1, 0, 1]}, "x_test, y_test not found"),
        ({"x": IMAGES.astype(int), "y": [0, 1, 0, 1]}, "expected uint8 or float"),
        ({"x": IMAGES[0, 0], "y": [0, 1]}, r"x has shape \(2,\)"),
        ({"x": IMAGES[:0], "y": np.zeros(0, int)}, r"x has shape \(0, 2, 2\)"),
        ({"x": np.zeros((4, 3, 5, 3)), "y": [0, 1, 0, 1]}, "does not tell the channels"),
        ({"x": np.zeros((4, 5, 5, 5)), "y": [0, 1, 0, 1]}, "does not tell the channels"),
        ({"x": IMAGES, "y": [0, 1, 0]}, "expected 4 whole numbers"),
        ({"x": IMAGES, "y": [0.0, 1.0, 0.5, 1.0]}, "float64 and shape .* expected 4 whole numbers"),
        ({"x": IMAGES, "y": ["a", "b", "a", "b"]}, "expected 4 whole numbers"),
        ({"x": np.full((4, 2, 2), np.nan), "y": [0, 1, 0, 1]}, "not finite"),
        ({"x": np.full((4, 2, 2), 1e300), "y": [0, 1, 0, 1]}, "not finite"),
        ({"x": np.array([None] * 4), "y": [0, 1, 0, 1]}, "not a readable .npz of plain numbers"),
    ],
)
def test_a_numpy_file_that_holds_something_else(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataFileError, match=message):
        read_npz(tmp_path / "set.npz")


def test_a_numpy_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with pytest.raises(DataFileError, match="no such file"):
        read_npz(path)
    with pytest.raises(DataFileError, match="not a file"):
        read_npz(tmp_path)
    np.savez(path, x=IMAGES, y=[0, 1, 0, 1])
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:100], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(DataFileError, match="not a readable"):
            read_npz(path)


# ---------------------------------------------------------------- the rest


def test_digits_are_the_embedded_ones() -> None:
    from sklearn.datasets import load_digits

    data, known = read_digits(), load_digits()
    np.testing.assert_array_equal(data.x[:, 0], 15 * known.images)
    np.testing.assert_array_equal(data.y, known.target)


def test_files_of_each_kind(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar100")
    write_images(tmp_path / "set" / "train", {"a": some_images(1, 4, 4)})
    write_images(tmp_path / "set" / "test", {"a": some_images(2, 4, 4)})
    folder = str(tmp_path)
    assert [name for name, _ in files_of("cifar100", "", folder)] == ["train", "test", "meta"]
    assert [name for name, _ in files_of("images", f"{folder}/set", None)] == [
        "train/a/0.png",
        "test/a/0.png",
        "test/a/1.png",
    ]
    assert list(files_of("npz", "some.npz", None)) == [("", Path("some.npz"))]
    assert not list(files_of("digits", "", None))
