"""Which runs an experiment needs: skips the finished, resumes the partial, refuses the changed."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset, split
from plain_vs_residual.diagnostics.cost import multiply_adds
from plain_vs_residual.experiment import Experiment, Network, Study
from plain_vs_residual.fingerprint import differences, source_hashes
from plain_vs_residual.machine import all_devices, environment
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.execution import Execution
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
    """Experiments in one setting on one data set and device; ``only`` some networks of them, if any are named."""

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
                for name, study in experiment.runs_in(self.setting.name):
                    if self.only and name not in self.only:
                        continue
                    run = self._planned(Network.parse(name), seed, study, experiment.name)
                    earlier = planned.get(run.folder.path)
                    if earlier:
                        run = replace(run, experiments=(*earlier.experiments, experiment.name))
                    planned[run.folder.path] = run
        return list(planned.values())

    def _planned(self, network: Network, seed: int, study: Study, experiment: str) -> PlannedRun:
        setting = self.setting.with_changes(study.changes)
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
        how = run.job.setting.split
        if how not in self._splits:
            self._splits[how] = split(self.dataset, how)
        return self._splits[how]

    @cached_property
    def _splits(self) -> dict[str, Dataset]:
        return {}

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        return {}

    def _fingerprint(self, run: PlannedRun) -> str:
        how = run.job.setting.split
        if how not in self._fingerprints:
            self._fingerprints[how] = self.dataset_of(run).fingerprint()
        return self._fingerprints[how]

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
            "configuration": self._configuration(run),
            "sources": source_hashes(),
            "environment": environment(job.device),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        }

    def _configuration(self, run: PlannedRun) -> dict[str, Any]:
        job, dataset = run.job, self.dataset_of(run)
        return {
            "network": job.network.name,
            "seed": job.seed,
            **job.setting.recipe(),
            "iterations": schedule_of(job.setting, job.network.depth, len(dataset.training)).iterations,
            "num_training": len(dataset.training),
            "num_validation": len(dataset.validation),
            "data_fingerprint": self._fingerprint(run),
            "precision": job.precision,
            "execution": job.execution,
            "deterministic": job.deterministic,
        }

    def train(self, runs: list[PlannedRun], monitor: SuiteMonitor, jobs: int = 1) -> None:
        """Trains what is not finished: one run after the other, or ``jobs`` at once in processes of their own."""
        pending = [run for run in runs if not run.folder.finished]
        work = {run.name: self._work(run) for run in pending}
        done, started = 0.0, time.perf_counter()

        def begins(run: PlannedRun) -> Monitor:
            left = sum(work.values()) - done
            seconds_left = left * (time.perf_counter() - started) / done if done else None
            return monitor.begins(run, pending.index(run) + 1, len(pending), seconds_left)

        for run in self._in_processes(pending, begins, jobs) if jobs > 1 else self._one_by_one(pending, begins):
            done += work[run.name]
            monitor.ended(run, records.read_json(run.folder.final))

    def _one_by_one(
        self, pending: list[PlannedRun], begins: Callable[[PlannedRun], Monitor]
    ) -> Iterator[PlannedRun]:
        for run in pending:
            rates = self._rates_of_leader(run)
            train(run.job, self.dataset_of(run), run.folder, self.describe(run), begins(run), rates)
            yield run

    def _in_processes(
        self, pending: list[PlannedRun], begins: Callable[[PlannedRun], Monitor], jobs: int
    ) -> Iterator[PlannedRun]:
        waiting, running = list(pending), dict[Future[None], PlannedRun]()
        datasets = {run.job.setting.split: self.dataset_of(run) for run in pending}
        context = multiprocessing.get_context("spawn")
        devices = context.Queue()
        for _, device in zip(range(jobs), cycle(all_devices(self.device))):
            devices.put(device)
        prepared = (datasets, torch.get_num_threads(), devices)
        pool = ProcessPoolExecutor(jobs, context, _prepare_worker, prepared)
        try:
            while waiting or running:
                leaders = {run.folder.path for run in (*waiting, *running.values())}
                ready = [run for run in waiting if run.leader is None or run.leader.path not in leaders]
                for run in ready[: jobs - len(running)]:
                    waiting.remove(run)
                    begins(run)
                    rates = self._rates_of_leader(run)
                    running[pool.submit(_train_in_worker, run.job, run.folder, self.describe(run), rates)] = run
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
        finally:
            # Their checkpoints are whole at every moment; waiting for them would take minutes.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()

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


class _Unwatched:
    def advanced(self, iteration: int, iterations: int) -> None:
        pass

    def evaluated(self, row: dict[str, Any], iterations: int) -> None:
        pass


@dataclass
class _Worker:
    """What a worker process keeps between its runs."""

    datasets: dict[str, Dataset]
    device: torch.device


_worker: _Worker


def _prepare_worker(datasets: dict[str, Dataset], threads: int, devices: "Queue[torch.device]") -> None:
    global _worker  # noqa: PLW0603 -- the way to hand something to the tasks of a process pool
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the suite's own process ends its workers
    torch.set_num_threads(threads)
    _worker = _Worker(datasets, devices.get())


def _train_in_worker(job: Job, folder: records.RunFolder, run: dict[str, Any], rates: list[list[float]]) -> None:
    dataset = _worker.datasets[job.setting.split]
    train(replace(job, device=_worker.device), dataset, folder, run, _Unwatched(), rates)
