"""Stacks blocks into the ImageNet and the CIFAR family (He et al., Table 1 and Sec. 4.2); initialises them."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import (
    PlainBlock,
    ResidualBlock,
    basic_layers,
    bottleneck_layers,
    conv_bn,
    make_shortcut,
)
from plain_vs_residual.modifications import modify
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.recipe import Recipe

CIFAR_STEM_WIDTH = 16


class Network(nn.Module):
    """conv1, the stages ``layer1`` to ``layer3`` or ``layer4``, global average pooling, ``fc``.

    Parameter names are torchvision's, with ``shortcut`` where it says ``downsample``; they are frozen,
    because initial values depend on them.

    Shapes: images (N, channels, H, W) to logits (N, num_classes).

    Args:
        architecture: which network.
        recipe: decides stem and width of the ImageNet family; the CIFAR family always has a 3x3 stem of 16.
        channels: of the images.
        num_classes: number of logits.
    """

    def __init__(self, architecture: Architecture, recipe: Recipe, channels: int, num_classes: int) -> None:
        super().__init__()
        cifar = architecture.family == "cifar"
        width = CIFAR_STEM_WIDTH if cifar else recipe.stem_width
        if recipe.stem == "7x7" and not cifar:
            self.conv1, self.bn1 = conv_bn(channels, width, kernel=7, stride=2)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1, self.bn1 = conv_bn(channels, width, kernel=3)
            self.maxpool = nn.Identity()
        self.stages = [f"layer{stage}" for stage, _ in enumerate(architecture.blocks_per_stage, start=1)]
        in_channels = width
        for name, num_blocks in zip(self.stages, architecture.blocks_per_stage, strict=True):
            blocks = []
            for index in range(num_blocks):
                stride = 2 if index == 0 and name != "layer1" else 1
                blocks.append(_block(architecture, in_channels, width, stride))
                in_channels = blocks[-1].out_channels
            self.add_module(name, nn.Sequential(*blocks))
            width *= 2
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(images))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def _block(architecture: Architecture, in_channels: int, width: int, stride: int) -> PlainBlock:
    if architecture.bottleneck:
        layers = bottleneck_layers(in_channels, width, stride, stride_in_1x1=architecture.stride_in_1x1)
    else:
        layers = basic_layers(in_channels, width, stride)
    if architecture.option is None:
        return PlainBlock(layers)
    out_channels = layers[-1][0].out_channels
    return ResidualBlock(layers, make_shortcut(architecture.option, in_channels, out_channels, stride))


def build(architecture: Architecture, recipe: Recipe, *, channels: int, num_classes: int, seed: int) -> Network:
    """Build a network on the CPU in fp32, with the initial values that ``seed`` stands for.

    Args:
        architecture: which network.
        recipe: decides stem and width of the ImageNet family, and whether the network is modified.
        channels: of the images.
        num_classes: number of logits.
        seed: what :func:`initialise` draws from.
    """
    with torch.device("cpu"):
        network = Network(architecture, recipe, channels, num_classes)
    initialise(network, seed)
    modify(network, recipe.modification, seed)
    return network


def abstract(architecture: Architecture, recipe: Recipe, *, channels: int, num_classes: int) -> Network:
    """Build a network without values (meta device): its shapes, its cost, in no time and no memory."""
    with torch.device("meta"):
        return Network(architecture, recipe, channels, num_classes)


def on_device(network: Network, device: torch.device) -> Network:
    """Move a network to its device, in the memory order in which convolutions are fastest."""
    moved: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def initialise(network: nn.Module, seed: int) -> None:
    """Draw every parameter in place from a generator keyed by (seed, parameter name).

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


def hashes_of(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """Return shape and SHA-256 (first 16 digits) of each tensor, by name."""
    hashes = {}
    for name, tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        shape = "x".join(map(str, values.shape))
        hashes[name] = f"{shape}:{hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]}"
    return hashes


def num_parameters(network: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
