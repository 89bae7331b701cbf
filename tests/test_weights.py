"""Weights of other programs: torchvision's networks give the same outputs, and CIFAR checkpoints load."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.networks import Network
from plain_vs_residual.settings import CIFAR10, IMAGENET, Setting
from plain_vs_residual.subject.weight_sets import own_name
from plain_vs_residual.subject.weights import (
    load_weights,
    network_for,
    read_weights,
    save_for_torchvision,
    to_torchvision,
)
from tests.conftest import network_of

State = dict[str, Tensor]
DEPTHS = (18, 34, 50, 101, 152)
CLASSES = 7


def built(name: str, setting: Setting = IMAGENET, seed: int = 0, num_classes: int = CLASSES) -> Network:
    return network_of(
        name, channels=3, num_classes=num_classes, stem=setting.stem, stem_width=setting.stem_width, seed=seed
    )


def lived_in(network: nn.Module) -> nn.Module:
    """Move BN parameters and statistics away from their initial values, so that a lost one has an effect."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.4, 0.8),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.7, 1.5),
            ):
                assert values is not None
                values.data.uniform_(low, high, generator=generator)
            assert module.num_batches_tracked is not None
            module.num_batches_tracked.fill_(41)
    return network


def wrapped(state: State, how: str) -> Any:
    """Return a state dict of the CIFAR family in one of the forms that common training scripts save."""
    foreign = {name.replace("fc.", "linear."): value for name, value in state.items()}
    prefixed = {f"module.{name}": value for name, value in foreign.items()}
    old = {name: value for name, value in prefixed.items() if not name.endswith("num_batches_tracked")}
    compiled = {f"module._orig_mod.{name}": value for name, value in foreign.items()}
    return {
        "bare": state,
        "linear": foreign,
        "module": prefixed,
        "published": {"state_dict": old, "best_prec1": 91.7},
        "published without module": {"state_dict": foreign, "best_prec1": torch.tensor(91.7), "epoch": 200},
        "compiled": {"net": compiled, "acc": 91.7},
    }[how]


def equal(a: State, b: State) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# ---- torchvision -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_torchvision_weights_load_strictly_give_its_outputs_and_go_back_bit_equal(
    tmp_path: Path, depth: int
) -> None:
    torch.manual_seed(0)
    theirs = lived_in(getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES))
    images = torch.randn(2, 3, 64, 64)
    path = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    identity = Architecture.parse(f"residual{depth}-B")
    ours = network_for(read_weights(path), identity, IMAGENET, path)

    with torch.no_grad():
        for mode in (False, True):
            expected, found = theirs.train(mode)(images), ours.train(mode)(images)
            assert expected.abs().max() > 0.01
            assert (expected - found).abs().max() < 1e-5, f"train={mode}"
    # Training mode updated the BN statistics of both, so equal outputs show that these were loaded correctly too.
    save_for_torchvision(ours, identity, tmp_path / "ours.pth")
    saved = torch.load(tmp_path / "ours.pth", weights_only=True)
    with torch.device("meta"):  # without drawing what is replaced at once
        again = getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES)
    again.load_state_dict(saved, strict=True, assign=True)
    with torch.no_grad():
        assert (again.eval()(images) - theirs.eval()(images)).abs().max() < 1e-5

    load_weights(ours, read_weights(path), "again")
    assert equal(to_torchvision(ours, identity), theirs_before(path))


def theirs_before(path: Path) -> State:
    state: State = torch.load(path, weights_only=True)
    return dict(state)


def test_two_networks_of_one_kind_with_other_weights_do_differ() -> None:
    images = torch.randn(2, 3, 64, 64)
    first, second = (lived_in(built("residual18-B", seed=seed)).eval() for seed in (0, 1))
    with torch.no_grad():
        assert (first(images) - second(images)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("residual18-A", IMAGENET),
        ("plain18", IMAGENET),
        ("residual18-B", CIFAR10),
        ("cifar-residual20-B", CIFAR10),
    ],
)
def test_what_torchvision_lacks_is_not_saved_for_it(tmp_path: Path, name: str, setting: Setting) -> None:
    with pytest.raises(ValueError, match="torchvision has no such network"):
        save_for_torchvision(built(name, setting), Architecture.parse(name), tmp_path / "weights.pth")
    assert not list(tmp_path.iterdir())


def test_stride_in_the_first_1x1_would_load_into_torchvision_but_compute_otherwise() -> None:
    with pytest.raises(ValueError, match="torchvision has no such network"):
        to_torchvision(built("residual50-B-1x1"), Architecture.parse("residual50-B-1x1"))


