"""The machine that runs take place on: its devices and cores, and what they can compute."""

import torch

from plain_vs_residual.arithmetic import PRECISIONS, Execution, Precision, check_names
from plain_vs_residual.executors.gpus import alike, cannot_compute, unused_gpu
from plain_vs_residual.training.execution import best_execution, compiler, has_triton
from plain_vs_residual.training.native_library import NO_COMPILER, instructions
from plain_vs_residual.training.precision import best_precision


def choose_device(name: str | None) -> torch.device:
    """Return the device asked for, or CUDA where it can be used, else the CPU.

    Raises:
        ValueError: if there is no such device here, or torch cannot compute on it.
    """
    if name is None:
        return _gpus_of_one_model() or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"--device {name}: accepted are cpu, cuda, cuda:N and mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            why = "; ".join(unused) if (unused := unused_gpu()) else f"{count} CUDA devices are here"
            raise ValueError(f"--device {name}: torch {torch.__version__} cannot use it ({why}); try --device cpu")
        if device.index is None and (several := _gpus_of_one_model()):
            return several
        if fault := cannot_compute(device):
            raise ValueError(f"--device {name}: {fault.reason}; {fault.remedy}, or try --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"--device {name}: no Metal device here; try --device cpu")
    return device


def _gpus_of_one_model() -> torch.device | None:
    """Return what stands for the GPUs that runs take; the first of them becomes the one that torch means by it."""
    taken = alike() if torch.cuda.is_available() else []
    if taken and taken[0].index:
        torch.cuda.set_device(taken[0])
    return torch.device("cuda") if taken else None


def all_devices(device: torch.device) -> list[torch.device]:
    """List every device that ``device`` stands for: ``cuda`` without a number means all GPUs of one model."""
    return alike() if device.type == "cuda" and device.index is None else [device]


def choose_precision(name: str | None, device: torch.device) -> Precision:
    """Return the precision asked for, or the best that the device computes in.

    Raises:
        ValueError: if there is no such precision, or not on this device.
    """
    check_names(name, None)
    if name == "tf32" and device.type != "cuda":
        raise ValueError(f"--precision tf32: only CUDA devices have it, not {device.type}; use fp32 or bf16")
    chosen = next((one for one in PRECISIONS if one == name), None)
    if chosen or device.type != "cuda":
        return chosen or best_precision(device)
    with torch.cuda.device(all_devices(device)[0]):  # the one that torch is asked about
        return best_precision(device)


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
    return _no_native_steps(device) if execution is Execution.NATIVE else ""


def _no_native_steps(device: torch.device) -> str:
    if device.type != "cpu":
        return f"native steps are computed on a CPU, not on {device.type}; leave the option out"
    if not instructions():
        return "native steps need a processor with AVX2; use eager"
    if not compiler():
        return NO_COMPILER
    return ""
