"""Two results side by side: what differs, curves, paired differences, verdicts before and after."""

from pathlib import Path

import pandas as pd
import pytest

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli import training
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import run_folders
from plain_vs_residual.records.fingerprint import PACKAGE, code, code_hashes, hash_of
from plain_vs_residual.records.kept_code import diff_of_code, keep_code
from plain_vs_residual.records.store import read_run
from plain_vs_residual.report.comparison import compare, find_sides
from tests.made_up_records import read_json, reseal, usual_errors, write_results, write_run

EXPERIMENTS = load_experiments()
FIG4 = EXPERIMENTS["fig4_depth"]
BLOCKS = "plain_vs_residual/blocks.py"


def worse_residual(architecture: Architecture, seed: int) -> tuple[float, float]:
    training, validation = usual_errors(architecture, seed)
    added = 0 if architecture.kind == "plain" else 7 + seed
    return training + added, validation + added


def with_code(results: Path, text: str) -> None:
    """Pretend that the runs of ``digits`` were trained with another blocks.py, and keep it beside them."""
    value = hash_of(code(text))
    kept = results / "digits" / ".code" / f"{value}.py"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(text)
    for folder in run_folders(results / "digits"):
        write_json(folder.run, read_json(folder.run) | {"sources": {BLOCKS: value}})
        reseal(folder)


@pytest.fixture
def two_results(tmp_path: Path) -> tuple[Path, Path]:
    """Return results before and after a changed line in the residual block, three and four seeds of Fig. 4."""
    before, after = tmp_path / "before" / "results", tmp_path / "after" / "results"
    write_results(before, [FIG4], "digits", seeds=range(3))
    write_results(after, [FIG4], "digits", seeds=range(4), errors=worse_residual)
    with_code(before, "def forward(x):\n    return f(x) + shortcut(x)\n")
    with_code(after, "def forward(x):\n    return f(x) + 0.5 * shortcut(x)\n")
    return before, after


def test_the_page_says_what_differs_and_by_how_much(two_results: tuple[Path, Path], tmp_path: Path) -> None:
    ((before, after),) = find_sides(*two_results)
    markdown, html = compare(before, after, list(EXPERIMENTS.values()), tmp_path / "page")
    text = markdown.read_text()
    assert "-    return f(x) + shortcut(x)\n+    return f(x) + 0.5 * shortcut(x)" in text
    assert "Configuration, data set, versions and machine are the same." in text
    assert "has 4 finished runs that the other has not" in text
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")
    ]
    (residual,) = (row for row in rows if row[:2] == ["ResNet-34 A", "training error"])
    (plain,) = (row for row in rows if row[:2] == ["plain-34", "training error"])
    # Seeds 0 to 2 differ by 7, 8 and 9 points: mean 8, half width 4.30 / sqrt(3).
    low, high = Measurement({0: 7.0, 1: 8.0, 2: 9.0}, 0.95, 0.0).interval
    assert residual[-1].startswith("+8.00")
    assert f"{low:+.2f}" in residual[-1]
    assert f"{high:+.2f}" in residual[-1]
    assert plain[2] == plain[3]
    (claim,) = (row for row in rows if row[0] == "fig4_depth" and row[1] == FIG4.claims[0].statement)
    assert claim[2].startswith("reproduced")
    assert claim[2] != claim[3]
    drawn = pd.read_csv(tmp_path / "page" / "comparison.csv")
    assert set(drawn["results"]) == {"before", "after"}
    page = html.read_text()
    assert "<svg" in page
    assert "<ins>+    return f(x) + 0.5 * shortcut(x)</ins>" in page