def test_a_3x3_stem_loads_under_the_setting_that_has_one(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(built("residual18-B", CIFAR10).state_dict(), path)
    identity = Architecture.parse("residual18-B")
    assert network_for(read_weights(path), identity, CIFAR10, path).conv1.kernel_size == (3, 3)
    with pytest.raises(ValueError, match=r"conv1.weight \(64x3x7x7 in the network, 64x3x3x3 in the file\)"):
        network_for(read_weights(path), identity, IMAGENET, path)


# ---- the CIFAR family ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bare", "linear", "module", "published", "published without module", "compiled"])
@pytest.mark.parametrize("depth", [20, 56])
def test_cifar_checkpoints_load_however_they_are_wrapped(tmp_path: Path, how: str, depth: int) -> None:
    network = lived_in(built(f"cifar-residual{depth}-A", CIFAR10, seed=3, num_classes=10)).eval()
    path = tmp_path / "checkpoint.th"
    torch.save(wrapped(network.state_dict(), how), path)
    loaded = network_for(read_weights(path), Architecture.parse(f"cifar-residual{depth}"), CIFAR10, path).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_legacy_files_and_half_precision_load(tmp_path: Path) -> None:
    network = built("cifar-residual20-A", CIFAR10, num_classes=10)
    half = {
        name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    torch.save({"state_dict": half}, tmp_path / "old.th", _use_new_zipfile_serialization=False)
    loaded = network_for(
        read_weights(tmp_path / "old.th"), Architecture.parse("cifar-residual20"), CIFAR10, tmp_path
    )
    assert loaded.fc.weight.dtype == torch.float32
    assert torch.equal(loaded.fc.weight, half["fc.weight"].float())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.linear.bias", "fc.bias"),
        ("layer2.0.downsample.1.running_var", "layer2.0.shortcut.1.running_var"),
        ("_orig_mod.module.fc.weight", "fc.weight"),
        ("features.linear.weight", "features.linear.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert own_name(theirs) == ours


# ---- what does not fit -----------------------------------------------------------------------------------


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_what_is_missing_unexpected_and_of_another_shape_is_named() -> None:
    network = built("cifar-residual20-A", CIFAR10, num_classes=10)
    state = {f"{name}": value for name, value in network.state_dict().items()}
    del state["layer1.0.bn1.bias"]
    state["head.weight"] = torch.zeros(2)
    state["fc.weight"] = torch.zeros(100, 64)
    before = network.fc.weight.clone()
    message = refused(lambda: load_weights(network, state, "x.th"))
    assert "1 missing: layer1.0.bn1.bias" in message
    assert "1 unexpected: head.weight" in message
    assert "fc.weight (10x64 in the network, 100x64 in the file)" in message
    assert torch.equal(network.fc.weight, before)


@pytest.mark.parametrize(("network", "words"), [("residual18-A", "more"), ("residual18-C", "fewer")])
def test_another_shortcut_option_is_recognised(network: str, words: str) -> None:
    state = built("residual18-B").state_dict()
    message = refused(lambda: network_for(state, Architecture.parse(network), IMAGENET, Path("resnet18.pth")))
    assert f"{words} projections than this network: another shortcut option" in message


def test_another_depth_names_the_first_keys_only() -> None:
    state = built("residual34-B").state_dict()
    message = refused(
        lambda: network_for(state, Architecture.parse("residual18-B"), IMAGENET, Path("resnet34.pth"))
    )
    assert "96 unexpected: layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, ..." in message


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("hello"), "not a readable checkpoint"),
    "nothing": (lambda path: path.write_bytes(b""), "not a readable checkpoint"),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04junk"), "not a readable checkpoint"),
    "module": (lambda path: torch.save(nn.Linear(2, 2), path), "torch.nn.modules.linear.Linear"),
    "object": (lambda path: torch.save({"args": argparse.Namespace(a=1)}, path), "argparse.Namespace"),
    "list": (lambda path: torch.save([1, 2], path), "no state dict in it (found: list)"),
    "no state": (lambda path: torch.save({"epoch": 3}, path), "no state dict in it (found: epoch)"),
    "empty": (lambda path: torch.save({}, path), "no state dict in it (found: nothing)"),
    "folder": (lambda path: path.mkdir(), "not a readable checkpoint (a folder, neither of a run"),
    "absent": (lambda path: None, "no such file"),
    "twice": (
        lambda path: torch.save({"fc.weight": torch.ones(1), "module.linear.weight": torch.ones(1)}, path),
        "the same name",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_is_no_checkpoint_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    make, words = UNREADABLE[kind]
    make(path)
    message = refused(lambda: read_weights(path))
    assert words in message
    assert str(path) in message


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    assert "not a readable checkpoint" in refused(lambda: read_weights(path))


def test_no_code_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "was_here",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    refused(lambda: read_weights(tmp_path / "evil.pth"))
    assert not (tmp_path / "was_here").exists()
