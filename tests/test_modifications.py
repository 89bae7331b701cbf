"""The cures and ablations of the seminar: what each step makes of a network, and that pairs stay pairs."""

from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.measures.responses import layer_responses
from plain_vs_residual.modifications import STEPS, Bias, Mirrored
from plain_vs_residual.networks import Network, build
from plain_vs_residual.recipe import Modification
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.precision import autocast
from plain_vs_residual.training.step import Trainer
from plain_vs_residual.training.training_pass import TrainingPass
from plain_vs_residual.watching import watched
from tests.conftest import Silent

CPU = torch.device("cpu")
IMAGES = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
ABLATIONS = ("zero-gamma", "pre-activation", "skip-init")
CURES = ("delta-orthogonal", "dirac", "looks-linear")
FOLDING = ("foldable", "folded")  # of plain networks, see test_folding.py as well
# See test_streams.py as well.
SHORTCUTS = ("shortcut-0.5", "shortcut-0.9", "scaled-branches", "free-streams", "doubly-stochastic-streams")
RESIDUAL = (*ABLATIONS, *SHORTCUTS)
TAILORED = ("tailored",)  # of plain networks, see test_tailored.py


def modified(name: str, modification: str, seed: int = 100) -> Network:
    recipe = DIGITS.with_changes({"modification": modification})
    return build(Architecture.parse(name), recipe, channels=1, num_classes=10, seed=seed)


def drawn(name: str) -> Network:
    return modified(name, "none")


def test_every_modification_of_the_recipe_has_its_step() -> None:
    assert set(STEPS) == set(get_args(Modification)) == {"none", *RESIDUAL, *CURES, *FOLDING, *TAILORED}


@pytest.mark.parametrize("modification", [*RESIDUAL, *CURES, *FOLDING, *TAILORED])
def test_every_modified_network_learns_under_the_fast_path_as_without_it(modification: str) -> None:
    name = "cifar-residual8-A" if modification in RESIDUAL else "cifar-plain8"
    network = modified(name, modification)
    with autocast(CPU, "bf16"), torch.no_grad():
        fast = TrainingPass(network, "bf16")(IMAGES)
        assert torch.equal(fast, network(IMAGES))
    before = {key: value.clone() for key, value in network.named_parameters()}
    trainer = Trainer(network, DIGITS, "fp32")
    trainer.learning_rate.fill_(0.1)
    for _ in range(3):  # an F(x) of 0 passes nothing on to its own layers in the first step
        trainer.step(IMAGES, torch.arange(8))
    assert torch.isfinite(trainer.totals.last_loss)
    same = [key for key, value in network.named_parameters() if torch.equal(value, before[key])]
    assert same == []


@pytest.mark.parametrize("modification", ["zero-gamma", "skip-init"])
def test_blocks_begin_as_identities(modification: str) -> None:
    network = modified("cifar-residual20-A", modification).eval()
    x = relu(IMAGES[:, :1].repeat(1, 16, 1, 1))
    assert torch.equal(network.get_submodule("layer1.1")(x), x)
    assert not torch.equal(drawn("cifar-residual20-A").eval().get_submodule("layer1.1")(x), x)


def test_skip_init_has_no_normalisation_and_a_learned_scalar_per_block() -> None:
    network = modified("cifar-residual20-A", "skip-init")
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    scalars = [name for name, value in network.named_parameters() if value.dim() == 0]
    assert scalars == [f"layer{stage}.{index}.bn2.scale" for stage in (1, 2, 3) for index in range(3)]


def test_pre_activation_adds_without_a_relu_and_ends_with_one() -> None:
    network = modified("cifar-residual20-A", "pre-activation").eval()
    block = network.get_submodule("layer2.0")
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        function = block.conv2(relu(block.bn2(block.conv1(relu(block.bn1(x))))))  # type: ignore[operator]
        assert torch.equal(block(x), function + block.shortcut(x))  # type: ignore[operator]
        assert (block(x) < 0).any()
        assert (network.get_submodule("layer3")(block(x)) >= 0).all()
    ordinary = dict(drawn("cifar-residual20-A").named_parameters())
    for name, parameter in network.named_parameters():
        assert ".bn" in name or "layer3.3" in name or torch.equal(parameter, ordinary[name])


