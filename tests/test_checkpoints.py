"""Checkpoints as people have them: wrapped, averaged, in pieces, and files that only look like one."""

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.networks import Network
from plain_vs_residual.settings import CIFAR10
from plain_vs_residual.subject.weight_sets import State
from plain_vs_residual.subject.weights import network_for, read_checkpoint, read_weights
from tests.conftest import network_of

NAME = "cifar-residual14-B"


def built(seed: int) -> Network:
    return network_of(NAME, channels=3, num_classes=4, seed=seed)


ONE, TWO = built(1), built(2)


def state(seed: int = 1) -> State:
    return dict((ONE if seed == 1 else TWO).state_dict())


def prefixed(prefix: str, values: State) -> State:
    return {prefix + name: value for name, value in values.items()}


def as_torchvision(values: State) -> State:
    return {name.replace(".shortcut.", ".downsample."): value for name, value in values.items()}


def averaged(network: nn.Module) -> State:
    """What torch's own average of a network saves: n_averaged, and its weights under module."""
    average = AveragedModel(network)
    average.n_averaged.fill_(7)
    return dict(average.state_dict())


def with_head_of_its_own() -> State:
    """As mmpretrain saves: backbone. before every layer but the last, which is head.fc."""
    layers = {name: value for name, value in as_torchvision(state()).items() if not name.startswith("fc.")}
    return prefixed("backbone.", layers) | {
        f"head.fc.{name}": state()[f"fc.{name}"] for name in ("weight", "bias")
    }


