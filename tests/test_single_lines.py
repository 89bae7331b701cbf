"""Single lines that decide a number or a word, and that longer tests pass over: each by a value known before."""

import hashlib
import math
import os
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.data.cifar import _unpickled
from plain_vs_residual.data.decoding import _what_is_wrong
from plain_vs_residual.data.identity import copies, files_fingerprint, variant_of
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.data.listing import Listing, list_images
from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.consumption import consumption
from plain_vs_residual.evidence.divergence import wrongly_diverged
from plain_vs_residual.evidence.families import family_of
from plain_vs_residual.evidence.own_faults import CONSUMED
from plain_vs_residual.evidence.summaries import SUMMARIES, wrong_summaries
from plain_vs_residual.executors import measuring, needs, room
from plain_vs_residual.executors import suite as executors_suite
from plain_vs_residual.executors.common_arithmetic import ComputeOptions, _recorded, _wanted_execution
from plain_vs_residual.executors.cores import num_cores
from plain_vs_residual.executors.memory import what_to_try
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.experiment import EXPERIMENTS, Claim, Experiment, Study, load_experiment
from plain_vs_residual.group import Group
from plain_vs_residual.inspection.predictions import Inspection
from plain_vs_residual.inspection.relabelling import Relabelling, relabelling_note
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from plain_vs_residual.records.fingerprint import _between, imports_of
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.records.store import read_measurement, read_record, write_measurement
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.report.listing import listing
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.settings.publications import BATCH_NORM, PUBLICATIONS, WARM_UP
from plain_vs_residual.subject.class_order import order_line, with_order
from plain_vs_residual.subject.weights import read_checkpoint
from plain_vs_residual.training import loop, session
from plain_vs_residual.training.fusion import RECTIFICATIONS
from plain_vs_residual.training.outcome import _peak_memory_mib
from plain_vs_residual.training.place import CPU, Place
from plain_vs_residual.training.precision import best_precision
from plain_vs_residual.training.two_streams import SecondStream, weight_gradients_on
from tests.conftest import Silent, network_of
from tests.made_up_records import (
    read_json,
    read_runs,
    sealed,
    write_json,
    write_made_up_measurement,
    write_results,
    write_run,
)


@pytest.fixture
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


# ---- processes and runs ----------------------------------------------------------------------------------------


def test_batches_of_an_evaluation_are_taken_in_turn() -> None:
    assert [list(Group(rank, 3).taken("abcdefg")) for rank in range(3)] == [list("adg"), list("be"), list("cf")]
    assert [[n for n in range(7) if Group(rank, 3).takes(n)] for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]


class Stops(Exception):
    pass


class Played:
    """A session of two points, at 2 and 4 iterations, that notes what the loop asks of it."""

    def __init__(self) -> None:
        self.iteration, self.num_iterations, self.diverged, self.asked = 0, 4, False, list[str]()
        self.old = False

    def points_left(self) -> list[int]:
        return [2, 4]

    def inputs_until(self, point: int) -> range:
        return range(self.iteration, point)

    def take_step(self, _: int) -> None:
        self.iteration += 1

    def checkpoint_is_old(self) -> bool:
        return self.old

    def save_and_stop(self) -> None:
        raise Stops(self.iteration)

    def save_between_evaluations(self) -> None:
        self.asked.append(f"saved at {self.iteration}")

    def evaluate_and_save(self) -> str:
        self.asked.append(f"evaluated at {self.iteration}")
        return "row"


def play(monkeypatch: pytest.MonkeyPatch, session: Played, stops: Any) -> list[str]:
    """Run the loop on a session and return what it asked of it, the outcome last."""
    monkeypatch.setattr(loop.Session, "open", lambda *_: session)
    monkeypatch.setattr(loop, "record_outcome", lambda one: one.asked.append(f"recorded at {one.iteration}"))
    given: Any = (None, SimpleNamespace(group=Group(0, 1)), None, None)
    try:
        loop.train(*given, Silent(), *([] if stops is None else [stops]))
    except Stops as stopped:
        session.asked.append(f"stopped at {stopped}")
    return session.asked


