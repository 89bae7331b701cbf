"""The building blocks (He et al., Sec. 3.2, Fig. 2 and Fig. 5): plain and residual differ in one line."""

from torch import Tensor, nn
from torch.nn.functional import relu


class BasicBlock(nn.Module):
    """F(x): two 3x3 convolutions, batch normalisation after each (He et al., Fig. 5 left).

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
        out: Tensor = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return out


class PlainBlock(BasicBlock):
    """A block of a plain network: relu(F(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x))


class ResidualBlock(BasicBlock):
    """A block of a residual network: relu(F(x) + x), x through the shortcut (He et al., Eq. 1 and 2)."""

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__(in_channels, width, stride)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + self.shortcut(x))
