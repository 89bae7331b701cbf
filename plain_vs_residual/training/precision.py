"""In which precision a network computes, and what torch keeps about that for the whole process."""

import os

import torch

from plain_vs_residual.arithmetic import Arithmetic, Precision

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def best_precision(device: torch.device) -> Precision:
    """Return bf16 where the device computes in it, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, probe, bool)() for probe in probes) else "fp32"
    return "fp32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Make the context in which a network computes in ``precision``; weights and BN statistics stay fp32."""
    dtype = AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def prepare_arithmetic(device: torch.device, arithmetic: Arithmetic) -> None:
    """Set what torch keeps for the whole process: threads, TF32, the choice of algorithms, determinism."""
    threads = max(1, arithmetic.threads // arithmetic.devices)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    deterministic = arithmetic.deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA first multiplies matrices
    if arithmetic.execution.compiled:
        torch.use_deterministic_algorithms(deterministic)  # imports the compiler, to tell it as well
    else:
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # Else every tensor that is about to be written is filled with NaN first; nothing here reads one before that.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)
        # torch rounds fp32 convolutions to TF32 unless told otherwise.
        fp32 = "tf32" if arithmetic.precision == "tf32" else "ieee"
        torch.backends.cudnn.conv.fp32_precision = fp32  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = fp32
        torch.backends.cudnn.benchmark = not deterministic


def this_process(precision: Precision, *, deterministic: bool = False) -> Arithmetic:
    """Return the arithmetic of this process as it is, for what is computed outside of a run."""
    return Arithmetic(precision=precision, deterministic=deterministic, threads=torch.get_num_threads())
