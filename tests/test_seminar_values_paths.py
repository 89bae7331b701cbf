"""Paths of the gradient and forward signals: every row and summary, computed a second time from the weights."""

from itertools import combinations
from math import comb

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, relu

from plain_vs_residual.blocks import PlainBlock, ResidualBlock, bottleneck_layers, make_shortcut
from plain_vs_residual.networks import Network, initialise
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.seminar import path_lengths, signal_propagation
from plain_vs_residual.seminar.path_lengths import gradient_along
from plain_vs_residual.seminar.signal_propagation import signal
from tests.by_hand import (
    ByHand,
    Statistics,
    as_dict,
    block_names,
    seen_by,
    tiny_images,
    tiny_network,
    tiny_subject,
)

SEED = 7


class OnePathByHand(ByHand):
    """Lets the gradient of a block back through F, where its name is on the path, else through the shortcut."""

    path: frozenset[str] = frozenset()

    def _block(self, place: str, block: str, x: Tensor) -> Tensor:
        super()._block(place, block, x)
        function, shortcut = self.outputs[f"{place}.bn2"], self.outputs[f"{place}.shortcut"]
        return relu(function + shortcut.detach() if place in self.path else function.detach() + shortcut)


def norm_by_hand(
    network: Network, path: frozenset[str], images: Tensor, labels: Tensor, statistics: Statistics
) -> float:
    """Return the mean over images of the norm of each one's gradient, image by image."""
    by_hand = OnePathByHand(network)
    by_hand.path = path
    norms = []
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        points = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(by_hand.logits(points, statistics), label), points)
        norms.append(gradient.square().sum().sqrt().item())
    return sum(norms) / len(norms)


def test_the_gradient_along_a_path_is_a_mean_over_images() -> None:
    network, (images, labels) = tiny_network("B", (2, 1)).eval(), seen_by(tiny_images(), 3)
    statistics = ByHand(network).running
    norms = {}
    for length in range(4):
        for path in map(frozenset, combinations(block_names(network), length)):
            norms[path] = norm_by_hand(network, path, images, labels, statistics)
            assert gradient_along(network, path, images, labels) == pytest.approx(norms[path], rel=1e-4)
    assert len(set(norms.values())) == 8


def test_paths_of_each_length_are_drawn_averaged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_lengths, "NUM_IMAGES", 4)
    untrained, trained = tiny_network("A", (2, 1), seed=1), tiny_network("A", (2, 1), seed=2).eval()
    measured = path_lengths.measure(tiny_subject(trained, untrained, seed=SEED))
    (images, labels), (every, _) = seen_by(tiny_images(), 4), seen_by(tiny_images())
    statistics = {0: ByHand(untrained).estimated(every), 12: ByHand(trained).running}
    names, expected, means = block_names(trained), {}, {}
    for iteration, network in {0: untrained, 12: trained}.items():
        norms = []
        for length in range(4):
            drawn = [
                torch.randperm(3, generator=keyed_generator(SEED, "path", length, draw))[:length].tolist()
                for draw in range(8)
            ]
            assert len({frozenset(one) for one in drawn}) == (1 if length in (0, 3) else 3)
            paths = [frozenset(names[index] for index in one) for one in drawn]
            found = {
                path: norm_by_hand(network, path, images, labels, statistics[iteration]) for path in set(paths)
            }
            norms.append(sum(found[path] for path in paths) / 8)
        whole = sum(comb(3, length) * norm for length, norm in enumerate(norms))
        for length, norm in enumerate(norms):
            expected[iteration, "gradient", "network", length] = norm
            expected[iteration, "share", "network", length] = comb(3, length) * norm / whole
            expected[iteration, "paths", "network", length] = comb(3, length) / 8
        # Were all paths alike, the mean would be half of the blocks: 1.5 of 3.
        mean = sum(length * expected[iteration, "share", "network", length] for length in range(4))
        means[iteration] = mean / 1.5
    assert as_dict(measured.rows) == pytest.approx(expected, rel=1e-3)
    assert measured.summary == pytest.approx(
        {"mean_path_share": means[12], "mean_path_share_change": means[12] - means[0]}, rel=1e-3
    )
    assert abs(means[12] - means[0]) > 0.01


# ---- forward signals -------------------------------------------------------------------------------------


def signal_by_hand(network: Network, images: Tensor) -> dict[str, dict[str, float]]:
    """Return what each block passes on, channel by channel, with BN by the batch."""
    by_hand = ByHand(network)
    with torch.no_grad():
        by_hand.logits(images)
    found = {}
    for name in block_names(network):
        output, inner = (by_hand.outputs[place].double().transpose(0, 1) for place in (name, f"{name}.conv2"))
        channels = [one.flatten() for one in output]
        found[name] = {
            "before_bn": sum((one - one.mean()).square().mean().item() for one in inner) / len(inner),
            "variance": sum((one - one.mean()).square().mean().item() for one in channels) / len(channels),
            "squared_mean": sum(one.mean().item() ** 2 for one in channels) / len(channels),
        }
    return found


@pytest.mark.parametrize("option", [None, "A", "B"])
def test_the_signal_is_averaged_channel_by_channel(option: str | None) -> None:
    network, (images, _) = tiny_network(option, (2, 2)), seen_by(tiny_images(), 6)
    expected = signal_by_hand(network, images)
    found = signal(network.eval(), images)
    assert list(found) == list(expected)
    for name, values in found.items():
        assert values == pytest.approx(expected[name], rel=1e-3), name


def test_before_bn_is_taken_behind_the_last_convolution_of_a_bottleneck() -> None:
    layers, shortcut = bottleneck_layers(2, 3), make_shortcut("B", 2, 12)
    network = nn.Sequential(ResidualBlock(layers, shortcut))
    initialise(network, 0)
    x = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    block = network[0]
    assert isinstance(block, PlainBlock)
    with torch.no_grad():
        inner = relu(block.bn2(block.conv2(relu(block.bn1(block.conv1(x))))))  # type: ignore[operator]
        last = conv2d(inner, block.get_parameter("conv3.weight"))
    expected = ((last - last.mean(dim=(0, 2, 3), keepdim=True)) ** 2).mean().item()
    assert signal(network, x)["0"]["before_bn"] == pytest.approx(expected, rel=1e-4)


def test_a_network_passes_on_images_and_noise_and_the_summary_is_of_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_propagation, "NUM_IMAGES", 12)
    untrained, trained = tiny_network("A", (2, 2), seed=1), tiny_network("A", (2, 2), seed=2)
    measured = signal_propagation.measure(tiny_subject(trained, untrained, seed=SEED))
    images, _ = seen_by(tiny_images(), 12)
    noise = torch.randn(12, 1, 8, 8, generator=keyed_generator(SEED, "noise"))
    found = {"images": signal_by_hand(untrained, images), "noise": signal_by_hand(untrained, noise)}
    expected = {
        (0, f"{quantity}_of_{inputs}", name, position): value
        for inputs, blocks in found.items()
        for position, (name, values) in enumerate(blocks.items(), start=1)
        for quantity, value in values.items()
    }
    assert as_dict(measured.rows) == pytest.approx(expected, rel=1e-3)
    assert measured.summary == {
        "stage1_variance": pytest.approx(found["images"]["layer1.1"]["variance"], rel=1e-3)
    }
    variances = [values["variance"] for blocks in found.values() for values in blocks.values()]
    assert min(abs(a / b - 1) for place, a in enumerate(variances) for b in variances[:place]) > 0.005
