"""Gradients of untrained networks: they explode and shatter with depth in plain networks, not in residual ones."""

import math

import pytest
import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.datasets import digits
from plain_vs_residual.data.images import Images
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.networks import build
from plain_vs_residual.seminar.gradient_norms import gradient_norms, growth_per_layer, log10_gradient_ratio
from plain_vs_residual.seminar.shattered_gradients import gradient_correlations
from plain_vs_residual.settings import DIGITS


def untrained(name: str) -> nn.Module:
    return build(Architecture.parse(name), DIGITS, channels=1, num_classes=10, seed=100)


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    images = digits(DIGITS.image_size).training
    assert isinstance(images, Images)
    pixels = images.pixels.float().permute(0, 3, 1, 2) / 255
    return (pixels - pixels.mean(dim=0))[:512], images.labels[:512]


# Decimal logarithms of 500 to 1,640 and so on: trials at other seeds, with a margin of a factor of 1.5.
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cifar-plain20", 5, 9),
        ("cifar-plain56", 500, 1640),
        ("cifar-residual20-A", 1.7, 2.5),
        ("cifar-residual56-A", 3.9, 6.0),
    ],
)
def test_the_gradient_of_the_first_block_grows_with_depth_in_plain_networks(
    name: str, low: float, high: float, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    ratio = log10_gradient_ratio(gradient_norms(untrained(name), images[:128], labels[:128]))
    assert math.log10(low / 1.5) < ratio < math.log10(high * 1.5)


@pytest.mark.parametrize(("name", "expected"), [("cifar-plain56", 1.20), ("cifar-residual56-A", 1.13)])
def test_the_growth_per_layer_is_near_the_theorys(
    name: str, expected: float, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    layers = gradient_norms(untrained(name), images[:128], labels[:128])
    assert growth_per_layer(layers, "layer1") == pytest.approx(expected, abs=0.03)


def test_norms_are_those_of_autograd_and_leave_nothing_behind(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    network = untrained("cifar-plain20").eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers = gradient_norms(network, images[:16], labels[:16])
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [layer.layer for layer in layers[:2]] == ["conv1", "layer1.0.conv1"]
    assert len(layers) == 19
    nn.functional.cross_entropy(network.train()(images[:16]), labels[:16]).backward()
    assert layers[1].weight == pytest.approx(network.layer1[0].conv1.weight.grad.norm().item())
    assert layers[1].weights == pytest.approx(network.layer1[0].conv1.weight.norm().item())


def correlation(name: str, images: Tensor, labels: Tensor) -> float:
    network = with_estimated_statistics(untrained(name), [(images, labels)]).eval()
    generator = torch.Generator().manual_seed(0)
    others = [int((labels != labels[line]).nonzero()[line]) for line in range(4)]
    lines = [
        gradient_correlations(network, images[line], images[other], (4,), generator)[4]
        for line, other in enumerate(others)
    ]
    return sum(lines) / len(lines)


def test_gradients_shatter_in_the_deep_plain_network_alone(batch: tuple[Tensor, Tensor]) -> None:
    """Trials at other seeds gave correlations of 0.38 and 0.00 (plain), 0.83 and 0.64 (residual) at lag 4."""
    found = {
        name: correlation(name, *batch)
        for name in ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")
    }
    assert found["cifar-plain20"] == pytest.approx(0.38, abs=0.15)
    assert found["cifar-plain56"] == pytest.approx(0.0, abs=0.05)
    assert found["cifar-residual20-A"] == pytest.approx(0.83, abs=0.15)
    assert found["cifar-residual56-A"] == pytest.approx(0.64, abs=0.15)


def test_batch_statistics_would_couple_the_points_of_a_line(batch: tuple[Tensor, Tensor]) -> None:
    images, _ = batch
    with pytest.raises(ValueError, match="training mode"):
        gradient_correlations(untrained("cifar-plain20").train(), images[0], images[1], (1,), torch.Generator())
