"""Shortcuts that are not the identity: numbers in their place, and streams with mixings that act and learn."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual import streams
from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.evidence.summaries import wrong_summaries
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.measures.responses import layer_responses
from plain_vs_residual.networks import Network, build, on_device
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import read_measurement
from plain_vs_residual.scaling import Scaled
from plain_vs_residual.seminar.shortcut_gain import COLUMNS, gains_along, measure, mixings
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.streams import NUM_STREAMS, StreamBlock, combined, doubly_stochastic
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent

STREAMS = ("free-streams", "doubly-stochastic-streams")
RESIDUAL = "cifar-residual8-A"
TINY = Experiment(
    title="Tiny",
    paper="none",
    figures=("shortcut_scale",),
    networks={"digits": ("cifar-plain8", RESIDUAL)},
    studies={
        "digits": (
            Study(),
            *(Study(name, {"modification": name}, networks=(RESIDUAL,)) for name in (*STREAMS, "shortcut-0.5")),
        )
    },
    claims=(
        Claim("Tiny", contrast={f"{RESIDUAL}@{STREAMS[0]}": 1}, column="shortcut_gain", above=1.0),
        Claim("Tiny too", contrast={f"{RESIDUAL}@shortcut-0.5": 1, RESIDUAL: -1}, above=1.0),
    ),
    seminar=True,
    measurement="shortcut_gain",
    name="tiny",
)


def modified(name: str, modification: str) -> Network:
    recipe = DIGITS.with_changes({"modification": modification})
    return build(Architecture.parse(name), recipe, channels=1, num_classes=10, seed=100)


def images(num: int = 16) -> Tensor:
    return torch.randn(num, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def blocks_of(network: nn.Module) -> list[StreamBlock]:
    return [module for module in network.modules() if isinstance(module, StreamBlock)]


def some_matrix(seed: int = 0, size: int = NUM_STREAMS) -> Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(seed))


# ---- sums of streams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_streams_are_combined_by_the_rows_of_a_matrix(order: torch.memory_format) -> None:
    """Two streams of one image with two channels and one pixel: (1, 2) and (10, 20)."""
    found = combined(
        torch.tensor([[1.0, 0.5], [0.0, 2.0], [3.0, 0.0]]),
        torch.tensor([[1.0, 2.0], [10.0, 20.0]]).reshape(2, 2, 1, 1).contiguous(memory_format=order),
    )
    assert found.squeeze().tolist() == [[6, 12], [20, 40], [3, 6]]
    # The same of several images and pixels, number by number; images of a stream stay together.
    weights, values = some_matrix(), torch.randn(NUM_STREAMS * 3, 2, 5, 5).contiguous(memory_format=order)
    separate = values.unflatten(0, (NUM_STREAMS, 3))
    expected = sum(weights[:, j, None, None, None, None] * separate[j][None] for j in range(NUM_STREAMS))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(combined(weights, values), expected.flatten(0, 1))


def test_a_block_of_streams_computes_what_its_equation_says() -> None:
    (block, *_) = blocks_of(modified(RESIDUAL, "free-streams").eval())
    values = [torch.nn.Parameter(one) for one in (some_matrix(1)[0], some_matrix(2)[0], some_matrix(3))]
    block.reads, block.writes, block.mixing = values
    h = relu(torch.randn(NUM_STREAMS, 2, 16, 8, 8))
    with torch.no_grad():
        x = sum(values[0][j] * h[j] for j in range(NUM_STREAMS))
        assert isinstance(x, Tensor)
        function = block.residual_function(x)
        expected = [
            relu(values[1][i] * function + sum(values[2][i, j] * h[j] for j in range(NUM_STREAMS)))
            for i in range(NUM_STREAMS)
        ]
        torch.testing.assert_close(block(h.flatten(0, 1)), torch.cat(expected))


def test_where_the_shape_changes_every_stream_takes_the_shortcut_of_option_a() -> None:
    network = modified(RESIDUAL, "free-streams").eval()
    block = network.get_submodule("layer2.0")
    assert isinstance(block, StreamBlock)
    h = relu(torch.randn(NUM_STREAMS * 2, 16, 8, 8))
    with torch.no_grad():
        nn.init.zeros_(block.writes)  # F adds nothing
        output = block(h)
    assert torch.equal(output[:, :16], h[:, :, ::2, ::2])
    assert not output[:, 16:].any()


# ---- what it is before training --------------------------------------------------------------------------------


@pytest.mark.parametrize("modification", STREAMS)
@pytest.mark.parametrize("name", ["cifar-residual8-A", "cifar-residual20-A", "cifar-residual8-B", "residual50-B"])
def test_if_all_are_written_to_alike_streams_compute_what_the_ordinary_network_does(
    name: str, modification: str
) -> None:
    ordinary, network = modified(name, "none"), modified(name, modification)
    for one in (ordinary, network):
        one.train()  # by the statistics of the batch, as in the first step
    with torch.no_grad():
        assert (network(images()) - ordinary(images())).abs().max() > 1e-3
        for block in blocks_of(network):
            nn.init.ones_(block.writes)
        torch.testing.assert_close(network(images()), ordinary(images()), rtol=1e-4, atol=1e-4)


def test_streams_that_stay_where_they_are_are_the_ordinary_network_throughout_training() -> None:
    """With the identity fixed, one stream read and all written to alike, the same weights get the same steps."""
    ordinary, network = modified(RESIDUAL, "none"), modified(RESIDUAL, "free-streams")
    trainers = [Trainer(one, DIGITS, "fp32") for one in (ordinary, network)]
    for block in blocks_of(network):
        nn.init.ones_(block.writes)
        for parameter in (block.reads, block.writes, block.mixing):
            parameter.requires_grad_(False)
    for trainer in trainers:
        trainer.learning_rate.fill_(0.01)
        for _ in range(3):
            trainer.step(images(), torch.arange(16) % 10)
    theirs = dict(network.named_parameters())
    for name, parameter in ordinary.named_parameters():
        torch.testing.assert_close(theirs[name], parameter, rtol=1e-4, atol=1e-5)


# ---- the mixing acts, and learns -------------------------------------------------------------------------------


def logits_differ(network: Network, block: StreamBlock, mixing: Tensor) -> float:
    """Change a block's mixing and return the largest change of a logit."""
    x = images().to(block.mixing.dtype)
    with torch.no_grad():
        before = network(x)
        block.mixing.copy_(mixing)
        return (network(x) - before).abs().max().item()


