"""Gradients of weights beside the gradients of images: on a second CUDA stream, until SGD needs them.

In the backward pass each layer waits for the gradient of the images that the next one computes. The gradient of a
weight is needed by nobody before the end of the step, so it can be computed beside that chain. The operations are
the same, and so are their numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class SecondStream:
    """A second stream of the device, and the tensors that it still reads."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.read = list[Tensor]()

    def begin_with(self, *tensors: Tensor) -> torch.cuda.StreamContext:
        """Return a context whose operations the second stream computes, after all that is queued by now."""
        self.read += tensors  # else their memory would be given to what the first stream computes meanwhile
        self.stream.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self.stream)

    def join(self) -> None:
        """Let the current stream wait for everything that is queued on the second one."""
        torch.cuda.current_stream().wait_stream(self.stream)
        self.read.clear()


def second_stream(device: torch.device) -> SecondStream | None:
    """Return a second stream where the device has streams."""
    return SecondStream() if device.type == "cuda" else None


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: nn.Conv2d, second: SecondStream) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer, ctx.second = layer, second
        return conv2d(x, weight, None, layer.stride, layer.padding)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        layer: nn.Conv2d = ctx.layer

        def gradient(of_image: bool) -> tuple[Tensor, Tensor, Tensor]:
            how = (None, layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups)
            wanted = [of_image, not of_image, False]
            found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(dy, x, weight, *how, wanted)
            return found

        with ctx.second.begin_with(dy, x):
            of_weight = gradient(of_image=False)[1]
        return gradient(of_image=True)[0] if ctx.needs_input_grad[0] else None, of_weight, None, None


_convolved: Callable[..., Tensor] = _Convolved.apply


def _convolve(layer: nn.Conv2d, second: SecondStream, x: Tensor) -> Tensor:
    return _convolved(x.to(layer.weight.dtype), layer.weight, layer, second)


@contextmanager
def weight_gradients_on(second: SecondStream, layers: Sequence[nn.Conv2d]) -> Iterator[None]:
    """Let convolutions without bias compute the gradients of their weights on a second stream.

    The stream must be joined before anybody reads these gradients.
    """
    with ExitStack() as stack:
        for layer in layers:
            layer.forward = partial(_convolve, layer, second)  # type: ignore[method-assign]
            stack.callback(delattr, layer, "forward")
        yield
