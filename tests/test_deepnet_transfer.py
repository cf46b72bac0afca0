"""Transfer laws: planted exponents are found, with intervals that cover, and predict."""

import math

import numpy as np
import pytest

import overalign as oa
from overalign.deepnet.transfer import (
    RIVALS,
    BestMultiplier,
    TransferLaw,
    best_multiplier,
    fit_transfer,
)

GRID = np.arange(-12.0, 6.0, 2.0)
SIZES = [(250, 32), (500, 32), (1000, 32), (250, 64), (250, 128), (1000, 128)]


def place(size: tuple[int, int], exponents: tuple[float, float] = (-1.0, -0.5)) -> float:
    """log2 c* of a planted law that stays within the grid."""
    n, width = size
    return -2.0 + exponents[0] * math.log2(n / 250) + exponents[1] * math.log2(width / 32)


def accuracies(
    at: float, generator: np.random.Generator, seeds: int = 8, noise: float = 0.004
) -> np.ndarray:
    """Parabolas around `at`, with an effect of each seed, which moves its optimum as well."""
    own = at + generator.normal(0.0, 0.7, (seeds, 1))
    level = generator.normal(0.75, 0.02, (seeds, 1))
    return level - 0.003 * (GRID - own) ** 2 + generator.normal(0.0, noise, (seeds, GRID.size))


def planted_law(
    generator: np.random.Generator, exponents: tuple[float, float] = (-1.0, -0.5), seeds: int = 8
) -> TransferLaw:
    best = [
        best_multiplier(
            accuracies(place(size, exponents), generator, seeds), GRID, replicates=300, seed=k
        )
        for k, size in enumerate(SIZES)
    ]
    return fit_transfer(*zip(*SIZES, strict=True), best)


# ----------------------------------------------------------------------------- c* of a sweep


@pytest.mark.parametrize("at", [-9.9, -7.0, -3.5, 0.0, 1.9])
@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
def test_the_vertex_of_a_parabola_is_found_exactly(at: float, spacing: float) -> None:
    grid = np.arange(-12.0, 6.0, spacing)
    curves = 0.8 - 0.01 * (grid - at) ** 2 + np.array([[0.0], [0.1], [-0.3]])
    found = best_multiplier(curves, grid, replicates=50)
    assert found.log2_c == pytest.approx(at, abs=1e-9)
    np.testing.assert_allclose(found.replicates, at, atol=1e-9)
    assert found.at_end == 0.0


def test_replicates_are_those_of_resampled_seeds() -> None:
    shifts = np.array([[-1.5], [0.0], [0.5], [2.0]])
    curves = 0.8 - 0.01 * (GRID + 4.0 - shifts) ** 2
    found = best_multiplier(curves, GRID, replicates=4000)
    # the vertex of a mean of equal parabolas is the mean of their vertices
    assert found.log2_c == pytest.approx(-4.0 + shifts.mean(), abs=1e-9)
    assert found.replicates.std() == pytest.approx(shifts.std() / 2.0, rel=0.05)


def test_a_finer_grid_averages_the_noise() -> None:
    generator = np.random.default_rng(0)
    errors = {}
    for spacing in (2.0, 0.5):
        grid = np.arange(-10.0, 2.5, spacing)
        noise = generator.normal(0.0, 0.01, (200, 8, grid.size))
        found = [
            best_multiplier(0.8 - 0.01 * (grid + 4.3) ** 2 + each, grid, replicates=1).log2_c
            for each in noise
        ]
        errors[spacing] = np.std(found)
    assert errors[0.5] < 0.8 * errors[2.0]


def test_plateaus_and_missing_accuracies() -> None:
    curves = np.full((3, 9), 0.5)
    curves[:, 3:6] = 0.8  # no bend at the first of three equal points but with its lower neighbour
    assert -6.0 <= best_multiplier(curves, GRID).log2_c <= -4.0
    curves = np.tile(0.8 - 0.01 * (GRID + 5.0) ** 2, (3, 1))
    curves[1, -1] = math.nan
    assert best_multiplier(curves, GRID).log2_c == pytest.approx(-5.0, abs=1e-9)


