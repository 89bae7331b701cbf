"""Whether a graph, a compiled or a native step computes what the eager step does, tried before a plan is trained.

Some iterations are taken eagerly, each from the state that the last one left, and then again, each from the same
state as before: by the fast step, and by an eager one in another precision. The fast step may be about as far from
the eager one as rounding takes it, and no farther. A fixed tolerance would not do: in bf16, the first step of an
untrained plain-34 differs by more than 100 % from that in fp32, that of ResNet-20 by 17 % (`digits`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.estimate import multiply_adds_of
from plain_vs_residual.networks import on_device
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.execution import Recorded
from plain_vs_residual.training.initial_network import initial_network
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.precision import prepare_arithmetic
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

    def __init__(self, job: Job, place: Place, dataset: Dataset, execution: Execution) -> None:
        self.run, self.device = job.run, place.device
        if execution.compiled:
            torch.compiler.reset()
        prepare_arithmetic(place.device, job.arithmetic)
        recipe = job.run.setting
        network = on_device(initial_network(job, dataset), place.device)
        self.feed = make_feed(dataset, recipe, job.run.seed, place.device)
        self.trainer = Trainer(network, recipe, job.arithmetic.precision, execution=execution)
        # The rate changes from one iteration to the next: a graph must not keep the one it was recorded with.
        rates = (recipe.learning_rate, recipe.learning_rate / 2)
        self.stepper = Stepper(self.trainer, self.feed, lambda iteration: rates[iteration % 2], execution, 0)

    def take(self, begin: int, end: int) -> None:
        """Take some iterations, and wait for the device."""
        for iteration, inputs in enumerate(self.feed.inputs(begin, end), begin):
            self.stepper.take(iteration, inputs)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def tensors(self) -> State:
        """Return what a step changes: weights, BN statistics and what the optimizer keeps; by name."""
        states = enumerate(self.trainer.optimizer.state.values())
        kept = {f"{number}.{name}": value for number, state in states for name, value in state.items()}
        return {**self.trainer.network.state_dict(), **kept}

    def states(self, starts: Sequence[State] | None = None) -> Iterator[State]:
        """Yield the state before the first iteration, and after each of the checked ones.

        Args:
            starts: the state from which each iteration is to start; if left out, that which the last one left.
        """
        yield _copied(self.tensors())
        for iteration in range(CHECKED):
            if starts is not None:
                with torch.no_grad():
                    for name, tensor in self.tensors().items():
                        tensor.copy_(starts[iteration][name])  # in place, as a recorded graph needs it
            self.take(iteration, iteration + 1)
            yield _copied(self.tensors())


def _copied(state: State) -> State:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


class EagerSteps:
    """The eager steps of one run, to which those of another execution are compared."""

    def __init__(self, job: Job, place: Place, dataset: Dataset) -> None:
        self.job, self.place, self.dataset = job, place, dataset
        self.tolerance, other_precision = TOLERANCES[job.arithmetic.precision]
        self.eager = list(TrialSteps(job, place, dataset, Execution.EAGER).states())
        other = replace(job, arithmetic=job.arithmetic.model_copy(update={"precision": other_precision}))
        in_other_precision = TrialSteps(other, place, dataset, Execution.EAGER).states(self.eager)
        self.rounding_distances = self._distances(in_other_precision)

    def fault(self, execution: Execution) -> str:
        """Say what is wrong with a fast step; empty if nothing is."""
        network = self.job.run.architecture.name
        try:
            distances = self._distances(
                TrialSteps(self.job, self.place, self.dataset, execution).states(self.eager)
            )
        except Exception as error:  # whatever stops the fast step must not stop the run
            return f"{network}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        ratios = [
            distance / rounding if rounding else (math.inf if distance else 0.0)
            for fast, by_rounding in zip(distances, self.rounding_distances, strict=True)  # of an iteration
            for distance, rounding in zip(fast, by_rounding, strict=True)  # weights, then BN statistics
        ]
        worst = max(ratios, key=lambda ratio: math.inf if math.isnan(ratio) else ratio)
        if worst <= self.tolerance:
            return ""
        return (
            f"{network}: its step is {worst:.1f} times as far from the eager one as rounding "
            f"takes it, {self.tolerance:g} times is accepted"
        )

    def _distances(self, states: Iterator[State]) -> list[tuple[float, float]]:
        """Return, for each iteration, how far weights and BN statistics are from those of the eager step.

        Of the compared steps one state is held at a time: ResNet-152's takes half a gigabyte. What the optimizer
        keeps is in no state before the first step, and is compared by what it does to the weights.
        """
        next(states)  # before the first iteration
        trained = [name for name in self.eager[0] if not name.endswith(("running_mean", "running_var"))]
        trained = [name for name in trained if not name.endswith("num_batches_tracked")]
        statistics = [name for name in self.eager[0] if name.endswith(("running_mean", "running_var"))]
        return [
            (_distance(before, after, state, trained), _distance(before, after, state, statistics))
            for before, after, state in zip(self.eager, self.eager[1:], states, strict=False)
        ]


def _distance(before: State, eager: State, other: State, names: Sequence[str]) -> float:
    """Return the distance between two steps from one state, in units of the eager one's length."""
    length = _norm(eager[name] - before[name] for name in names)
    apart = _norm(eager[name] - other[name] for name in names)
    return apart / length if length else (math.inf if apart else 0.0)


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def deepest_and_widest(jobs: Sequence[Job], dataset_of: Callable[[Run], Dataset]) -> list[Job]:
    """Choose what stands for a plan: the network of most layers and that of most multiply-adds; none of none."""

    def cost(job: Job) -> int:
        return multiply_adds_of(job.run, dataset_of(job.run))

    if not jobs:
        return []
    chosen = (max(jobs, key=lambda job: job.run.architecture.depth), max(jobs, key=cost))
    return list({job.name: job for job in chosen}.values())
