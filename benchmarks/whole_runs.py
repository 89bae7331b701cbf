"""Whole runs, with the evaluations that a setting asks for: textbook loops against the engine, on a CPU."""

from collections.abc import Iterator
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks import measuring
from benchmarks.contestants import CPU, Contestant, PilImages, stepping
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.networks import Network, on_device
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.precision import best_precision
from plain_vs_residual.training.schedule import num_iterations

# Training images, and all that are evaluated each time.
NUM_IMAGES = {"fashion": (3_000, 4_000), "digits": (1_437, 1_797), "cifar10": (50_000, 60_000)}


def ratio(times: list[float], others: list[float]) -> float:
    """Return how many times as fast others are; within each round, which cancels slow drifts of the machine."""
    return round(median([a / b for a, b in zip(times, others, strict=True)]), 2)


def textbook_evaluation(network: nn.Module, images: Images, setting: Setting) -> Contestant:
    """Build the evaluation of a textbook loop on a CPU: in fp32, images decoded one by one; a step is a batch."""
    plain = setting.with_changes({"crop_padding": 0, "flip": False})
    loader = DataLoader(PilImages(images, plain), batch_size=setting.batch_size, drop_last=True)

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    batches, network = endless(), network.eval()

    def step() -> None:
        pixels, labels = next(batches)
        with torch.no_grad():
            assert (network(pixels).argmax(1) == labels).sum().item() >= 0

    return stepping(step)


def engine_evaluation(network: Network, images: Images, setting: Setting, precision: Precision) -> Contestant:
    """Build the engine's evaluation on a CPU; a step is as many images as in a batch of training."""
    network = on_device(network, CPU)
    feed = ResidentFeed(Dataset("benchmark", tuple("0123456789"), images, images), setting, 0, CPU)

    def run(steps: int) -> None:
        left = steps * setting.batch_size
        while left > 0:
            evaluate(network, feed.evaluation_batches("training", left), precision)
            left -= len(images)

    return run


def whole_runs(name: str, textbooks: list[float], engines: list[float], rounds: int) -> dict[str, float]:
    """Measure evaluations on one thread, and compute what whole runs take with as many of them as the setting has.

    Args:
        name: of the case.
        textbooks: seconds per step of textbook loops at once, in each round, over the number of loops.
        engines: the same of the engine.
        rounds: of the evaluations.
    """
    network, setting, images = measuring.case(name)
    training, evaluated = NUM_IMAGES[setting.name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    built = [measuring.build_case(network, setting, images) for _ in range(2)]
    contestants = {
        "textbook": textbook_evaluation(built[0], images, setting),
        "engine": engine_evaluation(built[1], images, setting, best_precision(CPU)),
    }
    evaluations = measuring.interleaved(contestants, rounds, CPU)
    torch.set_num_threads(threads)
    steps = num_iterations(setting, training)
    # A process per core evaluates.
    batches = setting.evaluations * evaluated / setting.batch_size / measuring.CORES
    whole = [
        [steps * step + batches * batch for step, batch in zip(several, evaluations[rung], strict=False)]
        for rung, several in (("textbook", textbooks), ("engine", engines))
    ]
    return {
        "ratio_of_evaluations": ratio(evaluations["textbook"], evaluations["engine"]),
        "ratio_of_whole_runs": ratio(*whole),
    }
