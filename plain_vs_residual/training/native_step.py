"""The passes of a step on a CPU by ``native_step.cpp``, of which a C++ compiler makes a library at its first use.

torch starts some twenty operations per layer; here one call computes all layers forward, and one backward. The
rest stays torch's: parameters, classifier, loss, SGD, and so checkpoints; evaluations, too.
"""

import ctypes
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.blocks import PlainBlock, ResidualBlock, ZeroPaddedIdentity
from plain_vs_residual.networks import CIFAR_STEM_WIDTH, Network
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.training.native_library import AVX512_BF16, instructions, library

IMAGES = 32  # a batch is a multiple of this number: AVX-512 computes as many at once, AVX2 half of them
CHANNELS = 16  # a stage likewise
# What the library calls a block with a shortcut, by their types: plain, identity, projection.
KINDS: dict[tuple[type, type], int] = {
    (PlainBlock, type(None)): 0,
    (ResidualBlock, nn.Identity): 1,
    (ResidualBlock, ZeroPaddedIdentity): 1,
    (ResidualBlock, nn.Sequential): 2,
}
ONLY_WEIGHTS = ("none", "zero-gamma", "delta-orthogonal")  # modifications after which the layers are as they were


# ---- what it can compute ---------------------------------------------------------------------------------------


def misfit(architecture: Architecture, recipe: Recipe, precision: Precision) -> str:
    """Say why the library cannot compute a network's steps here; empty if it can."""
    cifar = architecture.family == "cifar"
    width = CIFAR_STEM_WIDTH if cifar else recipe.stem_width
    normalised = recipe.norm_batch or recipe.batch_size
    reasons = {
        "blocks of three layers": architecture.bottleneck,
        "a 7x7 stem": recipe.stem == "7x7" and not cifar,
        f"blocks changed by {recipe.modification}": recipe.modification not in ONLY_WEIGHTS,
        f"{width} channels, no multiple of {CHANNELS}": width % CHANNELS != 0,
        f"BN over {normalised} images, no multiple of {IMAGES}": normalised % IMAGES != 0,
        f"{precision}, neither bf16 nor fp32": precision not in ("bf16", "fp32"),
        "bf16, which this processor does not multiply": precision == "bf16" and AVX512_BF16 not in instructions(),
    }
    return next((f"native steps are not made for {reason}" for reason, holds in reasons.items() if holds), "")


# ---- passes ----------------------------------------------------------------------------------------------------


class NativePass:
    """Computes the logits of a network in training mode, and gradients, by the library but for the classifier.

    A backward pass is that of the last forward pass.

    Args:
        network: on the CPU, as :func:`~plain_vs_residual.networks.on_device` has it, for which :func:`misfit` has
            nothing to say.
        precision: in which it computes.

    Raises:
        ValueError: if blocks or layers have become others than those that the library knows.
    """

    def __init__(self, network: Network, precision: Precision) -> None:
        self.network = network
        self.library = library(precision)
        self.description = _description(network)
        layers = list(_layers(network))
        self.normalisations = [bn for _, bn in layers]
        self.weights = [one for layer, bn in layers for one in (layer.weight, bn.weight, bn.bias)]
        assert all(one.dim() != 4 or one.is_contiguous(memory_format=torch.channels_last) for one in self.weights)
        self.counters = [bn.get_buffer("num_batches_tracked") for bn in self.normalisations]
        names = ("weight", "bias", "running_mean", "running_var")
        of_layers = [(layer.weight, *(getattr(bn, name) for name in names)) for layer, bn in layers]
        self.parameters = _addresses(tensor for of_layer in of_layers for tensor in of_layer)
        self.gradients = [torch.empty_like(weight) for weight in self.weights]
        self.computed: tuple[torch.Size, ctypes.c_void_p] | None = None
        self.num_passes = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits of images (N, channels, H, W), N a multiple of :data:`IMAGES`."""
        features = _features(self, images.contiguous(), torch.zeros((), requires_grad=True))
        if self.updates_statistics:
            torch._foreach_add_(self.counters, 1)
        logits: Tensor = self.network.fc(features)
        return logits

    @property
    def updates_statistics(self) -> bool:
        """Whether running statistics follow: not for the later parts of a batch."""
        return self.normalisations[0].track_running_stats

    def activations(self, shape: torch.Size) -> ctypes.c_void_p:
        """Return the library's memory for images of a shape."""
        assert shape[0] % IMAGES == 0
        assert shape[2] == shape[3], "images are squares"
        if self.computed is None or self.computed[0] != shape:
            number = len(self.description) // 3
            pointer = (ctypes.c_int * len(self.description))(*self.description)
            memory = ctypes.c_void_p(self.library.create(*shape[:3], number, pointer))
            weakref.finalize(self, self.library.destroy, memory)
            self.computed = shape, memory
        return self.computed[1]


