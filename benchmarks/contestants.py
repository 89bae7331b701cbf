"""The training loops that are compared: a typical textbook loop, a competent one, and the suite's engine.

All of them train the same network with the same batch size, crops, flips and optimizer (SGD with momentum, and
weight decay on every parameter); only the implementation differs. The two reference loops subtract 0.5 from each
pixel instead of the mean training image. A contestant is a function that takes the given number of steps.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks import measuring
from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.batches import Inputs
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.execution import executed
from plain_vs_residual.training.precision import autocast, prepare_arithmetic, this_process
from plain_vs_residual.training.step import Trainer

Contestant = Callable[[int], None]
CPU = torch.device("cpu")


def stepping(step: Callable[[], None]) -> Contestant:
    """Turn a function that takes one step into a contestant."""

    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return run


class PilImages(TorchDataset[tuple[Tensor, int]]):
    """Images that pass one by one through PIL and torchvision's transforms, as in torchvision's CIFAR10."""

    def __init__(self, images: Images, setting: Setting) -> None:
        transforms = torchvision.transforms
        steps = [transforms.RandomCrop(setting.image_size, padding=setting.crop_padding)]
        if setting.flip:
            steps.append(transforms.RandomHorizontalFlip())
        channels = images.pixels.shape[-1]
        steps += [transforms.ToTensor(), transforms.Normalize([0.5] * channels, [1.0] * channels)]
        self.transform = transforms.Compose(steps)
        self.pixels, self.labels = images.pixels.numpy(), images.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self.pixels[index]
        image = torchvision.transforms.functional.to_pil_image(pixels)
        return self.transform(image), self.labels[index]


def sgd(network: nn.Module, setting: Setting) -> torch.optim.SGD:
    """Build the recipe's optimizer with PyTorch's default implementation."""
    return torch.optim.SGD(
        network.parameters(),
        lr=setting.learning_rate,
        momentum=setting.momentum,
        weight_decay=setting.weight_decay,
    )


@contextmanager
def torch_default_tf32() -> Iterator[None]:
    """Let fp32 convolutions of a GPU be rounded to TF32, as torch does unless told otherwise."""
    conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, conv.fp32_precision = conv.fp32_precision, "tf32"
    try:
        yield
    finally:
        conv.fp32_precision = before


def textbook(
    network: nn.Module, images: Images, setting: Setting, device: torch.device, num_workers: int
) -> Contestant:
    """Build a loop in fp32 and NCHW that loads data in worker processes and reads the loss after every step.

    On a GPU, its convolutions are in TF32: the default of torch, which a textbook leaves as it is.
    """
    loader = DataLoader(
        PilImages(images, setting),
        batch_size=setting.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    batches, network = endless(), network.to(device)
    optimizer = sgd(network, setting)
    correct = 0

    def step() -> None:
        nonlocal correct
        pixels, labels = next(batches)
        pixels, labels = pixels.to(device), labels.to(device)
        optimizer.zero_grad()
        with torch_default_tf32():
            logits = network(pixels)
            loss = cross_entropy(logits, labels)
            loss.backward()
        optimizer.step()
        correct += int((logits.argmax(1) == labels).sum().item())
        assert np.isfinite(loss.item())

    return stepping(step)


def competent(
    network: nn.Module, images: Images, setting: Setting, device: torch.device, precision: Precision
) -> Contestant:
    """Build a loop with images in memory, channels_last and ``precision``, without synchronisation in a step."""
    pixels = images.pixels.permute(0, 3, 1, 2).to(device).float().div_(255).sub_(0.5)
    pixels = nn.functional.pad(pixels, (setting.crop_padding,) * 4)
    labels_of = images.labels.to(device)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = sgd(network, setting)
    room = 2 * setting.crop_padding + 1
    steps = torch.arange(setting.image_size, device=device)
    sums = torch.zeros(2, device=device)

    def step() -> None:
        chosen = torch.randint(len(labels_of), (setting.batch_size,), device=device)
        rows = torch.randint(room, (setting.batch_size, 1, 1), device=device) + steps[:, None]
        columns = torch.randint(room, (setting.batch_size, 1, 1), device=device) + steps
        batch = pixels[chosen[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
        if setting.flip:
            flips = torch.rand(setting.batch_size, 1, 1, 1, device=device) < 0.5
            batch = torch.where(flips, batch.flip(3), batch)
        labels = labels_of[chosen]
        with autocast(device, precision):
            logits = network(batch).float()
        loss = cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        sums[0] += loss.detach()
        sums[1] += (logits.detach().argmax(1) != labels).sum()

    return stepping(step)


def engine(
    network: nn.Module,
    images: Images,
    setting: Setting,
    device: torch.device,
    precision: Precision,
    execution: Execution,
    *,
    channels_last: bool = True,
) -> Contestant:
    """Build a loop over the training step that :func:`plain_vs_residual.training.loop.train` takes."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device, memory_format=order)  # type: ignore[call-overload]
    trainer = Trainer(network, setting, precision, execution=execution)
    few = Images(images.pixels[:8], images.labels[:8])
    feed = ResidentFeed(Dataset("benchmark", tuple("0123456789"), images, few), setting, 0, device)

    def on_batch(*inputs: Tensor) -> None:
        batch, labels = feed.batch(*inputs)
        trainer.step(batch if channels_last else batch.contiguous(), labels)

    def endless() -> Iterator[Inputs]:
        start = 0
        while True:
            yield from feed.inputs(start, start + 100)
            start += 100

    take, inputs = executed(on_batch, execution), endless()

    def step() -> None:
        trainer.learning_rate.fill_(setting.learning_rate)
        take(*next(inputs))

    return stepping(step)


