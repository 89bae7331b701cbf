"""The passes of a step on a CPU by ``native_step.cpp``, of which a C++ compiler makes a library at its first use.

torch starts some twenty operations per layer; here one call computes all layers forward, and one backward. The
rest stays torch's: parameters, classifier, loss, SGD, and so checkpoints; evaluations, too.
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.blocks import PlainBlock, ResidualBlock, ZeroPaddedIdentity
from plain_vs_residual.networks import CIFAR_STEM_WIDTH, Network
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.training.execution import compiler

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-mfma")
AVX2 = ("-mavx2",)
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
AVX512_BF16 = "-mavx512bf16"
IMAGES = 32  # a batch is a multiple of this number: AVX-512 computes as many at once, AVX2 half of them
CHANNELS = 16  # a stage likewise
NO_COMPILER = "native steps need a C++ compiler (g++ or clang++); install one, or use eager"
# What the library calls a block with a shortcut, by their types: plain, identity, projection.
KINDS: dict[tuple[type, type], int] = {
    (PlainBlock, type(None)): 0,
    (ResidualBlock, nn.Identity): 1,
    (ResidualBlock, ZeroPaddedIdentity): 1,
    (ResidualBlock, nn.Sequential): 2,
}
ONLY_WEIGHTS = ("none", "zero-gamma", "delta-orthogonal")  # modifications after which the layers are as they were


# ---- the library -----------------------------------------------------------------------------------------------


def instructions() -> tuple[str, ...]:
    """Return a compiler's options for the vectors of this processor; none where it has no AVX2."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX2":
        return AVX2
    if not capability.startswith("AVX512"):
        return ()
    return (*AVX512, AVX512_BF16) if torch.cpu._is_avx512_bf16_supported() else AVX512


@cache
def library(precision: Precision, source: Path = SOURCE) -> ctypes.CDLL:
    """Load the compiled source; it is compiled once, and kept in the user's cache.

    Raises:
        ValueError: if there is no compiler, or it fails.
    """
    found = compiler()
    if found is None:
        raise ValueError(f"--execution native: {NO_COMPILER}")
    options = [*FLAGS, *instructions(), *(["-DBF16"] if precision == "bf16" else [])]
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    made_of = hashlib.sha256(repr((source.read_text(encoding="utf-8"), options, version)).encode())
    made = _cache() / f"native-step-{made_of.hexdigest()[:16]}.so"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            new = Path(folder) / made.name
            command = [found, *options, str(source), "-o", str(new)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ValueError(f"{found} does not compile {source.name}: {result.stderr.strip()[:200]}")
            new.replace(made)  # at one stroke, because several processes may make it at the same time
    loaded = ctypes.CDLL(str(made))
    loaded.create.restype = ctypes.c_void_p
    return loaded


def _cache() -> Path:
    """Return the user's cache; where nothing can be kept in it, a new folder for this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plain-vs-residual"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return Path(tempfile.mkdtemp())
    return folder


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

    A backward pass is that of the last forward pass, and puts its gradients where autograd puts them.

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
        if self.computed is None or self.computed[0] != shape:
            number = len(self.description) // 3
            pointer = (ctypes.c_int * len(self.description))(*self.description)
            memory = ctypes.c_void_p(self.library.create(*shape[:3], number, pointer))
            weakref.finalize(self, self.library.destroy, memory)
            self.computed = shape, memory
        return self.computed[1]


class _Features(torch.autograd.Function):
    """Pooled features (N, channels) of images; the gradients of weights are no output, only the anchor's is."""

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
    layers = [(network.conv1, network.bn1)]
    for block in _blocks(network):
        layers += block.layers()
        if isinstance(block, ResidualBlock) and isinstance(block.shortcut, nn.Sequential):
            layers.append(tuple(block.shortcut))  # type: ignore[arg-type]
    for layer, bn in layers:
        known = type(layer) is nn.Conv2d and layer.bias is None and type(bn) is nn.BatchNorm2d
        if not known or (bn.eps, bn.momentum) != (1e-5, 0.1):
            raise ValueError(f"native steps know no {layer} with {bn}; use eager")
        yield layer, bn
