"""The settings: a recipe each, under a name, for a machine and an audience."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.recipe import IMAGE_KINDS, Recipe, explained
from plain_vs_residual.settings.publications import PUBLICATIONS, Publication

# Images and budget are told in words of their own; how often a run is looked at changes nothing that is told.
NOT_TOLD = {"data", "epochs", "iterations", "evaluations", "probe_iterations"}


class Setting(Recipe):
    """A recipe under a name. What a person is told of it is that name's publication, as far as it still holds."""

    name: str = Field(description="As on the command line.")
    seeds: int = Field(1, ge=1, le=1000, description="How many seeds are trained, unless told otherwise.")
    margin: float = Field(gt=0, description="Smallest difference between errors worth teaching, in points.")
    images: str = Field("", description="Name of the images, where they are not the setting's own.")

    def with_changes(self, changes: Mapping[str, Any]) -> "Setting":
        """Return a copy with some fields changed.

        >>> DIGITS.with_changes({"batch_size": 64}).departures[-1]
        'Changed: batch size 64 instead of 32.'

        Raises:
            ValueError: if a field does not exist or cannot have such a value; says what is accepted.
        """
        for name in changes:
            if name not in Setting.model_fields:
                raise ValueError(
                    f"a setting has no field '{name}'; it has {', '.join(sorted(Setting.model_fields))}"
                )
        try:
            return Setting.model_validate(self.model_dump() | dict(changes))
        except ValidationError as error:
            raise ValueError(f"setting {self.name}: {explained(error)}") from None

    @property
    def budget(self) -> str:
        """How long is trained, such as ``10 epochs``."""
        return f"{self.epochs} epochs" if self.iterations is None else f"{self.iterations:,} iterations"

    @property
    def changed(self) -> dict[str, str]:
        """How it differs from the setting that is known by its name: by field, ``64 instead of 32``."""
        here, there = self._told(), SETTINGS.get(self.name, self)._told()
        return {field: f"{here[field]} instead of {there[field]}" for field in here if here[field] != there[field]}

    def _told(self) -> dict[str, str]:
        images = f"{self.images}, in colour and scaled to {self.image_size} px" if self.images else ""
        told = {"images": images or IMAGE_KINDS[self.data].name, "budget": self.budget}
        return told | {field: _words(value) for field, value in self.recipe().items() if field not in NOT_TOLD}

    @property
    def publication(self) -> Publication:
        """What is said of the setting that is known by its name."""
        return PUBLICATIONS.get(self.name, Publication(expected="", margin_reason=""))

    @property
    def expected(self) -> str:
        """Time of the whole suite, as announced; empty where it was not announced for this."""
        return "" if self.changed else self.publication.expected

    @property
    def margin_reason(self) -> str:
        """Why the margin is what it is; empty where it was changed."""
        if self.margin != SETTINGS[self.name].margin:
            return ""
        own = IMAGE_KINDS[self.data].name
        return f"it was chosen for {own}, not for these images" if self.images else self.publication.margin_reason

    @property
    def caveat(self) -> str:
        """What a reader must know wherever results appear: what the budget means, or that it was changed."""
        return self.changed.get("budget", self.publication.caveat)

    @property
    def departures(self) -> tuple[str, ...]:
        """Where it departs from the paper's recipe: what is published and still holds, and what was changed."""
        changed = self.changed
        held = tuple(one.text for one in self.publication.departures if not changed.keys() & set(one.about))
        said = "; ".join(f"{field.replace('_', ' ')} {words}" for field, words in changed.items())
        return (*held, f"Changed: {said}.") if changed else held


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{one:g}" for one in value) or "none"
    return "none" if value is None else str(value)


FASHION = Setting(
    name="fashion",
    data="fashion",
    image_size=14,
    stem="3x3",
    stem_width=16,
    batch_size=32,
    iterations=350,
    # Of three rates the one at which plain-34 and plain-56 train best: docs/choices.md, on seeds from 100 on.
    learning_rate=0.01,
    schedule="linear",
    crop_padding=2,
    flip=True,
    evaluations=5,
    seeds=5,
    margin=2.0,
)

DIGITS = Setting(
    name="digits",
    data="digits",
    image_size=16,
    stem="3x3",
    stem_width=16,
    batch_size=32,
    epochs=10,
    # The best looking of 0.1, 0.05, 0.02 and 0.01 in trials with other seeds and another implementation.
    learning_rate=0.02,
    schedule="linear",
    crop_padding=1,
    flip=False,
    # Each costs a fifth of an epoch of training: more would take over a tenth of the time.
    evaluations=5,
    seeds=3,
    margin=0.5,
)

CIFAR10 = Setting(
    name="cifar10",
    data="cifar10",
    image_size=32,
    stem="3x3",
    stem_width=64,
    batch_size=128,
    iterations=64_000,
    learning_rate=0.1,
    schedule="step",
    drops=(1 / 2, 3 / 4),
    warm_up_iterations=400,
    crop_padding=4,
    flip=True,
    seeds=3,
    margin=0.5,
)

CIFAR10_SHORT = CIFAR10.with_changes(
    {
        "name": "cifar10-short",
        "iterations": 8_000,
        # Each takes 60,000 images forward: twenty would cost more than a quarter of the training itself.
        "evaluations": 8,
    }
)

IMAGENET = Setting(
    name="imagenet",
    data="imagenet",
    image_size=224,
    stem="7x7",
    stem_width=64,
    batch_size=256,
    norm_batch=32,
    epochs=90,
    learning_rate=0.1,
    schedule="step",
    drops=(1 / 3, 2 / 3),
    crop_padding=0,
    flip=True,
    margin=0.5,
)

CIFAR100 = CIFAR10.with_changes({"name": "cifar100", "data": "cifar100"})
CIFAR100_COARSE = CIFAR10.with_changes({"name": "cifar100-coarse", "data": "cifar100-coarse"})

CIFARS = (CIFAR10, CIFAR10_SHORT, CIFAR100, CIFAR100_COARSE)
SETTINGS = {setting.name: setting for setting in (FASHION, DIGITS, *CIFARS, IMAGENET)}


def default_setting(device_type: str) -> str:
    """Return the setting to take when none is named: what ``cuda`` can do in hours, or any CPU in minutes."""
    return CIFAR10.name if device_type == "cuda" else FASHION.name


def find_setting(name: str) -> Setting:
    """Return the setting of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in SETTINGS:
        question = did_you_mean(name, SETTINGS)
        raise ValueError(f"unknown setting '{name}'{question}; accepted are {', '.join(SETTINGS)}")
    return SETTINGS[name]
