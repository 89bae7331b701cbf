"""Whole runs on a device that is not there: ``train()`` from its first to its last line, with numbers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch.utils._pytree import tree_map

from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.run import Job
from plain_vs_residual.settings import DIGITS, IMAGENET, Setting
from plain_vs_residual.training import checkpoint, session
from plain_vs_residual.training.session import Stopped
from tests.conftest import Suite
from tests.pretended_cuda import labelled, recording
from tests.pretended_cuda.planted import BUGS

CURVE_POINTS = 4  # instead of fifty, so that most of the few iterations are none


class NoStream:
    """A stream of a device without streams."""

    def wait_stream(self, other: "NoStream") -> None:
        """Return at once: everything was done when it was asked for."""


@contextmanager
def pretended_device() -> Iterator[None]:
    """Let torch take labelled tensors for those of its device, in this context."""
    made, serialised = torch.tensor, checkpoint.serialised

    def tensor(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        return made(*args, **kwargs) if device is None else made(*args, **kwargs).to(device)

    def saved(values: Any) -> bytes:
        return serialised(tree_map(_read, values))  # torch.save() would look for the memory of a device

    stubs: dict[str, Any] = {
        "torch.tensor": tensor,
        # Under inference_mode, operations arrive here before torch has taken them apart.
        "torch.inference_mode": torch.no_grad,
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.is_bf16_supported": lambda including_emulation=True: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.set_device": lambda _: None,
        "torch.cuda.get_device_name": lambda _=None: "pretended",
        "torch.cuda.reset_peak_memory_stats": lambda _=None: None,
        "torch.cuda.max_memory_allocated": lambda _=None: 0,
        "torch.cuda.empty_cache": lambda: None,
        "torch.cuda.Stream": NoStream,
        "torch.cuda.current_stream": NoStream,
        "torch.cuda.stream": lambda _: nullcontext(),
        "torch.cuda.CUDAGraph": recording.PretendedGraph,
        "torch.cuda.graph": recording.recording_into,
        "torch.accelerator.is_available": lambda: True,
        "torch.accelerator.current_accelerator": lambda: labelled.DEVICE,
        "plain_vs_residual.training.checkpoint.serialised": saved,
    }
    overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for name, stub in stubs.items():
            stack.enter_context(patch(name, stub))
        # The CPU has no cuDNN; without it, batch normalisation is the CPU's own.
        stack.callback(setattr, torch.backends.cudnn, "enabled", torch.backends.cudnn.enabled)
        torch.backends.cudnn.enabled = False
        # A parameter cannot take over the memory of a tensor of another kind; a new one takes its place.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwriting)
        stack.enter_context(labelled.Labelling())
        yield


def _read(value: Any) -> Any:
    if not isinstance(value, labelled.Labelled):
        return value
    labelled.wait("saved")
    return value.inner.clone()


class Watch:
    """A silent monitor that asks its run to stop after a number of iterations, if after any."""

    def __init__(self, stop_after: int | None) -> None:
        self.stop_after = stop_after
        self.iteration = 0

    def advanced(self, iteration: int, *_: Any) -> None:
        self.iteration = iteration

    def evaluated(self, *_: Any) -> None:
        pass

    def stops(self) -> bool:
        return self.iteration == self.stop_after


def tiny_setting() -> Setting:
    """Return a setting of 8 px, 12 iterations and 3 evaluations."""
    changes = {"image_size": 8, "stem_width": 4, "batch_size": 8, "epochs": None, "iterations": 12, "flip": True}
    return DIGITS.with_changes({**changes, "evaluations": 3})


def tiny_dataset() -> Dataset:
    """Return sixty training and twelve validation images of three classes, with one channel."""
    generator = torch.Generator().manual_seed(0)

    def images(num: int) -> Images:
        labels = torch.arange(num) % 3
        noise = torch.randint(0, 100, (num, 8, 8, 1), generator=generator)
        return Images((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)

    return Dataset("tiny", ("a", "b", "c"), images(60), images(12))


def tiny_imagenet(folder: Path) -> tuple[Setting, Dataset]:
    """Return a setting of 28 px and 6 iterations, and images that are decoded as they are needed; write them."""
    random = np.random.default_rng(0)
    for part, num in (("train", 8), ("val", 3)):
        for name in ("ant", "bee", "cat"):
            (folder / part / name).mkdir(parents=True)
            for number in range(num):
                pixels = random.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    changes = {
        "image_size": 28,
        "batch_size": 4,
        "norm_batch": 2,
        "iterations": 6,
        "epochs": None,
        "stem_width": 4,
    }
    setting = IMAGENET.with_changes({**changes, "evaluations": 2})
    return setting, load_dataset(setting, folder)


def trained(
    results: str,
    network: str,
    *,
    changes: dict[str, Any] | None = None,
    precision: Precision = "fp32",
    execution: str = "eager",
    device: str = "cuda",
    decoded: bool = False,
    leader: str = "",
    stop_after: int | None = None,
    checkpoint_seconds: float = 300.0,
    bug: str = "",
) -> dict[str, Any]:
    """Train a network (and its leader); return where the records are and what made the host wait.

    Args:
        results: where the records go.
        network: its name.
        changes: to the tiny setting.
        precision: in which it computes.
        execution: how operations reach the device.
        device: ``cuda``, or ``cpu`` for an ordinary run to compare with.
        decoded: whether images are decoded as they are needed; else they are in memory.
        leader: the network whose learning rates it repeats.
        stop_after: after how many iterations the run is stopped, and goes on from its checkpoint.
        checkpoint_seconds: how old a checkpoint may become between two evaluations.
        bug: one to put in; an error that comes of it is returned.
    """
    setting, dataset = tiny_imagenet(Path(results, "images")) if decoded else (tiny_setting(), tiny_dataset())
    study = Study("study", changes=changes, leader=leader) if changes else None
    experiment = Experiment(
        title="Pretended",
        paper="none",
        figures=("final_errors",),
        networks={setting.name: tuple(filter(None, (leader, network)))},
        studies={setting.name: (study,)} if study else {},
        claims=(),
        name="pretended",
    )
    suite = Suite(
        experiments=(experiment,),
        setting=setting,
        dataset=dataset,
        results=Path(results),
        seeds=range(1),
        precision=precision,
        device=torch.device(device),
        execution=Execution(execution),
    )
    labelled.waits.clear()
    error = ""
    with ExitStack() as stack:
        stack.enter_context(pretended_device() if device == "cuda" else nullcontext())
        stack.enter_context(patch.object(session, "POINTS", CURVE_POINTS))
        stack.enter_context(patch.object(session, "CHECKPOINT_SECONDS", checkpoint_seconds))
        stack.enter_context(BUGS.get(bug, nullcontext)())
        try:
            for run in suite.plan():
                _trained(run, suite, stop_after)
        except Exception as caught:
            if not bug:
                raise
            error = str(caught)
    return {"folders": [str(run.folder.path) for run in suite.plan()], "waits": waits_by_phase(), "error": error}


def _trained(run: Job, suite: Suite, stop_after: int | None) -> None:
    if stop_after:
        watch = Watch(stop_after)
        with suppress(Stopped):
            train_job(run, suite.place, suite.dataset_of(run), watch, watch.stops)
        assert not run.folder.finished
    train_job(run, suite.place, suite.dataset_of(run), Watch(None), lambda: False)


def waits_by_phase() -> dict[str, int]:
    """Return how often the host waited, by the part of ``train()`` and by the function in which it did."""
    found: Counter[str] = Counter()
    for (what, where), number in labelled.waits.items():
        if "train" not in where:
            key = f"outside of train(): {what}"
        else:
            phase = where[where.index("train") + 1 :]
            key = " ... ".join(dict.fromkeys((phase[0], phase[-1]))) if phase else f"train: {what}"
        found[key] += number
    return dict(found)
