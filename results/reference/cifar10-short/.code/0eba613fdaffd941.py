"""What a network costs: multiply-adds of its convolutions and fully connected layers."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.watching import watched


def multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Count the multiply-adds for one image of shape (C, H, W), as He et al. do in Table 1.

    Batch normalisation, activations, pooling and additions do not count.
    """
    total = 0

    def count(weights_per_output: int, x: Tensor, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * weights_per_output

    abstract = copy.deepcopy(network).to("meta").eval()
    counted = {
        name: partial(count, module.weight[0].numel())
        for name, module in abstract.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    with watched(abstract, counted), torch.no_grad():
        abstract(torch.empty(1, *image_shape, device="meta"))
    return total
