"""The endless stream of training batches: which image comes when, and how it is cropped and mirrored.

Permutation after permutation of the training set, keyed by (seed, pass), cut into batches of one size:
64,000 iterations are 64,000 whole batches. Crops and flips are keyed the same way. Everything is drawn on
the CPU and depends on nothing but the seed and the position, so it is equal on every device and after a
resume.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.recipe import Recipe

Draws = dict[str, Tensor]
Draw = Callable[[int, Generator], Tensor]


def draws_of(recipe: Recipe) -> dict[str, Draw]:
    """Say what is drawn for each image of a pass beside its place in the order.

    ``crops`` are the row and column of the crop's corner: in pixels of the padded image, or, where images
    are scaled first (``imagenet``), as fractions of the room there is.
    """

    def flips(num: int, generator: Generator) -> Tensor:
        return torch.randint(0, 2 if recipe.flip else 1, (num,), generator=generator).bool()

    if recipe.data != "imagenet":
        offsets = 2 * recipe.crop_padding + 1

        def crops(num: int, generator: Generator) -> Tensor:
            return torch.randint(0, offsets, (num, 2), generator=generator)

        return {"crops": crops, "flips": flips}
    return {
        "crops": lambda num, generator: torch.rand((num, 2), generator=generator),
        "flips": flips,
        # Shorter side in [256, 480] for a crop of 224, in proportion for other sizes (He et al., Sec. 3.4).
        "sides": lambda num, generator: torch.randint(
            round(recipe.image_size * 256 / 224),
            round(recipe.image_size * 480 / 224) + 1,
            (num,),
            generator=generator,
        ),
        # Standard deviation 0.1 along the principal components (Krizhevsky et al., 2012).
        "colours": lambda num, generator: 0.1 * torch.randn((num, 3), generator=generator),
    }


class DataStream:
    """The batches of one seed, addressed by iteration.

    Args:
        num_images: size of the training set.
        batch_size: images per iteration.
        seed: of the run.
        draws: what is drawn beside the order, by name.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int, draws: Mapping[str, Draw]) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.draws = draws

    def segment(self, start: int, stop: int) -> Draws:
        """Return everything drawn for iterations ``start`` to ``stop``.

        Returns:
            ``indices`` int64 (stop - start, batch_size), and each further draw with the same two leading
            dimensions.
        """
        first, last = start * self.batch_size, stop * self.batch_size
        passes = range(first // self.num_images, -(-last // self.num_images))
        drawn = [self._pass(number) for number in passes]
        offset = passes.start * self.num_images
        shape = (stop - start, self.batch_size)
        segment = {}
        for name in drawn[0]:
            joined = torch.cat([one[name] for one in drawn])[first - offset : last - offset]
            segment[name] = joined.reshape(*shape, *joined.shape[1:])
        return segment

    def _pass(self, number: int) -> Draws:
        order = torch.randperm(self.num_images, generator=keyed_generator(self.seed, "order", number))
        drawn = {"indices": order}
        for name, draw in self.draws.items():
            drawn[name] = draw(self.num_images, keyed_generator(self.seed, name, number))
        return drawn
