"""A network's name and what it means, such as ``plain34``, ``residual50-B`` or ``cifar-residual56-A``."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

Kind = Literal["plain", "residual"]
Family = Literal["imagenet", "cifar"]
Option = Literal["A", "B", "C"]  # what each of them is: make_shortcut in blocks.py
OPTIONS: tuple[Option, ...] = get_args(Option)

# He et al., Table 1; the depths of the second table are made of bottlenecks.
BASIC_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK_STAGES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_LETTERS = f"{', -'.join(OPTIONS[:-1])} or -{OPTIONS[-1]}"
ACCEPTED = (
    f"accepted are plainD and residualD-{_LETTERS} with D in 18, 34, 50, 101, 152 (with -1x1 at the end, the "
    "stride of a bottleneck is in its first 1x1), "
    f"and cifar-plainD and cifar-residualD-{_LETTERS} with D = 6n+2 (20, 32, 44, 56, 110, 1202)"
)


@dataclass(frozen=True)
class Architecture:
    """What a network's name says of it; its width and its images belong to the setting.

    Attributes:
        kind: plain or residual.
        depth: number of weighted layers (He et al., Table 1; 6n+2 in Sec. 4.2).
        option: shortcut option of a residual network, None for a plain one.
        family: the ImageNet family of Table 1 or the CIFAR family of Sec. 4.2.
        stride_in_1x1: for 50, 101 and 152 layers: the stride is in the first 1x1 of a bottleneck, as in the
            paper, instead of in its 3x3, as in torchvision.

    Raises:
        ValueError: if there is no such network.
    """

    kind: Kind
    depth: int
    option: Option | None
    family: Family
    stride_in_1x1: bool = False

    def __post_init__(self) -> None:
        if self.family == "imagenet" and self.depth not in BASIC_STAGES | BOTTLENECK_STAGES:
            raise ValueError(f"network '{self.name}': no depth {self.depth} in this family{_question(self.name)}")
        if self.family == "cifar" and (self.depth < 8 or self.depth % 6 != 2):
            raise ValueError(f"network '{self.name}': depth {self.depth} is not 6n+2{_question(self.name)}")
        if self.stride_in_1x1 and not self.bottleneck:
            raise ValueError(f"network '{self.name}': no bottlenecks at this depth, so no -1x1; {ACCEPTED}")
        if (self.option is None) != (self.kind == "plain"):
            raise ValueError(
                f"network '{self.name}': a residual network has a shortcut option, a plain one has none"
            )

    @property
    def bottleneck(self) -> bool:
        """Whether the blocks are bottlenecks (He et al., Table 1)."""
        return self.family == "imagenet" and self.depth in BOTTLENECK_STAGES

    @property
    def blocks_per_stage(self) -> tuple[int, ...]:
        """Number of blocks in each stage (He et al., Table 1 and Sec. 4.2).

        >>> Architecture.parse("plain34").blocks_per_stage
        (3, 4, 6, 3)
        >>> Architecture.parse("cifar-plain20").blocks_per_stage
        (3, 3, 3)
        """
        if self.family == "cifar":
            return ((self.depth - 2) // 6,) * 3
        return (BASIC_STAGES | BOTTLENECK_STAGES)[self.depth]

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters outside the shortcuts: plain and residual networks of one depth have the same.

        >>> Architecture.parse("cifar-plain20").parameter_names[:4]
        ('conv1.weight', 'bn1.weight', 'bn1.bias', 'layer1.0.conv1.weight')
        """
        layers = [""]
        for stage, num_blocks in enumerate(self.blocks_per_stage, start=1):
            layers += [f"layer{stage}.{block}." for block in range(num_blocks)]
        names = []
        for prefix in layers:
            for number in range(1, (3 if self.bottleneck else 2) + 1 if prefix else 2):
                names += [f"{prefix}conv{number}.weight", f"{prefix}bn{number}.weight", f"{prefix}bn{number}.bias"]
        return (*names, "fc.weight", "fc.bias")

    @property
    def name(self) -> str:
        """The name by which the command line and the records know the network, such as ``residual34-B``."""
        family = "cifar-" if self.family == "cifar" else ""
        option = f"-{self.option}" if self.option else ""
        return f"{family}{self.kind}{self.depth}{option}{'-1x1' if self.stride_in_1x1 else ''}"

    @property
    def label(self) -> str:
        """The paper's name, for figures and tables, such as ``plain-34`` or ``ResNet-34 B``."""
        label = f"plain-{self.depth}" if self.kind == "plain" else f"ResNet-{self.depth} {self.option}"
        return f"{label} (1x1 stride)" if self.stride_in_1x1 else label

    @classmethod
    def parse(cls, name: str) -> "Architecture":
        """Read a name; without an option, bottleneck networks have B and all others A (He et al., Table 3).

        >>> Architecture.parse("residual18").name, Architecture.parse("residual50").name
        ('residual18-A', 'residual50-B')
        >>> Architecture.parse("cifar-residual56-A").label
        'ResNet-56 A'

        Raises:
            ValueError: if no network has that name.
        """
        options = "|".join(OPTIONS)
        match = re.fullmatch(rf"(cifar-)?(plain|residual)([1-9][0-9]{{0,3}})(?:-({options}))?(-1x1)?", name)
        if not match:
            raise ValueError(f"unknown network '{name}'{_question(name)}")
        cifar, kind, depth, option, stride_in_1x1 = match.groups()
        if kind == "plain" and option:
            raise ValueError(f"network '{name}': a plain network has no shortcuts, so no option {option}")
        if kind == "residual":
            option = option or ("B" if not cifar and int(depth) in BOTTLENECK_STAGES else "A")
        return cls(kind, int(depth), option, "cifar" if cifar else "imagenet", bool(stride_in_1x1))  # type: ignore[arg-type]


def _question(name: str) -> str:
    """Say what follows a wrong name in a message: which networks may have been meant, and what is accepted.

    >>> _question("resnet34")
    ' (did you mean residual34-A or residual34-B?); accepted are the names that the command list explains'
    """
    meant = " or ".join(networks_near(name))
    if not meant:
        return f"; {ACCEPTED}"
    return f" (did you mean {meant}?); accepted are the names that the command list explains"


def networks_near(name: str) -> list[str]:
    """Name the networks whose kind and depth a wrong name seems to mean; without an option, the usual ones.

    >>> networks_near("ResNet-56"), networks_near("plain-34"), networks_near("plain20"), networks_near("vgg16")
    (['cifar-residual56-A'], ['plain34'], ['cifar-plain20'], [])
    """
    parts = re.fullmatch(
        r"(cifar(?:10)?)?[-_ ]?([a-z]+)[-_ ]?([1-9][0-9]{0,3})[-_ ]?([abc])?", name.strip().lower()
    )
    cifar, word, digits, option = parts.groups() if parts else ("", "", "", "")
    kinds = get_close_matches(word, ("plain", "residual", "resnet"), n=1)
    if not kinds:
        return []
    depth = int(digits)
    imagenet = depth in BASIC_STAGES | BOTTLENECK_STAGES
    if depth % 6 == 2 and depth > 8 and (cifar or not imagenet):
        family, usual = "cifar-", "A"
    elif imagenet:
        family, usual = "", "B" if depth in BOTTLENECK_STAGES else "AB"
    else:
        return []
    if kinds == ["plain"]:
        return [f"{family}plain{depth}"]
    return [f"{family}residual{depth}-{one}" for one in (option or usual).upper()]