def test_changed_settings_and_machines_are_named(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [FIG4], "digits", seeds=range(2))
    write_results(tmp_path / "results", [FIG4], "fashion", seeds=range(2))
    ((before, after),) = find_sides(tmp_path / "results" / "digits", tmp_path / "results" / "fashion")
    markdown, _ = compare(before, after, list(EXPERIMENTS.values()), tmp_path / "page")
    text = markdown.read_text()
    assert "- learning rate: 0.02 before, 0.01 after" in text
    assert "- data set: digits (scikit-learn) before, Fashion-MNIST (4,000 images) after" in text
    assert "The code that determines the numbers is the same." in text


def test_a_diverged_run_counts_as_guessing_in_a_comparison_too(tmp_path: Path) -> None:
    for place, outcome in (("before", "finished"), ("after", "diverged")):
        write_run(tmp_path / place, "digits", "plain18", 0, outcome=outcome, errors=lambda *_: (10.0, 20.0))
    ((before, after),) = find_sides(tmp_path / "before", tmp_path / "after")
    markdown, _ = compare(before, after, [FIG4], tmp_path / "page")
    text = markdown.read_text()
    assert "| plain-18 | training error | 10.00 | 90.00 | +80.00, 1 seed |" in text
    assert "| plain-18 | validation error | 20.00 | 90.00 | +70.00, 1 seed |" in text


def test_results_with_nothing_in_common_are_refused_in_one_line(tmp_path: Path) -> None:
    write_results(tmp_path / "a", [FIG4], "digits", seeds=[0])
    write_results(tmp_path / "b", [FIG4], "digits", seeds=[1])
    ((before, after),) = find_sides(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="no finished run of one network, study and seed in both"):
        compare(before, after, [FIG4], tmp_path / "page")
    with pytest.raises(ValueError, match="no such folder"):
        find_sides(tmp_path / "a", tmp_path / "c")
    write_results(tmp_path / "a", [FIG4], "fashion", seeds=[0])
    write_results(tmp_path / "c", [FIG4], "cifar10", seeds=[0])
    with pytest.raises(ValueError, match=r"no setting in common \(digits, fashion and cifar10\)"):
        find_sides(tmp_path / "a", tmp_path / "c")


def test_a_finished_training_is_not_an_error_for_want_of_something_to_compare_it_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody asked for this comparison."""
    default, own = tmp_path / "default", tmp_path / "own" / "results"
    monkeypatch.setattr(training, "RESULTS", default)
    write_run(own, "digits", "plain18", 0)
    assert training._compared(own / "digits", None) == []
    for variant in ("images-of-mine", "others"):
        write_run(default, "digits", "plain18", 0, variant=variant)
    assert training._compared(own / "digits", None) == []
    assert "no setting in common" in capsys.readouterr().out
    write_run(default, "digits", "plain18", 0)
    assert [path.name for path in training._compared(own / "digits", None)] == ["comparison.md", "comparison.html"]
    assert capsys.readouterr().out == ""
    (default / "digits" / "plain18-s0" / "metrics.csv").write_text("damaged")
    assert training._compared(own / "digits", None) == []
    said = capsys.readouterr().out
    assert said.startswith(f"note: not compared with {default / 'digits'} (")
    assert "metrics.csv: damaged" in said


def test_the_code_of_a_run_is_kept_beside_it_and_found_by_its_hash(two_results: tuple[Path, Path]) -> None:
    before, _ = two_results
    run = read_run(run_folders(before / "digits")[0])
    keep_code(before / "digits")
    kept = {path.stem for path in (before / "digits" / ".code").iterdir()}
    assert set(code_hashes().values()) < kept
    now = run.model_copy(update={"sources": {BLOCKS: code_hashes()[BLOCKS]}})
    (diff,) = diff_of_code((before / "digits", run), (before / "elsewhere", now))
    assert "-    return f(x) + shortcut(x)" in diff
    assert "+class ResidualBlock(PlainBlock):" in diff
    lost = run.model_copy(update={"sources": {BLOCKS: "0123456789abcdef"}})
    assert diff_of_code((before, lost), (before, now)) == [f"{BLOCKS}: differs, but its text before is not kept\n"]
    assert (PACKAGE / "blocks.py").is_file()