def test_the_loop_stops_where_it_is_asked_and_saves_where_the_checkpoint_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ["evaluated at 2", "evaluated at 4", "recorded at 4"]
    assert play(monkeypatch, Played(), None) == whole
    assert play(monkeypatch, Played(), lambda: True) == ["stopped at 1"]
    for at, said in ((2, ["evaluated at 2", "stopped at 2"]), (3, ["evaluated at 2", "stopped at 3"]), (4, whole)):
        session = Played()
        assert play(monkeypatch, session, lambda at=at, session=session: session.iteration == at) == said
    session = Played()
    session.old = True
    saved = ["saved at 1", "evaluated at 2", "saved at 3", "evaluated at 4", "recorded at 4"]
    assert play(monkeypatch, session, None) == saved
    session = Played()
    session.diverged = True
    assert play(monkeypatch, session, lambda: session.iteration == 2) == ["evaluated at 2", "recorded at 2"]


def test_a_measurement_is_taken_alone_and_in_fp32(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = make_suite("cifar-plain8")
    (job,) = suite.plan()
    dataset = suite.dataset_of(job)
    seen: list[Arithmetic] = []

    def stop(_: Any, arithmetic: Arithmetic) -> None:
        seen.append(arithmetic)
        raise Stops

    monkeypatch.setattr(measuring, "prepare_arithmetic", stop)
    monkeypatch.setattr(measuring, "num_cores", lambda: 3)
    for threads, of_it in ((8, 3), (2, 2)):
        wanted = Arithmetic(precision="bf16", threads=threads, devices=4)
        with pytest.raises(Stops):
            measuring.measure(measuring.replace(job, arithmetic=wanted), CPU.device, dataset, "gradient_norms")
        assert (seen[-1].devices, seen[-1].threads, seen[-1].precision) == (1, of_it, "fp32")


def test_each_run_is_announced_with_its_place_among_those_that_are_pending(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_suite("plain18", "plain34")
    jobs, said = suite.plan(), []

    class Monitor:
        def begins(self, job: Any, number: int, of: int, _: Any) -> Silent:
            said.append((job.name, number, of))
            return Silent()

    class Executor:
        at_once = 1

        def carry_out(self, pending: list[Any], _: Any, begins: Any) -> Iterator[Any]:
            for job in pending:
                begins(job)
            yield from ()

    monkeypatch.setattr(executors_suite, "relative_work", lambda runs, _: {run.name: 1.0 for run in runs})
    placed: Any = SimpleNamespace(jobs=jobs, dataset_of=suite.dataset_of, executor=Executor(), work=None)
    executors_suite.train_all(placed, Monitor(), lambda _: None)
    assert said == [(job.name, place, len(jobs)) for place, job in enumerate(jobs, start=1)]


@pytest.mark.parametrize(("wanted", "given"), [(None, "eager"), ("eager", "eager"), ("compile", "compile")])
def test_several_devices_compute_as_was_asked_for_and_else_eagerly(wanted: str | None, given: str) -> None:
    assert _wanted_execution([], wanted, 2) == given
    assert _wanted_execution([], wanted, 1) == wanted


def test_the_peak_of_a_run_on_a_gpu_is_its_own_and_a_cpu_has_none(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_suite("plain18")
    (job,) = suite.plan()
    gpu = torch.device("cuda:0")

    def begins_anew(device: torch.device) -> None:
        raise Stops(device)

    monkeypatch.setattr(session, "prepare_arithmetic", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", begins_anew)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2**20 * (3 if device == gpu else 5))
    with pytest.raises(Stops, match="cuda:0"):
        session.Session(job, Place(gpu), suite.dataset)
    session.Session(job, CPU, suite.dataset)
    assert (_peak_memory_mib(gpu), _peak_memory_mib(CPU.device)) == (3, None)
    assert ", peak 3 MiB; " in what_to_try(job.run, gpu)
    assert "peak" not in what_to_try(job.run, CPU.device)


def test_the_disk_needs_weights_of_all_runs_and_six_times_those_of_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"small": 2**30, "large": 3 * 2**30, "middle": 2 * 2**30}
    monkeypatch.setattr(needs, "networks_of", lambda _: list(sizes))
    monkeypatch.setattr(needs, "weight_bytes", lambda network: sizes[network])
    whole = (2 * 6 + 6 * 3) * 2**30 + 50 * 2**20
    for free, enough in ((whole, True), (whole - 1, False)):
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        found = room.disk(DIGITS, tmp_path / "results", seeds=2)
        assert found.found == "30.0 GiB free, about 30.05 GiB needed"
        assert (found.fix == "") == enough


def test_the_threads_that_were_asked_for_are_those_of_every_run(make_suite: Any) -> None:
    suite = make_suite("plain18", "plain34")
    given = (suite.selection.plan(), suite.ledger, suite.dataset)
    wanted = ComputeOptions(device="cpu", precision="fp32", execution="eager", jobs=1)
    for threads, expected in ((7, 7), (None, num_cores())):
        placed = choose_placement(*given, wanted, Silent().ended, threads=threads)
        assert {job.arithmetic.threads for job in placed.jobs} == {expected}
    assert best_precision(torch.device("meta")) == "fp32"


def test_each_way_to_write_a_relu_is_known_where_it_is_fused() -> None:
    assert set(RECTIFICATIONS) == {torch.relu, torch.nn.functional.relu, torch.Tensor.relu}


def test_weight_gradients_of_layers_that_the_second_stream_would_compute_otherwise_stay_on_the_first() -> None:
    ordinary = torch.nn.Conv2d(2, 2, 3, padding=1, bias=False)
    others = [
        torch.nn.Conv2d(2, 2, 3, padding=1),
        torch.nn.Conv2d(2, 2, 3, padding=1, bias=False, padding_mode="reflect"),
        torch.nn.Conv2d(2, 2, 3, padding="same", bias=False),
    ]
    unused = cast(SecondStream, None)
    with weight_gradients_on(unused, [others[0], ordinary, *others[1:]]):
        assert "forward" in vars(ordinary)
        assert not any("forward" in vars(layer) for layer in others)
    assert "forward" not in vars(ordinary)


# ---- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["truncated", "broken", "not enough", "end of", "eof", "unrecognized data", "create decoder", "crc"]
)
def test_every_word_for_a_file_that_is_cut_off_is_known(word: str) -> None:
    assert _what_is_wrong(b"\x89PNG", OSError(f"a {word.upper()} b")).startswith("it is cut off or damaged (a ")
    assert _what_is_wrong(b"\x89PNG", OSError("else")) == "Pillow cannot read it (else)"


def test_up_to_twenty_classes_are_listed_and_more_go_into_a_file() -> None:
    for many, listed in ((20, True), (21, False)):
        note = relabelling_note(Relabelling(12.345, tuple(range(many))[::-1]), [f"c{n}" for n in range(many)])
        assert ("--classes 'c19,c18," in note) == listed
        assert ("--classes FILE" in note) != listed
        assert "12.35 %" in note or "12.34 %" in note


def test_text_between_two_places_ends_where_it_ends() -> None:
    lines = ["a = f'{b}'  # why\n", "c\n", "de\n"]
    assert _between(lines, (1, 4), (1, 10)) == "f'{b}'"
    assert _between(lines, (1, 4), (3, 1)) == "f'{b}'  # why\nc\nd"
    assert _between(lines, (1, 16), (2, 1)) == "y\nc"


def test_a_listing_is_that_of_the_name_that_was_asked_for() -> None:
    assert listing("blocks.py:ResidualBlock.forward").startswith("def forward(self")
    assert "shortcut" in listing("blocks.py:ResidualBlock.forward")
    assert "shortcut" not in listing("blocks.py:PlainBlock.forward")
    assert listing("blocks.py:PlainBlock").startswith("class PlainBlock(")
    assert listing("group.py:Group.takes").splitlines()[-1] == "    return number % self.size == self.rank"


def test_every_departure_is_a_sentence_and_names_of_fields() -> None:
    for name, publication in PUBLICATIONS.items():
        for departure in publication.departures:
            assert isinstance(departure.text, str), name
            assert departure.text.endswith("."), name
            assert all(field.isidentifier() for field in departure.about), name


OF_SYSTEMS = (
    *("__MACOSX", "Network Trash Folder", "Temporary Items", "lost+found", "$RECYCLE.BIN", "RECYCLER"),
    *("System Volume Information", "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot"),
    "__pycache__",
)


def test_folders_that_systems_add_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", *OF_SYSTEMS):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    found = list_images(tmp_path)
    assert found.classes == ("cat", "dog")
    assert sum(sum(one.values()) for one in found.left_out.values()) == len(OF_SYSTEMS)


def test_the_first_departure_of_cifar_is_the_warm_up_and_the_second_batch_normalisation() -> None:
    for name in ("cifar10", "cifar10-short", "cifar100"):
        departures = PUBLICATIONS[name].departures
        assert departures.index(WARM_UP) + 1 == departures.index(BATCH_NORM), name


def test_of_many_classes_the_first_three_and_the_last_are_shown() -> None:
    for many, shown in ((20, ", ".join(f"{number} = c{number:02}" for number in range(20))), (21, "")):
        line = order_line([f"c{number:02}" for number in range(many)], "by name")
        assert line == f"order of classes, by name: {shown or '0 = c00, 1 = c01, 2 = c02, ..., 20 = c20'}"


@pytest.mark.parametrize(
    ("given", "lacking"), [("dog,dog", "cat"), ("cat,cat", "dog"), ("cat", "dog"), ("dog", "cat")]
)
def test_a_class_that_is_not_given_is_named_whichever_it_is(
    given: str, lacking: str, tiny_dataset: Dataset
) -> None:
    with pytest.raises(ValueError, match=f"lacking: {lacking};"):
        with_order(replace(tiny_dataset, classes=("cat", "dog")), given)


class WarnsAsOldBatchesDo:
    def __reduce__(self) -> Any:
        return warnings.warn, ("dtype(): align should be passed as Python or NumPy boolean but got `align=0`.",)


def test_batches_that_an_old_numpy_pickled_are_read_without_its_warning() -> None:
    _unpickled(pickle.dumps(WarnsAsOldBatchesDo()))  # every other warning is an error here


def test_a_matrix_of_long_names_has_numbers_for_heads_and_one_of_short_names_the_names() -> None:
    counts = np.array([[3, 1], [0, 4]])
    short, long = (
        Inspection._matrix_text(cast(Inspection, SimpleNamespace(matrix=counts, classes=classes)))
        for classes in (("coat", "shirt"), ("coat", "shirts"))
    )
    assert [line.split() for line in short.splitlines()] == [
        ["coat", "shirt"],
        ["coat", "3", "1"],
        ["shirt", "0", "4"],
    ]
    assert [line.split() for line in long.splitlines()] == [
        ["[0]", "[1]"],
        ["coat", "[0]", "3", "1"],
        ["shirts", "[1]", "0", "4"],
    ]


def test_weights_that_are_alone_in_a_file_are_said_to_be_an_average_by_their_name(tmp_path: Path) -> None:
    state = network_of("cifar-plain8", channels=1, num_classes=2).state_dict()
    for name, words in (("model", ""), ("model_ema", "weights: model_ema; by its name an average")):
        torch.save({name: state}, tmp_path / "file.pt")
        assert read_checkpoint(tmp_path / "file.pt").words == words


# How many images, draws, steps and seeds a number is taken over: those of the records that are kept.
TAKEN_OVER: dict[str, dict[str, Any]] = {
    "seminar.construction": {"NUM_IMAGES": 1000, "SHARES": (0.0, 0.1, 0.25, 0.5, 1.0)},
    "seminar.folding": {"NUM_IMAGES": 1000},
    "seminar.gradient_norms": {"NUM_IMAGES": 128, "FIRST_ITERATIONS": (0, 1, 2, 5, 10, 45)},
    "seminar.lesions": {"NUM_IMAGES": 500, "NUMBERS": (1, 2, 3, 5, 8, 13, 21), "DRAWS": 4},
    "seminar.loss_landscape": {
        "NUM_IMAGES": 500,
        "DIRECTIONS": 10,
        "STEPS": (-1.0, -0.5, -0.25, -0.125, 0.0, 0.125, 0.25, 0.5, 1.0),
        "PLANE": 13,
        "LINE": 21,
    },
    "seminar.path_lengths": {"NUM_IMAGES": 64, "DRAWS": 8},
    "seminar.shattered_gradients": {"LINES": 8, "LAGS": (1, 2, 4, 8, 16, 32)},
    "seminar.signal_propagation": {"NUM_IMAGES": 128},
    "measures.responses": {"NUM_IMAGES": 1000},
    "inspection.measuring": {"NUM_IMAGES": 500},
    "subject.subject": {"NUM_FOR_STATISTICS": 1000},
    "evidence.families": {"ERROR_RATE": 0.05},
    "evidence.levels": {"DESCRIPTIVE_LEVEL": 0.95, "MIN_SEEDS": 3},
    "evidence.power": {"WANTED": 0.8, "MOST_SEEDS": 1000, "DRAWS": 20_000, "FARTHEST": 1e3},
    "evidence.copies": {"LEAST_VALUES": 10},
    "evidence.papers_terms": {"ILSVRC2012": (1_281_167, 50_000)},
    "inspection.agreement": {"TOLERANCE": 1e-6},
    "inspection.errors_and_responses": {"NEAR_CHANCE": 0.8},
    "inspection.relabelling": {"SHARE": 0.5, "POINTS": 20.0, "SHUFFLES": 20},
    "training.plateau": {"FACTOR": 0.1, "PATIENCE": 10},
    "training.training_curve": {"POINTS": 50},
    "data.loader": {
        "CHANNEL_MEAN": (0.485, 0.456, 0.406),
        "CHANNEL_STD": (0.229, 0.224, 0.225),
        "EIGENVALUES": (0.2175, 0.0188, 0.0045),
        "EIGENVECTORS": ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.814), (-0.5836, -0.6948, 0.4203)),
    },
    "data.fashion": {"SIDE": 28},
    "data.decoding": {"PHOTOMETRIC": 262, "SAMPLE_FORMAT": 339, "SIGNED": 2, "ORIENTATION": 274},
    "data.conversions": {"LOOKED_AT": 500, "DIM": 128},
    "data.images": {"MOST_READ": 1000},
    "architecture": {
        "BASIC_STAGES": {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)},
        "BOTTLENECK_STAGES": {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)},
    },
    "networks": {"CIFAR_STEM_WIDTH": 16},
    "modifications": {"DIRAC_SCALE": 0.1},
    "streams": {
        "NUM_STREAMS": 4,
        "SINKHORN_ITERATIONS": 20,
        "SHARPNESS": pytest.approx(math.log(27), rel=1e-15),
        "WRITES": (1 / 2, 5 / 6, 7 / 6, 3 / 2),
    },
    "tailored": {"FINAL_COSINE": 0.9},
    "seminar.residual_functions": {"NUM_IMAGES": 500, "MOMENTS": 12},
    "evidence.bookkeeping": {"CURVE_POINTS": 50},
    "executors.estimate": {"WARM_UP": 10, "ENOUGH": ((300, 15.0), (10, 60.0))},
    "executors.sharing": {"MOST_AT_ONCE": 4, "THIN": 64},
    "executors.fast_path": {
        "CHECKED": 7,
        "TOLERANCES": {
            "bf16": (1.5, "fp32"),
            "fp16": (1.5, "fp32"),
            "fp32": (0.5, "bf16"),
            "tf32": (0.5, "bf16"),
        },
    },
    "inspection.layer_table": {"TABLE_1": {18: 1.8, 34: 3.6, 50: 3.8, 101: 7.6, 152: 11.3}},
    "report.comparison": {"LEVEL": 0.95},
    "report.figures.landscape": {"LEAST": 1e-3, "MOST": 100.0},
    "training.session": {"CHECKPOINT_SECONDS": 300.0},
}


