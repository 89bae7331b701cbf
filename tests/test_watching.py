"""Watching a network: functions see what its layers compute, change nothing, and are always detached."""

import pytest
import torch
from torch import Tensor, nn

from plain_vs_residual.watching import watched
from tests.conftest import network_of


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_functions_see_what_goes_in_and_what_comes_out_in_the_order_of_computation() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3)
    seen: list[tuple[str, Tensor, Tensor]] = []
    images = torch.randn(4, 1, 8, 8)
    with watched(
        network,
        {name: lambda x, output, name=name: seen.append((name, x, output)) for name in ("fc", "conv1")},
        {"conv1": lambda x, output: seen.append(("again", x, output))},
    ):
        logits = network(images)
    assert [name for name, _, _ in seen] == ["conv1", "again", "fc"]
    assert seen[0][1] is images
    assert torch.equal(seen[0][2], network.conv1(images))
    assert seen[-1][2] is logits


def test_what_a_function_returns_changes_nothing() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3).eval()
    images = torch.randn(4, 1, 8, 8)
    with watched(network, {"bn1": lambda x, output: torch.zeros_like(output)}):
        logits = network(images)
    assert torch.equal(logits, network(images))


def test_functions_are_detached_at_the_end_and_after_an_exception() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3)

    def fails(x: Tensor, output: Tensor) -> None:
        raise RuntimeError("no")

    with watched(network, {"conv1": lambda x, output: None}):
        assert hooks_of(network) == 1
    assert hooks_of(network) == 0
    with pytest.raises(RuntimeError, match="no"), watched(network, {"conv1": fails, "fc": fails}):
        network(torch.randn(4, 1, 8, 8))
    assert hooks_of(network) == 0


def test_an_unknown_layer_leaves_no_function_attached() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3)
    unknown = {"conv1": lambda x, output: None, "conv9": lambda x, output: None}
    with pytest.raises(AttributeError, match="conv9"), watched(network, unknown):
        pass
    assert hooks_of(network) == 0
