"""The scale of activations and gradients in the first iterations, computed again without hooks and means."""

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from plain_vs_residual.arithmetic import Execution
from plain_vs_residual.records.rows import FirstIterationRow
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.step import Stepper, Trainer
from tests.conftest import network_of

RATES = (0.5, 0.25, 0.125)


def root_mean_square(values: Tensor) -> float:
    return float((values.detach().double() ** 2).sum() / values.numel()) ** 0.5


def by_hand(network: Any, images: Tensor, labels: Tensor) -> dict[str, float]:
    """What an iteration that begins with this network sees, layer by layer, in training mode."""
    convolved = network.conv1(images)
    normalised = network.bn1(convolved)
    x = normalised.relu()
    for stage in (network.layer1, network.layer2, network.layer3):
        x = stage(x)
    logits = network.fc(x.mean(dim=(2, 3)))
    loss = cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    named = dict(zip((name for name, _ in network.named_parameters()), gradients, strict=True))
    return {
        "loss": loss.item(),
        "input": root_mean_square(images),
        "conv1": root_mean_square(convolved),
        "bn1": root_mean_square(normalised),
        "logits": root_mean_square(logits),
        "conv1_gradient": root_mean_square(named["conv1.weight"]),
        "gradient_norm": sum(float((one.double() ** 2).sum()) for one in gradients) ** 0.5,
    }


def test_every_column_is_what_its_name_says() -> None:
    network: Any = network_of("cifar-plain8", channels=1, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a mean of its own tells a root mean square from a standard deviation
        network.bn1.weight.uniform_(0.5, 2.0, generator=generator)
        network.bn1.bias.uniform_(1.0, 2.0, generator=generator)
    batches = [
        (2 + (1 + step) * torch.rand(8, 1, 8, 8, generator=generator), torch.arange(8) % 3) for step in range(3)
    ]
    trainer = Trainer(network, DIGITS, "fp32")
    feed: Any = SimpleNamespace(batch=lambda *batch: batch)
    stepper = Stepper(trainer, feed, RATES.__getitem__, Execution.EAGER, probe_iterations=2)
    expected, weights = [], []
    for iteration, batch in enumerate(batches):
        expected.append(by_hand(copy.deepcopy(network), *batch))
        stepper.take(iteration, batch)
        weights.append(root_mean_square(network.conv1.weight.detach()))
    assert [row.iteration for row in stepper.probed] == [0, 1]
    for row, values, weight in zip(stepper.probed, expected, weights, strict=False):
        found = row.model_dump()
        assert found.pop("iteration") in (0, 1)
        assert found.pop("conv1_weight") == pytest.approx(weight, rel=1e-5)  # behind the step
        assert found == pytest.approx(values, rel=1e-4)
        assert len(set(found.values())) == len(FirstIterationRow.model_fields) - 2


def probed_at(scale: float, steps: int) -> tuple[Trainer, list[FirstIterationRow]]:
    """Probe steps in fp16 that begin with this scale of the loss, all on one batch and at a rate of 0.1."""
    trainer = Trainer(network_of("cifar-plain8", channels=1, num_classes=3), DIGITS, "fp16")
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": scale})
    feed: Any = SimpleNamespace(batch=lambda *batch: batch)
    stepper = Stepper(trainer, feed, lambda _: 0.1, Execution.EAGER, probe_iterations=steps)
    batch = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    for iteration in range(steps):
        stepper.take(iteration, batch)
    return trainer, stepper.probed


@pytest.mark.parametrize("scale", [1.0, 2.0**10])
def test_in_fp16_gradients_are_noted_without_the_scale_of_the_loss(scale: float) -> None:
    network = network_of("cifar-plain8", channels=1, num_classes=3)
    batch = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    expected = by_hand(network, *batch)
    trainer, (row,) = probed_at(scale, steps=1)
    assert trainer.skipped_steps.item() == 0
    for column in ("loss", "logits", "conv1_gradient", "gradient_norm"):
        assert getattr(row, column) == pytest.approx(expected[column], rel=0.02), column


def test_a_step_that_overflows_in_fp16_is_noted_with_its_loss_and_the_weights_that_it_left() -> None:
    weight = root_mean_square(network_of("cifar-plain8", channels=1, num_classes=3).conv1.weight)
    trainer, rows = probed_at(2.0**100, steps=2)
    assert [row.iteration for row in rows] == [0, 1]
    assert trainer.skipped_steps.item() == 2
    for row in rows:
        assert row.loss == rows[0].loss < 3
        assert row.conv1_weight == pytest.approx(weight)
        assert not math.isfinite(row.gradient_norm)
