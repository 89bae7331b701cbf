"""What a measurement gives.

Everything is measured in fp32 and on fixed images without augmentation. BN normalises in one of three ways, and
every number says by which: the statistics of the batch (T, as in training), the running statistics that training
left (E, as in evaluation), or running statistics estimated anew on training images (R), which untrained, edited
and interpolated networks need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.training.evaluation import evaluate


@dataclass(frozen=True)
class Measured:
    """What an experiment found out about one network.

    Attributes:
        rows: every number, for the figure.
        summary: what it comes to: columns for claims, which the module names as COLUMNS; NaN where there is no
            number.
    """

    rows: Sequence[MeasuredRow]
    summary: dict[str, float]


def error_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the error of a network in evaluation mode, in percent."""
    return evaluate(network, zip(images.split(250), labels.split(250), strict=True), "fp32").error
