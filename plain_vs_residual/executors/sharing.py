"""How a machine, or a cluster, is shared out among runs: how many at once, on how many devices and cores each."""

from typing import NamedTuple

import torch

from plain_vs_residual.executors.cores import num_cores
from plain_vs_residual.executors.machine import all_devices
from plain_vs_residual.executors.nvidia_mps import control
from plain_vs_residual.group import launched

MOST_AT_ONCE = 4  # runs on a CPU, or on a GPU that can compute several at the same time
THIN = 64  # pixels: images up to this size leave a GPU idle if it works on one run


class Sharing(NamedTuple):
    """How a machine is shared out.

    Attributes:
        at_once: how many runs are trained at once.
        devices: how many share each batch of a run.
        threads: CPU threads of a run, those of all its processes together.
    """

    at_once: int
    devices: int
    threads: int


def runs_per_gpu(device: torch.device, input_size: int) -> int:
    """Say how many runs share a GPU: several small ones, where there are MPS and memory enough for them.

    On an H200, four runs of ResNet-20 at a time take 1.7 times as many steps as one after the other, without MPS
    they gain nothing (benchmarks/README.md).

    Args:
        device: of this machine.
        input_size: of the images, in pixels.
    """
    if device.type != "cuda" or input_size > THIN or control() is None:
        return 1
    memory = min(torch.cuda.get_device_properties(gpu).total_memory for gpu in all_devices(device))
    return MOST_AT_ONCE if memory >= 16 * 10**9 else 1


def share(device: torch.device, jobs: int | None = None, devices_per_run: int = 1, per_gpu: int = 1) -> Sharing:
    """Share out the devices and cores of this machine.

    The networks of a laptop are too thin for several threads: two runs of one thread finish sooner than one
    run of two, and lose less where another program wants a core.

    Args:
        device: ``cuda`` without a number stands for all GPUs.
        jobs: how many runs at once were asked for; None for as many as suit the machine.
        devices_per_run: how many devices share each batch; under torchrun as many as there are processes.
        per_gpu: how many runs share a GPU (:func:`runs_per_gpu`), unless several GPUs share a run.

    Raises:
        ValueError: if there are too few devices.
    """
    cores, started = num_cores(), launched()
    if started.size > 1:
        return Sharing(1, started.size, started.size * max(1, cores // started.local_size))
    num_devices = len(all_devices(device))
    if device.type == "cuda" and devices_per_run > num_devices:
        raise ValueError(
            f"--devices-per-run {devices_per_run}: this machine offers {num_devices}; start the command "
            "by torchrun to join several machines (docs/scale.md)"
        )
    if jobs is None:
        if devices_per_run > 1:
            jobs = max(1, num_devices // devices_per_run)
        elif device.type == "cpu":
            jobs = min(cores, MOST_AT_ONCE)
        else:
            jobs = num_devices * per_gpu
    return Sharing(jobs, devices_per_run, max(1, cores // jobs))


def share_of_cluster(device: torch.device, jobs: int | None, devices_per_run: int) -> tuple[Sharing, float]:
    """Say how much of a cluster each run gets, in threads and GPUs: its devices, or a share of one.

    Args:
        device: what kind of device the cluster is asked for.
        jobs: how many runs share a GPU, or the cores of this machine; one, or one per core, if not asked for.
        devices_per_run: how many GPUs share each batch of a run.

    Raises:
        ValueError: if several runs are to share a GPU and several GPUs a run.
    """
    if jobs and jobs > 1 and devices_per_run > 1:
        raise ValueError(f"--jobs {jobs}: with --cluster, a run has several GPUs or a share of one; leave it out")
    on_gpus = device.type == "cuda"
    at_once = len(all_devices(device)) * (jobs or 1) if on_gpus else jobs or num_cores()
    threads = max(1, num_cores() // at_once) * devices_per_run
    return Sharing(at_once, devices_per_run, threads), devices_per_run / (jobs or 1) if on_gpus else 0
