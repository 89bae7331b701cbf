"""The machine: which devices, precisions and executions are chosen, and which are refused."""

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plain_vs_residual.executors import cores, gpus, machine, placement, sharing
from plain_vs_residual.executors.common_arithmetic import ComputeOptions
from plain_vs_residual.executors.here import Here
from plain_vs_residual.executors.on_ray import OnRay
from plain_vs_residual.executors.placement import choose_placement, on_this_machine
from plain_vs_residual.executors.processes import Processes
from plain_vs_residual.executors.sharing import Sharing, share
from plain_vs_residual.group import Launched, launched

CUDA = torch.device("cuda")


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "pretended")
    monkeypatch.setattr(gpus, "cannot_compute", lambda _: None)
    monkeypatch.setattr(cores, "granted", lambda: math.inf)


@pytest.mark.usefixtures("three_gpus")
def test_cuda_means_every_gpu_and_a_number_means_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert [device.index for device in machine.all_devices(CUDA)] == [0, 1, 2]
    assert machine.all_devices(torch.device("cuda:1")) == [torch.device("cuda:1")]
    assert machine.all_devices(torch.device("cpu")) == [torch.device("cpu")]
    # Each run decodes its images with its share of the cores.
    assert share(CUDA) == Sharing(at_once=3, devices=1, threads=4)
    assert share(torch.device("cuda:1")) == Sharing(at_once=1, devices=1, threads=12)
    assert share(CUDA, jobs=5) == Sharing(at_once=5, devices=1, threads=2)
    assert share(CUDA, devices_per_run=2) == Sharing(at_once=1, devices=2, threads=12)
    with pytest.raises(ValueError, match=r"--devices-per-run 4: this machine offers 3; start.*torchrun"):
        share(CUDA, devices_per_run=4)


def test_small_runs_share_a_gpu_that_computes_them_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gibibytes = {0: 80, 1: 80}
    monkeypatch.setattr(sharing, "all_devices", lambda _: [torch.device("cuda", number) for number in gibibytes])
    monkeypatch.setattr(sharing, "num_cores", lambda: 16)
    monkeypatch.setattr(sharing, "control", lambda: "/usr/bin/nvidia-cuda-mps-control")
    properties = lambda gpu: SimpleNamespace(total_memory=gibibytes[gpu.index] * 2**30)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    assert [sharing.runs_per_gpu(CUDA, size) for size in (32, 64, 224)] == [4, 4, 1]
    assert sharing.runs_per_gpu(torch.device("cpu"), 32) == 1
    assert share(CUDA, per_gpu=4) == Sharing(at_once=8, devices=1, threads=2)
    assert share(CUDA, jobs=2, per_gpu=4) == Sharing(at_once=2, devices=1, threads=8)
    assert share(CUDA, devices_per_run=2, per_gpu=4) == Sharing(at_once=1, devices=2, threads=16)
    gibibytes[1] = 8
    assert sharing.runs_per_gpu(CUDA, 32) == 1
    monkeypatch.setattr(sharing, "control", lambda: None)
    assert sharing.runs_per_gpu(CUDA, 32) == 1


def test_cores_are_shared_among_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "granted", lambda: math.inf)
    assert share(torch.device("cpu")) == Sharing(at_once=4, devices=1, threads=2)
    assert share(torch.device("cpu"), jobs=1) == Sharing(at_once=1, devices=1, threads=8)


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "compiler", lambda: None)
    with pytest.raises(ValueError, match=r"--execution compile: torch.compile needs a C\+\+ compiler"):
        machine.choose_execution("compile", torch.device("cpu"))


def test_fused_kernels_need_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_triton", lambda: False)
    with pytest.raises(ValueError, match=r"--execution fused\+graph: fused kernels need Triton, .* use graph"):
        machine.choose_execution("fused+graph", CUDA)
    with pytest.raises(ValueError, match="graphs need a CUDA device, not cpu"):
        machine.choose_execution("fused+graph", torch.device("cpu"))


# ---- GPUs that cannot be used --------------------------------------------------------------------------------


@pytest.fixture
def a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


