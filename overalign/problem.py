"""The problem: labelled samples, the Gaussian mixture, two-layer networks and losses.

Conventions (factors, class sizes, what alpha multiplies) are those of theory.md 1: samples have
u_i = y_i x_i, a network is alpha-free, and a loss knows beta, the ratio between the time of the
reference convention R (sum of 2 log(1 + exp(-m)), unit rate) and its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError
from .sampling import ConditionalLaw, SamplingReport, draw_conditional

__all__ = [
    "ExponentialLoss",
    "GaussianMixture",
    "LogisticLoss",
    "Loss",
    "Network",
    "Sample",
    "SamplingReport",
    "SquareLoss",
    "Stream",
    "as_generator",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Seed: TypeAlias = int | np.random.Generator

_LARGEST_EXACT_INTEGER = 2**53
_SAFE_SIZE = 1e140  # squares of larger (or inversely smaller) numbers leave float64
_REPEATS_LISTED = 8
_ROUNDING = 8 * float(np.finfo(np.float64).eps)
_FEWEST_SWEEPS = 50


# ---------------------------------------------------------------- checks of what comes in


def _real_array(what: str, value: ArrayLike, ndim: int) -> FloatArray:
    """A read-only C-contiguous float64 copy of `value`, or a ProblemError saying what is wrong."""
    array = _exact_float64(what, value)
    if array.ndim != ndim:
        shape = "[rows, columns]" if ndim == 2 else "[entries]"
        raise ProblemError(
            f"{what} has shape {array.shape}, expected {ndim} dimension(s) {shape}; reshape it"
        )
    if array.size == 0:
        raise ProblemError(f"{what} is empty (shape {array.shape}); give at least one entry")
    _require_finite(what, array)
    array.setflags(write=False)
    return array


def _exact_float64(what: str, value: ArrayLike) -> FloatArray:
    if isinstance(value, np.ma.MaskedArray):
        raise ProblemError(f"{what} is a masked array; drop or fill the masked entries first")
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{what} is not an array of numbers ({error})") from error
    if raw.dtype.kind not in "iuf" or raw.dtype.itemsize > 8:
        raise ProblemError(
            f"{what} has dtype {raw.dtype}, which does not convert to float64 exactly; "
            "give real numbers of at most 64 bits"
        )
    array = np.array(raw, dtype=np.float64, order="C")
    if raw.dtype.kind in "iu" and np.any(np.abs(array) >= _LARGEST_EXACT_INTEGER):
        raise ProblemError(f"{what} holds integers beyond 2**53, not exact in float64; rescale it")
    return array


def _require_finite(what: str, array: FloatArray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(index) for index in bad[0])
        raise ProblemError(
            f"{what}[{', '.join(map(str, where))}] is {array[where]} (row {where[0]}); "
            "remove or repair the row, every number must be finite"
        )


def _require_norms(what: str, row_name: str, rows: FloatArray) -> None:
    """Every row has a norm that is not zero and that float64 can square."""
    largest = np.abs(rows).max(axis=1)
    zero = np.flatnonzero(largest == 0.0)
    if len(zero):
        raise ProblemError(
            f"{what}: {row_name} {zero[0]} is zero ({len(zero)} such in all), it has no direction; "
            "remove it"
        )
    extreme = np.flatnonzero((largest > _SAFE_SIZE) | (largest < 1.0 / _SAFE_SIZE))
    if len(extreme):
        raise ProblemError(
            f"{what}: {row_name} {extreme[0]} has its largest entry at {largest[extreme[0]]:.3g}, "
            "whose square leaves the range of float64; rescale"
        )


def _positive_integer(what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ProblemError(f"{what} is {value!r}, expected a whole number >= 1")
    return int(value)


def _real_number(what: str, value: float) -> float:
    numeric = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not numeric or not math.isfinite(value):
        raise ProblemError(f"{what} is {value!r}, expected a finite real number")
    return float(value)


class Stream(IntEnum):
    """What a seed is used for: equal seeds with different streams give independent numbers.

    A sample and a network drawn with one seed do not share their noise. No more is promised: some
    draws equal others of the same seed, and could be told apart only by changing recorded numbers.

    - Bootstraps and random sign flips draw what SAMPLE draws.
    - The data of a deep network draw what NETWORK draws.
    - Run 7 of a sweep draws its data, and its network, as two checks of laws under STATEMENTS do.
    - 2 is not in use.
    """

    SAMPLE = 0
    NETWORK = 1
    SWEEP_DATA = 3
    SWEEP_NETWORK = 4
    PILOT_LINES = 5
    LINES = 6
    STATEMENTS = 7


def as_generator(seed: Seed, stream: Stream = Stream.SAMPLE) -> np.random.Generator:
    """The generator itself, or numpy's default one seeded by a whole number >= 0 and a stream.

    Raises
    ------
    ProblemError
        Anything else: None would not give the same numbers twice.

    Examples
    --------
    >>> bool(as_generator(3).random() == as_generator(3).random())
    True
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ProblemError(
            f"seed is {seed!r}, expected a whole number >= 0 or a numpy.random.Generator"
        )
    return np.random.default_rng([int(seed), stream] if stream else int(seed))


