"""What a file in experiments/ declares: networks, claims, and the experiment that holds them."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.notebook import Notebook, read_notebook
from plain_vs_residual.settings import SETTINGS

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
Column = Literal["responses", "costs", "classes"]
Margin = float | Mapping[str, float]
# The smallest difference between errors that is worth teaching, in points, by setting.
MARGINS = MappingProxyType({name: setting.margin for name, setting in SETTINGS.items()})
# The first is what decides: it has no floor at 0 on small data, and it is what the paper's training curves show.
COLUMN_WORDS = {
    "running_training_error": "training error",
    "training_error": "clean training error",
    "validation_error": "validation error",
}
ERRORS = tuple(COLUMN_WORDS)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as one number per seed, written down before the runs.

    The number is a sum over networks of weight times ``column`` in the final record. The claim holds if that
    number is above ``above`` or below ``below``; exactly one of the two is given.

    Attributes:
        statement: the sentence, as the report prints it.
        contrast: weight of each network by name; ``network@study`` where the experiment has several studies.
        column: a column of the final record, such as ``validation_error`` (percent).
        above: margin the number must exceed, in the column's unit; or a margin by setting, such as MARGINS.
        below: margin the number must stay under, likewise.
        primary: whether this is the experiment's one primary claim.
        undecidable: reason by setting, where a setting cannot decide the claim.
        settings: the ones that it is about; all of the experiment's if empty.
    """

    statement: str
    contrast: Mapping[str, float]
    column: str = "running_training_error"
    above: Margin | None = None
    below: Margin | None = None
    primary: bool = False
    undecidable: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"claim '{self.statement}': give exactly one of above and below")
        names = {_canonical(name): weight for name, weight in self.contrast.items()}
        object.__setattr__(self, "contrast", MappingProxyType(names))

    @property
    def wants_more(self) -> bool:
        """Whether the claim holds above its margin, rather than below."""
        return self.above is not None

    def margin_in(self, setting: str) -> float:
        """Return the value that separates a claim that holds from one that does not."""
        margin = self.above if self.above is not None else self.below
        assert margin is not None
        return margin if isinstance(margin, int | float) else margin[setting]


def _canonical(name: str) -> str:
    network, at, study = name.partition("@")
    return f"{Architecture.parse(network).name}{at}{study}"


@dataclass(frozen=True)
class Study:
    """The same setting with some fields changed, under a name that sets its runs apart.

    Attributes:
        name: part of the runs' names; empty for the setting as it is.
        changes: fields of the setting and their values.
        reason: why, as the report prints it.
        leader: the network whose learning rates the others replay, where the schedule watches its own run.
        networks: the ones it is about; all of the experiment's if empty.
        sources: for networks that are grown, before training, from a trained one of equal seed: its name. Its run
            is the one of the setting as it is.
    """

    name: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    leader: str = ""
    networks: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", tuple(map(_canonical, self.networks)))
        sources = {_canonical(network): _canonical(source) for network, source in self.sources.items()}
        object.__setattr__(self, "sources", MappingProxyType(sources))

    def leads(self, network: str) -> bool:
        """Say whether a network is the leader."""
        return bool(self.leader) and Architecture.parse(self.leader) == Architecture.parse(network)


@dataclass(frozen=True)
class Experiment:
    """What is compared, on which settings, how it is drawn and what is claimed.

    Attributes:
        title: heading in the report.
        paper: figure or table of He et al. that it repeats.
        figures: names of the functions in ``report/figures`` that draw it, the first one for its page's top.
        networks: names by setting; a setting that is absent does not run this experiment.
        claims: the first primary one is the headline.
        studies: changed settings, by setting name; each network is trained in every one of them.
        table: what its table shows beside the errors: ``responses`` (layer responses and F(x) over x), ``costs``
            (parameters, multiply-adds, speed), ``classes`` (precision and recall of each class).
        on_request: settings in which the experiment is trained only when it is named.
        seminar: whether it asks why, rather than repeats the paper: trained only when it is named, or all of its
            kind together by the word ``seminar``.
        measurement: what is measured on its finished runs: a module of ``plain_vs_residual/seminar``. The numbers
            that it sums up are columns for claims.
        code: the lines that matter, shown on the page: module and name, as ``blocks.py:ResidualBlock``.
        paper_errors: the paper's own top-1 or test error by network (percent), with its data set.
        paper_data: the data set of ``paper_errors``, shown beside ours only where it is the same.
        published_classes: precision and recall by class that a publication gives, shown beside ours.
        name: name of the file, filled in by :func:`load_experiments`.
        notebook: what the docstring of the file says, likewise.
    """

    title: str
    paper: str
    figures: tuple[str, ...]
    networks: Mapping[str, tuple[str, ...]]
    claims: tuple[Claim, ...]
    studies: Mapping[str, tuple[Study, ...]] = field(default_factory=dict)
    table: tuple[Column, ...] = ()
    on_request: tuple[str, ...] = ()
    seminar: bool = False
    measurement: str = ""
    code: tuple[str, ...] = ()
    paper_errors: Mapping[str, float] = field(default_factory=dict)
    paper_data: str = ""
    published_classes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    name: str = ""
    notebook: Notebook = field(default_factory=Notebook)

    def __post_init__(self) -> None:
        names = {
            setting: tuple(Architecture.parse(name).name for name in networks)
            for setting, networks in self.networks.items()
        }
        object.__setattr__(self, "networks", MappingProxyType(names))
        if any(sum(claim.primary for claim in self.claims_in(setting)) > 1 for setting in names):
            raise ValueError(f"experiment '{self.title}': one primary claim per setting at the most")

    def waits_to_be_named(self, setting: str) -> bool:
        """Say whether a setting trains the experiment only when it is named."""
        return self.seminar or setting in self.on_request

    def studies_in(self, setting: str) -> tuple[Study, ...]:
        """Return the studies of a setting: the setting as it is where none is declared."""
        return self.studies.get(setting, (Study(),))

    def runs_in(self, setting: str) -> list[tuple[str, Study]]:
        """List every network with every study that the experiment needs in a setting, leaders first."""
        names = self.networks.get(setting, ())
        return [
            (name, study)
            for study in self.studies_in(setting)
            for name in sorted(names, key=lambda name: not study.leads(name))
            if name in (study.networks or names)
        ]

    def member(self, key: str, setting: str) -> tuple[str, str]:
        """Return the network and study that a key of a contrast stands for."""
        network, at, study = key.partition("@")
        return network, study if at else self.studies_in(setting)[0].name

    def claims_in(self, setting: str) -> tuple[Claim, ...]:
        """Return the claims whose runs this setting has."""
        runs = {(name, study.name) for name, study in self.runs_in(setting)}
        return tuple(
            claim
            for claim in self.claims
            if setting in (claim.settings or (setting,))
            and all(self.member(key, setting) in runs for key in claim.contrast)
        )


def load_experiments(folder: Path = EXPERIMENTS) -> dict[str, Experiment]:
    """Load every experiment, by file name, in the order of the file names, those of the seminar last.

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
            notebook = read_notebook(module.__doc__ or "")
        except (Exception, SystemExit) as error:
            raise ValueError(f"{path}: {error}") from error
        experiment = getattr(module, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            raise ValueError(f"{path}: declares no EXPERIMENT = Experiment(...)")
        object.__setattr__(experiment, "name", path.stem)
        object.__setattr__(experiment, "notebook", notebook)
        experiments[path.stem] = experiment
    if not experiments:
        raise ValueError(f"{folder}: no experiment files (*.py) there")
    return dict(sorted(experiments.items(), key=lambda item: item[1].seminar))
