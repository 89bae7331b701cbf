"""evaluate and responses: orders of classes, networks of the same names, runs' folders, what replaces what."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.datasets import digits
from plain_vs_residual.inspection import errors_and_responses, looking
from plain_vs_residual.inspection.relabelling import best_relabelling, explaining
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.subject.class_order import classes_in, with_order
from plain_vs_residual.subject.namesakes import namesakes, what_was_taken
from plain_vs_residual.subject.normalisation import OURS
from plain_vs_residual.training.evaluation import Errors
from tests.conftest import Silent, command, network_of
from tests.made_up_records import read_json, reseal, write_json, write_run

pytestmark = pytest.mark.usefixtures("undrawn_figures")

TWELVE = [str(number) for number in range(12)]


def grey_folder(folder: Path, names: Sequence[str]) -> Path:
    """Write flat images whose brightness grows from name to name, in the order of the names."""
    for part, num in (("train", 1), ("val", 2)):
        for number, name in enumerate(names):
            (folder / part / name).mkdir(parents=True)
            for copy in range(num):
                image = Image.new("RGB", (32, 32), (10 + 20 * number,) * 3)
                image.save(folder / part / name / f"{copy}.png")
    return folder


def save_reader(path: Path, num_classes: int) -> Path:
    """Save a plain-8 that reads brightness without error: output k is largest for the k-th of the flat images."""
    network = network_of("cifar-plain8", channels=3, num_classes=num_classes)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.zero_()
            if name.endswith("bn1.weight") or name.endswith("bn2.weight"):
                value.fill_(1)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight[0, 0, 1, 1] = 1  # the first channel goes through, as it is
        # The logit of k is a line in brightness x: k's tangent of a parabola touches it where x is k's own.
        own = torch.tensor([(10 + 20 * number) / 255 for number in range(num_classes)])
        network.fc.weight[:, 0] = 2 * own
        network.fc.bias.copy_(-(own**2))
        network.fc.weight.mul_((1 + 1e-5) ** (7 / 2))  # seven times BN divides by the root of 1 + eps
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    return path


def evaluated(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoint: Path,
    data: Path,
    *more: object,
    network: str = "cifar-plain8",
) -> str:
    options = ("--network", network, "--normalise", "0/1", "--data", data, "--device", "cpu")
    assert command(monkeypatch, "evaluate", checkpoint, *options, *more) == 0
    return capsys.readouterr().out


# ---- the order of classes --------------------------------------------------------------------------------


def test_labels_that_are_numbers_are_found_to_be_in_another_order_than_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders 0 to 11, sorted as text, are 0, 1, 10, 11, 2, ...: ten of twelve classes are read as another."""
    data, checkpoint = grey_folder(tmp_path / "images", TWELVE), save_reader(tmp_path / "x.pth", 12)
    printed = evaluated(monkeypatch, capsys, checkpoint, data)
    assert "error 83.33 %" in printed
    assert "0 = 0, 1 = 1, 2 = 10, 3 = 11, 4 = 2, 5 = 3" in printed
    assert "(as text: 11 stands before 2)" in printed
    assert "under another order of classes it would err by 0.00 %" in printed
    assert f"--classes '{','.join(TWELVE)}'" in printed
    assert "--normalise fit" not in printed
    printed = evaluated(monkeypatch, capsys, checkpoint, data, "--classes", ",".join(TWELVE))
    assert "error 0.00 %" in printed
    assert "order of classes, as --classes gives it: 0 = 0, 1 = 1, 2 = 2, " in printed
    assert "note: under" not in printed


def test_classes_by_other_names_are_found_to_be_in_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CIFAR-10's classes in folders called plane, car and so on: sorted, seven of ten stand elsewhere."""
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    data, checkpoint = grey_folder(tmp_path / "images", names), save_reader(tmp_path / "x.pth", 10)
    printed = evaluated(monkeypatch, capsys, checkpoint, data)
    moved = sum(one != other for one, other in zip(names, sorted(names), strict=True))
    assert f"error {10 * moved:.2f} %" in printed
    assert "it would err by 0.00 %" in printed
    (tmp_path / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    for given in (",".join(names), tmp_path / "classes.txt"):
        assert "error 0.00 %" in evaluated(monkeypatch, capsys, checkpoint, data, "--classes", given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a,b", "lacking: c"),
        ("a,b,c,d", "not among the classes of tiny: d"),
        ("a,b,b", "lacking: c"),
        ("a,b,c,c", "4 names for 3 classes"),
        ("nowhere.txt", "not among the classes of tiny: nowhere.txt"),
    ],
)
def test_orders_that_are_not_of_these_classes_are_one_line(tiny_dataset: Any, given: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"--classes: .*{words}"):
        with_order(tiny_dataset, given)


