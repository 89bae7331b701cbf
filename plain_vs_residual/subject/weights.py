"""Weights from and for elsewhere: torchvision's ResNets, published CIFAR networks of the 6n+2 family."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.networks import Network, build
from plain_vs_residual.settings import Setting
from plain_vs_residual.subject.checkpoint_files import read_content
from plain_vs_residual.subject.class_order import classes_in, first_of
from plain_vs_residual.subject.weight_sets import (
    TOP,
    State,
    WeightSet,
    bare_state,
    choose,
    nameless_weights,
    weight_sets,
)
from plain_vs_residual.training.checkpoint import save_weights

# Old checkpoints, torchvision's among them, were written before BN counted its batches.
COUNTER = ".num_batches_tracked"
STATISTICS = (".running_mean", ".running_var", COUNTER)


@dataclass(frozen=True)
class Weights:
    """What was taken of a file.

    Attributes:
        taken: the set of weights.
        others: names of the sets that lie in the file beside it.
        classes: as the file names them, in the order of the outputs; empty if it does not.
        nameless: where weights seem to lie in a list, without names (``ema.shadow_params`` of torch_ema).
    """

    taken: WeightSet
    others: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    nameless: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Say which set was taken where there are several, and what was left out; empty where all is plain."""
        said = []
        if self.others:
            said.append(f"the file also holds {', '.join(self.others)} (--weights NAME takes it)")
        if self.nameless:
            said.append(f"{', '.join(self.nameless)}: tensors without names, as some averages are saved; not read")
        if self.taken.left_out:
            said.append(f"left out: {first_of(self.taken.left_out)}, beside them in the file")
        if not said and self.taken.is_average:
            said.append("by its name an average")
        return f"weights: {self.taken.name}; {'; '.join(said)}" if said else ""


def read_checkpoint(path: Path, wanted: str | None = None) -> Weights:
    """Read one set of weights in a file, onto the CPU, under this suite's names.

    Read are a state dict itself or one in dictionaries (``state_dict``, ``model`` and whatever they are called),
    under any prefix (``module.`` of DataParallel, ``backbone.``), in torchvision's names (``downsample``) or those
    of common CIFAR networks (``linear`` for ``fc``). The file may never run code (``weights_only=True``).

    Args:
        path: of torch.save, safetensors, or the index of one that is in pieces.
        wanted: name of the set, where there are several; the first that is no average, if None.

    Raises:
        ValueError: if there is no such file, it is no checkpoint, holds objects other than tensors and plain
            values, no state dict is in it, or no set of that name.
    """
    content = read_content(path)
    try:
        found = weight_sets(content)
        if not found and (state := bare_state(content)) is not None:
            found = [WeightSet(TOP, state)]
        if found:
            taken = choose(found, wanted)
            others = tuple(one.name for one in found if one is not taken)
            return Weights(taken, others, classes_in(content), nameless_weights(content))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
    raise ValueError(
        f"{path}: no state dict in it (found: {keys or 'nothing'}); accepted are parameters by name, alone or in "
        "dictionaries such as state_dict or model"
    )


def read_weights(path: Path) -> State:
    """Read the state dict in a file, the first that is no average, see :func:`read_checkpoint`.

    Raises:
        ValueError: as there.
    """
    return read_checkpoint(path).taken.state


def torchvision_name(name: str) -> str:
    """Return torchvision's name of one of this suite's parameters."""
    return name.replace(".shortcut.", ".downsample.")


def network_for(
    state: Mapping[str, Tensor], architecture: Architecture, setting: Setting, source: Path
) -> Network:
    """Build a network with the given weights, for as many channels and classes as they have, on the CPU in fp32.

    Args:
        state: parameters by this suite's names, see :func:`read_checkpoint`.
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
    quantised = [
        f"{name} ({state[name].dtype})"
        for name, value in ours.items()
        if name in state and value.is_floating_point() and not state[name].is_floating_point()
    ]
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": reshaped,
        "of whole numbers, as quantised networks have them": quantised,
    }
    differing = [f"{len(names)} {kind}: {first_of(names)}" for kind, names in kinds.items() if names]
    if differing:
        raise ValueError(f"{what}: weights do not fit; {'; '.join(differing)}{_advice(missing, unexpected)}")
    # As a plain dictionary, without torch's version number: torch then adds counters that are missing.
    network.load_state_dict(dict(state), strict=True)


def _advice(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Say what alone makes the difference, where it is projections or a prefix."""
    missing, unexpected = set(missing), set(unexpected)
    prefixes = {
        name.removesuffix(lacking) for name in unexpected for lacking in missing if name.endswith(f".{lacking}")
    }
    uncounted = {name for name in unexpected if not name.endswith(COUNTER)}
    if len(prefixes) == 1 and {name.removeprefix(*prefixes) for name in uncounted} == missing:
        return f"; they differ by the prefix '{prefixes.pop()}' alone: save them without it"
    if all(".shortcut." in name for name in missing | unexpected) and missing | unexpected:
        here = "more projections than" if unexpected else "fewer projections than"
        return f"; the file has {here} this network: another shortcut option (-A, -B, -C)?"
    if missing and all(name.endswith(STATISTICS) for name in missing) and not uncounted:
        return "; averages of parameters are often saved without BN's statistics: they cannot be evaluated alone"
    return "; is it another network, or one of another setting (stem, width)?"


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
