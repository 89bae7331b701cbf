"""Which runs experiments need: a list of names, made without torch, images, devices or folders.

Whoever wants runs (the command line, a notebook, a benchmark, a scheduler) makes one :class:`Selection`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.launcher import command
from plain_vs_residual.records.files import run_name
from plain_vs_residual.run import Run
from plain_vs_residual.settings import Setting, find_setting


@dataclass(frozen=True)
class Selection:
    """What is to be run.

    Attributes:
        experiments: whose networks are trained.
        setting: with the options that were given; studies change it further.
        seeds: of the runs, in order.
        only_networks: some networks of the experiments by name; all if empty.
        only_runs: some runs by name; all if empty.
        trial: of these options, those that are applied once more after a study's changes, so that they win over
            them: a budget (``iterations``), a number of ``evaluations``.
        images_variant: sets the runs apart where the images are not the setting's own; empty where they are.
    """

    experiments: tuple[Experiment, ...]
    setting: Setting
    seeds: Sequence[int]
    only_networks: frozenset[str] = frozenset()
    only_runs: frozenset[str] = frozenset()
    trial: Mapping[str, Any] = field(default_factory=dict)
    images_variant: str = ""

    @property
    def variant(self) -> str:
        """What sets these runs apart from the setting's own: another data set, split or budget."""
        own, setting = find_setting(self.setting.name), self.setting.with_changes(self.trial)
        split = setting.split.replace("/", "-") if setting.split != own.split else ""
        # A budget that is asked for sets runs apart even if it is the setting's own: studies do not have it.
        asked_for = "iterations" in self.trial or setting.iterations != own.iterations
        budget = f"{setting.iterations}-iterations" if asked_for and setting.iterations else ""
        return "-".join(filter(None, (self.images_variant, split, budget)))

    @property
    def name(self) -> str:
        """Name of the page that the runs appear on: the setting's, and what sets them apart."""
        return "-".join(filter(None, (self.setting.name, self.variant)))

    def plan(self) -> list[Run]:
        """List every run once, in order of work: all experiments with the first seed, then the next seed.

        Of each experiment, the networks of its headline come first: their curves say most, and are there first.

        Raises:
            ValueError: if two experiments mean different runs by one name, or no run has a name that is given.
        """
        planned: dict[str, Run] = {}  # by name: several experiments may need the same run
        for seed in self.seeds:
            for experiment in self.experiments:
                for run in self._headline_first(experiment, seed):
                    planned[run.name] = _merged(planned.get(run.name), run)
        if strangers := sorted(self.only_runs - planned.keys()):
            raise ValueError(f"run {strangers[0]}: no such run is planned; {command('runs')} lists those that are")
        return [run for run in planned.values() if not self.only_runs or run.name in self.only_runs]

    def _headline_first(self, experiment: Experiment, seed: int) -> list[Run]:
        """List an experiment's runs: first those that its primary claim compares, with what these need."""
        setting = self.setting.name
        primary = [claim for claim in experiment.claims_in(setting) if claim.primary]
        compared = {experiment.member(key, setting) for claim in primary for key in claim.contrast}
        runs = [
            self._run(network, seed, study, experiment.name)
            for network, study in experiment.runs_in(setting)
            if not self.only_networks or network in self.only_networks
        ]
        first: set[str] = set()
        for run in reversed(runs):  # what a run needs comes before it
            if (run.architecture.name, run.study) in compared or run.name in first:
                first |= {run.name, *run.needs}
        return sorted(runs, key=lambda run: run.name not in first)

    def _run(self, network: str, seed: int, study: Study, experiment: str) -> Run:
        """Describe the run of one network in one study, which an experiment needs."""
        setting = self._changed_by(study, experiment)
        # A study's leader lowers its rate by what it sees of itself; every other network replays its rates.
        replays = bool(study.leader) and not study.leads(network)
        if replays:
            setting = setting.with_changes({"schedule": "replay"})
        source = study.grown_from.get(network)
        return Run(
            architecture=Architecture.parse(network),
            setting=setting,
            seed=seed,
            study=study.name,
            variant=self.variant,
            experiments=(experiment,),
            leader=self._name(study.leader, seed, study) if replays else "",
            # What others are grown from is a run of the setting as it is.
            grown_from=(Architecture.parse(source), self._name(source, seed, Study())) if source else None,
        )

    def _changed_by(self, study: Study, experiment: str) -> Setting:
        """Return the setting with a study's changes, and with the options that win over them."""
        setting = self.setting.with_changes({**study.changes, **self.trial})
        if "evaluations" in self.trial and setting.schedule == "plateau":
            raise ValueError(
                f"--evaluations: {experiment} lowers its learning rate by what its evaluations say, so that "
                "their number belongs to the recipe; leave the option out"
            )
        return setting

    def _name(self, network: str, seed: int, study: Study) -> str:
        """Name a run of this selection, in its study or in the setting as it is."""
        return run_name(Architecture.parse(network).name, (study.name, self.variant), seed)


def _merged(earlier: Run | None, run: Run) -> Run:
    """Return a run that an earlier experiment may need as well, with the names of both."""
    if earlier is None:
        return run
    if replace(earlier, experiments=run.experiments) != run:
        raise ValueError(
            f"{run.name}: {earlier.experiments[-1]} and {run.experiments[0]} want it with different settings; "
            "give the study in one of them another name"
        )
    return replace(run, experiments=(*earlier.experiments, *run.experiments))
