"""The machine a run takes place on: its device, and what the record says of it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

import torch

from plain_vs_residual.data.decoding import decoder
from plain_vs_residual.recipe import Execution, Precision
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.fingerprint import source_hashes
from plain_vs_residual.records.models import Environment
from plain_vs_residual.training.arithmetic import best_precision
from plain_vs_residual.training.execution import best_execution

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def choose_device(name: str | None) -> torch.device:
    """Return the device asked for, or CUDA where it can be used, else the CPU.

    Raises:
        ValueError: if there is no such device here, or torch cannot compute on it.
    """
    if name is None:
        usable = torch.cuda.is_available() and cannot_compute(torch.device("cuda")) is None
        return torch.device("cuda" if usable else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"--device {name}: accepted are cpu, cuda, cuda:N and mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            why = unused.reason if (unused := unused_gpu()) else f"{count} CUDA devices are here"
            raise ValueError(f"--device {name}: torch {torch.__version__} cannot use it ({why}); try --device cpu")
        if fault := cannot_compute(device):
            raise ValueError(f"--device {name}: {fault.reason}; {fault.remedy}, or try --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"--device {name}: no Metal device here; try --device cpu")
    return device


def all_devices(device: torch.device) -> list[torch.device]:
    """List every device that ``device`` stands for: ``cuda`` without a number means all GPUs of the machine."""
    if device.type != "cuda" or device.index is not None:
        return [device]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(jobs: int | None, device: torch.device) -> int:
    """Say how many runs to train at once, and give each its share of the cores.

    The networks of a laptop are too thin for several threads: two runs of one thread finish sooner than one
    run of two, and lose less where another program wants a core. On GPUs it is one run per device.
    """
    cores = num_cores()
    if jobs is None:
        jobs = min(cores, 4) if device.type == "cpu" else len(all_devices(device))
    torch.set_num_threads(max(1, cores // jobs))  # as many processes decode images for a run that has files
    return jobs


def choose_precision(name: str | None, device: torch.device) -> Precision:
    """Return the precision asked for, or the best that the device computes in.

    Raises:
        ValueError: if there is no such precision, or not on this device.
    """
    if name is not None and name not in PRECISIONS:
        raise ValueError(f"--precision {name}: accepted are {', '.join(PRECISIONS)}")
    if name == "tf32" and device.type != "cuda":
        raise ValueError(f"--precision tf32: only CUDA devices have it, not {device.type}; use fp32 or bf16")
    return name if name else best_precision(device)


def choose_execution(name: str | None, device: torch.device, precision: Precision) -> Execution:
    """Return the execution asked for, or the best for the device.

    Raises:
        ValueError: if there is no such execution, or not on this device or in this precision.
    """
    if name is not None and name not in list(Execution):
        raise ValueError(f"--execution {name}: accepted are auto, {', '.join(Execution)}")
    chosen = Execution(name) if name else best_execution(device, precision)
    if chosen.recorded and device.type != "cuda":
        raise ValueError(f"--execution {name}: graphs need a CUDA device, not {device.type}; use eager or compile")
    if chosen.recorded and precision == "fp16":
        raise ValueError(
            f"--execution {name}: the scaler of fp16 has not been tried in a graph; use bf16, or eager or compile"
        )
    if chosen.compiled and not compiler():
        raise ValueError(f"--execution {name}: torch.compile needs a C++ compiler (g++ or clang++); install one")
    return chosen


def compiler() -> str | None:
    """Find the C++ compiler that ``torch.compile`` would call."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)


class Fault(NamedTuple):
    """Why a GPU is not used, and what to do about it."""

    reason: str
    remedy: str


OTHER_BUILD = "install the torch build for it (https://pytorch.org/get-started/locally)"


def unused_gpu() -> Fault | None:
    """Say why torch does not use a GPU that this machine seems to have; None if there is none or it is used."""
    if torch.cuda.is_available():
        return cannot_compute(torch.device("cuda"))
    has_nvidia = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if not has_nvidia:
        return None
    if torch.version.cuda is None:
        return Fault("an NVIDIA driver is here, but this torch is a build without CUDA", OTHER_BUILD)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return Fault(f"CUDA_VISIBLE_DEVICES='{visible}' hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    built_for = f"torch (built for CUDA {torch.version.cuda})"
    return Fault(f"an NVIDIA driver is here, but {built_for} finds no usable GPU", OTHER_BUILD)


@cache
def cannot_compute(device: torch.device) -> Fault | None:
    """Say why torch cannot compute on a CUDA device that it finds: it adds 1 and 1 there.

    A torch build that has no kernels for a GPU finds it all the same, as one does that another program has filled
    or holds for itself.
    """
    try:
        torch.ones((), device=device).add(1).item()
    except RuntimeError as error:  # torch's errors of the device are RuntimeErrors
        line = str(error).splitlines()[0]
        if "no kernel image" not in line:
            return Fault(f"torch cannot compute on {device} ({line})", "stop what else uses the GPU")
        capability = "sm_{}{}".format(*torch.cuda.get_device_capability(device))
        built_for = ", ".join(torch.cuda.get_arch_list())
        return Fault(f"this torch was built for {built_for}, the GPU is {capability}", OTHER_BUILD)
    return None


@cache
def environment(device: torch.device) -> Environment:
    """Describe versions, device and git commit, as they go into the record."""
    cuda = device.type == "cuda"
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=importlib.metadata.version("torchvision"),
        numpy=importlib.metadata.version("numpy"),
        platform=platform.platform(),
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if cuda else _processor(),
        cuda=torch.version.cuda if cuda else None,
        cudnn=torch.backends.cudnn.version() if cuda else None,
        threads=torch.get_num_threads(),
        decoder=decoder(),
        git_commit=_git("rev-parse", "--short=12", "HEAD"),
        git_changes=bool(_git("status", "--porcelain", "--", *source_hashes())),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    folder = REPOSITORY
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