@pytest.mark.parametrize(
    ("name", "modification", "gives"),
    [
        ("cifar-residual8-A", "none", "layer2.0.bn1"),
        ("cifar-residual8-A", "zero-gamma", "layer2.0.bn1"),
        ("cifar-residual8-A", "pre-activation", "layer2.0.conv1"),  # its BN comes before it
        ("cifar-residual8-A", "skip-init", "layer2.0.bn1"),  # a bias, and in the last layer a scalar, in its place
        ("cifar-plain8", "dirac", "layer2.0.bn1"),
        ("cifar-plain8", "foldable", "layer2.0.bn1"),  # before the identity is added
        ("cifar-plain8", "folded", "layer2.0.bn1"),  # a bias in its place
        ("cifar-plain8", "delta-orthogonal", "layer2.0.bn1"),
        ("cifar-plain8", "looks-linear", "layer2.0.bn1"),  # x beside -x
    ],
)
def test_the_response_of_a_layer_is_what_it_gives_before_relu_or_addition(
    name: str, modification: str, gives: str
) -> None:
    network = modified(name, modification)
    with torch.no_grad():  # else some of them begin with zeros
        for number, parameter in enumerate(network.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    network.eval()
    noted: dict[str, Tensor] = {}
    second = f"layer2.0.{gives.rpartition('.')[2][:-1]}2"
    observers = {one: partial(lambda one, x, output: noted.update({one: output}), one) for one in (gives, second)}
    with watched(network, observers), torch.no_grad():
        network(IMAGES)
    rows = layer_responses(network, [(IMAGES, torch.zeros(8))])
    found = {row.layer: row.value for row in rows if row.kind == "response_std"}
    assert len(found) == 7
    for layer, place in (("layer2.0.conv1", gives), ("layer2.0.conv2", second)):
        assert found[layer] == pytest.approx(noted[place].double().std(correction=0).item(), rel=1e-6)


def test_delta_orthogonal_convolutions_keep_lengths_pixel_by_pixel() -> None:
    network = modified("cifar-plain20", "delta-orthogonal")
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    convolution = network.get_submodule("layer1.0.conv2")
    torch.testing.assert_close(convolution(x).norm(dim=1), x.norm(dim=1))


def test_dirac_weights_are_the_identity_and_a_tenth_of_normalised_filters() -> None:
    network = modified("cifar-plain20", "dirac")
    weight = dict(drawn("cifar-plain20").named_parameters())["layer2.0.conv1.weight"]
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    filters = 0.1 * weight / weight.flatten(1).norm(dim=1)[:, None, None, None]
    expected = conv2d(x, nn.init.dirac_(torch.empty_like(weight)) + filters, stride=2, padding=1)
    torch.testing.assert_close(network.get_submodule("layer2.0.conv1")(x), expected)


def test_a_looks_linear_network_begins_linear_and_is_not_linear_any_more_after_a_step() -> None:
    network = modified("cifar-plain56", "looks-linear")
    assert len([module for module in network.modules() if isinstance(module, Mirrored)]) == 55

    def bend() -> Tensor:
        with torch.no_grad():
            bias = network(torch.zeros_like(IMAGES))
            return ((network(2 * IMAGES) - bias) / 2 - (network(-IMAGES) - bias) * -1).abs().max()

    assert bend() < 1e-5
    trainer = Trainer(network, DIGITS, "fp32")
    trainer.learning_rate.fill_(0.01)
    for _ in range(5):
        trainer.step(IMAGES, torch.arange(8))
    assert bend() > 1e-3


def images_behind_the_convolutions(network: Network) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each convolution computes of ``IMAGES``, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape)}))
    with torch.no_grad():
        network(IMAGES)
    return shapes


@pytest.mark.parametrize("modification", [*RESIDUAL, *CURES, *FOLDING, *TAILORED])
def test_every_convolution_keeps_its_stride_and_its_width(modification: str) -> None:
    name = "cifar-residual8-A" if modification in RESIDUAL else "cifar-plain8"
    shapes = images_behind_the_convolutions(modified(name, modification))
    assert shapes == images_behind_the_convolutions(drawn(name))
    assert shapes["layer1.0.conv1"] == (8, 16, 16, 16)
    assert shapes["layer2.0.conv1"] == (8, 32, 8, 8)
    assert shapes["layer3.0.conv2"] == (8, 64, 4, 4)


