"""What is fixed before a run: its budget, when to evaluate, and the learning rate of every iteration.

The one exception is ``plateau``, whose rates depend on the run's own validation loss (``plateau.py``). To keep a
pair comparable, only one member, the leader, watches itself; the other repeats its rates (``replay``). The warm-up
of He et al. (110 layers) lasts until the training error is below 80 %; here it lasts a fixed number of iterations.
"""

from collections.abc import Sequence

from plain_vs_residual.recipe import Recipe
from plain_vs_residual.schedules import FIXED, Schedule

RateTrace = Sequence[tuple[int, float]]  # (first iteration, learning rate) of each rate, in order


def num_iterations(recipe: Recipe, num_images: int) -> int:
    """Return the budget in iterations for a training set of ``num_images``."""
    if recipe.iterations is not None:
        return recipe.iterations
    assert recipe.epochs is not None
    return max(1, round(recipe.epochs * num_images / recipe.batch_size))


def replay(trace: RateTrace) -> Schedule:
    """Repeat the rates that another run applied.

    >>> rate = replay([(0, 0.1), (40, 0.01)])
    >>> rate(39), rate(40)
    (0.1, 0.01)

    Raises:
        ValueError: if the trace is empty.
    """
    if not trace:
        raise ValueError("schedule replay: no rates are given; it needs a leader whose rates it can repeat")
    return lambda iteration: [rate for first, rate in trace if first <= iteration][-1]


def warmed_up(schedule: Schedule, warm_up: int) -> Schedule:
    """Divide the rate by 10 for the first ``warm_up`` iterations.

    >>> rate = warmed_up(lambda iteration: 0.1, warm_up=400)
    >>> rate(399), rate(400)
    (0.01, 0.1)
    """
    return lambda iteration: schedule(iteration) / (10 if iteration < warm_up else 1)


def schedule_of(recipe: Recipe, depth: int, length: int, leader: RateTrace = ()) -> Schedule:
    """Return the schedule of a recipe for networks of one depth, plain and residual alike.

    Args:
        recipe: names the schedule and gives its rate, drops and warm-up.
        depth: of the network; the recipe says from which depth on networks are warmed up.
        length: of the run, in iterations.
        leader: for the schedule ``replay``: the rates of the run that this one repeats.

    Raises:
        ValueError: for ``plateau``, which watches its run (:class:`~plain_vs_residual.training.plateau.Plateau`),
            and for ``replay`` without rates.
    """
    if recipe.schedule == "replay":
        schedule = replay(leader)
    elif recipe.schedule in FIXED:
        schedule = FIXED[recipe.schedule](recipe, length)
    else:
        raise ValueError(
            f"schedule {recipe.schedule}: its rates are not fixed beforehand; those of {', '.join(FIXED)} are"
        )
    # A recipe cannot both replay and warm up, so this changes no replayed rate.
    return warmed_up(schedule, recipe.warm_up_iterations) if depth >= recipe.warm_up_depth else schedule


def evaluation_points(length: int, evaluations: int) -> list[int]:
    """Return the iterations after which to evaluate: evenly spaced, the last one included, fewer in a short run.

    >>> evaluation_points(10, 3), evaluation_points(2, 3)
    ([3, 7, 10], [1, 2])
    """
    return sorted({max(1, round(k * length / evaluations)) for k in range(1, evaluations + 1)})
