"""What a network errs before and after training, by BN's three ways, and how far a built solution bears a mixture.

He et al. (2015), Sec. 1: the solution by construction. Of a network that is grown, what was added is mixed with
what would have been drawn for it: a share 0 is the construction, 1 the usual initial values in the added layers.
"""

import copy

import torch
from torch import Tensor, nn

from plain_vs_residual.networks import Network, on_device
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MeasuredRow
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.seminar.measured import Measured, error_of
from plain_vs_residual.training.initial_network import drawn_network

NUM_IMAGES = 1000
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
COLUMNS = ("error_as_built", "worst_training_error")


def measure(subject: FinishedRun) -> Measured:
    """Take the error at the start and at the end; of a grown network also at each share of what is drawn."""
    images, labels = subject.images(NUM_IMAGES)
    grown = subject.job.run.grown_from is not None
    moments = {(0, share): mixed(subject, share) for share in SHARES} if grown else {}
    moments[subject.num_iterations, 0.0] = subject.network
    rows = []
    for (iteration, share), network in moments.items():
        networks = {"E": copy.deepcopy(network).eval(), "R": subject.with_estimated_statistics(network)}
        errors = {mode: error_of(one, images, labels) for mode, one in networks.items()}
        errors["T"] = error_in_training(network, images, labels, subject.setting.batch_size)
        rows += [
            MeasuredRow(
                iteration=iteration, quantity=f"error_{mode}", place="network", position=share, value=value
            )
            for mode, value in errors.items()
        ]
    # Of what was built the error before its training, of all others the error after theirs.
    curve = read_table(subject.job.folder.training_curve, CurveRow)
    return Measured(
        rows,
        {
            "error_as_built": next(row.value for row in rows if row.quantity == "error_E"),
            "worst_training_error": float(curve["running_training_error"].max()),
        },
    )


def mixed(subject: FinishedRun, share: float) -> Network:
    """Return the grown network as training begins with it, but for what was added to its source.

    Every added parameter is (1 - share) times its value plus share times what was drawn for it; BN's statistics
    stay those of the construction.
    """
    assert subject.job.run.grown_from
    copied = subject.job.run.grown_from[0].parameter_names
    network = subject.untrained()
    drawn = dict(on_device(drawn_network(subject.job.run, subject.dataset), subject.device).named_parameters())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in copied:
                parameter.lerp_(drawn[name], share)
    return network


def error_in_training(network: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> float:
    """Return the error (percent) where BN normalises by the batch, as the first steps of training would see it."""
    seen = copy.deepcopy(network).train()
    with torch.no_grad():
        batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        wrong: int = sum((seen(some).argmax(dim=1) != right).sum().item() for some, right in batches)
    return 100 * wrong / len(labels)
