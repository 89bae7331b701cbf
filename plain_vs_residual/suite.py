"""Which runs an experiment needs: skips the finished, resumes the partial, refuses the changed."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset, split
from plain_vs_residual.diagnostics.cost import multiply_adds
from plain_vs_residual.experiment import Experiment, Network, Study
from plain_vs_residual.fingerprint import differences, fingerprint_of, source_hashes
from plain_vs_residual.interrupt import StopRequest
from plain_vs_residual.lock import RunLocks
from plain_vs_residual.machine import all_devices, environment
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.execution import Execution
from plain_vs_residual.training.job import Job, build_for
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.schedule import schedule_of
from plain_vs_residual.training.step import Precision
from plain_vs_residual.workers import Task, Workers


class Changed(ValueError):
    """Finished or partial runs were made by other code, data or configuration."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that one or more experiments need."""

    job: Job
    folder: records.RunFolder
    study: str
    experiments: tuple[str, ...]
    leader: records.RunFolder | None = None

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
    """Experiments in one setting on one data set and device.

    ``only`` some networks of them, if any are named; a ``trial`` has a budget (``iterations``) or a number of
    ``evaluations`` of its own, whatever setting and studies say.
    """

    experiments: tuple[Experiment, ...]
    setting: Setting
    dataset: Dataset
    results: Path
    seeds: range
    precision: Precision
    device: torch.device
    execution: Execution = "eager"
    deterministic: bool = False
    only: frozenset[str] = frozenset()
    trial: Mapping[str, int] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """What sets these runs apart from the setting's own: another data set, split or budget."""
        own = find_setting(self.setting.name)
        split = self.setting.split.replace("/", "-") if self.setting.split != own.split else ""
        tried = "iterations" in self.trial or self.setting.iterations != own.iterations
        budget = f"{self.setting.iterations}-iterations" if tried else ""
        return "-".join(filter(None, (self.dataset.variant, split, budget)))

    def plan(self) -> list[PlannedRun]:
        """Every run once, in order of work: all experiments with the first seed, then the next seed.

        Raises:
            ValueError: if two experiments mean different runs by one name.
        """
        planned: dict[Path, PlannedRun] = {}
        for seed in self.seeds:
            for experiment in self.experiments:
                for name, study in experiment.runs_in(self.setting.name):
                    if self.only and name not in self.only:
                        continue
                    run = self._planned(Network.parse(name), seed, study, experiment.name)
                    earlier = planned.get(run.folder.path)
                    if earlier and earlier.job != run.job:
                        raise ValueError(
                            f"{run.name}: {earlier.experiments[-1]} and {experiment.name} want it with different "
                            "settings; give the study in one of them another name"
                        )
                    if earlier:
                        run = replace(run, experiments=(*earlier.experiments, experiment.name))
                    planned[run.folder.path] = run
        return list(planned.values())

    def _planned(self, network: Network, seed: int, study: Study, experiment: str) -> PlannedRun:
        setting = self.setting.with_changes({**study.changes, **self.trial})
        if "evaluations" in self.trial and setting.schedule == "plateau":
            raise ValueError(
                f"--evaluations: {experiment} lowers its learning rate by what its evaluations say, so that "
                "their number belongs to the recipe; leave the option out"
            )
        leader = None
        if study.leader and network.name != Network.parse(study.leader).name:
            setting = setting.with_changes({"schedule": "replay"})
            leader = self._folder(Network.parse(study.leader), seed, study)
        # What is recorded of the first iterations is read on the host, which no graph can do.
        execution: Execution = "eager" if setting.probe_iterations else self.execution
        job = Job(network, setting, seed, self.precision, self.device, execution, self.deterministic)
        return PlannedRun(job, self._folder(network, seed, study), study.name, (experiment,), leader)

    def _folder(self, network: Network, seed: int, study: Study) -> records.RunFolder:
        name = records.run_name(network.name, (study.name, self.variant), seed)
        return records.RunFolder(self.results / self.setting.name / name)

    def dataset_of(self, run: PlannedRun) -> Dataset:
        """The images of a run, split as its setting says."""
        return self._split(run)[0]

    def _split(self, run: PlannedRun) -> tuple[Dataset, str]:
        """Images of a run and their fingerprint."""
        how = run.job.setting.split
        if how not in self._splits:
            images = split(self.dataset, how)
            self._splits[how] = images, images.fingerprint()
        return self._splits[how]

    @cached_property
    def _splits(self) -> dict[str, tuple[Dataset, str]]:
        return {}

    @staticmethod
    def locked(runs: Iterable[PlannedRun]) -> RunLocks:
        """A context in which nobody else checks or trains these runs; raises ``Locked`` if somebody does."""
        return RunLocks(run.folder.path for run in runs)

    def check(self, runs: Iterable[PlannedRun], *, rerun: bool) -> list[Path]:
        """Compares recorded runs with what would be trained now, and each with its checksums.

        Returns:
            Where changed runs were set aside; they are moved only if ``rerun`` is given.

        Raises:
            Changed: if runs differ and ``rerun`` is not given.
        """
        found = {run.folder.path: self._differences(run) for run in runs}
        for run in runs:
            if run.leader and run.folder.run.exists() and (found.get(run.leader.path) or not run.leader.finished):
                found[run.folder.path].append(f"{run.leader.path.name}: trained anew, and its rates are replayed")
        changed = [run for run in runs if found[run.folder.path]]
        if changed and not rerun:
            reasons = sorted({reason for run in changed for reason in found[run.folder.path]})
            raise Changed(
                f"{len(changed)} recorded runs in {self.results / self.setting.name} are not what would be "
                f"trained now ({'; '.join(reasons)}); --rerun sets them aside and trains anew, "
                "--results DIR keeps them and writes elsewhere"
            )
        return [run.folder.set_aside() for run in changed]

    def _differences(self, run: PlannedRun) -> list[str]:
        folder = run.folder
        if not folder.run.exists() and not folder.finished:
            # Nothing says what a checkpoint without it was made by.
            left = folder.checkpoint.exists() or folder.previous_checkpoint.exists()
            return [f"{folder.run}: missing"] if left else []
        return records.damage(folder) or differences(records.read_json(folder.run), self.describe(run))

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
            "configuration": self._configuration(run),
            "sources": source_hashes(),
            "environment": environment(job.device),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        }

    def _configuration(self, run: PlannedRun) -> dict[str, Any]:
        job, dataset = run.job, self.dataset_of(run)
        led = run.leader is not None and run.leader.finished
        return {
            **({"replayed_rates": fingerprint_of(self._rates_of_leader(run))} if led else {}),
            "network": job.network.name,
            "seed": job.seed,
            **job.setting.recipe(),
            "iterations": schedule_of(job.setting, job.network.depth, len(dataset.training)).iterations,
            "num_training": len(dataset.training),
            "num_validation": len(dataset.validation),
            "data_fingerprint": self._split(run)[1],
            "precision": job.precision,
            "execution": job.execution,
            "deterministic": job.deterministic,
        }

    def train(self, runs: list[PlannedRun], monitor: SuiteMonitor, jobs: int = 1) -> None:
        """Trains what is not finished: one run after the other, or ``jobs`` at once in processes of their own.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; says what was saved.
            OutOfMemory: if a run does not fit.
        """
        pending = [run for run in runs if not run.folder.finished]
        work = {run.name: self._work(run) for run in pending}
        done, started = 0.0, time.perf_counter()

        def begins(run: PlannedRun) -> Monitor:
            left = sum(work.values()) - done
            seconds_left = left * (time.perf_counter() - started) / done if done else None
            return monitor.begins(run, pending.index(run) + 1, len(pending), seconds_left)

        trained = self._in_processes(pending, begins, jobs) if jobs > 1 else self._one_by_one(pending, begins)
        with closing(trained):
            for run in trained:
                done += work[run.name]
                monitor.ended(run, records.read_json(run.folder.final))

    def _one_by_one(
        self, pending: list[PlannedRun], begins: Callable[[PlannedRun], Monitor]
    ) -> Generator[PlannedRun, None, None]:
        for run in pending:
            task = Task(run.job, run.folder, self.describe(run), self._rates_of_leader(run))
            with StopRequest() as stops:
                task.train(self.dataset_of(run), begins(run), stops)
            yield run

    def _in_processes(
        self, pending: list[PlannedRun], begins: Callable[[PlannedRun], Monitor], jobs: int
    ) -> Generator[PlannedRun, None, None]:
        waiting, running = list(pending), dict[Future[None], PlannedRun]()
        datasets = {run.job.setting.split: self.dataset_of(run) for run in pending}
        with Workers(min(jobs, len(pending)) or 1, datasets, all_devices(self.device)) as workers:
            while waiting or running:
                leaders = {run.folder.path for run in (*waiting, *running.values())}
                ready = [run for run in waiting if run.leader is None or run.leader.path not in leaders]
                for run in ready[: jobs - len(running)]:
                    waiting.remove(run)
                    begins(run)
                    task = Task(run.job, run.folder, self.describe(run), self._rates_of_leader(run))
                    running[workers.submit(task)] = run
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)

    @staticmethod
    def _rates_of_leader(run: PlannedRun) -> list[list[float]]:
        if run.leader is None:
            return []
        if not run.leader.finished:
            raise ValueError(
                f"{run.name} replays the learning rates of {run.leader.path.name}, which is not finished; "
                "train that one first (do not leave it out with --network)"
            )
        rates: list[list[float]] = records.read_json(run.leader.final)["learning_rates"]
        return rates

    def _work(self, run: PlannedRun) -> float:
        """Relative cost of a run, for the estimate of the time left."""
        network = build_for(run.job, self.dataset)
        size = run.job.setting.enlarge_to or run.job.setting.image_size
        schedule = schedule_of(run.job.setting, run.job.network.depth, len(self.dataset_of(run).training))
        per_image = multiply_adds(network, (self.dataset.channels, size, size))
        # Thin networks spend their time starting operations, wide ones computing: count some of each.
        return schedule.iterations * (per_image * run.job.setting.batch_size / 1e9 + run.job.network.depth)
