"""Runs in one file, and the four in the repository: they are what their records say, and whoever lies is named."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from plain_vs_residual.data.datasets import digits
from plain_vs_residual.experiment import Study
from plain_vs_residual.inspection.errors_and_responses import evaluation_text
from plain_vs_residual.inspection.export import export
from plain_vs_residual.inspection.predictions import inspect_run
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import read_record, sealed
from plain_vs_residual.seminar import lesions
from plain_vs_residual.subject.from_run import open_run
from plain_vs_residual.subject.weights_file import (
    LICENCE,
    MARK,
    _drawn_from,
    hash_of_weights,
    open_trained,
    record_in,
    write_weights_file,
)
from plain_vs_residual.training.checkpoint import serialised
from tests.conftest import Silent, command, network_of

CPU = torch.device("cpu")
REFERENCE = REPOSITORY / "results" / "reference"
FOLDER = REFERENCE / "weights" / "fashion"
NETWORKS = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")
FILES = [FOLDER / f"{network}-s30.safetensors" for network in NETWORKS]
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


# ---- the four in the repository --------------------------------------------------------------------------


def test_there_are_four_with_a_page_about_them_and_no_more_than_nine_mebibytes() -> None:
    assert sorted(FOLDER.iterdir()) == FILES
    assert sum(path.stat().st_size for path in FILES) < 9 * 2**20
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for path in FILES:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in page
        said = metadata(path)
        assert (
            f"| {said['label']} | {float(said['training_error']):.1f} | {float(said['validation_error']):.1f} |"
            in page
        )


@each
def test_their_metadata_say_what_the_registered_record_says(path: Path) -> None:
    said, record = metadata(path), record_in(path)
    registered = read_record(RunFolder(REPOSITORY / "results" / "registered" / "fashion" / path.stem))
    assert record is not None
    assert record.final is not None
    assert registered.final is not None
    assert record.run == registered.run
    assert record.final == registered.final
    assert said["seed"] == "30"
    assert said["network"] == path.stem.removesuffix("-s30")
    assert json.loads(said["recipe"])["learning_rate"] == registered.run.configuration.learning_rate
    assert json.loads(said["recipe"])["data_fingerprint"] == said["data_fingerprint"]
    assert float(said["training_error"]) == registered.final.training_error
    assert float(said["validation_error"]) == registered.final.validation_error
    assert said["code_commit"] == registered.run.environment.git_commit
    assert said["licence"] == LICENCE == "MIT"


@each
def test_a_file_written_today_repeats_of_its_records_what_theirs_repeat(path: Path) -> None:
    said = metadata(path)
    records = {name: said.pop(name) for name in ("run", "final")}
    repeated = _drawn_from(json.loads(records["run"]), json.loads(records["final"]), load_file(path))
    assert repeated == said


@each
def test_they_are_byte_for_byte_the_weights_that_training_wrote(path: Path) -> None:
    """Put back into the file of torch.save that the run wrote, they have the SHA-256 that the run recorded."""
    record = record_in(path)
    assert record is not None
    assert record.final is not None
    assert hash_of_weights(load_file(path)) == metadata(path)["weights_sha256"]
    assert {value.dtype for name, value in load_file(path).items() if "num_batches" not in name} == {torch.float32}
    state = {name: value.cpu() for name, value in open_trained(path).network.state_dict().items()}
    written = hashlib.sha256(serialised(state)).hexdigest()
    if torch.__version__ == record.run.environment.torch:  # another one may write the same otherwise
        assert written == record.final.files["weights.pt"]


@each
def test_they_err_as_recorded(path: Path) -> None:
    record = record_in(path)
    assert record is not None
    assert record.final is not None
    errors = open_run(record, None, CPU).errors("validation")
    # In bf16 other processors may see an image or two otherwise.
    assert errors.error == pytest.approx(record.final.validation_error, abs=0.21)
    assert errors.loss == pytest.approx(record.final.validation_loss, rel=0.01)


@pytest.mark.parametrize("page", [FOLDER.parent / "README.md", REPOSITORY / "docs" / "usage.md"])
def test_what_pages_show_of_them_runs(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("NUM_IMAGES", 20), ("DRAWS", 1), ("NUMBERS", (1,))):
        monkeypatch.setattr(lesions, name, value)
    monkeypatch.setattr("plain_vs_residual.subject.subject.NUM_FOR_STATISTICS", 20)
    monkeypatch.setattr(
        lesions, "removable_blocks", lambda network: [name for name, _ in lesions.blocks_of(network)][:2]
    )
    monkeypatch.chdir(REPOSITORY)
    text = page.read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "open_trained" in block)
    exec(block, {})
    assert "'removable_blocks': 2" in capsys.readouterr().out
    named = set(re.findall(r"results/reference/weights/\S+\.safetensors", text))
    assert named
    assert all((REPOSITORY / path).is_file() for path in named)


def test_a_report_of_the_reference_runs_does_not_take_them_for_a_setting() -> None:
    assert "weights" not in {recorded.setting for recorded in load_recorded_runs(REFERENCE)}


# ---- any run in one file ---------------------------------------------------------------------------------


@pytest.fixture
def run(make_suite: Any) -> Path:
    """Train a tiny network on scikit-learn's digits and return the run's folder."""
    suite = make_suite("cifar-residual8-A", dataset=digits(8))
    suite.train(suite.plan(), Silent())
    folder: Path = suite.plan()[0].folder.path
    return folder


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    (path,) = export(run, "safetensors", tmp_path / "out")
    return path


def test_a_run_in_one_file_is_opened_as_its_folder_is(run: Path, exported: Path) -> None:
    in_file, in_folder = open_trained(exported), open_trained(str(run))
    assert exported.name == f"{run.name}.safetensors"
    assert (in_file.seed, in_file.setting, in_file.architecture) == (0, in_folder.setting, in_folder.architecture)
    ours = in_folder.network.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in in_file.network.state_dict().items())
    record = record_in(exported)
    assert record is not None
    text = evaluation_text(open_run(record, None, CPU), "validation", record)
    assert ": as recorded" in text
    assert text.startswith(f"{exported.name} as ResNet-8 A")


def test_the_same_run_gives_the_same_bytes(run: Path, exported: Path, tmp_path: Path) -> None:
    for number in range(5):
        write_weights_file(run, tmp_path / f"{number}.safetensors")
        assert (tmp_path / f"{number}.safetensors").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("modification", ["pre-activation", "skip-init", "zero-gamma"])
def test_a_modified_network_is_built_as_its_record_says(
    make_suite: Any, tmp_path: Path, modification: str
) -> None:
    suite = make_suite("cifar-residual8-A", dataset=digits(8))
    (experiment,) = suite.experiments
    studies = {"digits": (Study("changed", {"modification": modification}),)}
    suite = replace(suite, experiments=(replace(experiment, studies=studies),))
    suite.train(suite.plan(), Silent())
    (job,) = suite.plan()
    write_weights_file(job.folder.path, tmp_path / "run.safetensors")
    subject = open_trained(tmp_path / "run.safetensors")
    assert subject.setting.modification == modification
    final = read_record(job.folder).final
    assert final is not None
    assert subject.errors("validation").error == pytest.approx(final.validation_error, abs=1e-9)


def test_of_several_runs_each_becomes_a_file(make_suite: Any, tmp_path: Path) -> None:
    suite = make_suite("cifar-plain8", "cifar-residual8-A", dataset=digits(8))
    suite.train(suite.plan(), Silent())
    folder = suite.plan()[0].folder.path.parent
    assert [path.stem for path in export(folder, "safetensors", tmp_path / "out")] == sorted(
        job.name for job in suite.plan()
    )


def test_damaged_weights_are_not_exported(run: Path, tmp_path: Path) -> None:
    state = torch.load(run / "weights.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, run / "weights.pt")
    with pytest.raises(
        ValueError, match=r"weights\.pt: damaged, it does not match its SHA-256; it is not exported"
    ):
        write_weights_file(run, tmp_path / "run.safetensors")
    assert not (tmp_path / "run.safetensors").exists()


def test_a_file_takes_no_options_that_its_record_answers(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "evaluate", exported, "--device", "cpu") == 0
    assert "as recorded" in capsys.readouterr().out
    assert command(monkeypatch, "evaluate", exported, "--network", "cifar-plain8", "--device", "cpu") == 2
    assert "is a run of this suite, its record says cifar-residual8-A; leave it out" in capsys.readouterr().err


def test_inspect_says_which_command_takes_a_file(exported: Path) -> None:
    with pytest.raises(ValueError, match=r"a file, where the folder of a run is needed.*evaluate"):
        inspect_run(exported, None, CPU)


# ---- what does not agree is named ------------------------------------------------------------------------

Change = Callable[[dict[str, str], dict[str, Tensor]], object]


def other_weights(said: dict[str, str], state: dict[str, Tensor]) -> None:
    state["fc.weight"][0, 0] += 1e-6


def renamed(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said["network"] = "cifar-plain8"


def better(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said["validation_error"] = "1.0"


def other_hash(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said["weights_sha256"] = "0" * 64


def other_record(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said["run"] = said["run"].replace('"network":"cifar-residual8-A"', '"network":"cifar-plain8"')


def no_outcome(said: dict[str, str], state: dict[str, Tensor]) -> None:
    del said["final"]


def no_object(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said["run"] = "[1]"


def later_form(said: dict[str, str], state: dict[str, Tensor]) -> None:
    said[MARK] = "2"


def larger_network(said: dict[str, str], state: dict[str, Tensor]) -> None:
    """Lie in every place at once, sealed: only names and shapes are left to tell."""
    run = json.loads(said["run"].replace("cifar-residual8-A", "cifar-residual14-A"))
    said |= {"run": json.dumps(sealed(run)), "network": "cifar-residual14-A"}
    said["recipe"] = json.dumps(run["configuration"], separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_weights, r"its metadata say weights_sha256 \w{64}, its weights have \w{64}; fetch the file again"),
        (other_hash, "its metadata say weights_sha256 0000"),
        (renamed, "its metadata say network cifar-plain8, its record says cifar-residual8-A"),
        (better, r"its metadata say validation_error 1\.0, its record says \d"),
        (other_record, "metadata 'run': damaged, its content does not match its checksum"),
        (no_outcome, "its metadata 'final' are no record"),
        (no_object, "metadata 'run': a JSON object was expected"),
        (later_form, "its metadata are of form 2, this version reads form 1"),
        (larger_network, "weights do not fit; .* missing: layer1.1.conv1.weight"),
    ],
)
def test_what_does_not_agree_is_named(exported: Path, change: Change, words: str) -> None:
    said, state = metadata(exported), load_file(exported)
    change(said, state)
    save_file(state, exported, said)
    with pytest.raises(ValueError, match=words):
        open_trained(exported)


@pytest.mark.parametrize(
    "name", ["label", "setting", "seed", "recipe", "iterations", "dataset", "classes", "licence"]
)
def test_whatever_is_said_of_a_run_is_compared_with_its_record(exported: Path, name: str) -> None:
    said, state = metadata(exported), load_file(exported)
    save_file(state, exported, said | {name: "something else"})
    with pytest.raises(ValueError, match=f"its metadata say {name} something else, its record says "):
        open_trained(exported)


def foreign(folder: Path, said: dict[str, str] | None) -> Path:
    network = network_of("cifar-residual8-A", channels=3, num_classes=3, seed=1)
    save_file(network.state_dict(), folder / "foreign.safetensors", said)
    return folder / "foreign.safetensors"


@pytest.mark.parametrize(
    "said", [None, {"format": "pt"}, {"network": "cifar-plain110", "run": "exp42", "seed": "a"}]
)
def test_what_metadata_from_elsewhere_say_decides_nothing(
    tmp_path: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: dict[str, str] | None,
) -> None:
    path = foreign(tmp_path, said)
    assert record_in(path) is None
    with pytest.raises(ValueError, match="weights from elsewhere, which do not say what they are of"):
        open_trained(path)
    options = ("--normalise", "ours", "--data", image_folder, "--device", "cpu")
    assert command(monkeypatch, "evaluate", path, "--network", "cifar-residual8-A", *options) == 0
    assert "weights of plain-8 have the same names and shapes" in capsys.readouterr().out
    assert command(monkeypatch, "evaluate", path, "--network", "cifar-residual14-A", *options) == 2
    assert "weights do not fit" in capsys.readouterr().err


def cut_off(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content[:100]
    yield content[:-1]
    yield b""
    yield b"\x80\x02 no safetensors"


def test_a_damaged_file_is_no_run_and_is_named_as_before(exported: Path) -> None:
    for content in list(cut_off(exported)):
        exported.write_bytes(content)
        assert record_in(exported) is None
        with pytest.raises(ValueError, match="weights from elsewhere"):
            open_trained(exported)


def test_folders_and_paths_that_are_not_there_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        open_trained(tmp_path)
    assert record_in(tmp_path / "nowhere.safetensors") is None
