"""Layer responses, first iterations and cost: every number computed a second time, by hand or from the weights."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.blocks import PlainBlock, ResidualBlock, basic_layers, bottleneck_layers, make_shortcut
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.measures.first_iterations import FirstIterations
from plain_vs_residual.measures.responses import layer_responses, response_means, with_estimated_statistics
from plain_vs_residual.records.models import MeanOf, Statistic
from plain_vs_residual.records.rows import ResponseRow
from tests.by_hand import ByHand, block_names, seen_by, tiny_images, tiny_network


def batches(sizes: tuple[int, ...] = (25, 15)) -> list[tuple[Tensor, Tensor]]:
    images, labels = seen_by(tiny_images())
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


# ---- layer responses -------------------------------------------------------------------------------------


def rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


def responses_by_hand(network: nn.Module, images: Tensor) -> list[tuple[str, int, str, float]]:
    """Return kind, order, layer and value of each row: over all images at once, in double precision."""
    by_hand = ByHand(network)
    with torch.no_grad():
        by_hand.logits(images, by_hand.running)
    seen = {name: values.double() for name, values in by_hand.outputs.items()}
    layers = ["conv1", *(f"{block}.conv{number}" for block in block_names(network) for number in (1, 2))]
    found = [
        ("response_std", order, layer, seen[layer.replace("conv", "bn")].std(correction=0).item())
        for order, layer in enumerate(layers, start=1)
    ]
    for order, block in enumerate(block_names(network), start=1):
        function, x, output = seen[f"{block}.bn2"], seen[f"{block}.shortcut"], seen[block]
        share = rms(output - function.clamp(min=0)) / rms(output)
        if isinstance(network.get_submodule(block), ResidualBlock):
            found.append(("ratio", order, block, rms(function) / rms(x)))
            found.append(("cosine", order, block, ((function * x).mean() / rms(function) / rms(x)).item()))
        found.append(("shortcut_share", order, block, share))
    return found


@pytest.mark.parametrize("option", [None, "A", "B", "C"])
@pytest.mark.parametrize("training", [True, False])
def test_every_row_of_the_responses_is_that_of_all_images_at_once(option: str | None, training: bool) -> None:
    network = tiny_network(option).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = layer_responses(network, batches(), "initial")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training == training
    expected = responses_by_hand(network, seen_by(tiny_images())[0])
    assert [(row.kind, row.order, row.layer) for row in rows] == [one[:3] for one in expected]
    assert [row.value for row in rows] == pytest.approx([one[3] for one in expected], rel=1e-4, abs=1e-5)
    assert {row.moment for row in rows} == {"initial"}
    assert {row.moment for row in layer_responses(network, batches()[:1])} == {"final"}


class Alone(nn.Module):
    """A network of a single block."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.block(images)
        return output


def alone(function: float, shortcut: float) -> Alone:
    """Return a block of one channel whose F and shortcut multiply its (positive) input, each pixel for itself."""
    block = ResidualBlock(basic_layers(1, 1), nn.Conv2d(1, 1, 1, bias=False))
    nn.init.constant_(block.shortcut.weight, shortcut)  # type: ignore[arg-type]
    for convolution, normalisation in block.layers():
        nn.init.dirac_(convolution.weight)
        normalisation.eps = 0.0
    nn.init.constant_(block.layers()[1][1].weight, function)
    return Alone(block)


def test_one_pixel_is_enough_to_see_what_each_number_means() -> None:
    """F(x) = -0.5 x and a shortcut of 2 x for x = 1, 3: worked out on paper."""
    network = alone(-0.5, 2.0)
    images = torch.tensor([1.0, 3.0])[:, None, None, None]
    rows = layer_responses(network, [(images[:1], images), (images[1:], images)])
    values = {(row.kind, row.layer): row.value for row in rows}
    assert values == pytest.approx(
        {
            ("response_std", "block.conv1"): 1,  # of 1 and 3
            ("response_std", "block.conv2"): 0.5,  # of -0.5 and -1.5
            ("ratio", "block"): 0.25,
            ("cosine", "block"): -1,
            ("shortcut_share", "block"): 1,  # relu(F(x)) is 0: all of the output is the shortcut's
        }
    )


def test_numbers_whose_squares_do_not_fit_into_fp16_are_measured() -> None:
    images = torch.tensor([1000.0, 3000.0])[:, None, None, None].half()
    network = alone(-0.5, 2.0).half()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()  # as under autocast
    values = {row.kind: row.value for row in layer_responses(network, [(images, images)])}
    assert values["ratio"] == pytest.approx(0.25)
    assert values["cosine"] == pytest.approx(-1)
    first = FirstIterations(
        nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 1), "bn1": nn.Identity(), "fc": nn.Identity()})
    )
    with first.watching():
        first.network.get_submodule("bn1")(images)
    assert first.seen["bn1"] == pytest.approx(math.sqrt((1000**2 + 3000**2) / 2))


def test_nothing_divided_by_nothing_is_no_number() -> None:
    images = -torch.ones(2, 1, 1, 1)  # behind the first ReLU everything is 0
    values = {row.kind: row.value for row in layer_responses(alone(1.0, 0.0), [(images, images)])}
    assert math.isnan(values["ratio"])
    assert math.isnan(values["cosine"])
    assert math.isnan(values["shortcut_share"])