def with_gradients(network: Network) -> Network:
    """Take the gradient of the loss, in double precision, in which sums that cancel do so to the last digits."""
    network.double()
    nn.functional.cross_entropy(network(images().double()), torch.arange(16) % 10).backward()
    return network


@pytest.mark.parametrize("modification", STREAMS)
def test_changing_any_mixing_changes_logits_and_each_has_a_gradient(modification: str) -> None:
    """But for the first: it mixes copies of one x, which a matrix whose rows sum to 1 leaves as they are."""
    next_one = torch.eye(NUM_STREAMS).roll(1, dims=0)  # each stream becomes the next one
    for place in range(3):
        network = with_gradients(modified(RESIDUAL, modification))
        block = blocks_of(network)[place]
        assert block.mixing.grad is not None
        if place == 0 and modification == "doubly-stochastic-streams":
            assert block.mixing.grad.norm() < 1e-4  # 20 iterations leave that much
            assert logits_differ(network, block, next_one) < 1e-9
        else:
            assert block.mixing.grad.norm() > 1e-4
            other = some_matrix(4) if modification == "free-streams" else next_one
            assert logits_differ(network, block, other) > 2e-3


@pytest.mark.parametrize("modification", STREAMS)
def test_the_mixings_move_by_more_than_weight_decay(modification: str) -> None:
    recipe = DIGITS.with_changes({"modification": modification, "weight_decay": 0.0})
    network = modified(RESIDUAL, modification)
    before = mixings(network)
    trainer = Trainer(network, recipe, "fp32")
    trainer.learning_rate.fill_(0.05)
    for _ in range(6):
        trainer.step(images(), torch.arange(16) % 10)
    moved = [(one - other).norm().item() for one, other in zip(mixings(network), before, strict=True)]
    assert min(moved[1:]) > 1e-4


def test_equal_streams_would_never_learn_how_to_be_mixed() -> None:
    """Which is why blocks write to them unequally from the start, by 1 on average."""
    network = modified(RESIDUAL, "doubly-stochastic-streams")
    written = torch.stack([block.writes.detach() for block in blocks_of(network)])
    assert len({tuple(one) for one in written.tolist()}) == 3
    torch.testing.assert_close(written.mean(dim=1), torch.ones(3))
    alike = modified(RESIDUAL, "doubly-stochastic-streams")
    for block in blocks_of(alike):
        nn.init.ones_(block.writes)
    _, *pairs = zip(blocks_of(with_gradients(alike)), blocks_of(with_gradients(network)), strict=True)
    for block, learning in pairs:
        assert block.mixing.grad is not None
        assert learning.mixing.grad is not None
        assert 20 * block.mixing.grad.norm() < learning.mixing.grad.norm()


def test_a_mixing_that_is_computed_and_not_applied_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(block: StreamBlock, streams: Tensor) -> Tensor:
        block.matrix()  # computed, as in a published version
        function = block.residual_function(combined(block.reads[None], streams))
        return relu(combined(block.writes[:, None], function) + block.shortcut(streams))

    monkeypatch.setattr(StreamBlock, "forward", forward)
    network = modified(RESIDUAL, "free-streams")
    assert logits_differ(network, blocks_of(network)[1], some_matrix(4)) == 0


