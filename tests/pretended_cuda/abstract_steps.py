"""Steps and evaluations without numbers: fake tensors that know their shape, order in memory and device.

Whatever would wait for the device cannot be answered by a tensor without numbers, and mixed devices are an error,
as on a real one. Takes seconds where the network is as large as in the paper.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.feeds import ResidentFeed, make_feed
from plain_vs_residual.data.images import Dataset, ImageFiles, Images
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.networks import build, on_device
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.precision import prepare_arithmetic, this_process
from plain_vs_residual.training.step import Stepper, Trainer
from tests.pretended_cuda.planted import BUGS
from tests.pretended_cuda.watching import FUSED_SGD, WAITS, callers, name_of, tensors_in, unequal_strides

DEVICE = torch.device("cuda", 0)
NUM_IMAGES = 240
NUM_STEPS = 2  # the first makes momenta and the digest's weights; the second is like all that follow

# Operations that only look at memory in another way, or reserve it, and start nothing on the device.
FREE = {
    *("view", "_unsafe_view", "permute", "t", "transpose", "expand", "unsqueeze", "squeeze", "slice", "select"),
    *("detach", "alias", "as_strided", "_reshape_alias", "reshape", "split", "unbind", "lift_fresh", "unfold"),
    *("empty", "empty_like", "new_empty", "empty_strided", "device"),
    *("_record_function_enter_new", "_record_function_exit"),
}
# How many kernels an operation starts on a GPU, where that is not one: estimated from torch's sources.
KERNELS = {
    "convolution_backward": 2.5,  # by images and by weights, now and then with a reduction
    "constant_pad_nd": 2,  # fill and copy
    "slice_backward": 2,  # likewise
    "native_batch_norm": 4,  # without cuDNN: statistics, their update, normalisation
    "native_batch_norm_backward": 3,
    "nll_loss_backward": 2,
    "sum": 1.5,  # a second one where it is large
    FUSED_SGD: 9,  # a kernel takes a limited number of tensors
    "_foreach_copy_": 3,  # likewise
    "_foreach_add_": 2,
}
# In-place operations that have no abstract form: nothing comes of them but new values.
ONLY_VALUES = {FUSED_SGD, "_amp_foreach_non_finite_check_and_unscale_", "_amp_update_scale_"}


class Watch(TorchDispatchMode):
    """Counts operations and notes waits, tensors that are not on the device, and unequal strides."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.faults: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, name_of(function)
        if name not in FREE:
            self.operations[name] += 1
        if name in WAITS:
            self.waits[f"{name}: {' > '.join(callers())}"] += 1
        if name == FUSED_SGD:
            self.faults += unequal_strides(*args[:3])
        result: Any = None
        if name in ("_local_scalar_dense", "item"):
            result = 0  # any number, so that the step goes on and shows all there is to show
        elif name in ONLY_VALUES:
            result = args[0] if name == "_amp_update_scale_" else None
        else:
            result = function(*args, **kwargs)
        elsewhere = {str(tensor.device) for tensor in tensors_in(args, kwargs, result)} - {str(DEVICE)}
        if elsewhere and name not in FREE:
            self.faults.append(f"{name} on {', '.join(sorted(elsewhere))}: {' > '.join(callers())}")
        return result

    def report(self) -> dict[str, Any]:
        """Return what was seen in a form that JSON can hold."""
        nodes = sum(KERNELS.get(name, 1) * number for name, number in self.operations.items())
        counted = {"operations": sum(self.operations.values()), "nodes": round(nodes)}
        return {**counted, "by_name": dict(self.operations), "waits": dict(self.waits), "faults": self.faults}

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Watch what is done in this context; an error in it is a fault like any other."""
        try:
            with self:
                yield
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")


@contextmanager
def without_numbers() -> Iterator[None]:
    """Make tensors without numbers in this context, and torch take its device for one that is there."""
    constructor = torch.optim.SGD.__init__

    def construct(self: torch.optim.SGD, parameters: Any, lr: Any, **kwargs: Any) -> None:
        constructor(self, parameters, lr=0.1, **kwargs)  # it compares the rate with 0, for which it needs a number
        for group in self.param_groups:
            group["lr"] = lr

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch.optim.SGD, "__init__", construct))
        stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
        stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda including_emulation=True: True))
        stack.enter_context(patch("torch.cuda.set_device", lambda _: None))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


def images_of(setting: Setting) -> Dataset:
    """Return a few images of the setting's shape: real ones in memory, or files that do not exist."""
    labels = torch.arange(NUM_IMAGES) % 10
    classes = tuple("0123456789")
    if setting.data == "imagenet":
        files = ImageFiles((), labels)
        return Dataset("none", classes, files, files)
    pixels = torch.zeros(NUM_IMAGES, setting.image_size, setting.image_size, 3, dtype=torch.uint8)
    return Dataset("none", classes, Images(pixels, labels), Images(pixels, labels))


def inputs_of(setting: Setting) -> list[dict[str, Tensor]]:
    """Return what the feed would bring to the device for each step, still on the CPU."""
    drawn = DataStream(NUM_IMAGES, setting.batch_size, 0, draws_of(setting)).segment(0, NUM_STEPS)
    if setting.data == "imagenet":
        shape = (NUM_STEPS, setting.batch_size, setting.image_size, setting.image_size, 3)
        drawn = {"pixels": torch.zeros(shape, dtype=torch.uint8), "labels": drawn["indices"], **drawn}
    wanted = ("pixels", "labels", "colours") if setting.data == "imagenet" else ("indices", "crops", "flips")
    return [{name: drawn[name][step] for name in wanted} for step in range(NUM_STEPS)]


def watched(
    network: str,
    setting: str = "cifar10",
    precision: Precision = "bf16",
    changes: dict[str, Any] | None = None,
    evaluations: Sequence[int] = (),
    bug: str = "",
) -> dict[str, Any]:
    """Watch the first step, the second, and evaluations.

    Args:
        network: its name, such as ``plain18``.
        setting: its name, such as ``cifar10``.
        precision: in which the network computes.
        changes: to the setting.
        evaluations: in how many batches, for each evaluation, where images are in memory.
        bug: one to put in.
    """
    recipe = find_setting(setting).with_changes(changes or {})
    dataset, inputs = images_of(recipe), inputs_of(recipe)
    on_the_cpu = build(Architecture.parse(network), recipe, channels=3, num_classes=10, seed=0)
    first, step = Watch(), Watch()
    evaluated = [Watch() for _ in evaluations]
    with without_numbers(), BUGS.get(bug, nullcontext)():
        prepare_arithmetic(DEVICE, this_process(precision))
        feed = make_feed(dataset, recipe, 0, DEVICE)
        trainer = Trainer(on_device(on_the_cpu, DEVICE), recipe, precision)
        stepper = Stepper(trainer, feed, lambda iteration: 0.1 / (iteration + 1), Execution.EAGER, 0)
        for iteration, watch in enumerate((first, step)):
            given = tuple(value.to(DEVICE) for value in inputs[iteration].values())
            with watch.noting_errors():
                stepper.take(iteration, given)
        for num_batches, watch in zip(evaluations, evaluated, strict=True):
            assert isinstance(feed, ResidentFeed)
            feed.evaluation_batch = NUM_IMAGES // num_batches
            with watch.noting_errors():
                evaluate(trainer.network, feed.evaluation_batches("validation"), precision)
    names = ("first", "step", *(f"evaluation in {num_batches}" for num_batches in evaluations))
    return {name: watch.report() for name, watch in zip(names, (first, step, *evaluated), strict=True)}