def _require_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ProblemError(f"{what} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _first_bad_label(y: FloatArray) -> int | None:
    bad = np.flatnonzero(np.abs(y) != 1.0)
    return int(bad[0]) if len(bad) else None


# ---------------------------------------------------------------- samples


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """Inputs and their labels or targets.

    Parameters
    ----------
    x : array [n, d]
        Inputs, one per row. Integers and shorter floats are converted exactly; the stored array is
        a read-only float64 copy.
    y : array [n]
        Labels in {-1, +1}, or real targets (square loss only).

    Raises
    ------
    ProblemError
        NaN or infinity, a zero row, shapes that do not match, an empty array, complex, boolean or
        object entries.

    Notes
    -----
    Orthogonal separability and u_i = y_i x_i are those of theory.md 1.1.

    Examples
    --------
    >>> sample = Sample(x=[[2, 0], [0, -3], [1, 1]], y=[1, -1, 1])
    >>> sample
    Sample(n=3, dimension=2, labels: 2 of +1, 1 of -1)
    >>> sample.separability, sample.max_norm
    (0.0, 3.0)
    >>> sample.class_sum(+1)
    array([3., 1.])
    """

    x: FloatArray
    y: FloatArray

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        inputs, labels = _real_array("x", x, 2), _real_array("y", y, 1)
        if len(inputs) != len(labels):
            raise ProblemError(
                f"x has {len(inputs)} rows and y has {len(labels)} entries; give one y per row of x"
            )
        _require_norms("x", "row", inputs)
        object.__setattr__(self, "x", inputs)
        object.__setattr__(self, "y", labels)

    def __reduce__(self) -> tuple[type[Sample], tuple[FloatArray, FloatArray]]:
        return Sample, (self.x, self.y)

    def __repr__(self) -> str:
        labels = "real targets"
        if self.is_classification:
            labels = f"labels: {np.sum(self.y > 0)} of +1, {np.sum(self.y < 0)} of -1"
        return f"Sample(n={self.n}, dimension={self.dimension}, {labels})"

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.x.shape[0])

    @property
    def dimension(self) -> int:
        """Dimension d of an input."""
        return int(self.x.shape[1])

    @cached_property
    def is_classification(self) -> bool:
        """Whether all labels are -1 or +1."""
        return _first_bad_label(self.y) is None

    @property
    def has_both_classes(self) -> bool:
        """Whether all labels are -1 or +1 and both occur."""
        return self.is_classification and bool((self.y > 0).any() and (self.y < 0).any())

    @cached_property
    def norms(self) -> FloatArray:
        """Euclidean norms of the inputs, [n]."""
        return np.asarray(np.linalg.norm(self.x, axis=1))

    @property
    def max_norm(self) -> float:
        """Largest norm of an input, x_max of theory.md."""
        return float(self.norms.max())

    @property
    def signed(self) -> FloatArray:
        """u_i = y_i x_i, [n, d]; needs labels -1 or +1."""
        self.require_labels("signed inputs")
        return self.y[:, None] * self.x

    @property
    def positives(self) -> IntArray:
        """Row numbers of the positive class."""
        self.require_labels("the positive class")
        return np.flatnonzero(self.y > 0)

    @property
    def negatives(self) -> IntArray:
        """Row numbers of the negative class."""
        self.require_labels("the negative class")
        return np.flatnonzero(self.y < 0)

    def class_sum(self, label: int) -> FloatArray:
        """Sum of the inputs of one class, [d]: x_+ or x_- of theory.md 1.1 (a sum, not a mean).

        Raises
        ------
        ProblemError
            `label` is not -1 or +1, or the labels of the sample are not.
        """
        if label not in (-1, 1):
            raise ProblemError(f"label is {label!r}, expected -1 or +1")
        rows = self.positives if label == 1 else self.negatives
        return np.asarray(self.x[rows].sum(axis=0))

    def class_direction(self, label: int) -> FloatArray:
        """xbar = x / ||x||, x the sum of the inputs of one class; a unit vector [d].

        Raises
        ------
        ProblemError
            As `class_sum`; or the class is empty, or its inputs sum to zero (to rounding).
        """
        total = self.class_sum(label)
        rows, name = self.y == label, "positive" if label == 1 else "negative"
        if not rows.any():
            raise ProblemError(f"no sample is {name}, so the class has no direction")
        length = float(np.linalg.norm(total))
        if not length > _ROUNDING * float(self.norms[rows].sum()):
            raise ProblemError(f"the {name} inputs sum to zero, so the class has no direction")
        return np.asarray(total / length)

    @property
    def has_class_directions(self) -> bool:
        """Whether `class_direction` exists for both labels."""
        if not self.has_both_classes:
            return False
        try:
            self.class_direction(1), self.class_direction(-1)
        except ProblemError:
            return False
        return True

    @property
    def separability(self) -> float:
        """lambda = min over pairs i < k of y_i y_k cos(x_i, x_k), in [-1, 1].

        Assumption 4.1 (orthogonal separability, theory.md 1.1) holds iff it is > 0.

        Raises
        ------
        ProblemError
            Labels other than -1 and +1, or a single sample.
        """
        return self._pairs[0]

    @property
    def violating_pairs(self) -> float:
        """Fraction of pairs i < k with y_i y_k <x_i, x_k> < 0 (errors as `separability`)."""
        return self._pairs[1]

    @cached_property
    def _pairs(self) -> tuple[float, float]:
        """Smallest signed cosine and share of negative signed products, a block of rows a time."""
        if self.n < 2:
            raise ProblemError("separability is about pairs, the sample has 1 row; give 2 or more")
        signed, smallest, violating = self.signed, 1.0, 0
        for start in range(0, self.n, 1024):
            rows = np.arange(start, min(start + 1024, self.n))
            later = rows[:, None] < np.arange(self.n)[None, :]
            products = signed[rows] @ signed.T
            cosines = products / self.norms[rows, None] / self.norms[None, :]
            smallest = min(smallest, float(cosines[later].min(initial=1.0)))
            violating += int(np.sum(later & (products < 0.0)))
        return max(smallest, -1.0), violating / (self.n * (self.n - 1) / 2)

    @cached_property
    def repeated(self) -> tuple[tuple[int, int], ...]:
        """Pairs (i, k), i < k, of identical inputs: k repeats its first occurrence i.

        At most 8 pairs are listed; labels are not compared.
        """
        seen: dict[bytes, int] = {}
        pairs: list[tuple[int, int]] = []
        for index, row in enumerate(self.x + 0.0):  # -0.0 becomes 0.0
            first = seen.setdefault(row.tobytes(), index)
            if first != index:
                pairs.append((first, index))
            if len(pairs) == _REPEATS_LISTED:
                break
        return tuple(pairs)

    def require_classification(self, what: str) -> None:
        """Raise unless all labels are -1 or +1 and both classes occur.

        Parameters
        ----------
        what : str
            The quantity asked for; it opens the message.

        Raises
        ------
        ProblemError
            Names the first label that is neither, and its row; or the class that is missing.

        Examples
        --------
        >>> from overalign.errors import ProblemError
        >>> try:
        ...     Sample([[1.0], [2.0]], [1, 0]).require_classification("the margin")
        ... except ProblemError as error:
        ...     print(error)
        the margin needs labels -1 or +1, but y[1] is 0 (row 1); map the two classes to -1 and +1
        """
        self.require_labels(what)
        if not self.has_both_classes:
            present, missing = ("+1", "-1") if self.y[0] > 0 else ("-1", "+1")
            raise ProblemError(
                f"{what} needs both classes, but all {self.n} labels are {present}; "
                f"add samples of label {missing}"
            )

    def require_labels(self, what: str) -> None:
        """Raise ProblemError unless every label is -1 or +1; ``what`` opens the message."""
        bad = _first_bad_label(self.y)
        if bad is not None:
            raise ProblemError(
                f"{what} needs labels -1 or +1, but y[{bad}] is {self.y[bad]:g} (row {bad}); "
                "map the two classes to -1 and +1"
            )


