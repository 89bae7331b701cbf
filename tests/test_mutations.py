"""Records changed one by one: verify names each change, and no claim is decided by such runs.

Every record is sealed again after the change, so that checksums do not give it away.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.as_declared import remarks, unlike_recipe
from plain_vs_residual.evidence.decision import HOLDS, NOT_COMPARABLE
from plain_vs_residual.evidence.pairing import compares, summary_line, verify
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.store import read_record
from tests.made_up_records import judged, read_json, read_runs, reseal, write_run

MEMBERS = ("plain34", "residual34-A", "residual34-B")
EXPERIMENT = Experiment(
    "Mutations",
    "none",
    (),
    {"digits": MEMBERS},
    (
        Claim("against A", {"plain34": 1, "residual34-A": -1}, above=0.5, primary=True),
        Claim("against B", {"plain34": 1, "residual34-B": -1}, above=0.5),
    ),
    name="mutations",
)
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the records that each test changes a copy of."""
    results = tmp_path_factory.mktemp("unchanged")
    for network in MEMBERS:
        for seed in range(3):
            write_run(results, "digits", network, seed)
    return results


@pytest.fixture
def results(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "results"))


def changed(path: Path, change: Change) -> None:
    record = read_json(path)
    change(record)
    write_json(path, record)
    reseal(RunFolder(path.parent))


def found_in(results: Path) -> tuple[str, str]:
    """What verify names, and what came out of the primary claim."""
    recorded = read_runs(results, "digits")
    named = "; ".join(text for check in verify(recorded, EXPERIMENT) for text in check.differences)
    return named, judged(recorded, [EXPERIMENT])[0].outcome


def test_unchanged_records_agree_and_decide(results: Path) -> None:
    assert found_in(results) == ("", HOLDS)
    line = summary_line(verify(read_runs(results, "digits"), EXPERIMENT))
    assert line.startswith("all 6 pairs agree")
    # 34 layers: 33 convolutions with two parameters of BN each, and two of fc, for each of six pairs.
    assert f"{6 * (33 * 3 + 2)} of {6 * (33 * 3 + 2)} parameters" in line


def without(field: str, name: str) -> Change:
    return lambda record: record[field].pop(name)


def renamed(record: dict[str, Any]) -> None:
    record["initial_parameters"] = {f"module.{name}": text for name, text in record["initial_parameters"].items()}


def set_in(*path: str, value: Any) -> Change:
    def change(record: dict[str, Any]) -> None:
        *outer, last = path
        for name in outer:
            record = record[name]
        assert record[last] != value
        record[last] = value

    return change


def scaled(field: str, factor: float) -> Change:
    return lambda record: record.update({field: factor * record[field]})


def emptied(field: str) -> Change:
    return lambda record: record[field].clear()


IN_RUN: dict[str, tuple[Change, str]] = {
    "a parameter removed": (
        without("initial_parameters", "layer1.0.conv1.weight"),
        "layer1.0.conv1.weight: only in",
    ),
    "all parameters renamed": (renamed, "no parameter has one name and shape in both"),
    "a value drawn anew": (
        set_in("initial_parameters", "conv1.weight", value="16x3x3x3:0000"),
        "initial values of conv1.weight differ",
    ),
    "another shape": (
        set_in("initial_parameters", "fc.weight", value="12x64:0000"),
        "initial values of fc.weight differ",
    ),
    "parameter count": (set_in("parameters", value=999), "999 parameters are stated"),
    "parameter count, too many": (set_in("parameters", value=99_999_999), "99,999,999 parameters are stated"),
    "multiply-adds": (
        set_in("multiply_adds", value=999),
        "multiply-adds: 34,000,000 against 999, though option A",
    ),
    "BN buffers at the start": (
        set_in("initial_buffers", "bn1.running_mean", value="16:0000"),
        "initial statistics of bn1.running_mean differ",
    ),
    "device": (set_in("environment", "device", value="cuda"), "device: cpu against cuda"),
    "processor": (set_in("environment", "device_name", value="Loom"), "device_name: Abacus against Loom"),
    "version": (set_in("environment", "torch", value="3.0"), "torch: 2.99.0+made-up against 3.0"),
    "threads": (set_in("arithmetic", "threads", value=7), "threads: 2 against 7"),
    "devices": (set_in("arithmetic", "devices", value=2), "devices: 1 against 2"),
    "uncommitted changes": (set_in("environment", "git_changes", value=True), "with uncommitted changes"),
    "code": (
        set_in("sources", "plain_vs_residual/blocks.py", value="0000"),
        "blocks.py: trained by different code",
    ),
    "precision": (set_in("arithmetic", "precision", value="bf16"), "precision: fp32 against bf16"),
    "images": (set_in("configuration", "data_fingerprint", value="0000"), "data_fingerprint: "),
    "learning rate": (set_in("configuration", "learning_rate", value=0.03), "learning_rate: 0.02 against 0.03"),
    "weight decay": (set_in("configuration", "weight_decay", value=0.0), "weight_decay: 0.0001 against 0.0"),
    "batch": (set_in("configuration", "batch_size", value=64), "batch_size: 32 against 64"),
    "seed": (set_in("seed", value=9), "the record in it is of"),
    "no BN buffers": (emptied("initial_buffers"), "initial statistics: bn1.running_mean not recorded"),
    "classes": (set_in("dataset", "classes", value=list("ab")), "data set, classes: "),
    "what images are called": (
        set_in("dataset", "validation_name", value="test"),
        "data set, validation_name: validation against test",
    ),
}


