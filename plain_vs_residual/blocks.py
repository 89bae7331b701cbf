"""The building blocks: plain and residual differ in one line (He et al., Sec. 3.2 and 3.3).

Try a block on its own:

>>> import torch
>>> x = torch.randn(1, 16, 8, 8)
>>> plain = PlainBlock(basic_layers(16, 32, stride=2))
>>> residual = ResidualBlock(basic_layers(16, 32, stride=2), make_shortcut("A", 16, 32, stride=2))
>>> plain(x).shape == residual(x).shape == (1, 32, 4, 4)
True
"""

from collections.abc import Sequence
from typing import assert_never

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from plain_vs_residual.architecture import Option

ConvBN = tuple[nn.Conv2d, nn.BatchNorm2d]


class PlainBlock(nn.Module):
    """A block of a plain network: relu(F(x)), where F is its layers in a row.

    The paper calls F the residual function; without a shortcut it is simply the layers.

    Args:
        layers: two or three, see :func:`basic_layers` and :func:`bottleneck_layers`. They are named as in
            torchvision. Do not rename them: every initial value is drawn from a generator keyed by seed and
            parameter name (:func:`plain_vs_residual.networks.initialise`).
    """

    def __init__(self, layers: Sequence[ConvBN]) -> None:
        super().__init__()
        self.num_layers = len(layers)
        self.out_channels = layers[-1][0].out_channels
        self.conv1, self.bn1 = layers[0]
        self.conv2, self.bn2 = layers[1]
        if self.num_layers == 3:
            self.conv3, self.bn3 = layers[2]

    def residual_function(self, x: Tensor) -> Tensor:
        """Compute F(x), with ReLU between the layers but not after the last one."""
        output: Tensor = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.num_layers == 3:
            output = self.bn3(self.conv3(relu(output)))
        return output

    def layers(self) -> list[ConvBN]:
        """Return each convolution with its batch normalisation, in order."""
        first_two = [(self.conv1, self.bn1), (self.conv2, self.bn2)]
        return first_two if self.num_layers == 2 else [*first_two, (self.conv3, self.bn3)]

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x))


class ResidualBlock(PlainBlock):
    """A block of a residual network: the shortcut carries x past F (He et al., Eq. 1 and 2)."""

    def __init__(self, layers: Sequence[ConvBN], shortcut: nn.Module) -> None:
        super().__init__(layers)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + self.shortcut(x))


# ---- the layers of F --------------------------------------------------------------------------------------


def conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> ConvBN:
    """Return a convolution and its batch normalisation.

    The kernel is odd, and the padding keeps the size of the image where the stride is 1. The convolution has no
    bias, because the normalisation would cancel it.
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)


def basic_layers(in_channels: int, width: int, stride: int = 1) -> list[ConvBN]:
    """Return the two 3x3 layers of a basic block, used in networks of 18 and 34 layers and in the CIFAR family."""
    return [
        conv_bn(in_channels, width, kernel=3, stride=stride),
        conv_bn(width, width, kernel=3),
    ]


def bottleneck_layers(
    in_channels: int, width: int, stride: int = 1, *, stride_in_1x1: bool = False
) -> list[ConvBN]:
    """Return the 1x1, 3x3 and 1x1 layer of a bottleneck, used in networks of 50, 101 and 152 layers.

    They end with four times ``width`` channels. The stride is in the 3x3 convolution (torchvision's "V1.5")
    or, with ``stride_in_1x1``, in the first 1x1 (the paper's).
    """
    return [
        conv_bn(in_channels, width, kernel=1, stride=stride if stride_in_1x1 else 1),
        conv_bn(width, width, kernel=3, stride=1 if stride_in_1x1 else stride),
        conv_bn(width, 4 * width, kernel=1),
    ]


# ---- shortcuts --------------------------------------------------------------------------------------------


def make_shortcut(option: Option, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """Return the shortcut of one block (He et al., Sec. 3.3 and 4.1).

    Option A: the identity; where the shape changes, every stride-th pixel, and zeros for the new channels. B: the
    identity; where the shape changes, a projection. C: a projection in every block.
    """
    shape_changes = stride != 1 or in_channels != out_channels
    match option:
        case "A":
            return ZeroPaddedIdentity(in_channels, out_channels, stride) if shape_changes else nn.Identity()
        case "B":
            return projection(in_channels, out_channels, stride) if shape_changes else nn.Identity()
        case "C":
            return projection(in_channels, out_channels, stride)
        case _:
            assert_never(option)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return a 1x1 convolution and its batch normalisation."""
    return nn.Sequential(*conv_bn(in_channels, out_channels, kernel=1, stride=stride))


class ZeroPaddedIdentity(nn.Module):
    """Option A where the shape changes: keeps every ``stride``-th pixel and appends channels of zeros.

    It has no parameters. Shapes: (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # The same as x[:, :, ::stride, ::stride], but its gradient keeps the order of x in memory.
        subsampled = avg_pool2d(x, kernel_size=1, stride=self.stride)
        # pad() counts from the last dimension: width, height, channels.
        return pad(subsampled, (0, 0, 0, 0, 0, self.new_channels))
