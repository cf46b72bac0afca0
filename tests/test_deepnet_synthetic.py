"""The synthetic law is fixed, has the means it says, and lies in as many dimensions as it says."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from overalign.deepnet.synthetic import SyntheticLaw
from overalign.errors import ConfigError, DataFileError


@pytest.mark.parametrize(
    "text",
    [
        "effective_dimension=6,dimension=7,classes=3,separation=2",
        "effective_dimension=2,image=2x3x4,classes=4",
    ],
)
def test_class_means_are_exact(text: str) -> None:
    law = SyntheticLaw.from_text(text)
    classes, count = law.settings.classes, 20_000
    deviations = []
    for index in range(classes):
        x, _ = law.draw(np.full(count, index), np.random.default_rng(index))
        flat = x.reshape(count, -1)
        error = flat.std(axis=0) / np.sqrt(count)
        deviations.append((flat.mean(axis=0) - law.class_means[index].ravel()) / error)
        # the means are told apart by far: the comparison is one
        assert (np.abs(law.class_means[index].ravel()) / error).max() > 100.0
    assert np.abs(deviations).max() < 4.5
    assert 0.3 < np.mean(np.square(deviations)) < 2.0
    np.testing.assert_allclose(law.class_means.mean(axis=0), 0.0, atol=1e-12)


def test_an_input_is_the_two_layer_map_of_its_latent_variables() -> None:
    """The same inputs, up to one offset, from a network built by hand of what the law holds."""
    law = SyntheticLaw.from_text("effective_dimension=5,dimension=9,classes=2")
    x, z = law.draw(np.array([0, 1, 1]), np.random.default_rng(0))
    hidden = np.maximum(np.einsum("nj,hj->nh", z, law._inner) + law._offset, 0.0)
    by_hand = np.einsum("nh,hd->nd", hidden, law._outer)
    np.testing.assert_allclose(x - x[0], by_hand - by_hand[0], atol=1e-12)
    noise = np.random.default_rng(0).standard_normal((3, 5))
    np.testing.assert_allclose(z, law.centres[[0, 1, 1]] + noise)


@pytest.mark.parametrize(("dimension", "classes"), [(32, 10), (10, 10), (4, 10)])
def test_centres_lie_apart(dimension: int, classes: int) -> None:
    law = SyntheticLaw.from_text(f"effective_dimension={dimension},classes={classes},separation=3")
    gram = law.centres @ law.centres.T
    np.testing.assert_allclose(np.diag(gram), 9.0)
    if dimension >= classes:
        np.testing.assert_allclose(gram, 9.0 * np.eye(classes), atol=1e-12)
    else:
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 8.9


def test_the_default_separation_leaves_an_error_of_five_per_cent() -> None:
    """Scores of orthogonal centres are independent: the error is one integral."""
    law = SyntheticLaw.from_text("")
    separation, classes = law.settings.separation, law.settings.classes
    right, _ = quad(
        lambda t: norm.pdf(t) * norm.cdf(t + separation) ** (classes - 1), -np.inf, np.inf
    )
    assert 1.0 - right == pytest.approx(0.052, abs=0.0005)
    y = np.arange(20_000) % classes
    _, z = law.draw(y, np.random.default_rng(0))
    error = np.mean(law.nearest_centre(z, np.arange(classes)) != y)
    assert error == pytest.approx(1.0 - right, abs=4.0 * np.sqrt(0.05 / 20_000))


def test_the_nearest_of_some_centres() -> None:
    law = SyntheticLaw.from_text("classes=5")
    ids = np.array([1, 4])
    np.testing.assert_array_equal(law.nearest_centre(law.centres[[4, 1]], ids), [4, 1])


def test_inputs_are_curved_and_of_full_rank() -> None:
    """More directions vary than there are latent variables: the manifold is not a plane."""
    law = SyntheticLaw.from_text("effective_dimension=8,dimension=64")
    x, _ = law.draw(np.zeros(500, dtype=np.int64), np.random.default_rng(0))
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert values[20] > 0.02 * values[0]


def test_neighbouring_pixels_are_alike() -> None:
    law = SyntheticLaw.from_text("image=3x16x16")
    x, _ = law.draw(np.arange(200) % 10, np.random.default_rng(0))
    assert x.shape == (200, 3, 16, 16)
    assert np.corrcoef(x[..., :-1].ravel(), x[..., 1:].ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(x[..., :-8].ravel(), x[..., 8:].ravel())[0, 1]) < 0.3
    assert abs(np.corrcoef(x[:, 0].ravel(), x[:, 1].ravel())[0, 1]) < 0.3


def test_the_generator_decides_the_law() -> None:
    one, same, other = (SyntheticLaw.from_text(text) for text in ("", "generator=0", "generator=1"))
    np.testing.assert_array_equal(one.class_means, same.class_means)
    assert np.abs(one.class_means - other.class_means).max() > 0.1


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("effective_dimensoin=3", ConfigError, "did you mean 'effective_dimension'"),
        ("classes=1", ConfigError, "'classes' is 1"),
        ("classes=2.5", ConfigError, "'classes' is 2.5"),
        ("dimension=wide", ConfigError, "'dimension' is 'wide'"),
        ("separation=0", ConfigError, "'separation' is 0"),
        ("separation=inf", ConfigError, "'separation' is inf"),
        ("image=16x16", ConfigError, "'image' is '16x16'"),
        ("image=0x16x16", ConfigError, "'image' is '0x16x16'"),
        ("generator=-1", ConfigError, "'generator' is -1"),
        ("image=3x8x8,dimension=5", DataFileError, "give dimension or image"),
        ("classes=3,classes=4", DataFileError, "each key at most once"),
        ("classes", DataFileError, "'classes' is not understood"),
        ("classes=3,", DataFileError, "'' is not understood"),
    ],
)
def test_a_description_that_means_nothing(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        SyntheticLaw.from_text(text)
