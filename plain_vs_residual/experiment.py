"""What a file in experiments/ declares: an experiment of networks, studies and claims; and how it is loaded."""

import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.claim import COLUMN_WORDS, ERRORS, MARGINS, Claim, canonical
from plain_vs_residual.launcher import INSTALLED
from plain_vs_residual.notebook import Notebook, read_notebook
from plain_vs_residual.prediction import Prediction
from plain_vs_residual.settings import SETTINGS
from plain_vs_residual.study import Study
from plain_vs_residual.vocabulary import check_code, check_names, columns, figures, measurements

__all__ = [
    "COLUMN_WORDS",
    "ERRORS",
    "MARGINS",
    "SEMINAR",
    "Claim",
    "Experiment",
    "Prediction",
    "Study",
    "load_experiment",
    "load_experiments",
]

EXPERIMENTS = (Path(__file__).parent if INSTALLED else Path(__file__).parent.parent) / "experiments"
Column = Literal["responses", "costs", "classes"]
AS_IT_IS = (Study(),)
# What the command line takes for something else than the file of an experiment.
SEMINAR = "seminar"
KEYWORDS = (
    *(SEMINAR, "list", "train", "runs", "plot", "report", "verify", "compare", "power", "doctor"),
    *("describe", "evaluate", "responses", "inspect", "export", "benchmark"),
)


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
        prediction: what a room is asked before it sees the figure, with four answers.
        name: name of the file, filled in by :func:`load_experiments`.
        notebook: what the docstring of the file says, likewise.
        left_out: names of the files beside it that declare no right experiment, likewise. Nobody can read their
            claims; each counts as one primary claim where the level of an interval depends on their number.
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
    prediction: Prediction | None = None
    name: str = ""
    notebook: Notebook = field(default_factory=Notebook)
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        several = {name: getattr(self, name) for name in ("figures", "claims", "table", "on_request", "code")}
        for name, value in (*several.items(), *self.networks.items(), *self.studies.items()):
            if not isinstance(value, tuple | list):
                raise ValueError(f"{name}: ({value!r},) is needed, with a comma, not ({value!r})")
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
        return self.studies.get(setting) or AS_IT_IS

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
        return tuple(claim for claim in self.claims if self._judges(claim, setting))

    def _judges(self, claim: Claim, setting: str) -> bool:
        return setting in (claim.settings or (setting,)) and not self._lacks(claim, setting)

    def _lacks(self, claim: Claim, setting: str) -> list[str]:
        """List what a claim compares and the setting does not train."""
        runs = {(name, study.name) for name, study in self.runs_in(setting)}
        return [key for key in claim.contrast if self.member(key, setting) not in runs]

    def check(self) -> None:
        """Refuse what would otherwise be found after training, or never.

        Raises:
            ValueError: if something that is named does not exist, or a claim can be judged in no setting.
        """
        check_names("figure", self.figures, figures())
        check_names("column of a table", self.table, get_args(Column))
        check_names("measurement", filter(None, [self.measurement]), measurements())
        for reference in self.code:
            check_code(reference)
        for name in self.paper_errors:
            Architecture.parse(name)
        check_names("setting", (*self.networks, *self.studies, *self.on_request), SETTINGS)
        if not self.networks or not all(self.networks.values()):
            raise ValueError("networks: at least one setting is needed, and networks in each")
        for setting in self.networks:
            self._check_studies(setting)
        for claim in self.claims:
            try:
                self._check_claim(claim)
            except ValueError as error:
                raise ValueError(f"claim '{claim.statement}': {error}") from error
        if self.prediction:
            check_names("claim", [self.prediction.claim], [claim.statement for claim in self.claims])

    def _check_studies(self, setting: str) -> None:
        networks, studies = self.networks[setting], self.studies_in(setting)
        if len({study.name for study in studies}) < len(studies):
            raise ValueError(f"studies of {setting}: each needs a name of its own")
        for study in studies:
            if not re.fullmatch(r"[\w.+-]*", study.name):
                raise ValueError(f"study '{study.name}': accepted are letters, digits, and . _ + - in a name")
            SETTINGS[setting].with_changes(study.changes)
            check_names(f"network of {setting}", study.networks, networks)
            check_names(f"network of study '{study.name}'", study.grown_from, study.networks or networks)
            leader = [canonical(study.leader)] if study.leader else []
            check_names(f"network of study '{study.name}'", leader, study.networks or networks)

    def _check_claim(self, claim: Claim) -> None:
        check_names("column", [claim.column], columns(self.measurement))
        margins = claim.margin if isinstance(claim.margin, Mapping) else ()
        check_names("setting", (*claim.undecidable, *margins), SETTINGS)
        check_names("setting of the experiment", claim.settings, self.networks)
        judging = [setting for setting in self.networks if self._judges(claim, setting)]
        if not judging or not set(claim.settings) <= set(judging):
            for setting in claim.settings or self.networks:
                runs = [f"{name}@{study.name}" if study.name else name for name, study in self.runs_in(setting)]
                check_names(f"run of {setting}", self._lacks(claim, setting), runs)
        for setting in judging:
            claim.margin_in(setting)


def load_experiments(folder: Path = EXPERIMENTS) -> dict[str, Experiment]:
    """Load every experiment, by file name, in the order of the file names, those of the seminar last.

    A file that declares none, or a wrong one, is named on standard error and left out; the others keep its name.

    Raises:
        ValueError: if none is left.
    """
    experiments: dict[str, Experiment] = {}
    faults: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        try:
            experiments[path.stem] = load_experiment(path)
        except ValueError as error:
            faults[path.name] = str(error)
    if not experiments:
        raise ValueError(next(iter(faults.values()), f"{folder}: no experiment files (*.py) there"))
    for fault in faults.values():
        _say_once(f"note: {fault}; this file is left out")
    for experiment in experiments.values():
        object.__setattr__(experiment, "left_out", tuple(faults))
    return dict(sorted(experiments.items(), key=lambda item: item[1].seminar))


def load_experiment(path: Path) -> Experiment:
    """Load one experiment and check what it declares.

    Raises:
        ValueError: if the file does not declare an ``EXPERIMENT``, or declares a wrong one; names the file.
    """
    spec = importlib.util.spec_from_file_location(f"experiments.{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        if path.stem in KEYWORDS:
            raise ValueError("its name is a word of the command line; give it another one")
        spec.loader.exec_module(module)
        notebook = read_notebook(module.__doc__ or "")
        experiment = getattr(module, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            raise ValueError("declares no EXPERIMENT = Experiment(...)")
        experiment.check()
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ValueError | SyntaxError | ImportError) else f"{type(error).__name__}: "
        raise ValueError(f"{path}: {kind}{' '.join(str(error).split())}") from error
    object.__setattr__(experiment, "name", path.stem)
    object.__setattr__(experiment, "notebook", notebook)
    return experiment


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