@pytest.mark.parametrize(
    ("accuracy", "grid", "message"),
    [
        (np.ones((3, 8)), GRID, "do not fit"),
        (np.ones((3, 9)), GRID[::-1], "increasing"),
        (np.ones((2, 9)), GRID, "2 seeds have an accuracy at 9 output multipliers"),
        (np.full((4, 9), math.nan), GRID, "4 seeds have an accuracy at 0"),
        (np.tile(GRID, (3, 1)), GRID, r"an end of the grid, c = 2\^4; extend"),
    ],
)
def test_what_has_no_best_is_said(accuracy: np.ndarray, grid: np.ndarray, message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        best_multiplier(accuracy, grid)


# --------------------------------------------------------------------------------- the law


def test_a_law_without_noise_is_found_exactly() -> None:
    best = [BestMultiplier(place(size, (-2.0, -1.0)), np.full(10, 1.0), 8, 0.0) for size in SIZES]
    law = fit_transfer(*zip(*SIZES, strict=True), best)
    np.testing.assert_allclose(law.coefficients[1:], [-2.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(law.residuals, 0.0, atol=1e-10)
    np.testing.assert_allclose(law.replicates, [[1.0, 0.0, 0.0]] * 10, atol=1e-12)


def test_exponents_without_scatter_exclude_all_others() -> None:
    places = [place(size, (-2.0, -1.0)) for size in SIZES]
    best = [BestMultiplier(at, np.full(10, at), 8, 0.0) for at in places]
    law = fit_transfer(*zip(*SIZES, strict=True), best)
    assert law.compatible_rivals == ("the paper's bound",)
    # scatter along one line only, as if all sizes had the same noise
    best = [BestMultiplier(at, at + 0.1 * np.arange(10), 8, 0.0) for at in places]
    assert fit_transfer(*zip(*SIZES, strict=True), best).compatible_rivals == ("the paper's bound",)


def test_intervals_and_the_joint_region_cover() -> None:
    """In 200 simulated studies of 8 seeds; nominal: 95 %."""
    generator = np.random.default_rng(11)
    inside = np.zeros(4)
    for _ in range(200):
        law = planted_law(generator)
        for k, exponent in enumerate((-1.0, -0.5), start=1):
            low, high = law.intervals[k]
            inside[k - 1] += low <= exponent <= high
        inside[2] += law.is_compatible(-1.0, -0.5)
        held_out = law.predict(4000, 256)
        inside[3] += held_out.low <= place((4000, 256)) <= held_out.high
    share = inside / 200
    assert (share >= 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / 200)).all(), share
    assert (share[[0, 1, 3]] < 1.0).all(), share  # so wide that they say nothing


def test_the_true_rival_is_told_from_the_others() -> None:
    generator = np.random.default_rng(12)
    for name, exponents in RIVALS.items():
        law = planted_law(generator, exponents, seeds=64)
        assert name in law.compatible_rivals
        if exponents[0] > -2.0:
            assert "the paper's bound" not in law.compatible_rivals
            assert "the paper's bound (-2, -1) is not in the joint region" in str(law)


def test_sizes_fit_together() -> None:
    best = [best_multiplier(accuracies(-4.0, np.random.default_rng(0)), GRID)] * 3
    with pytest.raises(oa.ProblemError, match="do not tell the exponents"):
        fit_transfer([100, 200, 400], [32, 32, 32], best)
    with pytest.raises(oa.ProblemError, match="do not tell the exponents"):
        fit_transfer([100, 200, 400], [32, 64, 128], best)
    with pytest.raises(oa.ProblemError, match="2 sizes and 3 best"):
        fit_transfer([100, 200], [32, 64], best)


def test_same_seed_same_numbers() -> None:
    curves = accuracies(-4.0, np.random.default_rng(0))
    first, again, other = (best_multiplier(curves, GRID, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.replicates, again.replicates)
    assert not np.array_equal(first.replicates, other.replicates)
