"""What a network has aligned with, and how far it has moved: the mechanism as numbers.

Over-alignment is alignment with the empirical class means away from those of the population. With
n training images the difference of the two is sampling noise, so the cosine of what a network has
learned with that difference says how much of the noise it has learned.

Everything is of the bare network f in evaluation mode: the cosines and alignments do not change
when f is multiplied by c.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.functional import one_hot

from .models import read_out
from .seeds import Purpose, numpy_stream, torch_stream

if TYPE_CHECKING:
    from .images import ImageData, Images

__all__ = ["MECHANISM", "Mechanism", "kernel_alignment", "tangent_kernel"]

TARGETS = ("empirical", "population", "difference")
MECHANISM: tuple[str, ...] = (
    *(f"predictor_cosine_{target}" for target in TARGETS),
    *(f"predictor_change_cosine_{target}" for target in TARGETS),
    *(f"readout_cosine_{target}" for target in TARGETS),
    "feature_cosine",
    "tangent_kernel_alignment",
    "conjugate_kernel_alignment",
    "weight_displacement",
)

PROBES = 64  # training images on which kernels are compared
CHUNK = 256  # images that are looked at together
DIRECTIONS = 8  # random directions in output space, where a trace over all outputs is too large
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
JACOBIAN_SIZE = 2**26  # numbers in a Jacobian that is held; at most two are


class Mechanism:
    """Measures networks that start alike and learn the same data.

    What the networks share is computed once: class means and the kernels at initialisation.

    Parameters
    ----------
    initial : torch.nn.Module
        The network at initialisation, without output multiplier; left as it is. Where it
        normalises batches, it is looked at with the statistics of the training images.
    data : ImageData
        The population means are ``data.population_means`` where known, those of the test images
        otherwise. Both, and the test images' features, enter after subtraction of the mean over
        classes.
    seed : int
        Draws the training images on which kernels are compared.

    Examples
    --------
    >>> from overalign.deepnet.images import read_images
    >>> from overalign.deepnet.mechanism import Mechanism
    >>> from overalign.deepnet.models import build_model
    >>> from overalign.deepnet.seeds import initialised
    >>> from overalign.deepnet.settings import Architecture, Task
    >>> data = read_images(Task(data="digits", n=100, held_out=100), seed=0)
    >>> network = initialised(lambda: build_model(Architecture(), data.shape, data.classes), seed=0)
    >>> mechanism = Mechanism(network, data, seed=0)
    >>> found = mechanism.measure(network)
    >>> found["tangent_kernel_alignment"], found["weight_displacement"]
    (1.0, 0.0)
    """

    def __init__(self, initial: nn.Module, data: ImageData, seed: int) -> None:
        weight = next(initial.parameters())
        self._data, self._dtype = data.to(weight.device), weight.dtype
        chosen = numpy_stream(seed, Purpose.PROBES).permutation(len(data.train))[:PROBES]
        images = self._data.train.subset(torch.from_numpy(chosen).to(weight.device))
        self._probes = self._data.normalised(images.x, self._dtype)
        self._seed = seed
        self._means = self._class_means()
        self._start = self._look(self._calibrated(initial))

    def measure(self, model: nn.Module) -> dict[str, float]:
        """What a network has aligned with and how far it is from its initialisation.

        Parameters
        ----------
        model : torch.nn.Module
            The network in training, without output multiplier: the module that was ``initial``,
            on the same device. It is left as it is.

        Returns
        -------
        dict of str to float
            For each name of `MECHANISM`:

            ``predictor_cosine_*``
                Of the effective predictor of a class with the empirical class mean of the inputs,
                the population's, and the empirical minus the population's. The predictor of class
                k is the gradient with respect to the input of f_k - mean_j f_j, averaged over the
                training images of class k. All cosines are averaged over classes.
            ``predictor_change_cosine_*``
                The same of the predictor minus that at initialisation: a lazy network keeps most
                of its random initial predictor.
            ``readout_cosine_*``
                Of a class's row of the last layer (minus the mean row) with the class means of
                the penultimate features over training images, over test images, and with the
                difference. This difference is not sampling noise alone: features were fitted to
                the training images, and their class means are further apart there.
            ``feature_cosine``
                Of the class means of the features over training images with those over test images.
            ``tangent_kernel_alignment``, ``conjugate_kernel_alignment``
                `kernel_alignment` with initialisation of the `tangent_kernel` and of the Gram
                matrix of the penultimate features, on 64 training images.
            ``weight_displacement``
                ||theta - theta_0|| / ||theta_0||, over all trained parameters.

            A number that has no meaning is NaN: those of the last layer where the network does
            not end with a Linear, cosines with a vector that is zero, and those with class means
            where a class has no images to take the mean of.
        """
        end, start = self._look(model), self._start
        change = end.predictor - start.predictor
        return {
            **_cosines("predictor_cosine", end.predictor, self._means),
            **_cosines("predictor_change_cosine", change, self._means),
            **_cosines("readout_cosine", end.readout, end.features),
            "feature_cosine": _cosine(end.features.empirical, end.features.population),
            "tangent_kernel_alignment": kernel_alignment(end.tangent_kernel, start.tangent_kernel),
            "conjugate_kernel_alignment": kernel_alignment(
                end.conjugate_kernel, start.conjugate_kernel
            ),
            "weight_displacement": float(
                torch.linalg.vector_norm(end.weights - start.weights)
                / torch.linalg.vector_norm(start.weights)
            ),
        }

    def _class_means(self) -> _Means:
        """Class means of the inputs."""
        data = self._data

        def of(images: Images) -> Tensor:
            return _class_means(self._chunks(images), data.classes)

        known = data.population_means
        population = of(data.test) if known is None else known.flatten(1).double()
        return _Means(_centred(of(data.train)), _centred(population))

    @torch.no_grad()
    def _calibrated(self, initial: nn.Module) -> nn.Module:
        """The network with batch statistics of the training images instead of those of no data."""
        model = copy.deepcopy(initial).eval()
        norms = [part for part in model.modules() if isinstance(part, BATCH_NORMS)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all chunks
            norm.train()
        if norms:
            for x, _ in self._chunks(self._data.train):
                model(x)
        return model

    def _look(self, model: nn.Module) -> _Look:
        """Everything that is measured of one network."""
        trained = [p.detach().double().flatten() for p in model.parameters() if p.requires_grad]
        tangent = tangent_kernel(model, self._probes, self._seed)
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        data = self._data

        def feature_means(images: Images) -> Tensor:
            chunks = ((_last_layer(frozen, x)[0], y) for x, y in self._chunks(images))
            return _centred(_class_means(chunks, data.classes))

        gradients = ((_input_gradients(frozen, x, y), y) for x, y in self._chunks(data.train))
        features, weights = _last_layer(frozen, self._probes)
        return _Look(
            predictor=_class_means(gradients, data.classes),
            features=_Means(feature_means(data.train), feature_means(data.test)),
            readout=_centred(weights.double()),
            tangent_kernel=tangent,
            conjugate_kernel=features @ features.T,
            weights=torch.cat(trained),
        )

    def _chunks(self, images: Images) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised inputs and labels, some at a time."""
        parts = math.ceil(len(images) / CHUNK)  # of equal size: no batch of one to normalise
        for x, y in zip(images.x.tensor_split(parts), images.y.tensor_split(parts), strict=True):
            yield self._data.normalised(x, self._dtype), y


