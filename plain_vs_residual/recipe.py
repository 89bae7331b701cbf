"""What a recipe consists of: images, input size, widths, stem, schedule, budget (He et al., Sec. 3.4 and 4.2).

A field is declared, documented and bounded here and nowhere else: its range is checked whenever a recipe is made
or changed, and the options of the command line take their words from it. Imports no torch.
"""

from textwrap import shorten
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from plain_vs_residual.schedules import FIXED

Stem = Literal["3x3", "7x7"]
Split = Literal["test", "45k/5k"]
Modification = Literal[
    "none",
    "zero-gamma",
    "pre-activation",
    "skip-init",
    "delta-orthogonal",
    "dirac",
    "looks-linear",
    "foldable",
    "folded",
    "shortcut-0.5",
    "shortcut-0.9",
    "scaled-branches",
    "free-streams",
    "doubly-stochastic-streams",
    "tailored",
]
Optimizer = Literal["sgd", "adamw", "muon"]
Fraction = Annotated[float, Field(gt=0, le=1)]
# Schedules that are not fixed before the run: one member of a pair watches itself, the others repeat its rates.
WATCHING = ("plateau", "replay")


class ImageKind(NamedTuple):
    """What is known of a kind of images before any is read.

    Attributes:
        channels: of the images.
        num_classes: of the labels.
        name: of the images that are read without ``--data``; empty where there are none.
        loader: of these, a function of the side in pixels: its module in ``data/``, and its name.
    """

    channels: int
    num_classes: int
    name: str
    loader: str


IMAGE_KINDS = {
    "fashion": ImageKind(1, 10, "Fashion-MNIST (4,000 images)", "fashion.fashion"),
    "digits": ImageKind(1, 10, "digits (scikit-learn)", "datasets.digits"),
    "cifar10": ImageKind(3, 10, "CIFAR-10", "cifar.cifar10"),
    "imagenet": ImageKind(3, 1000, "", "datasets.no_images"),
    "cifar100": ImageKind(3, 100, "CIFAR-100", "cifar.cifar100"),
    "cifar100-coarse": ImageKind(3, 20, "CIFAR-100 (20 coarse labels)", "cifar.cifar100_coarse"),
}


def _known_kind(name: str) -> str:
    if name not in IMAGE_KINDS:
        raise ValueError(f"accepted are {', '.join(IMAGE_KINDS)}")
    return name


def _known_schedule(name: str) -> str:
    if name not in (*FIXED, *WATCHING):
        raise ValueError(f"accepted are {', '.join((*FIXED, *WATCHING))}")
    return name


