"""Images come split, numbered and normalised as asked for, from every source, and only so."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linprog
from torch import Tensor

from overalign.deepnet.images import ImageData, Images, data_digest, read_images
from overalign.deepnet.seeds import Purpose, numpy_stream
from overalign.deepnet.settings import Task
from overalign.deepnet.synthetic import SyntheticLaw
from overalign.errors import ConfigError, DataFileError, ProblemError

LABELS = np.array([30, 10, 20, 10, 30, 20] * 20)


def write_npz(folder: Path, labels: NDArray[Any] = LABELS, **arrays: NDArray[Any]) -> str:
    """Images that say their own row in the first pixel and their label in the second."""
    x = np.zeros((len(labels), 2, 3), dtype=np.uint8)
    x[:, 0, 0], x[:, 0, 1] = np.arange(len(labels)), labels
    x[:, 1] = np.random.default_rng(0).integers(0, 256, (len(labels), 3))
    np.savez(folder / "set.npz", x=x, y=labels, **arrays)  # type: ignore[arg-type]
    return f"npz:{folder}/set.npz"


def rows(images: Images | None) -> list[int]:
    assert images is not None
    return images.x[:, 0, 0, 0].tolist()


# ---------------------------------------------------------------- parts


def test_parts_are_disjoint_balanced_and_right(tmp_path: Path) -> None:
    task = Task(data=write_npz(tmp_path), n=40, held_out=30, validation=20)
    data = read_images(task, 0)
    parts = (data.train, data.test, data.validation)
    assert [len(part) for part in parts if part is not None] == [40, 30, 20]
    used = [row for part in parts for row in rows(part)]
    assert len(set(used)) == 90
    for part in parts:
        assert part is not None
        counts = part.y.bincount(minlength=3)
        assert counts.max() - counts.min() <= 1
        # the label in the image is the one that is given
        names = [int(data.class_names[index]) for index in part.y]
        assert part.x[:, 0, 0, 1].tolist() == names
    assert data.class_names == ("10", "20", "30")
    assert (data.classes, data.shape, data.name) == (3, (1, 2, 3), task.data)
    assert data.train.x.dtype == torch.uint8
    assert data.train.y.dtype == torch.int64
    assert data.population_means is None


def test_what_is_left_is_taken_where_no_size_is_given(tmp_path: Path) -> None:
    source = write_npz(tmp_path)
    tested = read_images(Task(data=source, n=40, validation=20), 0)
    assert len(tested.test) == 60
    trained = read_images(Task(data=source, n=None, held_out=30, validation=20), 0)
    assert len(trained.train) == 70
    for data in (tested, trained):
        used = rows(data.train) + rows(data.test) + rows(data.validation)
        assert sorted(used) == list(range(120))


def test_a_smaller_set_is_part_of_a_larger_one(tmp_path: Path) -> None:
    source = write_npz(tmp_path)
    small, large = (read_images(Task(data=source, n=n, held_out=12), 3) for n in (30, 60))
    assert rows(large.train)[:30] == rows(small.train)
    assert rows(large.test) == rows(small.test)
    assert len(rows(small.test)) == 12
    law = "synthetic:effective_dimension=4,dimension=6,classes=3"
    small, large = (read_images(Task(data=law, n=n, held_out=12), 3) for n in (30, 60))
    torch.testing.assert_close(large.train.x[:30], small.train.x, rtol=0, atol=0)
    torch.testing.assert_close(large.test.x, small.test.x, rtol=0, atol=0)


def test_a_test_set_of_its_own_stays_the_test_set(tmp_path: Path) -> None:
    x = np.arange(120, dtype=np.uint8).repeat(4).reshape(120, 2, 2)
    arrays = {"x_train": x[:90], "y_train": LABELS[:90], "x_test": x[90:], "y_test": LABELS[90:]}
    np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type]
    source = f"npz:{tmp_path}/set.npz"
    whole = read_images(Task(data=source, n=None), 0)
    assert sorted(rows(whole.train)) == list(range(90))
    assert sorted(rows(whole.test)) == list(range(90, 120))
    assert whole.validation is None
    some = read_images(Task(data=source, n=30, held_out=12, validation=9), 0)
    assert max(rows(some.train) + rows(some.validation)) < 90 <= min(rows(some.test))
    assert not set(rows(some.train)) & set(rows(some.validation))
    for part in (whole.train, some.test):
        assert [data_label(row) for row in rows(part)] == part.y.tolist()


def data_label(row: int) -> int:
    return [10, 20, 30].index(LABELS[row])


@pytest.mark.parametrize("source", ["npz", "synthetic:classes=9,dimension=6"])
def test_classes_are_drawn_by_the_seed(tmp_path: Path, source: str) -> None:
    if source == "npz":
        source = write_npz(tmp_path, np.arange(180) % 9)
    drawn = []
    for seed in range(6):
        data = read_images(Task(data=source, n=12, held_out=6, classes=3), seed)
        ids = data.record["class_ids"]
        assert ids == sorted(set(ids))
        assert data.class_names == tuple(map(str, ids))
        assert data.train.y.bincount().tolist() == [4, 4, 4]
        if source.startswith("npz"):
            assert data.train.x[:, 0, 0, 1].tolist() == [ids[index] for index in data.train.y]
        drawn.append(tuple(ids))
    assert len(set(drawn)) > 3


def test_the_same_seed_gives_the_same_images_and_leaves_the_global_state_alone() -> None:
    task = Task(data="digits", n=60, held_out=40, validation=10, labels="linear_teacher")
    state = torch.get_rng_state()
    one, same, other = (read_images(task, seed) for seed in (5, 5, 6))
    assert torch.equal(state, torch.get_rng_state())
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(one, part).x, getattr(same, part).x)
        assert torch.equal(getattr(one, part).y, getattr(same, part).y)
        assert not torch.equal(getattr(one, part).x, getattr(other, part).x)
    assert one.record == same.record


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Task(n=100, held_out=30),
            "n = 100 takes 33 images of class '20', one of 3, .* 20 left; lower n",
        ),
        (
            Task(n=60, held_out=60, validation=3),
            "validation = 3 takes 1 .* 0 left; lower validation",
        ),
        (Task(n=60, classes=4), "4 classes asked for, there are 3"),
        (Task(n=2, held_out=60), "of 2 images to train on none is of class '30'; raise n"),
        (Task(n=60, held_out=2), "of 2 images to test on none is of class '30'; raise held_out"),
        (Task(n=60, validation=60), "of 0 images to test on none is of class"),
        (Task(n=None, held_out=60, validation=60), "of 0 images to train on none is of class"),
    ],
)
def test_more_than_there_is(tmp_path: Path, task: Task, message: str) -> None:
    labels = np.repeat([10, 20, 30], 40) if task.n != 100 else np.repeat([10, 20, 30], [70, 30, 20])
    source = write_npz(tmp_path, labels)
    with pytest.raises(DataFileError, match=message):
        read_images(replace(task, data=source), 0)


def test_a_source_without_a_test_set_needs_a_size(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="give n or held_out"):
        read_images(Task(data=write_npz(tmp_path), n=None), 0)
    with pytest.raises(ProblemError, match="have no end; give n"):
        read_images(Task(n=None), 0)


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="one class only"):
        read_images(Task(data=write_npz(tmp_path, np.zeros(20, int)), n=10), 0)


# ---------------------------------------------------------------- sources


NO_SOURCES = (
    *("digit", "digits:", "digits:3", "images", "images:", "npz", "npz:", "", ":"),
    *("cifar", "cifar10:", "cifar100:md5", "synthetics", "/some/file.npz"),
)


@pytest.mark.parametrize("source", NO_SOURCES)
def test_a_source_that_is_none(source: str) -> None:
    task = Task(data=source)
    for function in (lambda: read_images(task, 0), lambda: data_digest(task)):
        with pytest.raises(DataFileError, match="is not a source of images; expected"):
            function()


@pytest.mark.parametrize("source", ["npz:/none.npz", "images:/none", "cifar10", "cifar100:any_md5"])
def test_a_source_that_is_missing(source: str, tmp_path: Path) -> None:
    task = Task(data=source, data_root=str(tmp_path))
    for function in (lambda: read_images(task, 0), lambda: data_digest(task)):
        with pytest.raises(DataFileError, match=r"no such f|cannot be read"):
            function()


def test_a_misspelt_key_of_a_source() -> None:
    with pytest.raises(ConfigError, match="did you mean 'separation'"):
        read_images(Task(data="synthetic:seperation=2"), 0)


def test_a_folder_of_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(5):
            pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    data = read_images(Task(data=f"images:{tmp_path}", n=6), 0)
    assert (len(data.train), len(data.test), data.shape) == (6, 4, (3, 4, 4))
    assert data.class_names == ("cat", "dog")


def test_digits() -> None:
    data = read_images(Task(data="digits"), 0)
    assert (len(data.train), len(data.test)) == (1000, 797)
    assert data.train.y.bincount().tolist() == [100] * 10
    assert (data.train.x % 15 == 0).all()


def test_synthetic_inputs_are_those_of_the_law() -> None:
    task = Task(data="synthetic:effective_dimension=6,dimension=20,classes=4", n=400, validation=8)
    data = read_images(task, 1)
    law = SyntheticLaw.from_text("effective_dimension=6,dimension=20,classes=4")
    x, _ = law.draw(np.arange(400) % 4, numpy_stream(1, Purpose.DATA))
    np.testing.assert_array_equal(data.train.x.numpy(), x.astype(np.float32))
    assert len(data.test) == 4000
    assert data.validation is not None
    inputs = torch.cat([data.train.x, data.test.x, data.validation.x])
    assert len(inputs.unique(dim=0)) == len(inputs)
    # population means are those of the law, in the units the network sees
    assert data.population_means is not None
    means = torch.from_numpy(law.class_means)
    torch.testing.assert_close(data.population_means, data.normalised(means, torch.float64))
    seen = data.normalised(data.test.x, torch.float64)
    for index in range(4):
        own = seen[data.test.y == index]
        deviation = (own.mean(0) - data.population_means[index]) / (own.std(0) / len(own) ** 0.5)
        assert deviation.abs().max() < 4.5


def test_population_means_follow_the_classes_drawn() -> None:
    source = "synthetic:effective_dimension=6,image=1x4x5,classes=8"
    data = read_images(Task(data=source, n=40, classes=3), 0)
    law = SyntheticLaw.from_text(source.partition(":")[2])
    means = torch.from_numpy(law.class_means[data.record["class_ids"]])
    assert data.population_means is not None
    assert data.population_means.shape == (3, 1, 4, 5)
    torch.testing.assert_close(data.population_means, data.normalised(means, torch.float64))


# ---------------------------------------------------------------- normalisation


def test_bytes_are_normalised_channel_by_channel(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, [100, 200, 256], (5000, 2, 5, 3)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(5000) % 2)
    data = read_images(Task(data=f"npz:{tmp_path}/set.npz", n=4900), 0)
    pixels = data.train.x.numpy() / 255.0
    by_hand = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std(
        (0, 2, 3), keepdims=True
    )
    kept = data.train.x.clone()
    exact = data.normalised(data.train.x, torch.float64)
    np.testing.assert_allclose(exact.numpy(), by_hand, atol=1e-12)
    single = data.normalised(data.train.x)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), by_hand, atol=1e-5)
    assert torch.equal(data.train.x, kept)
    assert data.mean.shape == data.std.shape == (3, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_are_normalised_and_left_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    x = np.random.default_rng(0).normal(5.0, 3.0, (60, 7))
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(60) % 2)
    data = read_images(Task(data=f"npz:{tmp_path}/set.npz", n=40), 0)
    kept = data.train.x.clone()
    found = data.normalised(data.train.x, dtype)
    pixels = data.train.x.numpy().astype(np.float64)
    np.testing.assert_allclose(found.numpy(), (pixels - pixels.mean()) / pixels.std(), atol=1e-5)
    assert found.dtype == dtype
    assert torch.equal(data.train.x, kept)


def test_a_constant_channel_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=np.full((20, 4, 4), 7, np.uint8), y=np.arange(20) % 2)
    with pytest.raises(DataFileError, match="a channel of the training images is constant"):
        read_images(Task(data=f"npz:{tmp_path}/set.npz", n=10), 0)


# ---------------------------------------------------------------- the linear teacher


@pytest.mark.parametrize("source", ["synthetic:dimension=30,effective_dimension=8", "digits"])
def test_a_linear_map_gives_the_labels_of_the_teacher(source: str) -> None:
    given = read_images(Task(data=source, n=300, held_out=600, validation=50), 2)
    taught = read_images(
        Task(data=source, n=300, held_out=600, validation=50, labels="linear_teacher"), 2
    )
    weights = numpy_stream(2, Purpose.LABELS).standard_normal((given.train.x[0].numel(), 10))
    scores, labels = [], []
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(taught, part), getattr(given, part)
        assert torch.equal(ours.x, theirs.x)
        assert not torch.equal(ours.y, theirs.y)
        scores.append(given.normalised(ours.x, torch.float64).flatten(1).numpy() @ weights)
        labels.append(ours.y.numpy())
    assert offsets_exist(np.concatenate(scores), np.concatenate(labels))
    # with other labels there are no such offsets, so that their existence says something
    assert not offsets_exist(np.concatenate(scores), np.roll(np.concatenate(labels), 1))
    assert taught.population_means is None
    assert taught.record["class_names"] == list(taught.class_names)
    assert taught.record["training_images_of_class"] == taught.train.y.bincount().tolist()


def offsets_exist(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> bool:
    """Whether argmax(scores + offsets) can be the labels: a linear programme."""
    count, classes = scores.shape
    own = np.eye(classes)[labels]
    differences, bounds = [], []
    for index in range(classes):
        differences.append(np.eye(classes)[np.full(count, index)] - own)
        bounds.append(scores[np.arange(count), labels] - scores[:, index])
    found = linprog(
        np.zeros(classes), np.concatenate(differences), np.concatenate(bounds), bounds=(None, None)
    )
    return bool(found.status == 0)


@pytest.mark.parametrize("source", ["synthetic", "synthetic:effective_dimension=2", "digits"])
def test_classes_of_the_teacher_are_equally_frequent(source: str) -> None:
    data = read_images(Task(data=source, n=1000, labels="linear_teacher"), 0)
    even = len(data.test) / 10
    assert (data.test.y.bincount(minlength=10) - even).abs().max() < 0.1 * even + 2
    # the training images are others: they scatter
    assert data.train.y.bincount(minlength=10).min() > 60


def test_a_teacher_needs_images_of_every_class() -> None:
    with pytest.raises(DataFileError, match="of 10 images to train on none is of class 'teacher"):
        read_images(Task(n=10, labels="linear_teacher"), 0)


def test_the_teacher_does_not_look_at_the_training_images() -> None:
    small, large = (
        read_images(Task(n=n, held_out=500, labels="linear_teacher"), 0) for n in (100, 400)
    )
    assert torch.equal(large.test.y, small.test.y)
    assert torch.equal(large.train.y[:100], small.train.y)


# ---------------------------------------------------------------- record, digest, device


def test_the_record_is_plain_and_tells_what_was_read(tmp_path: Path) -> None:
    source = write_npz(tmp_path)
    record = read_images(Task(data=source, n=30, validation=6), 4).record
    assert json.loads(json.dumps(record)) == record
    rows = {name: record.pop(f"{name}_rows_sha256") for name in ("training", "validation", "test")}
    assert len(set(rows.values())) == 3
    assert record == {
        "data": source,
        "seed": 4,
        "labels": "given",
        "class_names": ["10", "20", "30"],
        "class_ids": [0, 1, 2],
        "training_images": 30,
        "validation_images": 6,
        "test_images": 84,
        "data_sha256": data_digest(Task(data=source)),
    }


def test_the_record_tells_which_rows_were_drawn(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.float32).reshape(60, 1)  # the number of the row
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(60) % 3)
    task = Task(data=f"npz:{tmp_path / 'rows.npz'}", n=30, validation=6)
    data = read_images(task, 4)
    assert data.validation is not None
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    for name, part in parts.items():
        rows = part.x.numpy().ravel().astype("<i8")
        assert data.record[f"{name}_rows_sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
    other = read_images(task, 5).record
    assert other["training_rows_sha256"] != data.record["training_rows_sha256"]


def test_the_record_of_the_law_holds_the_error_of_the_best_rule() -> None:
    record = read_images(Task(data="synthetic", n=20), 0).record
    assert json.loads(json.dumps(record)) == record
    assert record["nearest_centre_test_error"] == pytest.approx(0.052, abs=0.014)


def test_the_digest_tells_content_and_names(tmp_path: Path) -> None:
    source = write_npz(tmp_path)
    digest = data_digest(Task(data=source))
    content = hashlib.sha256((tmp_path / "set.npz").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(f"\0{content}\n".encode()).hexdigest()
    write_npz(tmp_path, LABELS[::-1])
    assert data_digest(Task(data=source)) != digest
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "0.png").write_bytes(name.encode())
    one = data_digest(Task(data=f"images:{tmp_path}/set"))
    (tmp_path / "set" / "b" / "0.png").rename(tmp_path / "set" / "b" / "1.png")
    assert data_digest(Task(data=f"images:{tmp_path}/set")) != one
    assert data_digest(Task(data="digits")) is None
    assert data_digest(Task()) is None


def test_all_is_moved_to_a_device() -> None:
    data = read_images(Task(data="synthetic:dimension=5", n=20, held_out=20, validation=10), 0)

    def tensors(data: ImageData) -> list[Tensor]:
        held = [getattr(data, field.name) for field in fields(data)]
        inside = [each for part in held if isinstance(part, Images) for each in (part.x, part.y)]
        return [each for each in held if isinstance(each, Tensor)] + inside

    moved = data.to("meta")
    assert len(tensors(moved)) == 9
    assert {each.device.type for each in tensors(moved)} == {"meta"}
    assert moved.normalised(moved.train.x).device.type == "meta"


def test_a_subset_by_numbers_and_by_mask() -> None:
    images = Images(torch.arange(4).reshape(4, 1), torch.tensor([0, 1, 0, 1]))
    assert images.subset(torch.tensor([3, 0])).x.flatten().tolist() == [3, 0]
    assert images.subset(images.y == 1).x.flatten().tolist() == [1, 3]
