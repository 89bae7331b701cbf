"""What sets some runs of an experiment apart from the setting as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.claim import canonical

# Images are loaded, records placed and seeds counted once for a setting.
NOT_OF_A_STUDY = frozenset({"name", "data", "seeds"})


@dataclass(frozen=True)
class Study:
    """The same setting with some fields changed, under a name that sets its runs apart.

    Attributes:
        name: part of the runs' names; empty for the setting as it is.
        changes: fields of the setting and their values.
        reason: why, as the report prints it.
        leader: the network whose learning rates the others replay, where the schedule watches its own run.
        networks: the ones it is about; all of the experiment's if empty.
        grown_from: for networks that are grown, before training, from a trained one of equal seed: its name. Its
            run is the one of the setting as it is.
    """

    name: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    leader: str = ""
    networks: tuple[str, ...] = ()
    grown_from: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if fixed := NOT_OF_A_STUDY & self.changes.keys():
            raise ValueError(
                f"{', '.join(sorted(fixed))}: the same in all studies of a setting; name another setting instead, "
                "and seeds as --seeds does, or the argument seeds of train"
            )
        object.__setattr__(self, "networks", tuple(map(canonical, self.networks)))
        grown_from = {canonical(network): canonical(source) for network, source in self.grown_from.items()}
        object.__setattr__(self, "grown_from", MappingProxyType(grown_from))

    def leads(self, network: str) -> bool:
        """Say whether a network is the leader."""
        return bool(self.leader) and Architecture.parse(self.leader) == Architecture.parse(network)
