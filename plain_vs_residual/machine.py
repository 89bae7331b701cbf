"""The machine a run takes place on: its device, and what the record says of it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from plain_vs_residual.training.step import PRECISIONS, Precision, best_precision


def choose_device(name: str | None) -> torch.device:
    """The device asked for, or CUDA where it can be used, else the CPU.

    Raises:
        ValueError: if there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"--device {name}: accepted are cpu, cuda, cuda:N and mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            why = unused_gpu() or f"{count} CUDA devices are here"
            raise ValueError(f"--device {name}: torch {torch.__version__} cannot use it ({why}); try --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"--device {name}: no Metal device here; try --device cpu")
    return device


def share_cores(jobs: int | None, device: torch.device) -> int:
    """How many runs at once, and gives each its share of the cores.

    The networks of a laptop are too thin for several threads: two runs of one thread finish sooner than one
    run of two, and lose less where another program wants a core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs is None:
        jobs = min(cores, 4) if device.type == "cpu" else 1
    if device.type == "cpu":
        torch.set_num_threads(max(1, cores // jobs))
    return jobs


def choose_precision(name: str | None, device: torch.device) -> Precision:
    """The precision asked for, or the best that the device computes in.

    Raises:
        ValueError: if there is no such precision.
    """
    if name is not None and name not in PRECISIONS:
        raise ValueError(f"--precision {name}: accepted are {', '.join(PRECISIONS)}")
    return next((known for known in PRECISIONS if known == name), best_precision(device))


def unused_gpu() -> str | None:
    """Why torch does not use a GPU that this machine seems to have; None if there is none or it is used."""
    has_nvidia = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if not has_nvidia or torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return "an NVIDIA driver is here, but this torch is a build without CUDA"
    return f"an NVIDIA driver is here, but torch (built for CUDA {torch.version.cuda}) finds no usable GPU"


@cache
def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and git commit, as they go into the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "numpy": importlib.metadata.version("numpy"),
        "platform": platform.platform(),
        "device": device.type,
        "device_name": name,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "git_commit": _git("rev-parse", "--short=12", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
