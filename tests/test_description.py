"""The description of a network: it agrees with the paper, with torchvision and with the network itself."""

import re
import sys
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.app import main
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.inspection.description import IMAGE_KINDS, Description, describe, measure, smallest_input
from plain_vs_residual.inspection.layer_table import TABLE_1, _as_printed, _cell, align
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import abstract, build, num_parameters
from plain_vs_residual.settings import SETTINGS
from tests.conftest import network_of

Shown = Callable[..., str]
NETWORKS = (
    *("plain18", "plain34", "residual34-A", "residual34-C", "residual50-A", "plain50", "residual50-B-1x1"),
    *("cifar-plain8", "cifar-residual20-A", "cifar-residual20-C"),
)


@cache
def described(name: str, setting: str | None = None, size: int | None = None) -> Description:
    return describe(Architecture.parse(name), SETTINGS[setting] if setting else None, size)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Return a function that gives what the command prints into a pipe, for a number of columns."""

    def show(*arguments: str, columns: int = 80) -> str:
        monkeypatch.setattr(sys, "argv", ["plain_vs_residual", "describe", *arguments])
        monkeypatch.setenv("COLUMNS", str(columns))
        main()
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        *(("residual18-B", 11_689_512, 1.81), ("residual34-B", 21_797_672, 3.66)),
        *(("residual50-B", 25_557_032, 4.09), ("residual50-B-1x1", 25_557_032, 3.86)),
    ],
)
def test_the_table_ends_in_the_papers_sizes_and_the_known_totals(
    shown: Shown, name: str, parameters: int, billions: float
) -> None:
    text = shown(name, columns=200)
    assert "output sizes: 112, 56, 28, 14, 7, 1\n" in text
    assert f"parameters: {parameters:,} (" in text
    assert f"multiply-adds: {billions} G (" in text
    assert f"He et al., Table 1: {TABLE_1[Architecture.parse(name).depth]} G" in text


@pytest.mark.parametrize(
    ("name", "setting", "size", "printed"),
    [
        *(("residual18-B", None, None, True), ("residual50-B", None, None, True)),
        *(("residual18-B", None, 192, False), ("residual18-B", "cifar10", 224, False)),
        *(("residual50-A", None, None, False), ("cifar-residual20-A", "imagenet", 224, False)),
    ],
)
def test_table_1_is_quoted_for_its_own_networks_at_its_own_size_alone(
    name: str, setting: str | None, size: int | None, printed: bool
) -> None:
    assert ("Table 1" in _as_printed(described(name, setting, size))) == printed


def test_the_parameters_beside_a_layer_are_those_of_its_convolution_and_of_its_bn() -> None:
    described_rows = described("residual18-B").rows
    printed = {row.layer: int(_cell(row, " ").split()[-1].replace(",", "")) for row in described_rows}
    assert printed["conv1"] == 3 * 64 * 49 + 2 * 64
    assert printed["layer1.0.conv1"] == 64 * 64 * 9 + 2 * 64
    assert printed["layer2.0.shortcut"] == 64 * 128 + 2 * 128
    assert printed["fc"] == 512 * 1000 + 1000
    assert sum(printed.values()) == 11_689_512


@pytest.mark.parametrize(("size", "amount"), [(92, "98.72 M (98,724,736)"), (96, "0.11 G (107,496,064)")])
def test_a_hundred_million_multiply_adds_are_told_in_billions(shown: Shown, size: int, amount: str) -> None:
    """By hand: 9 * 1296 * size**2 for the convolutions, and 640 for fc."""
    text = shown("cifar-plain8", "--setting", "fashion", "--input", str(size))
    assert f"multiply-adds: {amount}" in text


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        *(("plain18", 0.05), ("residual18-A", 0.05), ("residual18-B", 0.05), ("plain34", 0.05)),
        # The paper truncates instead of rounding: 3.66 and 3.86 are printed as 3.6 and 3.8.
        *(("residual34-A", 0.1), ("residual34-B", 0.1), ("residual50-B-1x1", 0.1)),
        *(("residual101-B-1x1", 0.05), ("residual152-B-1x1", 0.05)),
    ],
)
def test_multiply_adds_are_those_of_table_1_within_its_rounding(name: str, tolerance: float) -> None:
    one = described(name)
    assert one.multiply_adds / 1e9 == pytest.approx(TABLE_1[one.architecture.depth], abs=tolerance)
    assert one.weighted_layers == one.architecture.depth
    assert list(one.output_sizes) == ["conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "average pool"]
    assert list(one.output_sizes.values()) == [112, 56, 28, 14, 7, 1]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_row_has_torchvisions_parameters_and_multiply_adds(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
    rows = {row.layer: row for row in described(f"residual{depth}-B").rows}
    modules = dict(theirs.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            row = rows[re.sub(r"downsample\.0$", "shortcut", name)]
            bn = re.sub(r"downsample\.0$", "downsample.1", name.replace("conv", "bn"))
            assert (row.parameters, row.bn_parameters) == (num_parameters(module), num_parameters(modules[bn]))
    assert sum(row.parameters + row.bn_parameters for row in rows.values()) == num_parameters(theirs)
    assert sum(row.multiply_adds for row in rows.values()) == multiply_adds(theirs, (3, 224, 224))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["plain18", "residual18-C", "cifar-residual8-A"])
def test_rows_add_up_to_what_the_network_has_in_every_setting(name: str, setting: str) -> None:
    one, chosen = described(name, setting), SETTINGS[setting]
    channels, classes, *_ = IMAGE_KINDS[chosen.data]
    network = build(one.architecture, chosen, channels=channels, num_classes=classes, seed=0)
    assert one.parameters == num_parameters(network)
    assert sum(row.parameters + row.bn_parameters for row in one.rows) == one.parameters
    assert one.multiply_adds == multiply_adds(network, (channels, chosen.image_size, chosen.image_size))


def test_the_default_is_each_familys_own_setting() -> None:
    assert (described("plain18").setting.name, described("cifar-plain8").setting.name) == ("imagenet", "cifar10")
    assert list(described("cifar-plain20").output_sizes.values()) == [32, 16, 8, 1]
    assert described("cifar-plain20").parameters == 269_722


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [None, 33])
def test_the_words_agree_with_the_measured_sizes(name: str, size: int | None) -> None:
    one = described(name, size=size)
    for row in one.rows:
        before, after = row.sizes
        if row.kernel:
            padded = before + 2 * row.padding
            start = f"{before} + 2*{row.padding} padded to {padded}" if row.padding else f"{before} not padded"
            assert after == (padded - row.kernel) // row.stride + 1
            assert start in row.words
            assert row.words.endswith(f"{row.kernel}x{row.kernel} at stride {row.stride} gives {after}")
        elif row.kind == "zeros":
            assert after == -(-before // row.stride)
            assert f"({before} gives {after}), {row.channels[1] - row.channels[0]} new channels" in row.words
        elif row.kind == "mean":
            assert f"all {before}x{before} positions gives 1" in row.words
        else:
            assert before == after


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_takes_what_the_one_before_gives(name: str) -> None:
    now = (IMAGE_KINDS["cifar10"][0], described(name).image_size)
    block = now
    for row in described(name).rows:
        if re.search(r"^layer\d+\.\d+\.conv1$", row.layer):
            block = now
        given = block if row.layer.endswith("shortcut") else now
        assert (row.channels[0], row.sizes[0]) == given
        if row.layer.endswith("shortcut"):  # the output of the shortcut must have the shape of F(x)
            assert (row.channels[1], row.sizes[1]) == now
        now = (row.channels[1], row.sizes[1])


def test_input_33_and_other_odd_sizes_are_rounded_up_at_every_stride() -> None:
    assert list(described("residual18-A", size=33).output_sizes.values()) == [17, 9, 5, 3, 2, 1]
    assert list(described("residual18-B", size=225).output_sizes.values()) == [113, 57, 29, 15, 8, 1]
    assert list(described("cifar-residual20-A", size=33).output_sizes.values()) == [33, 17, 9, 1]


def test_the_words_of_the_brief_stem_shortcut_and_pooling() -> None:
    words = {row.layer: row.words for row in described("residual18-A").rows}
    assert words["conv1"] == "224 + 2*3 padded to 230, 7x7 at stride 2 gives 112"
    assert words["layer2.0.shortcut"] == "option A: every 2nd pixel (56 gives 28), 64 new channels of zeros"
    assert words["layer2.1.shortcut"] == "identity: x itself"
    assert words["fc"] == "512 numbers to 1000 logits, each with a bias"
    bottleneck = {row.layer: row for row in described("residual50-A").rows}["layer1.0.shortcut"]
    assert bottleneck.words == "option A: every pixel (56 gives 56), 192 new channels of zeros"


def test_comparison_marks_exactly_the_shortcuts_of_plain_against_residual(shown: Shown) -> None:
    pairs = align(described("plain34").rows, described("residual34-B").rows)
    differing = [pair for pair in pairs if pair.differs]
    assert len(differing) == 16
    assert all(pair.first is None and pair.either.layer.endswith(".shortcut") for pair in differing)
    text = shown("plain34", "--compare", "residual34-B", columns=160)
    starred = [line.split() for line in text.splitlines() if line.startswith("* layer")]
    assert [line[1] for line in starred] == [pair.either.layer for pair in differing]
    assert "16 of 52 rows differ" in text
    headings = [line.split()[0] for line in text.splitlines() if re.match(r"  \w+: \d+x\d+ ", line)]
    assert headings == ["conv1:", "conv2_x:", "conv3_x:", "conv4_x:", "conv5_x:"]


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        ("residual34-A", "residual34-A", []),
        ("residual18-A", "residual18-B", ["layer2.0.shortcut", "layer3.0.shortcut", "layer4.0.shortcut"]),
        (
            "residual50-B",
            "residual50-C",
            [f"layer{s}.{i}.shortcut" for s, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for i in range(1, n)],
        ),
        ("residual50-B", "residual50-B-1x1", [f"layer{s}.0.conv{i}" for s in (2, 3, 4) for i in (1, 2)]),
        ("cifar-plain8", "cifar-plain14", [f"layer{s}.1.conv{i}" for s in (1, 2, 3) for i in (1, 2)]),
    ],
)
def test_comparison_marks_what_differs_and_nothing_else(first: str, second: str, differing: list[str]) -> None:
    one, other = described(first).rows, described(second).rows
    assert [pair.either.layer for pair in align(one, other) if pair.differs] == differing
    assert [pair.either.layer for pair in align(other, one) if pair.differs] == differing


@pytest.mark.parametrize("size", ["0", "-7"])
@pytest.mark.parametrize("name", ["residual152-B", "cifar-plain20"])
def test_an_input_too_small_is_refused_with_the_smallest(
    shown: Shown, capsys: pytest.CaptureFixture[str], name: str, size: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        shown(name, "--input", size)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: input {size} is too small for {name}: ")
    assert message.endswith("the smallest input that works is 1 px\n")


def test_the_smallest_input_of_a_changed_network_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Architecture.parse("cifar-plain8")

    def unpadded(*_: object, **__: object) -> nn.Module:
        built = network_of("cifar-plain8", channels=3, num_classes=10).to("meta")
        for module in built.modules():
            if isinstance(module, nn.Conv2d):
                module.padding = (0, 0)
        return built

    monkeypatch.setattr("plain_vs_residual.inspection.description.abstract", unpadded)
    smallest = smallest_input(unpadded().to("meta"), network, 3)
    # Working backwards from one pixel through the unpadded layers gives 1, 3, 7, 9, 19, 21, 23, 25.
    assert smallest == 25
    assert describe(network, None, smallest).rows[-2].sizes == (1, 1)
    with pytest.raises(ValueError, match=f"smallest input that works is {smallest} px"):
        describe(network, None, smallest - 1)


def test_a_network_that_never_works_is_not_blamed_on_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Architecture.parse("cifar-plain8")
    broken = network_of("cifar-plain8", channels=1, num_classes=10).to("meta")
    monkeypatch.setattr("plain_vs_residual.inspection.description.abstract", lambda *_, **__: broken)
    with pytest.raises(RuntimeError, match="channel"):
        describe(network)


def test_an_absurdly_large_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 16384 px"):
        described("plain18", size=10**9)


@pytest.mark.parametrize("name", ["residual34-B", "residual152-B", "cifar-residual110-A"])
def test_on_80_columns_every_layer_is_one_whole_line(shown: Shown, name: str) -> None:
    text = shown(name)
    lines = text.splitlines()
    assert "…" not in text
    assert max(map(len, lines)) <= 80
    for row in described(name).rows:
        [line] = [line for line in lines if line.startswith(f"{row.layer} ")]
        assert f"{row.sizes[0]} -> {row.sizes[1]}" in line
        assert f"{row.parameters:,}" in line
        assert f"\n{line.split()[-1]:>3}  {row.words}\n" in text


def test_on_wide_terminals_the_words_stand_beside_the_layer(shown: Shown) -> None:
    lines = shown("residual34-B", columns=200).splitlines()
    for row in described("residual34-B").rows:
        [line] = [line for line in lines if line.startswith(f"{row.layer} ")]
        assert line.rstrip().endswith(row.words)


def test_narrower_than_the_table_nothing_is_cut(shown: Shown) -> None:
    assert "…" not in shown("residual34-B", columns=40)
    assert "…" not in shown("plain34", "--compare", "cifar-residual20-A", columns=40)


def test_1202_layers_are_described(shown: Shown) -> None:
    text = shown("cifar-residual1202-A")
    assert "layer3.199.conv2" in text
    assert "weighted layers, projections not counted: 1202\n" in text
    assert "parameters: 19,421,274 (" in text


def test_a_small_map_is_pointed_out(shown: Shown) -> None:
    assert "From layer4.0.conv2 on maps are 1x1" in shown("residual18-B", "--input", "32", columns=200)
    assert "maps are 1x1" not in shown("residual18-B", columns=200)


def test_the_setting_decides_channels_classes_and_stem(shown: Shown) -> None:
    text = shown("plain18", "--setting", "digits")
    assert text.startswith("plain18: 16x16 px, 1 channel, 10 classes (setting digits)\n")
    assert "maxpool" not in text
    assert "Table 1: 1.8" not in text


def test_every_word_and_number_of_the_table_is_explained_below_it(shown: Shown) -> None:
    text = shown("residual18-B", columns=200)
    notes = [line.removeprefix("- ").partition(":")[0] for line in text.splitlines() if line.startswith("- ")]
    assert notes[:3] == [
        "3x3 /2 p1",
        "Size out = (size in + 2 * padding - kernel) / stride, rounded down, + 1.",
        "BN",
    ]
    assert [note.partition(",")[0] for note in notes[3:6]] == [
        *("ReLU", "Average pooling takes the mean over all positions", "Multiply-adds of a convolution")
    ]


def test_a_padding_that_is_no_number_of_pixels_is_not_described() -> None:
    architecture = Architecture.parse("residual18-B")
    network = abstract(architecture, SETTINGS["imagenet"], channels=3, num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 7, padding="same", device="meta")
    with pytest.raises(ValueError, match="'same' instead of a number of pixels cannot be described"):
        measure(network, architecture, (3, 64, 64))
