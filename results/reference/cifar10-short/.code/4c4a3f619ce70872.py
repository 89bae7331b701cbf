"""The running training error: what the training passes count anyway, read at fifty points or more."""

from collections.abc import Callable, Iterable
from itertools import chain, pairwise

from plain_vs_residual.records.rows import CurveRow
from plain_vs_residual.training.evaluation import Counts, Totals

POINTS = 50


class TrainingCurve:
    """What training had counted at each of some iterations.

    The sums are read and never cleared: an interval is the difference of two readings.

    Args:
        points: the iterations after which to read, in several lists.

    Attributes:
        counted: sums over all batches so far, by iteration, in order.
    """

    def __init__(self, points: Iterable[Iterable[int]]) -> None:
        self.points = frozenset(chain.from_iterable(points))
        self.counted: dict[int, Counts] = {0: Counts()}

    def read(self, iteration: int, totals: Totals) -> None:
        """Read the sums if there is a point after this many iterations; waits for those that are queued."""
        if iteration in self.points:
            self.counted[iteration] = totals.counts()

    def between(self, start: int, stop: int) -> Counts:
        """Return what was counted in the iterations from one point to another."""
        return self.counted[stop].since(self.counted[start])

    def rows(self, epoch_of: Callable[[int], float]) -> list[CurveRow]:
        """Return the rows of ``training_curve.csv``: at each point, the means since the one before it."""
        return [
            CurveRow(
                iteration=stop,
                epoch=epoch_of(stop),
                running_training_loss=self.between(start, stop).mean_loss,
                running_training_error=self.between(start, stop).error,
            )
            for start, stop in pairwise(self.counted)
        ]

    def last_tenth(self) -> Counts:
        """Return what was counted in the last tenth of the iterations, from the point nearest before it."""
        last = max(self.counted)
        return self.between(max(point for point in self.counted if point < last and point <= 0.9 * last), last)

    def state(self) -> list[tuple[int, tuple[float, ...]]]:
        """Return what a checkpoint keeps."""
        return [(iteration, tuple(counts)) for iteration, counts in self.counted.items()]

    def restore(self, state: Iterable[tuple[int, tuple[float, ...]]]) -> None:
        """Go on from an earlier :meth:`state`."""
        self.counted = {iteration: Counts(*counts) for iteration, counts in state}
