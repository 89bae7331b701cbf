"""The doctor: it reports what is ready and what is not, and gives a remedy for each problem."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.cli.app import app
from plain_vs_residual.executors import doctor, room
from plain_vs_residual.executors.needs import (
    _network_bytes,
    bytes_on_their_way,
    largest_network_bytes,
    weight_bytes,
)
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.networks import abstract
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.locks import RunLocks
from plain_vs_residual.settings import SETTINGS, find_setting
from plain_vs_residual.training.precision import autocast
from tests.conftest import CPU, network_of
from tests.made_up_records import write_results


def found(results: Path, setting: str = "digits", **options: Any) -> dict[str, list[doctor.Finding]]:
    values: dict[str, Any] = {"data": None, "device_name": "cpu", "seeds": 1} | options
    listed: dict[str, list[doctor.Finding]] = {}
    for finding in doctor.examine(find_setting(setting), values.pop("data"), results, **values):
        listed.setdefault(finding.what, []).append(finding)
    return listed


def fixes(listed: dict[str, list[doctor.Finding]]) -> dict[str, str]:
    return {what: finding.fix for what, findings in listed.items() for finding in findings if finding.fix}


def test_a_ready_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    listed = found(tmp_path / "results")
    assert fixes(listed) == {}
    assert {
        "Python",
        "torch",
        "torchvision",
        "device",
        "memory",
        "data",
        "results",
        "disk",
        "records",
        "lock",
    } <= set(listed)
    assert "1,437 training and 360 validation images" in listed["data"][0].found


def test_missing_data_and_a_full_disk_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    listed = found(tmp_path / "results", data=tmp_path / "nowhere")
    assert set(fixes(listed)) == {"data", "disk"}
    assert "no such folder" in listed["data"][0].found


def test_too_little_memory_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_free_memory", lambda: 2**20)
    assert set(fixes(found(tmp_path / "results"))) == {"memory"}


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="no shared memory of its own")
def test_too_little_shared_memory_is_a_problem_for_images_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"/dev/shm": 64 * 2**20}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free.get(str(path), 2**40)))
    mended = fixes(found(tmp_path / "results", "imagenet"))
    assert "--shm-size" in mended["shared memory"]
    assert "shared memory" not in found(tmp_path / "results", "cifar10")
    free["/dev/shm"] = bytes_on_their_way(find_setting("imagenet"))
    assert room.shared_memory(find_setting("imagenet")).fix == ""  # exactly enough
    free["/dev/shm"] -= 1
    assert "--shm-size" in room.shared_memory(find_setting("imagenet")).fix


def test_an_unknown_device_is_a_problem(tmp_path: Path) -> None:
    assert set(fixes(found(tmp_path / "results", device_name="tpu"))) == {"device"}


def test_a_file_in_the_place_of_results_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    assert "results" in fixes(found(tmp_path / "results"))


@pytest.mark.parametrize("error", ["ImportError", "OSError", "RuntimeError"])
def test_a_torch_that_cannot_be_imported_is_a_problem(tmp_path: Path, error: str) -> None:
    broken = tmp_path / "torch"
    broken.mkdir()
    (broken / "__init__.py").write_text(f"raise {error}('libcudart.so: cannot open shared object file')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}

    def said(name: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "plain_vs_residual", name, "--results", str(tmp_path / "results")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, text = said("doctor")
    assert code == 1
    assert "PROBLEM torch: cannot be imported: libcudart.so" in text
    assert "Traceback" not in text
    if error == "ImportError":
        code, text = said("train")
        assert code == 2
        assert text.startswith("error: libcudart.so")
        assert "doctor says what is missing" in text


def test_damage_and_locks_are_found(tmp_path: Path) -> None:
    write_results(tmp_path, [load_experiments()["fig4_depth"]], "digits", seeds=range(1))
    run = next((tmp_path / "digits").glob("plain18*"))
    (run / "metrics.csv").write_text("gone")
    with RunLocks([run]):
        listed = found(tmp_path)
    assert "metrics.csv: damaged" in next(finding.found for finding in listed["records"] if finding.fix)
    assert f"{run.name} is being trained by process" in listed["lock"][0].found


@pytest.mark.parametrize("name", SETTINGS)
def test_the_need_of_every_setting_is_plausible(name: str) -> None:
    """The largest network needs 10 MiB to 1 GiB on fashion and digits, and 3 to 10 GiB on parts of ImageNet."""
    need = largest_network_bytes(find_setting(name)) / 2**30
    low, high = {"fashion": (0.01, 1), "digits": (0.01, 1), "imagenet": (3, 10)}.get(name, (0.5, 10))
    assert low < need < high


def test_imagenet_in_bf16_needs_what_a_part_of_32_images_needs() -> None:
    assert largest_network_bytes(find_setting("imagenet"), "bf16") / 2**30 == pytest.approx(3.6, abs=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_need_is_that_of_what_autograd_keeps(precision: Precision) -> None:
    """Of ResNet-34 on digits, where what a batch keeps outweighs the weights; by parts as by whole batches."""
    setting = find_setting("digits").with_changes({"batch_size": 64, "norm_batch": 32})
    network = network_of("residual34-B", channels=1, num_classes=10, stem_width=setting.stem_width).train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.randn(
        setting.batch_size // setting.num_ghost_batches, 1, setting.input_size, setting.input_size
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(CPU, precision):
        loss = network(images).float().logsumexp(dim=1).sum()
    weights = weight_bytes(network)
    assert loss.requires_grad
    shapes = abstract(Architecture.parse("residual34-B"), setting, channels=1, num_classes=10)
    estimate = _network_bytes(setting, shapes, precision)
    # Gradients and momentum come to it, and the weights themselves where rounded ones are kept.
    others = (2 if precision == "fp32" else 3) * weights
    assert estimate == pytest.approx(sum(kept.values()) + others, rel=0.15)


def test_the_command_says_each_finding_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app(
        ["doctor", "--setting", "digits", "--results", str(tmp_path / "r"), "--device", "cpu"],
        standalone_mode=False,
    )
    assert "PROBLEM" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        app(["doctor", "--setting", "imagenet", "--results", str(tmp_path / "r")], standalone_mode=False)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "PROBLEM data: setting imagenet: no images" in said
    assert "-> " in said


def test_a_gpu_that_cannot_be_asked_is_a_problem_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: torch.device) -> None:
        raise RuntimeError("CUDA error: out of memory\nmore lines")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fails)
    finding = room.memory(find_setting("digits"), torch.device("cuda"))
    assert finding.found == "unknown: CUDA error: out of memory"
    assert finding.fix == "stop what else uses the GPU"


def test_image_files_are_counted_and_some_are_decoded(tmp_path: Path, image_folder: Path) -> None:
    (finding,) = found(tmp_path / "results", "imagenet", data=image_folder)["data"]
    assert finding.fix == ""
    assert "24 training and 9 validation images, 3 classes; 33 sampled files decoded by" in finding.found
    (image_folder / "val" / "bee" / "1.png").write_bytes(b"\x89PNG and no more")
    (finding,) = found(tmp_path / "results", "imagenet", data=image_folder)["data"]
    assert "1 of 33 sampled files cannot be decoded: unreadable image" in finding.found
    assert "bee/1.png" in finding.found
    assert finding.fix == "a run would stop there; replace or delete such files"


def test_what_draws_is_imported_before_a_run_of_hours_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plain_vs_residual.report.page", None)
    drawing = found(tmp_path / "results")["drawing"][0]
    assert "cannot be imported: " in drawing.found
    assert drawing.fix
    monkeypatch.undo()
    assert "matplotlib" in found(tmp_path / "results")["drawing"][0].found
