"""What an experiment claims: a sentence of the paper as one number per seed, with a margin."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as one number per seed, written down before the runs.

    The number is a sum over networks of weight times ``column`` in the final record. The claim holds if that
    number is above ``above`` or below ``below``; exactly one of the two is given.

    Attributes:
        statement: the sentence, as the report prints it.
        contrast: weight of each network by name; ``network@study`` where the experiment has several studies.
        column: a number of every finished run, such as ``validation_error`` (percent): one of ``final_columns`` in
            ``vocabulary.py``, or of COLUMNS in the module of the experiment's measurement.
        above: margin the number must exceed, in the column's unit; or a margin by setting, such as MARGINS.
        below: margin the number must stay under, likewise.
        primary: whether this is the experiment's one primary claim.
        undecidable: reason by setting, where a setting cannot decide the claim.
        settings: the ones that it is about; all of the experiment's if empty.
    """

    statement: str
    contrast: Mapping[str, float]
    column: str = "running_training_error"
    above: Margin | None = None
    below: Margin | None = None
    primary: bool = False
    undecidable: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"claim '{self.statement}': give exactly one of above and below")
        names = {canonical(name): weight for name, weight in self.contrast.items()}
        if not names or len(names) < len(self.contrast):
            raise ValueError(f"claim '{self.statement}': its contrast needs networks, each of them once")
        margins = self.margin.values() if isinstance(self.margin, Mapping) else (self.margin,)
        for value in (*names.values(), *margins):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(
                    f"claim '{self.statement}': weights and margins are finite numbers, not {value!r}"
                )
        if not all(names.values()):
            raise ValueError(f"claim '{self.statement}': a weight of 0 leaves its network out; remove it")
        object.__setattr__(self, "contrast", MappingProxyType(names))

    @property
    def wants_more(self) -> bool:
        """Whether the claim holds above its margin, rather than below."""
        return self.above is not None

    @property
    def margin(self) -> Margin:
        """The value that separates a claim that holds from one that does not, or that value by setting."""
        margin = self.above if self.above is not None else self.below
        assert margin is not None
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


def canonical(name: str) -> str:
    """Return a network's full name; a study behind it, as in ``residual18@slow``, stays.

    >>> canonical("residual18@slow")
    'residual18-A@slow'
    """
    network, at, study = name.partition("@")
    return f"{Architecture.parse(network).name}{at}{study}"
