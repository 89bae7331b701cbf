"""Stacks blocks into the ImageNet and the CIFAR family (He et al., Table 1 and Sec. 4.2); initialises them."""

import hashlib

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.blocks import (
    PlainBasicBlock,
    PlainBottleneckBlock,
    ResidualBasicBlock,
    ResidualBlock,
    ResidualBottleneckBlock,
)
from plain_vs_residual.experiment import Network
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.settings import Stem
from plain_vs_residual.shortcuts import shortcut

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR_STEM_WIDTH = 16


class StackedNetwork(nn.Module):
    """conv1, the stages ``layer1`` to ``layer3`` or ``layer4``, global average pooling, ``fc``.

    Parameter names are torchvision's, with ``shortcut`` where it says ``downsample``; they are frozen,
    because initial values hang on them.

    Shapes: images (N, in_channels, H, W) to logits (N, num_classes).
    """

    def __init__(
        self,
        network: Network,
        *,
        in_channels: int,
        num_classes: int,
        stem: Stem,
        stem_width: int,
        blocks_per_stage: tuple[int, ...],
    ) -> None:
        super().__init__()
        if stem == "7x7":
            self.conv1 = nn.Conv2d(in_channels, stem_width, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(in_channels, stem_width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.num_stages = len(blocks_per_stage)
        channels = stem_width
        for stage, num_blocks in enumerate(blocks_per_stage):
            width = stem_width * 2**stage
            blocks: list[nn.Module] = []
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(_block(network, channels, width, stride))
                channels = width * (4 if network.bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(images))))
        for stage in range(self.num_stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def _block(network: Network, in_channels: int, width: int, stride: int) -> nn.Module:
    block: PlainBasicBlock | PlainBottleneckBlock | ResidualBasicBlock | ResidualBottleneckBlock
    if network.bottleneck:
        bottleneck = PlainBottleneckBlock if network.option is None else ResidualBottleneckBlock
        block = bottleneck(in_channels, width, stride, stride_in_1x1=network.stride_in_1x1)
    else:
        block = (PlainBasicBlock if network.option is None else ResidualBasicBlock)(in_channels, width, stride)
    if network.option is not None and isinstance(block, ResidualBlock):
        block.shortcut = shortcut(network.option, in_channels, width * block.expansion, stride)
    return block


def build(
    network: Network, *, in_channels: int, num_classes: int, stem: Stem, stem_width: int, seed: int
) -> StackedNetwork:
    """Builds and initialises a network on the CPU in fp32.

    Args:
        network: which one.
        in_channels: channels of the images.
        num_classes: number of logits.
        stem: ``7x7`` at stride 2 with max-pooling, or ``3x3``; the CIFAR family always has ``3x3``.
        stem_width: channels of conv1 in the ImageNet family; the CIFAR family always has 16.
        seed: the seed that :func:`initialise` draws from.
    """
    if network.family == "cifar":
        stem, stem_width = "3x3", CIFAR_STEM_WIDTH
        blocks_per_stage: tuple[int, ...] = ((network.depth - 2) // 6,) * 3
    else:
        blocks_per_stage = BLOCKS_PER_STAGE[network.depth]
    with torch.device("cpu"):
        stacked = StackedNetwork(
            network,
            in_channels=in_channels,
            num_classes=num_classes,
            stem=stem,
            stem_width=stem_width,
            blocks_per_stage=blocks_per_stage,
        )
    initialise(stacked, seed)
    return stacked


def initialise(network: nn.Module, seed: int) -> None:
    """Draws every parameter in place from a generator keyed by (seed, parameter name).

    Parameters of one name and shape are therefore equal in every network of one seed. Convolutions:
    He et al. (2015b), normal, fan-out, as torchvision; BN: 1 and 0; ``fc``: uniform within
    1 / sqrt(fan-in), torch's default.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            generator = keyed_generator(seed, f"{name}.weight")
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for parameter_name, parameter in module.named_parameters():
                generator = keyed_generator(seed, f"{name}.{parameter_name}")
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def parameter_hashes(network: nn.Module) -> dict[str, str]:
    """SHA-256 (first 16 digits) of every parameter with its shape, by name."""
    hashes = {}
    for name, parameter in network.named_parameters():
        values = parameter.detach().cpu().contiguous()
        shape = "x".join(map(str, values.shape))
        hashes[name] = f"{shape}:{hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]}"
    return hashes


def num_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
