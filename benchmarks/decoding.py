"""The throughput of the `imagenet` loader: images decoded, scaled, cropped and mirrored per second.

    bash run_all.sh benchmark decoding

The images are copies of one photograph (427 x 640 pixels, from scikit-learn). Each decoder has its turns, by one
worker process and by one per core, in several rounds; the medians are reported.
"""

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
import typer
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks import measuring
from plain_vs_residual.data import decoding
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.settings import IMAGENET, Setting

COPIES = 1200


def images(folder: Path) -> Path:
    """Fill train/ and val/ with copies of the photograph in two classes and return the folder."""
    first = folder / "first.jpg"
    Image.fromarray(load_sample_image("china.jpg")).save(first, quality=90)
    for part, copies in (("train", COPIES // 2), ("val", 1)):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for number in range(copies):
                shutil.copy(first, folder / part / name / f"{number}.jpg")
    return folder


def main(batches: int = 6, rounds: int = 3) -> None:
    """Measure the loader and write benchmarks/results/decoding-cpu.json."""
    torch.set_num_threads(1)
    setting = IMAGENET.with_changes({"batch_size": 64})
    installed = decoding.simplejpeg
    decoders = {"Pillow": None} | ({"simplejpeg": installed} if installed else {})
    found: dict[str, dict[int, list[float]]] = {name: {} for name in decoders}
    with tempfile.TemporaryDirectory() as folder:
        dataset = load_dataset(setting, images(Path(folder)))
        for _ in range(rounds):
            for workers in sorted({1, measuring.CORES}):
                for name, decoding.simplejpeg in decoders.items():
                    found[name].setdefault(workers, []).append(rate(dataset, setting, workers, batches))
    medians = {name: {n: round(median(rates), 1) for n, rates in by.items()} for name, by in found.items()}
    print(medians)
    command = "bash run_all.sh benchmark decoding"
    print(measuring.write("decoding", command, torch.device("cpu"), {"images_per_second": medians}))


def rate(dataset: Dataset, setting: Setting, workers: int, batches: int) -> float:
    """Return how many images a second the loader gives."""
    feed = LoaderFeed(dataset, setting, 0, torch.device("cpu"))
    feed.num_workers = workers
    inputs = feed.inputs(0, batches + 1)
    next(inputs)
    started = time.perf_counter()
    for _ in inputs:
        pass
    return batches * setting.batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    typer.run(main)