class _Means(NamedTuple):
    """Class means [classes, features], their mean over classes subtracted."""

    empirical: Tensor
    population: Tensor


class _Look(NamedTuple):
    """What is kept of one network."""

    predictor: Tensor  # [classes, inputs]
    features: _Means
    readout: Tensor  # [classes, features], centred
    tangent_kernel: Tensor  # [probes, probes]
    conjugate_kernel: Tensor  # [probes, probes]
    weights: Tensor  # [parameters]


# ------------------------------------------------------------------------------------- cosines


def _input_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Gradient with respect to each input of its own class's output, minus the mean output's."""
    x = x.detach().requires_grad_()
    outputs: Tensor = model(x)
    own = outputs.gather(1, y[:, None]).sum() - outputs.mean(dim=1).sum()
    return torch.autograd.grad(own, x)[0]


@torch.no_grad()
def _last_layer(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Penultimate features and readout; NaN where the network does not end with a Linear."""
    outputs, features, weights = read_out(model, x)
    if features is None or weights is None:
        return outputs.new_full((len(x), 1), torch.nan), outputs.new_full(
            (outputs.shape[1], 1), torch.nan
        )
    return features, weights


def _class_means(chunks: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Means of vectors over each class; NaN for a class that does not occur.

    Products with indicators: on a graphics card they add up in one order, `index_add_` does not.
    """
    total = count = torch.zeros((), dtype=torch.float64)
    for vectors, y in chunks:
        indicator = one_hot(y, classes).T
        total = total + (indicator.to(vectors.dtype) @ vectors.flatten(1)).double()
        count = count + indicator.sum(dim=1, keepdim=True)
    return total / count


def _centred(vectors: Tensor) -> Tensor:
    """Vectors [classes, features] minus their mean over classes."""
    return vectors - vectors.mean(dim=0)


def _cosine(first: Tensor, second: Tensor) -> float:
    """Mean over classes of the cosine of two vectors [classes, features]."""
    norms = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return float(((first * second).sum(dim=1) / norms).mean())


def _cosines(name: str, vectors: Tensor, means: _Means) -> dict[str, float]:
    """Cosines of vectors [classes, features] with the two kinds of means and their difference."""
    targets = (means.empirical, means.population, means.empirical - means.population)
    return {
        f"{name}_{target}": _cosine(vectors, mean)
        for target, mean in zip(TARGETS, targets, strict=True)
    }


# ------------------------------------------------------------------------------------- kernels


def kernel_alignment(first: Tensor, second: Tensor) -> float:
    """Centred alignment of two kernels: 1 if they agree up to a factor and a shift of features.

    <K', L'> / (||K'|| ||L'||) for K' = H K H with H = I - 1/n (Cortes, Mohri & Rostamizadeh 2012;
    "linear CKA" of Kornblith et al. 2019).

    Parameters
    ----------
    first, second : torch.Tensor
        Kernels on the same inputs; [n, n].

    Returns
    -------
    float
        Between 0 and 1 for positive semidefinite kernels; NaN if one is constant.

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.mechanism import kernel_alignment
    >>> x = torch.eye(3, dtype=torch.float64)
    >>> kernel_alignment(x @ x.T, 5.0 * x @ x.T)
    1.0
    """
    first, second = (_doubly_centred(kernel.double()) for kernel in (first, second))
    norms = torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second)
    return float((first * second).sum() / norms)


def _doubly_centred(kernel: Tensor) -> Tensor:
    """H K H."""
    kernel = kernel - kernel.mean(dim=0)
    return kernel - kernel.mean(dim=1, keepdim=True)


def tangent_kernel(model: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    """Tangent kernel of a network in evaluation mode, traced over its outputs.

    K(x, x') = sum over outputs k and trained parameters of df_k(x)/dtheta df_k(x')/dtheta. It is
    exact where the Jacobian, inputs x outputs x parameters, has at most 2^26 entries. For larger
    networks the trace is estimated without bias from eight random directions r of independent
    signs in the space of outputs, the same for all inputs and for all networks: the mean over r of
    the kernels of <r, f>. The Jacobians that are held at once then take 0.5 GiB in single
    precision (1 GiB in double), or two gradients of one image where that is more. A ResNet-18
    of the published width is a matter of seconds on a graphics card, of minutes on a CPU.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    x : torch.Tensor
        Inputs [n, *shape], in the network's precision and on its device.
    seed : int
        Draws the directions.

    Returns
    -------
    torch.Tensor
        [n, n], float64.

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.mechanism import tangent_kernel
    >>> x = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    >>> tangent_kernel(torch.nn.Linear(2, 1, bias=False), x)
    tensor([[5., 6.],
            [6., 9.]], dtype=torch.float64)
    """
    model = copy.deepcopy(model).eval()
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    model.requires_grad_(False)
    parameters = sum(p.numel() for p in trained.values())
    with torch.no_grad():
        outputs: int = model(x[:1]).shape[1]
    if len(x) * outputs * parameters <= JACOBIAN_SIZE:
        directions = torch.eye(outputs, dtype=x.dtype, device=x.device)[None]
    else:
        signs = torch.randint(
            2, (DIRECTIONS, 1, outputs), generator=torch_stream(seed, Purpose.PROBES)
        )
        directions = (2.0 * signs - 1.0).to(x) / math.sqrt(DIRECTIONS)

    def jacobian(some: Tensor, image: Tensor) -> dict[str, Tensor]:
        def seen(values: dict[str, Tensor]) -> Tensor:
            outputs: Tensor = functional_call(model, values, (image[None],))
            return some @ outputs[0]

        found: dict[str, Tensor] = jacrev(seen)(trained)
        return found

    size = max(1, JACOBIAN_SIZE // (directions.shape[1] * parameters))
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for some in directions:
        kernel += _gram(vmap(partial(jacobian, some)), x, size)
    return kernel


def _gram(jacobian: Callable[[Tensor], dict[str, Tensor]], x: Tensor, size: int) -> Tensor:
    """Inner products of the Jacobians at all pairs of inputs, those of two blocks at a time."""
    blocks = torch.split(torch.arange(len(x), device=x.device), size)
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for index, rows in enumerate(blocks):
        left = jacobian(x[rows])
        for columns in blocks[: index + 1]:
            right = left if columns is rows else jacobian(x[columns])
            products = [left[name].flatten(1) @ right[name].flatten(1).T for name in left]
            kernel[rows[:, None], columns] = block = torch.stack(products).double().sum(dim=0)
            kernel[columns[:, None], rows] = block.T
    return kernel