@pytest.mark.parametrize("module", TAKEN_OVER)
def test_numbers_are_taken_over_as_many_as_those_of_the_kept_records(module: str) -> None:
    values = vars(import_module(f"plain_vs_residual.{module}"))
    assert {name: values[name] for name in TAKEN_OVER[module]} == TAKEN_OVER[module]


OF_AN_EVALUATION = ("training_error", "validation_error", "validation_top5_error")
# What counts, what is left out and what is known by its name: the same in kept records, or promised to a reader.
WHAT_COUNTS: dict[str, dict[str, Any]] = {
    "evidence.as_declared": {"BUDGET": ("epochs", "iterations"), "OF_A_TRIAL": ("evaluations",)},
    "evidence.bookkeeping": {
        "ERRORS": OF_AN_EVALUATION,
        "IN_THE_OUTCOME": (*OF_AN_EVALUATION, "training_loss", "validation_loss"),
        "PERCENT": (*OF_AN_EVALUATION, "running_training_error"),
        "TAKEN_AGAIN": {
            "validation": ("measured_training", "evaluated_validation"),
            "test": ("measured_training",),
        },
    },
    "evidence.copies": {
        "NOT_COMPARED": [
            *("iteration", "epoch", "learning_rate"),
            *("training_seconds", "evaluation_seconds", "consumed"),
        ]
    },
    "evidence.differences": {
        "NOT_SHARED": {"network", "seed", "replayed_rates", "source_weights"},
        "SAME_MACHINE": (
            *("torch", "torchvision", "numpy", "python", "compiler"),
            *("device", "device_name", "cuda", "cudnn"),
        ),
        "RATES": {"learning_rate", "warm_up_iterations", "schedule", "drops"},
        "BUDGET": {"epochs", "iterations"},
    },
    "evidence.divergence": {
        "COUNT_AS_CHANCE": (
            *("running_training_error", "training_error", "validation_error", "test_error"),
            *("ten_crop_error", "validation_top5_error", "ten_crop_top5_error"),
        )
    },
    "inspection.measuring": {
        "OF_ALL_IMAGES": ("folding",),
        "WITHOUT_CLASSES": ("shattered_gradients", "signal_propagation", "residual_functions"),
    },
    "measures.first_iterations": {"WATCHED": {"conv1": "conv1", "bn1": "bn1", "fc": "logits"}},
    "report.comparison": {"OF_NO_INTEREST": ("seed", "network", "data_fingerprint")},
    "settings": {"NOT_TOLD": {"data", "epochs", "iterations", "evaluations", "probe_iterations"}},
    "study": {"NOT_OF_A_STUDY": {"name", "data", "seeds"}},
    "subject.namesakes": {
        "WITHOUT_WEIGHTS": (("plain", None), ("residual", "A")),
        "SEEN": (
            *("data", "image_size", "stem", "stem_width", "pixel_range", "subtract_mean"),
            *("enlarge_to", "modification"),
        ),
    },
    "subject.weight_sets": {
        "HEADS": ("linear", "classifier", "head", "head.fc", "fc"),
        "WRAPPERS": {
            *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
            *("_forward_module", "_module"),
        },
    },
    "training.native_step": {"ONLY_WEIGHTS": ("none", "zero-gamma", "delta-orthogonal")},
    "data.conversions": {"OTHER_COLOURS": ("CMYK", "YCbCr", "LAB", "HSV")},
    "data.decoding": {"ALPHA": ("RGBA", "LA", "PA", "RGBa", "La")},
    "data.listing": {"NOT_READ": {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}},
    "data.identity": {"JPEG_ENDINGS": (".jpg", ".jpeg", ".jpe", ".jfif")},
    "data.cifar_files": {
        "ARCHIVES": (".tar.gz", ".tgz", ".tar"),
        "OTHER_FORMS": ("binary", "matlab"),
        "OTHER_BATCHES": ("data_batch_1.bin", "data_batch_1.mat", "train.bin", "train.mat"),
    },
    "recipe": {"WATCHING": ("plateau", "replay")},
}


