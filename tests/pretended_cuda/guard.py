"""Compiles ``guard.cpp`` once and loads it before torch, whose core then finds a CUDA device.

Imports no torch: torch looks for such a library once, while it is being imported.
"""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")


class CannotPretend(RuntimeError):
    """The guard cannot be compiled or loaded here; says why."""


def torch_folder() -> Path:
    """Return the folder of the installed torch, without importing it."""
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def compiled_guard() -> Path:
    """Compile the guard, unless that was done before for this source and this torch, and return the library.

    Raises:
        CannotPretend: if there is no g++, or if it does not compile the guard with this torch's headers.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise CannotPretend("no g++ here")
    made_of = f"{importlib.metadata.version('torch')} {torch_folder()} {compiler} {SOURCE.read_text()}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"pretended-cuda-{os.getuid()}" / f"{name}.so"
    if library.exists():
        return library
    library.parent.mkdir(mode=0o700, exist_ok=True)
    # Under a name of its own, then renamed: two processes may compile at once.
    being_made = library.with_suffix(f".{os.getpid()}")
    include, lib = torch_folder() / "include", torch_folder() / "lib"
    command = [compiler, "-std=c++20", "-O1", "-shared", "-fPIC", SOURCE, "-o", being_made]
    command += [f"-I{include}", f"-I{include}/torch/csrc/api/include", f"-L{lib}", "-lc10", "-ltorch_cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise CannotPretend(f"g++ does not compile the guard: {(errors or [done.stderr])[0]}")
    being_made.replace(library)
    return library


def load_guard() -> None:
    """Load the guard into this process, which must not have imported torch yet.

    Raises:
        CannotPretend: if it cannot be compiled or loaded.
    """
    assert "torch" not in sys.modules, "torch was imported before the guard was loaded"
    library = compiled_guard()
    try:
        for needed in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
            ctypes.CDLL(str(torch_folder() / "lib" / needed), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise CannotPretend(f"the guard cannot be loaded: {error}") from error
