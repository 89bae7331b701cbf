"""The machine that runs take place on: its devices and cores, and what they can compute."""

import os
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from plain_vs_residual.arithmetic import PRECISIONS, Execution, Precision, check_names
from plain_vs_residual.training.execution import best_execution, has_triton
from plain_vs_residual.training.precision import best_precision


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


def choose_precision(name: str | None, device: torch.device) -> Precision:
    """Return the precision asked for, or the best that the device computes in.

    Raises:
        ValueError: if there is no such precision, or not on this device.
    """
    check_names(name, None)
    if name == "tf32" and device.type != "cuda":
        raise ValueError(f"--precision tf32: only CUDA devices have it, not {device.type}; use fp32 or bf16")
    return next((one for one in PRECISIONS if one == name), best_precision(device))


def choose_execution(name: str | None, device: torch.device) -> Execution:
    """Return the execution asked for, or the best for the device.

    Raises:
        ValueError: if there is no such execution, or not on this device.
    """
    check_names(None, name)
    chosen = Execution(name) if name else best_execution(device)
    if reason := refusal(chosen, device):
        raise ValueError(f"--execution {chosen}: {reason}")
    return chosen


def refusal(execution: Execution, device: torch.device) -> str:
    """Say why a device cannot have an execution, and what to do; empty if it can."""
    if execution.recorded and device.type != "cuda":
        return f"graphs need a CUDA device, not {device.type}; use eager or compile"
    if execution.fused and not has_triton():
        return "fused kernels need Triton, which comes with torch for CUDA on Linux; use graph"
    if execution.compiled and not compiler():
        return "torch.compile needs a C++ compiler (g++ or clang++); install one"
    return ""


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