@pytest.mark.parametrize("name", IN_RUN)
def test_a_change_of_one_members_run_is_named_and_decides_nothing(results: Path, name: str) -> None:
    change, words = IN_RUN[name]
    changed(results / "digits" / "residual34-A-s0" / "run.json", change)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


def test_a_change_of_a_whole_network_is_named_too(results: Path) -> None:
    """Where every seed has it, comparing the seeds finds nothing."""
    for seed in range(3):
        changed(results / "digits" / f"residual34-A-s{seed}" / "run.json", IN_RUN["multiply-adds"][0])
    named, outcome = found_in(results)
    assert "multiply-adds: 34,000,000 against 999" in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("indices", "order of the images differ"),
        ("crops", "crops differ"),
        ("flips", "flips differ"),
        ("pixels", "augmented pixels differ"),
        ("evaluated_training", "training images of the evaluations differ"),
        ("evaluated_validation", "validation images of the evaluations differ"),
        ("measured_training", "images on which responses were measured differ"),
    ],
)
@pytest.mark.parametrize("how", ["other", "missing"])
def test_what_one_member_was_given_is_named(results: Path, part: str, words: str, how: str) -> None:
    change = set_in("consumed", part, value="0000") if how == "other" else without("consumed", part)
    changed(results / "digits" / "residual34-A-s0" / "final.json", change)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("skipped_steps", value=3), "steps skipped: 0 against 3"),
        (set_in("iteration", value=448), "iterations: 449 against 448"),
        (lambda final: final["learning_rates"].__setitem__(3, [150, 0.5]), "learning rate differs first"),
        (emptied("learning_rates"), "learning rates: not recorded from the first iteration on"),
        (set_in("responses_on", value="other images"), "responses measured on"),
    ],
    ids=["steps", "iterations", "rates", "no rates", "responses"],
)
def test_what_one_member_did_is_named(results: Path, change: Change, words: str) -> None:
    changed(results / "digits" / "residual34-A-s0" / "final.json", change)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("member", "old", "new", "words"),
    [
        (
            "residual34-A",
            "initial,shortcut_share,1,block1,0.5",
            "initial,shortcut_share,1,block1,0.0",
            "add nothing: block1",
        ),
        (
            "plain34",
            "final,shortcut_share,2,block2,0.0",
            "final,shortcut_share,2,block2,0.1",
            "with shortcuts: block2",
        ),
        ("residual34-A", "shortcut_share", "cosine", "what the shortcuts add: not recorded for every block"),
    ],
    ids=["nothing", "plain", "unrecorded"],
)
def test_a_shortcut_that_adds_nothing_is_named(results: Path, member: str, old: str, new: str, words: str) -> None:
    folder = RunFolder(results / "digits" / f"{member}-s0")
    text = folder.responses.read_text()
    assert old in text
    folder.responses.write_text(text.replace(old, new))
    reseal(folder)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize("both", [False, True], ids=["one member", "all members"])
