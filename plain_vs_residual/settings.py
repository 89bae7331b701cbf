"""The settings: a recipe each, under a name, for a machine and an audience."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.recipe import Recipe, explained


class Setting(Recipe):
    """A recipe under a name, and what a person is told about it."""

    name: str = Field(description="As on the command line.")
    seeds: int = Field(1, ge=1, le=1000, description="How many seeds are trained, unless told otherwise.")
    margin: float = Field(gt=0, description="Smallest difference between errors worth teaching, in points.")
    margin_reason: str = Field(description="Why this one; decided before the reference seeds were trained.")
    caveat: str = Field("", description="Printed wherever results of this setting appear.")
    expected: str = Field("", description="Time of the whole suite, as announced.")
    departures: tuple[str, ...] = Field((), description="Where the setting departs from the paper's recipe.")

    def with_changes(self, changes: Mapping[str, Any]) -> "Setting":
        """Return a copy with some fields changed.

        >>> DIGITS.with_changes({"batch_size": 64}).batch_size
        64

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


BATCH_NORM = "One GPU normalises over the whole batch; the paper's two GPUs may have seen half of it each."
WARM_UP = (
    "110 layers and more start with 400 iterations at a tenth of the learning rate, plain and residual "
    'alike, fixed beforehand (the paper: "until training error is below 80 %, about 400 iterations").'
)

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
    margin_reason="in the first trials, most networks differ by less than that between two seeds",
    caveat="350 iterations show slow optimisation rather than an asymptote",
    expected="about 14 minutes on 2 cores for 5 seeds, the first seed's page after 3",
    departures=(
        "4,000 images of Fashion-MNIST, halved to 14 px, one channel, instead of CIFAR-10 or ImageNet: the first "
        "300 of each class of the training set, the first 100 of each class of the test set.",
        "350 iterations (under four epochs), batch 32, learning rate 0.01 falling linearly to 0, shifts of 2 px.",
        "18/34 have a 3x3 stem without pooling and widths 16 to 128.",
    ),
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
    margin_reason="seven of the 1,437 images: about what a pair of networks of equal depth and kind may differ by",
    caveat="ten epochs show slow optimisation rather than an asymptote",
    expected="under 6 minutes on 2 cores for 3 seeds",
    departures=(
        "1,797 real 8x8 handwritten digits (scikit-learn), enlarged to 16 px, one channel, instead of CIFAR-10 "
        "or ImageNet; 1,437 train, 360 validate (fixed, stratified).",
        "10 epochs, batch 32, learning rate 0.02 falling linearly to 0 (the best looking of 0.1, 0.05, 0.02 "
        "and 0.01); at 0.1 the deep networks of both kinds suffer in so few epochs.",
        "Shifts of 1 px and no mirroring: a mirrored digit is another sign.",
        "18/34 have a 3x3 stem without pooling and widths 16 to 128.",
    ),
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
    margin_reason="a fifth of the 2.6 points that a published run has between plain-56 and plain-20",
    expected="not yet measured on a GPU; the rate is shown as it trains",
    departures=(
        WARM_UP,
        BATCH_NORM,
        "Trained on all 50,000 training images and evaluated on the test set; nothing is selected on it "
        "(--split 45k/5k for the paper's other reading).",
        "Pixels scaled to 0..1 before the per-pixel mean is subtracted; the paper gives no scale.",
        "18/34 are the ImageNet networks with a 3x3 stem without pooling; the paper trains them on ImageNet only.",
    ),
)

CIFAR10_SHORT = CIFAR10.with_changes(
    {
        "name": "cifar10-short",
        "iterations": 8_000,
        # Each takes 60,000 images forward: twenty would cost more than a quarter of the training itself.
        "evaluations": 8,
        "caveat": "short: 8,000 of 64,000 iterations",
        "expected": "an eighth of cifar10, not yet measured on a GPU; the rate is shown as it trains",
        "departures": ("An eighth of the paper's iterations, drops scaled.", *CIFAR10.departures),
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
    margin_reason="the paper's Table 2 has 0.6 points between plain-34 and plain-18",
    expected="days on one GPU",
    departures=(
        "The learning rate drops at 30 and 60 of 90 epochs, fixed beforehand, not when the error plateaus.",
        "Validation by one centre crop at 256 (as in Fig. 4), and at the end also by ten crops (as in Tables 2 "
        "and 3): corners and centre of the whole picture, where the paper may have cut it square before.",
        "The mean and standard deviation of each channel take the place of the per-pixel mean.",
        "BN normalises over 32 images, whatever the number of GPUs, as in torchvision's recipe and Goyal et al. "
        "(2017) with 256 images over eight GPUs; the paper does not say.",
    ),
)

SETTINGS = {setting.name: setting for setting in (FASHION, DIGITS, CIFAR10, CIFAR10_SHORT, IMAGENET)}


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
