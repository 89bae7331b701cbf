"""What is to be trained: one network with one seed in one setting, and how the device computes."""

from dataclasses import dataclass

import torch

from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.experiment import Network
from plain_vs_residual.networks import StackedNetwork, build
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.execution import Execution
from plain_vs_residual.training.step import Precision


@dataclass(frozen=True)
class Job:
    """One run, before it is trained."""

    network: Network
    setting: Setting
    seed: int
    precision: Precision
    device: torch.device
    execution: Execution = "eager"
    deterministic: bool = False


def build_for(job: Job, dataset: Dataset) -> StackedNetwork:
    """The job's network with its initial weights, on the CPU."""
    return build(
        job.network,
        in_channels=dataset.channels,
        num_classes=len(dataset.classes),
        stem=job.setting.stem,
        stem_width=job.setting.stem_width,
        seed=job.seed,
    )
