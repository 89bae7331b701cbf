"""GPUs as they are, of several models, with old drivers, of AMD, without bf16: which are taken, what is said."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from plain_vs_residual.executors import doctor, drivers, gpus, machine
from plain_vs_residual.executors.gpus import Fault
from plain_vs_residual.executors.sharing import share
from plain_vs_residual.settings import find_setting

CUDA = torch.device("cuda")
INDEX = "https://download.pytorch.org/whl"
Models = Callable[..., None]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Return what gives this machine GPUs by name; those that torch cannot use are named by number."""

    def have(*names: str, broken: tuple[int, ...] = ()) -> None:
        def trial(device: torch.device) -> Fault | None:
            return Fault("no kernels", "another build") if (device.index or 0) in broken else None

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[device.index or 0])
        monkeypatch.setattr(gpus, "cannot_compute", trial)
        monkeypatch.setattr(machine, "cannot_compute", trial)

    return have


def numbers(devices: list[torch.device]) -> list[int | None]:
    return [device.index for device in devices]


def test_runs_take_gpus_of_one_model_and_the_others_are_named(models: Models) -> None:
    models("A100", "A100", "T4", "A100")
    assert numbers(machine.all_devices(CUDA)) == [0, 1, 3]
    assert share(CUDA).at_once == 3
    said = gpus.left_out()
    assert "of 4 GPUs, runs take 3 of one model (A100)" in said
    assert "left out: cuda:2 (T4); --device cuda:N takes another" in said
    assert machine.all_devices(torch.device("cuda:2")) == [torch.device("cuda:2")]
    # The devices of one run are of one model, too, and not simply the next numbers.
    assert numbers(gpus.alike_from(torch.device("cuda:1"))) == [1, 3]


