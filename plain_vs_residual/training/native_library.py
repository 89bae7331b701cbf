"""The library that a C++ compiler makes of ``native_step.cpp``: at its first use, for this processor."""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.training.execution import compiler, compiler_version

SOURCE = Path(__file__).with_name("native_step.cpp")
FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-mfma")
AVX2 = ("-mavx2",)
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
AVX512_BF16 = "-mavx512bf16"
NO_COMPILER = "native steps need a C++ compiler (g++ or clang++); install one, or use eager"


def instructions() -> tuple[str, ...]:
    """Return a compiler's options for the vectors of this processor; none where it has no AVX2."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX2":
        return AVX2
    if not capability.startswith("AVX512"):
        return ()
    return (*AVX512, AVX512_BF16) if torch.cpu._is_avx512_bf16_supported() else AVX512


@cache
def library(precision: Precision, source: Path = SOURCE) -> ctypes.CDLL:
    """Load the compiled source; it is compiled once, and kept in the user's cache.

    Raises:
        ValueError: if there is no compiler, or it fails.
    """
    found = compiler()
    if found is None:
        raise ValueError(f"--execution native: {NO_COMPILER}")
    options = [*FLAGS, *instructions(), *(["-DBF16"] if precision == "bf16" else [])]
    made_of = hashlib.sha256(repr((source.read_text(encoding="utf-8"), options, compiler_version())).encode())
    made = _cache() / f"native-step-{made_of.hexdigest()[:16]}.so"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            new = Path(folder) / made.name
            command = [found, *options, str(source), "-o", str(new)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ValueError(f"{found} does not compile {source.name}: {result.stderr.strip()[:200]}")
            new.replace(made)  # at one stroke, because several processes may make it at the same time
    loaded = ctypes.CDLL(str(made))
    loaded.create.restype = ctypes.c_void_p
    return loaded


def _cache() -> Path:
    """Return the user's cache; where nothing can be kept in it, a new folder for this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plain-vs-residual"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return Path(tempfile.mkdtemp())
    return folder