class _Features(torch.autograd.Function):
    """Computes pooled features (N, channels) of images.

    Its backward pass puts gradients where autograd puts them, which would call a function for each weight. The
    anchor, of which nobody asks for a gradient, is there for autograd to call the pass at all.
    """

    @staticmethod
    def forward(ctx: Any, native: NativePass, images: Tensor, anchor: Tensor) -> Tensor:
        memory, fc = native.activations(images.shape), native.network.fc
        features = images.new_empty(len(images), fc.in_features)
        updates = int(native.updates_statistics)
        native.library.forward(memory, _address(images), native.parameters, updates, _address(features))
        native.num_passes += 1
        ctx.native, ctx.memory, ctx.number = native, memory, native.num_passes
        return features

    @staticmethod
    def backward(ctx: Any, of_features: Tensor) -> tuple[None, None, None]:
        native: NativePass = ctx.native
        assert ctx.number == native.num_passes, "the activations of this pass have been overwritten"
        first = native.weights[0].grad is None
        # Memory that is written in every step stays in the caches; a sum over parts of a batch needs other.
        gradients = native.gradients if first else [torch.empty_like(weight) for weight in native.weights]
        of_features = of_features.float().contiguous()
        native.library.backward(ctx.memory, _address(of_features), native.parameters, _addresses(gradients))
        if first:
            for weight, gradient in zip(native.weights, gradients, strict=True):
                weight.grad = gradient
        else:
            torch._foreach_add_([weight.grad for weight in native.weights if weight.grad is not None], gradients)
        return None, None, None


_features: Callable[..., Tensor] = _Features.apply


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _addresses(tensors: Iterable[Tensor]) -> Any:
    found = [tensor.data_ptr() for tensor in tensors]
    return (ctypes.c_void_p * len(found))(*found)


def _blocks(network: Network) -> list[PlainBlock]:
    return [one for stage in network.stages for one in network.get_submodule(stage).children()]  # type: ignore[misc]


def _description(network: Network) -> list[int]:
    """Return the channels of the stem; then kind, channels and stride of each block."""
    described = [network.conv1.out_channels]
    for block in _blocks(network):
        types = type(block), type(getattr(block, "shortcut", None))
        if types not in KINDS or len(block.layers()) != 2:
            raise ValueError(f"native steps know no {types[0].__name__} with {types[1].__name__}; use eager")
        described += [KINDS[types], block.out_channels, block.conv1.stride[0]]
    return described


def _layers(network: Network) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Yield convolution and BN of each layer, in the library's order: a block's projection comes last."""
    yield _known(network.conv1, network.bn1, 3, 1)
    for block in _blocks(network):
        first, second = block.layers()
        stride = first[0].stride[0]
        yield _known(*first, 3, stride)
        yield _known(*second, 3, 1)
        if isinstance(block, ResidualBlock) and isinstance(block.shortcut, nn.Sequential):
            projection, bn = block.shortcut
            yield _known(projection, bn, 1, stride)


def _known(layer: nn.Module, bn: nn.Module, size: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return a convolution and its BN, if nothing about them differs from what the library computes."""
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    channels = layer.in_channels, layer.out_channels
    with torch.device("meta"):
        expected = nn.Conv2d(*channels, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(channels[1])
    for one, known in zip((layer, bn), expected, strict=True):
        if repr(one) != repr(known):  # which says kernel, stride, padding, epsilon, and so on
            raise ValueError(f"native steps know no {one}; use eager")
    return layer, bn