def test_an_order_changes_labels_and_names_together(tiny_dataset: Any) -> None:
    whole = replace(tiny_dataset, test=tiny_dataset.validation)
    ordered = with_order(whole, "c, a, b")
    assert ordered.classes == ("c", "a", "b")
    for part in ("training", "validation", "test"):
        before = [whole.classes[int(label)] for label in getattr(whole, part).labels]
        assert [ordered.classes[int(label)] for label in getattr(ordered, part).labels] == before
        assert torch.equal(getattr(ordered, part).pixels, getattr(whole, part).pixels)


def test_an_order_that_the_file_itself_gives_is_said_not_to_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, checkpoint = grey_folder(tmp_path / "images", "abcd"), save_reader(tmp_path / "x.pth", 4)
    content = torch.load(checkpoint, weights_only=True)
    said = "note: the file itself has its classes in the order d,a,b,c, which was not taken"
    for written in (
        {"class_to_idx": {"a": 1, "b": 2, "c": 3, "d": 0}},
        {"meta": {"CLASSES": ("d", "a", "b", "c")}},
        {"config": {"id2label": {0: "d", 1: "a", 2: "b", 3: "c"}}},
    ):
        torch.save(content | written, checkpoint)
        assert said in evaluated(monkeypatch, capsys, checkpoint, data)
        assert said not in evaluated(monkeypatch, capsys, checkpoint, data, "--classes", "d,a,b,c")
    torch.save(content | {"classes": ["a", "b", "c", "d"]}, checkpoint)
    assert "the file itself" not in evaluated(monkeypatch, capsys, checkpoint, data)


# ---- the best relabelling --------------------------------------------------------------------------------


def errors_of(confusion: Any) -> Errors:
    matrix = np.array(confusion)
    return Errors(0.0, float(100 * (1 - np.trace(matrix) / matrix.sum())), 0.0, matrix.tolist())


def test_the_best_relabelling_is_found_by_hand() -> None:
    confusion = [[1, 8, 1], [0, 2, 8], [7, 2, 1]]
    best = best_relabelling(confusion)
    assert best.order == (2, 0, 1)  # output 0 is class 2, and so on
    assert best.error == pytest.approx(100 * (1 - 23 / 30))


def test_what_needs_no_relabelling_is_left_as_it_is() -> None:
    assert best_relabelling([[3, 1], [1, 3]]).order == (0, 1)
    assert best_relabelling([[0, 9, 0], [0, 9, 0], [0, 9, 0]]).error == pytest.approx(100 * 2 / 3)
    never = best_relabelling([[9, 0, 0], [9, 0, 0], [9, 0, 0]])
    assert never.order == (0, 1, 2)


@pytest.mark.parametrize(
    ("confusion", "explained"),
    [
        (np.roll(np.eye(10, dtype=int) * 50, 1, axis=1), True),
        (np.eye(10, dtype=int) * 50, False),
        (np.eye(10, dtype=int)[[1, 0, *range(2, 10)]] * 50, True),  # two classes for each other
        (np.roll(np.eye(10, dtype=int) * 30 + 5, 3, axis=1), True),  # a network that errs by itself
        (np.full((10, 10), 5), False),
        (np.eye(10, dtype=int) * 3 + 5, False),  # near chance, in the right order
        (np.tile([50, *[0] * 9], (10, 1)), False),  # always the same class
    ],
)
def test_a_relabelling_explains_errors_that_it_takes_away(confusion: Any, explained: bool) -> None:
    assert (explaining(errors_of(confusion)) is not None) == explained


def test_few_images_in_many_classes_are_no_evidence() -> None:
    """Twelve images in twelve classes, predicted at random: the best relabelling errs by less than half."""
    confusion = np.zeros((12, 12), dtype=int)
    for label, predicted in enumerate([3, 7, 3, 1, 9, 0, 11, 7, 2, 5, 9, 4]):
        confusion[label, predicted] += 1
    errors = errors_of(confusion)
    assert best_relabelling(confusion).error < errors.error / 2
    assert explaining(errors) is None