def centres(modification: str, seed: int) -> dict[str, Tensor]:
    """Return the matrix in the middle of each convolution, (outputs, inputs); there is nothing around it."""
    found = {}
    for name, module in modified("cifar-plain14", modification, seed).named_modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().clone()
            found[name] = weight[:, :, 1, 1].clone()
            weight[:, :, 1, 1] = 0
            assert not weight.any(), name
    return found


@pytest.mark.parametrize("modification", ["delta-orthogonal", "looks-linear"])
def test_orthogonal_values_are_drawn_anew_for_each_layer_and_each_seed(modification: str) -> None:
    first, again, other = (centres(modification, seed) for seed in (100, 100, 101))
    for name, matrix in first.items():
        assert torch.equal(matrix, again[name]), name
        assert not torch.allclose(matrix, other[name], atol=1e-3), name
        alike = [one for one, value in first.items() if torch.equal(value, matrix)]
        assert alike == [name]
        if modification == "looks-linear" and name != "conv1":
            matrix, mirrored = matrix.chunk(2, dim=1)
            assert torch.equal(mirrored, -matrix), name
        outputs, inputs = matrix.shape
        assert outputs >= inputs
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(inputs), atol=1e-5, rtol=0)


def with_values_of_its_own(network: Network) -> Network:
    """Give every BN another scale and shift, so that its place among the layers shows."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0, generator=generator)
            nn.init.uniform_(module.bias, -1.0, 1.0, generator=generator)
    return network


def normalised(x: Tensor, layer: Any) -> Tensor:
    """Normalise by the batch's own statistics, as BN does in training."""
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    by_channel = (slice(None), None, None)
    scaled = (x - mean[by_channel]) / (variance + 1e-5).sqrt()[by_channel]
    return scaled * layer.weight[by_channel] + layer.bias[by_channel]


def test_a_pre_activation_network_computes_what_he_et_al_2016_write_down() -> None:
    network: Any = with_values_of_its_own(modified("cifar-residual14-A", "pre-activation"))
    with torch.no_grad():
        x = relu(normalised(network.conv1(IMAGES), network.bn1))
        for stage in (network.layer1, network.layer2, network.layer3):
            for block in list(stage)[:2]:
                function = block.conv1(relu(normalised(x, block.bn1)))
                function = block.conv2(relu(normalised(function, block.bn2)))
                x = function + block.shortcut(x)
        expected = network.fc(relu(normalised(x, network.layer3[2][0])).mean(dim=(2, 3)))
        torch.testing.assert_close(network(IMAGES), expected, atol=1e-5, rtol=1e-4)


def test_the_bias_of_skip_init_is_inside_of_its_scalar() -> None:
    layer = Bias(2, scale=0.5)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -3.0]))
        found = layer(torch.full((1, 2, 1, 1), 3.0))
    assert found.flatten().tolist() == [2.0, 0.0]  # half of 3 + 1 and of 3 - 3
    assert Bias(2, scale=None)(torch.ones(1, 2, 1, 1)).flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("name", "last"), [("residual18-A", "bn2"), ("residual50-B", "bn3")])
def test_what_begins_with_zero_is_the_last_layer_of_each_block(name: str, last: str) -> None:
    blocks = [f"layer{stage}.{index}" for stage in (1, 2, 3, 4) for index in range((2, 3)[name == "residual50-B"])]
    zero = {key for key, value in modified(name, "zero-gamma").named_parameters() if not value.any()}
    gammas = {key for key in zero if key.endswith("weight")}
    assert {f"{block}.{last}.weight" for block in blocks} <= gammas
    assert all(key.endswith(f".{last}.weight") for key in gammas)
    scalars = {key for key, value in modified(name, "skip-init").named_parameters() if value.dim() == 0}
    assert {f"{block}.{last}.scale" for block in blocks} <= scalars
    assert all(key.endswith(f".{last}.scale") for key in scalars)


def test_a_looks_linear_classifier_is_the_drawn_one_beside_its_mirror_image() -> None:
    x = torch.tensor([[[[2.0]], [[-1.0]]]])
    assert Mirrored()(x).flatten().tolist() == [2.0, -1.0, -2.0, 1.0]
    wide, narrow = (dict(modified("cifar-plain8", one).named_parameters()) for one in ("looks-linear", "none"))
    assert torch.equal(wide["fc.weight"], torch.cat((narrow["fc.weight"], -narrow["fc.weight"]), dim=1))
    assert torch.equal(wide["fc.bias"], narrow["fc.bias"])


