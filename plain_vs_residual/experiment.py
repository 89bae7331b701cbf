"""What a file in experiments/ declares: networks, claims, and the experiment that holds them."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

Kind = Literal["plain", "residual"]
Family = Literal["imagenet", "cifar"]
Option = Literal["A", "B", "C"]

BASIC_DEPTHS, BOTTLENECK_DEPTHS = (18, 34), (50, 101, 152)
FAMILY_HINT = (
    "accepted are plainD and residualD-A, -B or -C with D in 18, 34, 50, 101, 152 (-1x1 behind it puts the "
    "stride of a bottleneck into its first 1x1), "
    "and cifar-plainD and cifar-residualD-A, -B or -C with D = 6n+2 (20, 32, 44, 56, 110, 1202)"
)


@dataclass(frozen=True)
class Network:
    """One network by its identity alone; how wide it is and on what it is trained belong to the setting.

    Attributes:
        kind: plain or residual.
        depth: number of weighted layers (He et al., Table 1; 6n+2 in Sec. 4.2).
        option: shortcut option of a residual network, None for a plain one.
        family: the ImageNet family of Table 1 or the CIFAR family of Sec. 4.2.
        stride_in_1x1: for 50, 101 and 152 layers: stride in the first 1x1 of a bottleneck, as in the paper,
            instead of in its 3x3, as in torchvision.
    """

    kind: Kind
    depth: int
    option: Option | None
    family: Family
    stride_in_1x1: bool = False

    def __post_init__(self) -> None:
        if self.family == "imagenet" and self.depth not in BASIC_DEPTHS + BOTTLENECK_DEPTHS:
            raise ValueError(f"network '{self.name}': no depth {self.depth} in this family; {FAMILY_HINT}")
        if self.family == "cifar" and (self.depth < 8 or self.depth % 6 != 2):
            raise ValueError(f"network '{self.name}': depth {self.depth} is not 6n+2; {FAMILY_HINT}")
        if self.stride_in_1x1 and not self.bottleneck:
            raise ValueError(f"network '{self.name}': no bottlenecks at this depth, so no -1x1; {FAMILY_HINT}")
        if (self.option is None) != (self.kind == "plain"):
            raise ValueError(f"network '{self.name}': a residual network has a shortcut option, a plain one none")

    @property
    def bottleneck(self) -> bool:
        """Whether the blocks are bottlenecks (He et al., Table 1)."""
        return self.family == "imagenet" and self.depth in BOTTLENECK_DEPTHS

    @property
    def name(self) -> str:
        """The name by which the command line and the records know the network, such as ``residual34-B``."""
        family = "cifar-" if self.family == "cifar" else ""
        option = f"-{self.option}" if self.option else ""
        return f"{family}{self.kind}{self.depth}{option}{'-1x1' if self.stride_in_1x1 else ''}"

    @property
    def label(self) -> str:
        """The paper's name for figures, such as ``plain-34`` or ``ResNet-34 B``."""
        label = f"plain-{self.depth}" if self.kind == "plain" else f"ResNet-{self.depth} {self.option}"
        return f"{label} (1x1 stride)" if self.stride_in_1x1 else label

    @classmethod
    def parse(cls, name: str) -> "Network":
        """Reads a name; without an option, 18 and 34 layers and the CIFAR family mean A, deeper ones B (Table 3).

        Raises:
            ValueError: if no network has that name.
        """
        match = re.fullmatch(r"(cifar-)?(plain|residual)([1-9][0-9]{0,3})(?:-([ABC]))?(-1x1)?", name)
        if not match:
            raise ValueError(f"unknown network '{name}'; {FAMILY_HINT}")
        cifar, kind, depth, option, stride_in_1x1 = match.groups()
        if kind == "plain" and option:
            raise ValueError(f"network '{name}': a plain network has no shortcuts, so no option {option}")
        if kind == "residual":
            option = option or ("B" if not cifar and int(depth) in BOTTLENECK_DEPTHS else "A")
        return cls(kind, int(depth), option, "cifar" if cifar else "imagenet", bool(stride_in_1x1))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as one number per seed, written down before the runs.

    The number is a sum over networks of weight times ``column`` at the last iteration. The claim holds if
    that number is above ``above`` or below ``below``; exactly one of the two is given.

    Attributes:
        statement: the sentence, as the report prints it.
        contrast: weight of each network by name; ``network@study`` where the experiment has several studies.
        column: a column of the final record, such as ``training_error`` (percent).
        above: margin the number must exceed, in the column's unit.
        below: margin the number must stay under, in the column's unit.
        primary: whether this is the experiment's one primary claim (Holm-corrected within a setting).
        undecidable: reason by setting, where a setting cannot decide the claim.
    """

    statement: str
    contrast: Mapping[str, float]
    column: str = "training_error"
    above: float | None = None
    below: float | None = None
    primary: bool = False
    undecidable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"claim '{self.statement}': give exactly one of above and below")
        names = {_canonical(name): weight for name, weight in self.contrast.items()}
        object.__setattr__(self, "contrast", MappingProxyType(names))

    @property
    def margin(self) -> float:
        """The value that separates a claim that holds from one that does not."""
        return self.above if self.above is not None else self.below  # type: ignore[return-value]


def _canonical(name: str) -> str:
    network, at, study = name.partition("@")
    return f"{Network.parse(network).name}{at}{study}"


@dataclass(frozen=True)
class Study:
    """The same setting with some fields changed, under a name that sets its runs apart.

    Attributes:
        name: part of the runs' names; empty for the setting as it is.
        changes: fields of the setting and their values.
        reason: why, as the report prints it.
        leader: the network whose learning rates the others replay, where the schedule watches its own run.
    """

    name: str = ""
    changes: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    leader: str = ""


@dataclass(frozen=True)
class Experiment:
    """What is compared, on which settings, how it is drawn and what is claimed.

    Attributes:
        title: heading in the report.
        paper: figure or table of He et al. that it repeats.
        figures: names of the functions in ``figures.py`` that draw it.
        networks: names by setting; a setting that is absent does not run this experiment.
        claims: the first primary one is the headline.
        studies: changed settings, by setting name; each network is trained in every one of them.
        on_request: settings in which the experiment is trained only when it is named.
        paper_errors: the paper's own top-1 or test error by network (percent), with its data set.
        paper_data: the data set of ``paper_errors``, shown beside ours only where it is the same.
        published_classes: precision and recall by class that a publication gives, shown beside ours.
        name: name of the file, filled in by :func:`load_experiments`.
        notebook: docstring of the file, likewise.
    """

    title: str
    paper: str
    figures: tuple[str, ...]
    networks: Mapping[str, tuple[str, ...]]
    claims: tuple[Claim, ...]
    studies: Mapping[str, tuple[Study, ...]] = field(default_factory=dict)
    on_request: tuple[str, ...] = ()
    paper_errors: Mapping[str, float] = field(default_factory=dict)
    paper_data: str = ""
    published_classes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    name: str = ""
    notebook: str = ""

    def __post_init__(self) -> None:
        names = {
            setting: tuple(Network.parse(name).name for name in networks)
            for setting, networks in self.networks.items()
        }
        object.__setattr__(self, "networks", MappingProxyType(names))
        if sum(claim.primary for claim in self.claims) > 1:
            raise ValueError(f"experiment '{self.title}': one primary claim at the most")

    def studies_in(self, setting: str) -> tuple[Study, ...]:
        """The studies of a setting; the setting as it is where none is declared."""
        return self.studies.get(setting, (Study(),))

    def runs_in(self, setting: str) -> list[tuple[str, Study]]:
        """Every network with every study that the experiment needs in a setting, leaders first."""
        names = self.networks.get(setting, ())
        return [
            (name, study)
            for study in self.studies_in(setting)
            for name in sorted(names, key=lambda name: name != study.leader)
        ]

    def member(self, key: str, setting: str) -> tuple[str, str]:
        """Network and study that a key of a contrast stands for."""
        network, at, study = key.partition("@")
        return network, study if at else self.studies_in(setting)[0].name

    def claims_in(self, setting: str) -> tuple[Claim, ...]:
        """The claims whose runs this setting has."""
        runs = {(name, study.name) for name, study in self.runs_in(setting)}
        return tuple(
            claim for claim in self.claims if all(self.member(key, setting) in runs for key in claim.contrast)
        )


def load_experiments(folder: Path = EXPERIMENTS) -> dict[str, Experiment]:
    """Every experiment by file name, in the order of the file names.

    Raises:
        ValueError: if a file does not declare an ``EXPERIMENT``, or declares a wrong one.
    """
    experiments: dict[str, Experiment] = {}
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"experiments.{path.stem}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{path}: {error}") from error
        experiment = getattr(module, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            raise ValueError(f"{path}: declares no EXPERIMENT = Experiment(...)")
        object.__setattr__(experiment, "name", path.stem)
        object.__setattr__(experiment, "notebook", (module.__doc__ or "").strip())
        experiments[path.stem] = experiment
    if not experiments:
        raise ValueError(f"{folder}: no experiment files (*.py) there")
    return experiments
