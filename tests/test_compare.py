"""Two results side by side: what differs, curves, paired differences, verdicts before and after."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli import training
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.experiment import Claim, Experiment, Study, load_experiments
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import run_folders
from plain_vs_residual.records.fingerprint import PACKAGE, code, code_hashes, hash_of
from plain_vs_residual.records.kept_code import diff_of_code, keep_code
from plain_vs_residual.records.store import read_run
from plain_vs_residual.report.comparison import compare, find_sides
from plain_vs_residual.report.figures.comparison import comparison_figure
from tests.made_up_records import read_json, reseal, usual_errors, write_results, write_run

pytestmark = pytest.mark.usefixtures("undrawn_figures")

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
    assert claim[2].startswith("holds here")
    assert claim[2] != claim[3]
    drawn = pd.read_csv(tmp_path / "page" / "comparison.csv")
    assert set(drawn["results"]) == {"before", "after"}
    page = html.read_text()
    assert "<svg" in page
    assert "<ins>+    return f(x) + 0.5 * shortcut(x)</ins>" in page


# By network and study: training errors of seeds 0, 1, ... before and after; validation errors are twice those.
BY_HAND = {
    ("plain18", ""): ((10.0, 20.0, 30.0), (32.0, 11.0, 22.0, 44.0)),  # other ranks; a seed that was not there
    ("plain34", ""): ((12.0, 13.0, 14.0), (14.0, 15.0, 16.0)),  # all differences are 2
    ("residual18-A", ""): ((5.0, 6.0, 7.0), (5.0, 6.0, 7.0)),
    ("plain18", "fast"): ((40.0,), (45.0,)),
}


@pytest.fixture
def sides_by_hand(tmp_path: Path) -> Any:
    for number, place in enumerate(("before", "after")):
        for (network, study), errors in BY_HAND.items():
            for seed, error in enumerate(errors[number]):
                write_run(
                    tmp_path / place,
                    "digits",
                    network,
                    seed,
                    study=Study(study, {"learning_rate": 0.05}, "made up") if study else None,
                    errors=lambda *_, error=error: (error, 2 * error),
                )
    ((before, after),) = find_sides(tmp_path / "before", tmp_path / "after")
    return before, after


def test_differences_are_those_of_each_seed_and_their_interval_that_of_their_spread(
    sides_by_hand: Any, tmp_path: Path
) -> None:
    """By rank, plain-18 would differ by 1, 2 and 2: the same mean, another interval."""
    claim = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, above=0.5, primary=True)
    claimed = Experiment("E", "none", (), {"digits": ("plain34", "plain18")}, (claim,), name="mine")
    markdown, _ = compare(*sides_by_hand, [claimed], tmp_path / "page")
    text = markdown.read_text()
    # 22, -9 and -8 around 5/3 spread by 17.616; times 4.302653 / sqrt(3).
    paired = "+1.67, interval -42.09 to +45.43 (95 %), 3 seeds"
    assert f"| plain-18 | training error | 20.00 | 21.67 | {paired} |" in text
    # Twice as much; and where all agree, one of 360 images: 100 / 360 * 4.302653 / sqrt(3) = 0.69.
    assert (
        "| plain-18 | validation error | 40.00 | 43.33 | +3.33, interval -84.19 to +90.86 (95 %), 3 seeds |"
        in text
    )
    assert "| plain-34 | training error | 13.00 | 15.00 | +2.00, interval +1.31 to +2.69 (95 %), 3 seeds |" in text
    assert "| ResNet-18 A | training error | 6.00 | 6.00 | +0, interval +0 to +0 (95 %), 3 seeds |" in text
    assert "| plain-18, fast | training error | 40.00 | 45.00 | +5.00, 1 seed |" in text
    assert "has 1 finished runs that the other has not" in text
    # The claim counts all seeds that each side has complete: 2, -7, -16 before, -18, 4, -6 after.
    before = "open: -7.00, interval -29.36 to +15.36 (95 %), 3 seeds"
    after = "open: -6.67, interval -34.03 to +20.70 (95 %), 3 seeds"
    assert f"| mine | deeper is worse | {before} | {after} |" in text
    drawn = pd.read_csv(tmp_path / "page" / "comparison.csv", keep_default_na=False)
    last = drawn[drawn["iteration"] == drawn["iteration"].max()].set_index(["network", "study", "results"])
    columns = ["mean", "min", "max"]
    assert last.loc[("plain18", "", "before"), columns].tolist() == pytest.approx([20, 10, 30])
    assert last.loc[("plain18", "", "after"), columns].tolist() == pytest.approx([65 / 3, 11, 32])
    assert last.loc[("plain18", "fast", "after"), columns].tolist() == pytest.approx([45, 45, 45])


def test_the_figure_draws_before_dashed_and_after_bold_and_a_dot_a_seed(sides_by_hand: Any) -> None:
    before, after = sides_by_hand
    common = [("plain18", "", seed) for seed in range(3)]
    paired, other = Measurement({0: 1.0, 1: 2.0, 2: 6.0}, 0.95, 0.0), Measurement({0: 70.0}, 0.95, 0.0)
    differences: list[Any] = [
        SimpleNamespace(network="plain-18", column="running_training_error", paired=paired),
        SimpleNamespace(network="plain-18", column="validation_error", paired=other),
    ]
    figure, _ = comparison_figure(before.recorded, after.recorded, common, differences)
    curves, dots = figure.axes[:2]
    ends = {line.get_label(): line.get_xydata()[-1].tolist() for line in curves.lines}
    assert ends == {"before": pytest.approx([449, 20]), "after": pytest.approx([449, 65 / 3])}
    assert [line.get_linestyle() for line in curves.lines] == ["--", "-"]
    interval, seeds, mean, _ = dots.lines
    assert interval.get_xdata().tolist() == pytest.approx(paired.interval)
    assert seeds.get_xdata().tolist() == [1, 2, 6]
    assert mean.get_xdata() == pytest.approx([3])
    assert [label.get_text() for label in dots.get_yticklabels()] == ["plain-18"]
    plt.close(figure)


def test_changed_settings_and_machines_are_named(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [FIG4], "digits", seeds=range(2))
    write_results(tmp_path / "results", [FIG4], "fashion", seeds=range(2))
    ((before, after),) = find_sides(tmp_path / "results" / "digits", tmp_path / "results" / "fashion")
    markdown, _ = compare(before, after, list(EXPERIMENTS.values()), tmp_path / "page")
    text = markdown.read_text()
    assert "- learning rate: 0.02 before, 0.01 after" in text
    assert "- data set: digits (scikit-learn) before, Fashion-MNIST (4,000 images) after" in text
    assert "The code that determines the numbers is the same." in text


def test_every_version_and_machine_that_differs_is_named(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place, "digits", "plain18", 0) for place in ("before", "after")]
    run = read_json(folders[1].run)
    run["environment"] |= {"torch": "3.0", "device_name": "Loom", "git_commit": "fedcba987654"}
    write_json(folders[1].run, run)
    reseal(folders[1])
    ((before, after),) = find_sides(tmp_path / "before", tmp_path / "after")
    markdown, _ = compare(before, after, [FIG4], tmp_path / "page")
    listed = [line for line in markdown.read_text().splitlines() if line.startswith("- ")]
    assert listed == [
        "- torch: 2.99.0+made-up before, 3.0 after",
        "- device name: Abacus before, Loom after",
        "- git commit: 0123456789ab before, fedcba987654 after",
    ]


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
