"""What is fixed before a run: its budget, when to evaluate, and the learning rate of every iteration.

The one exception is ``plateau``, whose rates depend on the run's own validation loss (``plateau.py``). To keep a
pair comparable, only one member, the leader, watches itself; the other repeats its rates (``replay``). Step decay
is that of He et al., Sec. 4.2. Their warm-up (110 layers) lasts until the training error is below 80 %; here it
lasts a number of iterations that is fixed beforehand.
"""

from collections.abc import Callable, Sequence

from plain_vs_residual.recipe import Recipe

Schedule = Callable[[int], float]  # iteration, counted from 0 -> learning rate
RateTrace = Sequence[tuple[int, float]]  # (first iteration, learning rate) of each rate, in order


def num_iterations(recipe: Recipe, num_images: int) -> int:
    """Return the budget in iterations for a training set of ``num_images``."""
    if recipe.iterations is not None:
        return recipe.iterations
    assert recipe.epochs is not None
    return max(1, round(recipe.epochs * num_images / recipe.batch_size))


def step_decay(base: float, drops: Sequence[int]) -> Schedule:
    """Divide the rate by 10 at each of the iterations ``drops``.

    >>> rate = step_decay(0.1, drops=[32_000, 48_000])
    >>> [round(rate(iteration), 6) for iteration in (0, 31_999, 32_000, 48_000)]
    [0.1, 0.1, 0.01, 0.001]
    """
    return lambda iteration: base / 10.0 ** sum(iteration >= drop for drop in drops)


def linear_decay(base: float, length: int) -> Schedule:
    """Fall linearly from ``base``; 0 would be reached one iteration after the last.

    >>> linear_decay(0.02, 100)(75)
    0.005
    """
    return lambda iteration: base * (1 - iteration / length)


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

    >>> rate = warmed_up(step_decay(0.1, drops=[]), warm_up=400)
    >>> rate(399), rate(400)
    (0.01, 0.1)
    """
    return lambda iteration: schedule(iteration) / (10 if iteration < warm_up else 1)


# The schedules that know every rate before the run, by name: each a function of the recipe and the run's length.
FIXED: dict[str, Callable[[Recipe, int], Schedule]] = {
    "step": lambda recipe, length: step_decay(
        recipe.learning_rate, [round(fraction * length) for fraction in recipe.drops]
    ),
    "linear": lambda recipe, length: linear_decay(recipe.learning_rate, length),
}


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
