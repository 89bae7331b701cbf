"""The loss around a network: every row and summary, computed a second time on weights that are moved by hand."""

from statistics import median

import pytest
import torch
from torch import Tensor

from plain_vs_residual.networks import Network
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.seminar import loss_landscape
from plain_vs_residual.seminar.loss_landscape import at, interpolated
from tests.by_hand import ByHand, as_dict, seen_by, tiny_images, tiny_network, tiny_subject

SEED = 7
STEPS = (-0.25, 0.0, 0.25, 1.0)


def direction_by_hand(network: Network, *purpose: object) -> dict[str, Tensor]:
    """Draw for every filter a direction that is as long as the filter."""
    generator, found = keyed_generator(SEED, *purpose), {}
    for name, value in network.named_parameters():
        if value.dim() > 1:
            drawn = torch.randn(value.shape, generator=generator)
            filters = zip(drawn, value.detach(), strict=True)
            found[name] = torch.stack(
                [one * (own.square().sum() / one.square().sum()).sqrt() for one, own in filters]
            )
    return found


def moved_by_hand(network: Network, *moves: tuple[float, dict[str, Tensor]]) -> ByHand:
    weights = {name: value.detach().clone() for name, value in network.named_parameters()}
    for step, direction in moves:
        weights = {name: value + step * direction.get(name, 0) for name, value in weights.items()}
    return ByHand(network, weights=weights)


@pytest.mark.parametrize("option", [None, "B"])
def test_the_loss_is_that_of_weights_moved_by_hand(monkeypatch: pytest.MonkeyPatch, option: str | None) -> None:
    for name, value in {"NUM_IMAGES": 25, "DIRECTIONS": 3, "STEPS": STEPS, "PLANE": 3, "LINE": 5}.items():
        monkeypatch.setattr(loss_landscape, name, value)
    start, trained = tiny_network(option, (1, 1), seed=1), tiny_network(option, (1, 1), seed=2).eval()
    measured = loss_landscape.measure(tiny_subject(trained, start, seed=SEED))
    (images, labels), (every, _) = seen_by(tiny_images(), 25), seen_by(tiny_images())
    expected: dict[tuple[int, str, str, float], float] = {}
    for number in range(3):
        direction = direction_by_hand(trained, "direction", number)
        for step in STEPS:
            moved = moved_by_hand(trained, (step, direction))
            place = (f"direction{number}", step)
            expected[12, "loss_E", *place] = moved.loss(images, labels, moved.running)
            expected[12, "loss_R", *place] = moved.loss(images, labels, moved.estimated(every))
    first, second = (direction_by_hand(trained, "plane", number) for number in range(2))
    for horizontal in (-0.5, 0.0, 0.5):
        for vertical in (-0.5, 0.0, 0.5):
            moved = moved_by_hand(trained, (horizontal, first), (vertical, second))
            loss = moved.loss(images, labels, moved.running)
            expected[12, "plane_E", f"{vertical:g}", horizontal] = loss
    before, after = dict(start.named_parameters()), dict(trained.named_parameters())
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        weights = {name: (1 - share) * before[name] + share * after[name] for name in after}
        between = ByHand(start, weights={name: value.detach() for name, value in weights.items()})
        expected[12, "line_R", "network", share] = between.loss(images, labels, between.estimated(every))
    found = as_dict(measured.rows)
    assert found == pytest.approx(expected, rel=1e-4)
    rises = {
        mode: [
            expected[12, f"loss_{mode}", f"direction{number}", step]
            - expected[12, f"loss_{mode}", f"direction{number}", 0.0]
            for number in range(3)
            for step in (-0.25, 0.25)
        ]
        for mode in ("E", "R")
    }
    assert measured.summary == pytest.approx(
        {"rise": median(rises["E"]), "rise_estimated": median(rises["R"])}, rel=1e-3, abs=1e-5
    )
    assert abs(median(rises["E"]) - median(rises["R"])) > 1e-3


def test_points_of_a_line_are_even_and_include_both_ends() -> None:
    assert loss_landscape._evenly(-0.5, 0.5, 5) == [-0.5, -0.25, 0, 0.25, 0.5]
    assert loss_landscape._evenly(0, 1, 3) == [0, 0.5, 1]


def test_rises_are_those_a_quarter_of_the_way_out_in_both_senses() -> None:
    losses = {-0.25: [3.0, 5.0], -1.0: [90.0, 90.0], 0.0: [1.0, 2.0], 0.25: [2.0, 10.0], 0.5: [70.0, 70.0]}
    assert sorted(loss_landscape._rises(losses)) == [1, 2, 3, 8]


def test_a_network_moves_along_several_directions_by_a_step_each() -> None:
    network = tiny_network(None, (1, 1))
    name = "layer1.0.conv2.weight"
    before = network.get_parameter(name).detach().clone()
    one, other = torch.full_like(before, 2.0), torch.arange(before.numel()).view_as(before).float()
    moved = at(network, [(0.5, {name: one}), (-3.0, {name: other})])
    torch.testing.assert_close(moved.get_parameter(name).detach(), before + 1 - 3 * other)
    assert torch.equal(network.get_parameter(name), before)


def test_every_parameter_lies_between_those_of_two_networks() -> None:
    first, second = tiny_network("B", (1, 1), seed=1), tiny_network("B", (1, 1), seed=2)
    between = interpolated(first, second, 0.25)
    for name, value in between.named_parameters():
        expected = 0.75 * first.get_parameter(name) + 0.25 * second.get_parameter(name)
        torch.testing.assert_close(value, expected)
    assert not torch.equal(between.get_parameter("bn1.bias"), first.get_parameter("bn1.bias"))
