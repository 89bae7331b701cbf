"""Networks: parameter counts, torchvision's structure, equal initial values in pairs, multiply-adds."""

from typing import Any

import pytest
import torch
from torch import nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import make_shortcut
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import Network, abstract, hashes_of, num_parameters
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.recipe import Stem
from plain_vs_residual.settings import DIGITS
from tests.conftest import network_of


def network(name: str, *, classes: int = 10, stem: Stem = "3x3", width: int = 16, seed: int = 0) -> Network:
    return network_of(name, channels=3, num_classes=classes, stem=stem, stem_width=width, seed=seed)


def imagenet(name: str, seed: int = 0) -> Network:
    return network(name, classes=1000, stem="7x7", width=64, seed=seed)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cifar-plain20", 269_722),
        ("cifar-residual20-A", 269_722),
        ("cifar-residual20-B", 272_474),
        ("cifar-residual32-A", 464_154),
        ("cifar-residual44-A", 658_586),
        ("cifar-residual56-A", 853_018),
        ("cifar-residual110-A", 1_727_962),
    ],
)
def test_the_cifar_family_has_the_papers_parameters(name: str, parameters: int) -> None:
    assert num_parameters(network(name)) == parameters


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_plain_and_residual_a_of_one_depth_have_the_same_parameters(depth: int) -> None:
    plain, residual = network(f"cifar-plain{depth}"), network(f"cifar-residual{depth}-A")
    shapes = [{name: value.shape for name, value in one.named_parameters()} for one in (plain, residual)]
    assert shapes[0] == shapes[1]


def test_the_1202_layer_network_has_19_4_million_parameters() -> None:
    with torch.device("meta"):
        stacked = Network(Architecture.parse("cifar-residual1202-A"), DIGITS, channels=3, num_classes=10)
    assert round(num_parameters(stacked) / 1e6, 1) == 19.4


PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("depth", PARAMETERS)
def test_option_b_is_torchvisions_resnet_parameter_by_parameter(depth: int) -> None:
    ours = imagenet(f"residual{depth}-B")
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    renamed = {name.replace("shortcut", "downsample"): value.shape for name, value in ours.named_parameters()}
    assert renamed == {name: value.shape for name, value in theirs.named_parameters()}
    assert num_parameters(ours) == PARAMETERS[depth]


def test_option_b_computes_what_torchvision_computes() -> None:
    ours, theirs = imagenet("residual18-B").eval(), torchvision.models.resnet18().eval()
    state = {name.replace("shortcut", "downsample"): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        *(("plain18", 1.8), ("residual18-A", 1.8), ("plain34", 3.6), ("residual34-A", 3.6)),
        *(("residual101-B-1x1", 7.6), ("residual152-B-1x1", 11.3)),
    ],
)
def test_multiply_adds_are_the_papers_within_its_rounding(name: str, billions: float) -> None:
    assert round(multiply_adds(imagenet(name), (3, 224, 224)) / 1e9, 1) == billions


@pytest.mark.parametrize(("option", "billions"), [("A", 3.64), ("B", 3.66), ("C", 3.83)])
def test_projections_cost_multiply_adds(option: str, billions: float) -> None:
    counted = multiply_adds(imagenet(f"residual34-{option}"), (3, 224, 224)) / 1e9
    assert counted == pytest.approx(billions, abs=0.02)


@pytest.mark.parametrize(("name", "billions"), [("residual50-B", 4.09), ("residual50-B-1x1", 3.86)])
def test_the_stride_of_a_bottleneck_decides_its_multiply_adds(name: str, billions: float) -> None:
    assert multiply_adds(imagenet(name), (3, 224, 224)) / 1e9 == pytest.approx(billions, abs=0.005)


def test_option_c_adds_thirteen_projections_to_option_b() -> None:
    def projections(option: str) -> int:
        named = imagenet(f"residual34-{option}").named_modules()
        return sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for _, m in named)

    assert [projections(option) for option in "ABC"] == [0, 3, 16]


