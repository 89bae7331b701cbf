"""Which runs the experiments need: the finished are skipped, the changed refused, the rest trained."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.datasets import split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.recipe import Execution, Precision, Split
from plain_vs_residual.records.files import RunFolder, run_name
from plain_vs_residual.records.fingerprint import differences
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.store import damage, read_final, read_run
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.suite.cluster import Cluster
from plain_vs_residual.suite.description import describe
from plain_vs_residual.suite.dispatch import hand_out
from plain_vs_residual.suite.estimate import Estimate, relative_work
from plain_vs_residual.suite.locks import RunLocks
from plain_vs_residual.suite.machine import all_devices
from plain_vs_residual.suite.measuring import Measuring
from plain_vs_residual.suite.progress import Unwatched
from plain_vs_residual.suite.workers import Work, train_run
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.run import Run


class Changed(ValueError):
    """Runs were made by other code, data or configuration."""


class SuiteMonitor(Protocol):
    """Is told what the suite does."""

    def begins(self, run: Run, number: int, total: int, seconds_left: float | None) -> Monitor:
        """Hear that a run begins, and return what watches it."""
        ...

    def ended(self, run: Run, final: FinalRecord) -> None:
        """Hear that a run was recorded."""
        ...


@dataclass(frozen=True)
class Suite:
    """Experiments in one setting on one data set and device.

    Attributes:
        experiments: whose networks are trained, in a setting without the changes of studies.
        dataset: before it is split.
        results: where records go.
        seeds: of the runs.
        precision: in which networks compute.
        device: ``cuda`` without a number stands for all GPUs.
        execution: how operations reach the device.
        deterministic: whether only algorithms that give equal bytes may be used.
        only: some networks of the experiments, and ``named`` some runs, if any are given.
        trial: fields of the setting that count for more than setting and studies: a budget (``iterations``), a
            number of ``evaluations``.
        devices_per_run: how many devices train one run together.
        work: how a run is trained.
        cluster: where runs are trained instead of on this machine.
    """

    experiments: tuple[Experiment, ...]
    setting: Setting
    dataset: Dataset
    results: Path
    seeds: range
    precision: Precision
    device: torch.device
    execution: Execution = Execution.EAGER
    deterministic: bool = False
    only: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    trial: Mapping[str, Any] = field(default_factory=dict)
    devices_per_run: int = 1
    work: Work = train_run
    cluster: Cluster | None = None

    @property
    def variant(self) -> str:
        """What sets these runs apart from the setting's own: another data set, split or budget."""
        own, setting = find_setting(self.setting.name), self.setting.with_changes(self.trial)
        split = setting.split.replace("/", "-") if setting.split != own.split else ""
        tried = "iterations" in self.trial or setting.iterations != own.iterations
        budget = f"{setting.iterations}-iterations" if tried and setting.iterations else ""
        return "-".join(filter(None, (self.dataset.variant, split, budget)))

    def plan(self) -> list[Run]:
        """List every run once, in order of work: all experiments with the first seed, then the next seed.

        Raises:
            ValueError: if two experiments mean different runs by one name, or no run has a name that is given.
        """
        planned: dict[str, Run] = {}
        for seed in self.seeds:
            for experiment in self.experiments:
                for name, study in experiment.runs_in(self.setting.name):
                    if self.only and name not in self.only:
                        continue
                    run = self._planned(Architecture.parse(name), seed, study, experiment.name)
                    earlier = planned.get(run.name)
                    if earlier:
                        if replace(earlier, experiments=run.experiments) != run:
                            raise ValueError(
                                f"{run.name}: {earlier.experiments[-1]} and {experiment.name} want it with "
                                "different settings; give the study in one of them another name"
                            )
                        run = replace(run, experiments=(*earlier.experiments, experiment.name))
                    planned[run.name] = run
        for name in sorted(self.named - planned.keys()):
            raise ValueError(f"--run {name}: no such run is planned; python -m plain_vs_residual runs lists them")
        return [run for run in planned.values() if not self.named or run.name in self.named]

    def _planned(self, architecture: Architecture, seed: int, study: Study, experiment: str) -> Run:
        setting = self.setting.with_changes({**study.changes, **self.trial})
        if "evaluations" in self.trial and setting.schedule == "plateau":
            raise ValueError(
                f"--evaluations: {experiment} lowers its learning rate by what its evaluations say, so that "
                "their number belongs to the recipe; leave the option out"
            )
        leader = None
        if study.leader and not study.leads(architecture.name):
            setting = setting.with_changes({"schedule": "replay"})
            leader = self._folder(Architecture.parse(study.leader), seed, study)
        source = (
            Architecture.parse(study.sources[architecture.name]) if architecture.name in study.sources else None
        )
        return Run(
            architecture=architecture,
            setting=setting,
            seed=seed,
            precision=self.precision,
            device=self.device,
            folder=self._folder(architecture, seed, study),
            # What is noted of the first iterations is read on the host, which compiled code cannot do.
            execution=self.execution.uncompiled if setting.probe_iterations else self.execution,
            deterministic=self.deterministic,
            study=study.name,
            variant=self.variant,
            experiments=(experiment,),
            leader=leader,
            source=(source, self._folder(source, seed, Study())) if source else None,
        )

    def _folder(self, architecture: Architecture, seed: int, study: Study) -> RunFolder:
        name = run_name(architecture.name, (study.name, self.variant), seed)
        return RunFolder(self.results / self.setting.name / name)

    def dataset_of(self, run: Run) -> Dataset:
        """Return the images of a run, split as its setting says."""
        return self.split(run.setting.split)

    def split(self, how: Split) -> Dataset:
        """Return the images, split once for all runs."""
        if how not in self._splits:
            self._splits[how] = split(self.dataset, how)
        return self._splits[how]

    @cached_property
    def _splits(self) -> dict[Split, Dataset]:
        return {}

    @staticmethod
    def locked(runs: Iterable[Run]) -> RunLocks:
        """Keep others from checking or training these runs for a while; raises ``Locked`` if somebody does."""
        return RunLocks(run.folder.path for run in runs)

    def check(self, runs: Iterable[Run], *, rerun: bool) -> list[Path]:
        """Compare recorded runs with what would be trained now, and each with its checksums.

        Returns:
            Where changed runs were set aside; they are moved only if ``rerun`` is given.

        Raises:
            Changed: if runs differ and ``rerun`` is not given.
        """
        found: dict[str, list[str]] = {}
        for run in runs:  # those that others need come before them
            anew = [one.name for one in run.needs if found.get(one.name) or not one.finished or damage(one)]
            if anew:
                needed = f"{anew[0]}: trained anew, and others depend on it"
                found[run.name] = [needed] if run.folder.run.exists() else []
            else:
                found[run.name] = self._differences(run)
        changed = [run for run in runs if found[run.name]]
        if changed and not rerun:
            reasons = sorted({reason for run in changed for reason in found[run.name]})
            raise Changed(
                f"{len(changed)} recorded runs in {self.results / self.setting.name} are not what would be "
                f"trained now ({'; '.join(reasons)}); --rerun sets them aside and trains anew, "
                "--results DIR/results keeps them and writes elsewhere, and compare puts the two side by side: "
                f"python -m plain_vs_residual compare {self.results} DIR/results"
            )
        return [run.folder.set_aside() for run in changed]

    def _differences(self, run: Run) -> list[str]:
        folder = run.folder
        if not folder.run.exists() and not folder.finished:
            # Nothing says what a checkpoint without it was made by.
            left = folder.checkpoint.exists() or folder.previous_checkpoint.exists()
            return [f"{folder.run}: missing"] if left else []
        # Several devices compute eagerly, also a run that one of them began as a graph.
        but_for = ["execution"] if self.devices_per_run > 1 else []
        return damage(folder) or differences(read_run(folder), describe(run, self.dataset_of(run)), but_for)

    def train(self, runs: list[Run], monitor: SuiteMonitor, jobs: int = 1) -> None:
        """Train what is not finished: one run after the other, or ``jobs`` at once in processes of their own.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; says what was saved.
            OutOfMemory: if a run does not fit.
        """
        pending = [run for run in runs if not run.folder.finished]
        estimate = Estimate(relative_work(pending, self.dataset), jobs)

        def begins(run: Run) -> Monitor:
            seconds_left = estimate.seconds_left()
            estimate.begins(run.name)
            return monitor.begins(run, pending.index(run) + 1, len(pending), seconds_left)

        devices = all_devices(self.device)[:: self.devices_per_run]
        given = (pending, self.dataset_of, self.work, begins)
        with closing(self.cluster.train(*given) if self.cluster else hand_out(*given, devices, jobs)) as trained:
            for run in trained:
                estimate.ended(run.name)
                monitor.ended(run, read_final(run.folder))

    def measure(self, runs: list[Run], announce: Callable[[str], object], jobs: int = 1) -> None:
        """Measure on finished runs what the experiments ask for and is not measured yet, ``jobs`` runs at once.

        Raises:
            Stopped: after Ctrl-C or SIGTERM.
            ValueError: if a run's weights are not kept.
        """
        measuring = Measuring.of(runs, self.experiments)
        pending = [run for run in runs if measuring.wanted[run.name]]

        def begins(run: Run) -> Unwatched:
            names = ", ".join(measuring.wanted[run.name])
            announce(f"measuring {pending.index(run) + 1}/{len(pending)} {run.name}: {names}")
            return Unwatched()

        devices = all_devices(self.device)
        with closing(hand_out(pending, self.dataset_of, measuring, begins, devices, jobs)) as measured:
            for _ in measured:
                pass
