"""Learning rates as functions of the iteration, fixed before the run (He et al., Sec. 4.2)."""

from collections.abc import Callable, Sequence

from plain_vs_residual.recipe import Recipe

Schedule = Callable[[int], float]
Rates = Sequence[tuple[int, float]]


def num_iterations(recipe: Recipe, num_images: int) -> int:
    """Return the budget in steps for a training set of ``num_images``."""
    if recipe.iterations is not None:
        return recipe.iterations
    assert recipe.epochs is not None
    return max(1, round(recipe.epochs * num_images / recipe.batch_size))


def step(base: float, drops: Sequence[int]) -> Schedule:
    """Divide the rate by 10 at each of the given iterations.

    >>> rate = step(0.1, drops=[32_000, 48_000])
    >>> [round(rate(iteration), 6) for iteration in (0, 31_999, 32_000, 48_000)]
    [0.1, 0.1, 0.01, 0.001]
    """
    return lambda iteration: base / 10.0 ** sum(iteration >= drop for drop in drops)


def linear(base: float, iterations: int) -> Schedule:
    """Let the rate fall in a straight line to 0 at ``iterations``.

    >>> linear(0.02, 100)(75)
    0.005
    """
    return lambda iteration: base * (1 - iteration / iterations)


def replay(rates: Rates) -> Schedule:
    """Repeat the rates that another run applied, each given with the iteration from which it held.

    >>> rate = replay([(0, 0.1), (40, 0.01)])
    >>> rate(39), rate(40)
    (0.1, 0.01)

    Raises:
        ValueError: if there are none.
    """
    if not rates:
        raise ValueError("schedule replay: no rates are given; it needs a leader whose rates it can repeat")
    return lambda iteration: [rate for since, rate in rates if since <= iteration][-1]


def warmed_up(schedule: Schedule, iterations: int) -> Schedule:
    """Take a tenth of the rate for the first ``iterations``, and then the rate itself."""
    return lambda iteration: schedule(iteration) / 10 if iteration < iterations else schedule(iteration)


def schedule_of(recipe: Recipe, depth: int, iterations: int, leader: Rates = ()) -> Schedule:
    """Make the schedule of a recipe for networks of one depth, plain and residual alike.

    Args:
        recipe: names the schedule.
        depth: of the network; deep ones are warmed up where the recipe says so.
        iterations: length of the run.
        leader: for the schedule ``replay``: the rates that the pair's leader applied.

    Raises:
        ValueError: for ``plateau``, which watches its run (:class:`~plain_vs_residual.training.plateau.Plateau`),
            and for ``replay`` without rates.
    """
    match recipe.schedule:
        case "step":
            rates = step(recipe.learning_rate, [round(fraction * iterations) for fraction in recipe.drops])
        case "linear":
            rates = linear(recipe.learning_rate, iterations)
        case "replay":
            return replay(leader)
        case "plateau":
            raise ValueError("schedule plateau: its rates are not fixed beforehand")
    return warmed_up(rates, recipe.warm_up_iterations) if depth >= recipe.warm_up_depth else rates


def evaluation_points(iterations: int, evaluations: int) -> list[int]:
    """Say after how many iterations errors are taken: evenly spaced, the last iteration included.

    >>> evaluation_points(10, 3)
    [3, 7, 10]
    """
    return sorted({max(1, round(k * iterations / evaluations)) for k in range(1, evaluations + 1)})
