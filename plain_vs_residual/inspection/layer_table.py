"""Prints what a network does layer by layer: one as a table, or two side by side."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from operator import attrgetter
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from plain_vs_residual.inspection.description import Description, Row
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.settings import Setting

Lines = Iterator[tuple[str, ...]]

HEADINGS = (
    *("layer", "kernel\n/stride\np(adding)", "size", "channels"),
    *("para-\nmeters", "+ BN", "mult.-\nadds, M", "how"),
)
BN, RELU = 2, 3  # which of the notes do not hold of a folded network, and what does
FOLDED = "No BN: every convolution has a bias for each channel instead, and ReLU, not listed, follows it."
TABLE_1 = {18: 1.8, 34: 3.6, 50: 3.8, 101: 7.6, 152: 11.3}  # multiply-adds as printed, x 10^9
NOTES = (
    "3x3 /2 p1: a 3x3 kernel at stride 2, with 1 pixel of padding on every side.",
    "Size out = (size in + 2 * padding - kernel) / stride, rounded down, + 1.",
    "BN: a scale and a shift for every channel. No convolution has a bias: the BN behind it subtracts the "
    "channel's mean, any bias with it, and brings a shift of its own. fc has no BN behind it, so it has a bias.",
    "ReLU, not listed, follows every BN but those whose outputs are added; there it follows the addition.",
    "Average pooling takes the mean over all positions, however many there are: fc always gets as many numbers "
    "as there are channels, so one network accepts any input size.",
    "Multiply-adds of a convolution, for one image: kernel * kernel * channels in * channels out * positions "
    "out. BN, ReLU, pooling and addition do not count, as in Table 1.",
)


@dataclass(frozen=True)
class Pair:
    """One layer in two networks; None where a network has none of that name."""

    first: Row | None
    second: Row | None

    @property
    def either(self) -> Row:
        """The row of the first network, or else of the second."""
        row = self.first or self.second
        assert row
        return row

    @property
    def differs(self) -> bool:
        """Whether the layers differ in more than the name of the stage or of the option."""
        first, second = (row and replace(row, stage="", words="") for row in (self.first, self.second))
        return first != second


def align(first: Sequence[Row], second: Sequence[Row]) -> list[Pair]:
    """Put the rows of two networks side by side, by the name of the layer."""
    one, other = ([row.layer for row in rows] for rows in (first, second))
    pairs: list[Pair] = []
    for tag, a, b, c, d in SequenceMatcher(a=one, b=other, autojunk=False).get_opcodes():
        if tag == "equal":
            pairs += [Pair(*rows) for rows in zip(first[a:b], second[c:d], strict=True)]
        else:
            pairs += [Pair(row, None) for row in first[a:b]] + [Pair(None, row) for row in second[c:d]]
    return pairs


def print_description(console: Console, described: Description) -> None:
    """Print table, totals and notes; the arithmetic beside each layer if there is room, else below by number."""
    words = dict.fromkeys(row.words for row in described.rows)
    numbers = {one: f"{number:>3}" for number, one in enumerate(words, start=1)}
    console.print(_title(described), style="bold")
    wide, narrow = (_layers(described, how) for how in ({one: one for one in words}, numbers))
    if not _print_table(console, wide, narrow, right=range(4, 7)):
        console.print("\nHow the sizes come about", *(f"{n}  {one}" for one, n in numbers.items()), sep="\n")
    notes = [*NOTES[:BN], FOLDED, *NOTES[RELU + 1 :]] if described.folded else list(NOTES)
    if alone := [row.layer for row in described.rows if row.kernel > 1 and row.sizes[0] == 1]:
        notes.append(
            f"From {alone[0]} on maps are 1x1: only the centre of a kernel meets the image, the rest padding."
        )
    notes.append(_training(described.setting))
    console.print("", *_totals(described), "", *(f"- {note}" for note in notes), sep="\n")


def _layers(described: Description, how: Mapping[str, str]) -> Lines:
    """Yield headings, then stage by stage a line per layer; its arithmetic in the words that stand for it."""
    yield HEADINGS
    for stage, rows in groupby(described.rows, key=attrgetter("stage")):
        yield (_heading(described, stage),)
        for row in rows:
            yield (
                row.layer,
                row.geometry,
                _arrow(row.sizes),
                _arrow(row.channels),
                f"{row.parameters:,}",
                f"{row.bn_parameters:,}" if row.bn_parameters else "",
                f"{row.multiply_adds / 1e6:,.3f}" if row.multiply_adds else "0",
                how[row.words],
            )


def print_comparison(console: Console, first: Description, second: Description) -> None:
    """Print two networks side by side, a star where they differ, and in words what the differing layers do."""
    pairs = align(first.rows, second.rows)
    console.print(_title(first), _title(second), sep="\n", style="bold")
    _print_table(console, _side_by_side(first, second, pairs, " "), _side_by_side(first, second, pairs, "\n"))
    marked = [pair for pair in pairs if pair.differs]
    console.print(
        "\nkernel /stride p(adding), channels, size in -> out, parameters with those of BN",
        f"* {len(marked)} of {len(pairs)} rows differ",
        sep="\n",
    )
    for described, rows in ((first, [pair.first for pair in marked]), (second, [pair.second for pair in marked])):
        words = Counter(row.words if row else "no such layer" for row in rows)
        differing = (f"* {count} x {one}" for one, count in words.items())
        folded = ", folded" if described.folded else ""
        console.print(f"\n{described.architecture.name}{folded}", *differing, *_totals(described), sep="\n  ")


def _side_by_side(first: Description, second: Description, pairs: Sequence[Pair], gap: str) -> Lines:
    """Yield headings, then stage by stage a line per layer; ``gap`` stands between the two halves of a cell."""
    yield "", "layer", first.architecture.name, " ", second.architecture.name
    for stage, members in groupby(pairs, key=attrgetter("either.stage")):
        for number, pair in enumerate(members):
            if number == 0:
                yield "", _heading(first if pair.first else second, stage)
            one, other = (_cell(row, gap) for row in (pair.first, pair.second))
            yield "*" if pair.differs else "", pair.either.layer, one, "", other


def _print_table(console: Console, wide: Lines, narrow: Lines, right: Container[int] = ()) -> bool:
    """Print the wide table if the console has room for it, else the narrow one, which nothing shortens.

    The first line holds the headings; a line with fewer cells than that is the heading of a stage.

    Returns:
        Whether it was the wide one.
    """
    lines = list(wide)
    fits = _width(_widths(lines)) <= console.width
    headings, *rows = lines if fits else list(narrow)
    widths = _widths([headings, *rows])
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for index, heading in enumerate(headings):
        justify: Literal["left", "right"] = "right" if index in right else "left"
        table.add_column(heading, justify=justify, width=widths[index], no_wrap=True)
    for row in rows:
        style = "bold" if len(row) < len(headings) else "yellow" if row[0] == "*" else ""
        table.add_row(*row, style=style)
    before = console.width
    console.width = max(_width(widths), before)  # print() itself would narrow the table and cut its cells
    console.print(table)
    console.width = before
    return fits


def _widths(lines: Iterable[tuple[str, ...]]) -> list[int]:
    """Return the width of each column; measured here, because rich takes seconds to fit 1202 layers."""
    columns = zip_longest(*lines, fillvalue="")
    return [max(len(part) for cell in column for part in cell.split("\n")) for column in columns]


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + len(widths) - 1


def _cell(row: Row | None, gap: str) -> str:
    if not row:
        return "-"
    parameters = row.parameters + row.bn_parameters
    return f"{row.geometry:<9} {_arrow(row.channels):<12}{gap}{_arrow(row.sizes):<12} {parameters:>9,}"


def _heading(described: Description, stage: str) -> str:
    size = described.output_sizes[stage]
    return f"{stage}: {size}x{size}"


def _arrow(numbers: tuple[int, int]) -> str:
    return " -> ".join(map(str, numbers))


def _title(described: Description) -> str:
    setting, size = described.setting, described.image_size
    kind = IMAGE_KINDS[setting.data]
    channels = f"{kind.channels} channel{'s' if kind.channels > 1 else ''}"
    images = f"{size}x{size} px, {channels}, {kind.num_classes} classes"
    folded = ", folded (biases in the place of BN)" if described.folded else ""
    return f"{described.architecture.name}{folded}: {images} (setting {setting.name})"


def _training(setting: Setting) -> str:
    """Say by what optimizer, and at which rate, the setting trains."""
    momentum = "" if setting.optimizer == "adamw" else f", momentum {setting.momentum:g}"
    rates = f"learning rate {setting.learning_rate:g}{momentum}, weight decay {setting.weight_decay:g}"
    return f"Setting {setting.name} trains it by {setting.optimizer}: {rates}."


def _totals(described: Description) -> list[str]:
    cost = described.multiply_adds
    amount = f"{cost / 1e9:,.2f} G" if cost >= 1e8 else f"{cost / 1e6:,.2f} M"
    bn = sum(row.bn_parameters for row in described.rows)
    return [
        f"output sizes: {', '.join(map(str, described.output_sizes.values()))}",
        f"weighted layers, projections not counted: {described.weighted_layers}",
        f"parameters: {described.parameters:,} ({bn:,} of them of BN)",
        f"multiply-adds: {amount} ({cost:,}){_as_printed(described)}",
    ]


def _as_printed(described: Description) -> str:
    """Say what Table 1 prints of a network's multiply-adds, if it is in the table."""
    architecture = described.architecture
    as_in_the_paper = described.setting.data == "imagenet" and described.image_size == 224
    in_its_option = not architecture.bottleneck or architecture.option == "B"
    if not (as_in_the_paper and architecture.family == "imagenet" and in_its_option):
        return ""
    printed = f"; He et al., Table 1: {TABLE_1[architecture.depth]} G"
    if architecture.bottleneck and not architecture.stride_in_1x1:
        printed += f" (stride in the first 1x1: {architecture.name}-1x1)"
    return printed
