"""evaluate, responses and inspect: images are scaled correctly, recorded errors recur, refusals are clear."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support
from torch.nn.functional import cross_entropy

from plain_vs_residual.data import image_folder as image_folder_module
from plain_vs_residual.data.batches import Part
from plain_vs_residual.data.datasets import digits
from plain_vs_residual.inspection.agreement import agreement
from plain_vs_residual.inspection.errors_and_responses import evaluation_text, measure_responses
from plain_vs_residual.inspection.predictions import Inspection, inspect_run
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import code_hashes
from plain_vs_residual.records.store import Record, read_record, read_run
from plain_vs_residual.seminar import lesions
from plain_vs_residual.settings import CIFAR10, IMAGENET
from plain_vs_residual.subject import from_checkpoint
from plain_vs_residual.subject.from_checkpoint import open_checkpoint
from plain_vs_residual.subject.from_run import recorded_setting
from plain_vs_residual.subject.normalisation import PRESETS, Normalisation
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import Errors
from tests.conftest import Silent, command, network_of
from tests.made_up_records import read_json, reseal, write_run

pytestmark = pytest.mark.usefixtures("undrawn_figures")

CPU = torch.device("cpu")


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


# ---- foreign checkpoints ---------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Write a ResNet-20 with three classes in the format of published checkpoints and return its path."""
    network = network_of("cifar-residual20-A", channels=3, num_classes=3, stem="3x3", stem_width=16, seed=1)
    state = {f"module.{name.replace('fc.', 'linear.')}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 90.0}, tmp_path / "resnet20.th")
    return tmp_path / "resnet20.th"


def subject(checkpoint: Path, data: Path | None, normalise: str = "ours", **changes: Any) -> Subject:
    values: dict[str, Any] = {
        "network": "cifar-residual20-A",
        "setting": None,
        "data": data,
        "normalise": normalise,
        "part": "validation",
        "device": CPU,
        "precision": "fp32",
    }
    return open_checkpoint(checkpoint, **(values | changes))


def pixels_of(folder: Path, size: int) -> torch.Tensor:
    """Read images without using the package: (N, 3, H, W) in 0..1, ordered by class and file name."""
    images = [
        np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        for path in sorted(folder.glob("*/*.png"))
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    ("normalise", "mean", "std"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("0.5,0.4,0.3/0.25,0.2,.5", (0.5, 0.4, 0.3), (0.25, 0.2, 0.5)),
        ("0.5/0.25", (0.5,), (0.25,)),
    ],
)
def test_images_are_normalised_by_channel_as_asked(
    checkpoint: Path, image_folder: Path, normalise: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    opened = subject(checkpoint, image_folder, normalise)
    images = torch.cat([images for images, _ in opened.batches("validation")])
    expected = (pixels_of(image_folder / "val", 32) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)


def test_ours_subtracts_the_mean_of_the_training_images_pixel_by_pixel(
    checkpoint: Path, image_folder: Path
) -> None:
    for part, folder in (("validation", "val"), ("training", "train")):
        opened = subject(checkpoint, image_folder, part=part)
        images = torch.cat([images for images, _ in opened.batches(part)])
        expected = pixels_of(image_folder / folder, 32) - pixels_of(image_folder / "train", 32).mean(dim=0)
        torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
        assert opened.num_images(part) == len(images)


def test_image_files_are_normalised_as_asked_too(checkpoint: Path, image_folder: Path, tmp_path: Path) -> None:
    """The `imagenet` setting normalises images from disk by the same numbers, so the two ways must agree."""
    network = network_of("residual18-B", channels=3, num_classes=1000, stem="7x7", stem_width=64, seed=0)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    ours, imagenet, raw = (
        torch.cat(
            [
                images
                for images, _ in subject(
                    tmp_path / "resnet18.pth", image_folder, normalise, network="residual18-B"
                ).batches("validation", 2)
            ]
        )
        for normalise in ("ours", "imagenet", "0/1")
    )
    assert ours.shape == (2, 3, 224, 224)
    torch.testing.assert_close(ours, imagenet, atol=1e-6, rtol=0)
    assert 0 <= raw.min() < raw.max() <= 1


def test_evaluate_finds_the_error_of_a_network_run_by_hand(checkpoint: Path, image_folder: Path) -> None:
    opened = subject(checkpoint, image_folder, "0.5/0.25")
    errors = opened.errors("validation")
    images = (pixels_of(image_folder / "val", 32) - 0.5) / 0.25
    labels = torch.arange(3).repeat_interleave(3)
    with torch.no_grad():
        logits = opened.network.eval()(images)
    assert errors.error == pytest.approx(100 * (logits.argmax(dim=1) != labels).float().mean().item())
    assert errors.loss == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-4)


def test_evaluate_command(
    checkpoint: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "evaluate",
        checkpoint,
        "--network",
        "cifar-residual20",
        "--data",
        image_folder,
        "--device",
        "cpu",
    )
    assert command(monkeypatch, *arguments, "--normalise", "imagenet") == 0
    printed = capsys.readouterr().out
    assert "resnet20.th as ResNet-20 A" in printed
    assert "images, validation: 9 images, 32 px, --normalise imagenet; fp32 on cpu" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("error "))
    assert ", loss " in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--normalise", "imagnet"), "--normalise imagnet: accepted are ours, imagenet, cifar10, or MEAN/STD"),
        ((), "--normalise is needed"),
        (("--normalise", "0.5,0.5/0.2,0.2"), "gives 2 channels, the images of images have 3"),
        (("--normalise", "ours", "--part", "test"), "accepted are training and validation"),
        (("--normalise", "ours", "--precision", "fp8"), "accepted are bf16, fp32, tf32, fp16"),
        (("--normalise", "ours", "--setting", "digits", "--data", ""), "no such folder"),
        (("--normalise", "ours", "--network", "cifar-residual56"), "180 missing: layer1.3.conv1.weight"),
        (("--normalise", "ours", "--network", "resnet20"), "unknown network 'resnet20'"),
        (("--normalise", "ours", "--setting", "cifar"), "unknown setting 'cifar'"),
        (("--normalise", "ours", "--device", "tpu"), "accepted are cpu, cuda"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    checkpoint: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    common = ("--network", "cifar-residual20", "--data", image_folder, "--device", "cpu")
    if "--data" in arguments:
        arguments = (*arguments[:-1], str(checkpoint.parent / "nowhere"))
    assert command(monkeypatch, "evaluate", checkpoint, *common, *arguments) == 2
    assert words in one_error_line(capsys)


def test_channels_must_be_those_of_the_images(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="sees 3 channels, the images of digits"):
        subject(checkpoint, None, setting="digits")


def test_an_error_needs_the_classes_of_the_images(image_folder: Path, tmp_path: Path) -> None:
    network = network_of("cifar-plain20", channels=3, num_classes=10, stem="3x3", stem_width=16, seed=0)
    torch.save(network.state_dict(), tmp_path / "ten.pt")
    opened = subject(tmp_path / "ten.pt", image_folder, network="cifar-plain20")
    with pytest.raises(ValueError, match=r"tells 10 classes apart, images has 3"):
        evaluation_text(opened, "validation")


def test_weights_that_are_not_finite_are_refused(checkpoint: Path, image_folder: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["module.layer2.0.conv1.weight"][0] = float("nan")
    torch.save(content, checkpoint)
    with pytest.raises(
        ValueError, match=rf"^{checkpoint}: layer2.0.conv1.weight holds values that are not finite"
    ):
        subject(checkpoint, image_folder)


@pytest.mark.parametrize(
    "text", ["", "ours/imagenet", "0.5", "0.5/0", "0.5/-1", "1,2,3/1,1,1", "0.5,/0.2,", "a/b"]
)
def test_normalisations_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"accepted are ours, imagenet, cifar10, or MEAN/STD"):
        Normalisation.parse(text)


def test_presets_are_read_by_name() -> None:
    assert Normalisation.parse("imagenet") is PRESETS["imagenet"]
    assert PRESETS["ours"].mean == ()


# ---- responses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ratios"), [("cifar-residual20-A", 9), ("cifar-plain20", 0)])
def test_responses_command_writes_table_and_figure(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    ratios: int,
) -> None:
    """The network has ten classes and the images have three, which is fine because responses need no labels."""
    network = network_of(name, channels=3, num_classes=10, stem="3x3", stem_width=16, seed=0)
    with torch.no_grad():
        network.get_submodule("layer3.2.bn1").weight.fill_(3.0)  # type: ignore[operator]
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    out = tmp_path / "out"
    arguments = ("--network", name, "--normalise", "imagenet", "--data", image_folder, "--device", "cpu")
    assert command(monkeypatch, "responses", tmp_path / "weights.pt", *arguments, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "mean standard deviation after BN" in printed
    assert "median standard deviation after BN" in printed
    assert "by statistics estimated anew (R)" in printed
    assert str(out / "layer_responses.png") in printed
    assert {path.name for path in out.iterdir()} == {f"layer_responses.{end}" for end in ("csv", "png", "svg")}
    assert "images of images" in (out / "layer_responses.svg").read_text(encoding="utf-8")

    table = pd.read_csv(out / "layer_responses.csv")
    assert table.groupby(["moment", "kind"]).size().to_dict() == {
        (moment, kind): number
        for moment in ("initial", "final", "estimated")
        for kind, number in (("response_std", 19), ("ratio", ratios), ("cosine", ratios), ("shortcut_share", 9))
        if number
    }
    # BN of the untrained twin uses the statistics of these images, so all standard deviations are one.
    responses = table[table["kind"] == "response_std"].set_index(["moment", "layer"])["value"]
    assert responses["initial"].to_numpy() == pytest.approx(1.0, abs=0.02)
    # A fresh state dict holds initial BN statistics, which normalise nothing, so a BN scale of three is visible.
    assert responses["final", "layer3.2.conv1"] > 2 * responses["final", "layer3.1.conv1"] > 0
    # By statistics of these images, the scale of three is all there is.
    assert responses["estimated", "layer3.2.conv1"] == pytest.approx(3.0, rel=0.02)
    assert responses["estimated"].drop("layer3.2.conv1").to_numpy() == pytest.approx(1.0, abs=0.02)


def test_a_subject_keeps_its_weights_while_its_responses_are_measured(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    opened = subject(checkpoint, image_folder)
    before = {name: value.clone() for name, value in opened.network.state_dict().items()}
    measure_responses(opened, "validation", tmp_path / "out")
    after = opened.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---- inspect ---------------------------------------------------------------------------------------------


@pytest.fixture
def run(make_suite: Any) -> Path:
    """Train a tiny network on scikit-learn's digits, as a variant with its own budget; return the run's folder."""
    suite = make_suite("residual18-A", dataset=digits(8))
    suite.train(suite.plan(), Silent())
    folder: Path = suite.plan()[0].folder.path
    return folder


def test_inspect_finds_the_recorded_error_again_and_counts_every_image(run: Path) -> None:
    inspection = inspect_run(run, None, CPU)
    final = read_json(RunFolder(run).final)
    assert inspection.errors.error == pytest.approx(final["validation_error"], abs=1e-9)
    assert inspection.errors.loss == pytest.approx(final["validation_loss"], rel=1e-6)
    assert ": as recorded" in inspection.text()
    assert inspection.text().startswith(f"{inspection.title}\n\n{inspection.remark}\n\n")
    matrix = inspection.matrix
    assert matrix.shape == (10, 10)
    assert matrix.sum() == 360
    assert 100 * (1 - np.trace(matrix) / 360) == pytest.approx(final["validation_error"])
    assert matrix.tolist() == final["confusion"]


def test_inspect_command_prints_and_writes_beside_the_plots(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "inspect", run, "--device", "cpu") == 0
    printed = capsys.readouterr().out
    for words in ("ResNet-18 A, seed 0", "360 validation images", "precision", "macro avg", "Confusion matrix"):
        assert words in printed
    out = run.parents[2] / "plots" / "digits" / "inspect" / run.name
    assert {path.name for path in out.iterdir()} == {
        "classification_report.csv",
        *(f"confusion_matrix.{end}" for end in ("csv", "png", "svg")),
    }
    assert "digits (scikit-learn)" in (out / "confusion_matrix.svg").read_text(encoding="utf-8")

    matrix = pd.read_csv(out / "confusion_matrix.csv", dtype={"true class": str}).set_index("true class")
    assert list(matrix.index) == list(matrix.columns) == list("0123456789")
    labels, predicted = (
        np.repeat(side.ravel(), matrix.to_numpy().ravel()) for side in np.indices((10, 10), dtype=int)
    )
    expected = precision_recall_fscore_support(labels, predicted, zero_division=0)
    report = pd.read_csv(out / "classification_report.csv")
    assert list(report["class"][:10]) == list("0123456789")
    for column, values in zip(("precision", "recall", "f1-score", "support"), expected, strict=True):
        assert report[column][:10].to_numpy() == pytest.approx(values)


def test_other_weights_are_said_to_give_another_error(run: Path) -> None:
    path = RunFolder(run).weights
    weights = torch.load(path, weights_only=True)
    weights["fc.weight"].neg_()
    torch.save(weights, path)
    text = inspect_run(run, None, CPU).text()
    assert "NOT as recorded: recomputed error" in text
    assert "have weights or records been changed?" in text


def test_changed_code_is_named_where_the_error_is_another(run: Path) -> None:
    folder = RunFolder(run)
    record = read_json(folder.run)
    record["sources"]["plain_vs_residual/blocks.py"] = "0" * 16
    write_json(folder.run, record)
    final = read_json(folder.final)
    write_json(folder.final, final | {"validation_error": 100 - final["validation_error"]})
    reseal(folder)
    assert "plain_vs_residual/blocks.py has changed" in inspect_run(run, None, CPU).text()


def test_images_from_elsewhere_must_be_named_again(image_folder: Path, make_suite: Any, tiny_setting: Any) -> None:
    from plain_vs_residual.data.datasets import load_dataset

    dataset = load_dataset(tiny_setting, image_folder)
    suite = make_suite("cifar-plain8", dataset=dataset)
    suite.train(suite.plan(), Silent())
    run = suite.plan()[0].folder.path
    with pytest.raises(ValueError, match=r"was trained on images; give these images again: --data FOLDER"):
        inspect_run(run, None, CPU)
    assert ": as recorded" in inspect_run(run, image_folder, CPU).text()
    # Without one of its images it is a different data set, although its name is the same.
    next((image_folder / "val" / "ant").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"is not what cifar-plain8-.* was trained on"):
        inspect_run(run, image_folder, CPU)


def test_unfinished_runs_and_other_folders_are_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(path: Path) -> str:
        assert command(monkeypatch, "inspect", path, "--device", "cpu") == 2
        return one_error_line(capsys)

    assert "no run in this folder (no run.json)" in refusal(tmp_path)
    assert "no run in this folder (no run.json)" in refusal(tmp_path / "nowhere")
    weights = RunFolder(run).weights
    kept = weights.read_bytes()
    weights.unlink()
    assert "its weights.pt is not here" in refusal(run)
    weights.write_bytes(kept[:100])
    assert "not a readable checkpoint" in refusal(run)
    weights.write_bytes(kept)
    RunFolder(run).final.unlink()
    assert "this run is not finished" in refusal(run)


def test_a_setting_is_read_back_as_it_was_trained_with(run: Path, tiny_setting: Any) -> None:
    record = read_run(RunFolder(run))
    assert recorded_setting(record) == tiny_setting
    for setting in (CIFAR10, IMAGENET):
        configuration = record.configuration.model_copy(update=setting.recipe())
        changed = record.model_copy(update={"setting": setting.name, "configuration": configuration})
        assert recorded_setting(changed) == setting


def test_many_classes_are_drawn_without_numbers_and_not_printed_as_a_table(run: Path, tmp_path: Path) -> None:
    inspection = inspect_run(run, None, CPU)
    many = replace(
        inspection,
        classes=tuple(f"class {number}" for number in range(40)),
        errors=replace(inspection.errors, confusion=(np.eye(40, dtype=int) * 9).tolist()),
    )
    assert "40 classes are too many for a screen" in many.text()
    many.write(tmp_path / "many")
    assert len(pd.read_csv(tmp_path / "many" / "confusion_matrix.csv")) == 40


def test_only_the_part_that_is_looked_at_is_decoded(
    checkpoint: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding all of CIFAR-10 to look at its test images would take six times as long."""
    decoded: list[str] = []
    honest = image_folder_module.decode

    def noted(path: Path) -> Any:
        decoded.append(path.parent.parent.name)
        return honest(path)

    monkeypatch.setattr(image_folder_module, "decode", noted)
    for part, folder in (("validation", "val"), ("training", "train")):
        decoded.clear()
        list(subject(checkpoint, image_folder, normalise="imagenet", part=part).batches(part))
        assert set(decoded) == {folder}
    decoded.clear()
    list(subject(checkpoint, image_folder).batches("validation"))
    assert set(decoded) == {"train", "val"}  # the mean is that of the training images


def test_a_part_that_was_not_decoded_is_not_replaced_by_another(checkpoint: Path, image_folder: Path) -> None:
    opened = subject(checkpoint, image_folder, normalise="imagenet", part="validation")
    assert len(opened.images(100, "validation")[1]) == 9
    with pytest.raises(ValueError, match="was opened with its validation images, not training"):
        opened.images(100, "training")


def test_what_the_seminar_measures_can_be_asked_of_a_checkpoint(image_folder: Path, tmp_path: Path) -> None:
    network = network_of("cifar-residual14-A", channels=3, num_classes=3, seed=5)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    opened = subject(tmp_path / "weights.pt", image_folder, network="cifar-residual14-A")
    before = {name: value.clone() for name, value in opened.network.state_dict().items()}
    measured = lesions.measure(opened)
    assert measured.summary["removable_blocks"] == 6
    (intact,) = (row.value for row in measured.rows if row.quantity == "intact_E")
    assert intact == opened.errors("training").error
    assert all(torch.equal(value, before[name]) for name, value in opened.network.state_dict().items())


def test_what_looks_at_networks_prepares_the_arithmetic_first(
    checkpoint: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a GPU would round convolutions to TF32, silently, and a borderline image could look like damage."""
    prepared: list[Any] = []
    monkeypatch.setattr(from_checkpoint, "prepare_arithmetic", lambda *given, **_: prepared.append(given))
    subject(checkpoint, image_folder)
    assert [(device, arithmetic.precision) for device, arithmetic in prepared] == [(CPU, "fp32")]


def test_the_report_of_a_confusion_matrix_is_that_by_hand() -> None:
    """Of 20 images of a, 15 are guessed; a is guessed 21 times. And so on for b and c."""
    confusion = [[15, 5, 0], [1, 19, 0], [5, 4, 11]]
    made_up: Any = None  # the report looks at the matrix alone
    inspection = Inspection(made_up, ("a", "b", "c"), Errors(0.0, 25.0, 0.0, confusion), "")
    table = inspection.report(as_table=True)
    assert table["accuracy"] == pytest.approx(45 / 60)
    for name, guessed, right in (("a", 21, 15), ("b", 28, 19), ("c", 11, 11)):
        assert table[name]["precision"] == pytest.approx(right / guessed)
        assert table[name]["recall"] == pytest.approx(right / 20)
        assert table[name]["support"] == 20


# ---- is an error the recorded one? -----------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Record:
    """Return a record of this code and torch: training error 4.6 %, validation error 6.6 %."""
    record = read_record(write_run(tmp_path, "digits", "plain18", 0))
    assert record.final
    assert (record.final.training_error, record.final.validation_error) == (4.6, 6.6)
    environment = record.run.environment.model_copy(update={"torch": str(torch.__version__)})
    return replace(
        record, run=record.run.model_copy(update={"sources": code_hashes(), "environment": environment})
    )


def agreed(record: Record, error: float, part: Part, device: str = "cpu", precision: str = "fp32") -> str:
    subject: Any = SimpleNamespace(device=torch.device(device), precision=precision)
    return agreement(record, Errors(0.0, error, 0.0, [[500, 300], [100, 100]]), part, subject)


@pytest.mark.parametrize(("part", "own", "others"), [("training", 4.6, 6.6), ("validation", 6.6, 4.6)])
def test_an_error_is_compared_with_that_of_its_own_part(
    recorded: Record, part: Part, own: float, others: float
) -> None:
    assert agreed(recorded, own, part) == f"recomputed error {own:.4f} %: as recorded"
    text = agreed(recorded, others, part)
    assert text.startswith(
        f"NOT as recorded: recomputed error {others:.4f} %, recorded {own:.4f} % (20 images); code, device"
    )
    assert "NOT" in agreed(recorded, own + 1e-5, part)
    assert "NOT" not in agreed(recorded, own + 1e-7, part)


def test_what_is_different_now_is_named_each_by_itself(recorded: Record) -> None:
    def why(record: Record, **changes: str) -> str:
        return agreed(record, 50.0, "training", **changes).partition("images); ")[2]

    assert why(recorded, device="meta") == "device was cpu, is meta"
    assert why(recorded, precision="bf16") == "precision was fp32, is bf16"
    environment = recorded.run.environment.model_copy(update={"torch": "1.0"})
    older = replace(recorded, run=recorded.run.model_copy(update={"environment": environment}))
    assert why(older) == f"torch was 1.0, is {torch.__version__}"
    sources = recorded.run.sources | {"plain_vs_residual/blocks.py": "0000"}
    changed = replace(recorded, run=recorded.run.model_copy(update={"sources": sources}))
    assert why(changed) == "plain_vs_residual/blocks.py has changed"
    assert recorded.final
    lost = replace(recorded, final=recorded.final.model_copy(update={"outcome": "diverged"}))
    assert agreed(lost, 4.6, "training").endswith(": as recorded\nnote: this run diverged")


def test_what_a_copied_run_predicts_is_written_beside_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "kept" / "my run"
    shutil.copytree(run, copied)
    assert command(monkeypatch, "inspect", copied, "--device", "cpu") == 0
    assert (copied.parent / "inspect" / "my run" / "confusion_matrix.csv").is_file()
    assert [path.name for path in tmp_path.iterdir() if "plots" in path.name] == []
