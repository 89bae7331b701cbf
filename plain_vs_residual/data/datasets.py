"""The data set of a setting: Fashion-MNIST, scikit-learn's digits, CIFAR-10 or 100, or any folder of images."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from plain_vs_residual.data.cifar import cifar
from plain_vs_residual.data.cifar_files import find_cifar
from plain_vs_residual.data.image_folder import PARTS, image_folder
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.recipe import IMAGE_KINDS, Recipe


def load_dataset(setting: Recipe, path: Path | None = None, parts: Collection[str] = PARTS) -> Dataset:
    """Load the images of a setting.

    Args:
        setting: says which data, how large, and how it is split.
        path: other images of the setting's kind: CIFAR's original batches or archive (or a folder above them),
            or a folder with ``train/`` and ``val/`` or ``test/`` that hold one folder per class.
        parts: what is needed, ``training`` or ``validation`` or both: image files of the other are not decoded.

    Raises:
        ValueError: if ``path`` does not hold such images; says what is wrong with which file.
        FileNotFoundError: if CIFAR is neither here nor to be downloaded; nothing is where ``path`` is given.
    """
    if path is None:
        return loader_of(setting.data)(setting.image_size)
    if find_cifar(path, setting.data):
        return cifar(setting.data, path)
    return image_folder(path, setting, in_memory=setting.data != "imagenet", decoded=parts)


@cache
def digits(image_size: int) -> Dataset:
    """Load the 1,797 8x8 digits of scikit-learn (Alpaydin & Kaynak, 1998), enlarged; 1,437 train, 360 validate."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    enlarged = [
        np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.BILINEAR))
        for image in (bunch.images * (255 / 16)).round().astype(np.uint8)
    ]
    images = Images(torch.from_numpy(np.stack(enlarged)[..., None]), torch.from_numpy(bunch.target).long())
    training, validation = _stratified(images, 360)
    return Dataset(IMAGE_KINDS["digits"].name, tuple("0123456789"), training, validation)


def no_images(image_size: int) -> Dataset:
    """Refuse to train on ImageNet where nobody says in which folder it is."""
    raise ValueError("setting imagenet: no images; give --data FOLDER with train/ and val/ in it")


def loader_of(kind: str) -> Callable[[int], Dataset]:
    """Find the function that loads a kind of images where no ``--data`` is given, by their side in pixels.

    Raises:
        ValueError: if there is no such function.
    """
    named = IMAGE_KINDS[kind].loader
    module, _, function = named.partition(".")
    try:
        found: Callable[[int], Dataset] = getattr(import_module(f"plain_vs_residual.data.{module}"), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"data {kind}: recipe.py names '{named}' in data/ as its loader ({error})") from error
    return found


def split(dataset: Dataset, how: str) -> Dataset:
    """Return the data set as it is (``test``), or with a tenth of the training images held out (``45k/5k``).

    Raises:
        ValueError: if images on disk are to be split.
    """
    if how == "test":
        return dataset
    if not isinstance(dataset.training, Images):
        raise ValueError("--split 45k/5k: only for images held in memory (fashion, digits, cifar10, cifar100)")
    training, validation = _stratified(dataset.training, len(dataset.training) // 10)
    test = dataset.validation if isinstance(dataset.validation, Images) else None
    return replace(dataset, training=training, validation=validation, test=test, validation_name="validation")


def _stratified(images: Images, num_validation: int) -> tuple[Images, Images]:
    from sklearn.model_selection import train_test_split  # a second to import, which most processes do without

    kept, held_out = train_test_split(
        np.arange(len(images)), test_size=num_validation, random_state=0, stratify=images.labels.numpy()
    )
    kept, held_out = np.sort(kept), np.sort(held_out)
    return tuple(Images(images.pixels[part], images.labels[part]) for part in (kept, held_out))  # type: ignore[return-value]
