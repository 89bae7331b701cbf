"""Where the runs of a suite are trained: how many at once, on how many devices each, and how these compute."""

from dataclasses import replace
from pathlib import Path

import torch

from plain_vs_residual.group import launched
from plain_vs_residual.recipe import Execution
from plain_vs_residual.suite.cluster import Cluster
from plain_vs_residual.suite.execution_choice import choose_for
from plain_vs_residual.suite.jobs_choice import jobs_for
from plain_vs_residual.suite.machine import all_devices, num_cores, share_cores
from plain_vs_residual.suite.ranks import ByDevices, check_shares
from plain_vs_residual.suite.suite import Suite


def place(suite: Suite, wanted: Execution | None, jobs: int | None, devices_per_run: int) -> tuple[Suite, int]:
    """Return the suite with execution and devices chosen, and how many runs to train at once.

    Args:
        suite: what is to be trained.
        wanted: the execution that was asked for; None for the quickest.
        jobs: how many runs at once were asked for; None for as many as suit the machine.
        devices_per_run: how many devices share each batch; under torchrun as many as there are processes.

    Raises:
        ValueError: if the devices cannot share the batch, or are not here.
    """
    num_devices = max(launched().size, devices_per_run)
    if num_devices > 1:
        suite = _shared(suite, wanted, num_devices)
        if launched().size > 1:
            torch.set_num_threads(max(1, num_cores() // launched().local_size))  # torchrun says 1
            return suite, 1
        jobs = jobs or max(1, len(all_devices(suite.device)) // num_devices)
    else:
        suite = choose_for(suite, wanted)
        if jobs is None and suite.device.type == "cuda":
            jobs = jobs_for(suite)
    return suite, share_cores(jobs, suite.device)


def _shared(suite: Suite, wanted: Execution | None, num_devices: int) -> Suite:
    for run in suite.plan():
        check_shares(run, num_devices)
    here = len(all_devices(suite.device))
    if suite.device.type == "cuda" and launched().size == 1 and num_devices > here:
        raise ValueError(
            f"--devices-per-run {num_devices}: this machine offers {here}; start the command by torchrun to join "
            "several machines (docs/scale.md)"
        )
    if wanted and wanted.recorded:
        raise ValueError(
            f"--execution {wanted}: a graph has not been tried with several devices per run; leave the option out"
        )
    suite = choose_for(suite, wanted or Execution.EAGER)
    return replace(suite, devices_per_run=num_devices, work=ByDevices(num_devices))


def on_cluster(suite: Suite, address: str, data: Path | None, jobs: int | None) -> Cluster:
    """Say how much of a cluster each run gets: its devices, or its share of one.

    Args:
        suite: what is to be trained.
        address: of the cluster.
        data: where the images are, if not where the setting has them.
        jobs: how many runs share a GPU, or the cores of this machine; one, or one per core, if not asked for.

    Raises:
        ValueError: if several runs are to share a GPU and several GPUs a run.
    """
    if jobs and jobs > 1 and suite.devices_per_run > 1:
        raise ValueError(f"--jobs {jobs}: with --cluster, a run has several GPUs or a share of one; leave it out")
    on_gpus = suite.device.type == "cuda"
    gpus = suite.devices_per_run / (jobs or 1) if on_gpus else 0
    at_once = len(all_devices(suite.device)) * (jobs or 1) if on_gpus else jobs or num_cores()
    cores = max(1, num_cores() // at_once) * suite.devices_per_run
    return Cluster(address, data.resolve() if data else None, cores, gpus)