def test_a_first_gpu_that_torch_cannot_use_does_not_stop_the_others(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("GT 710", "H100", "H100", broken=(0,))
    meant: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", meant.append)
    assert machine.choose_device(None) == machine.choose_device("cuda") == CUDA
    assert numbers(meant) == [1, 1]  # commands of one network compute where torch does by itself
    assert numbers(machine.all_devices(CUDA)) == [1, 2]
    assert machine.unused_gpu() is None
    assert "cuda:0 (GT 710: no kernels)" in gpus.left_out()
    with pytest.raises(ValueError, match="--device cuda:0: no kernels; another build"):
        machine.choose_device("cuda:0")


def test_where_torch_can_use_none_the_cpu_is_taken(models: Models) -> None:
    models("GT 710", "GT 720", broken=(0, 1))
    assert machine.choose_device(None) == torch.device("cpu")
    with pytest.raises(ValueError, match="--device cuda: no kernels"):
        machine.choose_device("cuda")


def test_gpus_of_one_model_are_all_taken_and_nothing_is_said(models: Models) -> None:
    models("H100", "H100")
    assert numbers(machine.all_devices(CUDA)) == [0, 1]
    assert gpus.left_out() == ""


# ---- precision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "precision", "advised"),
    [
        ((7, 0), "fp32", True),
        ((7, 5), "fp32", True),
        ((7, 5), "bf16", True),
        ((7, 5), "fp16", False),
        ((6, 1), "fp32", False),  # slow in fp16, too
        ((8, 0), "fp32", False),
        ((9, 0), "bf16", False),
    ],
)
def test_fp16_is_advised_where_bf16_is_emulated(
    models: Models, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: Any, advised: bool
) -> None:
    models("Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    said = gpus.remark_on_precision(torch.device("cuda:0"), precision)
    assert bool(said) is advised
    if advised:
        assert said.startswith("Tesla T4 is slow in ")
        assert "--precision fp16" in said
    assert gpus.remark_on_precision(torch.device("cpu"), precision) == ""


# ---- drivers and builds ----------------------------------------------------------------------------------


@pytest.fixture
def an_old_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with driver 535, on which the torch of PyPI, for CUDA 13, finds no GPU."""
    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
        "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
    )
    monkeypatch.setattr(drivers, "NVIDIA_DRIVER", version)
    monkeypatch.setattr(gpus, "_has_nvidia", lambda: True)
    monkeypatch.setattr(gpus, "nvidia_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for name in gpus.HIDING:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("an_old_driver")
def test_a_driver_too_old_is_named_with_its_cuda_and_a_build_that_fits() -> None:
    unused = machine.unused_gpu()
    assert unused
    assert unused.reason == (
        "an NVIDIA driver (535.104.05, for CUDA up to 12.2) is here, but torch (built for CUDA 13.0) finds no "
        "usable GPU"
    )
    assert unused.remedy.startswith("install the torch build for it: ")
    assert f"--index-url {INDEX}/cu126" in unused.remedy


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build", "570.86.15"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82  Thu", "470.82"),
        ("something else", ""),
    ],
)
def test_drivers_say_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, version: str
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(drivers, "NVIDIA_DRIVER", tmp_path / "version")
    assert drivers.nvidia_driver() == version


@pytest.mark.parametrize(
    ("capability", "driver", "advised"),
    [
        ((8, 0), "580.65.06", "/cu130"),
        ((8, 0), "535.104.05", "/cu126"),
        ((7, 0), "580.65.06", "/cu126"),  # Volta: CUDA 13 has no kernels for it
        ((6, 1), "", "/cu126"),
        (
            (12, 0),
            "570.86.15",
            "'torch==2.11.*' 'torchvision==0.26.*' --index-url https://download.pytorch.org/whl/cu128",
        ),
        ((12, 0), "580.65.06", "/cu130"),
        ((8, 6), "470.82.01", "update the driver to 525 or newer, then install the torch build"),
        ((3, 5), "470.82.01", "no build of torch since 2.11"),
        (None, "550.54.14", "/cu126"),
        (None, "", "/cu130"),
    ],
)
def test_a_build_is_named_that_fits_gpu_and_driver(
    capability: tuple[int, int] | None, driver: str, advised: str
) -> None:
    assert advised in drivers.fitting_cuda_build(capability, driver)


@pytest.fixture
def an_amd_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a processor, and a GPU of AMD that torch does not find."""
    processor = {"cpu_cores_count": 64, "simd_count": 0, "gfx_target_version": 0}
    instinct = {"cpu_cores_count": 0, "simd_count": 1216, "gfx_target_version": 90402}
    for number, node in enumerate((processor, instinct)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "properties").write_text("".join(f"{name} {value}\n" for name, value in node.items()))
    monkeypatch.setattr(drivers, "AMD_NODES", tmp_path)
    monkeypatch.setattr(gpus, "_has_nvidia", lambda: False)
    monkeypatch.setattr(gpus, "amd_driver", lambda: "driver 6.12.12, ROCm 6.4.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in gpus.HIDING:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("an_amd_gpu")
@pytest.mark.parametrize(("cuda", "build"), [("13.0", "for CUDA 13.0"), (None, "without ROCm")])
def test_an_amd_gpu_wants_another_build(monkeypatch: pytest.MonkeyPatch, cuda: str | None, build: str) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    unused = machine.unused_gpu()
    assert unused
    assert unused.reason == (
        f"an AMD GPU (gfx942, driver 6.12.12, ROCm 6.4.1) is here, but this torch is a build {build}"
    )
    assert f"--index-url {INDEX}/rocm7.2" in unused.remedy


@pytest.mark.usefixtures("an_amd_gpu")
def test_an_amd_gpu_that_may_not_be_opened_or_has_an_old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.2.26015-fc0010cf6a")
    monkeypatch.setattr(gpus.os, "access", lambda *_: False)
    unused = machine.unused_gpu()
    assert unused
    assert "this user may not open /dev/kfd" in unused.reason
    assert unused.remedy == "join the groups render and video (usermod -aG)"
    monkeypatch.setattr(gpus.os, "access", lambda *_: True)
    unused = machine.unused_gpu()
    assert unused
    assert "torch (built for ROCm 7.2.26015-fc0010cf6a) finds no usable GPU" in unused.reason
    assert "install the amdgpu driver that belongs to ROCm 7.2 or newer" in unused.remedy
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "-1")
    unused = machine.unused_gpu()
    assert unused
    assert unused == Fault("HIP_VISIBLE_DEVICES='-1' hides every GPU", "unset HIP_VISIBLE_DEVICES")


def test_graphics_that_are_part_of_a_processor_are_no_gpu_for_training(an_amd_gpu: Path) -> None:
    (an_amd_gpu / "1" / "properties").write_text("cpu_cores_count 16\nsimd_count 4\ngfx_target_version 90012\n")
    assert machine.unused_gpu() is None


# ---- what the doctor says of them ----------------------------------------------------------------------------


def test_the_doctor_tries_every_gpu_and_says_what_is_left_out(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("Tesla T4", "GT 710", "Tesla T4", broken=(2,))
    asked: list[torch.device] = []

    def current(device: torch.device) -> AbstractContextManager[None]:
        asked.append(device)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (15 * 2**30, 16 * 2**30))
    findings = list(doctor._device(find_setting("imagenet"), None))
    device, compiler, broken, *others = findings
    execution = machine.choose_execution(None, CUDA)
    assert device.found.startswith(f"2 x Tesla T4 (cuda), fp32, {execution}; Tesla T4 is slow in fp32")
    assert "left out: cuda:1 (GT 710)" in device.found
    assert broken == doctor.Finding("device", "no kernels", "another build")
    assert {finding.what: finding.fix for finding in others} == {"cores": "", "memory": ""}
    assert compiler.what == "compiler"
    assert asked == [torch.device("cuda:0")]
    assert "15.0 GiB free, about 6.1 GiB needed for one run in fp32" in others[-1].found
