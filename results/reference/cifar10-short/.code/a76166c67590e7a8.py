"""Where a run is computed; no part of what identifies it."""

from dataclasses import dataclass

import torch

from plain_vs_residual.group import ALONE, Group


@dataclass(frozen=True)
class Place:
    """A device, and this process's place among those that train a run together.

    Attributes:
        device: ``cuda`` has a number.
        group: alone where the run has one device.
    """

    device: torch.device
    group: Group = ALONE


CPU = Place(torch.device("cpu"))