class Recipe(BaseModel):
    """Everything about training that determines the numbers and that the members of a pair share."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    data: Annotated[str, AfterValidator(_known_kind)] = Field(description="Kind of images.")
    image_size: int = Field(ge=1, description="Side of the images as the data set gives them, in pixels.")
    stem: Stem = Field(description="First layer of the ImageNet family: 7x7 with max-pooling, or 3x3 without.")
    stem_width: int = Field(
        ge=1, description="Channels of stage 1 of the ImageNet family; each later stage has twice as many."
    )
    batch_size: int = Field(ge=1, description="Images per step.")
    norm_batch: int | None = Field(
        None,
        ge=1,
        description="Images over which BN normalises in training, equal parts of the batch (ghost batches, "
        "Hoffer et al., 2017); the whole batch where it is not given. Running statistics are those of the first.",
    )
    learning_rate: float = Field(ge=0, allow_inf_nan=False, description="Learning rate at the start.")
    schedule: Annotated[str, AfterValidator(_known_schedule)] = Field(
        description="step: divided by 10 at each of the drops; linear: falls to 0 at the end; plateau: divided by "
        "10 when the validation loss has not fallen for ten evaluations (one member of a pair alone may watch "
        "itself); replay: the rates that the pair's leader applied."
    )
    crop_padding: int = Field(ge=0, description="Zero pixels added on each side before the random crop.")
    flip: bool = Field(description="Whether images are mirrored at random.")
    epochs: int | None = Field(
        None, ge=1, description="Budget in passes over the training set; counts where iterations is not given."
    )
    iterations: int | None = Field(None, ge=1, le=10**9, description="Budget in steps.")
    drops: tuple[Fraction, ...] = Field((), description="Where the schedule step drops: fractions of the budget.")
    warm_up_iterations: int = Field(
        0,
        ge=0,
        description="First steps of deep networks, plain and residual alike, at a tenth of the rate.",
    )
    warm_up_depth: int = Field(110, ge=0, description="Least depth that is warmed up (He et al., Sec. 4.2).")
    pixel_range: Literal["0..1", "0..255"] = Field("0..1", description="Pixels before the mean is subtracted.")
    subtract_mean: bool = Field(True, description="Whether the training images' per-pixel mean is subtracted.")
    enlarge_to: int | None = Field(
        None, ge=1, description="Side to which the device enlarges images (bilinear) after that, in pixels."
    )
    probe_iterations: int = Field(
        0, ge=0, description="First iterations of which the scale of activations and gradients is recorded."
    )
    optimizer: Optimizer = Field(
        "sgd",
        description="sgd; adamw; muon: Muon for the kernels of convolutions, each as a matrix with a row per "
        "output channel, and SGD for all else, at the same rate.",
    )
    momentum: float = Field(
        0.9, ge=0, le=1, description="Momentum of SGD, without Nesterov, and of Muon, with it; AdamW has its own."
    )
    weight_decay: float = Field(
        1e-4,
        ge=0,
        allow_inf_nan=False,
        description="Weight decay on every parameter, BN included: of SGD in the gradient, of the others apart.",
    )
    clip_norm: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Norm to which the gradient of a step is cut if it is longer."
    )
    modification: Modification = Field(
        "none", description="A step after building (plain_vs_residual/modifications.py): a cure or an ablation."
    )
    split: Split = Field(
        "test",
        description="test: train on all training images and evaluate on the test set; 45k/5k: hold out a tenth of "
        "the training images (fixed, stratified, independent of the seed).",
    )
    evaluations: int = Field(
        20,
        ge=1,
        le=10**4,
        description="How often clean training and validation error are taken, the last iteration included.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.iterations is None and self.epochs is None:
            raise ValueError("iterations and epochs cannot both be None; one of them is the budget")
        if self.norm_batch and self.batch_size % self.norm_batch:
            raise ValueError(
                f"norm_batch cannot be {self.norm_batch} with batch_size {self.batch_size}; BN normalises over "
                "equal parts of the batch"
            )
        if self.norm_batch and self.probe_iterations:
            raise ValueError(
                "probe_iterations and norm_batch cannot both be given; a probe looks at whole batches"
            )
        if list(self.drops) != sorted(self.drops):
            raise ValueError(f"drops cannot be {self.drops}; they are fractions of the budget in rising order")
        if self.drops and self.schedule != "step":
            raise ValueError(f"drops cannot be {self.drops} with schedule {self.schedule}; only step has drops")
        if self.warm_up_iterations and self.schedule in WATCHING:
            raise ValueError(
                f"warm_up_iterations cannot be {self.warm_up_iterations} with schedule {self.schedule}; "
                f"only {' and '.join(FIXED)} can be warmed up"
            )
        return self

    @property
    def num_ghost_batches(self) -> int:
        """Number of equal parts of a batch over each of which BN normalises."""
        return self.batch_size // (self.norm_batch or self.batch_size)

    @property
    def input_size(self) -> int:
        """Side of the images that the network sees, in pixels."""
        return self.enlarge_to or self.image_size

    @property
    def eager_alone(self) -> bool:
        """Whether it is trained eagerly, whatever is asked for: fast steps are made for SGD alone."""
        return self.optimizer != "sgd"

    def recipe(self) -> dict[str, Any]:
        """Return the fields that determine the numbers."""
        return self.model_dump(include=set(Recipe.model_fields))


def explained(error: ValidationError) -> str:
    """Say in one line which field was given what, and what is accepted."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if not field:
        return message
    if first["type"] == "missing":
        return f"field '{field}' is missing"
    given = shorten(repr(first["input"]), 80)
    return f"{field} cannot be {given}: {message[0].lower()}{message[1:]}"
