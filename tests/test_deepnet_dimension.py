"""The intrinsic dimension is found where it is known, with an interval that covers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from overalign.deepnet.dimension import intrinsic_dimension
from overalign.deepnet.images import read_images
from overalign.deepnet.settings import Task
from overalign.errors import ProblemError

FloatArray = NDArray[np.float64]


def in_space(points: FloatArray, dimension: int, seed: int = 0) -> FloatArray:
    """The points on a randomly turned plane of a larger space."""
    random = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(random.standard_normal((dimension, points.shape[1])))
    return np.asarray(points @ basis.T)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_the_dimension_of_a_plane(dimension: int) -> None:
    points = in_space(np.random.default_rng(1).standard_normal((2000, dimension)), 20)
    found = intrinsic_dimension(points)
    assert found.estimate == pytest.approx(dimension, rel=0.06)
    assert found.low < found.estimate < found.high
    assert (found.points, found.neighbours) == (2000, 10)


def test_the_dimension_of_a_sphere_and_of_a_curve() -> None:
    random = np.random.default_rng(0)
    sphere = random.standard_normal((2000, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    assert intrinsic_dimension(sphere).estimate == pytest.approx(2.0, rel=0.05)
    angle = random.uniform(0.0, 2.0 * np.pi, 2000)
    curve = np.stack([np.cos(k * angle) for k in range(1, 8)], axis=1)
    assert intrinsic_dimension(curve + 0.0).estimate == pytest.approx(1.0, abs=0.1)


def test_the_formula_with_two_neighbours_and_with_more() -> None:
    points = np.random.default_rng(0).standard_normal((300, 4))
    distances = np.sort(cdist(points, points), axis=1)[:, 1:]
    two = 300.0 / np.log(distances[:, 1] / distances[:, 0]).sum()
    assert intrinsic_dimension(points, 2).estimate == pytest.approx(two)
    ratios = np.log(distances[:, [6]] / distances[:, :6])
    assert intrinsic_dimension(points, 7).estimate == pytest.approx(ratios.size / ratios.sum())


def test_neither_scale_nor_shape_matters() -> None:
    points = np.random.default_rng(0).standard_normal((200, 12))
    one = intrinsic_dimension(points)
    other = intrinsic_dimension(1e6 * points.reshape(200, 3, 2, 2) + 1.0)
    assert other.estimate == pytest.approx(one.estimate)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize("neighbours", [2, 10, 20])
@pytest.mark.parametrize("dimension", [2, 8])
def test_the_interval_covers_what_the_estimator_gives(dimension: int, neighbours: int) -> None:
    found = [
        intrinsic_dimension(
            np.random.default_rng(seed).standard_normal((300, dimension)), neighbours
        )
        for seed in range(100)
    ]
    estimates = np.array([each.estimate for each in found])
    assert sum(each.low < estimates.mean() < each.high for each in found) >= 90
    widths = np.array([each.high - each.low for each in found]) / (2.0 * 1.96)
    assert 0.9 < widths.mean() / estimates.std() < 1.5


def test_more_latent_variables_show_as_more_dimensions() -> None:
    found = [
        intrinsic_dimension(
            read_images(
                Task(data=f"synthetic:effective_dimension={latent}", held_out=10), 0
            ).train.x
        )
        for latent in (4, 8, 16, 32, 64)
    ]
    for latent, lower, higher in zip((4, 8, 16, 32), found, found[1:], strict=False):
        assert lower.high < higher.low
        assert lower.estimate < 1.1 * latent


@pytest.mark.parametrize(
    ("points", "neighbours", "message"),
    [
        (np.zeros((10, 2)), 10, "give at least two"),
        (np.random.default_rng(0).standard_normal((10, 2)), 1, "give at least two"),
        (np.zeros(()), 2, "give at least two"),
        (np.array([[0.0], [1.0], [np.nan]]), 2, "not finite"),
        (np.array([[0.0], [1.0], [1.0], [2.0]]), 2, "2 points coincide"),
        (np.eye(5), 2, "equally far"),
    ],
)
def test_points_that_tell_nothing(points: FloatArray, neighbours: int, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        intrinsic_dimension(points, neighbours)
