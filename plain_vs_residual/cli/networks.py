"""The commands about single networks: their layers, weights from elsewhere, finished runs; thin."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.options import Data, Device
from plain_vs_residual.records.files import ROOT, plots_folder
from plain_vs_residual.settings import SETTINGS, find_setting

if TYPE_CHECKING:
    from plain_vs_residual.data.batches import Part
    from plain_vs_residual.subject.subject import Subject


def describe(
    network: Annotated[str, typer.Argument(help="Such as plain34, residual50-B or cifar-residual56-A.")],
    image_size: Annotated[
        int | None, typer.Option("--input", help="Side of the images in pixels; the setting's if left out.")
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(SETTINGS)}; if left out, imagenet, or cifar10 for the CIFAR family."),
    ] = None,
    compare: Annotated[str | None, typer.Option(help="Another network, to be put beside it.")] = None,
) -> None:
    """Show a network layer by layer: sizes, parameters, multiply-adds, and how they come about."""
    architectures = [Architecture.parse(name) for name in (network, compare) if name is not None]
    chosen = find_setting(setting) if setting is not None else None

    from rich.console import Console

    from plain_vs_residual.inspection.description import describe as measure
    from plain_vs_residual.inspection.layer_table import print_comparison, print_description

    console = Console(highlight=False, markup=False)
    first, *second = (measure(one, chosen, image_size) for one in architectures)
    if second:
        print_comparison(console, first, *second)
    else:
        print_description(console, first)


Checkpoint = Annotated[Path, typer.Argument(help="A state dict as torch.save writes it, bare or wrapped.")]
ForeignNetwork = Annotated[str, typer.Option("--network", help="Its network, such as cifar-residual20-A.")]
Normalise = Annotated[
    str,
    typer.Option(
        help="As trained (needed): ours, imagenet, cifar10, or MEAN/STD such as 0.49,0.48,0.45/0.25,0.24,0.26."
    ),
]
ForeignSetting = Annotated[
    str | None,
    typer.Option("--setting", help="Kind of images; if left out, cifar10 for cifar- networks, imagenet else."),
]
ZeroPadding = Annotated[
    str, typer.Option(help="Where option A pads channels with zeros: end, or both, as in many published networks.")
]
ForeignPrecision = Annotated[str, typer.Option(help="fp32, bf16 or fp16.")]


def evaluate(
    checkpoint: Checkpoint,
    network: ForeignNetwork,
    normalise: Normalise = "",
    data: Data = None,
    setting: ForeignSetting = None,
    part: Annotated[str, typer.Option(help="validation or training images.")] = "validation",
    zero_padding: ZeroPadding = "end",
    device: Device = None,
    precision: ForeignPrecision = "fp32",
) -> None:
    """Take the error of a checkpoint from elsewhere: torchvision's ResNets, published CIFAR networks."""
    from plain_vs_residual.inspection.errors_and_responses import evaluation_text

    subject, chosen = _opened(checkpoint, network, setting, data, normalise, part, zero_padding, device, precision)
    print(evaluation_text(subject, chosen))


def responses(
    checkpoint: Checkpoint,
    network: ForeignNetwork,
    normalise: Normalise = "",
    data: Data = None,
    setting: ForeignSetting = None,
    part: Annotated[str, typer.Option(help="training or validation images.")] = "training",
    zero_padding: ZeroPadding = "end",
    device: Device = None,
    precision: ForeignPrecision = "fp32",
    out: Annotated[
        Path | None, typer.Option(help="Where table and figure go; plots/responses/<checkpoint> if left out.")
    ] = None,
) -> None:
    """Measure the layer responses (Fig. 7) of a checkpoint from elsewhere, as table and figure."""
    from plain_vs_residual.inspection.errors_and_responses import measure_responses

    subject, chosen = _opened(checkpoint, network, setting, data, normalise, part, zero_padding, device, precision)
    print(measure_responses(subject, chosen, out or ROOT / "plots" / "responses" / checkpoint.stem))


def inspect(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run: results/<setting>/<run>.")],
    data: Annotated[Path | None, typer.Option(help="Its images, unless they are the setting's own.")] = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where tables and figure go; <plots>/<setting>/inspect/<run> if left out."),
    ] = None,
) -> None:
    """Show what a finished run predicts: its error recomputed, errors by class, the confusion matrix."""
    from plain_vs_residual.executors.machine import choose_device
    from plain_vs_residual.inspection.predictions import inspect_run

    inspection = inspect_run(run, data, choose_device(device))
    home = inspection.home
    written = inspection.write(out or plots_folder(home.parent, None) / home.name / "inspect" / run.resolve().name)
    print("\n".join([inspection.text(), "", *map(str, written)]))


def _opened(
    checkpoint: Path,
    network: str,
    setting: str | None,
    data: Path | None,
    normalise: str,
    part: str,
    zero_padding: str,
    device: str | None,
    precision: str,
) -> tuple["Subject", "Part"]:
    from plain_vs_residual.executors.machine import choose_device, choose_precision
    from plain_vs_residual.subject.from_checkpoint import open_checkpoint, parse_part

    where, chosen = choose_device(device), parse_part(part)
    subject = open_checkpoint(
        checkpoint,
        network=network,
        setting=setting,
        data=data,
        normalise=normalise,
        part=chosen,
        zero_padding=zero_padding,
        device=where,
        precision=choose_precision(precision, where),
    )
    return subject, chosen