@pytest.mark.parametrize("module", WHAT_COUNTS)
def test_what_counts_is_what_is_written_here(module: str) -> None:
    values = vars(import_module(f"plain_vs_residual.{module}"))
    assert {name: values[name] for name in WHAT_COUNTS[module]} == WHAT_COUNTS[module]


def test_the_fingerprint_of_images_is_of_classes_labels_and_content_and_names_the_data_set() -> None:
    part = Listing(Path("images"), ("cat", "dog"), ["1", "2"], [0, 1])
    other = Listing(Path("images"), ("cat", "dog"), ["3"], [1])
    content = b"(('cat', 'dog'), [0, 1])ab(('cat', 'dog'), [1])c"
    expected = hashlib.sha256(content).hexdigest()
    given = [part, other], [[b"a", b"b"], [b"c"]]
    assert files_fingerprint(*given) == expected[:16]
    assert variant_of(*given) == f"images-{expected[:8]}"


def test_copies_are_told_by_kind_and_not_where_there_are_none() -> None:
    part = Listing(Path("images"), ("cat", "dog"), ["1", "2"], [0, 1])
    said = "copies, byte for byte: "
    assert copies(part, part, [[b"p", b"q"], [b"r", b"s"]]) == ""
    assert copies(part, part, [[b"p", b"q"], [b"p", b"s"]]) == (
        f"{said}1 of 2 validation images are training images as well"
    )
    assert copies(part, part, [[b"p", b"p"], [b"r", b"s"]]) == (
        f"{said}2 of 4 are in several classes, 1 are there once more in the same part"
    )


