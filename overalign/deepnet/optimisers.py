"""Gradient steps for several networks at once, each with a step size of its own.

The optimisers of torch have one step size for all slices of a tensor. Here every parameter has the
networks along its first dimension, [networks, ...], and every network its own rate; otherwise a
step is that of `torch.optim.SGD` and `torch.optim.Adam`, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .settings import Training

__all__ = ["Adam", "Optimiser", "Sgd", "optimiser_of"]


class Optimiser:
    """What the optimisers share: rates, weight decay, and averages of past gradients.

    Parameters
    ----------
    rates : Tensor
        Step size of each network; [networks].
    weight_decay : float
        Added to the gradient, times the weights.
    """

    def __init__(self, rates: Tensor, weight_decay: float = 0.0) -> None:
        self.rates = rates
        self.weight_decay = weight_decay
        self.steps = 0
        self.averages: list[list[Tensor]] = []  # by kind, then by parameter; [networks, ...]

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Change the parameters in place.

        Parameters
        ----------
        parameters, gradients : sequence of Tensor
            [networks, ...] each.
        """
        if self.weight_decay:
            gradients = [
                g.add(p, alpha=self.weight_decay)
                for p, g in zip(parameters, gradients, strict=True)
            ]
        self.steps += 1
        # a number is cheaper than a tensor of one; on a card, asking for it would wait for the card
        rate = self.rates.item() if self.rates.numel() == 1 and not self.rates.is_cuda else None
        for parameter, direction in zip(parameters, self._directions(gradients), strict=True):
            if rate is not None:
                parameter.add_(direction, alpha=-rate)
            else:
                rates = self.rates.view(-1, *[1] * (parameter.ndim - 1))
                parameter.addcmul_(direction, rates, value=-1.0)

    def _directions(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the rates multiply; also brings the averages up to date."""
        raise NotImplementedError

    def keep(self, members: Tensor) -> None:
        """Forget all networks but these.

        Parameters
        ----------
        members : Tensor
            Their numbers, int64.
        """
        self.rates = self.rates[members]
        self.averages = [[each[members] for each in kind] for kind in self.averages]

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for `load`."""
        return {"rates": self.rates, "steps": self.steps, "averages": self.averages}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        device = self.rates.device
        self.rates, self.steps = state["rates"].to(device), state["steps"]
        self.averages = [[each.to(device) for each in kind] for kind in state["averages"]]


class Sgd(Optimiser):
    """Gradient descent on batches, with momentum if asked for.

    Parameters
    ----------
    rates : Tensor
    weight_decay : float
    momentum : float
        As in torch: v = momentum v + gradient, starting at the gradient; the step is along v.

    Examples
    --------
    >>> w = torch.tensor([[1.0], [1.0]])
    >>> Sgd(torch.tensor([0.1, 0.5])).step([w], [torch.ones(2, 1)])
    >>> w.tolist()
    [[0.9], [0.5]]
    """

    def __init__(self, rates: Tensor, weight_decay: float = 0.0, momentum: float = 0.0) -> None:
        super().__init__(rates, weight_decay)
        self.momentum = momentum

    def _directions(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        if not self.momentum:
            return gradients
        if not self.averages:
            self.averages = [[g.clone() for g in gradients]]
        else:
            for velocity, gradient in zip(self.averages[0], gradients, strict=True):
                velocity.mul_(self.momentum).add_(gradient)
        return self.averages[0]


class Adam(Optimiser):
    """Adam of Kingma and Ba (arXiv 1412.6980), with the constants that torch has by default.

    The averages decay by 0.9 and 0.999, and 1e-8 is added to the root of the second.
    """

    decays = (0.9, 0.999)
    epsilon = 1e-8

    def _directions(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        if not self.averages:
            self.averages = [[torch.zeros_like(g) for g in gradients] for _ in self.decays]
        unbias = [1.0 - decay**self.steps for decay in self.decays]
        directions = []
        for first, second, gradient in zip(*self.averages, gradients, strict=True):
            first.lerp_(gradient, 1.0 - self.decays[0])
            second.mul_(self.decays[1]).addcmul_(gradient, gradient, value=1.0 - self.decays[1])
            root = second.div(unbias[1]).sqrt_().add_(self.epsilon)
            directions.append(first.div(root).div_(unbias[0]))
        return directions


def optimiser_of(training: Training, rates: Tensor) -> Optimiser:
    """The optimiser that the settings ask for.

    Parameters
    ----------
    training : Training
    rates : Tensor
        Step size of each network; [networks].

    Returns
    -------
    Optimiser
    """
    if training.optimiser == "adam":
        return Adam(rates, training.weight_decay)
    return Sgd(rates, training.weight_decay, training.momentum)
