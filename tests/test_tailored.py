"""Tailored activations: the law of cosines, the slope that follows from it, and the network that has them."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.measures.responses import layer_responses
from plain_vs_residual.networks import Network, build
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.tailored import (
    FINAL_COSINE,
    TailoredAfterRelu,
    TailoredBlock,
    cosine_after,
    final_cosine,
    gain_for,
    slope_for,
)
from plain_vs_residual.training.precision import autocast
from plain_vs_residual.watching import watched

CPU = torch.device("cpu")


def modified(name: str, modification: str = "tailored") -> Network:
    recipe = DIGITS.with_changes({"modification": modification})
    return build(Architecture.parse(name), recipe, channels=1, num_classes=10, seed=100)


def images(num: int = 8) -> Tensor:
    return torch.randn(num, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.452, 1.0])
@pytest.mark.parametrize("cosine", [-0.8, 0.0, 0.5, 0.95])
def test_the_law_of_cosines_is_what_many_draws_give(cosine: float, slope: float) -> None:
    generator = torch.Generator().manual_seed(0)
    u, other = torch.randn(2, 2_000_000, dtype=torch.float64, generator=generator)
    v = cosine * u + math.sqrt(1 - cosine**2) * other
    f, g = leaky_relu(u, slope), leaky_relu(v, slope)
    drawn = (f * g).mean() / ((f * f).mean() * (g * g).mean()).sqrt()
    assert cosine_after(cosine, slope) == pytest.approx(drawn.item(), abs=2e-3)


def test_known_values_of_the_law() -> None:
    assert cosine_after(0.0, 0.0) == pytest.approx(1 / math.pi)  # ReLU
    assert cosine_after(1.0, 0.3) == 1
    # From c = 1/2, ReLU: (sqrt(3) / 2 + 2 pi / 3 * 1 / 2) / pi.
    assert cosine_after(0.5, 0.0) == pytest.approx((math.sqrt(3) / 2 + math.pi / 3) / math.pi)
    assert cosine_after(-1.0, 1.0) == -1  # a linear layer


def test_one_layer_of_many_random_weights_follows_the_law() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.nn.functional.normalize(torch.randn(2, 64, generator=generator), dim=1)
    cosine = (x[0] @ x[1]).item()
    layer = torch.randn(100_000, 64, generator=generator)
    f, g = leaky_relu(layer @ x[0], 0.452), leaky_relu(layer @ x[1], 0.452)
    assert cosine_after(cosine, 0.452) == pytest.approx((f @ g / (f.norm() * g.norm())).item(), abs=1e-2)


def test_the_slope_of_55_layers_is_that_of_the_paper() -> None:
    assert slope_for(55) == pytest.approx(0.452, abs=5e-4)
    assert final_cosine(55, slope_for(55)) == pytest.approx(FINAL_COSINE)
    assert final_cosine(55, 0.0) == pytest.approx(0.99, abs=1e-3)
    # With one layer more or less, or with another law, it would be another.
    assert abs(final_cosine(50, slope_for(55)) - FINAL_COSINE) > 5e-3


@pytest.mark.parametrize("num_layers", [13, 19, 109, 1000])
def test_every_depth_has_its_slope_and_few_layers_need_none(num_layers: int) -> None:
    assert final_cosine(num_layers, slope_for(num_layers)) == pytest.approx(FINAL_COSINE, abs=1e-6)
    assert slope_for(3) == 0
    assert slope_for(num_layers) < slope_for(2 * num_layers) < 1


@pytest.mark.parametrize("slope", [0.0, 0.452])
def test_activations_keep_the_mean_square(slope: float) -> None:
    x = torch.randn(1_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (gain_for(slope) * leaky_relu(x, slope)).square().mean().item() == pytest.approx(1, abs=5e-3)
    assert gain_for(0.452) == pytest.approx(math.sqrt(2 / (1 + 0.452**2)))


def test_the_activation_is_found_behind_the_stems_relu() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0]).reshape(1, 3, 1, 1)
    found = TailoredAfterRelu(0.25)(torch.relu(torch.cat((x, -x), dim=1)))
    assert found.flatten().tolist() == pytest.approx([gain_for(0.25) * one for one in (-0.5, 0.0, 3.0)])


def test_a_tailored_network_computes_its_convolutions_biases_and_activations_in_turn() -> None:
    network = modified("cifar-plain20").eval()
    slope = slope_for(19)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(network.named_parameters()):
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
        x = images()
        for module, kernel in [(name, one) for name, one in network.named_parameters() if one.dim() == 4]:
            place = module.removesuffix(".weight").replace("conv", "bn")
            bias = network.get_parameter(f"{place}.0.bias" if place == "bn1" else f"{place}.bias")
            stride = 2 if module in ("layer2.0.conv1.weight", "layer3.0.conv1.weight") else 1
            z = conv2d(x, kernel, stride=stride, padding=1) + bias[:, None, None]
            x = math.sqrt(2 / (1 + slope**2)) * torch.where(z > 0, z, slope * z)
        torch.testing.assert_close(network(images()), network.fc(x.mean(dim=(2, 3))), rtol=1e-4, atol=1e-4)


def test_it_has_no_normalisation_and_orthogonal_centres() -> None:
    network = modified("cifar-plain56")
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    blocks = [module for module in network.modules() if isinstance(module, TailoredBlock)]
    assert len(blocks) == 27
    assert {block.slope for block in blocks} == {slope_for(55)}
    kernels = [one for one in network.parameters() if one.dim() == 4]
    assert len(kernels) == 55
    for kernel in kernels:
        centre = kernel[:, :, 1, 1]
        assert kernel.count_nonzero() == centre.count_nonzero()
        enlarged = len(centre) / len(centre.T)  # 16 in the stem, 2 where a stage begins, else 1
        torch.testing.assert_close(centre.T @ centre, enlarged * torch.eye(len(centre.T)), rtol=0, atol=1e-4)


def test_the_mean_square_over_channels_stays_through_all_layers() -> None:
    network = modified("cifar-plain56").eval()
    x = images()
    found: list[float] = []
    observers = {
        name: (lambda _, output: found.append(output.square().mean().item()))
        for name in ("maxpool", *(f"{stage}.{index}" for stage in network.stages for index in range(9)))
    }
    with watched(network, observers), torch.no_grad():
        network(x)
    assert all(0.25 * x.square().mean() < one < 4 * x.square().mean() for one in found)


def test_images_stay_apart_through_56_layers_where_relu_makes_them_alike() -> None:
    """Channels of a pixel with nothing in common, behind 54 layers of a stage's width."""

    def behind(network: Network, x: Tensor) -> float:
        blocks = [one for name, one in network.named_modules() if name.count(".") == 1 and "layer1" in name]
        for _ in range(3):
            for block in blocks:
                x = block(x)
        first, second = x[:, :, 0, 0]
        return torch.nn.functional.cosine_similarity(first, second, dim=0).item()

    apart = torch.nn.init.orthogonal_(torch.empty(2, 16), generator=torch.Generator().manual_seed(0))
    x = apart.reshape(2, 16, 1, 1).expand(2, 16, 3, 3)
    tailored, relu_network = modified("cifar-plain56"), modified("cifar-plain56")
    for module in relu_network.modules():
        if isinstance(module, TailoredBlock):
            module.slope = 0.0
    with torch.no_grad():
        assert behind(relu_network, x) > 0.97
        assert behind(tailored, x) < 0.95


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_has_no_shortcut_that_adds_anything(precision: str) -> None:
    network = modified("cifar-plain20").eval()
    with autocast(CPU, "bf16" if precision == "bf16" else "fp32"):
        rows = layer_responses(network, [(images(), torch.zeros(8))])
    shares = [row.value for row in rows if row.kind == "shortcut_share"]
    assert shares == [0.0] * 9
    assert not [row for row in rows if row.kind == "ratio"]


@pytest.mark.parametrize("name", ["cifar-residual8-A", "residual50-B"])
def test_a_residual_network_is_not_tailored(name: str) -> None:
    with pytest.raises(ValueError, match="a residual network cannot be tailored"):
        modified(name)


def test_bottlenecks_and_a_wide_stem_can_be_tailored() -> None:
    recipe = DIGITS.with_changes({"modification": "tailored", "stem": "7x7", "image_size": 32})
    network = build(Architecture.parse("plain50"), recipe, channels=1, num_classes=10, seed=100)
    logits = network(torch.randn(2, 1, 32, 32))
    assert torch.isfinite(logits).all()
    assert next(one for one in network.modules() if isinstance(one, TailoredBlock)).slope == slope_for(49)
