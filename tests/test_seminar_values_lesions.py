"""Lesions, exchanges and errors: every row and summary, computed a second time from the weights."""

import math
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import PlainBlock, basic_layers, bottleneck_layers
from plain_vs_residual.networks import Network
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.seminar import lesions
from plain_vs_residual.seminar.lesions import exchanged, keeps_shape, kendall_tau, without
from plain_vs_residual.seminar.measured import error_of
from tests.by_hand import ByHand, as_dict, block_names, seen_by, tiny_images, tiny_network, tiny_subject

SEED, NUM_IMAGES, NUMBERS, DRAWS = 7, 25, (2, 3, 9), 4
# Blocks that can be taken out, and pairs that can change places, of networks with three and two blocks in a stage.
REMOVABLE = {
    None: ["layer1.0", "layer1.1", "layer1.2", "layer2.1"],
    "A": ["layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1"],
}
KEEPING = ["layer1.0", "layer1.1", "layer1.2", "layer2.1"]
PAIRS = [("layer1.0", "layer1.1"), ("layer1.0", "layer1.2"), ("layer1.1", "layer1.2")]


def errors_by_hand(networks: list[ByHand]) -> dict[str, float]:
    """Return mean errors by E and R: measured on some of the images, R's statistics estimated on all."""
    (images, labels), (every, _) = seen_by(tiny_images(), NUM_IMAGES), seen_by(tiny_images())
    found = {
        "E": [one.error(images, labels, one.running) for one in networks],
        "R": [one.error(images, labels, one.estimated(every)) for one in networks],
    }
    return {mode: sum(errors) / len(errors) for mode, errors in found.items()}


def expected_rows(network: Network, removable: list[str]) -> dict[tuple[str, str, float], float]:
    """Return what is to be measured, by quantity, place and position."""
    rows: dict[tuple[str, str, float], float] = {}

    def note(quantity: str, place: str, position: float, networks: list[ByHand]) -> None:
        errors = errors_by_hand(networks)
        rows.update({(f"{quantity}_{mode}", place, position): value for mode, value in errors.items()})

    note("intact", "network", 0, [ByHand(network)])
    for name in removable:
        note("removed", name, block_names(network).index(name) + 1, [ByHand(network, removed=[name])])
    for number in (one for one in NUMBERS if one <= len(removable)):
        generators = [keyed_generator(SEED, "removed", number, draw) for draw in range(DRAWS)]
        orders = [torch.randperm(len(removable), generator=one).tolist() for one in generators]
        drawn = [[removable[index] for index in order[:number]] for order in orders]
        assert len(set(map(frozenset, drawn))) > 1
        note("removed_at_random", "network", number, [ByHand(network, removed=names) for names in drawn])
    for number in NUMBERS:
        drawn_orders, taus = [], []
        for draw in range(DRAWS):
            generator = keyed_generator(SEED, "exchanged", number, draw)
            standing = list(KEEPING)  # which block stands at each of these places
            for _ in range(number):
                one, other = PAIRS[int(torch.randint(3, (), generator=generator))]
                first, second = KEEPING.index(one), KEEPING.index(other)
                standing[first], standing[second] = standing[second], standing[first]
            drawn_orders.append(dict(zip(KEEPING, standing, strict=True)))
            wrong = sum(a > b for place, a in enumerate(standing) for b in standing[place + 1 :])
            taus.append(1 - 2 * wrong / 6)
        note("exchanged", "network", number, [ByHand(network, order=order) for order in drawn_orders])
        rows["kendall_tau", "network", number] = sum(taus) / DRAWS
    return rows


