"""The optimum of curves over data sets, and what its intervals cover."""

import numpy as np
import pytest
import xarray as xr

from overalign.errors import ProblemError
from overalign.optimum import above_lowest, find_optimum, over_sets


def test_intervals_over_sets_cover_the_mean() -> None:
    generator = np.random.default_rng(0)
    values = xr.DataArray(generator.normal(2.0, 1.0, (16, 4000)), dims=("set", "alpha"))
    mean, low, high = over_sets(values).values
    assert np.mean((low <= 2.0) & (high >= 2.0)) == pytest.approx(0.95, abs=0.012)
    np.testing.assert_allclose(mean, values.values.mean(axis=0))
    single = over_sets(values[:1])
    assert np.isnan(single.values[1:]).all()
    holes = values[:, :3].copy()
    holes[0, 0] = np.nan
    holes[:, 1] = np.nan
    found = over_sets(holes).values
    assert found[0, 0] == pytest.approx(float(values[1:, 0].mean()))
    assert np.isnan(found[:, 1]).all()


def test_the_optimum_of_parabolas_and_its_interval() -> None:
    generator = np.random.default_rng(1)
    grid = np.linspace(-6.0, 2.0, 24)
    inside = 0
    for _ in range(60):
        vertices = -1.5 + 0.3 * generator.standard_normal((16, 1))
        curves = 0.1 + 0.01 * (grid - vertices) ** 2 + 0.0005 * generator.standard_normal((16, 24))
        optimum = find_optimum(curves, grid)
        inside += optimum.low <= -1.5 <= optimum.high
        assert optimum.log_alpha == pytest.approx(-1.5, abs=0.6)
    assert inside >= 48
    assert optimum.interior == 1.0
    exact = find_optimum(np.tile(0.2 + 0.3 * (grid - 0.123) ** 2, (2, 1)), grid)
    assert exact.log_alpha == pytest.approx(0.123)
    assert exact.rise_large.value == pytest.approx(0.3 * (2.0 - 0.123) ** 2, rel=0.01)


def test_a_flat_noisy_curve_has_no_rise() -> None:
    """Choosing the lowest point of noise must not make a rise."""
    generator = np.random.default_rng(2)
    grid, covered = np.linspace(0.0, 1.0, 20), 0
    rises = []
    for _ in range(150):
        optimum = find_optimum(generator.normal(0.1, 0.01, (16, 20)), grid, bootstraps=100)
        rises.append(optimum.rise_small.value)
        covered += optimum.rise_small.low <= 0.0 <= optimum.rise_small.high
    assert abs(np.mean(rises)) < 4.0 * np.std(rises) / np.sqrt(150)
    assert covered >= 138


@pytest.mark.parametrize("sets", [3, 4, 8, 24])
def test_intervals_of_few_and_of_many_sets_cover(sets: int) -> None:
    """Curves as the sweeps give them: levels, heights and places that vary between data sets."""
    generator = np.random.default_rng(sets)
    grid = np.linspace(-12.0, 1.4, 24)

    def draw(count: int) -> np.ndarray:
        level, height, shift, rise = generator.standard_normal((4, count, 1))
        small = 0.0085 * (1.0 + 0.45 * height) / (1.0 + np.exp(grid + 5.5 - 0.8 * shift))
        large = 0.0015 * (1.0 + 1.2 * rise) / (1.0 + np.exp(-2.0 * (grid + 1.0)))
        return 0.11 + 0.015 * level + small + large + generator.normal(0.0, 8e-4, (count, 24))

    mean = draw(40_000).mean(axis=0)
    truths = (mean[0] - mean.min(), mean[-1] - mean.min())
    covered = np.zeros(2)
    for _ in range(120):
        found = find_optimum(draw(sets), grid, bootstraps=200)
        rises = (found.rise_small, found.rise_large)
        covered += [
            rise.low <= truth <= rise.high for rise, truth in zip(rises, truths, strict=True)
        ]
    assert (covered >= 106).all(), covered  # 95 % would be 114 +- 2.4


def test_two_sets_have_no_interval() -> None:
    grid = np.linspace(-1.0, 1.0, 5)
    found = find_optimum(np.array([grid**2, grid**2 + 0.1 * grid]), grid)
    assert np.isnan([found.low, found.high, found.rise_small.low, found.rise_large.high]).all()
    assert found.rise_small.value > 0.0


@pytest.mark.parametrize(
    ("curves", "grid", "says"),
    [
        (np.ones((3, 2, 5)), np.arange(5.0), "choose one initialisation"),
        (np.ones((5, 3)), np.arange(5.0), "do not fit"),
        (np.ones((3, 5)), np.arange(5.0)[::-1], "must be finite and increase"),
        (np.ones((3, 2)), np.arange(2.0), r"at 2 alpha\(s\) only"),
        (np.full((3, 5), np.nan), np.arange(5.0), r"at 0 alpha\(s\) only"),
    ],
)
def test_curves_that_say_nothing_are_refused(
    curves: np.ndarray, grid: np.ndarray, says: str
) -> None:
    with pytest.raises(ProblemError, match=says):
        find_optimum(curves, grid)


def test_an_optimum_at_the_end_says_so() -> None:
    grid = np.linspace(0.0, 1.0, 5)
    falling = np.outer(np.array([1.0, 1.1, 0.9]), 1.0 - grid)
    optimum = find_optimum(falling, grid)
    assert (optimum.log_alpha, optimum.interior) == (1.0, 0.0)
    assert optimum.rise_large.value == 0.0
    assert optimum.rise_small.low > 0.0


def test_incomplete_columns_are_left_out() -> None:
    grid = np.linspace(-1.0, 1.0, 6)
    curves = np.tile(grid**2, (3, 1))
    curves[1, 5] = np.nan
    optimum = find_optimum(curves, grid)
    assert (optimum.smallest, optimum.largest) == (-1.0, grid[4])
    assert optimum.log_alpha == pytest.approx(0.0, abs=1e-12)
    single = find_optimum(curves[:1], grid)
    assert np.isnan([single.low, single.high, single.interior, single.rise_small.low]).all()


def test_paired_differences_are_zero_at_the_lowest() -> None:
    curves = xr.DataArray([[1.0, 0.5, 0.7], [2.0, 1.2, 1.3]], dims=("set", "alpha"))
    found = above_lowest(curves).values
    np.testing.assert_allclose(found, [[0.5, 0.0, 0.2], [0.8, 0.0, 0.1]])
    assert np.isnan(above_lowest(curves * np.nan)).all()
