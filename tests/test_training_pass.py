"""The training pass with fewer operations computes what torch does of itself, bit by bit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.blocks import ZeroPaddedIdentity
from plain_vs_residual.networks import on_device
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.step import Trainer
from plain_vs_residual.training.training_pass import TrainingPass
from tests.conftest import network_of

NUM_STEPS = 20


def sliced(self: ZeroPaddedIdentity, x: Tensor) -> Tensor:
    """Compute option A by indexing, as its definition says."""
    return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def trained(network: str, precision: Precision, *, plainly: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take some steps, ``plainly`` with the network itself under autocast; return both states."""
    on_cpu = on_device(network_of(network, channels=1, num_classes=10), torch.device("cpu"))
    trainer = Trainer(on_cpu, DIGITS, precision)
    assert isinstance(trainer.training_pass, TrainingPass)
    if plainly:
        trainer.training_pass = trainer.network
    generator = torch.Generator().manual_seed(0)
    for step in range(NUM_STEPS):
        images = torch.randn(8, 1, 16, 16, generator=generator).to(memory_format=torch.channels_last)
        labels = torch.randint(0, 10, (8,), generator=generator)
        trainer.learning_rate.fill_(0.1 / (step + 1))
        trainer.step(images, labels)
    return trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        ("cifar-residual20-A", "bf16"),
        ("cifar-residual20-A", "fp32"),
        ("cifar-residual8-A", "fp16"),  # with 1x1 convolutions, fp16 repeats itself no better on a CPU
        ("cifar-plain20", "bf16"),
        ("residual18-C", "bf16"),
        ("residual50-B", "bf16"),
    ],
)
def test_steps_with_fewer_operations_equal_plain_ones(
    network: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, momenta = trained(network, precision, plainly=False)
    monkeypatch.setattr(ZeroPaddedIdentity, "forward", sliced)
    plain_state, plain_momenta = trained(network, precision, plainly=True)
    assert state["bn1.num_batches_tracked"] == NUM_STEPS
    for name, value in plain_state.items():
        assert torch.equal(state[name], value), name
    for number, value in plain_momenta.items():
        assert torch.equal(momenta[number]["momentum_buffer"], value["momentum_buffer"])


def test_a_failing_pass_leaves_the_counters_in_place() -> None:
    network = network_of("cifar-plain8", channels=1, num_classes=10)
    with pytest.raises(RuntimeError):
        TrainingPass(network, "bf16")(torch.zeros(1, 2, 8, 8))
    assert network.state_dict()["bn1.num_batches_tracked"] == 0


def test_the_gradient_of_option_a_keeps_the_order_in_memory() -> None:
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(ZeroPaddedIdentity(8, 16, stride=2)(x).square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
