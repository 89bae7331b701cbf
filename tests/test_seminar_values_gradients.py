"""Gradient norms and shattered gradients: computed a second time by autograd on the paper's equations."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.images import Images
from plain_vs_residual.networks import build
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.seminar import gradient_norms, shattered_gradients
from plain_vs_residual.seminar.gradient_norms import LayerGradient, growth_per_layer, log10_gradient_ratio
from plain_vs_residual.seminar.shattered_gradients import gradient_correlations, pairs_of_classes
from tests.by_hand import (
    TINY,
    ByHand,
    as_dict,
    run_seen_while_it_trains,
    seen_by,
    tiny_images,
    tiny_network,
    tiny_subject,
    trained_by_hand,
)

Norms = dict[str, tuple[float, float, float]]


def norms_by_hand(network: nn.Module, images: Tensor, labels: Tensor) -> Norms:
    """Return for each 3x3 convolution the norm of the gradient at its output, at its weights, and of these."""
    by_hand = ByHand(network)
    loss = cross_entropy(by_hand.logits(images), labels)  # BN by the batch
    names = [name.removesuffix(".weight") for name, value in network.named_parameters() if value.dim() == 4]
    names = [name for name in names if "shortcut" not in name]
    outputs = torch.autograd.grad(loss, [by_hand.outputs[name] for name in names], retain_graph=True)
    weights = [by_hand.values[f"{name}.weight"] for name in names]
    gradients = torch.autograd.grad(loss, weights)
    lengths = [[one.square().sum().sqrt().item() for one in many] for many in (outputs, gradients, weights)]
    return dict(zip(names, zip(*lengths, strict=True), strict=True))


@pytest.mark.parametrize("option", [None, "A", "B"])
def test_norms_are_those_of_every_layer(option: str | None) -> None:
    images, labels = seen_by(tiny_images(), 10)
    network = tiny_network(option).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers = gradient_norms.gradient_norms(network, images, labels)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    expected = norms_by_hand(network, images, labels)
    assert [layer.layer for layer in layers] == list(expected)
    assert len(layers) == 9
    for layer in layers:
        assert (layer.output, layer.weight, layer.weights) == pytest.approx(expected[layer.layer], rel=1e-3)


def layers_of(weights: Sequence[float]) -> list[LayerGradient]:
    return [LayerGradient(f"layer1.{index}.conv1", 9, weight, 9) for index, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("weights", "ratio"),
    [
        ([7, 500, 3, 5], 2),
        ([7, 5, 500], -2),
        ([7, math.nan, 5], math.nan),
        ([7, 5, math.nan], math.nan),
        ([7, 0, 5], math.nan),
        ([7, 5, 0], math.nan),
        ([7], math.nan),
        ([], math.nan),
    ],
)
def test_the_ratio_is_that_of_the_second_layer_over_the_last(weights: list[float], ratio: float) -> None:
    assert log10_gradient_ratio(layers_of(weights)) == pytest.approx(ratio, nan_ok=True)


def test_growth_is_that_of_the_outputs_of_one_stage() -> None:
    stem, later = LayerGradient("conv1", 1e6, 1, 1), LayerGradient("layer2.0.conv1", 1e-6, 1, 1)
    stage = [LayerGradient(f"layer1.{index}.conv1", 3.0**-index, 5.0**index, 7.0) for index in range(4)]
    assert growth_per_layer([stem, *stage, later], "layer1") == pytest.approx(3)
    # Slope of the regression through (0, 0), (1, 0), (2, 3): 1.5 per layer towards the output.
    uneven = [LayerGradient("layer1", math.exp(one), 1, 1) for one in (0, 0, 3)]
    assert growth_per_layer(uneven, "layer1") == pytest.approx(math.exp(-1.5))


@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_where_a_gradient_is_zero_or_not_finite_there_is_no_growth(norm: float) -> None:
    layers = [LayerGradient(f"layer1.{index}.conv1", norm if index else 1.0, 1, 1) for index in range(3)]
    assert math.isnan(growth_per_layer(layers, "layer1"))


@pytest.mark.parametrize(("network", "evaluations"), [("cifar-plain8", 3), ("cifar-residual8-A", 6)])
def test_gradients_are_followed_through_the_iterations_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, evaluations: int
) -> None:
    monkeypatch.setattr(gradient_norms, "NUM_IMAGES", 16)
    subject = run_seen_while_it_trains(network, tmp_path, evaluations=evaluations, learning_rate=0.3)
    images, labels = seen_by(tiny_images(), 16)
    networks = trained_by_hand(subject.job.run, tiny_images())
    by_iteration = {iteration: norms_by_hand(one, images, labels) for iteration, one in enumerate(networks)}
    every = {3: {0, 1, 2, 5, 10, 4, 8, 12}, 6: {0, 1, 2, 5, 10, 4, 6, 8, 12}}[evaluations]
    measured = gradient_norms.measure(subject)
    found = as_dict(measured.rows)
    assert found == pytest.approx(
        {
            (iteration, quantity, layer, place): value
            for iteration in every
            for place, (layer, norms) in enumerate(by_iteration[iteration].items(), start=1)
            for quantity, value in zip(("output", "weight", "weights"), norms, strict=True)
        },
        rel=2e-3,
    )
    assert [row.place for row in measured.rows[:21:3]] == list(by_iteration[0])
    ratios = {
        iteration: math.log10(norms["layer1.0.conv1"][1] / norms["layer3.0.conv2"][1])
        for iteration, norms in by_iteration.items()
    }
    start = by_iteration[0]
    assert measured.summary == pytest.approx(
        {
            "log10_gradient_ratio": ratios[0],
            "log10_gradient_ratio_at_iteration_10": ratios[10],
            # Of two layers: the first one's over the second one's.
            "gradient_growth_in_stage_1": start["layer1.0.conv1"][0] / start["layer1.0.conv2"][0],
        },
        rel=1e-3,
        abs=1e-3,
    )
    for iteration in (1, 5, 12):
        assert abs(ratios[iteration] - ratios[0 if iteration < 5 else 10]) > 0.01


def test_a_run_too_short_for_ten_iterations_has_no_ratio_there(tmp_path: Path) -> None:
    subject = run_seen_while_it_trains("cifar-plain8", tmp_path, iterations=3)
    measured = gradient_norms.measure(subject)
    assert math.isnan(measured.summary["log10_gradient_ratio_at_iteration_10"])
    assert {row.iteration for row in measured.rows} == {0, 1, 2, 3}


def test_zero_gamma_begins_without_gradients_in_its_blocks() -> None:
    recipe = TINY.with_changes({"modification": "zero-gamma"})
    network = build(Architecture.parse("cifar-residual8-A"), recipe, channels=1, num_classes=3, seed=0)
    layers = gradient_norms.gradient_norms(network, *seen_by(tiny_images(), 8))
    assert math.isnan(growth_per_layer(layers, "layer1"))
    assert math.isnan(log10_gradient_ratio(layers))


# ---- shattered gradients ---------------------------------------------------------------------------------


class Squares(nn.Module):
    """Logits W x^2, whose gradient at x is 2 x (W^T p) for a projection p."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(start_dim=1).square() @ self.weights.T


