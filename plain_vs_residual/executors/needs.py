"""How much memory the runs of a setting need."""

from functools import cache

import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.executors.cores import num_cores
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.networks import Network, abstract, num_parameters
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.precision import AUTOCAST
from plain_vs_residual.watching import watched


def weight_bytes(network: Network) -> int:
    """Return the size of a network's weights in fp32."""
    return 4 * num_parameters(network)


def bytes_on_their_way(setting: Setting) -> int:
    """Return the size of the batches that are decoded ahead of training: two per core, and the one in use."""
    return (2 * num_cores() + 1) * setting.batch_size * 3 * setting.image_size**2


@cache
def largest_network_bytes(setting: Setting, precision: Precision = "fp32") -> int:
    """Estimate the need of the largest network: for its weights, and for the images of one backward pass."""
    return max(_network_bytes(setting, network, precision) for network in networks_of(setting))


@cache
def networks_of(setting: Setting) -> list[Network]:
    """Build without values every network that the setting's experiments train without being named."""
    names = {
        Architecture.parse(name)
        for experiment in load_experiments().values()
        if setting.name in experiment.networks and not experiment.waits_to_be_named(setting.name)
        for name in experiment.networks[setting.name]
    }
    kind = IMAGE_KINDS[setting.data]
    return [abstract(name, setting, channels=kind.channels, num_classes=kind.num_classes) for name in names]


def _network_bytes(setting: Setting, network: Network, precision: Precision) -> int:
    """Add up weights, gradients, momentum and what backward needs of each image: what a layer and its BN give."""
    elements = 0

    def count(x: Tensor, output: Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    kept = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    size = setting.input_size
    with watched(network.eval(), dict.fromkeys(kept, count)):  # of one shape in both modes, and in this one sooner
        network(torch.empty(1, network.conv1.in_channels, size, size, device="meta"))
    # Each part of a batch over which BN normalises has a backward pass of its own. In half precision the weights
    # and their gradients are there once more, rounded.
    images = setting.batch_size // setting.num_ghost_batches
    half = AUTOCAST.get(precision) is not None
    return (4 if half else 3) * weight_bytes(network) + (2 if half else 4) * images * elements
