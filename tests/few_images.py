"""Training from Python on a few images, for tests in which it is no matter what is learnt."""

from dataclasses import replace

import pytest

from plain_vs_residual import interactive
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.recipe import Recipe


def train_on_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `interactive` see 150 training and 20 validation images or a few more, evenly spaced."""
    whole = interactive.load_dataset

    def few(images: Images, number: int) -> Images:
        step = len(images.labels) // number
        return Images(images.pixels[::step], images.labels[::step])

    def load(recipe: Recipe) -> Dataset:
        dataset = whole(recipe)
        return replace(dataset, training=few(dataset.training, 150), validation=few(dataset.validation, 20))

    monkeypatch.setattr(interactive, "load_dataset", load)
