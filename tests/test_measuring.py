"""The command measure: of a checkpoint it gives what is measured of the run, or says why it does not."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.datasets import digits
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.experiment import EXPERIMENTS, Experiment, Study, load_experiment
from plain_vs_residual.inspection import measuring
from plain_vs_residual.inspection.measuring import WITHOUT_CLASSES, WORDS, measure
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.records.store import read_record
from plain_vs_residual.report.figures.one_network import AS_ITS_EXPERIMENT
from plain_vs_residual.run import Job
from plain_vs_residual.seminar import lesions, path_lengths
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.subject.from_run import open_run
from plain_vs_residual.subject.padding import zeros_moved_to_the_end
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.subject.weights_file import open_trained, write_weights_file
from plain_vs_residual.vocabulary import columns, measurable
from tests.conftest import Silent, Suite, command, network_of
from tests.test_predictions import subject as opened

pytestmark = pytest.mark.usefixtures("small_figures")
CPU = torch.device("cpu")
PLAIN, RESIDUAL = "cifar-plain8", "cifar-residual8-A"
MEASURED = (
    *("folding", "gradient_norms", "lesions", "loss_landscape", "path_lengths"),
    *("residual_functions", "shattered_gradients", "signal_propagation"),
)
OF_RESIDUAL = ("path_lengths", "residual_functions")


TINY = DIGITS.with_changes(
    {
        **{"image_size": 8, "stem_width": 4, "batch_size": 8, "evaluations": 1},
        **{"epochs": None, "iterations": 12, "crop_padding": 1, "flip": True},
    }
)


@cache
def trained(network: str = RESIDUAL, modification: str = "none") -> tuple[Suite, Job]:
    """Train a tiny network on scikit-learn's digits, once for all tests."""
    study = Study("changed" if modification != "none" else "", {"modification": modification})
    experiment = Experiment(
        title="Tiny",
        paper="none",
        figures=("final_errors",),
        networks={"digits": (network,)},
        studies={"digits": (study,)},
        claims=(),
        name="tiny",
    )
    folder = Path(mkdtemp(dir=FOLDER)) / "results"
    suite = Suite((experiment,), TINY, digits(8), folder, seeds=range(1))
    suite.train(suite.plan(), Silent())
    (job,) = suite.plan()
    return suite, job