# ---- doubly stochastic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
def test_rows_and_columns_of_a_doubly_stochastic_matrix_sum_to_1(scale: float, size: int) -> None:
    for seed in range(10):
        matrix = doubly_stochastic(scale * some_matrix(seed, size))
        assert (matrix > 0).all()
        torch.testing.assert_close(matrix.sum(dim=0), torch.ones(size))
        # Columns are last; of matrices far from the middle, 20 iterations leave more of the rows.
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size), rtol=0, atol=2e-2 if scale > 1 else 2e-3)


def test_of_two_streams_the_doubly_stochastic_matrix_is_known() -> None:
    """It is (p, 1 - p; 1 - p, p) with p / (1 - p) the root of the cross ratio of what it is made of."""
    logits = torch.tensor([[1.0, 0.3], [-0.2, 0.7]])
    ratio = math.exp((1.0 + 0.7 - 0.3 + 0.2) / 2)
    p = ratio / (1 + ratio)
    torch.testing.assert_close(doubly_stochastic(logits), torch.tensor([[p, 1 - p], [1 - p, p]]))


def test_without_its_columns_it_would_be_seen() -> None:
    rows_only = some_matrix(3).softmax(dim=1)
    assert (rows_only.sum(dim=0) - 1).abs().max() > 0.1
    assert (doubly_stochastic(some_matrix(3)) - rows_only).abs().max() > 0.02


def test_before_training_nine_tenths_of_a_stream_stay_and_the_rest_is_shared() -> None:
    for matrix in mixings(modified(RESIDUAL, "doubly-stochastic-streams")):
        expected = torch.full((4, 4), 0.1 / 3, dtype=torch.float64).fill_diagonal_(0.9)
        torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-6)


def test_streams_need_a_network_with_shortcuts() -> None:
    for modification in (*STREAMS, "shortcut-0.5", "scaled-branches"):
        with pytest.raises(ValueError, match="without shortcuts"):
            modified("cifar-plain8", modification)


# ---- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_a_scaled_shortcut_passes_on_its_share_of_x(factor: float) -> None:
    ordinary, network = (modified(RESIDUAL, name).eval() for name in ("none", f"shortcut-{factor}"))
    x = relu(torch.randn(2, 16, 8, 8))
    for name in ("layer1.0", "layer2.0"):
        block, other = ordinary.get_submodule(name), network.get_submodule(name)
        assert isinstance(block, ResidualBlock)
        with torch.no_grad():
            expected = relu(block.residual_function(x) + factor * block.shortcut(x))
            assert torch.equal(other(x), expected)
            assert not torch.equal(other(x), block(x))


@pytest.mark.parametrize(("name", "num_blocks"), [("cifar-residual8-A", 3), ("residual50-B", 16)])
def test_branches_are_divided_by_the_root_of_their_number(name: str, num_blocks: int) -> None:
    ordinary, network = modified(name, "none").train(), modified(name, "scaled-branches").train()
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == num_blocks
    x = torch.randn(2, *(64 if name == "residual50-B" else 16, 8, 8)[:1], 8, 8)
    one = next(module for module in ordinary.modules() if isinstance(module, ResidualBlock))
    if name == "residual50-B":
        x = x[:, : one.conv1.in_channels]
    with torch.no_grad():
        function = one.residual_function(x)
        torch.testing.assert_close(blocks[0].residual_function(x), function / math.sqrt(num_blocks))
        torch.testing.assert_close(blocks[0](x), relu(function / math.sqrt(num_blocks) + one.shortcut(x)))


@pytest.mark.parametrize("modification", [*STREAMS, "shortcut-0.5", "shortcut-0.9", "scaled-branches"])
def test_what_is_measured_of_f_and_x_is_what_they_add(modification: str) -> None:
    """The ratio of F(x) to x is that of what is added; of equal streams it is that of each."""
    network = modified(RESIDUAL, modification).eval()
    for block in blocks_of(network):
        nn.init.ones_(block.writes)
    ordinary = modified(RESIDUAL, "none").eval()
    rows, usual = (
        {
            (row.layer, row.kind): row.value
            for row in layer_responses(one, [(images(), torch.zeros(16))])
            if row.kind in ("ratio", "cosine", "shortcut_share")
        }
        for one in (network, ordinary)
    )
    factor = {"shortcut-0.5": 2.0, "shortcut-0.9": 1 / 0.9, "scaled-branches": 3**-0.5}.get(modification, 1.0)
    first = ("layer1.0", "ratio")
    assert rows[first] == pytest.approx(factor * usual[first], rel=1e-4)
    assert rows["layer1.0", "cosine"] == pytest.approx(usual["layer1.0", "cosine"], rel=1e-4)
    if modification in STREAMS:
        assert rows == {key: pytest.approx(value, rel=1e-3) for key, value in usual.items()}
    assert all(0 < rows[f"layer{stage}.0", "shortcut_share"] < 1.5 for stage in (1, 2, 3))


