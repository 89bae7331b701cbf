"""The shortcut options A, B and C (He et al., Sec. 3.3 and 4.1)."""

from torch import Tensor, nn
from torch.nn.functional import pad

from plain_vs_residual.experiment import Option


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


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """The 1x1 projection of options B and C, followed by batch normalisation."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def shortcut(option: Option, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut of one block: A pads with zeros, B projects where the shape changes, C projects everywhere."""
    shape_changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and shape_changes):
        return projection(in_channels, out_channels, stride)
    if shape_changes:
        return ZeroPaddedIdentity(in_channels, out_channels, stride)
    return nn.Identity()