# ---------------------------------------------------------------- the mixture


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Symmetric binary mixture x = kappa y s + sigma z, z ~ N(0, I_d) (theory.md 1.1).

    Parameters
    ----------
    dimension : int
        d.
    kappa : float
        Signal strength, >= 0, in the units of x.
    sigma : float
        Noise per coordinate, > 0, in the units of x.
    direction : array [d], optional
        The signal direction: any nonzero vector, stored at unit length. First basis vector unless
        given.

    Raises
    ------
    ProblemError
        A parameter outside its range.

    Examples
    --------
    >>> mixture = GaussianMixture(dimension=20, kappa=1.5, sigma=1.0)
    >>> sample = mixture.sample(12, seed=0, separability=0.0)
    >>> sample.n, bool(sample.separability >= 0.0)
    (12, True)
    """

    dimension: int
    kappa: float
    sigma: float
    direction: FloatArray

    def __init__(
        self, dimension: int, kappa: float, sigma: float, direction: ArrayLike | None = None
    ) -> None:
        size = _positive_integer("dimension", dimension)
        signal, noise = _real_number("kappa", kappa), _real_number("sigma", sigma)
        if signal < 0.0:
            raise ProblemError(f"kappa is {signal:g}, expected >= 0; turn the direction instead")
        if not 1.0 / _SAFE_SIZE < noise < _SAFE_SIZE:
            raise ProblemError(f"sigma is {noise:g}, expected > 0 (and squares within float64)")
        vector = np.eye(1, size)[0] if direction is None else _real_array("direction", direction, 1)
        if len(vector) != size:
            raise ProblemError(f"direction has {len(vector)} entries, dimension is {size}")
        _require_norms("direction", "vector", vector[None, :])
        unit = vector / np.linalg.norm(vector)
        unit.setflags(write=False)
        for name, value in zip(
            ("dimension", "kappa", "sigma", "direction"), (size, signal, noise, unit), strict=True
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[type[GaussianMixture], tuple[int, float, float, FloatArray]]:
        return GaussianMixture, (self.dimension, self.kappa, self.sigma, self.direction)

    def sample(
        self,
        n: int,
        seed: Seed,
        separability: float | None = None,
        labels: ArrayLike | None = None,
        sweeps: int = 100,
    ) -> Sample:
        """Draw n samples; the arguments, errors and law are those of `sample_with_report`.

        Examples
        --------
        >>> GaussianMixture(5, kappa=3.0, sigma=1.0).sample(4, seed=1).y
        array([ 1., -1.,  1., -1.])
        """
        return self.sample_with_report(n, seed, separability, labels, sweeps)[0]

    def sample_with_report(
        self,
        n: int,
        seed: Seed,
        separability: float | None = None,
        labels: ArrayLike | None = None,
        sweeps: int = 100,
        method: Literal["auto", "rejection", "gibbs"] = "auto",
    ) -> tuple[Sample, SamplingReport]:
        """Draw n samples and say how.

        Parameters
        ----------
        n : int
            Number of samples.
        seed : int or numpy.random.Generator
            The same seed gives the same numbers.
        separability : float, optional
            lambda in [-1, 1): condition on y_i y_k <x_i, x_k> >= lambda ||x_i|| ||x_k|| for all
            pairs. None (the default) draws without conditioning.
        labels : array [n], optional
            Labels -1 or +1. Unless given they alternate, +1 first, so n_+ = ceil(n/2).
        sweeps : int
            Fewest Gibbs sweeps, >= 50; doubled, 16-fold at most, until 20 autocorrelation times are
            covered.
        method : {"auto", "rejection", "gibbs"}
            "auto": rejection of whole samples while P(separable) > 1e-3, Gibbs otherwise.

        Returns
        -------
        sample : Sample
        report : SamplingReport
            Method, acceptance rate, sweeps, autocorrelation.

        Raises
        ------
        ProblemError
            An argument outside its range.
        SamplingError
            The conditional law could not be sampled; the message gives the acceptance rate.

        Notes
        -----
        theory.md 6.4; the labels are free because u_i = y_i x_i are independent
        N(kappa s, sigma^2 I).

        Examples
        --------
        >>> mixture = GaussianMixture(20, kappa=3.0, sigma=1.0)
        >>> sample, report = mixture.sample_with_report(6, seed=0, separability=0.0)
        >>> report.method
        'rejection'
        """
        y = _mixture_labels(_positive_integer("n", n), labels)
        _require_choice("method", method, ("auto", "rejection", "gibbs"))
        if _positive_integer("sweeps", sweeps) < _FEWEST_SWEEPS:
            raise ProblemError(
                f"sweeps is {sweeps}, expected >= {_FEWEST_SWEEPS}: the autocorrelation is "
                "estimated from them"
            )
        generator = as_generator(seed)
        law = ConditionalLaw(
            len(y), self.kappa * self.direction, self.sigma, _separability_level(separability)
        )
        if separability is None:
            report = SamplingReport("unconditioned", None, 1.0)
            return Sample(y[:, None] * law.draw(law.count, generator), y), report
        points, report = draw_conditional(law, generator, sweeps, method)
        return Sample(y[:, None] * points, y), report


def _mixture_labels(n: int, labels: ArrayLike | None) -> FloatArray:
    if labels is None:
        return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    y = _real_array("labels", labels, 1)
    if len(y) != n:
        raise ProblemError(f"labels has {len(y)} entries, n is {n}")
    bad = _first_bad_label(y)
    if bad is not None:
        raise ProblemError(f"labels[{bad}] is {y[bad]:g}, expected -1 or +1")
    return y


def _separability_level(separability: float | None) -> float:
    if separability is None:
        return -1.0
    level = _real_number("separability", separability)
    if not -1.0 <= level < 1.0:
        raise ProblemError(f"separability is {level:g}, a cosine in [-1, 1) is expected")
    return level


# ---------------------------------------------------------------- networks


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """Alpha-free shape of f(x) = sum_j v_j relu(<w_j, x>): it starts at alpha W_j, alpha V_j.

    Parameters
    ----------
    weights : array [h, d]
        W, one neuron per row.
    output : array [h]
        V, the output weights; zero is allowed.

    Raises
    ------
    ProblemError
        NaN or infinity, a zero row of W, shapes that do not match, an empty array, complex,
        boolean or object entries.

    Notes
    -----
    Balanced means |V_j| = ||W_j|| (theory.md 1.2), which gradient flow preserves.

    Examples
    --------
    >>> network = Network(weights=[[3.0, 4.0], [0.0, 1.0]], output=[5.0, -1.0])
    >>> network
    Network(width=2, dimension=2, balanced)
    >>> network.max_row_norm
    5.0
    >>> network.outputs([[1.0, 1.0]])
    array([34.])
    """

    weights: FloatArray
    output: FloatArray

    def __init__(self, weights: ArrayLike, output: ArrayLike) -> None:
        rows, values = _real_array("weights", weights, 2), _real_array("output", output, 1)
        if len(rows) != len(values):
            raise ProblemError(
                f"weights has {len(rows)} rows and output has {len(values)} entries; "
                "give one output weight per neuron"
            )
        _require_norms("weights", "neuron", rows)
        object.__setattr__(self, "weights", rows)
        object.__setattr__(self, "output", values)

    def __reduce__(self) -> tuple[type[Network], tuple[FloatArray, FloatArray]]:
        return Network, (self.weights, self.output)

    def __repr__(self) -> str:
        kind = "balanced" if self.is_balanced else "not balanced"
        return f"Network(width={self.width}, dimension={self.dimension}, {kind})"

    @classmethod
    def balanced(cls, *, weights: ArrayLike, sign: ArrayLike) -> Network:
        """Network with output V_j = s_j ||W_j||.

        Parameters
        ----------
        weights : array [h, d]
            W.
        sign : array [h]
            s, each -1 or +1.

        Raises
        ------
        ProblemError
            As the constructor, and a sign that is neither -1 nor +1.

        Examples
        --------
        >>> Network.balanced(weights=[[3.0, 4.0]], sign=[-1]).output
        array([-5.])
        """
        rows, signs = _real_array("weights", weights, 2), _real_array("sign", sign, 1)
        if len(rows) != len(signs):
            raise ProblemError(f"weights has {len(rows)} rows and sign has {len(signs)} entries")
        bad = _first_bad_label(signs)
        if bad is not None:
            raise ProblemError(f"sign[{bad}] is {signs[bad]:g}, expected -1 or +1")
        _require_norms("weights", "neuron", rows)
        return cls(weights=rows, output=signs * np.linalg.norm(rows, axis=1))

    @classmethod
    def random(
        cls,
        width: int,
        dimension: int,
        seed: Seed,
        row_law: Literal["sphere", "gaussian"] = "sphere",
        signs: Literal["alternating", "random"] = "alternating",
        paired: bool = False,
    ) -> Network:
        """Balanced network with random rows.

        Parameters
        ----------
        width : int
            h, the number of neurons in all; even when `paired`.
        dimension : int
            d.
        seed : int or numpy.random.Generator
            The same seed gives the same numbers.
        row_law : {"sphere", "gaussian"}
            Rows uniform on the unit sphere, or N(0, I/d).
        signs : {"alternating", "random"}
            +1, -1, +1, ... or fair coins.
        paired : bool
            width/2 distinct rows, each in two neighbouring neurons of sign +1 and -1, so that the
            initial function is zero (up to rounding).

        Raises
        ------
        ProblemError
            An argument outside its range, an odd paired width, or `signs="random"` with `paired`.

        Examples
        --------
        >>> network = Network.random(width=4, dimension=3, seed=0, paired=True)
        >>> network.sign
        array([ 1., -1.,  1., -1.])
        >>> bool((network.weights[0] == network.weights[1]).all())
        True
        """
        neurons, size = _positive_integer("width", width), _positive_integer("dimension", dimension)
        _require_choice("row_law", row_law, ("sphere", "gaussian"))
        _require_choice("signs", signs, ("alternating", "random"))
        if paired:
            _require_pairable(neurons, signs)
        generator = as_generator(seed, Stream.NETWORK)
        rows = _random_rows(neurons // 2 if paired else neurons, size, row_law, generator)
        chosen = np.where(np.arange(neurons) % 2 == 0, 1.0, -1.0)
        if signs == "random":
            chosen = generator.choice([-1.0, 1.0], size=neurons)
        return cls.balanced(weights=np.repeat(rows, 2, axis=0) if paired else rows, sign=chosen)

    @property
    def width(self) -> int:
        """Number of neurons h."""
        return int(self.weights.shape[0])

    @property
    def dimension(self) -> int:
        """Dimension d of an input."""
        return int(self.weights.shape[1])

    @property
    def sign(self) -> FloatArray:
        """Sign of each output weight, [h]: -1, +1, or 0 where it is zero."""
        return np.sign(self.output)

    @cached_property
    def row_norms(self) -> FloatArray:
        """Norms ||W_j||, [h]."""
        return np.asarray(np.linalg.norm(self.weights, axis=1))

    @property
    def max_row_norm(self) -> float:
        """W_max = max_j ||W_j|| of theory.md 1.2."""
        return float(self.row_norms.max())

    @property
    def is_balanced(self) -> bool:
        """Whether |V_j| = ||W_j|| for all neurons, to 1e-12 relative."""
        return bool(np.all(np.abs(np.abs(self.output) - self.row_norms) <= 1e-12 * self.row_norms))

    @property
    def keeps_signs(self) -> bool:
        """Whether |V_j| >= ||W_j|| for all j, so that no v_j can change its sign.

        v_j^2 - ||w_j||^2 is conserved: where it is not negative, v_j vanishes only with w_j.
        """
        return bool(np.all(np.abs(self.output) >= (1.0 - 1e-12) * self.row_norms))

    def outputs(self, x: ArrayLike, log_alpha: float = 0.0) -> FloatArray:
        """f(x) = exp(2 log_alpha) sum_j V_j relu(<W_j, x>), one per row of x.

        Parameters
        ----------
        x : array [m, d]
            Inputs.
        log_alpha : float
            log of the initial scale; below about -370 every output is 0 in float64.

        Returns
        -------
        array [m]

        Raises
        ------
        ProblemError
            x is not [m, d] or not finite, or an output overflows float64.
        """
        inputs = _real_array("x", x, 2)
        if inputs.shape[1] != self.dimension:
            raise ProblemError(
                f"x has {inputs.shape[1]} columns, the network takes dimension {self.dimension}"
            )
        scale = _real_number("log_alpha", log_alpha)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            values = np.maximum(inputs @ self.weights.T, 0.0) @ self.output
            values = values * np.exp(scale) * np.exp(scale)
        if not np.isfinite(values).all():
            raise ProblemError(f"an output overflows float64 at log_alpha={scale:g}; lower it")
        return np.asarray(values)


def _require_pairable(width: int, signs: str) -> None:
    if width % 2:
        raise ProblemError(f"width is {width}, but paired=True needs an even width")
    if signs != "alternating":
        raise ProblemError(
            f"signs is {signs!r}, but paired=True gives every row once with +1 and once with -1; "
            "leave signs='alternating'"
        )


def _random_rows(
    count: int, dimension: int, row_law: str, generator: np.random.Generator
) -> FloatArray:
    rows = generator.standard_normal((count, dimension))
    if row_law == "gaussian":
        return rows / math.sqrt(dimension)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


# ---------------------------------------------------------------- losses


@dataclass(frozen=True)
class _Loss:
    """What the losses share: a factor b and a reduction over the n samples."""

    factor: float = 1.0
    reduction: Literal["mean", "sum"] = "mean"

    kind: ClassVar[int]
    needs_labels: ClassVar[bool]
    formula: ClassVar[str]
    _rate_at_zero: ClassVar[float]

    def __post_init__(self) -> None:
        factor = _real_number("factor", self.factor)
        if factor <= 0.0:
            raise ProblemError(f"factor is {factor:g}, expected > 0")
        _require_choice("reduction", self.reduction, ("mean", "sum"))
        object.__setattr__(self, "factor", factor)

    def __str__(self) -> str:
        return f"{self.reduction} of {self.factor:g} * {self.formula}"

    def weight(self, n: int) -> float:
        """Factor in front of each per-sample loss: b/n for "mean", b for "sum"."""
        count = _positive_integer("n", n)
        return self.factor / count if self.reduction == "mean" else self.factor

    def time_factor(self, n: int) -> float:
        """beta such that time_R = beta * time (theory.md 1.3), for n samples.

        R is the convention in which a sample with f = 0 pulls at unit rate, g(0) = 1: the sum of
        2 log(1 + exp(-m)). So beta is b/(2n) ("mean") or b/2 ("sum") for the logistic loss, and
        b/n or b for the exponential and the square loss, which have g(0) = 1 without the 2.
        """
        return self.weight(n) * self._rate_at_zero

    def risk(self, outputs: ArrayLike, y: ArrayLike) -> float:
        """The reduced loss at outputs f [n] and labels or targets y [n].

        Raises
        ------
        ProblemError
            Shapes that do not match, NaN or infinity, labels other than -1 and +1 where needed.
        """
        f, target = self._checked(outputs, y)
        with np.errstate(over="ignore", under="ignore"):
            return float(np.sum(self._values(f, target)) * self.weight(len(f)))

    def residuals(self, outputs: ArrayLike, y: ArrayLike) -> FloatArray:
        """Minus the gradient of `risk` with respect to the outputs, [n] (errors as `risk`)."""
        f, target = self._checked(outputs, y)
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(self._slopes(f, target) * self.weight(len(f)))

    def _checked(self, outputs: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        f, target = _real_array("outputs", outputs, 1), _real_array("y", y, 1)
        if len(f) != len(target):
            raise ProblemError(f"outputs has {len(f)} entries and y has {len(target)}")
        bad = _first_bad_label(target) if self.needs_labels else None
        if bad is not None:
            raise ProblemError(
                f"{type(self).__name__} needs labels -1 or +1, but y[{bad}] is {target[bad]:g}; "
                "map the two classes to -1 and +1, or use SquareLoss"
            )
        return f, target

    def _values(self, f: FloatArray, y: FloatArray) -> FloatArray:
        raise NotImplementedError

    def _slopes(self, f: FloatArray, y: FloatArray) -> FloatArray:
        raise NotImplementedError


@dataclass(frozen=True)
class LogisticLoss(_Loss):
    """b log(1 + exp(-m)), m = y f; reduced by "mean" or "sum".

    Parameters
    ----------
    factor : float
        b > 0. The default, with "mean", is torch's softplus(-m).mean(); b = 2 with "sum" is R.
    reduction : {"mean", "sum"}

    Raises
    ------
    ProblemError
        factor <= 0 or an unknown reduction.

    Notes
    -----
    theory.md 1.3: beta = b/(2n) for "mean", b/2 for "sum".

    Examples
    --------
    >>> loss = LogisticLoss()
    >>> round(loss.risk([0.0, 0.0], [1, -1]), 6)
    0.693147
    >>> loss.residuals([0.0, 0.0], [1, -1])
    array([ 0.25, -0.25])
    >>> LogisticLoss(factor=2.0, reduction="sum").time_factor(10)
    1.0
    """

    kind: ClassVar[int] = 0
    needs_labels: ClassVar[bool] = True
    formula: ClassVar[str] = "log(1 + exp(-y f))"
    _rate_at_zero: ClassVar[float] = 0.5

    def _values(self, f: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(np.logaddexp(0.0, -y * f))

    def _slopes(self, f: FloatArray, y: FloatArray) -> FloatArray:
        decay = np.exp(-np.abs(f))  # in (0, 1]: no overflow, no digits lost on either side
        return np.asarray(y * np.where(y * f >= 0.0, decay, 1.0) / (1.0 + decay))


@dataclass(frozen=True)
class ExponentialLoss(_Loss):
    """b exp(-m), m = y f; reduced by "mean" or "sum".

    Parameters
    ----------
    factor : float
        b > 0.
    reduction : {"mean", "sum"}

    Raises
    ------
    ProblemError
        factor <= 0 or an unknown reduction.

    Notes
    -----
    theory.md 1.3: g(0) = 1, so beta = b/n for "mean", b for "sum". Margins below about -709 exceed
    float64: risk and residuals are then infinite.

    Examples
    --------
    >>> ExponentialLoss().risk([0.0, 0.0], [1, -1])
    1.0
    >>> ExponentialLoss(reduction="sum").time_factor(10)
    1.0
    """

    kind: ClassVar[int] = 1
    needs_labels: ClassVar[bool] = True
    formula: ClassVar[str] = "exp(-y f)"
    _rate_at_zero: ClassVar[float] = 1.0

    def _values(self, f: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-y * f))

    def _slopes(self, f: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(y * np.exp(-y * f))


@dataclass(frozen=True)
class SquareLoss(_Loss):
    """b (f - y)^2 / 2 with any real targets; reduced by "mean" or "sum".

    Parameters
    ----------
    factor : float
        b > 0.
    reduction : {"mean", "sum"}

    Raises
    ------
    ProblemError
        factor <= 0 or an unknown reduction.

    Notes
    -----
    -dl/df at f = 0 is y, so g(0) = 1 and beta = b/n for "mean", b for "sum".

    Examples
    --------
    >>> SquareLoss().risk([0.0, 3.0], [2.0, 3.0])
    1.0
    >>> SquareLoss().residuals([0.0, 3.0], [2.0, 3.0])
    array([1., 0.])
    """

    kind: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = False
    formula: ClassVar[str] = "(f - y)^2 / 2"
    _rate_at_zero: ClassVar[float] = 1.0

    def _values(self, f: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(0.5 * (f - y) ** 2)

    def _slopes(self, f: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(y - f)


Loss: TypeAlias = LogisticLoss | ExponentialLoss | SquareLoss
