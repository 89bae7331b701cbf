"""The learning rate as a function of the iteration, fixed before the run (He et al., Sec. 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

from plain_vs_residual.settings import Setting


@dataclass(frozen=True)
class Schedule:
    """Learning rate of every iteration; calling it with an iteration gives that iteration's rate.

    Attributes:
        base: learning rate at the start, after the warm-up.
        iterations: length of the run.
        drops: iterations from which the rate is divided by 10, once more at each.
        linear: whether the rate falls in a straight line to 0 at ``iterations`` instead.
        warm_up: number of first iterations at a tenth of the rate.
        replayed: rates that another run applied, [first iteration, rate] an entry; they replace all of the above.
    """

    base: float
    iterations: int
    drops: tuple[int, ...] = ()
    linear: bool = False
    warm_up: int = 0
    replayed: Sequence[Sequence[float]] = ()

    def __call__(self, iteration: int) -> float:
        if self.replayed:
            return [rate for since, rate in self.replayed if since <= iteration][-1]
        rate = self.base
        if self.linear:
            rate *= 1 - iteration / self.iterations
        rate /= 10.0 ** sum(iteration >= drop for drop in self.drops)
        return rate / 10 if iteration < self.warm_up else rate


def schedule_of(
    setting: Setting, depth: int, num_images: int, replayed: Sequence[Sequence[float]] = ()
) -> Schedule:
    """The schedule of a setting for networks of one depth, plain and residual alike."""
    iterations = setting.num_iterations(num_images)
    return Schedule(
        base=setting.learning_rate,
        iterations=iterations,
        drops=tuple(round(fraction * iterations) for fraction in setting.drops),
        linear=setting.schedule == "linear",
        warm_up=setting.warm_up_iterations if depth >= setting.warm_up_depth else 0,
        replayed=replayed,
    )
