"""What a person is told of each setting, apart from its recipe: time, caveat, departures from the paper."""

from dataclasses import dataclass
from typing import NamedTuple


class Departure(NamedTuple):
    """Where a setting departs from the paper: a sentence, and the fields by whose change it becomes wrong.

    ``images`` and ``budget`` stand for all fields that say what is trained on, and for how long.
    """

    text: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Publication:
    """What a person is told of a setting.

    Attributes:
        expected: time of the whole suite, as announced.
        margin_reason: why its margin is what it is; decided before the reference seeds were trained.
        caveat: what its budget means, printed wherever its results appear.
        departures: where it departs from the paper's recipe.
        shorter: names of settings that show the same in less time, the most alike first.
    """

    expected: str
    margin_reason: str
    caveat: str = ""
    departures: tuple[Departure, ...] = ()
    shorter: tuple[str, ...] = ()


BATCH_NORM = Departure(
    "One GPU normalises over the whole batch; the paper's two GPUs may have seen half of it each.", ("norm_batch",)
)
WARM_UP = Departure(
    "110 layers and more start with 400 iterations at a tenth of the learning rate, plain and residual "
    'alike, fixed beforehand (the paper: "until training error is below 80 %, about 400 iterations").',
    ("warm_up_iterations", "warm_up_depth"),
)

EVERYWHERE = (
    Departure(
        "Weights are drawn by He's rule over outgoing connections (fan-out), as torchvision's, those of the fully "
        "connected layer uniformly, as torch's; the paper names the rule alone."
    ),
    Departure(
        "Weight decay on every parameter, BN's scales and shifts included, on which the size of layer responses "
        "hangs; the paper does not say.",
        ("weight_decay",),
    ),
    Departure(
        "Evaluated with BN's running statistics, an average over the last batches, not with those of the whole "
        "training set."
    ),
)

FASHION = Publication(
    expected="about 14 minutes on 2 cores for 5 seeds, the first seed's page after 3",
    margin_reason="in the first trials, most networks differ by less than that between two seeds",
    caveat="350 iterations show slow optimisation rather than an asymptote",
    departures=(
        Departure(
            "4,000 images of Fashion-MNIST, halved to 14 px, one channel, instead of CIFAR-10 or ImageNet: the "
            "first 300 of each class of the training set, the first 100 of each class of the test set.",
            ("images", "image_size"),
        ),
        Departure(
            "350 iterations (under four epochs), batch 32, learning rate 0.01 falling linearly to 0, shifts of "
            "2 px.",
            ("budget", "batch_size", "learning_rate", "schedule", "crop_padding"),
        ),
        Departure(
            "18/34 have a 3x3 stem without pooling and widths 16 to 128.",
            ("stem", "stem_width"),
        ),
        *EVERYWHERE,
    ),
)

DIGITS = Publication(
    expected="under 6 minutes on 2 cores for 3 seeds",
    margin_reason="seven of the 1,437 images: about what a pair of networks of equal depth and kind may differ by",
    caveat="ten epochs show slow optimisation rather than an asymptote",
    departures=(
        Departure(
            "1,797 real 8x8 handwritten digits (scikit-learn), enlarged to 16 px, one channel, instead of "
            "CIFAR-10 or ImageNet; 1,437 train, 360 validate (fixed, stratified).",
            ("images", "image_size", "split"),
        ),
        Departure(
            "10 epochs, batch 32, learning rate 0.02 falling linearly to 0 (the best looking of 0.1, 0.05, 0.02"
            " and 0.01); at 0.1 the deep networks of both kinds suffer in so few epochs.",
            ("budget", "batch_size", "learning_rate", "schedule"),
        ),
        Departure(
            "Shifts of 1 px and no mirroring: a mirrored digit is another sign.",
            ("crop_padding", "flip"),
        ),
        Departure(
            "18/34 have a 3x3 stem without pooling and widths 16 to 128.",
            ("stem", "stem_width"),
        ),
        *EVERYWHERE,
    ),
)

CIFAR_RECIPE = (
    WARM_UP,
    BATCH_NORM,
    Departure(
        "Trained on all 50,000 training images and evaluated on the test set; nothing is selected on it "
        "(--split 45k/5k for the paper's other reading).",
        ("images", "split"),
    ),
    Departure(
        "Pixels scaled to 0..1 before the per-pixel mean is subtracted; the paper gives no scale.",
        ("pixel_range", "subtract_mean"),
    ),
    Departure(
        "18/34 are the ImageNet networks with a 3x3 stem without pooling; the paper trains them on ImageNet only.",
        ("stem",),
    ),
    *EVERYWHERE,
)
CIFAR10 = Publication(
    expected="2 to 11 minutes per network on one H100 by measured steps, evaluations not counted; "
    "the rate is shown as it trains",
    margin_reason="a fifth of the 2.6 points that a published run has between plain-56 and plain-20",
    departures=CIFAR_RECIPE,
    shorter=("cifar10-short", "fashion"),
)

CIFAR100 = Publication(
    expected="as cifar10; the rate is shown as it trains",
    margin_reason="50 of the 10,000 test images, as on cifar10",
    departures=(
        Departure("CIFAR-100, which the paper does not train on, with its recipe for CIFAR-10.", ("images",)),
        *CIFAR_RECIPE,
    ),
    shorter=("cifar10-short", "fashion"),
)

IMAGENET = Publication(
    expected="days on one GPU",
    margin_reason="the paper's Table 2 has 0.6 points between plain-34 and plain-18",
    departures=(
        Departure(
            "The learning rate drops at 30 and 60 of 90 epochs, fixed beforehand, not when the error plateaus.",
            ("budget", "schedule", "drops"),
        ),
        Departure(
            "Validation by one centre crop at 256 (as in Fig. 4), and at the end also by ten crops (as in "
            "Tables 2 and 3): corners and centre of the whole picture, where the paper may have cut it square "
            "before.",
            ("image_size",),
        ),
        Departure(
            "The mean and standard deviation of each channel take the place of the per-pixel mean.",
        ),
        Departure(
            "BN normalises over 32 images, whatever the number of GPUs, as in torchvision's recipe and Goyal et"
            " al. (2017) with 256 images over eight GPUs; the paper does not say.",
            ("norm_batch", "batch_size"),
        ),
        *EVERYWHERE,
    ),
    shorter=("cifar10", "cifar10-short", "fashion"),
)

CIFAR10_SHORT = Publication(
    expected="an eighth of cifar10; the rate is shown as it trains",
    margin_reason=CIFAR10.margin_reason,
    caveat="short: 8,000 of 64,000 iterations",
    departures=(
        Departure("An eighth of the paper's iterations, drops scaled.", ("budget", "schedule", "drops")),
        *CIFAR_RECIPE,
    ),
    shorter=("fashion",),
)

# By the name of the setting.
PUBLICATIONS = {
    "fashion": FASHION,
    "digits": DIGITS,
    "cifar10": CIFAR10,
    "cifar10-short": CIFAR10_SHORT,
    "cifar100": CIFAR100,
    "cifar100-coarse": CIFAR100,
    "imagenet": IMAGENET,
}