def test_a_departure_that_tells_of_the_stem_is_void_where_its_width_changes() -> None:
    for name in ("digits", "fashion"):
        assert ("stem", "stem_width") in [one.about for one in PUBLICATIONS[name].departures], name


# ---- experiments and records -----------------------------------------------------------------------------------


def test_the_family_of_an_experiment_on_request_is_its_own() -> None:
    plain = Experiment("E", "none", (), {"digits": ("plain18",), "fashion": ("plain18",)}, (), name="mine")
    asked = Experiment("E", "none", (), plain.networks, (), on_request=("fashion",), name="mine")
    assert [family_of(plain, one) for one in ("digits", "fashion")] == ["by default", "by default"]
    assert [family_of(asked, one) for one in ("digits", "fashion")] == ["by default", "on request"]


def test_a_claim_that_no_setting_can_judge_is_refused_though_it_names_none() -> None:
    claim = Claim("deeper", contrast={"plain34": 1, "plain18": -1}, above=0.5)
    experiment = Experiment("E", "none", (), {"digits": ("plain18",)}, (claim,), name="mine")
    with pytest.raises(ValueError, match="plain34"):
        experiment.check()


def test_what_one_of_two_runs_was_given_otherwise_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    (first,) = read_runs(tmp_path, "digits").records
    assert first.final is not None
    same = first.final.model_copy(update={"consumed": {"crops": "1", "flips": "2"}})
    other = same.model_copy(update={"consumed": {"crops": "1", "flips": "3"}})
    fewer = same.model_copy(update={"consumed": {"flips": "2"}})
    assert list(consumption(first, first, same, same)) == []
    (said,) = consumption(first, first, same, other)
    assert said == f"{CONSUMED.get('flips', 'flips')} differ (flips)"
    (lost,) = consumption(first, first, fewer, same)
    assert "(crops)" in lost


