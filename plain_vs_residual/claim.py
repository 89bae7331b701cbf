"""What an experiment claims: a sentence of the paper as one number per seed, with a margin."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.settings import SETTINGS

Margin = float | Mapping[str, float]
# The smallest difference between errors that is worth teaching, in points, by setting.
MARGINS = MappingProxyType({name: setting.margin for name, setting in SETTINGS.items()})
# The first is what decides: it has no floor at 0 on small data, and it is what the paper's training curves show.
COLUMN_WORDS = {
    "running_training_error": "training error",
    "training_error": "clean training error",
    "validation_error": "validation error",
}
ERRORS = tuple(COLUMN_WORDS)
Side = Literal["above", "below", "within"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as one number per seed, written down before the runs.

    The number is a sum over networks of weight times ``column`` in the final record. The claim holds if that
    number is above ``above``, below ``below``, or nearer to 0 than ``within``, which says that two things are
    equivalent; exactly one of the three is given.

    Attributes:
        statement: the sentence, as the report prints it.
        contrast: weight of each network by name; ``network@study`` where the experiment has several studies.
        column: a number of every finished run, such as ``validation_error`` (percent): one of ``final_columns`` in
            ``vocabulary.py``, or of COLUMNS in the module of the experiment's measurement.
        above: margin the number must exceed, in the column's unit; or a margin by setting, such as MARGINS.
        below: margin the number must stay under, likewise.
        within: margin that the number must keep on both sides of 0, likewise.
        reason: why the margin is what it is; empty where it is the setting's, which has a reason of its own.
        primary: whether this is the experiment's one primary claim.
        undecidable: reason by setting, where a setting cannot decide the claim.
        settings: the ones that it is about; all of the experiment's if empty.
    """

    statement: str
    contrast: Mapping[str, float]
    column: str = "running_training_error"
    above: Margin | None = None
    below: Margin | None = None
    within: Margin | None = None
    reason: str = ""
    primary: bool = False
    undecidable: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(getattr(self, side) is not None for side in SIDES) != 1:
            raise ValueError(f"claim '{self.statement}': give exactly one of above, below and within")
        names = {canonical(name): weight for name, weight in self.contrast.items()}
        if not names or len(names) < len(self.contrast):
            raise ValueError(f"claim '{self.statement}': its contrast needs networks, each of them once")
        margins = tuple(self.margin.values()) if isinstance(self.margin, Mapping) else (self.margin,)
        for value in (*names.values(), *margins):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(
                    f"claim '{self.statement}': weights and margins are finite numbers, not {value!r}"
                )
        if self.within is not None and min(margins) <= 0:
            raise ValueError(f"claim '{self.statement}': within is a distance from 0, above 0")
        if not all(names.values()):
            raise ValueError(f"claim '{self.statement}': a weight of 0 leaves its network out; remove it")
        object.__setattr__(self, "contrast", MappingProxyType(names))

    @property
    def side(self) -> Side:
        """On which side of its margin the number is wanted."""
        return next(side for side in SIDES if getattr(self, side) is not None)

    @property
    def margin(self) -> Margin:
        """The value that separates a claim that holds from one that does not, or that value by setting."""
        margin: Margin = getattr(self, self.side)
        return margin

    def margin_in(self, setting: str) -> float:
        """Return the value that separates a claim that holds from one that does not.

        Raises:
            ValueError: if the claim has margins by setting, and none for this one.
        """
        if isinstance(self.margin, int | float):
            return self.margin
        if setting not in self.margin:
            raise ValueError(f"no margin for setting {setting}, only for {', '.join(self.margin)}")
        return self.margin[setting]

    def margin_reason(self, setting: str) -> str:
        """Return why the margin is what it is; empty if nobody wrote it down."""
        return self.reason or (SETTINGS[setting].margin_reason if self.margin is MARGINS else "")


def canonical(name: str) -> str:
    """Return a network's full name; a study behind it, as in ``residual18@slow``, stays.

    >>> canonical("residual18@slow")
    'residual18-A@slow'
    """
    network, at, study = name.partition("@")
    return f"{Architecture.parse(network).name}{at}{study}"