def test_every_filter_of_a_dirac_convolution_is_normalised_by_itself() -> None:
    convolution: Any = modified("cifar-plain8", "dirac").get_submodule("layer1.0.conv1")
    with torch.no_grad():
        convolution.weight.mul_(torch.arange(1.0, 17.0)[:, None, None, None])
        convolution.a.copy_(torch.linspace(0.5, 1.5, 16))
        convolution.b.copy_(torch.linspace(0.2, 0.1, 16))
        x = torch.zeros(1, 16, 3, 3)
        x[0, 3, 1, 1] = 1.0  # what comes out is each filter's weights for channel 3, turned around
        found = convolution(x)[0].flip(1, 2)
        for number in range(16):
            filters = convolution.weight[number]
            expected = convolution.b[number] * filters[3] / filters.square().sum().sqrt()
            expected[1, 1] += convolution.a[number] * (number == 3)
            torch.testing.assert_close(found[number], expected)


def test_a_plain_network_cannot_be_modified_like_a_residual_one() -> None:
    with pytest.raises(ValueError, match="without shortcuts"):
        modified("cifar-plain20", "zero-gamma")


def test_clipping_cuts_the_gradient_of_a_step_to_its_norm() -> None:
    steps = {}
    for clip_norm in (None, 0.01, 1e6):
        recipe = DIGITS.with_changes({"clip_norm": clip_norm, "weight_decay": 0.0, "momentum": 0.0})
        network = drawn("cifar-plain8")
        before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        trainer = Trainer(network, recipe, "fp32")
        trainer.learning_rate.fill_(1)
        trainer.step(IMAGES, torch.arange(8))
        steps[clip_norm] = nn.utils.parameters_to_vector(network.parameters()).detach() - before
    assert torch.equal(steps[None], steps[1e6])
    assert steps[None].norm() > 0.1
    torch.testing.assert_close(steps[0.01].norm(), torch.tensor(0.01), rtol=1e-3, atol=0)
    torch.testing.assert_close(steps[0.01] / 0.01, steps[None] / steps[None].norm(), rtol=1e-2, atol=1e-4)


def test_in_fp16_the_gradient_is_clipped_after_it_was_scaled_back() -> None:
    """Scaled by 1,024, the whole gradient would be far longer than its norm; unscaled, it is shorter."""
    steps = []
    for clip_norm in (None, 1e3):
        recipe = DIGITS.with_changes({"clip_norm": clip_norm, "weight_decay": 0.0, "momentum": 0.0})
        network = drawn("cifar-plain8")
        before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        trainer = Trainer(network, recipe, "fp16")
        trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 1024.0})
        trainer.learning_rate.fill_(1)
        trainer.step(IMAGES, torch.arange(8))
        steps.append(nn.utils.parameters_to_vector(network.parameters()).detach() - before)
    assert 1e3 / 1024 < steps[0].norm() < 1e3
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-3, atol=1e-6)


def test_a_modified_run_and_an_ordinary_one_are_a_pair(make_suite: Any) -> None:
    names = ("cifar-plain8", "cifar-residual8-A")
    experiment = Experiment(
        title="Tiny",
        paper="none",
        figures=("final_errors",),
        networks={"digits": names},
        studies={
            "digits": (
                Study(),
                Study("looks-linear", {"modification": "looks-linear"}, networks=names[:1]),
                Study("zero-gamma", {"modification": "zero-gamma"}, networks=names[1:]),
                Study("clipped", {"clip_norm": 1.0}, networks=names[:1]),
            )
        },
        claims=(
            Claim(
                "Tiny",
                contrast={
                    "cifar-plain8": 1,
                    "cifar-plain8@looks-linear": 1,
                    "cifar-plain8@clipped": 1,
                    "cifar-residual8-A@zero-gamma": -3,
                },
                above=0,
            ),
        ),
        name="tiny",
    )
    suite = make_suite(*names, experiments=(experiment,))
    runs = suite.plan()
    assert len(runs) == 5
    suite.train(runs, Silent())
    (recorded,) = load_recorded_runs(suite.results)
    checks = verify(recorded, experiment)
    assert len(checks) == 6
    assert [line for check in checks for line in check.differences] == []
    parameters = {record.run.study: record.run.parameters for record in recorded.records}
    assert parameters["looks-linear"] > 1.9 * parameters[""]
    suite.check(runs, rerun=False)
