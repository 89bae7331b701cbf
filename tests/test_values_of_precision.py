"""What 16 bits give is summed in more, and the processes of a run share its threads."""

import math

import pytest
import torch
from torch import Tensor

from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.measures.responses import layer_responses
from plain_vs_residual.modifications import modify
from plain_vs_residual.training.precision import best_precision, prepare_arithmetic
from tests.conftest import CPU, network_of


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_responses_of_16_bits_are_those_of_the_same_values_in_double_precision(dtype: torch.dtype) -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3).to(dtype).eval()
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    seen: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _x, output, name=name: seen.update({name: output.double()}))
    rows = {
        (row.layer, row.kind): row.value for row in layer_responses(network, [(images, torch.zeros(6).long())])
    }

    def rms(values: Tensor) -> float:
        return math.sqrt(values.square().mean().item())

    assert rows["conv1", "response_std"] == pytest.approx(seen["bn1"].std(correction=0).item(), rel=1e-5)
    for block in ("layer1.0", "layer2.0", "layer3.0"):
        function, shortcut, output = seen[f"{block}.bn2"], seen[f"{block}.shortcut"], seen[block]
        assert rows[f"{block}.conv2", "response_std"] == pytest.approx(function.std(correction=0).item(), rel=1e-5)
        assert rows[block, "ratio"] == pytest.approx(rms(function) / rms(shortcut), rel=1e-5)
        product = (function * shortcut).mean().item()
        assert rows[block, "cosine"] == pytest.approx(product / rms(function) / rms(shortcut), rel=1e-5)
        owed = output - function.relu()
        assert rows[block, "shortcut_share"] == pytest.approx(rms(owed) / rms(output), rel=1e-5)


@pytest.mark.parametrize(("threads", "devices", "of_each"), [(8, 2, 4), (7, 2, 3), (1, 4, 1), (3, 1, 3)])
def test_processes_share_the_threads_of_a_run(threads: int, devices: int, of_each: int) -> None:
    were = torch.get_num_threads()
    try:
        prepare_arithmetic(CPU, Arithmetic(precision="fp32", threads=threads, devices=devices))
        assert torch.get_num_threads() == of_each
    finally:
        torch.set_num_threads(were)


def test_a_folded_shortcut_adds_two_numbers_a_filter_to_the_weights_and_no_constant() -> None:
    network = network_of("cifar-plain8", channels=1, num_classes=3)
    names = set(network.state_dict())
    modify(network, "dirac", 0)
    convolutions = {name.removesuffix(".weight") for name in names if ".conv" in name}
    assert set(network.state_dict()) - names == {f"{name}.{one}" for name in convolutions for one in "ab"}


@pytest.mark.parametrize("has", ["_is_avx512_bf16_supported", "_is_amx_tile_supported", ""])
def test_bf16_is_for_processors_that_compute_in_it_by_either_way(
    monkeypatch: pytest.MonkeyPatch, has: str
) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda answer=probe == has: answer, raising=False)
    assert best_precision(CPU) == ("bf16" if has else "fp32")
    assert best_precision(torch.device("meta")) == "fp32"


@pytest.mark.parametrize("computes_in_it", [True, False])
def test_bf16_that_a_gpu_only_imitates_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, computes_in_it: bool
) -> None:
    supported = lambda including_emulation=True: computes_in_it or including_emulation  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert best_precision(torch.device("cuda")) == ("bf16" if computes_in_it else "fp32")
