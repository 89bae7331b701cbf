"""The forward pass of a step with fewer operations: all weights rounded at once, all batches counted at once.

In half precision, autocast rounds each weight where a layer needs it, and converts each gradient back; each BN
layer counts its batches. That is three operations per layer and step which a GPU takes longer to start than to
compute. Here each of the three is one operation for all layers, and the numbers are the same.

A GPU also computes the gradients of weights beside those of images and, where that is asked for, BN together with
what follows it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.networks import Network
from plain_vs_residual.training.native_step import NativePass
from plain_vs_residual.training.precision import AUTOCAST
from plain_vs_residual.training.two_streams import SecondStream, second_stream, weight_gradients_on


def make_pass(
    network: nn.Module, precision: Precision, execution: Execution = Execution.EAGER
) -> Callable[[Tensor], Tensor]:
    """Return what computes the logits of images in training mode: torch, or the passes in C++."""
    if execution is not Execution.NATIVE:
        return TrainingPass(network, precision, execution)
    assert isinstance(network, Network)
    return NativePass(network, precision)


class TrainingPass:
    """Computes what the network computes under autocast in training mode, bit by bit unless compiled or fused.

    Args:
        network: on its device.
        precision: in which it computes; without half precision there is nothing to round.
        execution: whether the network is compiled, fused, or recorded as a graph, which may have two streams.
    """

    def __init__(self, network: nn.Module, precision: Precision, execution: Execution = Execution.EAGER) -> None:
        self.network = network
        self.dtype = AUTOCAST.get(precision)
        modules = list(network.named_modules())
        self.weights = {
            f"{name}.{parameter_name}": parameter
            for name, module in modules
            if self.dtype
            and type(module) in (nn.Conv2d, nn.Linear)  # not subclasses, which transform their weights first
            for parameter_name, parameter in module.named_parameters(recurse=False)
        }
        normalisations = (module for _, module in modules if isinstance(module, nn.BatchNorm2d))
        self.batch_counters = [(module, module.get_buffer("num_batches_tracked")) for module in normalisations]
        self.call: Callable[..., Tensor] = functional_call
        if execution.compiled:
            # The network is closed over, not passed: torch compiles its layers; rounded weights are inputs.
            compiled = torch.compile(lambda weights, images: functional_call(network, weights, images))
            self.call = lambda _, weights, images: compiled(weights, images)
        self.second: SecondStream | None = None
        self.contexts: list[Callable[[], AbstractContextManager[None]]] = []
        # Streams join in the backward pass of the rounding, so there must be one. Compiled code has its kernels.
        if self.weights and execution.recorded and not execution.compiled:
            self.second = second_stream(next(network.parameters()).device)
        if self.second is not None:
            convolutions = [module for _, module in modules if type(module) is nn.Conv2d]
            self.contexts.append(partial(weight_gradients_on, self.second, convolutions))
        if execution.fused:
            from plain_vs_residual.training.fusion import fused, make_tickets  # needs Triton

            self.contexts.append(partial(fused, make_tickets(network)))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits; the caller's context is autocast's."""
        rounded = _rounded(self.dtype, self.second, *self.weights.values()) if self.weights else ()
        with ExitStack() as stack:
            stack.enter_context(
                _batches_counted_at_once([one for one in self.batch_counters if one[0].track_running_stats])
            )
            for context in self.contexts:
                stack.enter_context(context())
            return self.call(self.network, dict(zip(self.weights, rounded, strict=True)), images)


class _Rounded(torch.autograd.Function):
    """Rounds tensors to another precision, and converts their gradients back, each by one operation for all."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, second: SecondStream | None, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.second = second
        return _converted(weights, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.second is not None:
            ctx.second.join()
        return (None, None, *_converted(gradients, torch.float32))


_rounded: Callable[..., tuple[Tensor, ...]] = _Rounded.apply


def _converted(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    converted = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(converted, list(tensors))
    return tuple(converted)


@contextmanager
def _batches_counted_at_once(counted: Sequence[tuple[nn.BatchNorm2d, Tensor]]) -> Iterator[None]:
    """Keep BN layers from counting their batches one by one in this context, and count for all at its end."""
    for module, _ in counted:
        module.num_batches_tracked = None  # then the layer counts nothing
    try:
        yield
    finally:
        for module, counter in counted:
            module.num_batches_tracked = counter
    if counted:
        torch._foreach_add_([counter for _, counter in counted], 1)
