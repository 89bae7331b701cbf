"""The size of the gradient, layer by layer, before, during and after training (BN by the batch, T).

Yang et al. (2019), A Mean Field Theory of Batch Normalization: in a plain network with BN and ReLU the gradient
grows by a constant factor per layer towards the input, up to 1.21 in wide ones.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.schedule import evaluation_points
from plain_vs_residual.watching import watched

NUM_IMAGES = 128
FIRST_ITERATIONS = (0, 1, 2, 5, 10, 45)
COLUMNS = ("log10_gradient_ratio", "log10_gradient_ratio_at_iteration_10", "gradient_growth_in_stage_1")


def measure(subject: Subject) -> Measured:
    """Follow the gradient at every layer through the first iterations, then at each evaluation of the run.

    Of weights that were not trained here, before training and after it.
    """
    images, labels = subject.images(NUM_IMAGES)
    setting = subject.setting
    length = subject.num_iterations
    moments = {iteration for iteration in FIRST_ITERATIONS if iteration < length}
    moments.update(evaluation_points(length, setting.evaluations))
    rows: list[MeasuredRow] = []
    layers: dict[int, list[LayerGradient]] = {}
    for iteration, network in subject.during_training(sorted(moments)):
        layers[iteration] = gradient_norms(network, images, labels)
        rows += _rows(iteration, layers[iteration])
    return Measured(
        rows,
        {
            "log10_gradient_ratio": log10_gradient_ratio(layers[0]),
            "log10_gradient_ratio_at_iteration_10": log10_gradient_ratio(layers.get(10, [])),
            "gradient_growth_in_stage_1": growth_per_layer(layers[0], "layer1"),
        },
    )


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

    def keep(name: str, x: Tensor, output: Tensor) -> None:
        outputs[name] = output

    buffers = {name: value.clone() for name, value in network.named_buffers()}
    was_training = network.training
    network.train()
    try:
        with watched(network, {name: partial(keep, name) for name in convolutions}):
            loss = cross_entropy(network(images), labels)
        weights = [module.weight for module in convolutions.values()]
        gradients = torch.autograd.grad(loss, [*outputs.values(), *weights])
    finally:
        network.train(was_training)
        for name, value in network.named_buffers():
            value.copy_(buffers[name])
    norms = [gradient.norm().item() for gradient in gradients]
    num = len(convolutions)
    return [
        LayerGradient(name, output, weight, module.weight.norm().item())
        for (name, module), output, weight in zip(convolutions.items(), norms[:num], norms[num:], strict=True)
    ]


def _rows(iteration: int, layers: Sequence[LayerGradient]) -> Iterator[MeasuredRow]:
    """Yield what was measured at one iteration, in the layers' order."""
    for position, layer in enumerate(layers, start=1):
        numbers = {"output": layer.output, "weight": layer.weight, "weights": layer.weights}
        for quantity, value in numbers.items():
            yield MeasuredRow(
                iteration=iteration, quantity=quantity, place=layer.layer, position=position, value=value
            )


def _is_3x3(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)


def log10_gradient_ratio(layers: Sequence[LayerGradient]) -> float:
    """Return the decimal logarithm of the second convolution's weight gradient over the last one's.

    The second is the first within a block: 0 where early and late layers learn alike, 3 where the early one is
    moved a thousand times as much. NaN where a gradient is not finite.
    """
    if len(layers) < 2 or not layers[-1].weight > 0 or not layers[1].weight > 0:
        return math.nan
    return math.log10(layers[1].weight / layers[-1].weight)


def growth_per_layer(layers: Sequence[LayerGradient], stage: str) -> float:
    """Return by which factor the gradient at the outputs grows per layer, from the end of a stage to its start.

    It is regressed within a stage, where all outputs have one shape. NaN where a gradient is 0, as zero-gamma
    begins, or not finite.

    >>> growth_per_layer([LayerGradient(f"layer1.{i}.conv1", 2.0**-i, 1, 1) for i in range(5)], "layer1")
    2.0
    """
    norms = [layer.output for layer in layers if layer.stage == stage]
    if not all(0 < norm < math.inf for norm in norms):
        return math.nan
    slope = np.polynomial.Polynomial.fit(range(len(norms)), np.log(norms), 1).convert().coef[1]
    return round(float(np.exp(-slope)), 12)