def test_one_seeds_records_under_another_are_named(results: Path, both: bool) -> None:
    """Copied, renamed and resealed; where all members are copied, each pair alone looks sound."""
    for network in MEMBERS if both else MEMBERS[:1]:
        copy = results / "digits" / f"{network}-s2"
        shutil.rmtree(copy)
        shutil.copytree(results / "digits" / f"{network}-s0", copy)

        def moved(record: dict[str, Any]) -> None:
            record["seed"] = record["configuration"]["seed"] = 2

        changed(copy / "run.json", moved)
    named, outcome = found_in(results)
    assert "start from the same initial values: one is a copy" in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize("name", ["device", "version", "threads", "devices", "processor", "uncommitted changes"])
def test_seeds_trained_elsewhere_are_named_even_if_the_members_agree(results: Path, name: str) -> None:
    change, words = IN_RUN[name]
    for network in MEMBERS:
        changed(results / "digits" / f"{network}-s2" / "run.json", change)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_that_went_on_with_another_number_of_devices_is_named(results: Path, device: str) -> None:
    def resumed(record: dict[str, Any]) -> None:
        record["environment"]["device"] = device
        arithmetic = record["arithmetic"] | {"devices": 4}
        session = {"iteration": 200, "started": record["started"], "environment": record["environment"]}
        record["resumed"] = [session | {"arithmetic": arithmetic}]

    for path in (results / "digits").glob("*/run.json"):
        changed(path, resumed if path.parent.name == "plain34-s0" else set_device(device))
    named, outcome = found_in(results)
    assert "plain34-s0 went on from iteration 200 with devices 4, not 1" in named
    assert outcome == NOT_COMPARABLE


def set_device(device: str) -> Change:
    return lambda record: record["environment"].update(device=device)


def test_an_experiment_of_one_network_has_nothing_to_pair(results: Path) -> None:
    claim = Claim("plain-34 trains", {"plain34": 1}, below=90.0, primary=True)
    alone = replace(EXPERIMENT, networks={"digits": ("plain34",)}, claims=(claim,))
    unclaimed = replace(EXPERIMENT, networks={"digits": MEMBERS}, claims=())
    recorded = read_runs(results, "digits")
    for experiment in (alone, unclaimed):
        line = summary_line(verify(recorded, experiment), compares=compares(experiment, "digits"))
        assert line == "nothing to pair: no claim of it compares two runs of one seed"
    assert judged(recorded, [alone])[0].outcome == HOLDS
    assert compares(EXPERIMENT, "digits")
    assert summary_line([], compares=compares(EXPERIMENT, "digits")) == "no complete pair yet"
    # What a single run contradicts is said all the same.
    changed(results / "digits" / "plain34-s0" / "final.json", emptied("learning_rates"))
    line = summary_line(verify(read_runs(results, "digits"), alone), compares=False)
    assert line.startswith("1 checks found what DIFFERS; plain34-s0: learning rates: not recorded")


def test_uncommitted_changes_of_all_are_said_and_decide(results: Path) -> None:
    """A student's changed line is in the fingerprint, equal in all: the runs are pairs, and the line says how."""
    for path in (results / "digits").glob("*/run.json"):
        changed(path, set_in("environment", "git_changes", value=True))
    assert found_in(results) == ("", HOLDS)
    assert "uncommitted changes" in summary_line(verify(read_runs(results, "digits"), EXPERIMENT))


