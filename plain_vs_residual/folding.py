"""A network with an identity around each convolution, folded into a plain one (RepVGG; Ding et al., 2021).

In evaluation mode BN is a scale and a shift per channel, and an identity is a convolution by Dirac's delta. No
ReLU comes between them and the convolution, so that they go into its kernel and a bias: what is left is a plain
network. It computes the same, with as many convolutions of the same shapes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.blocks import PlainBlock


class FoldableBlock(PlainBlock):
    """A plain block in which each convolution that keeps the shape is passed by: BN(conv(x)) + x, then ReLU.

    RepVGG has a BN on the identity as well, and a 1x1 convolution beside each 3x3 one.
    """

    def residual_function(self, x: Tensor) -> Tensor:
        for number, (convolution, normalisation) in enumerate(self.layers()):
            inputs = relu(x) if number else x
            x = normalisation(convolution(inputs))
            if keeps_shape(convolution):
                x = x + inputs
        return x


def keeps_shape(convolution: nn.Conv2d) -> bool:
    """Say whether what a convolution computes has the shape of what it is given."""
    return convolution.stride == (1, 1) and convolution.in_channels == convolution.out_channels


def fold(network: nn.Module, plain: nn.Module) -> None:
    """Make a plain network with biases compute what a trained one computes in evaluation mode, in place.

    With W the kernel, (gamma, beta) BN's scale and shift, (mean, sd) its running statistics:
    the new kernel is W * gamma / sd, plus Dirac's delta where the convolution is passed by; the new bias is
    beta - mean * gamma / sd.

    Args:
        network: trained; of plain or of foldable blocks.
        plain: of the same depth and widths, as the step ``folded`` (modifications.py) makes it.

    Raises:
        ValueError: if the network has other blocks (a shortcut passes a ReLU), other convolutions or no BN, or the
            plain one has BN.
    """
    if any(isinstance(module, nn.BatchNorm2d | FoldableBlock) for module in plain.modules()):
        raise ValueError("a network is folded into a plain one that has biases and no BN")
    for (convolution, normalisation, passed_by), (kernel, bias, _) in zip(
        _layers(network), _layers(plain), strict=True
    ):
        if type(convolution) is not nn.Conv2d or not isinstance(normalisation, nn.BatchNorm2d):
            raise ValueError("only ordinary convolutions with BN behind them can be folded")
        with torch.no_grad():
            scale = normalisation.weight / (normalisation.get_buffer("running_var") + normalisation.eps).sqrt()
            kernel.weight.copy_(convolution.weight * scale[:, None, None, None])
            if passed_by:
                kernel.weight.add_(nn.init.dirac_(torch.empty_like(kernel.weight)))
            bias.bias.copy_(normalisation.bias - normalisation.get_buffer("running_mean") * scale)
    plain.get_submodule("fc").load_state_dict(network.get_submodule("fc").state_dict())


def _layers(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d, bool]]:
    """Return each convolution in order, what normalises it (or its bias), and whether an identity passes it by."""
    found: list[tuple[Any, Any, bool]] = [(network.get_submodule("conv1"), network.get_submodule("bn1"), False)]
    for name, block in network.named_modules():
        if isinstance(block, PlainBlock):
            if type(block) not in (PlainBlock, FoldableBlock):
                raise ValueError(f"{name}: a {type(block).__name__}; only plain and foldable blocks can be folded")
            foldable = isinstance(block, FoldableBlock)
            found += [(one, other, foldable and keeps_shape(one)) for one, other in block.layers()]
    return found
