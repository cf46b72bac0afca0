"""Order of the batches, augmentation by brute force, and the losses."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch.nn.functional import cross_entropy

from overalign.deepnet.batches import augmented, batches, loss_of
from overalign.deepnet.images import Images
from overalign.deepnet.seeds import Purpose, torch_stream
from overalign.deepnet.settings import Training
from overalign.errors import ProblemError

IMAGES = Images(torch.arange(10.0).reshape(10, 1), torch.arange(10))


def order(training: Training, seed: int, epoch: int) -> list[list[int]]:
    shown = list(batches(IMAGES, training, seed, epoch))
    assert all(torch.equal(x[:, 0], y.to(x.dtype)) for x, y in shown)
    return [y.tolist() for _, y in shown]


def test_an_epoch_shows_every_image_once_and_keeps_the_short_batch() -> None:
    training = Training(batch_size=4)
    shown = order(training, 0, 1)
    assert [len(batch) for batch in shown] == [4, 4, 2]
    assert sorted(chain(*shown)) == list(range(10))
    drawn = torch.randperm(10, generator=torch_stream(0, Purpose.BATCHES, 1)).tolist()
    assert list(chain(*shown)) == drawn


def test_a_rest_of_one_joins_the_batch_before_it() -> None:
    assert [len(batch) for batch in order(Training(batch_size=3), 0, 1)] == [3, 3, 4]
    assert [len(batch) for batch in order(Training(batch_size=9), 0, 1)] == [10]
    assert [len(batch) for batch in order(Training(batch_size=1), 0, 1)] == [1] * 10
    drawn = torch.randperm(10, generator=torch_stream(0, Purpose.BATCHES, 1)).tolist()
    assert list(chain(*order(Training(batch_size=3), 0, 1))) == drawn


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    training = Training(batch_size=4)
    first = order(training, 0, 1)
    torch.manual_seed(7)
    assert order(training, 0, 1) == first
    assert order(training, 0, 2) != first
    assert order(training, 1, 1) != first


def test_the_whole_set_is_one_batch() -> None:
    assert order(Training(batch_size=None), 0, 3) == [list(range(10))]
    assert [len(batch) for batch in order(Training(batch_size=99), 0, 3)] == [10]


def moved(image: torch.Tensor, down: int, right: int, mirrored: bool) -> torch.Tensor:
    """The image seen through a window that is moved, black outside."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            a, b = i + down, j + right
            if 0 <= a < height and 0 <= b < width:
                out[:, i, j] = image[:, a, b]
    return out.flip(2) if mirrored else out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmented_images_are_crops_and_mirror_images(dtype: torch.dtype) -> None:
    height, width = 8, 16
    x = torch.randint(1, 255, (40, 2, height, width), generator=torch.Generator().manual_seed(0))
    x = x.to(dtype)
    out = augmented(x, torch.Generator().manual_seed(1))
    assert (out.shape, out.dtype) == (x.shape, dtype)
    kinds = set()
    for image, changed in zip(x, out, strict=True):
        found = [
            (down, right, mirrored)
            for down in range(-1, 2)
            for right in range(-2, 3)
            for mirrored in (False, True)
            if torch.equal(moved(image, down, right, mirrored), changed)
        ]
        assert len(found) == 1
        kinds |= set(found)
    assert {kind[0] for kind in kinds} == {-1, 0, 1}
    assert {kind[1] for kind in kinds} == {-2, -1, 0, 1, 2}
    assert {kind[2] for kind in kinds} == {False, True}


def test_augmentation_is_drawn_by_epoch_and_refuses_vectors() -> None:
    images = Images(torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64))
    training = Training(augmentation=True, batch_size=None)
    (first,) = (x for x, _ in batches(images, training, 0, 1))
    (again,) = (x for x, _ in batches(images, training, 0, 1))
    (later,) = (x for x, _ in batches(images, training, 0, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    with pytest.raises(ProblemError, match=r"vectors of 1 numbers.*augmentation = false"):
        list(batches(IMAGES, training, 0, 1))


def test_losses_are_those_of_torch() -> None:
    outputs = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tensor([0, 3, 1, 1, 2])
    entropy, squared = (loss_of(Training(loss=loss))(outputs, y) for loss in LOSSES)
    assert entropy.shape == squared.shape == (3, 5)
    for k in range(3):
        assert torch.allclose(entropy[k], cross_entropy(outputs[k], y, reduction="none"))
        for i in range(5):
            wanted = torch.zeros(4, dtype=torch.float64)
            wanted[y[i]] = 1.0
            assert torch.isclose(squared[k, i], ((outputs[k, i] - wanted) ** 2).sum() / 2.0)


LOSSES = ("cross_entropy", "squared")
