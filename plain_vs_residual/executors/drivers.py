"""What drivers of GPUs say of themselves, and which build of torch fits them.

For torch 2.11 to 2.14: https://github.com/pytorch/pytorch/blob/main/RELEASE.md. A driver runs every build for its
own major version of CUDA: https://docs.nvidia.com/deploy/cuda-compatibility.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

INDEX = "https://download.pytorch.org/whl"
SEE = "https://pytorch.org/get-started/locally"
ROCM = "7.2"
# The CUDA that the first driver of each branch brought.
CUDA_OF_DRIVERS = (
    *((595, "13.2"), (590, "13.1"), (580, "13.0"), (575, "12.9"), (570, "12.8"), (565, "12.7"), (560, "12.6")),
    *((555, "12.5"), (550, "12.4"), (545, "12.3"), (535, "12.2"), (530, "12.1"), (525, "12.0"), (520, "11.8")),
    *((515, "11.7"), (510, "11.6"), (495, "11.5"), (470, "11.4"), (465, "11.3"), (460, "11.2"), (450, "11.0")),
)
FOR_CUDA_12, FOR_BLACKWELL, FOR_CUDA_13 = 525, 570, 580  # the first drivers
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
AMD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


# ---- NVIDIA ----------------------------------------------------------------------------------------------


def nvidia_driver() -> str:
    """Return the version of the NVIDIA driver, such as 535.104.05; empty if it does not say."""
    try:
        text = NVIDIA_DRIVER.read_text(encoding="utf-8")
    except OSError:
        text = _asked("driver_version")
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return found[0] if found else ""


def nvidia_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU as its driver says it; None if it does not."""
    found = re.match(r"(\d+)\.(\d)", _asked("compute_cap"))
    return (int(found[1]), int(found[2])) if found else None


def _asked(field: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def cuda_of(driver: str) -> str:
    """Return the CUDA version that a driver brings.

    >>> cuda_of("535.104.05"), cuda_of("418.87")
    ('12.2', '10 or older')
    """
    major = int(driver.partition(".")[0])
    return next((cuda for least, cuda in CUDA_OF_DRIVERS if major >= least), "10 or older")


def fitting_cuda_build(capability: tuple[int, int] | None, driver: str) -> str:
    """Say how to install a build of torch that a GPU and its driver can run.

    Args:
        capability: of the GPU; None if unknown.
        driver: its version; empty if unknown.
    """
    major = int(driver.partition(".")[0]) if driver else FOR_CUDA_13
    if capability and capability < (5, 0):
        return f"no build of torch since 2.11 computes on it: --device cpu ({SEE})"
    blackwell, old = bool(capability and capability >= (10, 0)), bool(capability and capability < (7, 5))
    least = FOR_BLACKWELL if blackwell else FOR_CUDA_12
    update = f"update the driver to {least} or newer, then " if major < least else ""
    if blackwell and max(major, least) < FOR_CUDA_13:
        return f"{update}{_install('cu128', '==2.11.*', '==0.26.*')}"
    return f"{update}{_install('cu126' if old or major < FOR_CUDA_13 else 'cu130')}"


def _install(build: str, torch: str = "", torchvision: str = "") -> str:
    packages = " ".join(shlex.quote(name) for name in (f"torch{torch}", f"torchvision{torchvision}"))
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall {packages} --index-url {INDEX}/{build}"
    return f"install the torch build for it: {pip} ({SEE})"


# ---- AMD -------------------------------------------------------------------------------------------------


def amd_gpu() -> str:
    """Return the name of the first AMD GPU that is no part of a processor, such as gfx942; empty without one."""
    for path in sorted(AMD_NODES.glob("*/properties")):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:  # of a GPU that a container hides
            continue
        node = dict(line.rsplit(" ", 1) for line in lines if " " in line)
        version = int(node.get("gfx_target_version", 0))
        if int(node.get("simd_count", 0)) and not int(node.get("cpu_cores_count", 0)) and version:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def amd_driver() -> str:
    """Return the versions of the driver and of the ROCm that is installed here, as far as they say them."""
    found = []
    for name, path in (("driver", "/sys/module/amdgpu/version"), ("ROCm", "/opt/rocm/.info/version")):
        try:
            found.append(f"{name} {Path(path).read_text(encoding='utf-8').strip()}")
        except OSError:
            continue
    return ", ".join(found) or "driver of the kernel"


def fitting_rocm_build(built_for: str | None) -> str:
    """Say how to install a build of torch for AMD's GPUs, or what it wants, if this is one."""
    install = _install(f"rocm{ROCM}")
    if built_for is None:
        return install
    wanted = ".".join(built_for.split(".")[:2])
    return f"install the amdgpu driver that belongs to ROCm {wanted} or newer; else {install}"
