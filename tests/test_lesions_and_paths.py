"""What the seminar measures block by block: lesions, exchanged blocks, paths of the gradient, forward signals."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.networks import Network, build
from plain_vs_residual.seminar.lesions import exchanged, kendall_tau, removable_blocks, without
from plain_vs_residual.seminar.path_lengths import gradient_along, shares_of_lengths
from plain_vs_residual.seminar.signal_propagation import signal
from plain_vs_residual.settings import DIGITS

IMAGES = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3])


def network_of(name: str) -> Network:
    return build(Architecture.parse(name), DIGITS, channels=1, num_classes=10, seed=100).eval()


def test_plain_blocks_that_change_the_shape_cannot_be_taken_out() -> None:
    assert removable_blocks(network_of("cifar-plain20")) == [
        *(f"layer1.{index}" for index in range(3)),
        *(f"layer{stage}.{index}" for stage in (2, 3) for index in (1, 2)),
    ]
    assert len(removable_blocks(network_of("cifar-residual20-A"))) == 9


@pytest.mark.parametrize("name", ["layer1.1", "layer2.0"])
def test_without_a_residual_block_its_shortcut_is_left(name: str) -> None:
    network = network_of("cifar-residual20-A")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    injured = without(network, [name])
    block = network.get_submodule(name)
    # The same as a block whose F is zero: the last BN scales by 0 and adds 0.
    nn.init.zeros_(block.bn2.weight)  # type: ignore[arg-type, union-attr]
    with torch.no_grad():
        assert torch.equal(injured(IMAGES), network(IMAGES))
    assert [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])] == [
        f"{name}.bn2.weight"
    ]


def test_without_a_plain_block_its_input_goes_on() -> None:
    network = network_of("cifar-plain20")
    x = relu(network.bn1(network.conv1(IMAGES)))
    for stage in network.stages:
        for index, block in enumerate(network.get_submodule(stage)):  # type: ignore[arg-type, var-annotated]
            x = x if (stage, index) == ("layer3", 2) else block(x)
    assert torch.equal(without(network, ["layer3.2"])(IMAGES), network.fc(x.mean(dim=(2, 3))))


def test_exchanged_blocks_stay_in_their_stage_and_tau_says_how_much_order_is_left() -> None:
    network = network_of("cifar-residual20-A")
    mixed, tau = exchanged(network, 1, torch.Generator().manual_seed(0))
    moved = [
        name
        for name, value in network.state_dict().items()
        if name.endswith("conv1.weight") and not torch.equal(mixed.state_dict()[name], value)
    ]
    assert len(moved) == 2
    assert moved[0].partition(".")[0] == moved[1].partition(".")[0]
    assert tau < 1
    assert exchanged(network, 0, torch.Generator().manual_seed(0))[1] == 1
    assert kendall_tau([0, 2, 1]) == pytest.approx(1 / 3)


def test_the_gradients_of_all_paths_add_up_to_the_whole_gradient() -> None:
    network = network_of("cifar-residual8-A")
    image, label = IMAGES[:1], LABELS[:1]
    names = ("layer1.0", "layer2.0", "layer3.0")
    found = []
    for passed in product((False, True), repeat=3):
        x = relu(network.bn1(network.conv1(points := image.clone().requires_grad_())))
        for name, through in zip(names, passed, strict=True):
            block = network.get_submodule(name)
            function, shortcut = block.residual_function(x), block.shortcut(x)  # type: ignore[operator]
            x = relu(function + shortcut.detach() if through else function.detach() + shortcut)
        loss = cross_entropy(network.fc(x.mean(dim=(2, 3))), label)
        (gradient,) = torch.autograd.grad(loss, points)
        found.append(gradient)
        path = frozenset(name for name, through in zip(names, passed, strict=True) if through)
        assert gradient_along(network, path, image, label) == pytest.approx(gradient.norm().item(), rel=1e-5)
    points = image.clone().requires_grad_()
    (whole,) = torch.autograd.grad(cross_entropy(network(points), label), points)
    torch.testing.assert_close(sum(found), whole)


def test_a_path_through_a_plain_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer1\.0: a plain block"):
        gradient_along(network_of("cifar-plain8"), frozenset(), IMAGES, LABELS)


def test_shares_count_the_paths_of_each_length() -> None:
    # Half as much gradient per block: C(2, k) / 2^k is 1, 1, 1/4.
    assert shares_of_lengths([1, 1 / 2, 1 / 4]) == pytest.approx([4 / 9, 4 / 9, 1 / 9])


def test_the_signal_of_a_plain_network_stays_at_the_theorys_value_and_a_residual_one_adds_up() -> None:
    noise = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, residual = (signal(network_of(name), noise) for name in ("cifar-plain56", "cifar-residual56-A"))
    theory = (1 - 1 / math.pi) / 2
    for block in ("layer1.4", "layer2.4", "layer3.4"):
        assert plain[block]["variance"] == pytest.approx(theory, rel=0.25)
        assert residual[block]["variance"] > 4 * plain[block]["variance"]
    # On smaller images the zeros around them cost a part of it.
    assert plain["layer1.4"]["before_bn"] == pytest.approx(1 - 1 / math.pi, rel=0.15)
    assert residual["layer1.8"]["squared_mean"] > residual["layer1.0"]["squared_mean"] > 0.2
    assert list(plain) == [f"layer{stage}.{index}" for stage in (1, 2, 3) for index in range(9)]