@pytest.mark.parametrize("which", [0, 1])
def test_a_column_of_one_run_alone_is_remarked_upon(tmp_path: Path, which: int) -> None:
    experiment = Experiment(
        "E", "none", (), {"digits": ("plain18",)}, (), measurement="gradient_norms", name="mine"
    )
    folders = [write_run(tmp_path, "digits", "plain18", seed) for seed in range(2)]
    for folder in folders:
        write_made_up_measurement(folder, experiment)
    path = folders[which].measurement("gradient_norms")
    values = read_json(path)
    write_json(path, sealed(values | {"summary": values["summary"] | {"age": 2.0}}))
    said = [line for line in remarks(read_runs(tmp_path, "digits"), [experiment]) if "not computed again" in line]
    assert said == ["not computed again from their tables: age (gradient_norms)"]


def test_losses_that_are_not_finite_say_where_a_run_should_have_ended(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    metrics = pd.read_csv(folder.metrics)
    record = read_record(folder)
    assert list(wrongly_diverged(record)) == []
    lost = metrics.assign(training_loss=metrics["training_loss"].where(metrics.index != 2))
    lost.to_csv(folder.metrics, index=False)
    point = metrics["iteration"][2]
    assert list(wrongly_diverged(record)) == [
        f"went on after iteration {point}, though its training loss was not finite there"
    ]
    ended = metrics.assign(running_training_loss=metrics["running_training_loss"][: len(metrics) - 1])
    ended.to_csv(folder.metrics, index=False)
    assert list(wrongly_diverged(record)) == [
        "finished, but the training loss of its last evaluation is not finite"
    ]
    assert record.final is not None
    diverged = replace(record, final=record.final.model_copy(update={"outcome": "diverged"}))
    assert list(wrongly_diverged(diverged)) == []


def test_a_summary_is_compared_where_it_is_stated_and_where_its_table_has_its_rows(tmp_path: Path) -> None:
    experiment = Experiment(
        "E", "none", (), {"digits": ("plain18",)}, (), measurement="gradient_norms", name="mine"
    )
    folder = write_run(tmp_path, "digits", "plain18", 0)
    write_made_up_measurement(folder, experiment)
    record, path = read_record(folder), folder.measurement("gradient_norms")
    whole = read_json(path)
    others = list(SUMMARIES["gradient_norms"])[1:]
    write_json(path, sealed(whole | {"summary": {name: whole["summary"][name] for name in others}}))
    assert list(wrong_summaries(record, "gradient_norms")) == []  # as an earlier version had left one out
    write_json(path, sealed(whole | {"summary": dict.fromkeys(others, 7.0)}))
    said = list(wrong_summaries(record, "gradient_norms"))
    assert [line.partition(":")[0] for line in said] == [f"gradient_norms, {name}" for name in others]
    rows = read_table(folder.measured("gradient_norms"), MeasuredRow).to_dict("records")
    few = [MeasuredRow(**{str(name): value for name, value in row.items()}) for row in rows]
    write_json(path, whole)
    taken = read_measurement(folder, "gradient_norms")
    write_measurement(folder, taken, [row for row in few if row.quantity != "output"])
    assert list(wrong_summaries(record, "gradient_norms")) == [
        "gradient_norms, gradient_growth_in_stage_1: its table lacks rows for it"
    ]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_what_was_written_durably_leaves_no_file_open(tmp_path: Path) -> None:
    write_json(tmp_path / "first.json", {})
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        write_json(tmp_path / f"{number}.json", {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_damaged_record_does_not_hide_how_the_others_were_executed(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "digits", "plain18", seed) for seed in range(2)]
    assert _recorded(folders) == "eager"
    folders[0].run.write_text("{", encoding="utf-8")
    assert _recorded(folders) == "eager"
    assert _recorded([*folders, RunFolder(tmp_path / "digits" / "plain18-s9")]) == "eager"
    assert _recorded(folders[:1]) is None


def test_runs_set_aside_within_one_second_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plain_vs_residual.records.files.time.strftime", lambda _: "20260101-000000")
    gone = [write_run(tmp_path, "digits", "plain18", 0, finished=False).set_aside().name for _ in range(3)]
    assert gone == [f"plain18-s0-20260101-000000{end}" for end in ("", "-2", "-3")]


# ---- figures ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_close_figures", "undrawn_figures")
def test_error_and_loss_stand_in_panels_of_their_own_against_epochs(tmp_path: Path) -> None:
    experiment = Experiment("E", "none", (), {"digits": ("plain18", "residual18")}, (), name="mine")
    recorded = write_results(tmp_path, [experiment], "digits", seeds=range(2))
    figure, table = FIGURES["error_and_loss"].draw(recorded, experiment)
    for axes, quantity, unit in zip(figure.axes, ("error", "loss"), ("%", "nats"), strict=True):
        assert (axes.get_title(), axes.get_xlabel()) == (quantity, "epoch")
        assert axes.get_ylabel() == f"{quantity} ({unit})"
        drawn = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert len(drawn) == 4
        expected = table[table["column"].str.endswith(quantity)].groupby(["network", "column"])
        found = sorted((list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in drawn)
        assert found == sorted(
            (list(map(float, one["epoch"])), list(map(float, one["mean"]))) for _, one in expected
        )


@pytest.mark.usefixtures("_close_figures", "undrawn_figures")
def test_a_cell_says_how_many_of_its_runs_diverged(tmp_path: Path) -> None:
    studies = tuple(Study(name, {"learning_rate": rate}) for name, rate in (("low", 0.05), ("high", 0.4)))
    experiment = Experiment("E", "none", (), {"digits": ("plain18",)}, (), {"digits": studies}, name="mine")
    for study in studies:
        for seed in range(2):
            diverged = study.name == "high" and seed == 1
            outcome: Any = "diverged" if diverged else "finished"
            write_run(
                tmp_path, "digits", "plain18", seed, study=study, errors=lambda *_: (10, 20), outcome=outcome
            )
    figure, _ = FIGURES["input_scaling_grid"].draw(read_runs(tmp_path, "digits"), experiment)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert sorted("D x 1" in one for one in words) == [False, True]
    assert not any("D x 0" in one or "D x 2" in one for one in words)


# ---- what a third hundred of planted faults passed over --------------------------------------------------


def test_the_value_of_a_setting_is_a_tuple_of_studies() -> None:
    with pytest.raises(ValueError, match=r"digits: \(Study\(.*,\) is needed, with a comma"):
        Experiment("E", "none", (), {"digits": ("plain18",)}, (), studies={"digits": Study("", {})})  # type: ignore[dict-item]


def test_a_checkpoint_in_one_piece_is_read_whatever_its_name(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "model-00001-of-00001.pt")
    (tmp_path / "model-00001-of-00002.pt").touch()
    assert read_checkpoint(tmp_path / "model-00001-of-00001.pt").taken.state.keys() == {"weight"}
    with pytest.raises(ValueError, match="one of 2 pieces"):
        read_checkpoint(tmp_path / "model-00001-of-00002.pt")


def test_every_name_of_an_import_is_followed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import plain_vs_residual.blocks, os, plain_vs_residual.networks\n")
    assert [path.name for path in imports_of(module)] == ["blocks.py", "networks.py"]


def test_what_differs_in_consumption_is_named_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    (record,) = read_runs(tmp_path, "digits").records
    names = list("fbdaeczyxw")
    one, other = (cast(FinalRecord, SimpleNamespace(consumed=dict.fromkeys(names, value))) for value in ("1", "2"))
    said = [line.partition(" differ")[0] for line in consumption(record, record, one, other)]
    assert said == sorted(names)


def test_the_marks_of_layer_responses_are_what_the_legend_says() -> None:
    experiment = load_experiment(EXPERIMENTS / "fig7_layer_responses.py")
    recorded = read_runs(REPOSITORY / "results" / "reference", "digits")
    figure, _ = FIGURES["layer_responses"].draw(recorded, experiment)
    looks = {
        line.get_label(): (line.get_linestyle(), line.get_marker(), line.get_markerfacecolor())
        for line in figure.axes[2].get_lines()
        if not len(line.get_xdata())
    }
    assert looks["at initialisation"][:2] == ("--", "None")
    assert looks["last layer of a block, F(x)"][:2] == ("None", "o")
    assert looks["last layer of a block, F(x)"][2] != "white"
    assert looks["inner layer"] == ("None", "o", "white")
    assert looks["a stage begins"][:2] == ("None", "|")
    plt.close(figure)
