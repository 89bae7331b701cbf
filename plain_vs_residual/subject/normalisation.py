"""How pixels become what a network was trained on: as in this suite, or as its trainer elsewhere says."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from plain_vs_residual.data.batches import Feed
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.data.loader import CHANNEL_MEAN, CHANNEL_STD, LoaderFeed
from plain_vs_residual.settings import Setting


@dataclass(frozen=True)
class Normalisation:
    """How pixels become what a network sees: (pixel / 255 - mean) / std; without ``mean`` as in training.

    Attributes:
        name: as on the command line.
        mean: of each channel, in units of the whole range of pixel values.
        std: likewise.
    """

    name: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Normalisation":
        """Read a preset's name or ``MEAN/STD``, a number per channel or one for all, separated by commas.

        Raises:
            ValueError: if it is neither.
        """
        if text in PRESETS:
            return PRESETS[text]
        number = r"[-+]?(?:\d+\.?\d*|\.\d+)"
        if re.fullmatch(rf"{number}(,{number})*/{number}(,{number})*", text):
            mean, std = (tuple(map(float, half.split(","))) for half in text.split("/"))
            if len(mean) == len(std) and min(std) > 0 and max(*mean, *std) <= 1:
                return cls(text, mean, std)
        given = f"--normalise {text}" if text else "--normalise is needed, because a checkpoint does not tell"
        raise ValueError(
            f"{given}: accepted are {', '.join(PRESETS)}, or MEAN/STD of each channel in units of "
            "0 to 1, such as 0.49,0.48,0.45/0.25,0.24,0.26"
        )

    def feed(self, dataset: Dataset, setting: Setting, seed: int, device: torch.device) -> Feed:
        """Make the feed that brings images as calling this expects them: as in training, or pixels in 0 to 1."""
        if not self.mean:
            return make_feed(dataset, setting, seed, device)
        raw = setting.with_changes({"subtract_mean": False, "pixel_range": "0..1"})
        feed = make_feed(dataset, raw, seed, device)
        if isinstance(feed, LoaderFeed):
            feed.mean, feed.std = torch.zeros_like(feed.mean), torch.ones_like(feed.std)
        return feed

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images float (N, C, H, W) of that feed by channel."""
        if not self.mean:
            return images
        mean, std = (torch.tensor(one, device=images.device)[:, None, None] for one in (self.mean, self.std))
        return (images - mean) / std


OURS = Normalisation("ours")
# cifar10: of the 50,000 training images. Many published CIFAR networks were trained with ImageNet's numbers.
PRESETS = {
    "ours": OURS,
    "imagenet": Normalisation("imagenet", CHANNEL_MEAN, CHANNEL_STD),
    "cifar10": Normalisation("cifar10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
