"""The GPUs of this machine: which of them runs take, and why torch does not use those that it does not."""

import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.executors.drivers import (
    amd_driver,
    amd_gpu,
    cuda_of,
    fitting_cuda_build,
    fitting_rocm_build,
    nvidia_capability,
    nvidia_driver,
)

HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


class Fault(NamedTuple):
    """Why a GPU is not used, and what to do about it."""

    reason: str
    remedy: str


# ---- which GPUs runs take --------------------------------------------------------------------------------


def gpus() -> list[torch.device]:
    """List every GPU that torch finds."""
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def alike() -> list[torch.device]:
    """List the GPUs that runs take: the first that torch can compute on, and those of its model.

    Runs that were computed on GPUs of two models are no pair, so that others are left to ``--device cuda:N``.
    """
    first = next((device for device in gpus() if cannot_compute(device) is None), None)
    return alike_from(first) if first else []


def alike_from(first: torch.device) -> list[torch.device]:
    """List a GPU and those of its model that come after it."""
    model = torch.cuda.get_device_name(first)
    return [device for device in gpus()[first.index or 0 :] if torch.cuda.get_device_name(device) == model]


def left_out() -> str:
    """Say which GPUs runs do not take, and why; empty if they take all."""
    taken = alike()
    if not taken or len(taken) == len(gpus()):
        return ""
    model = torch.cuda.get_device_name(taken[0])
    others = [device for device in gpus() if device not in taken]
    words = []
    for device in others:
        # Only those before the first one were tried: trying takes memory on each.
        fault = cannot_compute(device) if (device.index or 0) < (taken[0].index or 0) else None
        words.append(f"{device} ({torch.cuda.get_device_name(device)}{f': {fault.reason}' if fault else ''})")
    return (
        f"of {len(gpus())} GPUs, runs take {len(taken)} of one model ({model}), as runs on two models are no "
        f"pairs; left out: {', '.join(words)}; --device cuda:N takes another"
    )


def remark_on_precision(device: torch.device, precision: Precision) -> str:
    """Recommend fp16 where a GPU has fast units for it and none for bf16, such as V100 and T4; empty elsewhere."""
    if device.type != "cuda" or torch.version.hip or precision == "fp16":
        return ""
    if torch.cuda.get_device_capability(device)[0] != 7:
        return ""
    slow = "bf16, which it only emulates," if precision == "bf16" else f"{precision} (it only emulates bf16)"
    return f"{torch.cuda.get_device_name(device)} is slow in {slow} and fast in fp16: --precision fp16"


def remarks_on_unused(device: torch.device) -> Iterator[str]:
    """Say which GPUs are not used on a device that was chosen for want of a number, and why."""
    if device.type != "cuda" and (unused := unused_gpu()):
        yield f"{unused.reason}; {unused.remedy}"
    if device.type == "cuda" and device.index is None and (others := left_out()):
        yield others


# ---- why others are not used -----------------------------------------------------------------------------


def unused_gpu() -> Fault | None:
    """Say why torch does not use a GPU that this machine seems to have; None if there is none or it is used."""
    if torch.cuda.is_available():
        return None if alike() else cannot_compute(torch.device("cuda"))
    for name in HIDING:
        visible = os.environ.get(name)
        if visible is not None and visible.strip() in ("", "-1") and (_has_nvidia() or amd_gpu()):
            return Fault(f"{name}='{visible}' hides every GPU", f"unset {name}")
    if _has_nvidia():
        return _unused_nvidia()
    return _unused_amd()


def _has_nvidia() -> bool:
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia/version").exists()


def _unused_nvidia() -> Fault:
    driver = nvidia_driver()
    named = f"an NVIDIA driver ({driver}, for CUDA up to {cuda_of(driver)})" if driver else "an NVIDIA driver"
    remedy = fitting_cuda_build(nvidia_capability(), driver)
    if torch.version.cuda is None:
        build = f"for ROCm {torch.version.hip}" if torch.version.hip else "without CUDA"
        return Fault(f"{named} is here, but this torch is a build {build}", remedy)
    return Fault(f"{named} is here, but torch (built for CUDA {torch.version.cuda}) finds no usable GPU", remedy)


def _unused_amd() -> Fault | None:
    gpu = amd_gpu()
    if not gpu:
        return None
    named = f"an AMD GPU ({gpu}, {amd_driver()}) is here"
    if torch.version.hip is None:
        build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without ROCm"
        return Fault(f"{named}, but this torch is a build {build}", fitting_rocm_build(None))
    if not os.access("/dev/kfd", os.R_OK | os.W_OK):
        return Fault(
            f"{named}, but this user may not open /dev/kfd", "join the groups render and video (usermod -aG)"
        )
    finds_none = f"but torch (built for ROCm {torch.version.hip}) finds no usable GPU"
    return Fault(f"{named}, {finds_none}", fitting_rocm_build(torch.version.hip))


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
        capability = torch.cuda.get_device_capability(device)
        built_for = ", ".join(torch.cuda.get_arch_list())
        reason = f"this torch was built for {built_for}, the GPU is sm_{capability[0]}{capability[1]}"
        return Fault(reason, fitting_cuda_build(capability, nvidia_driver()))
    return None