@pytest.fixture(scope="module", autouse=True)
def _runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    global FOLDER  # noqa: PLW0603 - the tests of a module share their runs
    FOLDER = tmp_path_factory.mktemp("runs")
    yield
    trained.cache_clear()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take few images and draws: what is compared is taken from as many."""
    for name in MEASURED:
        module = measuring.import_module(f"plain_vs_residual.seminar.{name}")
        if hasattr(module, "NUM_IMAGES"):
            monkeypatch.setattr(module, "NUM_IMAGES", 40)
    for module, name, value in (
        (lesions, "DRAWS", 2),
        (path_lengths, "DRAWS", 2),
        (measuring.import_module("plain_vs_residual.seminar.loss_landscape"), "DIRECTIONS", 2),
        (measuring.import_module("plain_vs_residual.seminar.loss_landscape"), "PLANE", 3),
        (measuring.import_module("plain_vs_residual.seminar.loss_landscape"), "LINE", 3),
    ):
        monkeypatch.setattr(module, name, value)


# ---- the same as of the run ------------------------------------------------------------------------------


def test_these_are_measured() -> None:
    assert set(MEASURED) <= set(measurable())
    assert "construction" not in measurable()
    for name in MEASURED:
        assert {column for column in columns(name)[-8:] if "10" not in column} & set(WORDS) or name == OF_RESIDUAL[
            1
        ]


def ends(rows: Iterator[MeasuredRow] | Any, last: int) -> list[MeasuredRow]:
    return [row for row in rows if row.iteration in (0, last)]


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_checkpoint_gives_what_the_run_gives(tmp_path: Path, kind: str) -> None:
    """Of the file, of the folder, and of the run as the suite measures it, all numbers to the last digit."""
    suite, job = trained(PLAIN if kind == "plain" else RESIDUAL)
    write_weights_file(job.folder.path, tmp_path / "run.safetensors")
    for name in MEASURED:
        if name in OF_RESIDUAL and kind == "plain":
            continue
        function = measuring.measuring(name)
        of_run = function(FinishedRun.of(job, CPU, suite.dataset_of(job)))
        of_folder, of_file = (
            function(open_trained(path)) for path in (job.folder.path, tmp_path / "run.safetensors")
        )
        assert list(of_file.rows) == list(of_folder.rows) == ends(of_run.rows, 12), name
        shared = {
            key: value
            for key, value in of_run.summary.items()
            if math.isfinite(value) and "iteration_10" not in key
        }
        assert {key: of_file.summary[key] for key in shared} == shared
        assert of_file.rows


def test_before_and_after_training_are_two_networks() -> None:
    _, job = trained()
    subject = open_trained(job.folder.path)
    (first, untrained), (last, after) = subject.during_training([0, 1, 5, subject.num_iterations])
    assert (first, last) == (0, 12)
    assert untrained.get_parameter("conv1.weight").ne(after.get_parameter("conv1.weight")).any()
    assert [iteration for iteration, _ in subject.during_training([3, 12])] == [12]


# ---- by hand, of networks from elsewhere -----------------------------------------------------------------


def test_gradients_of_torchvisions_network_are_those_of_torchvision(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plain_vs_residual.seminar.gradient_norms.NUM_IMAGES", 4)
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    subject = opened(tmp_path / "resnet18.pth", image_folder, "imagenet", network="residual18-B", part="training")
    lines = list(measure(subject, "gradient_norms", folder=tmp_path / "out"))
    images, labels = subject.images(4)
    theirs.train()
    cross_entropy(theirs(images), labels).backward()
    table = pd.read_csv(tmp_path / "out" / "gradient_norms.csv")
    found = table[(table["quantity"] == "weight") & (table["moment"] == "trained")].set_index("place")["value"]
    expected = {
        name: module.weight.grad.norm().item()
        for name, module in theirs.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.weight.grad is not None
    }
    assert list(found.index) == list(expected)
    assert found.to_numpy() == pytest.approx(list(expected.values()), rel=1e-3)
    assert any("how it began is not in the file" in line for line in lines)


def published(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Write a network as a much used repository does: module., linear, no counters, zeros on both sides."""
    network = network_of(RESIDUAL, channels=3, num_classes=3, seed=4)
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
    state = network.state_dict()
    named = {
        f"module.{name.replace('fc.', 'linear.')}": value for name, value in state.items() if "num_b" not in name
    }
    torch.save({"state_dict": named, "best_prec1": 91.7}, folder / "resnet8.th")
    return folder / "resnet8.th", state


