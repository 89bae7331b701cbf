"""Option A with its zeros on both sides of the channels, as in a much used repository, and as this suite has it.

Networks of the 6n+2 family from https://github.com/akamaster/pytorch_resnet_cifar10 pad the shortcut's channels
with zeros on both sides, half of them on each; here all of them are appended. The weights have the same names and
shapes, so that they load without complaint and then compute something else. But the channels of a stage have no
order of their own: permuted, the weights compute the same with the zeros at the end.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from plain_vs_residual.architecture import Architecture


def zeros_moved_to_the_end(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Permute the channels of a network that pads both sides, so that it computes the same when it pads the end.

    Args:
        state: parameters and BN statistics by this suite's names.
        architecture: which network they are of.

    Raises:
        ValueError: if it has no shortcuts of option A.
    """
    if architecture.option != "A":
        raise ValueError(
            f"--zero-padding both: {architecture.name} pads no shortcut with zeros; only option A does"
        )
    permuted = dict(state)
    channels = torch.arange(state["bn1.weight"].numel())
    for stage, num_blocks in enumerate(architecture.blocks_per_stage, start=1):
        for index in range(num_blocks):
            block = f"layer{stage}.{index}"
            _permute(permuted, f"{block}.conv1.weight", 1, channels)
            if index == 0:
                channels = _after_padding(channels, state[f"{block}.bn2.weight"].numel())
            _permute(permuted, f"{block}.conv2.weight", 0, channels)
            for name in ("weight", "bias", "running_mean", "running_var"):
                _permute(permuted, f"{block}.bn2.{name}", 0, channels)
    _permute(permuted, "fc.weight", 1, channels)
    return permuted


def _after_padding(channels: Tensor, num: int) -> Tensor:
    """Return which of their channels each of ours is, after both have been padded to ``num`` channels.

    Args:
        channels: the same before the padding.
        num: number of channels.
    """
    before = (num - len(channels)) // 2
    carried = channels + before
    padded = torch.ones(num, dtype=torch.bool)
    padded[carried] = False
    return torch.cat([carried, torch.arange(num)[padded]])


def _permute(state: dict[str, Tensor], name: str, dimension: int, channels: Tensor) -> None:
    state[name] = state[name].index_select(dimension, channels)
