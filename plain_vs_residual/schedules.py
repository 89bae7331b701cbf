"""The schedules that know every learning rate before the run; a recipe may say each name in FIXED.

Step decay is that of He et al., Sec. 4.2.
"""

from collections.abc import Callable, Sequence
from typing import Any

Schedule = Callable[[int], float]  # iteration, counted from 0 -> learning rate


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


# By name: functions of the recipe (recipe.py, which imports this module) and of the run's length in iterations.
FIXED: dict[str, Callable[[Any, int], Schedule]] = {
    "step": lambda recipe, length: step_decay(
        recipe.learning_rate, [round(fraction * length) for fraction in recipe.drops]
    ),
    "linear": lambda recipe, length: linear_decay(recipe.learning_rate, length),
}