def test_code_of_which_no_commit_is_recorded_is_not_taken_for_what_git_has_here(results: Path) -> None:
    for path in (results / "digits").glob("*/run.json"):
        changed(path, set_in("environment", "git_commit", value=None))
    (said,) = [line for line in remarks(read_runs(results, "digits"), [EXPERIMENT]) if "other code" in line]
    assert said.startswith(
        "9 runs were trained by other code than is here today, that of commit unknown, which git does not know "
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("iteration", value=10), "finished after 10 of 449 iterations"),
        (lambda final: final.update(learning_rates=[[0, 0.5]]), "learning rate at iteration 0: 0.5, but 0.02"),
        (emptied("learning_rates"), "learning rates: not recorded"),
        (set_in("running_training_error", value=0.1), "running training error: 0.1 in the outcome"),
        (scaled("running_training_error", 1.01), "running training error: "),
        (scaled("training_error", 1.01), "training_error: "),
        (scaled("validation_error", 0.99), "validation_error: "),
        (scaled("validation_top5_error", 1.001), "validation_top5_error: "),
        (scaled("training_loss", 1.001), "training_loss: "),
        (scaled("validation_loss", 1.001), "validation_loss: "),
        (lambda final: final["learning_rates"].__setitem__(3, [150, 0.01340]), "learning rate at iteration 150: "),
        (set_in("training_error", value=0.1), "training_error: 0.1 in the outcome"),
        (set_in("validation_error", value=0.1), "validation_error: 0.1 in the outcome"),
        (lambda final: (final["consumed"].pop("crops"), final["consumed"].pop("flips")), "crops: not recorded"),
    ],
    ids=[
        *("iteration", "constant rate", "no rates", "running", "running by 1 %", "clean by 1 %"),
        *("validation by 1 %", "top 5 by a thousandth", "loss by a thousandth", "validation loss", "one rate"),
        *("clean", "validation", "draws"),
    ],
)
def test_what_all_runs_contradict_alike_is_named(results: Path, change: Change, words: str) -> None:
    """Where every run was changed in the same way, only what is inside each of them can tell."""
    for path in (results / "digits").glob("*/final.json"):
        changed(path, change)
    named, outcome = found_in(results)
    assert words in named
    assert outcome == NOT_COMPARABLE


def test_a_missing_training_curve_is_named(results: Path) -> None:
    folder = RunFolder(results / "digits" / "plain34-s0")
    folder.training_curve.unlink()
    final = read_json(folder.final)
    final["files"].pop("training_curve.csv")
    write_json(folder.final, final)
    reseal(folder)
    named, outcome = found_in(results)
    assert "training curve: not recorded" in named
    assert outcome == NOT_COMPARABLE


def test_seeds_evaluated_on_other_images_are_named_even_if_the_members_agree(results: Path) -> None:
    for network in MEMBERS:
        change = set_in("consumed", "evaluated_validation", value="0000")
        changed(results / "digits" / f"{network}-s1" / "final.json", change)
    named, outcome = found_in(results)
    assert "validation images of the evaluations differ" in named
    assert outcome == NOT_COMPARABLE


def curve_of(results: Path, name: str) -> tuple[RunFolder, list[str]]:
    folder = RunFolder(results / "digits" / name)
    return folder, folder.training_curve.read_text().splitlines()


@pytest.mark.parametrize("table", ["metrics", "training curve"])
@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("iteration", "not of the iterations at which its recipe reads it"),
        ("epoch", "its epochs are not those of its iterations"),
    ],
)
def test_points_at_which_no_run_reads_its_tables_are_named(
    results: Path, table: str, column: str, words: str
) -> None:
    """The third row of every run, one iteration or a thousandth of a pass later."""
    for path in (results / "digits").glob("*/run.json"):
        folder = RunFolder(path.parent)
        file = folder.metrics if table == "metrics" else folder.training_curve
        lines = [line.split(",") for line in file.read_text().splitlines()]
        place = lines[0].index(column)
        later = 1 if column == "iteration" else 0.001
        lines[3][place] = str(type(later)(lines[3][place]) + later)
        file.write_text("\n".join(map(",".join, lines)) + "\n")
        reseal(folder)
    named, outcome = found_in(results)
    assert f"{table}: {words}" in named
    assert outcome == NOT_COMPARABLE


@pytest.mark.parametrize(("row", "named"), [(-1, True), (-5, True), (-7, False)])
def test_the_outcome_is_compared_with_the_last_tenth_of_its_curve_alone(
    results: Path, row: int, named: bool
) -> None:
    """There are fifty points: the last five are the last tenth, the two before it are not."""
    folder, lines = curve_of(results, "plain34-s0")
    *cells, error = lines[row].split(",")
    lines[row] = ",".join([*cells, str(float(error) + 5)])
    folder.training_curve.write_text("\n".join(lines) + "\n")
    reseal(folder)
    assert ("running training error: " in found_in(results)[0]) == named


