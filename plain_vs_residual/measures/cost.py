"""What a network costs: multiply-adds of its convolutions and fully connected layers."""

import copy

import torch
from torch import Tensor, nn


def multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Count the multiply-adds for one image of shape (C, H, W), as He et al. do in Table 1.

    Batch normalisation, activations, pooling and additions do not count.
    """
    total = 0

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.Linear)
        total += output.numel() * module.weight[0].numel()

    abstract = copy.deepcopy(network).to("meta").eval()
    for module in abstract.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        abstract(torch.empty(1, *image_shape, device="meta"))
    return total