def test_gradients_along_a_line_are_compared_as_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(2)
    first, apart = torch.randn(2, 1, 2, 3, generator=generator)
    second = apart / 2 - first  # nearly opposite, so that the gradient turns around on the way
    weights = torch.randn(4, 6, generator=generator)
    projection = torch.randn(4, generator=torch.Generator().manual_seed(9)).double().numpy()
    places = np.arange(256)[:, None] / 255
    line = (1 - places) * first.flatten().double().numpy() + places * second.flatten().double().numpy()
    gradients = 2 * line * (weights.double().numpy().T @ projection)
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    expected = {lag: float((unit[:-lag] * unit[lag:]).sum(axis=1).mean()) for lag in (1, 4, 100, 200)}
    network = Squares(weights).eval()
    found = gradient_correlations(network, first, second, (1, 4, 100, 200), torch.Generator().manual_seed(9))
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected[100] < 0.8
    assert expected[200] < -0.5


def test_lines_are_drawn_among_few_images_of_one_class_and_refused_where_there_are_too_few() -> None:
    labels = torch.tensor([0] * 30 + [1] * 8)
    for seed in range(20):
        pairs = pairs_of_classes(labels, torch.Generator().manual_seed(seed))
        assert len({index for pair in pairs for index in pair}) == 16
        assert all(labels[first] != labels[second] for first, second in pairs)
    with pytest.raises(ValueError, match=r"need 8 pairs .* among 37 images there are 7"):
        pairs_of_classes(labels[:-1], torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"among 12 images there are 6"):
        pairs_of_classes(torch.arange(12), torch.Generator().manual_seed(0))


