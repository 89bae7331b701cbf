"""What a network costs: multiply-adds of its convolutions and fully connected layers."""

from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.watching import watched


def multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Count the multiply-adds for one image of shape (C, H, W), as He et al. do in Table 1.

    Batch normalisation, activations, pooling and additions do not count. The network computes an empty image for
    it, in evaluation mode, and is left as it was.
    """
    total = 0

    def count(weights_per_output: int, x: Tensor, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * weights_per_output

    counted = {
        name: partial(count, module.weight[0].numel())
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    first = next(network.parameters())
    was_training = network.training
    network.eval()
    try:
        with watched(network, counted), torch.no_grad():
            network(torch.zeros(1, *image_shape, dtype=first.dtype, device=first.device))
    finally:
        network.train(was_training)
    return total