def test_lesions_of_a_published_network_are_those_by_hand(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, state = published(tmp_path)
    options = ("--network", RESIDUAL, "--normalise", "cifar10", "--data", image_folder, "--device", "cpu")
    out = ("--out", tmp_path / "out")
    assert command(monkeypatch, "measure", "lesions", path, *options, "--zero-padding", "both", *out) == 0
    printed = capsys.readouterr().out
    assert "blocks that can be taken out: 3" in printed
    assert str(tmp_path / "out" / "lesions.png") in printed
    network = network_of(RESIDUAL, channels=3, num_classes=3)
    network.load_state_dict(zeros_moved_to_the_end(state, Architecture.parse(RESIDUAL)))
    network.eval()
    subject = opened(path, image_folder, "cifar10", network=RESIDUAL, part="training", zero_padding="both")
    images, labels = subject.images(40)
    expected = {}
    for name in ("layer1.0", "layer2.0", "layer3.0"):
        block: Any = network.get_submodule(name)
        last, kept = block.bn2, {key: value.clone() for key, value in block.bn2.state_dict().items()}
        nn.init.zeros_(last.weight)  # F(x) = 0: what is left is relu(shortcut(x))
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            expected[name] = 100 * (network(images).argmax(dim=1) != labels).float().mean().item()
        last.load_state_dict(kept)
    table = pd.read_csv(tmp_path / "out" / "lesions.csv")
    removed = table[table["quantity"] == "removed_E"].set_index("place")["value"]
    assert removed.to_dict() == pytest.approx(expected, abs=1e-4)
    assert (tmp_path / "out" / "lesions.svg").is_file()


def test_another_order_of_classes_is_another_number_and_another_folder(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plain_vs_residual.inspection.errors_and_responses.ROOT", tmp_path)
    path, _ = published(tmp_path)
    options = ("--network", RESIDUAL, "--normalise", "ours", "--data", image_folder, "--device", "cpu")
    for order in ((), ("--classes", "bee,cat,ant")):
        for measurement in ("gradient_norms", "residual_functions"):
            assert command(monkeypatch, "measure", measurement, path, *options, *order) == 0
    folders = sorted((tmp_path / "plots" / "measured").iterdir())
    assert len(folders) == 2
    assert all(folder.name.startswith("resnet8-") for folder in folders)
    first, second = (pd.read_csv(folder / "gradient_norms.csv")["value"] for folder in folders)
    assert first.ne(second).any()
    assert all((folder / "residual_functions.csv").is_file() for folder in folders)


# ---- what is written and said ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEASURED)
def test_each_measurement_has_a_table_and_a_figure(tmp_path: Path, name: str) -> None:
    _, job = trained(PLAIN if name == "folding" else RESIDUAL)
    subject, record = open_trained(job.folder.path), read_record(job.folder)
    lines = list(measure(subject, name, record, tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / f"{name}.csv")
    assert set(table["moment"]) <= {"untrained", "trained"}
    assert set(table["network"]) == {job.run.architecture.name}
    assert set(table["seed"]) == {0}
    again = measuring.tabulated(subject, measuring.measuring(name)(subject))
    assert table["value"].to_numpy() == pytest.approx(again["value"].to_numpy(), rel=1e-6, nan_ok=True)
    for path in [tmp_path / "out" / f"{name}.csv", tmp_path / "out" / f"{name}.png"]:
        assert str(path) in lines
    assert (tmp_path / "out" / f"{name}.svg").stat().st_size > 5_000
    assert lines[0].startswith(f"{job.folder.path.name} as ")
    numbers = [line for line in lines if ": " in line and not line.startswith(("note", "measured", str(tmp_path)))]
    assert len(numbers) > 1
    assert ("of the untrained network alone" in "".join(lines)) == (name == "signal_propagation")
    second = list(measure(subject, name, record, tmp_path / "out"))
    assert any("in place of the table and figure" in line for line in second)


def test_the_gradient_is_drawn_before_and_after_training(tmp_path: Path) -> None:
    _, job = trained()
    list(measure(open_trained(job.folder.path), "gradient_norms", read_record(job.folder), tmp_path))
    drawn = (tmp_path / "gradient_norms.svg").read_text(encoding="utf-8")
    assert drawn.count(">untrained<") == drawn.count(">trained<") == 3


def test_figures_are_those_of_the_experiments() -> None:
    for name in AS_ITS_EXPERIMENT:
        experiment = load_experiment(EXPERIMENTS / f"{name}.py")
        assert experiment.measurement == name
        assert experiment.figures[0] == name


def test_a_network_that_was_grown_is_said_not_to_have_begun_as_drawn(tmp_path: Path) -> None:
    _, job = trained()
    record = read_record(job.folder)
    configuration = record.run.configuration.model_copy(update={"source_weights": "0" * 64})
    grown = replace(record, run=record.run.model_copy(update={"configuration": configuration}))
    subject = open_run(record, None, CPU, "fp32")
    assert "was grown from another" in "\n".join(measure(subject, "gradient_norms", grown, tmp_path))
    assert "was grown" not in "\n".join(measure(subject, "gradient_norms", record, tmp_path))


# ---- what makes no sense ---------------------------------------------------------------------------------


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert command(monkeypatch, "measure", *words, "--device", "cpu") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("network", "measurement", "words"),
    [
        (PLAIN, "path_lengths", "plain-8 has one path, through all its layers; path_lengths is about residual"),
        (PLAIN, "residual_functions", "plain-8 has no shortcut to compare F(x) with"),
        (RESIDUAL, "folding", "ResNet-8 A does not fold: its shortcuts pass ReLUs"),
        (
            RESIDUAL,
            "construction",
            "construction: looks at how a run was trained, which no weights tell; accepted",
        ),
        (
            RESIDUAL,
            "lesion",
            "lesion: there is no such measurement (did you mean lesions?); accepted are folding,",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: str,
    measurement: str,
    words: str,
) -> None:
    _, job = trained(network)
    assert words in refusal(monkeypatch, capsys, measurement, job.folder.path)


@pytest.mark.parametrize(
    ("network", "modification", "measurement", "words"),
    [
        (RESIDUAL, "pre-activation", "lesions", "layer1.0: a PreActivationBlock; it is not known what is left"),
        (RESIDUAL, "pre-activation", "path_lengths", "layer1.0: a PreActivationBlock; paths are followed through"),
        (PLAIN, "looks-linear", "lesions", "plain-8: it has no block that could be taken out"),
        (PLAIN, "looks-linear", "folding", "only ordinary convolutions with BN behind them can be folded"),
        (PLAIN, "dirac", "folding", "only ordinary convolutions with BN behind them can be folded"),
    ],
)
def test_of_a_modified_network_nothing_is_measured_that_would_be_of_another(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: str,
    modification: str,
    measurement: str,
    words: str,
) -> None:
    _, job = trained(network, modification)
    assert words in " ".join(refusal_with_heading(monkeypatch, capsys, measurement, job.folder.path))


def refusal_with_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> list[str]:
    assert command(monkeypatch, "measure", *words, "--device", "cpu") == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", MEASURED)
def test_other_classes_than_those_of_the_images_are_refused_where_they_count(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("plain_vs_residual.seminar.shattered_gradients.LINES", 2)
    network = network_of(PLAIN if name == "folding" else RESIDUAL, channels=3, num_classes=10, seed=4)
    torch.save(network.state_dict(), tmp_path / "ten.pt")
    subject: Subject = opened(
        tmp_path / "ten.pt", image_folder, network=PLAIN if name == "folding" else RESIDUAL, part="training"
    )
    if name in WITHOUT_CLASSES:
        list(measure(subject, name, folder=tmp_path / "out"))
        values = pd.read_csv(tmp_path / "out" / f"{name}.csv")["value"]
        assert np.isfinite(values.to_numpy()).all()
    else:
        with pytest.raises(ValueError, match=r"tells 10 classes apart, images has 3; .* needs the classes it was"):
            list(measure(subject, name, folder=tmp_path / "out"))
        assert not (tmp_path / "out").exists()


def test_a_relabelled_network_is_doubted_as_evaluate_doubts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, job = trained()
    doubted: list[Any] = []
    monkeypatch.setattr(measuring, "doubts", lambda errors, subject: doubted.append(errors) or ["note: doubt"])
    subject = open_trained(job.folder.path)
    assert "note: doubt" in list(measure(subject, "gradient_norms", None, tmp_path))
    assert np.sum(doubted[0].confusion) == 40
    assert "note: doubt" not in list(measure(subject, "gradient_norms", read_record(job.folder), tmp_path))
    assert "note: doubt" not in list(measure(subject, "residual_functions", None, tmp_path))
