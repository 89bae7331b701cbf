"""Opens a checkpoint from elsewhere: the person who has it says which network it is and how it saw its images."""

from dataclasses import replace
from pathlib import Path

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.batches import Part
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.networks import Network
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.subject.checkpoint_files import refuse_folder
from plain_vs_residual.subject.class_order import order_of_the_file, with_order
from plain_vs_residual.subject.namesakes import what_was_taken
from plain_vs_residual.subject.normalisation import Normalisation
from plain_vs_residual.subject.padding import zeros_moved_to_the_end
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.subject.weights import Weights, load_weights, network_for, read_checkpoint
from plain_vs_residual.training.precision import prepare_arithmetic, this_process

PARTS: tuple[Part, ...] = ("training", "validation")


def parse_part(text: str) -> Part:
    """Read which of the images are meant.

    Raises:
        ValueError: if there is no such part.
    """
    for part in PARTS:
        if part == text:
            return part
    raise ValueError(f"--part {text}: accepted are {' and '.join(PARTS)}")


def open_checkpoint(
    checkpoint: Path,
    *,
    network: str | None,
    setting: str | None,
    data: Path | None,
    normalise: str,
    part: Part,
    device: torch.device,
    precision: Precision,
    zero_padding: str = "end",
    weights: str | None = None,
    classes: str | None = None,
) -> Subject:
    """Read a checkpoint, build its network and find its images; what is cheap to check is checked first.

    Args:
        checkpoint: see :func:`plain_vs_residual.subject.weights.read_checkpoint`.
        network: name such as ``cifar-residual20-A``.
        setting: kind and size of the images; ``cifar10`` for the CIFAR family and ``imagenet`` else, if None.
        data: where the images are, as for training.
        normalise: see :meth:`Normalisation.parse`.
        part: the images to look at; others are decoded only where the normalisation needs their mean.
        zero_padding: ``end``, or ``both`` for networks whose option A pads both sides of the channels.
        device: where the network computes.
        precision: in which it computes.
        weights: name of a set of weights, where the file holds several; the first that is no average, if None.
        classes: their order, see :func:`plain_vs_residual.subject.class_order.with_order`; the images', if None.

    Raises:
        ValueError: if one of them is wrong, or they do not go together.
        FileNotFoundError: if CIFAR-10 is neither here nor to be downloaded.
    """
    refuse_folder(checkpoint)
    if network is None:
        raise ValueError(
            "--network is needed, because a checkpoint does not tell; or give the folder of a finished run"
        )
    architecture = Architecture.parse(network)
    chosen = find_setting(setting or ("cifar10" if architecture.family == "cifar" else "imagenet"))
    normalisation = Normalisation.parse(normalise)
    if zero_padding not in ("end", "both"):
        raise ValueError(f"--zero-padding {zero_padding}: accepted are end and both")
    found = read_checkpoint(checkpoint, weights)
    built = _built(checkpoint, found, architecture, chosen, zero_padding)
    parts = (part,) if normalisation.mean else PARTS
    dataset = _images(chosen, data, parts)
    if classes is not None:
        dataset = with_order(dataset, classes)
    _check_channels(checkpoint, built, dataset, normalisation)
    taken = what_was_taken(checkpoint, architecture, chosen, normalisation, precision)
    prepare_arithmetic(device, this_process(precision))
    return Subject(
        source=checkpoint,
        architecture=architecture,
        setting=chosen,
        seed=0,
        read=lambda: built,
        dataset=dataset,
        parts=parts,
        normalisation=normalisation,
        device=device,
        precision=precision,
        notes=tuple(filter(None, (found.words, taken, order_of_the_file(found.classes, dataset.classes)))),
        class_order="that of the images' folders or files" if classes is None else "as --classes gives it",
    )


def _built(
    checkpoint: Path, weights: Weights, architecture: Architecture, setting: Setting, zero_padding: str
) -> Network:
    state = weights.taken.state
    for name, value in state.items():
        if value.is_meta or value.layout != torch.strided:
            kind = "a name and a shape without values (device meta)" if value.is_meta else "a sparse tensor"
            raise ValueError(f"{checkpoint}: {name} is {kind}; save plain tensors")
        if value.is_floating_point() and not value.float().isfinite().all():
            raise ValueError(f"{checkpoint}: {name} holds values that are not finite; the training diverged")
    try:
        network = network_for(state, architecture, setting, checkpoint)
    except ValueError as error:
        raise ValueError("; ".join(filter(None, (str(error), weights.words)))) from error
    if zero_padding == "both":
        load_weights(network, zeros_moved_to_the_end(state, architecture), str(checkpoint))
    return network


def _images(setting: Setting, data: Path | None, parts: tuple[Part, ...]) -> Dataset:
    dataset = split(load_dataset(setting, data, parts), setting.split)
    if len(parts) > 1:
        return dataset
    # The other part was not decoded, and no mean is taken from it.
    decoded = getattr(dataset, parts[0])
    return replace(dataset, training=decoded, validation=decoded)


def _check_channels(checkpoint: Path, network: Network, dataset: Dataset, normalisation: Normalisation) -> None:
    channels = network.conv1.in_channels
    if channels != dataset.channels:
        raise ValueError(
            f"{checkpoint}: the network sees {channels} channels, the images of {dataset.name} have "
            f"{dataset.channels}"
        )
    if len(normalisation.mean) not in (0, 1, channels):
        raise ValueError(
            f"--normalise {normalisation.name}: gives {len(normalisation.mean)} channels, the images of "
            f"{dataset.name} have {channels}; give MEAN/STD with {channels} or 1 numbers each, or ours"
        )
