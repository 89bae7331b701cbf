"""Which runs an experiment needs: skips the finished, resumes the partial, refuses the changed."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.diagnostics.cost import multiply_adds
from plain_vs_residual.experiment import Experiment, Network, Study
from plain_vs_residual.fingerprint import differences, source_hashes
from plain_vs_residual.machine import environment
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.loop import Job, Monitor, build_for, train
from plain_vs_residual.training.schedule import schedule_of
from plain_vs_residual.training.step import Precision


class Changed(ValueError):
    """Finished or partial runs were made by other code, data or configuration."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that one or more experiments need."""

    job: Job
    folder: records.RunFolder
    study: str
    experiments: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.path.name


class SuiteMonitor(Protocol):
    """Is told what the suite does."""

    def begins(self, run: PlannedRun, number: int, total: int, seconds_left: float | None) -> Monitor:
        """A run begins; returns what watches it."""
        ...

    def ended(self, run: PlannedRun, final: dict[str, Any]) -> None:
        """A run was recorded."""
        ...


@dataclass(frozen=True)
class Suite:
    """Experiments in one setting on one data set and device; ``only`` some networks of them, if any are named."""

    experiments: tuple[Experiment, ...]
    setting: Setting
    dataset: Dataset
    results: Path
    seeds: range
    precision: Precision
    device: torch.device
    only: frozenset[str] = frozenset()

    @property
    def variant(self) -> str:
        """What sets these runs apart from the setting's own: another data set, split or budget."""
        own = find_setting(self.setting.name)
        split = self.setting.split.replace("/", "-") if self.setting.split != own.split else ""
        budget = self.setting.iterations
        trial = f"{budget}-iterations" if budget != own.iterations else ""
        return "-".join(filter(None, (self.dataset.variant, split, trial)))

    def plan(self) -> list[PlannedRun]:
        """Every run once, in order of work: all experiments with the first seed, then the next seed."""
        planned: dict[Path, PlannedRun] = {}
        for seed in self.seeds:
            for experiment in self.experiments:
                study = experiment.studies.get(self.setting.name)
                for name in experiment.networks.get(self.setting.name, ()):
                    if self.only and name not in self.only:
                        continue
                    run = self._planned(Network.parse(name), seed, study, experiment.name)
                    earlier = planned.get(run.folder.path)
                    if earlier:
                        run = replace(run, experiments=(*earlier.experiments, experiment.name))
                    planned[run.folder.path] = run
        return list(planned.values())

    def _planned(self, network: Network, seed: int, study: Study | None, experiment: str) -> PlannedRun:
        setting = self.setting.with_changes(study.changes) if study else self.setting
        variants = (study.name if study else "", self.variant)
        folder = self.results / self.setting.name / records.run_name(network.name, variants, seed)
        job = Job(network, setting, seed, self.precision, self.device)
        return PlannedRun(job, records.RunFolder(folder), study.name if study else "", (experiment,))

    def check(self, runs: Iterable[PlannedRun], *, rerun: bool) -> list[Path]:
        """Compares recorded runs with what would be trained now.

        Returns:
            Where changed runs were set aside; they are moved only if ``rerun`` is given.

        Raises:
            Changed: if runs differ and ``rerun`` is not given.
        """
        changed = [(run, found) for run in runs if (found := self._differences(run)) is not None and found]
        if changed and not rerun:
            reasons = sorted({reason for _, found in changed for reason in found})
            raise Changed(
                f"{len(changed)} recorded runs in {self.results / self.setting.name} are not what would be "
                f"trained now ({'; '.join(reasons)}); --rerun sets them aside and trains anew, "
                "--results DIR keeps them and writes elsewhere"
            )
        return [run.folder.set_aside() for run, _ in changed]

    def _differences(self, run: PlannedRun) -> list[str] | None:
        if not run.folder.run.exists():
            return None
        return differences(records.read_json(run.folder.run), self.describe(run))

    def describe(self, run: PlannedRun) -> dict[str, Any]:
        """Content of ``run.json`` as far as it is known before the network is built."""
        job = run.job
        return {
            "network": job.network.name,
            "label": job.network.label,
            "setting": job.setting.name,
            "study": run.study,
            "seed": job.seed,
            "dataset": {
                "name": self.dataset.name,
                "caveat": self.dataset.caveat,
                "variant": self.variant,
                "classes": list(self.dataset.classes),
            },
            "caveat": job.setting.caveat,
            "departures": list(job.setting.departures),
            "configuration": self._configuration(job),
            "sources": source_hashes(),
            "environment": environment(job.device),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        }

    def _configuration(self, job: Job) -> dict[str, Any]:
        return {
            "network": job.network.name,
            "seed": job.seed,
            **job.setting.recipe(),
            "iterations": schedule_of(job.setting, job.network.depth, len(self.dataset.training)).iterations,
            "num_training": len(self.dataset.training),
            "num_validation": len(self.dataset.validation),
            "data_fingerprint": self.fingerprint,
            "precision": job.precision,
            "execution": "eager",
        }

    @cached_property
    def fingerprint(self) -> str:
        """Of the data set."""
        return self.dataset.fingerprint()

    def train(self, runs: list[PlannedRun], monitor: SuiteMonitor) -> None:
        """Trains what is not finished, one run after the other."""
        pending = [run for run in runs if not run.folder.finished]
        work = {run.name: self._work(run) for run in pending}
        done, started = 0.0, time.perf_counter()
        for number, run in enumerate(pending, start=1):
            left = sum(work[later.name] for later in pending[number - 1 :])
            seconds_left = left * (time.perf_counter() - started) / done if done else None
            run_monitor = monitor.begins(run, number, len(pending), seconds_left)
            train(run.job, self.dataset, run.folder, self.describe(run), run_monitor)
            done += work[run.name]
            monitor.ended(run, records.read_json(run.folder.final))

    def _work(self, run: PlannedRun) -> float:
        """Relative cost of a run, for the estimate of the time left."""
        network = build_for(run.job, self.dataset)
        size = run.job.setting.image_size
        schedule = schedule_of(run.job.setting, run.job.network.depth, len(self.dataset.training))
        per_image = multiply_adds(network, (self.dataset.channels, size, size))
        # Thin networks spend their time starting operations, wide ones computing: count some of each.
        return schedule.iterations * (per_image * run.job.setting.batch_size / 1e9 + run.job.network.depth)
