"""SGD that needs no compiler, and Muon for the matrices of a network: torch's, both."""

from collections.abc import Iterable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ORDERS = ((0, 1, 2, 3), (0, 2, 3, 1))  # in which a kernel's numbers may lie in memory


class SGD(torch.optim.SGD):
    """torch's SGD without the wrappers that keep ``torch.compile`` out of it.

    They import the compiler to do so, which costs a process that trains some two seconds and 140 MB
    (findings/torch_optimizer_imports_compiler.sh). Nothing compiles an optimizer here.
    """

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    load_state_dict = unwrap(torch.optim.SGD.load_state_dict)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step by the gradients as they are."""
        with torch.no_grad():
            _step(self)


_step = unwrap(torch.optim.SGD.step)


class MuonAndSGD(Optimizer):
    """Muon (Jordan et al., 2024) for the kernels of convolutions, SGD with momentum for all else, at one rate.

    A kernel (out, in, height, width) is a matrix with a row per output channel. What Muon makes of a matrix does
    not depend on the order of its columns. The classifier is left to SGD, as Muon's authors do.

    Args:
        parameters: on their device.
        learning_rate: a scalar tensor, that of both.
        momentum: of both; Muon's is Nesterov's.
        weight_decay: of both; SGD adds it to the gradient.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: Tensor, momentum: float, weight_decay: float
    ) -> None:
        parameters = list(parameters)
        super().__init__(parameters, {"lr": learning_rate})  # whoever clips or scales gradients finds them here
        self.learning_rate = learning_rate
        self.kernels = [one for one in parameters if one.dim() == 4]
        rest = [one for one in parameters if one.dim() != 4]
        self.orders = [_order(kernel) for kernel in self.kernels]
        # The same memory seen as matrices, so that a step of theirs is one of the kernels.
        self.matrices = [
            nn.Parameter(kernel.detach().permute(order).view(len(kernel), -1))
            for kernel, order in zip(self.kernels, self.orders, strict=True)
        ]
        self.parts: list[Optimizer] = []
        if self.matrices:
            muon = torch.optim.Muon(
                self.matrices,
                lr=learning_rate,  # type: ignore[arg-type]  # it takes a tensor as well
                momentum=momentum,
                weight_decay=weight_decay,
            )
            self.parts.append(muon)
        if rest:
            sgd = torch.optim.SGD(rest, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True)
            self.parts.append(sgd)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step of both."""
        for kernel, matrix, order in zip(self.kernels, self.matrices, self.orders, strict=True):
            gradient = kernel.grad
            matrix.grad = None if gradient is None else gradient.permute(order).reshape(matrix.shape)
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier :meth:`state_dict`, at the rate that is set from outside."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
            for group in part.param_groups:
                group["lr"] = self.learning_rate  # loading put a copy in its place


def _order(kernel: Tensor) -> tuple[int, ...]:
    """Return the order of dimensions in which a kernel's numbers lie one after the other; the first if in none."""
    return next((order for order in ORDERS if kernel.permute(order).is_contiguous()), ORDERS[0])
