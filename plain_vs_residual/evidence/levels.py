"""At which level a claim's interval decides: the primary claims of a family share an error rate.

By Holm's method (1979) the clearest of k claims is decided at 1 - 0.05/k, the next at 1 - 0.05/(k - 1), and so on
until one is not clear enough; that one and all after it are undecided, at the level of its turn. So the chance
that any claim of the family is decided wrongly is at most 5 %, as by Bonferroni's method, but more is decided.
What was recorded before anything was registered keeps Bonferroni's level, 1 - 0.05/k for all.
"""

import math
from collections.abc import Sequence

from scipy import stats

from plain_vs_residual.claim import Side
from plain_vs_residual.evidence.families import ERROR_RATE
from plain_vs_residual.evidence.measurement import Measurement, beyond

DESCRIPTIVE_LEVEL = 0.95
MIN_SEEDS = 3


def bonferroni(num: int) -> float:
    """Return the level of each of several primary claims.

    >>> bonferroni(4)
    0.9875
    """
    return 1 - ERROR_RATE / num


def holm(p_values: Sequence[float], num: int, error_rate: float = ERROR_RATE) -> list[float]:
    """Return the level at which each claim is decided, in the order in which they are given.

    Args:
        p_values: of the claims; 1 for one that cannot be decided.
        num: how many claims share the error rate: at least these.
        error_rate: what they share.

    >>> [round(level, 4) for level in holm([0.001, 0.9, 0.02], num=3)]
    [0.9833, 0.95, 0.975]
    >>> [round(level, 4) for level in holm([0.001, 0.03, 0.04], num=3)]
    [0.9833, 0.975, 0.975]
    """
    levels = [math.nan] * len(p_values)
    turn = 0
    for place in sorted(range(len(p_values)), key=lambda place: p_values[place]):
        levels[place] = 1 - error_rate / (num - turn)
        # The last turn is not passed on: nobody is left, or those that could not be decided.
        if p_values[place] < error_rate / (num - turn) and turn + 1 < num:
            turn += 1
    return levels


def p_value(measured: Measurement, margin: float, side: Side) -> float:
    """Return the smallest error at which the interval of some seeds leaves its margin on either side.

    For ``within``, by two one-sided tests: the interval must lie between the two margins, or beyond one of them.
    """
    if measured.num < MIN_SEEDS:
        return 1.0
    distance = abs(beyond(side, measured.mean, margin))
    standard_error = measured.deviation / math.sqrt(measured.num)
    return min(1.0, 2 * float(stats.t.sf(distance / standard_error, measured.num - 1)))
