"""The size of F(x) against x in each block, through training (BN: estimated at the start, R; then E)."""

from plain_vs_residual.measures.responses import layer_responses
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject

NUM_IMAGES = 500
MOMENTS = 12


def measure(subject: Subject) -> Measured:
    """Train once more and look on at iterations that are evenly spaced on a logarithmic axis.

    Of weights that were not trained here, before training and after it.
    """
    images = [subject.images(NUM_IMAGES)]
    length = subject.num_iterations
    moments = {0, length, *(round(length ** (number / MOMENTS)) for number in range(MOMENTS))}
    rows = []
    for iteration, network in subject.during_training(sorted(moments)):
        seen = subject.with_estimated_statistics(network) if iteration == 0 else network
        rows += [
            MeasuredRow(
                iteration=iteration, quantity=row.kind, place=row.layer, position=row.order, value=row.value
            )
            for row in layer_responses(seen, images)
            if row.kind in ("ratio", "cosine")
        ]
    return Measured(rows, {})
