"""What the processes of a group do in tests; apart from them, so that a process imports no more than it needs."""

from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.group import ALONE, Group, join
from plain_vs_residual.networks import build
from plain_vs_residual.settings import IMAGENET, Setting
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.step import Trainer

CPU = torch.device("cpu")
ITERATIONS = 20


def parts_of(setting: Setting, norm_batch: int) -> Setting:
    return setting.with_changes({"norm_batch": norm_batch})


def trained(
    group: Group, dataset: Dataset, setting: Setting, dtype: torch.dtype, iterations: int = ITERATIONS
) -> dict[str, Any]:
    """Take some steps and evaluate; what comes out must not depend on the number of processes."""
    network = build(Architecture.parse("cifar-residual8-A"), setting, channels=1, num_classes=3, seed=0).to(dtype)
    feed = make_feed(dataset, setting, 0, CPU, group)
    trainer = Trainer(network, setting, "fp32", group=group)
    trainer.learning_rate.fill_(0.05)
    for inputs in feed.inputs(0, iterations):
        images, labels = feed.batch(*inputs)
        trainer.step(images.to(dtype), labels)
    group.copy_first(network.buffers())
    batches = ((images.to(dtype), labels) for images, labels in feed.evaluation_batches("training"))
    return {
        "weights": network.state_dict(),
        "counts": tuple(trainer.totals.counts()),
        "errors": evaluate(network, batches, "fp32", 3, group),
        "digest": feed.digest.state(),
    }


def work_in_group(rank: int, size: int, folder: Path, dataset: Dataset, setting: Setting, files: Dataset) -> None:
    torch.set_num_threads(1)
    group = join("cpu", rank, size, f"file://{folder}/meeting") if size > 1 else ALONE
    small = IMAGENET.with_changes({"image_size": 16, "batch_size": 8, "norm_batch": 2})
    feed = make_feed(files, small, 0, CPU, group)
    assert isinstance(feed, LoaderFeed)
    for inputs in feed.inputs(0, 3):
        feed.batch(*inputs)
    for _ in chain(feed.evaluation_batches("validation"), feed.ten_crop_batches("training")):
        pass
    result = {
        "fp64": trained(group, dataset, parts_of(setting, 2), torch.float64),
        "fp32": trained(group, dataset, parts_of(setting, 4), torch.float32) if size < 4 else None,
        "loader": feed.digest.state(),
        "flags": group.in_any(rank == size - 1, False),
        "first": group.as_first(f"said by {rank}"),
    }
    torch.save(result, folder / f"{rank}.pt")
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()
