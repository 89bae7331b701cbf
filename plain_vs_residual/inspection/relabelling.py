"""Whether a network errs because its classes are in another order: the best relabelling of what it says."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from plain_vs_residual.training.evaluation import Errors

# A relabelling explains errors that it halves, or lessens by so many points.
SHARE, POINTS = 0.5, 20.0
SHUFFLES = 20
SHOWN_CLASSES = 20


class Relabelling(NamedTuple):
    """Which class each output would stand for, and the error in percent that this would give."""

    error: float
    order: tuple[int, ...]


def best_relabelling(confusion: Sequence[Sequence[int]] | np.ndarray) -> Relabelling:
    """Find the one-to-one relabelling of predictions with the least error; as few as possible are moved.

    Args:
        confusion: number of images by class (row) and prediction (column), (C, C).

    >>> best_relabelling([[0, 3], [5, 0]])
    Relabelling(error=0.0, order=(1, 0))
    """
    matrix = np.array(confusion, dtype=float)
    # Among equally good ones the one that leaves most as it is: together the bonus is worth less than an image.
    classes, outputs = linear_sum_assignment(matrix + np.eye(len(matrix)) / (2 * len(matrix)), maximize=True)
    order = [0] * len(matrix)
    for one, output in zip(classes.tolist(), outputs.tolist(), strict=True):
        order[output] = one
    return Relabelling(float(100 * (1 - matrix[classes, outputs].sum() / matrix.sum())), tuple(order))


def explaining(errors: Errors) -> Relabelling | None:
    """Return the best relabelling if it errs far less, and less than for predictions that say nothing; else None.

    Of few images in many classes even predictions that say nothing look better when they are relabelled.
    """
    best = best_relabelling(errors.confusion)
    far_less = best.error <= SHARE * errors.error or errors.error - best.error >= POINTS
    if not far_less or errors.error == 0:
        return None
    matrix = np.array(errors.confusion)
    labels, predictions = (np.repeat(every.ravel(), matrix.ravel()) for every in np.indices(matrix.shape))
    random = np.random.default_rng(0)
    for _ in range(SHUFFLES):
        shuffled = np.zeros_like(matrix)
        np.add.at(shuffled, (labels, random.permutation(predictions)), 1)
        if best_relabelling(shuffled).error <= best.error:
            return None
    return best


def relabelling_note(best: Relabelling, classes: Sequence[str]) -> str:
    """Say what a relabelling would give, and how to say that it is right."""
    names = [classes[one] for one in best.order]
    give = f"--classes '{','.join(names)}'"
    if len(names) > SHOWN_CLASSES or any(letter in name for name in names for letter in ",'"):
        give = "--classes FILE, one on each line"
    return (
        f"note: under another order of classes it would err by {best.error:.2f} % (the best one-to-one "
        f"relabelling of these very predictions); was it trained with another order? Then give that: {give}"
    )