# ---- the gain of all of them -----------------------------------------------------------------------------------


def test_gains_are_the_largest_sums_of_the_product_in_its_order() -> None:
    first, second = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [-3.0, 1.0]])
    # second @ first = [[1, 2], [-3, -5]]
    assert gains_along([first.double(), second.double()]) == [(3, 3), (8, 7)]


@pytest.mark.parametrize(
    ("modification", "gain"), [("none", 1), ("shortcut-0.5", 0.125), ("shortcut-0.9", 0.729), ("free-streams", 1)]
)
def test_what_becomes_of_x_after_three_blocks(modification: str, gain: float) -> None:
    assert gains_along(mixings(modified(RESIDUAL, modification)))[-1] == pytest.approx((gain, gain))


def test_a_plain_network_carries_nothing() -> None:
    assert gains_along(mixings(modified("cifar-plain8", "none")))[-1] == (0, 0)


def test_the_product_of_doubly_stochastic_mixings_amplifies_nothing() -> None:
    network = modified("cifar-residual56-A", "doubly-stochastic-streams")
    for number, block in enumerate(blocks_of(network)):
        with torch.no_grad():
            block.mixing.add_(0.2 * some_matrix(number))
    assert gains_along(mixings(network))[-1] == pytest.approx((1, 1), abs=1e-2)
    for block in blocks_of(network):
        block.constrain = streams.free
    assert gains_along(mixings(network))[-1][0] > 3


def test_each_row_of_the_gain_is_of_its_block_and_of_its_time() -> None:
    before, after = (modified(RESIDUAL, f"shortcut-{factor}") for factor in (0.5, 0.9))
    subject: Any = SimpleNamespace(untrained=lambda: before, network=after, num_iterations=7)
    measured = measure(subject)
    found = {(row.iteration, row.quantity, row.position): row.value for row in measured.rows}
    products = {0: (0.5, 0.25, 0.125), 7: (0.9, 0.81, 0.729)}
    expected = {
        (iteration, quantity, block): product
        for iteration, of_blocks in products.items()
        for block, product in enumerate(of_blocks, start=1)
        for quantity in ("row_sum", "column_sum")
    }
    assert found == pytest.approx(expected | {(7, "change", block): 0.4 for block in (1, 2, 3)})
    assert {row.place for row in measured.rows} == {"network"}
    assert measured.summary == pytest.approx(dict(zip(COLUMNS, (0.729, 0.729, 0.9, 0.4), strict=True)))


def test_the_gain_is_measured_verified_and_computed_again_from_its_table(make_suite: Any) -> None:
    suite = make_suite("cifar-plain8", RESIDUAL, experiments=(TINY,))
    suite.train(suite.plan(), Silent())
    suite.measure(suite.plan(), lambda line: None)
    (recorded,) = load_recorded_runs(suite.results)
    assert [line for check in verify(recorded, TINY) for line in check.differences] == []
    assert len(recorded.records) == 5
    found = {}
    for record in recorded.records:
        assert list(wrong_summaries(record, "shortcut_gain")) == []
        found[record.run.network, record.run.study] = read_measurement(record.folder, "shortcut_gain").summary
        table = pd.read_csv(record.folder.measured("shortcut_gain"))
        assert set(table["quantity"]) == {"row_sum", "column_sum", "change"}
        assert len(table) == 3 * 5
    gains = {key: summary["shortcut_gain"] for key, summary in found.items()}
    assert gains["cifar-plain8", ""] == 0
    assert gains[RESIDUAL, ""] == 1
    assert gains[RESIDUAL, "shortcut-0.5"] == 0.125
    assert gains[RESIDUAL, STREAMS[1]] == pytest.approx(1, abs=1e-3)
    assert gains[RESIDUAL, STREAMS[0]] != 1
    assert found[RESIDUAL, "shortcut-0.5"]["largest_shortcut_gain"] == 0.5
    assert found[RESIDUAL, STREAMS[0]]["largest_shortcut_gain"] >= gains[RESIDUAL, STREAMS[0]]
    assert found[RESIDUAL, ""]["mixing_change"] == 0
    assert all(found[RESIDUAL, name]["mixing_change"] > 1e-4 for name in STREAMS)


def test_streams_lie_in_memory_as_convolutions_want_them() -> None:
    network = on_device(modified(RESIDUAL, "free-streams"), torch.device("cpu"))
    x = network.maxpool(relu(network.bn1(network.conv1(images()))))
    output = network.get_submodule("layer1")(x)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert not [one for one in network.modules() if isinstance(one, Scaled)]
