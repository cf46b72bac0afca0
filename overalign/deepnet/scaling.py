"""Feature-learning strength of any torch module: output multiplier, step size, zero initial output.

f is trained as c f. Small c with a step size of lr/c means that the weights travel far before the
loss is small (strong feature learning); large c means that they hardly move (lazy training). What
the network says at initialisation is multiplied by c too; `Centered` and `Paired` take it away.
"""

from __future__ import annotations

import copy
import math

from torch import Tensor, nn

from ..errors import ProblemError

__all__ = ["Centered", "Paired", "Scaled", "scaled_learning_rate", "with_output_multiplier"]


class Scaled(nn.Module):
    """c f, for the module f; made by `with_output_multiplier`.

    Attributes
    ----------
    module : torch.nn.Module
        f; not a copy.
    output_multiplier : float
        c.
    """

    def __init__(self, module: nn.Module, output_multiplier: float) -> None:
        super().__init__()
        self.module = module
        self.output_multiplier = output_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the module times c; the shape is the module's."""
        outputs: Tensor = self.output_multiplier * self.module(x)
        return outputs

    def extra_repr(self) -> str:
        """What `repr` shows beside the module."""
        return f"output_multiplier={self.output_multiplier:g}"


def with_output_multiplier(module: nn.Module, output_multiplier: float) -> Scaled:
    """The module c f, which shares its weights with f.

    Parameters
    ----------
    module : torch.nn.Module
        f: any module that returns one tensor.
    output_multiplier : float
        c, positive. Train with ``scaled_learning_rate(learning_rate, c)``.

    Returns
    -------
    Scaled
        With attributes ``module`` (f itself) and ``output_multiplier``.

    Raises
    ------
    ProblemError
        c is not a positive finite number.

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.scaling import with_output_multiplier
    >>> network = torch.nn.Linear(3, 2)
    >>> scaled = with_output_multiplier(network, 0.25)
    >>> x = torch.ones(5, 3)
    >>> bool((scaled(x) == 0.25 * network(x)).all())
    True
    >>> scaled.module is network, scaled.output_multiplier
    (True, 0.25)
    """
    return Scaled(module, _positive("output_multiplier", output_multiplier))


def scaled_learning_rate(
    learning_rate: float, output_multiplier: float, homogeneous_degree: float | None = None
) -> float:
    """Step size for c f that goes with a step size for f.

    Dividing by c is the recipe of arXiv 2602.00827. If f is homogeneous of degree L in all its
    weights, plain gradient descent on c f from theta_0 with steps of lr c^(-2/L) is gradient
    descent on f from c^(1/L) theta_0 with steps of lr: same outputs at every step, for any loss
    and any batches (theory.md 5.1). For L = 2 the two agree; for other L the recipe is
    another point on the axis of learning rates. Momentum keeps this; so does weight decay if a step
    takes the same share off the weights in both, lr times the decay, as with `Training`. Adam takes
    lr as it is: its step does not feel the scale of the gradient.

    Parameters
    ----------
    learning_rate : float
        lr, positive.
    output_multiplier : float
        c, positive.
    homogeneous_degree : float, optional
        L: the number of layers of weights of a ReLU network without biases, normalisation or skip
        connections.

    Returns
    -------
    float
        lr / c, or lr c^(-2/L).

    Raises
    ------
    ProblemError
        An argument is not a positive finite number, or the result is none.

    Examples
    --------
    >>> from overalign.deepnet.scaling import scaled_learning_rate
    >>> scaled_learning_rate(0.1, 2.0**-6)
    6.4
    >>> scaled_learning_rate(0.1, 2.0**-6, homogeneous_degree=3)
    1.6
    """
    rate = _positive("learning_rate", learning_rate)
    c = _positive("output_multiplier", output_multiplier)
    if homogeneous_degree is None:
        scaled = rate / c
    else:
        scaled = rate * c ** (-2.0 / _positive("homogeneous_degree", homogeneous_degree))
    return _positive("the scaled learning rate", scaled)


class Centered(nn.Module):
    """f - f_0: a module minus what it says now.

    The initial module is kept in buffers, not in parameters: optimisers leave it alone, and
    ``state_dict`` and ``to`` take it along. It is in training or evaluation mode together with f,
    so that with batch normalisation the difference starts at zero in either mode.

    Parameters
    ----------
    module : torch.nn.Module
        f; not a copy, trained in place.

    Attributes
    ----------
    module, initial : torch.nn.Module
        f and f_0.

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.scaling import Centered
    >>> network = Centered(torch.nn.Linear(3, 2))
    >>> bool((network(torch.ones(5, 3)) == 0.0).all())
    True
    >>> len(list(network.parameters()))
    2
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.initial = _frozen(module)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the module minus those at initialisation; the shape is the module's."""
        difference: Tensor = self.module(x) - self.initial(x)
        return difference


class Paired(nn.Module):
    """(f_1 - f_2) / sqrt(2), where f_2 starts as a copy of f_1: zero at first, both trained.

    The tangent kernel at initialisation is that of f_1 alone. With dropout the copies draw
    different masks in training mode, and the difference is zero in evaluation mode only.

    Parameters
    ----------
    module : torch.nn.Module
        f_1; not a copy, trained in place.

    Attributes
    ----------
    module, twin : torch.nn.Module
        f_1 and f_2.

    Examples
    --------
    >>> import torch
    >>> from overalign.deepnet.scaling import Paired
    >>> network = Paired(torch.nn.Linear(3, 2))
    >>> bool((network(torch.ones(5, 3)) == 0.0).all())
    True
    >>> len(list(network.parameters()))
    4
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.twin = copy.deepcopy(module)

    def forward(self, x: Tensor) -> Tensor:
        """Difference of the outputs of the copies over sqrt(2); the shape is the module's."""
        difference: Tensor = (self.module(x) - self.twin(x)) / math.sqrt(2.0)
        return difference


def _frozen(module: nn.Module) -> nn.Module:
    """A copy whose parameters have become buffers."""
    frozen = copy.deepcopy(module).requires_grad_(False)
    for part in frozen.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
    return frozen


def _positive(name: str, value: float) -> float:
    """The value as a float, if it is positive and finite."""
    if not (math.isfinite(value) and value > 0.0):
        raise ProblemError(f"{name} is {value}; give a positive finite number")
    return float(value)
