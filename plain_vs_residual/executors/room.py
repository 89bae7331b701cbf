"""Whether there is room for a run: in memory, on the disk, and for what processes hand over."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.executors.finding import Finding
from plain_vs_residual.settings import Setting

if TYPE_CHECKING:
    import torch

GIB = 2**30


def memory(setting: Setting, device: "torch.device", precision: Precision = "fp32") -> Finding:
    """Compare what a run of the largest network needs with what the device has free."""
    import torch

    from plain_vs_residual.executors.needs import largest_network_bytes

    try:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    except RuntimeError as error:  # the device is full, or held by another program
        return Finding("memory", f"unknown: {str(error).splitlines()[0]}", "stop what else uses the GPU")
    wanted = largest_network_bytes(setting, precision)
    fix = "" if free >= wanted else "a device with more memory, fewer --jobs, or another --setting"
    needed = f"about {wanted / GIB:.1f} GiB needed for one run in {precision}"
    return Finding("memory", f"{free / GIB:.1f} GiB free, {needed}", fix)


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def shared_memory(setting: Setting) -> Finding:
    """Look for room for the batches that the processes which decode images hand over."""
    from plain_vs_residual.executors.needs import bytes_on_their_way

    shared = Path("/dev/shm")  # where Linux keeps it; elsewhere it has no limit of its own
    if not shared.exists():
        return Finding("shared memory", "no limit of its own on this system")
    free = shutil.disk_usage(shared).free
    wanted = bytes_on_their_way(setting)
    fix = "" if free >= wanted else "give the container more, such as docker run --shm-size=8g, or --ipc=host"
    found = f"{free / GIB:.2f} GiB free in {shared}, about {wanted / GIB:.2f} GiB needed by batches on their way"
    return Finding("shared memory", found, fix)


def writable(results: Path) -> Finding:
    """Try whether records can be written."""
    folder = _existing_parent(results)
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return Finding("results", f"{results} can be written")
    return Finding("results", f"{results} cannot be written", "--results DIR names another folder")


def disk(setting: Setting, results: Path, seeds: int) -> Finding:
    """Compare what records and checkpoints need with what the disk has free."""
    from plain_vs_residual.executors.needs import networks_of, weight_bytes

    free = shutil.disk_usage(_existing_parent(results)).free
    sizes = [weight_bytes(network) for network in networks_of(setting)]
    # Weights of every run; weights and momentum, three times over, of the one that is saved; records, figures.
    wanted = seeds * sum(sizes) + 6 * max(sizes) + 50 * 2**20
    fix = "" if free >= wanted else "make room, or --results DIR on another disk"
    return Finding("disk", f"{free / GIB:.1f} GiB free, about {wanted / GIB:.2f} GiB needed", fix)


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
