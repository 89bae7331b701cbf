"""Whether a graph or a compiled step computes what the eager step computes, tried before a plan is trained.

Some iterations are taken eagerly, each from the state that the last one left, and then again, each from the same
state as before: by the fast step, and by an eager one in another precision. The fast step may be about as far from
the eager one as rounding takes it, and no farther. A fixed tolerance would not do: in bf16, the first step of an
untrained plain-34 differs by more than 100 % from that in fp32, that of ResNet-20 by 17 % (`digits`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import abstract, on_device
from plain_vs_residual.recipe import Execution, Precision
from plain_vs_residual.training.arithmetic import prepare_arithmetic
from plain_vs_residual.training.execution import Recorded
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.step import Stepper, Trainer

# A graph is recorded after its warm-up; then it must be right with other images and another rate.
CHECKED = Recorded.WARM_UP + 4
# How far a fast step may be from the eager one, as a multiple of how far the same step in another precision is.
# Compiled on a CPU (`digits`), plain-34, plain-56, ResNet-20 and ResNet-34 have at most 1.1 in bf16 and 0.1 in
# fp32; with the images of the iteration before they have 10 or more, with its learning rate 3.7 or more.
TOLERANCES: dict[Precision, tuple[float, Precision]] = {
    "bf16": (1.5, "fp32"),
    "fp16": (1.5, "fp32"),
    "fp32": (0.5, "bf16"),
    "tf32": (0.5, "bf16"),
}

State = dict[str, Tensor]


class TrialSteps:
    """A network of the plan with its data, on its device: takes steps in one execution, and records nothing."""

    def __init__(self, run: Run, dataset: Dataset, execution: Execution) -> None:
        self.run = run
        if execution.compiled:
            torch.compiler.reset()
        prepare_arithmetic(run.device, run.precision, deterministic=run.deterministic)
        network = on_device(run.network(dataset), run.device)
        self.feed = make_feed(dataset, run.setting, run.seed, run.device)
        self.trainer = Trainer(network, run.setting, run.precision, compiled=execution.compiled)
        # The rate changes from one iteration to the next: a graph must not keep the one it was recorded with.
        rates = (run.setting.learning_rate, run.setting.learning_rate / 2)
        self.stepper = Stepper(self.trainer, self.feed, lambda iteration: rates[iteration % 2], execution, 0)

    def take(self, begin: int, end: int) -> None:
        """Take some iterations, and wait for the device."""
        for iteration, inputs in enumerate(self.feed.inputs(begin, end), begin):
            self.stepper.take(iteration, inputs)
        if self.run.device.type == "cuda":
            torch.cuda.synchronize(self.run.device)

    def tensors(self) -> State:
        """Return what a step changes: weights, BN statistics and, after the first step, momentum; by name."""
        momentum = {
            f"momentum.{number}": state["momentum_buffer"]
            for number, state in enumerate(self.trainer.optimizer.state.values())
        }
        return {**self.trainer.network.state_dict(), **momentum}

    def states(self, starts: Sequence[State] | None = None) -> list[State]:
        """Return the state before the first iteration, and after each of the checked ones.

        Args:
            starts: the state from which each iteration is to start; if left out, that which the last one left.
        """
        states = [_copied(self.tensors())]
        for iteration in range(CHECKED):
            if starts is not None:
                with torch.no_grad():
                    for name, tensor in self.tensors().items():
                        tensor.copy_(starts[iteration][name])  # in place, as a recorded graph needs it
            self.take(iteration, iteration + 1)
            states.append(_copied(self.tensors()))
        return states


def _copied(state: State) -> State:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


class Check:
    """The eager steps of one run, to which those of another execution are compared."""

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self.run = run
        self.dataset = dataset
        tolerance, other = TOLERANCES[run.precision]
        self.tolerance = tolerance
        self.eager = TrialSteps(run, dataset, Execution.EAGER).states()
        rounded = TrialSteps(replace(run, precision=other), dataset, Execution.EAGER).states(self.eager)
        self.rounding = self._distances(rounded)

    def fault(self, execution: Execution) -> str:
        """Say what is wrong with a fast step; empty if nothing is."""
        try:
            steps = TrialSteps(self.run, self.dataset, execution).states(self.eager)
        except Exception as error:  # whatever stops the fast step must not stop the run
            return f"{self.run.architecture.name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        ratios = [
            distance / rounding if rounding else (math.inf if distance else 0.0)
            for at, by in zip(self._distances(steps), self.rounding, strict=True)
            for distance, rounding in zip(at, by, strict=True)
        ]
        worst = max(ratios, key=lambda ratio: math.inf if math.isnan(ratio) else ratio)
        if worst <= self.tolerance:
            return ""
        return (
            f"{self.run.architecture.name}: its step is {worst:.1f} times as far from the eager one as rounding "
            f"takes it, {self.tolerance:g} times is accepted"
        )

    def _distances(self, states: Sequence[State]) -> list[tuple[float, float]]:
        """Return, for each iteration, how far weights and BN statistics are from those of the eager step."""
        trained = [name for name in self.eager[0] if not name.endswith(("running_mean", "running_var"))]
        trained = [name for name in trained if not name.endswith("num_batches_tracked")]
        statistics = [name for name in self.eager[0] if name.endswith(("running_mean", "running_var"))]
        return [
            (_distance(before, after, state, trained), _distance(before, after, state, statistics))
            for before, after, state in zip(self.eager, self.eager[1:], states[1:], strict=False)
        ]


def _distance(before: State, eager: State, fast: State, names: Iterable[str]) -> float:
    """Return the distance between two steps, in units of the first one's length."""
    pairs = [(eager[name] - before[name], eager[name] - fast[name]) for name in names]
    length, apart = (math.sqrt(sum(float(pair[i].double().square().sum()) for pair in pairs)) for i in (0, 1))
    return apart / length if length else (math.inf if apart else 0.0)


def deepest_and_widest(runs: Sequence[Run], dataset: Dataset) -> list[Run]:
    """Choose the runs that stand for a plan: the network of most layers and that of most multiply-adds."""

    def cost(run: Run) -> int:
        network = abstract(
            run.architecture, run.setting, channels=dataset.channels, num_classes=len(dataset.classes)
        )
        return multiply_adds(network, (dataset.channels, run.setting.input_size, run.setting.input_size))

    chosen = (max(runs, key=lambda run: run.architecture.depth), max(runs, key=cost))
    return list({run.name: run for run in chosen}.values())
