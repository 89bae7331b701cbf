"""The sets of weights in a checkpoint: one or several, bare or wrapped, under whatever prefix their names have.

A training script may keep its state dict under a key, and an average of it under another; DataParallel,
torch.compile and frameworks put names of their own before every key. In all of them a ResNet's stem is
``...conv1.weight`` and its first block's ``...layer1.0.conv1.weight``: what stands before both is a set's prefix.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from plain_vs_residual.near_misses import did_you_mean

State = dict[str, Tensor]
STEM, FIRST_BLOCK = "conv1.weight", "layer1.0.conv1.weight"
# Parts of a name that say how a network was trained, not what it is: DataParallel and AveragedModel,
# torch.compile, FSDP, activation checkpoints, Fabric, Opacus.
WRAPPERS = frozenset(
    {
        *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"),
        "_module",
    }
)
# What the last layer is called elsewhere; it may stand beside the others' prefix (backbone., head.fc.).
HEADS = ("linear", "classifier", "head", "head.fc", "fc")
AVERAGE = re.compile(r"ema|averag|swa|avg|shadow|teacher|momentum|target", re.IGNORECASE)
TOP = "top"  # names a set of weights that lie in no dictionary of their own
DEEPEST = 6


@dataclass(frozen=True)
class WeightSet:
    """The weights that one of the sets in a file consists of.

    Attributes:
        name: where it lies in the file: keys and prefix, without wrappers; ``top`` if that leaves nothing.
        state: tensors by this suite's names.
        left_out: names of tensors that lie beside it and belong to no set.
    """

    name: str
    state: State
    left_out: tuple[str, ...] = ()

    @property
    def is_average(self) -> bool:
        """Whether its name says that it is an average of weights, or a copy that lags behind."""
        return AVERAGE.search(self.name) is not None


@dataclass(frozen=True)
class _Entry:
    """A tensor in a file: in which dictionary it lies, and its name there; both without wrappers."""

    place: str
    name: str
    value: Tensor

    @property
    def path(self) -> str:
        return self.place + self.name


def weight_sets(content: Any) -> list[WeightSet]:
    """List the sets of weights in what a file holds, averages last; empty if no ResNet's stem is in it.

    Raises:
        ValueError: if two tensors of a set have the same name once wrappers are left out.
    """
    entries = list(_tensors(content))
    paths = {entry.path for entry in entries}
    stems = [
        entry
        for entry in entries
        if re.search(r"(^|\.)conv1\.weight$", entry.path) and entry.path.removesuffix(STEM) + FIRST_BLOCK in paths
    ]
    prefixes = {stem.path.removesuffix(STEM): stem.place for stem in stems}
    found = [_one_set(prefix, place, prefixes, entries) for prefix, place in prefixes.items()]
    return sorted(found, key=lambda one: one.is_average)


def choose(found: Sequence[WeightSet], wanted: str | None) -> WeightSet:
    """Return the set of that name, or the first.

    Raises:
        ValueError: if there is none of that name.
    """
    if wanted is None:
        return found[0]
    names = [one.name for one in found]
    if wanted not in names:
        raise ValueError(f"no weights '{wanted}' in it{did_you_mean(wanted, names)}; it has {', '.join(names)}")
    return found[names.index(wanted)]


def bare_state(content: Any) -> State | None:
    """Return the tensors of the largest dictionary in a file, whatever they are; None if there are none."""
    places: dict[str, list[_Entry]] = {}
    for entry in _tensors(content):
        places.setdefault(entry.place, []).append(entry)
    return _named(max(places.values(), key=len)) if places else None


def nameless_weights(content: Any, place: str = "", depth: int = 0) -> tuple[str, ...]:
    """Name the lists of tensors in a file that may be weights: a network's stem and more are in them."""
    if isinstance(content, list | tuple):
        tensors = [one for one in content if isinstance(one, Tensor)]
        if len(tensors) > 1 and any(one.dim() == 4 for one in tensors):
            return (place or TOP,)
        content = {str(number): one for number, one in enumerate(content) if isinstance(one, Mapping)}
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return ()
    below = (
        nameless_weights(one, f"{place}.{key}" if place else str(key), depth + 1) for key, one in content.items()
    )
    return tuple(found for part in below for found in part)


def own_name(name: str) -> str:
    """Return this suite's name of a foreign parameter: no ``module.``, ``shortcut`` for ``downsample``, ``fc``."""
    name = without_wrappers(name)
    if name in ("linear.weight", "linear.bias"):
        name = name.replace("linear", "fc")
    return name.replace(".downsample.", ".shortcut.")


def without_wrappers(name: str) -> str:
    """Leave out of a name what wrappers put into it, at its beginning or between.

    >>> without_wrappers("module._orig_mod.layer1._checkpoint_wrapped_module.0.conv1.weight")
    'layer1.0.conv1.weight'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _tensors(content: Any, place: str = "", depth: int = 0) -> Iterator[_Entry]:
    """Yield every tensor in dictionaries within dictionaries; keys are text, or numbers of epochs."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    content = {str(key): one for key, one in content.items() if isinstance(key, str) or isinstance(one, Mapping)}
    for key, value in content.items():
        name = without_wrappers(key)
        if isinstance(value, Tensor):
            yield _Entry(place, name, value)
        else:
            yield from _tensors(value, f"{place}{name}." if name else place, depth + 1)


def _one_set(prefix: str, place: str, prefixes: Mapping[str, str], entries: Sequence[_Entry]) -> WeightSet:
    others = [one for one in prefixes if one != prefix and one.startswith(prefix)]
    beside = [entry for entry in entries if entry.place == place and not entry.path.startswith(tuple(others))]
    own = [entry for entry in beside if entry.path.startswith(prefix)]
    state = _named([_Entry("", entry.path.removeprefix(prefix), entry.value) for entry in own])
    # A number without a layer is a counter of epochs or of averaged models.
    state = {name: value for name, value in state.items() if "." in name or value.dim()}
    taken = {entry.path for entry in own} | {entry.path for entry in entries if not entry.value.dim()}
    if "fc.weight" not in state:
        head = _head(prefix, entries)
        taken |= {entry.path for entry in head.values()}
        foreign = {entry.path.removeprefix(prefix) for entry in head.values()}
        state = {name: value for name, value in state.items() if name not in foreign}
        state |= {name: entry.value for name, entry in head.items()}
    left_out = [
        entry.name for entry in beside if entry.path not in taken and not entry.path.startswith(tuple(prefixes))
    ]
    return WeightSet(prefix.removesuffix(".") or TOP, state, tuple(left_out))


def _head(prefix: str, entries: Sequence[_Entry]) -> dict[str, _Entry]:
    """Find the last layer under another name, within the prefix of the others or beside it."""
    by_path = {entry.path: entry for entry in entries}
    outside = prefix.removesuffix(".").rpartition(".")
    for where in (prefix, outside[0] + outside[1]):
        for head in HEADS:
            weight = by_path.get(f"{where}{head}.weight")
            if weight and weight.value.dim() == 2:
                bias = by_path.get(f"{where}{head}.bias")
                return {"fc.weight": weight} | ({"fc.bias": bias} if bias else {})
    return {}


def _named(entries: Sequence[_Entry]) -> State:
    state = {own_name(entry.name): entry.value for entry in entries}
    if len(state) != len(entries):
        raise ValueError("two of its parameters have the same name once module. and the like are left out")
    return state