def correlations_by_hand(
    by_hand: ByHand, estimate_on: Tensor | None, ends: tuple[Tensor, Tensor], projection: Tensor
) -> dict[int, float]:
    statistics = by_hand.running if estimate_on is None else by_hand.estimated(estimate_on)
    points = torch.stack([ends[0] + (ends[1] - ends[0]) * index / 255 for index in range(256)]).requires_grad_()
    logits = by_hand.logits(points, statistics)
    (gradients,) = torch.autograd.grad((logits * projection).sum(), points)
    unit = gradients.flatten(1) / gradients.flatten(1).norm(dim=1, keepdim=True)
    return {lag: (unit[:-lag] * unit[lag:]).sum(dim=1).mean().item() for lag in (1, 2, 4, 8, 16, 32)}


def lines_by_hand(images: Tensor, labels: Tensor) -> list[tuple[tuple[Tensor, Tensor], Tensor]]:
    """Draw the ends of three lines, and the projection of the logits on each."""
    pairs, order = [], torch.randperm(len(labels), generator=keyed_generator(7, "pairs")).tolist()
    while len(pairs) < 3:
        first, *order = order[-1:] + order[:-1]
        second = next(index for index in order if labels[index] != labels[first])
        order.remove(second)
        pairs.append((images[first], images[second]))
    projections = [torch.randn(3, generator=keyed_generator(7, "projection", line)) for line in range(3)]
    return list(zip(pairs, projections, strict=True))


def test_lines_are_drawn_among_five_hundred_images_spread_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shattered_gradients, "LINES", 3)
    noise = torch.randint(0, 256, (600, 8, 8, 1), generator=torch.Generator().manual_seed(6), dtype=torch.uint8)
    dataset = replace(tiny_images(), training=Images(noise, torch.arange(600) % 3))
    trained = tiny_network(None, seed=2).eval()
    measured = shattered_gradients.measure(replace(tiny_subject(trained), dataset=dataset))
    found = [correlations_by_hand(ByHand(trained), None, *line) for line in lines_by_hand(*seen_by(dataset, 500))]
    expected = {lag: sum(one[lag] for one in found) / 3 for lag in (1, 2, 4, 8, 16, 32)}
    after = {row.position: row.value for row in measured.rows if row.iteration == 12}
    assert after == pytest.approx(expected, abs=1e-3)


def test_correlations_are_means_over_lines_before_and_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shattered_gradients, "LINES", 3)
    untrained, trained = tiny_network(None, seed=1), tiny_network(None, seed=2).eval()
    measured = shattered_gradients.measure(tiny_subject(trained, untrained, seed=7))
    images, labels = seen_by(tiny_images())
    lines = lines_by_hand(images, labels)
    found = {
        0: [correlations_by_hand(ByHand(untrained), images, *line) for line in lines],
        12: [correlations_by_hand(ByHand(trained), None, *line) for line in lines],
    }
    expected = {
        (iteration, "correlation", "network", lag): sum(one[lag] for one in many) / 3
        for iteration, many in found.items()
        for lag in (1, 2, 4, 8, 16, 32)
    }
    assert as_dict(measured.rows) == pytest.approx(expected, abs=1e-3)
    assert measured.summary == {
        "gradient_correlation": pytest.approx(expected[0, "correlation", "network", 4], abs=1e-3)
    }
    distinct = [one[4] for many in found.values() for one in many]
    assert min(abs(a - b) for place, a in enumerate(distinct) for b in distinct[:place]) > 0.005
