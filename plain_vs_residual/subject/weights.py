"""Weights from and for elsewhere: torchvision's ResNets, published CIFAR networks of the 6n+2 family."""

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.networks import Network, build
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.checkpoint import save_weights

State = dict[str, Tensor]
# Under these keys training scripts keep the state dict beside epochs, errors and the optimizer.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
# DataParallel and torch.compile put their own names before every key.
PREFIXES = ("module.", "_orig_mod.")
# Old checkpoints, torchvision's among them, were written before BN counted its batches.
COUNTER = ".num_batches_tracked"
NAMED_AT_MOST = 3


def read_weights(path: Path) -> State:
    """Read the state dict in a file, onto the CPU, under this suite's names.

    Read are a state dict itself or one under ``state_dict``, ``model`` and the like, with or without the
    ``module.`` of DataParallel, in torchvision's names (``downsample``) or those of common CIFAR networks
    (``linear`` for ``fc``). The file is never allowed to run code (``weights_only=True``).

    Raises:
        ValueError: if there is no such file, it is no checkpoint, holds objects other than tensors and plain
            values, or no state dict is in it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; a checkpoint saved by torch.save is needed")
    try:
        with warnings.catch_warnings():
            # torch warns about TorchScript archives before it refuses them; one line is enough.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, str(error))) from error
    except Exception as error:
        # Only the first sentence: torch goes on to recommend loading without weights_only.
        reason = (
            str(error).strip().split(". ")[0] if isinstance(error, OSError | RuntimeError) else "other content"
        )
        reason = "a TorchScript archive" if "TorchScript" in reason else reason
        raise ValueError(
            f"{path}: not a readable checkpoint ({reason}); torch.save writes what is needed"
        ) from error
    found = _state_in(content)
    if found is None:
        keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"{path}: no state dict in it (found: {keys or 'nothing'}); accepted are parameters by name, alone or "
            f"under one of {', '.join(WRAPPERS)}"
        )
    renamed = {own_name(name): value for name, value in found.items()}
    if len(renamed) != len(found):
        raise ValueError(
            f"{path}: two of its parameters have the same name once module. and the like are left out"
        )
    return renamed


def _state_in(content: object) -> State | None:
    """Find tensors by name: the content itself or what a training script wrapped."""
    if not isinstance(content, Mapping):
        return None
    candidates = [content, *(content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))]
    for candidate in candidates:
        if candidate and all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in candidate.items()
        ):
            return dict(candidate)
    return None


def _refusal(path: Path, message: str) -> str:
    """Say why ``weights_only`` refused a file: torch's own page-long message recommends to switch it off."""
    culprit = re.search(r"GLOBAL ([\w.]+)", message)
    if culprit is None:
        return f"{path}: not a readable checkpoint; torch.save writes what is needed"
    return (
        f"{path}: holds more than tensors and plain values ({culprit[1]}) and is not opened, because unpickling "
        "such objects can run any code; save the state dict alone: torch.save(model.state_dict(), FILE)"
    )


def own_name(name: str) -> str:
    """Return this suite's name of a foreign parameter: no ``module.``, ``shortcut`` for ``downsample``, ``fc``."""
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    if name in ("linear.weight", "linear.bias"):
        name = name.replace("linear", "fc")
    return name.replace(".downsample.", ".shortcut.")


def torchvision_name(name: str) -> str:
    """Return torchvision's name of one of this suite's parameters."""
    return name.replace(".shortcut.", ".downsample.")


def network_for(
    state: Mapping[str, Tensor], architecture: Architecture, setting: Setting, source: Path
) -> Network:
    """Build a network with the given weights, for as many channels and classes as they have, on the CPU in fp32.

    Args:
        state: parameters by this suite's names, see :func:`read_weights`.
        architecture: which network they are said to be of.
        setting: decides stem and width of the ImageNet family.
        source: the file, for the message.

    Raises:
        ValueError: if they do not fit; names the first keys that differ.
    """
    first, last = state.get("conv1.weight"), state.get("fc.weight")
    network = build(
        architecture,
        setting,
        channels=first.shape[1] if first is not None and first.dim() == 4 else 3,
        num_classes=last.shape[0] if last is not None and last.dim() == 2 else 1000,
        seed=0,
    )
    load_weights(network, state, f"{source} as {architecture.name} in setting {setting.name}")
    return network


def load_weights(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load parameters and BN statistics strictly; only missing batch counters are no fault.

    Raises:
        ValueError: if a key is missing, unexpected or of another shape; names the first of each in one line.
    """
    ours = network.state_dict()
    missing = [name for name in ours if name not in state and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in ours]
    reshaped = [
        f"{name} ({_shape(ours[name])} in the network, {_shape(state[name])} in the file)"
        for name in ours
        if name in state and ours[name].shape != state[name].shape
    ]
    differing = [
        f"{len(names)} {kind}: {_first(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if differing:
        raise ValueError(f"{what}: weights do not fit; {'; '.join(differing)}{_advice(missing, unexpected)}")
    # As a plain dictionary, without torch's version number: torch then adds counters that are missing.
    network.load_state_dict(dict(state), strict=True)


def _advice(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Suggest another shortcut option where projections alone make the difference."""
    missing, unexpected = set(missing), set(unexpected)
    if all(".shortcut." in name for name in missing | unexpected) and missing | unexpected:
        here = "more projections than" if unexpected else "fewer projections than"
        return f"; the file has {here} this network: another shortcut option (-A, -B, -C)?"
    return "; is it another network, or one of another setting (stem, width)?"


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMED_AT_MOST]) + (", ..." if len(names) > NAMED_AT_MOST else "")


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"


def to_torchvision(network: Network, architecture: Architecture) -> State:
    """Return the state dict of a network under torchvision's names, for its ``resnet18`` to ``resnet152``.

    Raises:
        ValueError: if torchvision has no such network; it has option B with a 7x7 stem and stride in the 3x3.
    """
    its_own = architecture.family == "imagenet" and architecture.option == "B" and not architecture.stride_in_1x1
    if not its_own or network.conv1.kernel_size != (7, 7):
        stem = "x".join(map(str, network.conv1.kernel_size))
        raise ValueError(
            f"{architecture.name} with a {stem} stem: torchvision has no such network; it has residual18-B to "
            "residual152-B with a 7x7 stem (setting imagenet)"
        )
    return {torchvision_name(name): value.detach().cpu() for name, value in network.state_dict().items()}


def save_for_torchvision(network: Network, architecture: Architecture, path: Path) -> None:
    """Write weights that ``torchvision.models.resnetN(num_classes=...).load_state_dict`` takes strictly.

    Raises:
        ValueError: if torchvision has no such network.
    """
    save_weights(path, to_torchvision(network, architecture))
