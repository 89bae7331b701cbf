"""When reports are written: at the end and regularly between runs; a failing report never stops training."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import EXPERIMENTS, load_experiments
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report import kept_pages, page
from plain_vs_residual.report import publish as publishing
from plain_vs_residual.report.figures.paper import depth_curves
from plain_vs_residual.report.publish import Refresher, find_recorded_runs, headlines, publish
from tests.made_up_records import reseal, write_results, write_run

pytestmark = pytest.mark.usefixtures("undrawn_figures")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    experiment = load_experiments()["table3_shortcuts"]
    write_results(tmp_path / "results", [experiment], "digits", seeds=range(1))
    return tmp_path / "results"


def test_reports_and_figures_are_drawn_beside_the_results(results: Path) -> None:
    paths = publish(results, None, "digits")
    assert [path.name for path in paths] == ["report.md", "report.html"]
    drawn = paths[0].parent / "table3_shortcuts.png"
    drawn.unlink()
    publish(results, None, "digits")
    assert drawn.exists()


def drawn_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Publish, and say whether a page was drawn for it: a small one."""
    drawn = []

    def write(recorded: RecordedRuns, experiments: object, folder: Path) -> list[Path]:
        drawn.append(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in ("figure.png", "figure.csv", "report.md", "report.html")]
        for path in paths:
            path.write_text("drawn", encoding="utf-8")
        return paths[-2:]

    monkeypatch.setattr(page, "write_report", write)
    paths = publish(results, None, "digits")
    assert [path.name for path in paths] == ["report.md", "report.html"]
    assert all(path.is_file() for path in paths)
    return bool(drawn)