def test_of_a_bottleneck_the_3x3_layer_alone_has_a_response() -> None:
    network = Alone(ResidualBlock(bottleneck_layers(1, 2), make_shortcut("C", 1, 8)))
    images, labels = seen_by(tiny_images(), 5)
    rows = layer_responses(network, [(images, labels)])
    assert [row.layer for row in rows if row.kind == "response_std"] == ["block.conv2"]
    with torch.no_grad():
        block = network.eval().block
        assert isinstance(block, ResidualBlock)
        function, x = block.residual_function(images), block.shortcut(images)
    ratio = next(row.value for row in rows if row.kind == "ratio")
    assert ratio == pytest.approx(rms(function) / rms(x), rel=1e-4)


def test_means_are_taken_over_the_rows_of_a_kind_and_a_moment() -> None:
    values = {
        ("final", "response_std"): [1.0, 2.0, 6.0],
        ("initial", "response_std"): [100.0],
        ("estimated", "response_std"): [0.5, 4.0, 1.0, 0.9],
        ("final", "ratio"): [0.5, 1.5],
        ("initial", "ratio"): [4.0, 8.0],
        ("estimated", "ratio"): [3.0, 5.0],
    }
    rows = [
        ResponseRow(moment=moment, kind=kind, order=order, layer="layer", value=value)  # type: ignore[arg-type]
        for (moment, kind), many in values.items()
        for order, value in enumerate(many, start=1)
    ]
    means = response_means(rows)
    assert means["mean_response"] == 3
    assert means["mean_ratio"] == 1
    assert means["initial_mean_ratio"] == 6
    assert means["mean_cosine"] is None
    assert means["mean_response_estimated"] == 1.6
    assert means["median_response"] == 2
    assert means["median_response_estimated"] == 0.95
    assert means["small_responses"] == 0
    assert means["small_responses_estimated"] == 0.5
    assert means["mean_ratio_estimated"] == 4
    assert means["mean_cosine_estimated"] is None


@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_no_statistic_hides_a_layer_without_a_value(statistic: Statistic) -> None:
    of = MeanOf("response_std", "final", "", statistic).of
    assert of([2.0, math.nan, 0.5, 0.5]) is not None
    assert math.isnan(of([2.0, math.nan, 0.5, 0.5]) or 0.0)
    assert of([]) is None


def test_by_statistics_estimated_anew_a_response_is_what_scales_and_shifts_of_bn_make_it() -> None:
    network = tiny_network("A")
    images, labels = seen_by(tiny_images())
    estimated = with_estimated_statistics(network, [(images, labels)])
    rows = [
        row for row in layer_responses(estimated, [(images, labels)], "estimated") if row.kind == "response_std"
    ]
    assert len(rows) == 9
    for row in rows:
        bn = network.get_submodule(row.layer.replace("conv", "bn"))
        assert isinstance(bn, nn.BatchNorm2d)
        # Each channel has mean 0 and variance 1, but for estimates that divide by one less; then scale and shift.
        square = bn.weight.square().mean() + bn.bias.var(correction=0)
        assert row.value == pytest.approx(math.sqrt(square.item()), rel=5e-3)
        assert row.moment == "estimated"


def test_estimated_statistics_are_the_mean_of_those_of_each_batch() -> None:
    network = tiny_network("A").eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    estimated = with_estimated_statistics(network, batches())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    first, second = (ByHand(network).estimated(images) for images, _ in batches())
    found = ByHand(estimated).running
    assert set(found) == set(first)
    for name, statistics in found.items():
        for value, one, other in zip(statistics, first[name], second[name], strict=True):
            torch.testing.assert_close(value, (one + other) / 2, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, network.get_parameter(name)) for name, value in estimated.named_parameters())


# ---- first iterations ------------------------------------------------------------------------------------


def test_a_row_of_the_first_iterations_is_what_plain_autograd_gives() -> None:
    network, (images, labels) = tiny_network("B"), seen_by(tiny_images(), 10)
    by_hand = ByHand(network)
    logits = by_hand.logits(images)
    found = torch.autograd.grad(cross_entropy(logits, labels), by_hand.values.values())
    gradients = dict(zip(by_hand.values, found, strict=True))
    first = FirstIterations(network.train())
    with first.watching():
        cross_entropy(network(images), labels).backward()
    network(images * 100)  # what is computed outside is not noted
    row = first.row(4, 1.25)
    assert row.model_dump() == pytest.approx(
        {
            "iteration": 4,
            "loss": 1.25,
            "input": rms(images),
            "conv1": rms(by_hand.outputs["conv1"]),
            "bn1": rms(by_hand.outputs["bn1"]),
            "logits": rms(logits),
            "conv1_gradient": rms(gradients["conv1.weight"]),
            "conv1_weight": rms(by_hand.values["conv1.weight"]),
            "gradient_norm": math.sqrt(sum(one.square().sum().item() for one in gradients.values())),
        },
        rel=1e-3,
    )


# ---- cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "projections"), [(None, 0), ("A", 0), ("B", 4 * 4 * 3 * 6)])
def test_multiply_adds_are_counted_on_paper(option: str | None, projections: int) -> None:
    """8 px, widths 3 and 6, two blocks a stage; stage 2 has 4 px, and its first convolution is strided."""
    stem, stage1 = 64 * 9 * 1 * 3, 4 * 64 * 9 * 3 * 3
    stage2 = 16 * 9 * 3 * 6 + 3 * 16 * 9 * 6 * 6
    fc = 6 * 3
    counted = multiply_adds(tiny_network(option), (1, 8, 8))
    assert counted == stem + stage1 + stage2 + fc + projections


def test_a_plain_block_owes_nothing_to_a_shortcut() -> None:
    images, labels = seen_by(tiny_images(), 5)
    rows = layer_responses(Alone(PlainBlock(basic_layers(1, 2))), [(images, labels)])
    assert {row.kind: row.value for row in rows if row.layer == "block"} == {"shortcut_share": 0}
