"""The building blocks: plain and residual differ in one line (He et al., Sec. 3.2 and 3.3).

A block is built from its layers and, if it is residual, from its shortcut, and can be tried alone:

>>> import torch
>>> x = torch.randn(1, 16, 8, 8)
>>> plain = PlainBlock(basic_layers(16, 32, stride=2))
>>> residual = ResidualBlock(basic_layers(16, 32, stride=2), shortcut("A", 16, 32, stride=2))
>>> plain(x).shape == residual(x).shape == (1, 32, 4, 4)
True
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from plain_vs_residual.architecture import Option

# One layer: a convolution and its batch normalisation.
Layer = tuple[nn.Conv2d, nn.BatchNorm2d]


class PlainBlock(nn.Module):
    """A block of a plain network; it computes F(x), layer after layer.

    Shapes: (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride).

    Args:
        layers: those of F, see :func:`basic_layers` and :func:`bottleneck_layers`; they become ``conv1``,
            ``bn1``, ``conv2``, ``bn2`` and so on.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.num_layers = len(layers)
        self.out_channels = layers[-1][0].out_channels
        for number, (convolution, normalisation) in enumerate(layers, start=1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", normalisation)

    def residual_function(self, x: Tensor) -> Tensor:
        """F(x), with ReLU between the layers but not after the last one."""
        for number in range(1, self.num_layers + 1):
            if number > 1:
                x = relu(x)
            convolution, normalisation = getattr(self, f"conv{number}"), getattr(self, f"bn{number}")
            x = normalisation(convolution(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x))


class ResidualBlock(PlainBlock):
    """A block of a residual network: ``shortcut`` carries x past F (He et al., Eq. 1 and 2)."""

    def __init__(self, layers: Sequence[Layer], shortcut: nn.Module) -> None:
        super().__init__(layers)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + self.shortcut(x))


# ---- the layers of F --------------------------------------------------------------------------------------


def layer(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> Layer:
    """Make a convolution, padded so that stride alone changes the size, and its batch normalisation.

    The convolution has no bias, because the normalisation would subtract it again.
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)


def basic_layers(in_channels: int, width: int, stride: int = 1) -> list[Layer]:
    """Make the two 3x3 layers of the 18- and 34-layer networks and the CIFAR family (He et al., Fig. 5 left)."""
    return [
        layer(in_channels, width, kernel=3, stride=stride),
        layer(width, width, kernel=3),
    ]


def bottleneck_layers(
    in_channels: int, width: int, stride: int = 1, *, stride_in_1x1: bool = False
) -> list[Layer]:
    """Make the 1x1, 3x3 and 1x1 layers of the 50-, 101- and 152-layer networks (He et al., Fig. 5 right).

    They end with four times ``width`` channels. The stride is in the 3x3 convolution (torchvision's "V1.5")
    or, with ``stride_in_1x1``, in the first 1x1 (the paper's).
    """
    return [
        layer(in_channels, width, kernel=1, stride=stride if stride_in_1x1 else 1),
        layer(width, width, kernel=3, stride=1 if stride_in_1x1 else stride),
        layer(width, 4 * width, kernel=1),
    ]


# ---- shortcuts --------------------------------------------------------------------------------------------


def shortcut(option: Option, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """Make the shortcut of one block (He et al., Sec. 3.3 and 4.1).

    Where the shape does not change it is the identity, but a projection with option C. Where the shape
    changes, A pads with zeros and B and C project.
    """
    shape_changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and shape_changes):
        return nn.Sequential(*layer(in_channels, out_channels, kernel=1, stride=stride))
    if shape_changes:
        return ZeroPaddedIdentity(in_channels, out_channels, stride)
    return nn.Identity()


class ZeroPaddedIdentity(nn.Module):
    """Option A where the shape changes: every ``stride``-th pixel, new channels filled with zeros; no parameters.

    Shapes: (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return pad(subsampled, (0, 0, 0, 0, 0, self.new_channels))