@dataclass(frozen=True)
class TextbookInProcess:
    """Everything a process needs to build its own textbook loop on a CPU, of one thread, which also loads."""

    case: str
    device: str = "cpu"

    def __call__(self) -> Contestant:
        """Set the number of threads and build the loop."""
        torch.set_num_threads(1)
        network, setting, images = measuring.case(self.case)
        return textbook(measuring.build_case(network, setting, images), images, setting, CPU, num_workers=0)


@dataclass(frozen=True)
class EngineInProcess:
    """Everything a process needs to build its own engine."""

    case: str
    device: str
    precision: Precision
    execution: Execution
    threads: int

    def __call__(self) -> Contestant:
        """Set the number of threads and build the engine."""
        torch.set_num_threads(self.threads)
        prepare_arithmetic(torch.device(self.device), this_process(self.precision))
        network, setting, images = measuring.case(self.case)
        built = measuring.build_case(network, setting, images)
        return engine(built, images, setting, torch.device(self.device), self.precision, self.execution)


def in_processes(wanted: EngineInProcess | TextbookInProcess, num: int) -> Contestant:
    """Start ``num`` contestants, each in a process of its own; every call makes all of them take the steps."""
    context = get_context("spawn")
    pipes = []
    for _ in range(num):
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(wanted, theirs), daemon=True).start()
        pipes.append(ours)

    def run(steps: int) -> None:
        for pipe in pipes:
            pipe.send(steps)
        for pipe in pipes:
            pipe.recv()

    return run


def _serve(wanted: EngineInProcess | TextbookInProcess, pipe: "Connection[None, int]") -> None:
    run = wanted()
    with suppress(EOFError):  # the parent process has closed the pipe
        while True:
            run(pipe.recv())
            measuring.wait(torch.device(wanted.device))
            pipe.send(None)


def in_threads(wanted: EngineInProcess, num: int) -> Contestant:
    """Build ``num`` engines in threads of this process, on the CPU."""
    pool = ThreadPoolExecutor(num)
    engines = [wanted() for _ in range(num)]

    def go(one: Contestant, steps: int) -> None:
        torch.set_num_threads(wanted.threads)
        one(steps)

    def run(steps: int) -> None:
        list(pool.map(lambda one: go(one, steps), engines))

    return run
