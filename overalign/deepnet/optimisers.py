"""Gradient steps for several networks at once, each with a step size of its own.

The optimisers of torch have one step size for all slices of a tensor. Here every parameter has the
networks along its first dimension, [networks, ...], and every network its own rate and weight
decay; otherwise a step is that of `torch.optim.SGD` and `torch.optim.AdamW`, to rounding.
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
    weight_decays : Tensor, optional
        Of each network; [networks]. None unless given.
    """

    def __init__(self, rates: Tensor, weight_decays: Tensor | None = None) -> None:
        self.rates = rates
        self.weight_decays = weight_decays
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
        self.steps += 1
        # a number is cheaper than a tensor of one; on a card, asking for it would wait for the card
        rate = self.rates.item() if self.rates.numel() == 1 and not self.rates.is_cuda else None
        directions = self._directions(parameters, gradients)
        for parameter, direction in zip(parameters, directions, strict=True):
            if rate is not None:
                parameter.add_(direction, alpha=-rate)
            else:
                parameter.addcmul_(direction, _beside(self.rates, parameter), value=-1.0)

    def _directions(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """What the rates multiply; also brings the averages up to date."""
        raise NotImplementedError

    def _decaying(
        self, parameters: Sequence[Tensor], directions: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """The directions with the weights added, times the weight decay."""
        decays = self.weight_decays
        if decays is None:
            return directions
        pairs = zip(parameters, directions, strict=True)
        return [torch.addcmul(d, p, _beside(decays, p)) for p, d in pairs]

    def keep(self, members: Tensor) -> None:
        """Forget all networks but these.

        Parameters
        ----------
        members : Tensor
            Their numbers, int64.
        """
        self.rates = self.rates[members]
        if self.weight_decays is not None:
            self.weight_decays = self.weight_decays[members]
        self.averages = [[each[members] for each in kind] for kind in self.averages]

    def state(self) -> dict[str, Any]:
        """All that came of the steps so far, for `load`."""
        return {"steps": self.steps, "averages": self.averages}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of the same networks."""
        device, self.steps = self.rates.device, state["steps"]
        self.averages = [[each.to(device) for each in kind] for kind in state["averages"]]


class Sgd(Optimiser):
    """Gradient descent on batches, with momentum if asked for.

    Parameters
    ----------
    rates : Tensor
    weight_decays : Tensor, optional
        As in torch: added to the gradient, times the weights.
    momentum : float
        As in torch: v = momentum v + gradient, starting at the gradient; the step is along v.

    Examples
    --------
    >>> w = torch.tensor([[1.0], [1.0]])
    >>> Sgd(torch.tensor([0.1, 0.5])).step([w], [torch.ones(2, 1)])
    >>> w.tolist()
    [[0.9], [0.5]]
    """

    def __init__(
        self, rates: Tensor, weight_decays: Tensor | None = None, momentum: float = 0.0
    ) -> None:
        super().__init__(rates, weight_decays)
        self.momentum = momentum

    def _directions(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        gradients = self._decaying(parameters, gradients)
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

    The averages decay by 0.9 and 0.999, and 1e-8 is added to the root of the second. Weight decay
    does not pass through the averages (AdamW, arXiv 1711.05101): there it would be divided by the
    scale of the gradient.
    """

    decays = (0.9, 0.999)
    epsilon = 1e-8

    def _directions(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        if not self.averages:
            self.averages = [[torch.zeros_like(g) for g in gradients] for _ in self.decays]
        unbias = [1.0 - decay**self.steps for decay in self.decays]
        directions = []
        for first, second, gradient in zip(*self.averages, gradients, strict=True):
            first.lerp_(gradient, 1.0 - self.decays[0])
            second.mul_(self.decays[1]).addcmul_(gradient, gradient, value=1.0 - self.decays[1])
            root = second.div(unbias[1]).sqrt_().add_(self.epsilon)
            directions.append(first.div(root).div_(unbias[0]))
        return self._decaying(parameters, directions)


def _beside(values: Tensor, parameter: Tensor) -> Tensor:
    """A number for each network, in a shape that multiplies its slice of a parameter."""
    return values.view(-1, *[1] * (parameter.ndim - 1))


def optimiser_of(training: Training, rates: Tensor, learning_rates: Tensor) -> Optimiser:
    """The optimiser that the settings ask for.

    Parameters
    ----------
    training : Training
    rates : Tensor
        Step size of each network; [networks].
    learning_rates : Tensor
        The same before it was scaled with c: a step takes this times ``training.weight_decay`` off
        the weights, whatever c.

    Returns
    -------
    Optimiser
    """
    wanted = training.weight_decay
    decays = wanted * learning_rates / rates if wanted else None
    if training.optimiser == "adam":
        return Adam(rates, decays)
    return Sgd(rates, decays, training.momentum)
