"""Single lines that decide a number or a word, and that longer tests pass over: each by a value known before."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import pytest

from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.data.decoding import _what_is_wrong
from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.families import family_of
from plain_vs_residual.executors import measuring
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.group import Group
from plain_vs_residual.inspection.relabelling import Relabelling, relabelling_note
from plain_vs_residual.records.fingerprint import _between
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.report.listing import listing
from plain_vs_residual.settings.publications import PUBLICATIONS
from plain_vs_residual.training import loop
from plain_vs_residual.training.place import CPU
from tests.conftest import Silent
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
            measuring.measure(measuring.replace(job, arithmetic=wanted), CPU, dataset, "gradient_norms")
        assert (seen[-1].devices, seen[-1].threads, seen[-1].precision) == (1, of_it, "fp32")


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


# ---- figures ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_close_figures", "small_figures")
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


@pytest.mark.usefixtures("_close_figures", "small_figures")
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
