"""A run: one network, trained once, with one seed. What it is, and nothing of where or how it is computed."""

from dataclasses import dataclass

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.records.files import RunFolder, run_name
from plain_vs_residual.settings import Setting


@dataclass(frozen=True)
class Run:
    """What is to be trained.

    Attributes:
        architecture: which network.
        setting: with the changes of the run's study.
        seed: of initial weights, order and augmentation.
        study: name of the study; empty for the setting as it is.
        variant: sets the run apart where images, split or budget are not the setting's own.
        experiments: names of the experiments that need the run.
        leader: name of the run whose learning rates this one replays; empty if there is none.
        grown_from: the trained network that this one is grown from, and the name of its run.
    """

    architecture: Architecture
    setting: Setting
    seed: int
    study: str = ""
    variant: str = ""
    experiments: tuple[str, ...] = ()
    leader: str = ""
    grown_from: tuple[Architecture, str] | None = None

    @property
    def name(self) -> str:
        """Name of the folder of its records: unique among the runs of a setting."""
        return run_name(self.architecture.name, (self.study, self.variant), self.seed)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the runs that must be finished before this one can begin."""
        return tuple(name for name in (self.leader, self.grown_from[1] if self.grown_from else "") if name)


@dataclass(frozen=True)
class Job:
    """A run as it is handed to whoever trains it: with its arithmetic and the folder of its records."""

    run: Run
    arithmetic: Arithmetic
    folder: RunFolder

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name

    @property
    def needs(self) -> list[RunFolder]:
        """Folders of the runs that must be finished before this one can begin."""
        return [self.folder.beside(name) for name in self.run.needs]