@pytest.mark.usefixtures("a_driver")
@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_variable_that_hides_every_gpu_is_named(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    unused = machine.unused_gpu()
    assert unused
    assert unused.reason == f"CUDA_VISIBLE_DEVICES='{visible}' hides every GPU"
    assert unused.remedy == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.usefixtures("a_driver")
def test_a_gpu_that_torch_does_not_find_asks_for_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    unused = machine.unused_gpu()
    assert unused
    assert "built for CUDA 13.0" in unused.reason
    assert "install the torch build" in unused.remedy


@pytest.fixture
def a_gpu_that_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A GPU that is found, and on which every computation fails with the error in the list."""
    error = ["CUDA error: no kernel image is available for execution on the device"]

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError(error[0] + "\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    monkeypatch.setattr(torch, "ones", fails)
    machine.cannot_compute.cache_clear()
    yield error
    machine.cannot_compute.cache_clear()


def test_a_gpu_without_kernels_is_not_used_and_the_build_is_said(a_gpu_that_fails: list[str]) -> None:
    assert machine.choose_device(None) == torch.device("cpu")
    unused = machine.unused_gpu()
    assert unused
    assert unused.reason == "this torch was built for sm_75, sm_90, the GPU is sm_61"
    with pytest.raises(ValueError, match=r"--device cuda: this torch was built for sm_75, sm_90.*get-started"):
        machine.choose_device("cuda")


def test_a_gpu_that_is_full_or_held_is_said_in_one_line(a_gpu_that_fails: list[str]) -> None:
    a_gpu_that_fails[0] = "CUDA error: out of memory"
    with pytest.raises(ValueError, match=r"cannot compute on cuda \(CUDA error: out of memory\); stop what else"):
        machine.choose_device("cuda")


# ---- processes that torchrun started ---------------------------------------------------------------------------


def test_the_place_among_the_processes_of_torchrun_is_read_name_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process of the second of two machines, with four on each."""
    assert launched() == Launched(rank=0, local_rank=0, size=1, local_size=1)
    said = {"RANK": 5, "LOCAL_RANK": 1, "WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4, "TORCHELASTIC_RUN_ID": "none"}
    for name, value in said.items():
        monkeypatch.setenv(name, str(value))
    assert launched() == Launched(rank=5, local_rank=1, size=8, local_size=4)
    monkeypatch.setattr(sharing, "num_cores", lambda: 20)
    # A run of all eight processes, each with a fourth of its machine's cores; threads are those of the whole run.
    assert share(torch.device("cpu")) == Sharing(at_once=1, devices=8, threads=8 * 5)


# ---- a cluster -------------------------------------------------------------------------------------------------


def test_a_cluster_is_not_asked_for_cpus_by_mistake(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login node without a GPU would choose a setting and a precision for CPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    suite = make_suite("plain18")
    given = (suite.selection.plan(), suite.ledger, suite.dataset)
    with pytest.raises(ValueError, match="--cluster local: this machine has no GPU to choose a setting"):
        choose_placement(*given, ComputeOptions(cluster="local"))
    placed = choose_placement(*given, ComputeOptions(cluster="local", device="cpu"))
    assert isinstance(placed.executor, OnRay)
    assert placed.executor.gpus == 0


@pytest.mark.usefixtures("three_gpus")
def test_devices_per_run_are_those_of_the_clusters_machines(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that gives the command may have fewer."""
    monkeypatch.setattr(placement, "choose_device", lambda _: CUDA)
    monkeypatch.setattr(placement, "runs_per_gpu", lambda *_: 1)
    monkeypatch.setattr(placement, "choose_arithmetic", lambda *_: [])
    suite = make_suite("plain18")
    given = (suite.selection.plan(), suite.ledger, suite.dataset)
    options = ComputeOptions(cluster="local", device="cuda", devices_per_run=4, data=Path("images"))
    placed = choose_placement(*given, options)
    assert isinstance(placed.executor, OnRay)
    assert placed.executor.gpus == 4
    assert placed.executor.data == Path("images").resolve()
    with pytest.raises(ValueError, match="--devices-per-run 4: this machine offers 3"):
        choose_placement(*given, ComputeOptions(device="cuda", devices_per_run=4))


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_completes_no_group_is_left_alone(make_suite: Any) -> None:
    """Three GPUs, two per run: the third would be asked for a fourth."""
    suite = make_suite("plain18")
    executor = on_this_machine(CUDA, Sharing(at_once=2, devices=2, threads=1), suite.dataset_of)
    assert isinstance(executor, Processes)
    assert list(executor.devices) == [torch.device("cuda", 0)]


@pytest.mark.usefixtures("three_gpus")
def test_runs_at_the_same_time_take_all_gpus_and_one_at_a_time_the_first(make_suite: Any) -> None:
    gpus = [torch.device("cuda", number) for number in range(3)]
    suite = make_suite("plain18")
    executor = on_this_machine(CUDA, Sharing(at_once=3, devices=1, threads=1), suite.dataset_of)
    assert isinstance(executor, Processes)
    assert (list(executor.devices), executor.at_once) == (gpus, 3)
    alone = on_this_machine(CUDA, Sharing(at_once=1, devices=1, threads=1), suite.dataset_of)
    assert isinstance(alone, Here)
    assert alone.place.device == gpus[0]
