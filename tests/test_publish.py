"""When reports are drawn: once for what there is, again when records or code change, seldom while training."""

from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual import publish, report
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.publish import Refresher
from plain_vs_residual.records import RunFolder
from tests.made_up_records import reseal, write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    experiment = load_experiments()["table3_shortcuts"]
    write_results(tmp_path / "results", [experiment], "digits", seeds=range(1))
    return tmp_path / "results"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    whole = report.write_report

    def counted(*args: Any, **options: Any) -> list[Path]:
        calls.append(options.get("redraw"))
        return whole(*args, **options)

    monkeypatch.setattr(report, "write_report", counted)
    return calls


def test_nothing_is_drawn_twice(results: Path, drawn: list[Any]) -> None:
    paths = publish.publish(results, None, "digits")
    assert [path.name for path in paths] == ["report.md", "report.html"]
    assert publish.publish(results, None, "digits") == paths
    assert len(drawn) == 1


@pytest.mark.parametrize("change", ["record", "figure", "code", "memory"])
def test_what_changed_is_drawn_anew(
    results: Path, drawn: list[Any], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (page, *_) = publish.publish(results, None, "digits")
    if change == "record":
        record = next((results / "digits").glob("*/metrics.csv"))
        record.write_text(record.read_text().replace("0.1", "0.2", 1))
        reseal(RunFolder(record.parent))
    elif change == "figure":
        (page.parent / "table3_shortcuts.png").unlink()
    elif change == "code":
        monkeypatch.setattr(publish, "EXPERIMENTS", results)
    else:
        (page.parent.parent / ".digits.json").write_text('{"content":')
    publish.publish(results, None, "digits")
    assert len(drawn) == 2
    assert (page.parent / "table3_shortcuts.png").exists()


def test_a_report_is_refreshed_every_few_minutes(
    results: Path, drawn: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(publish.time, "monotonic", lambda: now)
    monkeypatch.setattr(report, "draw", lambda *_: None)
    refresh = Refresher(results, None, "digits", "")
    refresh(["table3_shortcuts"])
    refresh(["fig4_depth"])
    assert drawn == []
    now += publish.REFRESH_SECONDS
    refresh(["fig7_layer_responses"])
    assert len(drawn) == 1
    refresh(["fig4_depth"])
    assert len(drawn) == 1


def test_a_report_that_cannot_be_refreshed_does_not_end_the_training(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "REFRESH_SECONDS", 0.0)
    next((results / "digits").glob("*/run.json")).write_text("{}")
    Refresher(results, None, "digits", "")(["table3_shortcuts"])
    assert "note: the report could not be refreshed" in capsys.readouterr().out
