"""What the CSV files of the records hold: a model for the rows of each, a field per column."""

from plain_vs_residual.records.models import Model, Moment, ResponseKind


class CurveRow(Model):
    """A row of ``training_curve.csv``: means over the augmented batches since the row before.

    Error in percent, loss in nats. They come for free, as training computes them anyway, hence more rows than
    ``metrics.csv`` has.
    """

    iteration: int
    epoch: float
    running_training_loss: float
    running_training_error: float


class MetricsRow(Model):
    """A row of ``metrics.csv``: errors in percent, losses in nats.

    The running error and loss are means over the augmented batches since the row before; the others are clean:
    over all images, without augmentation, in evaluation mode.
    """

    iteration: int
    epoch: float
    learning_rate: float
    running_training_loss: float
    running_training_error: float
    training_loss: float
    training_error: float
    validation_loss: float
    validation_error: float
    validation_top5_error: float
    training_seconds: float
    evaluation_seconds: float
    consumed: str


def consumed_parts(consumed: str) -> dict[str, str]:
    """Read the column ``consumed`` of a row of metrics: a hash by the name of what was consumed.

    >>> consumed_parts("crops:ab/flips:cd")
    {'crops': 'ab', 'flips': 'cd'}
    """
    return dict(part.split(":") for part in consumed.split("/"))


class ResponseRow(Model):
    """A row of ``responses.csv``, see :func:`plain_vs_residual.measures.responses.layer_responses`."""

    moment: Moment
    kind: ResponseKind
    order: int
    layer: str
    value: float


class FirstIterationRow(Model):
    """A row of ``first_iterations.csv``: root mean squares, except the loss and the norm of the whole gradient."""

    iteration: int
    loss: float
    input: float
    conv1: float
    bn1: float
    logits: float
    conv1_gradient: float
    conv1_weight: float
    gradient_norm: float


class MeasuredRow(Model):
    """A row of ``<measurement>.csv``: one number that was measured on a network.

    Attributes:
        iteration: of whose weights it is; 0 before training.
        quantity: what was measured.
        place: name of a layer or block; ``network`` for what belongs to all of it.
        position: number of the layer or block, or whatever else the measurement goes along.
        value: in the quantity's own unit.
    """

    iteration: int
    quantity: str
    place: str
    position: float
    value: float
