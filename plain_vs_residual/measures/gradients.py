"""Gradients as SGD sees them, layer by layer, and along a straight line between two images.

Norms: Yang et al. (2019), A Mean Field Theory of Batch Normalization. Correlations along a line: Balduzzi et al.
(2017), The Shattered Gradients Problem. Both are measured in fp32 on given images, without augmentation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy


@dataclass(frozen=True)
class LayerGradient:
    """The gradient of the mean loss at one 3x3 convolution; norms are Frobenius norms.

    Attributes:
        layer: name of the convolution; ``conv1`` is the stem, other names begin with their stage, as ``layer1``.
        output: norm of the gradient at the convolution's output (N, C, H, W), before BN.
        weight: norm of the gradient at its weights (C_out, C_in, 3, 3).
        weights: norm of the weights themselves.
    """

    layer: str
    output: float
    weight: float
    weights: float

    @property
    def stage(self) -> str:
        """The stage that the layer belongs to, or the stem."""
        return self.layer.partition(".")[0]


def gradient_norms(network: nn.Module, images: Tensor, labels: Tensor) -> list[LayerGradient]:
    """Measure the gradient at every 3x3 convolution, in their order, for one batch.

    BN normalises by the batch, as in training; its running statistics and the network's mode are as before
    afterwards, and the gradients of the parameters are left alone.

    Args:
        network: on the device of the images.
        images: float (N, C, H, W).
        labels: int64 (N).
    """
    convolutions = {name: module for name, module in network.named_modules() if _is_3x3(module)}
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, output))
        for name, module in convolutions.items()
    ]
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    was_training = network.training
    network.train()
    try:
        loss = cross_entropy(network(images), labels)
        weights = [module.weight for module in convolutions.values()]
        gradients = torch.autograd.grad(loss, [*outputs.values(), *weights])
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
        for name, value in network.named_buffers():
            value.copy_(buffers[name])
    norms = [gradient.norm().item() for gradient in gradients]
    num = len(convolutions)
    return [
        LayerGradient(name, output, weight, module.weight.norm().item())
        for (name, module), output, weight in zip(convolutions.items(), norms[:num], norms[num:], strict=True)
    ]


def _is_3x3(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)


def log10_gradient_ratio(layers: Sequence[LayerGradient]) -> float:
    """Return the decimal logarithm of the second convolution's weight gradient over the last one's.

    The second is the first within a block: 0 where early and late layers learn alike, 3 where the early one is
    moved a thousand times as much.
    """
    return math.log10(layers[1].weight / layers[-1].weight)


def growth_per_layer(layers: Sequence[LayerGradient], stage: str) -> float:
    """Return by which factor the gradient at the outputs grows per layer, from the end of a stage to its start.

    It is regressed within a stage, where all outputs have one shape.

    >>> growth_per_layer([LayerGradient(f"layer1.{i}.conv1", 2.0**-i, 1, 1) for i in range(5)], "layer1")
    2.0
    """
    norms = [layer.output for layer in layers if layer.stage == stage]
    slope = np.polynomial.Polynomial.fit(range(len(norms)), np.log(norms), 1).convert().coef[1]
    return round(float(np.exp(-slope)), 12)


def gradient_correlations(
    network: nn.Module, first: Tensor, second: Tensor, lags: Sequence[int], generator: torch.Generator
) -> dict[int, float]:
    """Measure how alike the gradients at nearby points of the line between two images are.

    256 points divide the line evenly. Of each, the gradient of a random projection of the logits at the pixels is
    taken, and compared by its cosine with that of the point ``lag`` further on: 1 where the network is smooth, 0
    where its gradients are like white noise.

    Args:
        network: in evaluation mode, with running statistics of its own weights; batch statistics would couple the
            points. For an untrained network: :func:`..responses.with_estimated_statistics`.
        first: float (C, H, W).
        second: likewise.
        lags: in points.
        generator: of the CPU, for the projection.

    Returns:
        Mean cosine by lag.

    Raises:
        ValueError: if the network is in training mode.
    """
    if network.training:
        raise ValueError("gradient_correlations: the network is in training mode; call eval() first")
    places = torch.linspace(0, 1, 256, device=first.device)[:, None, None, None]
    points = ((1 - places) * first + places * second).requires_grad_()
    logits = network(points)
    projection = torch.randn(logits.shape[1], generator=generator).to(logits.device)
    (gradients,) = torch.autograd.grad((logits @ projection).sum(), points)
    flat = gradients.flatten(start_dim=1)
    return {lag: cosine_similarity(flat[:-lag], flat[lag:]).mean().item() for lag in lags}