class Wrapped(nn.Module):
    """A network in a network, as a training framework has it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = nn.DataParallel(network)
        self.register_buffer("steps", torch.tensor(12))


# What common programs save; each holds the first network's weights.
SAVED: dict[str, Callable[[], Any]] = {
    "timm": lambda: {"epoch": 3, "arch": "resnet14", "state_dict": as_torchvision(state()), "metric": 93.1},
    "lightning": lambda: {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed("model.", state()),
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
    },
    "net.": lambda: prefixed("net.", state()),
    "any prefix": lambda: {"state_dict": prefixed("learner.encoder.", state())},
    "mmpretrain": lambda: {"meta": {"epoch": 1}, "state_dict": with_head_of_its_own()},
    "classifier": lambda: {
        name.replace("fc.", "classifier."): value for name, value in prefixed("features.", state()).items()
    },
    "compiled": lambda: prefixed("_orig_mod.", state()),
    "compiled in parallel": lambda: prefixed("_orig_mod.module.", state()),
    "sharded": lambda: {
        name.replace("layer1.", "layer1._fsdp_wrapped_module."): value
        for name, value in prefixed("_fsdp_wrapped_module.", state()).items()
    },
    "activation checkpoints": lambda: {
        name.replace("layer2.1.", "layer2.1._checkpoint_wrapped_module."): value for name, value in state().items()
    },
    "deepspeed": lambda: {"module": state(), "optimizer": None, "global_steps": 9},
    "average": lambda: averaged(ONE),
    "average in parallel": lambda: {"model": averaged(nn.DataParallel(ONE))},
    "epoch beside": lambda: state() | {"epoch": 12, "best_acc": 91.2, "arch": "resnet14"},
    "epoch beside as a tensor": lambda: state() | {"epoch": torch.tensor(12)},
    "twice": lambda: {"state_dict": {"model": prefixed("module.", state())}, "epoch": 1},
    "three times": lambda: {"checkpoint": {"network": {"state_dict": state()}}},
    "parts apart": lambda: {
        "encoder": {name: value for name, value in state().items() if not name.startswith("fc.")},
        "fc": {name: state()[f"fc.{name}"] for name in ("weight", "bias")},
    },
    "wrapped": lambda: dict(Wrapped(ONE).state_dict()),
    "with an epoch": lambda: (state(), 3),
    "optimizer by name": lambda: {
        "model": state(),
        "optimizer": {"state": {"conv1.weight": {"momentum_buffer": torch.zeros(2)}}},
    },
}


def loads_as(path: Path, network: Network, wanted: str | None = None) -> bool:
    loaded = network_for(read_checkpoint(path, wanted).taken.state, Architecture.parse(NAME), CIFAR10, path)
    theirs = network.state_dict()
    return all(
        torch.equal(value, theirs[name])
        for name, value in loaded.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )


@pytest.mark.parametrize("how", SAVED)
def test_what_common_programs_save_is_read(tmp_path: Path, how: str) -> None:
    torch.save(SAVED[how](), tmp_path / "checkpoint.pth")
    assert loads_as(tmp_path / "checkpoint.pth", ONE)
    assert not loads_as(tmp_path / "checkpoint.pth", TWO)
    assert read_checkpoint(tmp_path / "checkpoint.pth").others == ()


# ---- several sets of weights -----------------------------------------------------------------------------

SEVERAL: dict[str, tuple[Callable[[], Any], str, str]] = {
    "timm": (lambda: {"state_dict": state(), "state_dict_ema": state(2)}, "state_dict", "state_dict_ema"),
    "timm, the average first": (
        lambda: {"state_dict_ema": state(2), "state_dict": state()},
        "state_dict",
        "state_dict_ema",
    ),
    "torchvision's references": (lambda: {"model": state(), "model_ema": averaged(TWO)}, "model", "model_ema"),
    "by epoch": (lambda: {10: state(), 20: state(2), "optimizer": {"state": {0: {}}}}, "10", "20"),
    "in one dictionary": (
        lambda: {"state_dict": prefixed("model.", state()) | prefixed("model_ema.module.", state(2))},
        "state_dict.model",
        "state_dict.model_ema",
    ),
    "student and teacher": (
        lambda: prefixed("teacher.", state(2)) | prefixed("student.", state()),
        "student",
        "teacher",
    ),
    "bare, and another beside": (lambda: state() | {"ema": state(2)}, "top", "ema"),
    "bare, and another prefix": (lambda: state() | prefixed("ema.", state(2)), "top", "ema"),
    "fairseq": (
        lambda: {"model": state(), "extra_state": {"ema": state(2), "epoch": 3}},
        "model",
        "extra_state.ema",
    ),
    "one after the other": (lambda: [state(), state(2)], "0", "1"),
    "last and best": (lambda: {"last": state(), "best": state(2)}, "last", "best"),
}


@pytest.mark.parametrize("how", SEVERAL)
def test_of_several_sets_one_is_taken_the_others_are_named_and_can_be_taken(tmp_path: Path, how: str) -> None:
    make, first, second = SEVERAL[how]
    path = tmp_path / "checkpoint.pth"
    torch.save(make(), path)
    weights = read_checkpoint(path)
    assert (weights.taken.name, weights.others) == (first, (second,))
    assert weights.words == f"weights: {first}; the file also holds {second} (--weights NAME takes it)"
    assert loads_as(path, ONE)
    assert loads_as(path, TWO, second)
    assert loads_as(path, ONE, first)


@pytest.mark.parametrize(
    "name", ["model_ema", "averaged", "swa_model", "avg_model", "shadow", "teacher", "momentum_encoder", "Target"]
)
def test_what_is_called_an_average_is_not_taken_unless_it_is_asked_for(tmp_path: Path, name: str) -> None:
    torch.save({name: state(2), "network": state()}, tmp_path / "x.pth")
    assert loads_as(tmp_path / "x.pth", ONE)
    assert loads_as(tmp_path / "x.pth", TWO, name)


def test_weights_that_a_file_does_not_hold_are_one_line_that_names_those_it_has(tmp_path: Path) -> None:
    torch.save({"state_dict": state(), "state_dict_ema": state(2)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x.pth: no weights 'ema' in it.*; it has state_dict, state_dict_ema"):
        read_checkpoint(tmp_path / "x.pth", "ema")
    with pytest.raises(ValueError, match=r"x.pth: no weights '' in it.*; it has state_dict, state_dict_ema"):
        read_checkpoint(tmp_path / "x.pth", "")


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    """A layer before the network is no part of it, and changes what it computes."""
    content = prefixed("model.", state()) | {"normalizer.mean": torch.zeros(3), "normalizer.std": torch.ones(3)}
    torch.save(content, tmp_path / "x.pth")
    words = read_checkpoint(tmp_path / "x.pth").words
    assert words == "weights: model; left out: normalizer.mean, normalizer.std, beside them in the file"


def test_a_prefix_of_some_layers_is_said_to_be_all_that_differs(tmp_path: Path) -> None:
    content = {name if name.startswith("layer") else f"stem.{name}": value for name, value in state().items()}
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"missing: conv1.weight.*; they differ by the prefix 'stem.' alone"):
        loads_as(tmp_path / "x.pth", ONE)


def test_weights_in_whole_numbers_are_not_taken_for_the_numbers_they_stand_for(tmp_path: Path) -> None:
    content = state() | {"conv1.weight": torch.ones_like(state()["conv1.weight"], dtype=torch.int8)}
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"1 of whole numbers, .*: conv1.weight \(torch.int8\)"):
        loads_as(tmp_path / "x.pth", ONE)


# ---- safetensors and pieces ------------------------------------------------------------------------------


def contiguous(values: State) -> State:
    return {name: value.contiguous() for name, value in values.items()}


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    save_file(contiguous(prefixed("model.", state())), tmp_path / name, {"format": "pt"})
    assert loads_as(tmp_path / name, ONE)


def in_pieces(folder: Path) -> Path:
    names = list(state())
    where = {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        piece = f"model-0000{number}-of-00002.safetensors"
        save_file(contiguous({name: state()[name] for name in part}), folder / piece)
        where |= dict.fromkeys(part, piece)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}), encoding="utf-8")
    return index


def test_pieces_are_put_together_by_their_index(tmp_path: Path) -> None:
    index = in_pieces(tmp_path)
    assert loads_as(index, ONE)
    piece = tmp_path / "model-00002-of-00002.safetensors"
    with pytest.raises(ValueError, match=r"one of 2 pieces; give the index beside them"):
        read_weights(piece)
    piece.unlink()
    with pytest.raises(ValueError, match=r"its piece model-00002-of-00002.safetensors is not beside it"):
        read_weights(index)


def test_pieces_of_torch_save_are_put_together_too(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "pytorch_model-00001-of-00001.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    where = dict.fromkeys(state(), "pytorch_model-00001-of-00001.bin")
    index.write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    assert loads_as(index, ONE)
    index.write_text(json.dumps({"weight_map": where | {"more": where["fc.bias"]}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"more is not in pytorch_model-00001-of-00001\.bin"):
        read_weights(index)
    index.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="no index of pieces: it has no weight_map"):
        read_weights(index)


# ---- what is no checkpoint -------------------------------------------------------------------------------

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3), b=np.ones(2))
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO(b""))
    return buffer.getvalue()


OTHER_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "pointer": (POINTER.encode, "a Git LFS pointer.*git lfs pull"),
    "annex": (lambda: b"/annex/objects/MD5E-s12--d41d8cd98f00b204e9800998ecf8427e.pth\n", "a git-annex pointer"),
    "page": (lambda: b"\n<!DOCTYPE html>\n<html><head><title>Quota exceeded</title>", r"a web page \(HTML\)"),
    "page with a comment first": (lambda: b"<!-- x -->\n<HTML lang='en'>", r"a web page \(HTML\)"),
    "refusal": (lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
    "json": (lambda: b'{"message": "Not Found"}', "a JSON text"),
    "words": (lambda: b"Not Found", "a text that begins 'Not Found'"),
    "other alphabet": (("ж" * 5000).encode, "a text that begins 'жжж"),
    "gz": (lambda: gzip.compress(saved(state())), "compressed by gzip.*gunzip"),
    "xz": (lambda: b"\xfd7zXZ\x00" + b"\x01" * 99, "compressed by xz"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + b"\x01" * 99, "compressed by zstd"),
    "npz": (arrays, r"NumPy arrays \(.npz\)"),
    "npy": (array, r"a NumPy array \(.npy\)"),
    "h5": (lambda: b"\x89HDF\r\n\x1a\n" + b"\x00" * 99, "an HDF5 file, as Keras writes"),
    "keras": (lambda: zipped(**{"config.json": b"{}", "model.weights.h5": b""}), "a Keras model"),
    "zip": (lambda: zipped(**{"resnet.pth": b"x", "read.me": b"y"}), "a zip archive with resnet.pth and 1 more"),
    "no pickle in it": (
        lambda: zipped(**{"weights/data.pkl": b"no pickle", "weights/data/0": b"\x00" * 40}),
        r"a file of torch.save whose content is damaged\); fetch or copy it again",
    ),
    "tar": (tarred, r"a tar archive\); unpack it first: tar xf"),
    "cut off": (lambda: saved(state())[:3000], "a zip archive that was cut off"),
    "zeros": (lambda: b"\x00" * 5000, "only zeros in it"),
    "empty": (lambda: b"", "an empty file, 0 bytes"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + b"\x00" * 20, "a PNG image"),
    "onnx": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x051.8.1:\x99\x01", "an ONNX model"),
    "pickle": (lambda: pickle.dumps({"a": [1, 2]}, protocol=4)[:-3], "a pickle, but not one of torch.save"),
    "noise": (lambda: bytes(range(255, 128, -1)), "binary, of no known kind"),
    "own state": (lambda: b"plain-vs-residual 1\n" + b"x" * 50, "the state of an unfinished run of this suite"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    make, words = OTHER_FILES[kind]
    (tmp_path / "weights.pth").write_bytes(make())
    with pytest.raises(ValueError, match=rf"weights.pth: not a readable checkpoint \(.*{words}") as caught:
        read_weights(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_safetensors_that_were_cut_off_are_called_so(tmp_path: Path) -> None:
    save_file(contiguous(state()), tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"not a readable checkpoint \(safetensors, but damaged or cut off"):
        read_weights(tmp_path / "x.safetensors")


def test_a_script_module_is_called_what_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("x/data.pkl", "x/constants.pkl", "x/code/__torch__.py", "x/version"):
            archive.writestr(name, b"6\n")
    with pytest.raises(ValueError, match=r"TorchScript|content is damaged"):
        read_weights(tmp_path / "x.pt")


def test_folders_are_called_what_they_are(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(ValueError, match="not a readable checkpoint") as caught:
            read_weights(path)
        return str(caught.value)

    for name in ("empty", "hub", "pieces", "unpacked", "dcp", "results/plain18-s0"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "hub" / "model.safetensors").touch()
    (tmp_path / "unpacked" / "data.pkl").touch()
    (tmp_path / "dcp" / ".metadata").touch()
    (tmp_path / "results" / "plain18-s0" / "run.json").touch()
    in_pieces(tmp_path / "pieces")
    assert "neither of a run of this suite (no run.json) nor with a checkpoint" in refusal(tmp_path / "empty")
    assert "give the file in it: model.safetensors" in refusal(tmp_path / "hub")
    assert "give the file in it: model.safetensors.index.json, " in refusal(tmp_path / "pieces")
    assert "unpacked" in refusal(tmp_path / "unpacked")
    assert "dcp_to_torch" in refusal(tmp_path / "dcp")
    message = refusal(tmp_path / "results")
    assert "(a folder of runs)" in message
    assert f"give one of them, such as {tmp_path / 'results' / 'plain18-s0'}" in message
    assert "a folder of a run of this suite" in refusal(tmp_path / "results" / "plain18-s0")


def test_a_link_that_leads_nowhere_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "x.pth").symlink_to(tmp_path / "annex")
    with pytest.raises(ValueError, match=r"x.pth: a link to .*annex, where there is nothing"):
        read_weights(tmp_path / "x.pth")


# ---- siblings that others thought of ---------------------------------------------------------------------


def test_weights_that_do_not_match_their_checksum_are_refused(tmp_path: Path) -> None:
    """torch does not compare the checksums that it writes; one changed bit of a weight would be loaded."""
    path, name = tmp_path / "x.pth", "layer1.0.conv1.weight"
    torch.save(state(), path)
    content = bytearray(path.read_bytes())
    place = content.find(state()[name].numpy().tobytes())
    assert place > 0
    content[place + 3] ^= 0x40
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)[name], state()[name])
    with pytest.raises(ValueError, match=r"damaged: x.data.6 in it does not match its checksum.; fetch or copy"):
        read_weights(path)


def test_weights_that_were_saved_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert loads_as(tmp_path / "x.pth", ONE)


def test_a_file_that_was_copied_as_text_is_called_so(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes((tmp_path / "x.pth").read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match=r"a zip archive that was damaged, or copied as text.; fetch or copy"):
        read_weights(tmp_path / "y.pth")


def test_averages_without_names_are_named(tmp_path: Path) -> None:
    average = {"decay": 0.99, "shadow_params": [value for value in state().values() if value.dim()]}
    torch.save({"model": state(), "ema": average}, tmp_path / "x.pth")
    said = "weights: model; ema.shadow_params: tensors without names, as some averages are saved; not read"
    assert read_checkpoint(tmp_path / "x.pth").words == said
    optimiser = {"state": {0: {"exp_avg": torch.ones(2, 2, 3, 3)}}, "param_groups": [{"params": [0, 1]}]}
    torch.save({"model": state(), "optimizer": optimiser}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").words == ""


def test_averages_without_statistics_are_said_to_lack_them(tmp_path: Path) -> None:
    parameters = {name: value for name, value in state().items() if "running" not in name and value.dim()}
    torch.save(parameters, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="often saved without BN's statistics"):
        loads_as(tmp_path / "x.pth", ONE)


def test_what_is_there_but_no_file_is_not_said_to_be_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path, said in {
        tmp_path / "pipe.pth": "no file with content",
        Path("https://example.org/x.pth"): "an address, which is not fetched",
    }.items():
        with pytest.raises(ValueError, match=said):
            read_weights(path)