def test_a_diverged_member_is_compared_with_the_other_as_far_as_it_came(tmp_path: Path) -> None:
    """What was consumed is compared at the last evaluation of both, and so are the images that were evaluated."""
    folders = [write_run(tmp_path, "digits", network, 0) for network in MEMBERS[:1]]
    folders.append(write_run(tmp_path, "digits", MEMBERS[1], 0, outcome="diverged"))
    recorded = read_runs(tmp_path, "digits")
    assert [text for check in verify(recorded, EXPERIMENT) for text in check.differences] == []
    whole, final = folders[1].metrics.read_text(), read_json(folders[1].final)
    lines = whole.splitlines()
    assert len(lines) == 3  # of five evaluations, the second found divergence
    for part, words in (
        ("indices", "what was consumed until iteration 180 differs"),
        ("pixels", "what was consumed until iteration 180 differs"),
        ("evaluated_validation", "validation images of the evaluations differ (evaluated_validation)"),
    ):
        folders[1].metrics.write_text("\n".join([*lines[:2], lines[2].replace(f"{part}:", f"{part}:0")]) + "\n")
        # Else the outcome alone would give it away.
        write_json(
            folders[1].final, final | {"consumed": final["consumed"] | {part: f"0{final['consumed'][part]}"}}
        )
        reseal(folders[1])
        checks = verify(read_runs(tmp_path, "digits"), EXPERIMENT)
        assert [text for check in checks for text in check.differences] == [words], part


def test_seeds_of_unequal_length_evaluated_unequally_often_and_are_not_blamed_for_it(tmp_path: Path) -> None:
    for network in MEMBERS[:2]:
        for seed in range(2):
            outcome: Any = "diverged" if seed else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=outcome)
    checks = verify(read_runs(tmp_path, "digits"), EXPERIMENT)
    assert [text for check in checks for text in check.differences] == []


def test_a_run_may_have_more_rates_recorded_than_the_other_came_to_take(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "digits", MEMBERS[0], 0), write_run(tmp_path, "digits", MEMBERS[1], 0)]
    final = read_json(folders[1].final)
    write_json(folders[1].final, final | {"learning_rates": [*final["learning_rates"], [449, 0.0]]})
    reseal(folders[1])
    assert [
        text for check in verify(read_runs(tmp_path, "digits"), EXPERIMENT) for text in check.differences
    ] == []


def test_on_gpus_the_number_of_threads_is_no_difference(results: Path) -> None:
    for path in (results / "digits").glob("*/run.json"):
        changed(path, set_in("environment", "device", value="cuda"))
    changed(results / "digits" / "residual34-A-s0" / "run.json", set_in("arithmetic", "threads", value=7))
    assert found_in(results) == ("", HOLDS)


def test_a_trained_shortcut_that_is_not_recorded_is_named(results: Path) -> None:
    folder = RunFolder(results / "digits" / "residual34-A-s0")
    lines = folder.responses.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("final,shortcut_share,3,")]
    assert len(kept) == len(lines) - 1
    folder.responses.write_text("\n".join(kept) + "\n")
    reseal(folder)
    assert "what the shortcuts add: not recorded for every block" in found_in(results)[0]


def test_a_folder_under_another_name_decides_nothing(results: Path) -> None:
    (results / "digits" / "residual34-A-s0").rename(results / "digits" / "residual34-A-s0-mine")
    named, outcome = found_in(results)
    assert "the folder is called residual34-A-s0-mine" in named
    assert outcome == NOT_COMPARABLE


def test_a_run_unlike_its_study_is_named(tmp_path: Path) -> None:
    study = Study("fast", {"learning_rate": 0.5}, "a fast one")
    experiment = replace(EXPERIMENT, studies={"digits": (study,)})
    for network in MEMBERS:
        for seed in range(3):
            write_run(tmp_path, "digits", network, seed, study=Study("fast", {}, "called fast"))
    recorded = read_runs(tmp_path, "digits")
    assert judged(recorded, [experiment])[0].outcome == NOT_COMPARABLE
    assert "learning_rate: 0.02, but 0.5 in its study" in summary_line(verify(recorded, experiment))


def test_another_split_is_declared_by_the_name_of_a_run_and_by_nothing_else(tmp_path: Path) -> None:
    held_out = Study("", {"split": "45k/5k"})
    told = write_run(tmp_path / "told", "cifar10", "cifar-plain8", 0, study=held_out, variant="45k-5k")
    untold = write_run(tmp_path / "untold", "cifar10", "cifar-plain8", 0, study=held_out)
    assert list(unlike_recipe(read_record(told), Study())) == []
    assert list(unlike_recipe(read_record(untold), Study())) == [
        "split: 45k/5k, but test in setting cifar10, and the run does not say so"
    ]
