"""Hand-outs: what is asked and what came out, as Markdown and on paper."""

import re
from pathlib import Path

import pytest

from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.handout import HEIGHT, MARGIN, Sheets, write_handouts
from plain_vs_residual.report.page import write_report
from plain_vs_residual.report.tables import number_and_interval
from tests.conftest import command
from tests.made_up_records import read_runs, write_results

pytestmark = pytest.mark.usefixtures("small_figures")
EXPERIMENTS = load_experiments()
ALL = list(EXPERIMENTS.values())
ASKING = [EXPERIMENTS[name] for name in ("fig4_depth", "gradient_norms")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedRuns:
    return write_results(tmp_path_factory.mktemp("handout") / "results", ASKING, "digits")


@pytest.fixture(scope="module")
def sheets(recorded: RecordedRuns, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_handouts(recorded, ALL, tmp_path_factory.mktemp("sheets"), ASKING)


def test_the_sheet_to_predict_on_asks_and_gives_nothing_away(sheets: list[Path]) -> None:
    assert [path.name for path in sheets] == [
        f"predictions{end}" for end in (".md", ".pdf", "-solved.md", "-solved.pdf")
    ]
    text = sheets[0].read_text(encoding="utf-8")
    assert text.startswith("# Predict: digits on digits")
    for number, one in enumerate(ASKING, start=1):
        assert one.prediction
        answers = "\n".join(f"- {line}" for line in one.prediction.lettered)
        assert f"## {number}. {one.title}\n\n{one.prediction.question}\n\n{answers}\n" in text
    assert "**" not in text
    assert "interval" not in text
    assert ".png" not in text


def test_what_came_out_marks_the_answer_that_the_number_of_its_claim_makes_right(
    recorded: RecordedRuns, sheets: list[Path]
) -> None:
    text = sheets[2].read_text(encoding="utf-8")
    marked = re.findall(r"^- \*\*(.): .*\*\*$", text, flags=re.MULTILINE)
    right = []
    for one in ASKING:
        assert one.prediction
        (verdict,) = [
            v
            for v in judge(recorded, ALL)
            if v.experiment == one.name and v.claim.statement == one.prediction.claim
        ]
        mean = verdict.measurement.mean
        right.append("ABCD"[sum(mean >= limit for limit in one.prediction.limits)])
        assert number_and_interval(verdict.measurement) in text
        assert f"![{one.title}]({one.name}.png)" in text
        assert (sheets[2].parent / f"{one.name}.png").exists()
    assert marked == right


def test_where_no_seed_is_complete_it_says_so_and_marks_nothing(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [EXPERIMENTS["fig4_depth"]], "digits", seeds=[0])
    (tmp_path / "results/digits/plain34-s0/final.json").unlink()  # is still trained
    recorded = read_runs(tmp_path / "results", "digits")
    paths = write_handouts(recorded, ALL, tmp_path / "sheets", [EXPERIMENTS["fig4_depth"]])
    text = paths[2].read_text(encoding="utf-8")
    assert "The runs so far do not answer it." in text
    assert "- **" not in text


def test_the_same_records_give_the_same_paper(recorded: RecordedRuns, sheets: list[Path], tmp_path: Path) -> None:
    again = write_handouts(recorded, ALL, tmp_path, ASKING)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in sheets]
    for path, pages in ((sheets[1], 1), (sheets[3], 1)):
        printed = path.read_bytes()
        assert printed.startswith(b"%PDF")
        assert len(re.findall(rb"/Type /Page\b", printed)) == pages


def test_the_figures_are_those_that_the_page_draws(
    recorded: RecordedRuns, sheets: list[Path], tmp_path: Path
) -> None:
    write_report(recorded, ALL, tmp_path, shown=ASKING)
    for one in ASKING:
        for end in (".png", ".svg"):
            assert (tmp_path / f"{one.name}{end}").read_bytes() == (
                sheets[0].parent / f"{one.name}{end}"
            ).read_bytes()


def test_a_block_is_never_broken_over_two_pages() -> None:
    sheets = Sheets()
    room = HEIGHT - 2 * MARGIN
    sheets.begin(0.2)
    sheets.write(["a line"] * 10)
    assert sheets.below == pytest.approx(MARGIN + 2.0)
    sheets.begin(room - 2.0 - 1e-6)
    assert len(sheets.pages) == 1
    sheets.begin(room - 2.0 + 0.01)
    assert len(sheets.pages) == 2
    assert sheets.below == MARGIN
    places = [text.get_position()[1] for text in sheets.pages[0].texts]
    assert places == sorted(places, reverse=True)


def test_an_experiment_that_asks_nothing_is_named_with_those_that_do(
    recorded: RecordedRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = r"digits: path_lengths asked for, and no question in it; fig4_depth, .* ask one"
    with pytest.raises(ValueError, match=words):
        write_handouts(recorded, ALL, tmp_path, [EXPERIMENTS["path_lengths"]])
    write_results(tmp_path / "results", ASKING[:1], "digits", seeds=[0])
    where = ("--results", tmp_path / "results", "--plots", tmp_path / "plots")
    assert command(monkeypatch, "handout", *where) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"handout: {tmp_path / 'plots/digits/predictions.md'}"
