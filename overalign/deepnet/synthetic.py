r"""Synthetic classes on a curved manifold of chosen dimension, with class means known exactly.

A class-conditional Gaussian in ``effective_dimension`` latent variables is mapped by a fixed
random two-layer network,

    z = separation u_k + N(0, I),    x = V (relu(W z + b) - r),

where r centres x over all classes, and nothing is done to x afterwards, neither a nonlinearity nor
rounding. Each entry a of W z + b
is normal given the class, with mean m and standard deviation s, so that

    E relu(a) = m Phi(m/s) + s phi(m/s),

which makes the mean of x given the class known: the population mean, not an estimate.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import DataFileError
from ..records import Config, config_from

__all__ = ["SyntheticLaw", "SyntheticSettings"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

_HIDDEN = 512  # neurons of the generator: enough that the manifold is smooth, whatever its size
_SMOOTHING = 1 / 8  # of the longer side: neighbouring pixels are alike, as in photographs


class SyntheticSettings(Config, frozen=True):
    """What "synthetic:key=value,..." may say.

    Parameters
    ----------
    effective_dimension : int
        Latent variables. The dimension that can be *seen* in a sample is smaller, the more so the
        larger it is: about 7, 12, 19 and 26 for 8, 16, 32 and 64 latent variables in 1,000 inputs,
        see `overalign.deepnet.intrinsic_dimension`.
    dimension : int
        Numbers in an input, unless ``image`` is given.
    image : str, optional
        Inputs are images instead: "CHANNELSxHEIGHTxWIDTH".
    classes : int
    separation : float
        Distance of the class centres from the origin in the latent space, where the noise has unit
        variance. The default makes the best rule that sees the latent variables (the nearest
        centre) err on 5.2 % with ten classes; it was chosen by that number alone.
    generator : int
        Seed of the network and of the class centres: another one is another task.
    """

    effective_dimension: Annotated[int, msgspec.Meta(ge=1)] = 32
    dimension: Annotated[int, msgspec.Meta(ge=1)] = 128
    image: Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d*x[1-9]\d*x[1-9]\d*$")] | None = None
    classes: Annotated[int, msgspec.Meta(ge=2)] = 10
    separation: Annotated[float, msgspec.Meta(gt=0.0)] = 3.4
    generator: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: [dimension], or [channels, height, width]."""
        if self.image is None:
            return (self.dimension,)
        return tuple(int(side) for side in self.image.split("x"))


class SyntheticLaw:
    """The law of synthetic inputs given their class.

    Parameters
    ----------
    settings : SyntheticSettings

    Attributes
    ----------
    centres : array [classes, effective_dimension]
        Latent class centres, orthogonal where there is room for that.

    Examples
    --------
    >>> law = SyntheticLaw.from_text("effective_dimension=16,dimension=64,classes=3")
    >>> x, z = law.draw(np.array([0, 1, 2, 0]), np.random.default_rng(0))
    >>> x.shape, z.shape, law.class_means.shape
    ((4, 64), (4, 16), (3, 64))
    """

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        latent, shape = settings.effective_dimension, settings.shape
        # a key of its own: the streams of a run start from the same small seeds
        random = np.random.default_rng(np.random.SeedSequence(settings.generator, spawn_key=(0,)))
        self.centres = settings.separation * _directions(settings.classes, latent, random)
        self._inner = random.standard_normal((_HIDDEN, latent)) / np.sqrt(latent)
        self._offset = random.standard_normal(_HIDDEN)
        outer = random.standard_normal((_HIDDEN, *shape))
        self._outer = (_smooth(outer) if len(shape) == 3 else outer) / np.sqrt(_HIDDEN)

    @classmethod
    def from_text(cls, text: str) -> SyntheticLaw:
        """The law that "key=value,..." describes.

        Raises
        ------
        DataFileError
            A part that is not key=value, or a key twice.
        ConfigError
            An unknown key, or a value of the wrong kind or out of range.
        """
        source, given = f"synthetic:{text}", {}
        for part in text.split(",") if text else []:
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or key in given:
                raise DataFileError(
                    f"{source}: {part.strip()!r} is not understood; expected key=value, each key "
                    "at most once"
                )
            given[key] = _number(value)
        if "image" in given and "dimension" in given:
            raise DataFileError(f"{source}: give dimension or image, not both")
        return cls(config_from(SyntheticSettings, given, source))

    def draw(self, y: IntArray, random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Inputs of the classes ``y`` [n], and the latent variables behind them.

        Returns
        -------
        x : array [n, *shape]
        z : array [n, effective_dimension]
        """
        z = self.centres[y] + random.standard_normal((len(y), self.settings.effective_dimension))
        hidden = np.maximum(z @ self._inner.T + self._offset, 0.0) - self._hidden_means.mean(axis=0)
        return np.tensordot(hidden, self._outer, axes=1), z

    def nearest_centre(self, z: FloatArray, ids: IntArray) -> IntArray:
        """Which of the classes ``ids`` has the nearest centre, [n].

        The rule with the least error among all that see the latent variables, if these classes are
        equally frequent.
        """
        centres = self.centres[ids]
        scores = z @ centres.T - 0.5 * (centres**2).sum(axis=1)
        return np.asarray(ids[scores.argmax(axis=1)])

    @cached_property
    def class_means(self) -> FloatArray:
        """Expectation of x given the class, exact; [classes, *shape]."""
        centred = self._hidden_means - self._hidden_means.mean(axis=0)
        return np.tensordot(centred, self._outer, axes=1)

    @cached_property
    def _hidden_means(self) -> FloatArray:
        """Expectation of relu(W z + b) given the class; [classes, neurons]."""
        from scipy.special import ndtr

        mean = self.centres @ self._inner.T + self._offset
        spread = np.linalg.norm(self._inner, axis=1)
        ratio = mean / spread
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2.0 * np.pi)
        return np.asarray(mean * ndtr(ratio) + spread * density)


def _directions(count: int, dimension: int, random: np.random.Generator) -> FloatArray:
    """Unit vectors [count, dimension], orthogonal if there are not more than dimensions."""
    left, _, right = np.linalg.svd(random.standard_normal((count, dimension)), full_matrices=False)
    rows = left @ right
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _smooth(images: FloatArray) -> FloatArray:
    """White noise [..., height, width] blurred across pixels, its variance kept."""
    from scipy.ndimage import gaussian_filter

    width = _SMOOTHING * max(images.shape[-2:])
    smooth = gaussian_filter(images, width, mode="wrap", axes=(-2, -1))
    return np.asarray(smooth / smooth.std())


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
