"""Networks that learn side by side: one as it is, or several stacked in one tensor per parameter.

A stack does in one call of the processor's library what a loop does in many. Networks of `Flatten`,
`Linear` and `ReLU` are stacked by batched matrix products, other networks by `torch.func`. What a
member of a stack computes is what it computes alone, to rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .scaling import Centered, Paired

__all__ = ["Alone", "Learner", "Stacked", "learner_of", "why_not_stackable"]

Parameters: TypeAlias = dict[str, Tensor]

_ROUNDING = 1e-2  # relative; convolutions on a card round to three digits


class Learner(Protocol):
    """Networks of one architecture that are shown the same inputs.

    Attributes
    ----------
    parameters : list of Tensor
        [networks, ...] each; an optimiser changes them in place.
    """

    parameters: list[Tensor]

    def gradients(
        self, x: Tensor, losses_of: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses [networks], and their gradients in the order of ``parameters``.

        Parameters
        ----------
        x : Tensor
            Inputs; [batch, ...].
        losses_of : callable
            Takes outputs [networks, batch, classes], returns losses [networks].
        """

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs in evaluation mode, without a graph; [networks, batch, classes]."""

    def module(self, member: int) -> nn.Module:
        """One of the networks as a module, in evaluation mode."""

    def kept(self, members: Tensor) -> Learner:
        """These networks alone."""

    def state(self) -> dict[str, Any]:
        """All numbers of the networks, for `load`."""

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""


class Alone:
    """One network of any kind.

    Parameters
    ----------
    module : nn.Module
        Is trained itself, not a copy of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._trained = [p for p in module.parameters() if p.requires_grad]
        self.parameters = [p.detach().unsqueeze(0) for p in self._trained]  # the same memory

    def gradients(
        self, x: Tensor, losses_of: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `Learner.gradients`."""
        _set_mode(self._module, training=True)
        losses = losses_of(self._module(x).unsqueeze(0))
        gradients = torch.autograd.grad(
            losses.sum(), self._trained, allow_unused=True, materialize_grads=True
        )
        return losses.detach(), [g.unsqueeze(0) for g in gradients]

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """As `Learner.outputs`."""
        _set_mode(self._module, training=False)
        outputs: Tensor = self._module(x)
        return outputs.unsqueeze(0)

    def module(self, member: int) -> nn.Module:
        """The network."""
        return self._module.eval()

    def kept(self, members: Tensor) -> Alone:
        """Itself: there is nothing to leave out."""
        return self

    def state(self) -> dict[str, Any]:
        """As `Learner.state`."""
        return dict(self._module.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        """As `Learner.load`."""
        self._module.load_state_dict(state)


class Stacked:
    """Several networks that start alike.

    Parameters
    ----------
    module : nn.Module
        What they start as; it is not changed.
    count : int
        How many.
    """

    def __init__(self, module: nn.Module, count: int) -> None:
        self._template = module
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._names = list(trained)
        self.parameters = [_stack(p, count) for p in trained.values()]
        self._forward = _forward_of(module)

    def _outputs(self, x: Tensor) -> Tensor:
        return self._forward(dict(zip(self._names, self.parameters, strict=True)), x)

    def gradients(
        self, x: Tensor, losses_of: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `Learner.gradients`."""
        _set_mode(self._template, training=True)
        losses = losses_of(self._outputs(x))
        gradients = torch.autograd.grad(
            losses.sum(), self.parameters, allow_unused=True, materialize_grads=True
        )
        return losses.detach(), list(gradients)

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """As `Learner.outputs`."""
        _set_mode(self._template, training=False)
        return self._outputs(x)

    @torch.no_grad()
    def module(self, member: int) -> nn.Module:
        """A copy of one of the networks, in evaluation mode."""
        module = copy.deepcopy(self._template).eval()
        own = dict(module.named_parameters())
        for name, stacked in zip(self._names, self.parameters, strict=True):
            own[name].copy_(stacked[member])
        return module

    def kept(self, members: Tensor) -> Learner:
        """As `Learner.kept`; a network that is left alone is not stacked any more."""
        if len(members) == 1:
            return Alone(self.module(int(members[0])))
        self.parameters = [p.detach()[members].requires_grad_() for p in self.parameters]
        return self

    def state(self) -> dict[str, Any]:
        """As `Learner.state`."""
        return dict(zip(self._names, (p.detach() for p in self.parameters), strict=True))

    def load(self, state: dict[str, Any]) -> None:
        """As `Learner.load`."""
        device = self.parameters[0].device
        self.parameters = [state[name].to(device).requires_grad_() for name in self._names]


def _set_mode(module: nn.Module, *, training: bool) -> None:
    if module.training is not training:  # walking through all parts takes time
        module.train(training)


def _stack(parameter: Tensor, count: int) -> Tensor:
    return parameter.detach().expand(count, *parameter.shape).clone().requires_grad_()


def learner_of(module: nn.Module, count: int) -> Learner:
    """So many networks that start as a module does; the module is left as it is.

    Parameters
    ----------
    module : nn.Module
    count : int
        One, unless `why_not_stackable` has nothing against more.

    Returns
    -------
    Learner
    """
    return Alone(copy.deepcopy(module)) if count == 1 else Stacked(module, count)


def why_not_stackable(module: nn.Module, x: Tensor) -> str:
    """What keeps networks from being trained in a stack; empty if nothing does.

    Two of them are tried: what is stacked must compute what it computes alone.

    Parameters
    ----------
    module : nn.Module
    x : Tensor
        Some inputs, to try; [batch, ...].

    Returns
    -------
    str
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
            return f"'{name}' normalises batches, and its averages are no parameters"
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0.0:
            return f"'{name}' drops units at random"
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if len(names) > len(list(module.parameters())):
        return "layers share their weights"  # torch's functional_call does not restore them
    constant = {
        id(buffer)
        for part in module.modules()
        if isinstance(part, Centered)
        for buffer in part.initial.buffers()
    }
    for name, buffer in module.named_buffers():
        if id(buffer) not in constant:
            return f"'{name}' is a buffer, which a stack would share"
    try:
        differs = _differs_in_a_stack(module, x)
    except Exception as error:  # of anybody's module, or of torch about it
        return f"a stack of two fails ({type(error).__name__}: {error})"
    return "in a stack of two they compute something else than alone" if differs else ""


def _differs_in_a_stack(module: nn.Module, x: Tensor) -> bool:
    """Whether outputs in evaluation or losses in training are others, by more than rounding."""
    stack = Stacked(copy.deepcopy(module), 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in stack.parameters:  # else twins, and what is centred, say nothing
            parameter.mul_(torch.rand(parameter.shape, generator=generator).to(parameter) + 0.5)
    alone = Alone(stack.module(1))
    for many, one in zip(_outputs_and_losses(stack, x), _outputs_and_losses(alone, x), strict=True):
        if not (many[1] - one[0]).abs().max() <= _ROUNDING * one[0].abs().max():
            return True
    return False


def _outputs_and_losses(learner: Learner, x: Tensor) -> tuple[Tensor, Tensor]:
    return learner.outputs(x), learner.gradients(x, lambda f: f.square().mean((1, 2)))[0]


# ---------------------------------------------------------------- how a stack computes

Forward: TypeAlias = Callable[[Parameters, Tensor], Tensor]


def _forward_of(module: nn.Module) -> Forward:
    """Outputs [networks, batch, classes] of a module's stacked parameters and inputs."""
    if isinstance(module, Centered):
        changed, initial = _part(module, "module"), module.initial
        return lambda parameters, x: changed(parameters, x) - initial(x)
    if isinstance(module, Paired):
        first, second = _part(module, "module"), _part(module, "twin")
        return lambda parameters, x: (first(parameters, x) - second(parameters, x)) / math.sqrt(2.0)
    return _by_products(module) or _by_vmap(module)


def _part(module: nn.Module, name: str) -> Forward:
    """One of a module's children, from the parameters of the whole."""
    forward, prefix = _forward_of(module.get_submodule(name)), f"{name}."

    def of_the_whole(parameters: Parameters, x: Tensor) -> Tensor:
        own = {k.removeprefix(prefix): p for k, p in parameters.items() if k.startswith(prefix)}
        return forward(own, x)

    return of_the_whole


def _by_vmap(module: nn.Module) -> Forward:
    """Any module without state."""

    def one(parameters: Parameters, x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, parameters, (x,))
        return outputs

    return vmap(one, in_dims=(0, None))


def _by_products(module: nn.Module) -> Forward | None:
    """A chain of `Flatten`, `Linear` and `ReLU`; None for anything else."""
    if type(module) is not nn.Sequential or not all(map(_is_plain, module.modules())):
        return None
    layers = [(name, type(layer)) for name, layer in module._modules.items()]  # one may come twice
    kinds = [kind for _, kind in layers]
    if set(kinds) - {nn.Flatten, nn.Linear, nn.ReLU} or nn.Flatten in kinds[1:]:
        return None
    if not all(parameter.requires_grad for parameter in module.parameters()):
        return None

    def forward(parameters: Parameters, x: Tensor) -> Tensor:
        x = x.flatten(1) if kinds[0] is nn.Flatten else x
        x = x.expand(len(next(iter(parameters.values()))), *x.shape)
        for name, kind in layers:
            if kind is nn.ReLU:
                x = x.relu()
            elif kind is nn.Linear:
                weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
                x = _StackedLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return x

    return forward


def _is_plain(module: nn.Module) -> bool:
    """Whether nothing was hung on a module that changes what its class does."""
    hooks = (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._backward_pre_hooks,
        module._backward_hooks,
    )
    own = {name for name, _ in module.named_parameters(recurse=False)}
    return not any(hooks) and own <= {"weight", "bias"}


class _StackedLinear(torch.autograd.Function):
    """x [networks, batch, in] -> [networks, batch, out], by weights [networks, out, in].

    Torch's own derivative gives the gradient of the weights transposed in memory, and a step along
    it then takes longer than the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(1) if ctx.needs_input_grad[2] else None
        return of_x, torch.bmm(gradient.mT, x), of_bias
