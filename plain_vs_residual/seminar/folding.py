"""What a trained plain network errs once it is folded: its BN and its identities into kernels and biases.

Ding et al. (2021), RepVGG: Making VGG-style ConvNets Great Again. BN is evaluated by running statistics (E).
"""

import math

import torch

from plain_vs_residual.folding import fold
from plain_vs_residual.networks import Network, build, on_device
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import evaluate

NUM_IMAGES = 1000  # whose logits are compared; errors are of all training images
COLUMNS = ("folded_training_error", "folded_logit_difference")


def measure(subject: Subject) -> Measured:
    """Take the error of the trained network, and of what it folds into; a residual one does not fold."""
    numbers = {"error_trained": error(subject, subject.network)}
    if subject.architecture.kind == "plain":
        plain = folded(subject)
        numbers["error_folded"] = error(subject, plain)
        images, _ = subject.images(NUM_IMAGES)
        with torch.no_grad():
            numbers["logit_difference"] = (plain(images) - subject.network(images)).abs().max().item()
    end = subject.num_iterations
    return Measured(
        [
            MeasuredRow(iteration=end, quantity=quantity, place="network", position=0, value=value)
            for quantity, value in numbers.items()
        ],
        {
            "folded_training_error": numbers.get("error_folded", numbers["error_trained"]),
            "folded_logit_difference": numbers.get("logit_difference", math.nan),
        },
    )


def folded(subject: Subject) -> Network:
    """Return the plain network with biases that the trained one folds into, in evaluation mode, on its device.

    Raises:
        ValueError: if it does not fold.
    """
    trained = subject.network
    plain = build(
        subject.architecture,
        subject.setting.with_changes({"modification": "folded"}),
        channels=trained.conv1.in_channels,
        num_classes=trained.fc.out_features,
        seed=subject.seed,
    )
    plain = on_device(plain, subject.device)
    fold(trained, plain)
    return plain.eval()


def error(subject: Subject, network: Network) -> float:
    """Return the error on all training images, in percent."""
    return evaluate(network, subject.batches("training"), "fp32").error
