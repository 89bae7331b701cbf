"""BN, the addition of a shortcut and ReLU computed together, though blocks write them one after the other.

In :func:`fused`, a BN layer returns a :class:`Promise`: a tensor that is computed when it is needed.
``relu(promise)`` and ``relu(promise + shortcut)`` are computed by
:mod:`plain_vs_residual.training.fused_kernels`; whatever else is done with a promise gets what torch computes.
So ``blocks.py`` stays as it is.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, relu
from torch.utils._pytree import tree_map_only

from plain_vs_residual.training.fused_kernels import can_normalise, normalised

ADDITIONS = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
RECTIFICATIONS = (relu, torch.relu, Tensor.relu)


@dataclass
class _Output:
    """The output of a BN layer: its input, and what became of it.

    Attributes:
        tickets: see :func:`~plain_vs_residual.training.fused_kernels.normalised`.
        counted: whether the layer's running statistics have been updated.
        alone: the output, once it has been computed by itself.
    """

    bn: nn.BatchNorm2d
    x: Tensor
    tickets: Tensor
    counted: bool = False
    alone: Tensor | None = None

    def by_itself(self) -> Tensor:
        """Compute what torch computes, once."""
        if self.alone is None and self.counted:
            self.alone = batch_norm(
                self.x, None, None, self.bn.weight, self.bn.bias, training=True, eps=self.bn.eps
            )
        elif self.alone is None:
            self.alone, self.counted = nn.BatchNorm2d.forward(self.bn, self.x), True
        return self.alone

    def rectified(self, shortcut: Tensor | None) -> Tensor:
        """Compute relu(output + shortcut), by the kernels unless the output is there already."""
        if self.counted:
            return relu(self.by_itself() if shortcut is None else self.by_itself() + shortcut)
        self.counted = True
        return normalised(self.bn, self.x, shortcut, self.tickets)


class Promise(Tensor):
    """The output of a BN layer, plus a shortcut if there is one, that is computed when it is needed.

    The numbers that it holds as a tensor are those of the layer's input, and nobody gets to see them.
    """

    output: _Output
    shortcut: Tensor | None

    @staticmethod
    def of(output: _Output, shortcut: Tensor | None = None) -> "Promise":
        """Return a promise."""
        promise = output.x.detach().as_subclass(Promise)
        promise.output, promise.shortcut = output, shortcut
        return promise

    def kept(self) -> Tensor:
        """Compute what torch computes."""
        return self.output.by_itself() if self.shortcut is None else self.output.by_itself() + self.shortcut

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in RECTIFICATIONS and isinstance(args[0], Promise):
            return args[0].output.rectified(args[0].shortcut)
        if function in ADDITIONS and len(args) == 2 and not kwargs:
            promise, other = args if isinstance(args[0], Promise) else reversed(args)
            other = other.kept() if isinstance(other, Promise) else other
            if promise.shortcut is None and _like(promise.output.x, other):
                return Promise.of(promise.output, other)
        args, kwargs = tree_map_only(Promise, Promise.kept, (tuple(args), dict(kwargs or {})))
        return function(*args, **kwargs)


def _like(x: Tensor, other: object) -> bool:
    return isinstance(other, Tensor) and (other.shape, other.dtype, other.device) == (x.shape, x.dtype, x.device)


@contextmanager
def fused(tickets: Mapping[nn.BatchNorm2d, Tensor]) -> Iterator[None]:
    """Let BN layers, each with its tickets, promise their output in this context."""

    def promised(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
        if not can_normalise(bn, x):
            return nn.BatchNorm2d.forward(bn, x)
        return Promise.of(_Output(bn, x, tickets[bn]))

    with ExitStack() as stack:
        for bn in tickets:
            bn.forward = partial(promised, bn)  # type: ignore[method-assign]
            stack.callback(delattr, bn, "forward")
        yield


def make_tickets(network: nn.Module) -> dict[nn.BatchNorm2d, Tensor]:
    """Return tickets for every BN layer of a network, on its device: zeros, as the kernels leave them behind."""
    layers = [module for module in network.modules() if type(module) is nn.BatchNorm2d]
    return {bn: bn.weight.new_zeros(math.ceil(bn.num_features / 64), dtype=torch.int32) for bn in layers}