@pytest.mark.parametrize("option", [None, "A"])
def test_every_lesion_is_the_mean_error_of_its_injured_networks(
    monkeypatch: pytest.MonkeyPatch, option: str | None
) -> None:
    monkeypatch.setattr(lesions, "NUM_IMAGES", NUM_IMAGES)
    monkeypatch.setattr(lesions, "NUMBERS", NUMBERS)
    network = tiny_network(option, (3, 2)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measured = lesions.measure(tiny_subject(network, seed=SEED))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    expected = expected_rows(network, REMOVABLE[option])
    found = as_dict(measured.rows)
    assert found == pytest.approx({(12, *key): value for key, value in expected.items()})
    # What differs in the network must differ in the numbers, or the test would notice nothing.
    increases = {
        mode: [
            value - expected[f"intact_{mode}", "network", 0]
            for (quantity, *_), value in expected.items()
            if quantity == f"removed_{mode}"
        ]
        for mode in ("E", "R")
    }
    assert len(set(increases["E"])) > 2

    def share(mode: str) -> float:
        left = 100 * (1 - 1 / network.fc.out_features) - expected[f"intact_{mode}", "network", 0]
        return median(increases[mode]) / left if left > 0 else math.nan

    assert median(increases["E"]) != median(increases["R"])
    assert measured.summary == pytest.approx(
        {
            "lesion_median": median(increases["E"]),
            "lesion_median_estimated": median(increases["R"]),
            "lesion_share": share("E"),
            "lesion_share_estimated": share("R"),
            "removable_blocks": len(REMOVABLE[option]),
        },
        nan_ok=True,
    )


def test_increases_are_the_error_without_a_block_less_the_intact_one() -> None:
    subject = tiny_subject(tiny_network("A"))
    numbers = {"intact_E": 10.0, "intact_R": 30.0, "removed_R": 31.0, "removed_at_random_E": 90.0}
    rows = [lesions._row(subject, quantity, "network", 0, value) for quantity, value in numbers.items()]
    rows += [lesions._row(subject, "removed_E", f"layer1.{index}", index, 10 + index**2) for index in range(4)]
    assert lesions._rises(rows, "E", chance=90) == (2.5, 2.5 / 80)  # of 0, 1, 4 and 9 points
    assert lesions._rises(rows, "R", chance=90) == (1, 1 / 60)
    points, share = lesions._rises(rows, "R", chance=30)  # it errs as by guessing: there is nothing to lose
    assert (points, math.isnan(share)) == (1, True)


def test_the_first_bottleneck_of_a_stage_does_not_keep_the_shape() -> None:
    blocks = [PlainBlock(bottleneck_layers(channels, 2)) for channels in (2, 8)]
    assert [keeps_shape(block) for block in blocks] == [False, True]
    assert [keeps_shape(PlainBlock(basic_layers(2, 2, stride))) for stride in (1, 2)] == [True, False]


@pytest.mark.parametrize("option", [None, "A", "B", "C"])
def test_several_blocks_are_taken_out_at_once(option: str | None) -> None:
    images, _ = seen_by(tiny_images(), 5)
    network = tiny_network(option, (3, 2)).eval()
    # The projection of the last of them gives negative numbers, too, which the ReLU behind it takes away.
    names = ["layer1.0", "layer1.2", "layer2.0" if option else "layer2.1"]
    by_hand = ByHand(network, removed=names)
    logits = by_hand.logits(images, by_hand.running)
    torch.testing.assert_close(without(network, names)(images), logits)


def test_exchanges_are_made_one_after_the_other() -> None:
    images, _ = seen_by(tiny_images(), 5)
    network = tiny_network("A", (3, 1)).eval()
    for number, seed in ((1, 0), (2, 1), (2, 3), (5, 0)):
        generator = torch.Generator().manual_seed(seed)
        standing = ["layer1.0", "layer1.1", "layer1.2"]
        for _ in range(number):
            first, second = ((0, 1), (0, 2), (1, 2))[int(torch.randint(3, (), generator=generator))]
            standing[first], standing[second] = standing[second], standing[first]
        mixed, tau = exchanged(network, number, torch.Generator().manual_seed(seed))
        by_hand = ByHand(network, order=dict(zip(sorted(standing), standing, strict=True)))
        torch.testing.assert_close(mixed(images), by_hand.logits(images, by_hand.running))
        in_order = sum(standing[a] < standing[b] for a, b in ((0, 1), (0, 2), (1, 2)))
        assert tau == pytest.approx((2 * in_order - 3) / 3)


def test_tau_counts_pairs_in_order_against_pairs_that_are_not() -> None:
    # Of six pairs, (2, 0), (2, 1) are out of order.
    assert kendall_tau([2, 0, 1, 3]) == pytest.approx((4 - 2) / 6)


def test_where_nothing_can_change_places_only_lesions_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesions, "NUMBERS", (1,))
    measured = lesions.measure(tiny_subject(tiny_network(None, (1, 1))))
    assert {row.quantity for row in measured.rows} == {
        f"{quantity}_{mode}" for quantity in ("intact", "removed", "removed_at_random") for mode in ("E", "R")
    }
    assert measured.summary["removable_blocks"] == 1


class ReadsPixels(nn.Module):
    """Six logits: a pixel's own number, and in training mode the same for all."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = -self.scale * (images[:, 0, 0] - torch.arange(6.0)).abs()
        return logits * (not self.training)


@pytest.mark.parametrize(("wrong", "percent"), [(range(60, 90), 10), (range(290, 300), 10 / 3), ((), 0)])
def test_an_error_is_the_share_of_all_images_in_percent(wrong: Any, percent: float) -> None:
    labels = torch.arange(300) % 6
    pixels = labels.clone().float()
    pixels[list(wrong)] = (labels[list(wrong)].float() + 1) % 6
    network = ReadsPixels().train()
    assert error_of(network, pixels[:, None, None, None], labels) == pytest.approx(percent)
    assert network.training
