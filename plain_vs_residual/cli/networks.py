"""The commands about single networks: their layers, weights from elsewhere, finished runs; thin."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.options import Data, Device
from plain_vs_residual.settings import SETTINGS, find_setting
from plain_vs_residual.vocabulary import measurable

if TYPE_CHECKING:
    from plain_vs_residual.data.batches import Part
    from plain_vs_residual.records.store import Record
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
    folded: Annotated[
        bool,
        typer.Option("--folded", help="Biases in the place of BN; of plain networks, not of --compare."),
    ] = False,
) -> None:
    """Show a network layer by layer: sizes, parameters, multiply-adds, and how they come about."""
    architectures = [Architecture.parse(name) for name in (network, compare) if name is not None]
    chosen = find_setting(setting) if setting is not None else None

    from rich.console import Console

    from plain_vs_residual.inspection.description import describe as measure
    from plain_vs_residual.inspection.layer_table import print_comparison, print_description

    console = Console(highlight=False, markup=False)
    first, *second = (
        measure(one, chosen, image_size, folded=folded and number == 0) for number, one in enumerate(architectures)
    )
    if second:
        print_comparison(console, first, *second)
    else:
        print_description(console, first)


def _opened(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT_OR_RUN",
            help="Weights as torch.save or safetensors write them, bare or wrapped; or the folder of a finished "
            "run, or one that was exported to a file, whose record says all the rest.",
        ),
    ],
    network: Annotated[str | None, typer.Option(help="Its network, such as cifar-residual20-A.")] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="As trained (needed): ours, imagenet, cifar10, or MEAN/STD such as 0.49,0.48,0.45/0.25,0.24,0.26."
        ),
    ] = None,
    data: Data = None,
    setting: Annotated[
        str | None, typer.Option(help="Kind of images; if left out, cifar10 for cifar- networks, imagenet else.")
    ] = None,
    part: Annotated[str, typer.Option(help="training or validation images.")] = "validation",
    zero_padding: Annotated[
        str | None,
        typer.Option(help="Where option A pads channels with zeros: end, or both, as in many published networks."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Which, where a file holds several: state_dict_ema, for example.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="All classes in the order of its outputs, separated by commas, or a file with one on each line; "
            "the images' order if left out."
        ),
    ] = None,
    device: Device = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16 or fp16; if left out, fp32, or what a run's record says.")
    ] = None,
) -> tuple["Subject", "Part", "Record | None"]:
    """Open a checkpoint from elsewhere by what is said of it, or a finished run by its record."""
    from plain_vs_residual.executors.machine import choose_device, choose_precision
    from plain_vs_residual.subject.from_checkpoint import open_checkpoint, parse_part
    from plain_vs_residual.subject.from_run import open_run
    from plain_vs_residual.subject.weights_file import record_of

    where, chosen = choose_device(device), parse_part(part)
    if (record := record_of(checkpoint)) is not None:
        own = {"network": record.run.network, "setting": record.run.setting, "normalise": "ours"}
        given = {
            **{
                "network": network and Architecture.parse(network).name,
                "setting": setting,
                "normalise": normalise,
            },
            **{"zero-padding": zero_padding, "weights": weights, "classes": classes},
        }
        for name, value in given.items():
            if value is not None and value != own.get(name):
                said = f"its record says {own[name]}" if name in own else "this is for checkpoints from elsewhere"
                raise ValueError(f"--{name} {value}: {checkpoint} is a run of this suite, {said}; leave it out")
        asked = choose_precision(precision, where) if precision else None
        return open_run(record, data, where, asked), chosen, record
    subject = open_checkpoint(
        checkpoint,
        network=network,
        setting=setting,
        data=data,
        normalise=normalise or "",
        part=chosen,
        zero_padding=zero_padding or "end",
        weights=weights,
        classes=classes,
        device=where,
        precision=choose_precision(precision or "fp32", where),
    )
    return subject, chosen, None


def _of_a_subject(
    defaults: dict[str, str], *, asked: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of :func:`_opened` before its own; what it cannot do without comes first.

    It is called with what was opened, and with its own options by name.

    Args:
        defaults: of some of the options.
        asked: whether the command has options for these.
    """

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        fixed: dict[str, Any] = {} if asked else defaults
        shared = {name: one for name, one in signature(_opened).parameters.items() if name not in fixed}
        own = [one for one in signature(command).parameters.values() if one.kind is Parameter.KEYWORD_ONLY]

        @wraps(command)
        def called(**options: Any) -> None:
            command(*_opened(**{name: options.pop(name) for name in shared}, **fixed), **options)

        first = [one for one in own if one.default is Parameter.empty]
        after = [one for one in own if one not in first]
        changed = [
            one.replace(default=defaults.get(one.name, one.default), kind=Parameter.KEYWORD_ONLY)
            for one in shared.values()
        ]
        parameters = [*first, *changed, *after]
        # typer reads a command's options off its signature.
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return with_options


@_of_a_subject({"part": "validation"})
def evaluate(subject: "Subject", part: "Part", record: "Record | None") -> None:
    """Take the error of a checkpoint from elsewhere (torchvision's, published CIFAR networks) or of a run."""
    from plain_vs_residual.inspection.errors_and_responses import evaluation_text

    print(evaluation_text(subject, part, record))


@_of_a_subject({"part": "training"})
def responses(
    subject: "Subject",
    part: "Part",
    record: "Record | None",
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Where table and figure go; a folder of their own in plots/responses if left out."),
    ] = None,
) -> None:
    """Measure the layer responses (Fig. 7) of a checkpoint from elsewhere or of a run, as table and figure."""
    from plain_vs_residual.inspection.errors_and_responses import measure_responses

    print(measure_responses(subject, part, out))


@_of_a_subject({"part": "training", "precision": "fp32"}, asked=False)
def measure(
    subject: "Subject",
    part: "Part",
    record: "Record | None",
    *,
    measurement: Annotated[str, typer.Argument(metavar="MEASUREMENT", help=f"{', '.join(measurable())}.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where table and figure go; a folder of their own in plots/measured if left out."),
    ] = None,
) -> None:
    """Take a measurement of the seminar (lesions, gradients, loss landscape) of a checkpoint or of a run."""
    from plain_vs_residual.inspection.measuring import measure as lines

    for line in lines(subject, measurement, record, out):
        print(line, flush=True)


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
    written = inspection.write(out or inspection.default_out)
    print("\n".join([inspection.text(), "", *map(str, written)]))
