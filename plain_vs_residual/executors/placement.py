"""Where runs are trained, and by whom: the devices, how they are shared, and the executor that hands runs out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.common_arithmetic import ComputeOptions, choose_arithmetic
from plain_vs_residual.executors.description import describe
from plain_vs_residual.executors.executor import DatasetOf, Executor, Work, split_once
from plain_vs_residual.executors.here import Here
from plain_vs_residual.executors.machine import all_devices, choose_device
from plain_vs_residual.executors.on_ray import OnRay
from plain_vs_residual.executors.processes import Processes
from plain_vs_residual.executors.ranks import train_on_several_devices
from plain_vs_residual.executors.sharing import Sharing, runs_per_gpu, share, share_of_cluster
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.ledger import Ledger
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.place import Place


@dataclass(frozen=True)
class PlacedJobs:
    """Jobs with what it takes to train and to measure them.

    Attributes:
        jobs: those that others need come before them.
        device: of this machine; ``cuda`` stands for all its GPUs.
        dataset_of: gives the images of a run.
        executor: hands the jobs out to be trained.
        work: how one is trained.
        measuring: the executor that measures them afterwards, on this machine.
    """

    jobs: list[Job]
    device: torch.device
    dataset_of: DatasetOf
    executor: Executor
    work: Work
    measuring: Executor

    def describe(self, job: Job) -> RunDescription:
        """Return what the record of a job would say now."""
        return describe(job, self.dataset_of(job.run), self.device)


def choose_placement(
    runs: Sequence[Run],
    ledger: Ledger,
    dataset: Dataset,
    wanted: ComputeOptions,
    say: Callable[[str], None] = print,
    threads: int | None = None,
) -> PlacedJobs:
    """Choose how and where runs are computed, and make jobs of them.

    Args:
        runs: all that are planned.
        ledger: where they are recorded.
        dataset: their images, before they are split.
        wanted: what was asked for.
        say: prints a line if a fast execution is not used because it computes something else.
        threads: CPU threads of a run; its share of the cores if None.

    Raises:
        ValueError: if something is asked for that this machine does not have, or that does not go together.
    """
    device = choose_device(wanted.device)
    dataset_of = split_once(dataset)
    per_gpu = runs_per_gpu(device, max((run.setting.input_size for run in runs), default=0))
    # The devices of a cluster's runs are those of its machines; here, runs are measured, on a device each.
    sharing = share(device, wanted.jobs, 1 if wanted.cluster else wanted.devices_per_run, per_gpu)
    if threads is not None:
        sharing = sharing._replace(threads=threads)
    here = on_this_machine(device, sharing, dataset_of)
    executor: Executor = here
    if wanted.cluster:
        if wanted.device is None and device.type == "cpu":
            raise ValueError(
                f"--cluster {wanted.cluster}: this machine has no GPU to choose a setting and a precision for; "
                "say --device cpu for runs on CPUs, or --device cuda from a machine that has one"
            )
        sharing, gpus = share_of_cluster(device, wanted.jobs, wanted.devices_per_run)
        data = wanted.data.resolve() if wanted.data else None
        executor = OnRay(wanted.cluster, device, data, gpus, sharing.at_once, dataset_of)
    jobs = choose_arithmetic(runs, ledger, dataset_of, device, wanted, sharing, say)
    work = train_job if sharing.devices == 1 else train_on_several_devices
    return PlacedJobs(jobs, device, dataset_of, executor, work, measuring=here)


def on_this_machine(device: torch.device, sharing: Sharing, dataset_of: DatasetOf) -> Executor:
    """Return the executor of this machine: this process if there is one run at a time, else several."""
    groups = max(1, len(all_devices(device)) // sharing.devices)  # under torchrun, others are on other machines
    # Each run is given the first device of a group, and uses the others with it.
    devices = all_devices(device)[: groups * sharing.devices : sharing.devices]
    if sharing.at_once == 1:
        return Here(Place(devices[0]), dataset_of)
    return Processes(sharing.at_once, devices, dataset_of)