def test_output_sizes_at_224_px_are_those_of_table_1() -> None:
    sizes = []
    net = imagenet("plain18").to("meta")
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        net.get_submodule(name).register_forward_hook(lambda _m, _i, output: sizes.append(output.shape[-1]))
    assert net(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
    assert sizes == [112, 56, 56, 28, 14, 7]


@pytest.mark.parametrize("pair", [("plain34", "residual34-A"), ("cifar-plain20", "cifar-residual20-A")])
def test_a_pair_starts_with_equal_state_dicts(pair: tuple[str, str]) -> None:
    first, second = (network(name, seed=3).state_dict() for name in pair)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("option", ["B", "C"])
def test_options_b_and_c_differ_from_a_in_projections_only(option: str) -> None:
    plain, other = (
        hashes_of(network("plain34").named_parameters()),
        hashes_of(network(f"residual34-{option}").named_parameters()),
    )
    assert {name for name in other if name not in plain} == {name for name in other if "shortcut" in name}
    assert all(other[name] == value for name, value in plain.items())


def test_parameters_of_one_name_and_shape_are_equal_across_depths() -> None:
    shallow, deep = (
        hashes_of(network("plain18").named_parameters()),
        hashes_of(network("plain34").named_parameters()),
    )
    same = [name for name in shallow if name in deep]
    assert "layer1.0.conv1.weight" in same
    assert all(shallow[name] == deep[name] for name in same if shallow[name][:8] == deep[name][:8])


def test_another_seed_and_another_name_draw_other_values() -> None:
    one, other = network("plain18"), network("plain18", seed=1)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    first, second = (one.get_submodule(f"layer1.{index}").conv1.weight for index in (0, 1))
    assert not torch.equal(first, second)


def test_initial_values_do_not_hang_on_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = hashes_of(network("plain18").named_parameters())
    torch.manual_seed(2)
    torch.rand(5)
    assert hashes_of(network("plain18").named_parameters()) == first


def test_convolutions_are_drawn_after_he_fan_out() -> None:
    weight = imagenet("plain18").get_submodule("layer4.1").conv2.weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_the_last_layers_weights_and_shifts_are_drawn_by_their_own_names() -> None:
    fc = network("plain18", seed=5).fc
    bound = fc.in_features**-0.5
    for name, parameter in (("fc.weight", fc.weight), ("fc.bias", fc.bias)):
        drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=keyed_generator(5, name))
        assert torch.equal(parameter, drawn)


def test_option_a_subsamples_and_pads_with_zeros() -> None:
    shortcut = network("residual18-A").get_submodule("layer2.0").shortcut
    x = torch.randn(2, 16, 5, 5, generator=torch.Generator().manual_seed(0))
    out = shortcut(x)
    assert out.shape == (2, 32, 3, 3)
    assert torch.equal(out[:, :16], x[:, :, ::2, ::2])
    assert not out[:, 16:].any()


def test_plain_and_residual_blocks_differ_by_the_shortcut_alone() -> None:
    plain, residual = network("cifar-plain20"), network("cifar-residual20-A")
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    a, b = plain.get_submodule("layer1.0"), residual.get_submodule("layer1.0")
    f = a.residual_function(x)
    assert torch.equal(a(x), torch.relu(f))
    assert torch.equal(b(x), torch.relu(f + x))


@pytest.mark.parametrize(
    "name", ["plain20", "cifar-plain21", "cifar-plain2", "plain18-A", "residual18-D", "resnet18", "", "plain018x"]
)
def test_a_network_that_does_not_exist_is_refused_with_what_is_accepted(name: str) -> None:
    with pytest.raises(ValueError, match=r"network '.*'.*"):
        Architecture.parse(name)


def test_residual_without_an_option_means_a() -> None:
    assert Architecture.parse("residual18").name == "residual18-A"


@pytest.mark.parametrize("name", ["plain18", "residual34-A", "residual50-B", "plain101", "cifar-residual20-A"])
def test_the_names_that_an_architecture_promises_are_those_of_its_network(name: str) -> None:
    architecture = Architecture.parse(name)
    built = abstract(architecture, DIGITS, channels=1, num_classes=10)
    names = [parameter for parameter, _ in built.named_parameters() if ".shortcut." not in parameter]
    assert sorted(names) == sorted(architecture.parameter_names)


def test_a_letter_without_a_shortcut_of_its_own_is_not_built_as_another() -> None:
    shortcut: Any = make_shortcut
    for stride in (1, 2):
        with pytest.raises(AssertionError, match="'S'"):
            shortcut("S", 16, 16, stride)


def test_the_last_layer_is_drawn_within_one_over_the_root_of_its_inputs() -> None:
    """As torchvision draws it: 64 inputs and 1,000 outputs, so that neither is taken for the other."""
    fc = network_of("cifar-plain8", channels=1, num_classes=1000).fc
    for parameter in (fc.weight, fc.bias):
        assert 0.99 / 8 < float(parameter.detach().abs().max()) <= 1 / 8
        assert abs(float(parameter.detach().mean())) < 0.01
