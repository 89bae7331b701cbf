"""Networks whose weights have the same names and shapes: a file cannot tell them apart, a run's record can."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from plain_vs_residual.architecture import Architecture, Kind, Option
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import RunRecord
from plain_vs_residual.records.store import read_run
from plain_vs_residual.settings import Setting
from plain_vs_residual.subject.from_run import recorded_setting
from plain_vs_residual.subject.normalisation import OURS, Normalisation

# A shortcut of option A has no weights, and a stride none anywhere.
WITHOUT_WEIGHTS: tuple[tuple[Kind, Option | None], ...] = (("plain", None), ("residual", "A"))
# What of a setting decides how a network that is trained computes.
SEEN = ("data", "image_size", "stem", "stem_width", "pixel_range", "subtract_mean", "enlarge_to", "modification")


def namesakes(architecture: Architecture) -> list[Architecture]:
    """List the other networks that take the same weights.

    >>> [one.name for one in namesakes(Architecture.parse("plain50"))]
    ['plain50-1x1', 'residual50-A', 'residual50-A-1x1']
    """
    own = (architecture.kind, architecture.option)
    strides = (False, True) if architecture.bottleneck else (False,)
    every = (
        replace(architecture, kind=kind, option=option, stride_in_1x1=stride)
        for (kind, option), stride in product(WITHOUT_WEIGHTS if own in WITHOUT_WEIGHTS else (own,), strides)
    )
    return [one for one in every if one != architecture]


def what_was_taken(
    checkpoint: Path,
    architecture: Architecture,
    setting: Setting,
    normalisation: Normalisation,
    precision: Precision,
) -> str:
    """Say what a run's record beside the weights says otherwise, or that the file cannot tell; else nothing."""
    record = _record_beside(checkpoint)
    if record is not None:
        differing = list(_differing(record, architecture, setting, normalisation, precision))
        if not differing:
            return ""
        return (
            f"note: the record beside it (run.json) says {', '.join(differing)}; the folder "
            f"{checkpoint.parent} in place of the file takes all that from the record"
        )
    if others := namesakes(architecture):
        return (
            f"note: taken for {architecture.label}, as --network says; the file cannot tell, because weights of "
            f"{' and '.join(one.label for one in others)} have the same names and shapes"
        )
    return ""


def _record_beside(checkpoint: Path) -> RunRecord | None:
    folder = RunFolder(checkpoint.parent)
    if checkpoint.name != folder.weights.name or not folder.run.is_file():
        return None
    return read_run(folder)


def _differing(
    record: RunRecord,
    architecture: Architecture,
    setting: Setting,
    normalisation: Normalisation,
    precision: Precision,
) -> Iterator[str]:
    if record.network != architecture.name:
        same = " (weights of both have the same names and shapes, and load as each other)"
        alike = any(one.name == record.network for one in namesakes(architecture))
        yield f"{record.label}, not {architecture.label}{same if alike else ''}"
    recorded = recorded_setting(record)
    fields = [name for name in SEEN if getattr(recorded, name) != getattr(setting, name)]
    if record.setting != setting.name or fields:
        study = f" of study {record.study}" if record.study else ""
        said = ", ".join(f"{name.replace('_', ' ')} {getattr(recorded, name)}" for name in fields)
        yield f"setting {record.setting}{study}{f' with {said}' if said else ''}, not {setting.name}"
    if normalisation != OURS:
        yield f"--normalise ours, not {normalisation.name}"
    if record.arithmetic.precision != precision:
        yield (
            f"{record.arithmetic.precision}, not {precision} (rounded otherwise, an image or two may fall on the "
            "other side)"
        )