# ---- networks whose weights have the same names ----------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "others"),
    [
        ("plain34", ["residual34-A"]),
        ("residual34-A", ["plain34"]),
        ("residual34-B", []),
        ("cifar-plain20", ["cifar-residual20-A"]),
        ("residual50-B", ["residual50-B-1x1"]),
        ("residual50-B-1x1", ["residual50-B"]),
    ],
)
def test_namesakes_are_the_networks_whose_weights_load_as_each_other(network: str, others: list[str]) -> None:
    assert [one.name for one in namesakes(Architecture.parse(network))] == others
    state = network_of(network, channels=3, num_classes=2, stem_width=4).state_dict()
    for other in others:
        network_of(other, channels=3, num_classes=2, stem_width=4).load_state_dict(state)


def test_a_network_that_the_file_cannot_tell_from_another_is_said_to_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, checkpoint = grey_folder(tmp_path / "images", "abcd"), save_reader(tmp_path / "x.pth", 4)
    printed = evaluated(monkeypatch, capsys, checkpoint, data)
    assert (
        "note: taken for plain-8, as --network says; the file cannot tell, because weights of ResNet-8 A"
        in printed
    )


# ---- several sets of weights -----------------------------------------------------------------------------


def images_and_two_sets(folder: Path) -> tuple[Path, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return images of four classes, weights that take all of them for the second, and weights that read them."""
    good = save_reader(folder / "x.pth", 4)
    average = torch.load(good, weights_only=True)["state_dict"]
    raw = {name: value.clone() for name, value in average.items()}
    raw["fc.bias"][:] = torch.tensor([0.0, 9.0, 0.0, 0.0])
    return grey_folder(folder / "images", "abcd"), raw, average


def test_evaluate_says_which_weights_it_took_and_takes_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, raw, average = images_and_two_sets(tmp_path)
    torch.save({"state_dict": raw, "state_dict_ema": average}, tmp_path / "both.pth")
    printed = evaluated(monkeypatch, capsys, tmp_path / "both.pth", data)
    assert "weights: state_dict; the file also holds state_dict_ema (--weights NAME takes it)" in printed
    assert "error 75.00 %" in printed
    printed = evaluated(monkeypatch, capsys, tmp_path / "both.pth", data, "--weights", "state_dict_ema")
    assert "weights: state_dict_ema; the file also holds state_dict (" in printed
    assert "error 0.00 %" in printed


def test_weights_that_do_not_fit_name_the_other_sets_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = grey_folder(tmp_path / "images", "abcd"), tmp_path / "distilled.pth"
    student, teacher = (
        network_of(name, channels=3, num_classes=4).state_dict() for name in ("cifar-plain8", "cifar-plain14")
    )
    torch.save({"student": student, "teacher": teacher}, path)
    given = ("--network", "cifar-plain14", "--normalise", "0/1", "--data", data, "--device", "cpu")
    assert command(monkeypatch, "evaluate", path, *given) == 2
    assert "weights: student; the file also holds teacher" in capsys.readouterr().err
    assert command(monkeypatch, "evaluate", path, *given, "--weights", "teacher") == 0


# ---- runs' folders ---------------------------------------------------------------------------------------


@pytest.fixture
def run(make_suite: Any) -> Path:
    """Train a tiny plain network on scikit-learn's digits; return the run's folder."""
    suite = make_suite("plain18", dataset=digits(8))
    suite.train(suite.plan(), Silent())
    folder: Path = suite.plan()[0].folder.path
    return folder


def test_a_runs_folder_is_evaluated_by_what_its_record_says(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    final = read_json(RunFolder(run).final)
    for part in ("validation", "training"):
        assert command(monkeypatch, "evaluate", run, "--part", part, "--device", "cpu") == 0
        printed = capsys.readouterr().out
        assert f"error {final[f'{part}_error']:.2f} %" in printed
        assert ": as recorded" in printed
        assert "plain-18 (" in printed
        assert "8 px, --normalise ours; fp32 on cpu" in printed
        assert "order of classes, as recorded: 0 = 0, " in printed
    for given in (("--network", "plain18"), ("--setting", "digits"), ("--normalise", "ours")):
        assert command(monkeypatch, "evaluate", run, *given, "--device", "cpu") == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--network", "residual18-A"), "its record says plain18; leave it out"),
        (("--setting", "fashion"), "its record says digits"),
        (("--normalise", "imagenet"), "its record says ours"),
        (("--classes", "1,2"), "this is for checkpoints from elsewhere"),
        (("--weights", "ema"), "this is for checkpoints from elsewhere"),
        (("--zero-padding", "both"), "this is for checkpoints from elsewhere"),
    ],
)
def test_what_the_record_says_otherwise_is_refused(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, str],
    words: str,
) -> None:
    assert command(monkeypatch, "evaluate", run, *given, "--device", "cpu") == 2
    assert words in capsys.readouterr().err


def test_another_precision_is_named_as_why_an_error_is_not_the_recorded_one(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in bf16 evaluated in fp32 may have an image or two on the other side."""
    folder = RunFolder(run)
    record, final = read_json(folder.run), read_json(folder.final)
    record["arithmetic"]["precision"] = "bf16"
    write_json(folder.run, record)
    write_json(folder.final, final | {"validation_error": final["validation_error"] - 100 / 360})
    reseal(folder)
    assert command(monkeypatch, "evaluate", run, "--precision", "fp32", "--device", "cpu") == 0
    assert "(1 images); precision was bf16, is fp32" in capsys.readouterr().out
    network = ("--network", "plain18", "--setting", "digits", "--normalise", "ours", "--device", "cpu")
    assert command(monkeypatch, "evaluate", folder.weights, *network) == 2  # the tiny setting's stem is narrower
    assert "4x1x3x3 in the file" in capsys.readouterr().err


def test_weights_beside_a_record_are_told_what_it_says(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_setting: Any
) -> None:
    from plain_vs_residual.subject import from_checkpoint

    monkeypatch.setattr(from_checkpoint, "find_setting", lambda name: tiny_setting)
    weights = RunFolder(run).weights
    options = ("--setting", "digits", "--normalise", "ours", "--device", "cpu")
    assert command(monkeypatch, "evaluate", weights, "--network", "residual18-A", *options) == 0
    printed = capsys.readouterr().out
    assert (
        "note: the record beside it (run.json) says plain-18, not ResNet-18 A (weights of both have the same "
        f"names and shapes, and load as each other); the folder {run} in place of the file" in printed
    )
    assert command(monkeypatch, "evaluate", weights, "--network", "plain18", "--precision", "bf16", *options) == 0
    assert "(run.json) says fp32, not bf16 (rounded otherwise" in capsys.readouterr().out
    assert command(monkeypatch, "evaluate", weights, "--network", "plain18", *options) == 0
    assert "the record beside it" not in capsys.readouterr().out


def test_another_setting_beside_weights_is_named_by_its_name_or_by_what_it_sees(tmp_path: Path) -> None:
    weights = write_run(tmp_path, "digits", "plain18", 0).weights

    def said(**changes: Any) -> str:
        setting = DIGITS.with_changes(changes)
        return what_was_taken(weights, Architecture.parse("plain18"), setting, OURS, "fp32")

    assert said() == ""
    assert "(run.json) says setting digits, not mine; the folder" in said(name="mine")
    assert "(run.json) says setting digits with image size 16, not digits; the folder" in said(image_size=32)


def test_files_and_folders_that_are_no_runs_are_called_what_they_are(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "inspect", RunFolder(run).weights) == 2
    assert "a file, where the folder of a run is needed" in capsys.readouterr().err
    assert command(monkeypatch, "inspect", run.parent) == 2
    assert f"no run in this folder (no run.json); give one such as {run}" in capsys.readouterr().err
    assert command(monkeypatch, "evaluate", run.parent) == 2
    assert f"(a folder of runs); give one of them, such as {run}" in capsys.readouterr().err
    assert command(monkeypatch, "evaluate", RunFolder(run).weights) == 2
    assert "--network is needed" in capsys.readouterr().err


# ---- responses -------------------------------------------------------------------------------------------


def test_responses_of_two_checkpoints_of_one_name_do_not_replace_each_other(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors_and_responses, "ROOT", tmp_path)
    monkeypatch.setattr(looking, "LINE_SECONDS", 0.0)
    data = grey_folder(tmp_path / "images", "abcd")
    given = ("--network", "cifar-plain8", "--data", data, "--device", "cpu")
    tables = set()
    for seed in (1, 2):
        path = tmp_path / f"run{seed}" / "model_best.pth.tar"
        path.parent.mkdir()
        torch.save(network_of("cifar-plain8", channels=3, num_classes=4, seed=seed).state_dict(), path)
        for more in (
            ("--normalise", "0/1"),
            ("--normalise", "0/1", "--part", "validation"),
            ("--normalise", ".5/.5"),
        ):
            assert command(monkeypatch, "responses", path, *given, *more) == 0
            printed = capsys.readouterr()
            assert " of 20 images; " in printed.err or " of 40 images; " in printed.err
            tables.add(printed.out.splitlines()[-2])
    assert len(tables) == 6
    assert {Path(table).parent.parent for table in tables} == {tmp_path / "plots" / "responses"}
    assert all(Path(table).exists() for table in tables)
    assert command(monkeypatch, "responses", path, *given, *more) == 0
    assert capsys.readouterr().out.splitlines()[-2] in tables  # the same again is the same place
    assert command(monkeypatch, "responses", run, "--device", "cpu") == 0
    assert f"plots/responses/{run.name}-" in capsys.readouterr().out


def test_a_folder_that_is_named_is_written_over_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, checkpoint = grey_folder(tmp_path / "images", "abcd"), save_reader(tmp_path / "x.pth", 4)
    given = ("--network", "cifar-plain8", "--normalise", "0/1", "--data", data, "--out", tmp_path / "out")
    for said in (False, True):
        assert command(monkeypatch, "responses", checkpoint, *given) == 0
        assert ("in place of the table and figure that were in" in capsys.readouterr().out) == said


# ---- siblings that others thought of ---------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_classes_may_come_from_windows(
    tiny_dataset: Any, tmp_path: Path, encoding: str, end: str
) -> None:
    (tmp_path / "classes.txt").write_bytes(end.join("cab").encode(encoding))
    assert with_order(tiny_dataset, str(tmp_path / "classes.txt")).classes == ("c", "a", "b")


