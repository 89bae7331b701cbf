"""The building blocks (He et al., Sec. 3.2 and Fig. 5): plain and residual differ in one line."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import relu


class PlainBlock(nn.Module):
    """A block of a plain network."""

    residual_function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x))


class ResidualBlock(nn.Module):
    """A block of a residual network (He et al., Eq. 1 and 2); ``shortcut`` carries x around F."""

    residual_function: Callable[[Tensor], Tensor]
    shortcut: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + self.shortcut(x))


class BasicLayers(nn.Module):
    """F(x) of 18 and 34 layers and of the CIFAR family: two 3x3 convolutions (He et al., Fig. 5 left).

    Shapes: (N, in_channels, H, W) to (N, width, H / stride, W / stride).
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def residual_function(self, x: Tensor) -> Tensor:
        """F(x), before the addition and before the last ReLU."""
        out = relu(self.bn1(self.conv1(x)))
        normalised: Tensor = self.bn2(self.conv2(out))
        return normalised


class BottleneckLayers(nn.Module):
    """F(x) of 50, 101 and 152 layers: 1x1, 3x3 and 1x1 convolutions (He et al., Fig. 5 right).

    Shapes: (N, in_channels, H, W) to (N, 4 * width, H / stride, W / stride). The stride is in the 3x3
    convolution (torchvision's "V1.5") or, with ``stride_in_1x1``, in the first 1x1 (the paper's).
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, *, stride_in_1x1: bool = False) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def residual_function(self, x: Tensor) -> Tensor:
        """F(x), before the addition and before the last ReLU."""
        out = relu(self.bn1(self.conv1(x)))
        out = relu(self.bn2(self.conv2(out)))
        normalised: Tensor = self.bn3(self.conv3(out))
        return normalised


class PlainBasicBlock(PlainBlock, BasicLayers):
    """Two 3x3 layers without a shortcut."""


class ResidualBasicBlock(ResidualBlock, BasicLayers):
    """Two 3x3 layers and a shortcut."""


class PlainBottleneckBlock(PlainBlock, BottleneckLayers):
    """1x1, 3x3 and 1x1 layers without a shortcut."""


class ResidualBottleneckBlock(ResidualBlock, BottleneckLayers):
    """1x1, 3x3 and 1x1 layers and a shortcut."""
