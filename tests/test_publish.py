"""When reports are written: at the end and regularly between runs; a failing report never stops training."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import EXPERIMENTS, load_experiments
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.report import page
from plain_vs_residual.report import publish as publishing
from plain_vs_residual.report.publish import Refresher, find_recorded_runs, headlines, publish
from tests.made_up_records import write_results


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


def test_a_report_is_refreshed_every_few_minutes(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(page, "write_report", lambda *_: calls.append(_) or [])
    now = 1000.0
    monkeypatch.setattr(publishing.time, "monotonic", lambda: now)
    refresh = Refresher(results, None, "digits", "digits", {0: [RunFolder(tmp_path / "unfinished")]})
    refresh()
    refresh()
    assert calls == []
    now += publishing.REFRESH_SECONDS
    refresh()
    assert len(calls) == 1
    refresh()
    assert len(calls) == 1


def test_the_page_of_the_first_seed_is_there_as_soon_as_it_is_complete(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        page,
        "write_report",
        lambda *_: (
            calls.append(_) or [tmp_path / "digits-tried" / "report.html", tmp_path / "digits" / "report.html"]
        ),
    )
    first, second, third, last = (RunFolder(tmp_path / f"s{seed}") for seed in range(4))
    third.path.mkdir()
    third.final.write_text("{}")  # was complete before
    refresh = Refresher(results, None, "digits", "digits", {0: [first], 1: [second], 2: [third], 3: [last]})
    refresh()
    assert calls == []
    first.path.mkdir()
    first.final.write_text("{}")
    refresh()
    refresh()
    assert len(calls) == 1
    assert f"seed 0 is complete: {tmp_path / 'digits' / 'report.html'}" in capsys.readouterr().out
    for folder in (second, last):
        folder.path.mkdir()
        folder.final.write_text("{}")
        refresh()
        assert len(calls) == 1  # drawing takes time from the runs; and at the very end others draw


def test_nothing_is_refreshed_after_the_last_run(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(page, "write_report", lambda *_: calls.append(_) or [])
    monkeypatch.setattr(publishing, "REFRESH_SECONDS", 0.0)
    only = RunFolder(tmp_path / "s0")
    refresh = Refresher(results, None, "digits", "digits", {0: [only]})
    only.path.mkdir()
    only.final.write_text("{}")
    refresh()  # the first seed is complete, and it is long since anything was drawn: but the end draws anyway
    assert calls == []


def test_a_report_that_cannot_be_refreshed_does_not_end_the_training(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "REFRESH_SECONDS", 0.0)
    next((results / "digits").glob("*/run.json")).write_text("{}")
    Refresher(results, None, "digits", "digits", {0: [RunFolder(tmp_path / "unfinished")]})()
    assert "note: the report could not be refreshed" in capsys.readouterr().out


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