def test_empty_lines_in_a_file_of_classes_are_no_classes(tiny_dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("c\n\n a \nb\n\n")
    assert with_order(tiny_dataset, str(tmp_path / "classes.txt")).classes == ("c", "a", "b")


@pytest.mark.parametrize("key", ["class_to_idx", "label2id", "idx_to_class", "id2label", "classes", "CLASSES"])
def test_the_order_of_classes_in_a_checkpoint_is_read_by_whatever_name_it_has(key: str) -> None:
    by_name, by_number = {"dog": 1, "cat": 0, "ant": 2}, {1: "dog", 0: "cat", 2: "ant"}
    content = by_name if key in ("class_to_idx", "label2id") else by_number
    named = ["cat", "dog", "ant"] if key.lower() == "classes" else content
    assert classes_in({"state_dict": {}, "meta": {key: named}}) == ("cat", "dog", "ant")


def test_a_file_of_classes_in_another_encoding_is_named(tiny_dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("c\na\nb".encode("utf-16"))
    with pytest.raises(ValueError, match=r"--classes .*classes\.txt: not in UTF-8"):
        with_order(tiny_dataset, str(tmp_path / "classes.txt"))


def test_a_class_that_is_given_twice_and_a_file_that_is_not_there_are_named(tiny_dataset: Any) -> None:
    with pytest.raises(ValueError, match="lacking: c; given twice: b"):
        with_order(tiny_dataset, "a,b,b")
    with pytest.raises(ValueError, match="and no file of that name is there"):
        with_order(tiny_dataset, "nowhere.txt")


@pytest.mark.parametrize("how", ["meta", "sparse"])
def test_tensors_that_hold_no_plain_values_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    data, good = grey_folder(tmp_path / "images", "abcd"), save_reader(tmp_path / "x.pth", 4)
    values = torch.load(good, weights_only=True)["state_dict"]
    changed = {
        name: value.to("meta") if how == "meta" else value.to_sparse() if value.dim() > 1 else value
        for name, value in values.items()
    }
    torch.save(changed, tmp_path / "y.pth")
    options = ("--network", "cifar-plain8", "--normalise", "0/1", "--data", data, "--device", "cpu")
    assert command(monkeypatch, "evaluate", tmp_path / "y.pth", *options) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"conv1.weight is a {'name and a shape without values' if how == 'meta' else 'sparse tensor'}" in said


def test_an_error_near_chance_reminds_of_other_weights_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, raw, average = images_and_two_sets(tmp_path)
    torch.save({"model": raw, "ema": {"shadow_params": [*average.values()]}}, tmp_path / "y.pth")
    printed = evaluated(monkeypatch, capsys, tmp_path / "y.pth", data)
    assert "error 75.00 %" in printed
    assert "weights: model; ema.shadow_params: tensors without names" in printed
    assert "are these the weights that were meant (see above)" in printed
