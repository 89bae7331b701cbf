"""The paper's solution by construction: a deeper network that computes what a trained shallower one computes.

He et al. (2015), Sec. 1 and 3.1: the added layers are identity mappings, and the other layers are copied from the
learned shallower model. Such a solution exists, so a deeper model should not have a higher training error.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.networks import Network
from plain_vs_residual.watching import watched


def grow(network: Network, source: Network, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Make a network compute what a trained shallower one of its kind computes, in place.

    What both have is copied. An added residual block becomes an identity when its last BN scales F(x) to 0; an
    added plain block when its convolutions pass every channel on and its BN layers undo what they normalise.

    Args:
        network: as drawn; its stages are at least as long as those of the source.
        source: trained, with as many channels, in evaluation mode.
        batches: training images, float (N, C, H, W), and labels: of the statistics that plain blocks undo.

    Raises:
        ValueError: if the source has layers that the network has not.
    """
    if strangers := source.state_dict().keys() - network.state_dict().keys():
        raise ValueError(f"a network without {min(strangers)} cannot be grown from one with it")
    statistics = _statistics_of_stages(source, batches)
    network.load_state_dict(source.state_dict(), strict=False)
    known = dict(source.named_modules())
    for stage in network.stages:
        for index, block in enumerate(network.get_submodule(stage).children()):
            if f"{stage}.{index}" in known:
                continue
            if isinstance(block, ResidualBlock):
                make_identity_of_residual(block)
            elif isinstance(block, PlainBlock):
                make_identity_of_plain(block, *statistics[stage])


def make_identity_of_residual(block: ResidualBlock) -> None:
    """Let F(x) be 0: what is left is relu(x), and x comes out of a ReLU."""
    _, last_normalisation = block.layers()[-1]
    nn.init.zeros_(last_normalisation.weight)
    nn.init.zeros_(last_normalisation.bias)


def make_identity_of_plain(block: PlainBlock, mean: Tensor, variance: Tensor) -> None:
    """Let F(x) be x, where x comes out of a ReLU: convolutions are Dirac's delta, and BN undoes itself.

    Args:
        block: it keeps the shape of its input.
        mean: of each channel of its input, (C).
        variance: likewise; a batch with other statistics is then hardly changed either.
    """
    for convolution, normalisation in block.layers():
        nn.init.dirac_(convolution.weight)
        with torch.no_grad():
            normalisation.get_buffer("running_mean").copy_(mean)
            normalisation.get_buffer("running_var").copy_(variance)
            normalisation.weight.copy_((variance + normalisation.eps).sqrt())
            normalisation.bias.copy_(mean)


def _statistics_of_stages(
    network: Network, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and variance (C) of what leaves each stage, over all images and pixels."""
    sums = {stage: torch.zeros(3, 1, dtype=torch.float64) for stage in network.stages}

    def note(stage: str, x: Tensor, output: Tensor) -> None:
        values = output.double()
        count = torch.full(values.shape[1:2], values.numel() / values.shape[1], dtype=torch.float64)
        powers = (values.sum(dim=(0, 2, 3)).cpu(), values.square().sum(dim=(0, 2, 3)).cpu())
        sums[stage] = sums[stage] + torch.stack((count, *powers))

    with watched(network, {stage: partial(note, stage) for stage in network.stages}), torch.no_grad():
        for images, _ in batches:
            network(images)
    means = {stage: total / count for stage, (count, total, _) in sums.items()}
    squares = {stage: square / count for stage, (count, _, square) in sums.items()}
    return {stage: (means[stage].float(), (squares[stage] - means[stage] ** 2).float()) for stage in sums}
