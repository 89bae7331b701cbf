"""The throughput of the `imagenet` loader: images decoded, scaled, cropped and mirrored per second.

    python -m benchmarks.decoding

The images are copies of one photograph (427 x 640 pixels, from scikit-learn). They are loaded first by one worker
process, then by one worker per core.
"""

import shutil
import tempfile
import time
from pathlib import Path

import torch
import typer
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks import measuring
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.settings import IMAGENET

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


def main(batches: int = 6) -> None:
    """Measure the loader and write benchmarks/results/decoding-cpu.json."""
    torch.set_num_threads(1)
    setting = IMAGENET.with_changes({"batch_size": 64})
    with tempfile.TemporaryDirectory() as folder:
        dataset = load_dataset(setting, images(Path(folder)))
        rates = {}
        for workers in sorted({1, measuring.CORES}):
            feed = LoaderFeed(dataset, setting, 0, torch.device("cpu"))
            feed.num_workers = workers
            inputs = feed.inputs(0, batches + 1)
            next(inputs)
            started = time.perf_counter()
            for _ in inputs:
                pass
            rates[workers] = round(batches * setting.batch_size / (time.perf_counter() - started), 1)
    print({f"{workers} workers": f"{rate} images/s" for workers, rate in rates.items()})
    print(
        measuring.write(
            "decoding", "python -m benchmarks.decoding", torch.device("cpu"), {"images_per_second": rates}
        )
    )


if __name__ == "__main__":
    typer.run(main)
