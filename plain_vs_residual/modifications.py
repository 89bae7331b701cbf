"""Steps after a network was built and drawn: the seminar's cures of plain and ablations of residual networks.

Each changes one thing of a network in place and leaves the names of the layers as they are. The blocks themselves
know nothing of it: what differs is what stands in their places.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.folding import FoldableBlock
from plain_vs_residual.recipe import Modification
from plain_vs_residual.replacing import (
    blocks_of,
    convolutions_of,
    normalisations_of,
    orthogonal,
    plain_blocks_of,
    replace,
)
from plain_vs_residual.scaling import scale_branches, scale_shortcuts
from plain_vs_residual.streams import doubly_stochastic_streams, free_streams
from plain_vs_residual.tailored import TailoredAfterRelu, TailoredBlock, slope_for

DIRAC_SCALE = 0.1


def modify(network: nn.Module, name: Modification, seed: int) -> None:
    """Take a step after building: change a drawn network in place.

    Args:
        network: with the initial values that are drawn for it.
        name: of the step; ``none`` leaves the network as it is.
        seed: of what a step draws anew.

    Raises:
        ValueError: if the network has no blocks of the kind that the step is about.
    """
    STEPS[name](network, seed)


def zero_gamma(network: nn.Module, seed: int) -> None:
    """Begin with F(x) = 0: the last BN of each block scales by 0 (Goyal et al., 2017, Sec. 5.1).

    Where option A has padded x with zeros, F(x) + x is then exactly 0, and so is the gradient of ReLU: these
    channels stay dead. Goyal et al. have projections there.
    """
    for _, block in blocks_of(network, ResidualBlock):
        nn.init.zeros_(block.layers()[-1][1].weight)


def pre_activation(network: nn.Module, seed: int) -> None:
    """Put BN and ReLU before each convolution of a block, and once after the last block (He et al., 2016)."""
    channels, last = 0, ""
    for name, block in blocks_of(network, ResidualBlock):
        replace(network, name, PreActivationBlock(block))
        channels, last = block.out_channels, name
    stage = network.get_submodule(last.rpartition(".")[0])
    stage.append(nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()))  # type: ignore[operator]


class PreActivationBlock(ResidualBlock):
    """x + F(x), where F is BN, ReLU and convolution in turn; made of an ordinary block's convolutions.

    The first block repeats the BN and ReLU of the stem, which He et al. (2016) leave out there.
    """

    def __init__(self, block: ResidualBlock) -> None:
        convolutions = [convolution for convolution, _ in block.layers()]
        super().__init__([(one, nn.BatchNorm2d(one.in_channels)) for one in convolutions], block.shortcut)

    def residual_function(self, x: Tensor) -> Tensor:
        for convolution, normalisation in self.layers():
            x = convolution(relu(normalisation(x)))
        return x

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.residual_function(x) + self.shortcut(x)
        return output


def skip_init(network: nn.Module, seed: int) -> None:
    """Do without BN: biases instead, and F(x) times a learned scalar that begins with 0 (De and Smith, 2020)."""
    _biases_for_bn(network, {f"{name}.bn{block.num_layers}" for name, block in blocks_of(network, ResidualBlock)})


class Bias(nn.Module):
    """Adds a number per channel; where a scale is given, multiplies by a learned scalar that begins with it."""

    def __init__(self, channels: int, scale: float | None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = None if scale is None else nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        shifted = x + self.bias[:, None, None]
        return shifted if self.scale is None else shifted * self.scale


def delta_orthogonal(network: nn.Module, seed: int) -> None:
    """Draw each 3x3 convolution anew: an orthogonal matrix in its centre, zeros around it (Xiao et al., 2018)."""
    for name, convolution in convolutions_of(network):
        nn.init.zeros_(convolution.weight)
        with torch.no_grad():
            convolution.weight[:, :, 1, 1] = orthogonal(
                convolution.out_channels, convolution.in_channels, seed, name
            )


def dirac(network: nn.Module, seed: int) -> None:
    """Fold the shortcut into the weights of every block (Zagoruyko and Komodakis, 2017)."""
    for name, block in blocks_of(network, PlainBlock):
        for number, (convolution, _) in enumerate(block.layers(), start=1):
            replace(network, f"{name}.conv{number}", DiracConvolution(convolution))


class DiracConvolution(nn.Conv2d):
    """A convolution by a * delta + b * W / norm(W), each filter with its own a and b.

    The paper's block begins with its ReLU, pools instead of striding, and decays neither a nor b; here the block
    is the plain one, and everything is decayed.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            3,
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=1,
            bias=False,
        )
        self.weight = convolution.weight
        self.a = nn.Parameter(torch.ones(self.out_channels))
        self.b = nn.Parameter(torch.full((self.out_channels,), DIRAC_SCALE))
        self.register_buffer("delta", nn.init.dirac_(torch.empty_like(self.weight)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        norms = self.weight.flatten(start_dim=1).norm(dim=1)
        by_filter = (slice(None), None, None, None)
        weight = self.a[by_filter] * self.get_buffer("delta") + (self.b / norms)[by_filter] * self.weight
        return conv2d(x, weight, stride=self.stride, padding=1)


def looks_linear(network: nn.Module, seed: int) -> None:
    """Begin as a linear network: CReLU, no BN, weights [V, -V], V orthogonal (Balduzzi et al., 2017, Sec. 4).

    CReLU(x) is relu of x beside -x, so that each convolution has twice as many inputs, and the network nearly
    twice as many parameters.
    """
    for name, _ in list(normalisations_of(network)):
        replace(network, name, Mirrored())
    for name, convolution in list(convolutions_of(network)):
        inputs = convolution.in_channels
        first = name == "conv1"  # its inputs are pixels, which no CReLU has mirrored
        outputs, stride = convolution.out_channels, convolution.stride
        wider = nn.Conv2d(inputs if first else 2 * inputs, outputs, 3, stride, 1, bias=False)  # type: ignore[arg-type]
        centre = orthogonal(outputs, inputs, seed, name)
        nn.init.zeros_(wider.weight)
        with torch.no_grad():
            wider.weight[:, :, 1, 1] = centre if first else torch.cat((centre, -centre), dim=1)
        replace(network, name, wider)
    classifier = network.get_submodule("fc")
    assert isinstance(classifier, nn.Linear)
    wide = nn.Linear(2 * classifier.in_features, classifier.out_features)
    with torch.no_grad():
        wide.weight.copy_(torch.cat((classifier.weight, -classifier.weight), dim=1))
        wide.bias.copy_(classifier.bias)
    replace(network, "fc", wide)


class Mirrored(nn.Module):
    """x beside -x, (N, 2C, H, W); the ReLU that follows makes CReLU of it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, -x), dim=1)


FOLDED = "folded: its shortcuts pass ReLUs"


def foldable(network: nn.Module, seed: int) -> None:
    """Pass each convolution that keeps the shape by, as RepVGG does in training (Ding et al., 2021)."""
    for name, block in list(plain_blocks_of(network, FOLDED)):
        replace(network, name, FoldableBlock(block.layers()))


def folded(network: nn.Module, seed: int) -> None:
    """Put biases in the place of BN: the plain network that a foldable one is folded into (folding.py)."""
    list(plain_blocks_of(network, FOLDED))  # refuses a residual network
    _biases_for_bn(network)


def tailored(network: nn.Module, seed: int) -> None:
    """Do without BN: orthogonal convolutions, biases, and leaky ReLU tailored to the depth (Zhang et al., 2022).

    Where a convolution has more channels out than in, its weights are larger by the root of their ratio, so that
    the mean square over channels stays what it is.
    """
    blocks = list(plain_blocks_of(network, "tailored: the cosines of its layers follow another law"))
    slope = slope_for(1 + sum(block.num_layers for _, block in blocks))
    delta_orthogonal(network, seed)
    for _, convolution in convolutions_of(network):
        with torch.no_grad():
            convolution.weight.mul_(max(1.0, convolution.out_channels / convolution.in_channels) ** 0.5)
    _biases_for_bn(network)
    for name, block in blocks:
        replace(network, name, TailoredBlock(block.layers(), slope))
    replace(network, "bn1", nn.Sequential(network.get_submodule("bn1"), Mirrored()))
    replace(network, "maxpool", nn.Sequential(TailoredAfterRelu(slope), network.get_submodule("maxpool")))


STEPS: dict[Modification, Callable[[nn.Module, int], None]] = {
    "none": lambda network, seed: None,
    "zero-gamma": zero_gamma,
    "pre-activation": pre_activation,
    "skip-init": skip_init,
    "delta-orthogonal": delta_orthogonal,
    "dirac": dirac,
    "looks-linear": looks_linear,
    "foldable": foldable,
    "folded": folded,
    "shortcut-0.5": lambda network, seed: scale_shortcuts(network, 0.5),
    "shortcut-0.9": lambda network, seed: scale_shortcuts(network, 0.9),
    "scaled-branches": scale_branches,
    "free-streams": free_streams,
    "doubly-stochastic-streams": doubly_stochastic_streams,
    "tailored": tailored,
}


def _biases_for_bn(network: nn.Module, scaled: Collection[str] = ()) -> None:
    """Put a bias per channel in the place of each BN; those that are named get a scalar, 0, as well."""
    for name, normalisation in list(normalisations_of(network)):
        replace(network, name, Bias(normalisation.num_features, scale=0.0 if name in scaled else None))