def test_pages_are_kept_as_long_as_nothing_changes(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn_again(results, monkeypatch)
    assert not drawn_again(results, monkeypatch)
    weights = next((results / "digits").glob("*/run.json")).with_name("weights.pt")
    weights.write_bytes(b"these are not drawn")
    assert not drawn_again(results, monkeypatch)


def _a_run_more(results: Path) -> None:
    write_run(results, "digits", "plain18", 0)


def _a_run_begins(results: Path) -> None:
    write_run(results, "digits", "plain18", 0, finished=False)


def _a_run_less(results: Path) -> None:
    shutil.rmtree(next((results / "digits").glob("*-s0")))


def _an_error_is_another(results: Path) -> None:
    path = next((results / "digits").glob("*/run.json"))
    path.write_text(path.read_text().replace("Abacus", "Difference engine"))
    reseal(RunFolder(path.parent))


def _a_figure_is_damaged(results: Path) -> None:
    path = next((results.parent / "plots").glob("*/*.png"))
    path.write_bytes(path.read_bytes()[:-1])


def _a_table_is_gone(results: Path) -> None:
    next((results.parent / "plots").glob("*/*.csv")).unlink()


def _a_report_of_less(results: Path) -> None:
    (results.parent / "plots" / "digits" / "report.html").write_text("of one experiment", encoding="utf-8")


def _what_was_noted_is_damaged(results: Path) -> None:
    (results.parent / "plots" / ".digits.drawn.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        *(_a_run_more, _a_run_begins, _a_run_less, _an_error_is_another),
        *(_a_figure_is_damaged, _a_table_is_gone, _a_report_of_less, _what_was_noted_is_damaged),
    ],
)
def test_pages_are_drawn_again_once_a_record_or_a_file_of_theirs_changed(
    change: Callable[[Path], None], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn_again(results, monkeypatch)
    change(results)
    assert drawn_again(results, monkeypatch)
    assert not drawn_again(results, monkeypatch)


def test_pages_are_drawn_again_by_other_code_and_other_versions_of_what_draws(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn_again(results, monkeypatch)
    monkeypatch.setattr(kept_pages, "version", lambda package: "99" if package == "matplotlib" else "1")
    assert drawn_again(results, monkeypatch)
    assert not drawn_again(results, monkeypatch)
    package = tmp_path / "package"
    shutil.copytree(kept_pages.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    monkeypatch.setattr(kept_pages, "PACKAGE", package)
    assert drawn_again(results, monkeypatch)
    for changed in ("report/figures/style.py", "report/templates/page.html.j2"):
        (package / changed).write_text((package / changed).read_text(encoding="utf-8") + " ", encoding="utf-8")
        assert drawn_again(results, monkeypatch)
    assert not drawn_again(results, monkeypatch)


def test_what_came_out_of_the_primary_claims_is_a_line_each(results: Path) -> None:
    (line,) = headlines(results, "digits", "digits")
    assert line.startswith(
        "undecided: Projections are not essential: the training errors of C, with projections alone,"
    )
    assert line.endswith("(table3_shortcuts; +0, 1 seed)")


def test_of_experiments_that_were_named_every_claim_is_a_line(tmp_path: Path) -> None:
    experiments = load_experiments()
    recorded = [experiments[name] for name in ("fig4_depth", "table3_shortcuts")]
    write_results(tmp_path, recorded, "digits", seeds=range(3))
    claims = experiments["fig4_depth"].claims
    lines = list(headlines(tmp_path, "digits", "digits", named=["fig4_depth"]))
    assert len(lines) == len(claims) > 1
    for line, claim in zip(lines, claims, strict=True):
        assert claim.statement.replace("validation", "test") in line.replace("validation", "test")
        assert "(fig4_depth; " in line
        assert line.split(":")[0] in (
            ("holds here", "does not hold here", "undecided")
            if claim.primary
            else ("agrees", "disagrees", "falls short", "open")
        )
    assert "table3_shortcuts" in "".join(headlines(tmp_path, "digits", "digits"))


def test_a_claim_of_a_named_experiment_without_a_complete_seed_says_so(tmp_path: Path) -> None:
    fig4 = load_experiments()["fig4_depth"]
    write_results(tmp_path, [replace(fig4, networks={"digits": ("plain18",)})], "digits", seeds=range(1))
    assert list(headlines(tmp_path, "digits", "digits")) == []
    first, *_ = headlines(tmp_path, "digits", "digits", named=["fig4_depth"])
    assert first.startswith("open: Depth raises")
    assert first.endswith("(fig4_depth; complete seeds: 0, needed: 3; not registered before its runs)")


class Drawn:
    """Stands for a process that draws, and ends when it is told to."""

    def __init__(self, words: Sequence[str], *, ends: bool = True, fault: str = "") -> None:
        self.words = words
        self.ends = ends
        self.words_of_fault = fault
        self.stopped = False

    def ended(self) -> bool:
        return self.ends

    def fault(self) -> str:
        return self.words_of_fault

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """Collect what refreshers begin to draw, in place of processes."""
    begun: list[Drawn] = []
    monkeypatch.setattr(publishing, "Drawing", lambda words: begun.append(Drawn(words)) or begun[-1])
    return begun


class Clock:
    """The clock of refreshers, which a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(publishing, "time", found)
    return found


def begun_run(folder: Path) -> RunFolder:
    """Make the folder of a run that was evaluated and is not finished."""
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.metrics.write_text("iteration\n")
    return run


def finish(run: RunFolder) -> None:
    run.path.mkdir(exist_ok=True)
    run.final.write_text("{}")


def test_a_page_is_there_within_ten_minutes_and_drawn_anew_as_often(
    tmp_path: Path, drawings: list[Drawn], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    began_at, run = clock.now, begun_run(tmp_path / "unfinished")
    refresh = Refresher(tmp_path / "results", None, "digits", "digits", {0: [run]})
    begun = []
    while clock.now < began_at + 1800:
        refresh()  # a run ended
        refresh.meanwhile()
        if len(drawings) > len(begun):
            begun.append(clock.now - began_at)
        clock.now += 10
    assert begun[0] < 500  # drawing takes a while
    assert [after - before for before, after in pairwise(begun)] == [publishing.REFRESH_SECONDS] * 2
    assert drawings[0].words == ["report", "--setting", "digits", "--results", str(tmp_path / "results")]
    page = tmp_path / "plots" / "digits" / "report.html"
    assert capsys.readouterr().out == f"  page so far: {page}\n"  # once


def test_nothing_is_drawn_before_there_is_a_curve(tmp_path: Path, drawings: list[Drawn], clock: Clock) -> None:
    folder = tmp_path / "unfinished"
    refresh = Refresher(tmp_path, None, "digits", "digits", {0: [RunFolder(folder)]})
    clock.now += publishing.FIRST_SECONDS
    refresh.meanwhile()
    assert drawings == []
    begun_run(folder)
    clock.now += publishing.AGAIN_SECONDS
    refresh.meanwhile()
    assert len(drawings) == 1


def test_one_page_is_drawn_at_a_time_and_stopped_at_the_end(
    tmp_path: Path, drawings: list[Drawn], clock: Clock
) -> None:
    refresh = Refresher(tmp_path, None, "digits", "digits", {0: [begun_run(tmp_path / "unfinished")]})
    clock.now += publishing.FIRST_SECONDS
    refresh.meanwhile()
    drawings[0].ends = False
    clock.now += 10 * publishing.REFRESH_SECONDS
    refresh.meanwhile()
    assert len(drawings) == 1
    refresh.close()
    assert drawings[0].stopped


def test_the_page_of_the_first_seed_is_there_as_soon_as_it_is_complete(
    tmp_path: Path, drawings: list[Drawn], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third, last = (RunFolder(tmp_path / f"s{seed}") for seed in range(4))
    finish(third)  # was complete before
    begun_run(first.path)
    runs = {0: [first], 1: [second], 2: [third], 3: [last]}
    refresh = Refresher(tmp_path / "results", None, "digits", "digits-tried", runs)
    refresh()
    assert drawings == []
    finish(first)
    refresh()
    refresh()
    assert len(drawings) == 1
    page = tmp_path / "plots" / "digits-tried" / "report.html"
    assert f"seed 0 is complete: {page}" in capsys.readouterr().out
    for run in (second, last):
        finish(run)
        refresh()
        assert len(drawings) == 1  # drawing takes time from the runs; and at the very end others draw


def test_nothing_is_refreshed_after_the_last_run(
    tmp_path: Path, drawings: list[Drawn], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "FIRST_SECONDS", 0.0)
    only = begun_run(tmp_path / "s0")
    refresh = Refresher(tmp_path, None, "digits", "digits", {0: [only]})
    finish(only)
    refresh()  # the first seed is complete, and it is long since anything was drawn: but the end draws anyway
    assert drawings == []


def drawn_now(results: Path, run: RunFolder, setting: str = "digits") -> Path:
    """Have a refresher draw by a process, now, and return the path of the page."""
    refresh = Refresher(results, None, setting, setting, {0: [run]})
    refresh.due = 0.0
    refresh.meanwhile()
    assert refresh.drawing
    while refresh.drawing:
        time.sleep(0.1)
        refresh.meanwhile()
    return refresh.page


def test_a_report_that_cannot_be_refreshed_does_not_end_the_training(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((results / "digits").glob("*/run.json")).write_text("{}")
    drawn_now(results, begun_run(tmp_path / "unfinished"))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("note: the report could not be refreshed (error: ")
    assert line.endswith("; training goes on")


def test_a_machine_that_starts_no_process_to_draw_goes_on_training(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(words: Sequence[str]) -> Any:
        raise OSError("no more processes")

    run = begun_run(tmp_path / "unfinished")
    refresh = Refresher(tmp_path, None, "digits", "digits", {0: [run]}, refuse)
    clock.now += publishing.FIRST_SECONDS
    refresh.meanwhile()
    refresh.close()
    expected = "note: the report could not be refreshed (no more processes); training goes on\n"
    assert capsys.readouterr().out == expected


def test_the_page_on_the_way_marks_what_is_not_finished_and_says_how_many_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    run = write_run(results, "cifar10", "plain18", 0, finished=False)
    write_run(results, "cifar10", "plain34", 0)
    page = drawn_now(results, run, "cifar10")
    assert capsys.readouterr().out == f"  page so far: {page}\n"
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    under_way = "1 of the 6 runs that the experiments below need for seed 0 are finished; not yet: plain18-s0"
    assert f"**Under way:** {under_way} (at iteration 32,000 of 64,000).\n" in text
    drawing = (page.parent / "fig4_depth.svg").read_text(encoding="utf-8")
    assert "plain-18 (not finished)" in drawing
    assert "plain-34 (not finished)" not in drawing
    assert "18, 34 layers: not run" in drawing
    # A page of runs that are all finished says nothing of it.
    shutil.rmtree(run.path)
    publish(results, None, "cifar10")
    assert "Under way" not in page.with_suffix(".md").read_text(encoding="utf-8")


def test_of_unfinished_runs_the_furthest_is_drawn_and_none_beside_a_finished_one(tmp_path: Path) -> None:
    results, experiment = tmp_path / "results", load_experiments()["fig4_depth"]
    early, _ = (write_run(results, "cifar10", "plain18", seed, finished=False) for seed in (0, 1))
    for file in (early.metrics, early.training_curve):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))

    def counts() -> set[int]:
        (recorded,) = find_recorded_runs(results, "cifar10", [experiment])
        return set(depth_curves(recorded, experiment)[1]["count"])

    assert counts() == {1}
    write_run(results, "cifar10", "plain18", 2)
    assert counts() == {1}
    write_run(results, "cifar10", "plain18", 3)
    assert counts() == {2}


def test_a_file_that_is_left_out_does_not_narrow_the_intervals_of_others_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = tmp_path / "experiments", tmp_path / "results"
    shutil.copytree(EXPERIMENTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(publishing, "load_experiments", lambda: load_experiments(folder))
    write_results(results, [load_experiments()[name] for name in ("fig4_depth", "table3_shortcuts")], "digits")

    def told(results: Path) -> tuple[str, dict[str, float], str]:
        experiments = list(load_experiments(folder).values())
        (recorded,) = find_recorded_runs(results, "digits", experiments)
        primary = [one for one in judge(recorded, experiments) if one.claim.primary]
        markdown, _ = publish(results, None, "digits")
        levels = {one.experiment: one.measurement.level for one in primary}
        return "\n".join(headlines(results, "digits", "digits")), levels, markdown.read_text(encoding="utf-8")

    lines, levels, page_before = told(results)
    assert "unread" not in lines
    assert "cannot be read" not in page_before
    broken = folder / "table3_shortcuts.py"
    broken.write_text(broken.read_text(encoding="utf-8").replace("Experiment(", "Experimnt(", 1), encoding="utf-8")
    _, left, page_after = told(results)
    assert left.items() < levels.items()  # the same level for those that are left
    assert "**Note:** table3\\_shortcuts.py in `experiments/` is left out" in page_after
    # Where it is broken before anything is registered, it counts as one claim.
    write_results(tmp_path / "later" / "results", [load_experiments(folder)["fig4_depth"]], "digits")
    lines, levels, page = told(tmp_path / "later" / "results")
    assert levels["fig4_depth"] == 0.975
    assert "counted unread" in lines
    assert "table3_shortcuts.py" in lines
    assert "its level counts table3\\_shortcuts.py, which cannot be read" in page
