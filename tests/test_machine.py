"""The machine: which devices, precisions and executions are chosen, and which are refused."""

import pytest
import torch

from plain_vs_residual.suite import machine

CUDA = torch.device("cuda")


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
def test_cuda_means_every_gpu_and_a_number_means_one() -> None:
    assert [device.index for device in machine.all_devices(CUDA)] == [0, 1, 2]
    assert machine.all_devices(torch.device("cuda:1")) == [torch.device("cuda:1")]
    assert machine.all_devices(torch.device("cpu")) == [torch.device("cpu")]
    assert machine.share_cores(None, CUDA) == 3
    assert machine.share_cores(None, torch.device("cuda:1")) == 1
    assert machine.share_cores(5, CUDA) == 5


def test_cores_are_shared_among_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.share_cores(None, torch.device("cpu")) == 4
    assert machine.share_cores(1, torch.device("cpu")) == 1
    assert threads == [2, 8]


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "compiler", lambda: None)
    with pytest.raises(ValueError, match=r"--execution compile: torch.compile needs a C\+\+ compiler"):
        machine.choose_execution("compile", torch.device("cpu"), "bf16")


def test_loss_scaling_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match="fp16 scales its loss on the host"):
        machine.choose_execution("graph", CUDA, "fp16")
    assert machine.choose_execution(None, CUDA, "fp16") == "eager"
    assert machine.choose_execution(None, CUDA, "bf16") == "graph"
