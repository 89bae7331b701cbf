"""The order of classes: which class each output of a network stands for; a checkpoint seldom tells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from plain_vs_residual.data.images import Dataset, ImageFiles, Images

SHOWN = 20
DEEPEST = 6  # dictionaries in dictionaries of a checkpoint
AnyImages = TypeVar("AnyImages", bound=Images | ImageFiles)


def with_order(dataset: Dataset, text: str) -> Dataset:
    """Return the data set with its classes in the order of a network's outputs, and labels that say so.

    Args:
        dataset: the images.
        text: every class, separated by commas; or a file with a class on each line.

    Raises:
        ValueError: if these are not the classes of the images.
    """
    names = _names(text)
    strange = [name for name in names if name not in dataset.classes]
    lacking = [name for name in dataset.classes if name not in names]
    twice = [name for name in dataset.classes if names.count(name) > 1]
    if strange or lacking or len(names) != len(dataset.classes):
        reasons = (
            f"not among the classes of {dataset.name}: {first_of(strange)}" if strange else "",
            "and no file of that name is there" if strange and len(names) == 1 else "",
            f"lacking: {first_of(lacking)}" if lacking else "",
            f"given twice: {first_of(twice)}" if twice else "",
            f"{len(names)} names for {len(dataset.classes)} classes",
        )
        raise ValueError(
            f"--classes: {'; '.join(filter(None, reasons))}; give every class of the images once, in the order in "
            "which the network was trained, separated by commas, or a file with one on each line"
        )
    new = torch.tensor([names.index(name) for name in dataset.classes])
    return replace(
        dataset,
        classes=names,
        training=_relabelled(dataset.training, new),
        validation=_relabelled(dataset.validation, new),
        test=_relabelled(dataset.test, new) if dataset.test else None,
    )


def _relabelled(part: AnyImages, new: Tensor) -> AnyImages:
    return replace(part, labels=new[part.labels])


def order_line(classes: Sequence[str], whose: str) -> str:
    """Say which class each output was taken for.

    >>> order_line(("1", "10", "2"), "by name")
    'order of classes, by name: 0 = 1, 1 = 10, 2 = 2 (as text: 10 stands before 2)'
    """
    numbered = [f"{number} = {name}" for number, name in enumerate(classes)]
    if len(numbered) > SHOWN:
        numbered = [*numbered[:3], "...", numbered[-1]]
    by_number = all(name.isdecimal() for name in classes) and sorted(classes, key=int)
    later, earlier = next(
        ((one, other) for one, other in pairwise(classes) if by_number and int(one) > int(other)),
        ("", ""),
    )
    remark = f" (as text: {later} stands before {earlier})" if later else ""
    return f"order of classes, {whose}: {', '.join(numbered)}{remark}"


def classes_in(content: Any, depth: int = 0) -> tuple[str, ...]:
    """Find the names of the classes that a training script wrote beside its weights; empty if there are none.

    >>> classes_in({"state_dict": {}, "meta": {"class_to_idx": {"dog": 1, "cat": 0}}})
    ('cat', 'dog')
    """
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return ()
    for key in ("class_to_idx", "label2id"):
        if _maps(content.get(key), str, int):
            return tuple(sorted(content[key], key=content[key].__getitem__))
    for key in ("idx_to_class", "id2label"):
        if _maps(content.get(key), int, str):
            return tuple(content[key][number] for number in sorted(content[key]))
    for key in ("classes", "class_names", "CLASSES"):
        names = content.get(key)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return next(filter(None, (classes_in(value, depth + 1) for value in content.values())), ())


def _maps(content: Any, keys: type, values: type) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(key, keys) and isinstance(value, values) for key, value in content.items())
    )


def order_of_the_file(own: Sequence[str], classes: Sequence[str]) -> str:
    """Say what order of classes is in the file, where another was taken; empty where it is the same or unknown."""
    if not own or tuple(own) == tuple(classes):
        return ""
    shown = ",".join(own[:SHOWN]) + (",..." if len(own) > SHOWN else "")
    return f"note: the file itself has its classes in the order {shown}, which was not taken; --classes gives it"


def _names(text: str) -> tuple[str, ...]:
    path = Path(text)
    if "," not in text and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()  # editors of Windows write a mark before it
        except UnicodeDecodeError as error:
            raise ValueError(f"--classes {text}: not in UTF-8 ({error.reason}); save it so") from error
        return tuple(line.strip() for line in lines if line.strip())
    return tuple(name.strip() for name in text.split(","))


def first_of(names: Sequence[str]) -> str:
    """Name the first three."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
