"""The report: its contents, that the HTML needs no other files, and that it is written without torch."""

import math
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import pytest
from scipy import stats

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment, Study, load_experiments
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.records.store import write_final
from plain_vs_residual.report.error_table import error_table
from plain_vs_residual.report.page import write_report
from plain_vs_residual.report.summary import summary
from plain_vs_residual.report.tables import (
    class_tables,
    formula,
    machine_table,
    number_and_interval,
    plain,
    seeds_table,
    time_table,
    verdict_table,
)
from plain_vs_residual.settings import FASHION
from tests.made_up_records import read_json, read_runs, reseal, write_results, write_run

EXPERIMENTS = load_experiments()
FIG4, FIG6 = EXPERIMENTS["fig4_depth"], EXPERIMENTS["fig6_cifar_depth"]
FIG7, TABLE3 = EXPERIMENTS["fig7_layer_responses"], EXPERIMENTS["table3_shortcuts"]
LONGER = EXPERIMENTS["footnote3_longer"]


class Page(HTMLParser):
    """The parts of an HTML page: its text, the names of its tags, and the URLs of everything it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.drawings = self.scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.drawings += tag == "svg"
        self.scripts += tag == "script"
        self.sources += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        if tag == "link":
            self.sources += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def report_on(recorded: RecordedRuns, *experiments: Experiment, folder: Path) -> tuple[str, Page]:
    """Write a report without drawing its figures, which have their own tests; return the Markdown and the HTML."""

    def write(_make: object, _caption: str, folder: Path, stem: str, _headline: str = "") -> Path:
        path = folder / f"{stem}.png"
        path.write_bytes(b"made-up picture")
        return path

    with patch("plain_vs_residual.report.figures.write_figure", write):
        markdown, html = write_report(recorded, experiments, folder)
    return markdown.read_text(encoding="utf-8"), Page(html.read_text(encoding="utf-8"))


def section(markdown: str, title: str) -> str:
    """Return the text under the first heading with this title, up to the next heading."""
    return re.split(r"\n##+ ", markdown.split(f"{title}\n", maxsplit=1)[1], maxsplit=1)[0]


def test_the_report_stands_on_its_own_and_draws_its_figures(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, html = write_report(recorded, [FIG4], tmp_path / "plots")
    assert (markdown.name, html.name) == ("report.md", "report.html")
    page = Page(html.read_text(encoding="utf-8"))
    assert page.drawings == len(FIG4.figures) + 3  # and the claims: primary ones, others, these
    assert not page.sources
    assert not page.tags & {"link", "iframe", "object", "img"}
    assert {"table", "svg", "h1", "h2"} <= page.tags
    text = html.read_text(encoding="utf-8")
    assert text.count("<script") == 1  # the page's own, which shows and hides curves
    assert not re.findall(r"url\((?!#)", text)
    assert not re.findall(r"(?:src|href)=\"(?!#|data:|[\w.-]+\.svg\")[^\"]*", text)
    for file in re.findall(r"\]\(([^)]+)\)", markdown.read_text(encoding="utf-8")):
        assert (tmp_path / "plots" / file).exists()


@pytest.mark.parametrize("variant", ["", "other"])
def test_names_from_outside_are_shown_and_not_obeyed(tmp_path: Path, variant: str) -> None:
    name = "<script>alert('x')</script> & [a](b) *c* | `d` _e_"
    recorded = write_results(
        tmp_path / "results", [FIG4], "digits", dataset=name, variant=variant, caveat="<b>bold</b>"
    )
    _, page = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert f"on {name}" in page.text
    assert "<b>bold</b>" in page.text
    assert not page.tags & {"b"}
    assert page.scripts == 1  # the page's own


def test_a_variant_cannot_write_html_into_the_title(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    hostile = replace(recorded, variant="</title><script>")
    _, page = report_on(hostile, FIG4, folder=tmp_path / "plots")
    assert page.scripts == 1  # the page's own


def test_escaped_text_says_the_same(tmp_path: Path) -> None:
    assert plain("plain text, 1.5 (a)") == "plain text, 1.5 (a)"
    assert plain("a_b*c|d") == r"a\_b\*c\|d"


def test_departures_are_numbered_with_the_studies_behind_them(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4, LONGER], "fashion")
    markdown, page = report_on(recorded, FIG4, LONGER, folder=tmp_path / "plots")
    lines = section(markdown, "## Where this departs from the paper").strip().splitlines()
    assert [line.split()[0] for line in lines] == [f"{number}." for number in range(1, len(lines) + 1)]
    assert len(lines) == len(FASHION.departures) + 1
    assert "1,050 instead of 350" in lines[-1]
    assert all(departure in page.text for departure in FASHION.departures)


def test_the_verdict_table_has_every_claim_with_its_numbers(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    rows = [line for line in section(markdown, "### Claims").splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(FIG4.claims) + 2  # the headline claim again for the two other errors
    # In made_up_records, 16 more layers cost plain networks 16/5 = 3.2 points and residual ones 16/50 = 0.32.
    headline, clean, validation, degradation, residual, _ = rows[1:]
    assert "| training error: plain-34 - plain-18 - ResNet-34 A + ResNet-18 A > 0.5 points | +2.88 |" in headline
    assert "(95 %) | 3 | **holds here** |" in headline
    assert headline.startswith("| **Depth raises")
    assert clean.startswith("| The same in clean training error | clean training error: plain-34 - ")
    assert validation.startswith("| The same in validation error | validation error: plain-34 - ")
    assert "| +3.20 |" in degradation
    assert "ResNet-34 A - ResNet-18 A < 0.5 points | +0.32 |" in residual
    assert all("holds here" not in row and "undecided" not in row for row in rows[2:])
    primary = markdown.split("## Verdicts on the primary claims\n")[1].split("\n## ")[0]
    assert headline in primary
    assert degradation not in primary


def test_where_test_images_are_evaluated_every_table_says_test(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "fashion")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert "| network | training error (%) | clean training error (%) | test error (%) | seeds |" in markdown
    assert "| The same in test error | test error: plain-34 - " in markdown
    assert "Fig. 4: bold = training error, thin = test error" in markdown
    assert "validation" not in markdown.replace("validation or test images", "")


def test_the_margin_stands_there_with_its_reason(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "fashion")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert f"is 2 points: {FASHION.margin_reason}." in markdown


def test_too_few_seeds_are_undecided_in_the_table_with_the_reason(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits", seeds=range(2))
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert section(markdown, "### Claims").count("**undecided** (complete seeds: 2, needed: 3)") == 1
    assert section(markdown, "### Claims").count("| open (complete seeds: 2, needed: 3)") == 5
    assert "holds here**" not in markdown
    assert "reproduced**" not in markdown


def test_the_error_table_has_mean_deviation_and_seeds(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    # Training errors are 1 + 18/5 + 0.05 * seed; validation errors are 2 points higher.
    assert "| plain-18 | 4.65 ± 0.05 | 4.65 ± 0.05 | 6.65 ± 0.05 | 3 |" in markdown


def test_missing_and_diverged_runs_are_told(tmp_path: Path) -> None:
    for seed in range(3):
        for network in ("plain18", "plain34", "residual18-A"):
            outcome = "diverged" if (network, seed) == ("plain34", 1) else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=outcome)
    write_run(tmp_path, "digits", "residual34-A", 2, finished=False)
    markdown, _ = report_on(read_runs(tmp_path, "digits"), FIG4, folder=tmp_path / "plots")
    assert "**Not finished:** residual34-A (seeds 0, 1, 2)." in markdown
    assert "| ResNet-34 A | not run | not run | not run | 0 |" in markdown
    (row,) = re.findall(r"\| plain-34 \|.*", markdown)
    assert "3 (1 diverged, counted as chance)" in row
    assert "| 35.23 ± " in row  # the mean of 90, 7.8 and 7.9; without the diverged run, 7.85


def test_responses_and_costs_have_their_columns_where_they_are_the_subject(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG7, TABLE3, FIG4], "digits", seeds=range(2))
    responses, _ = report_on(recorded, FIG7, folder=tmp_path / "a")
    assert (
        "| mean response (E) | mean response (R) | median response (R) | layers below 1 (R) "
        "| untrained F(x) / x | F(x) / x (E) | F(x) / x (R) | cosine (R) |"
    ) in responses
    assert "Responses and ratios on 1,000 training images" in responses
    finals = recorded.select(recorded.finals, FIG7).groupby("network").mean(numeric_only=True)
    (row,) = re.findall(r"\| ResNet-56 A \| .* \| 2 \|(.*)\|", responses)
    assert [float(cell.split("±")[0]) for cell in row.split("|")] == [
        pytest.approx(finals.loc["cifar-residual56-A", column], abs=5.1e-4)
        for column in (
            *("mean_response", "mean_response_estimated", "median_response_estimated"),
            *("small_responses_estimated", "initial_mean_ratio", "mean_ratio", "mean_ratio_estimated"),
            "mean_cosine_estimated",
        )
    ]
    costs, _ = report_on(recorded, TABLE3, folder=tmp_path / "b")
    (row,) = re.findall(r"\| ResNet-34 C \|.*", costs)
    assert "| 34.0 | 1,176 | 1.25x |" in row
    plain, _ = report_on(recorded, FIG4, folder=tmp_path / "c")
    assert "mean response" not in plain
    assert "time against plain" not in plain


def test_a_record_from_before_the_responses_were_taken_anew_leaves_their_cells_empty(tmp_path: Path) -> None:
    for network in FIG7.networks["digits"]:
        folder = write_run(tmp_path, "digits", network, 0)
        old = {name: value for name, value in read_json(folder.final).items() if "estimated" not in name}
        write_json(
            folder.final, {name: old[name] for name in old if name not in ("median_response", "small_responses")}
        )
        reseal(folder)
    recorded = read_runs(tmp_path, "digits")
    assert recorded.finals["ratio_change_estimated"].isna().all()
    assert recorded.finals["ratio_change"].notna().sum() == 2
    table = error_table(recorded, FIG7)
    (row,) = re.findall(r"\| ResNet-56 A \| .* \| 1 \|(.*)\|", table)
    assert [bool(cell.strip()) for cell in row.split("|")] == [True, *[False] * 3, True, True, False, False]
    (verdict,) = [verdict for verdict in judge(recorded, [FIG7]) if verdict.claim.primary]
    assert (verdict.outcome, verdict.measurement.num) == ("open", 0)


def test_time_is_that_against_the_first_of_several_plain_networks(tmp_path: Path) -> None:
    for network in ("plain18", "plain34", "residual34-A"):
        write_run(tmp_path, "digits", network, 0)  # 50,000 / depth images per second
    table = error_table(read_runs(tmp_path, "digits"), replace(FIG4, table=("costs",)))
    found = [
        re.findall(rf"\| {network} \|.* (\S+) \|\n", table) for network in ("plain-18", "plain-34", "ResNet-34 A")
    ]
    assert found == [["1.00x"], ["1.89x"], ["1.89x"]]


def test_time_against_plain_is_left_out_where_plain_was_not_run(tmp_path: Path) -> None:
    for network in ("residual34-A", "residual34-C"):
        write_run(tmp_path, "digits", network, 0)
    markdown, _ = report_on(read_runs(tmp_path, "digits"), TABLE3, folder=tmp_path / "plots")
    (row,) = re.findall(r"\| ResNet-34 C \|.*", markdown)
    assert row.endswith("| 1,176 |  |")


def test_the_pairing_line_says_that_pairs_agree(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert re.search(r"\*\*Pairing:\*\* all \d+ pairs agree", markdown)


def test_the_pairing_line_names_what_differs(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits", seeds=[0])
    recorded.records[0].run.initial_parameters["fc.weight"] = "10x64:ffff"
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert "pairs found what DIFFERS" in markdown
    assert "initial values of fc.weight differ" in markdown


@pytest.mark.parametrize(
    ("level", "said"),
    [(0.9875, "+1.00 to +3.00 (98.75 %)"), (1 - 0.05 / 3, "+1.00 to +3.00 (98.33 %)"), (0.95, "to +3.00 (95 %)")],
)
def test_an_interval_is_told_with_its_level_and_the_seeds_behind_it(level: float, said: str) -> None:
    half = stats.t.ppf((1 + level) / 2, 2) / 3**0.5  # of three values that deviate by 1
    measured = Measurement({seed: 2 + value / half for seed, value in enumerate((-1.0, 0.0, 1.0))}, level, 0.0)
    assert number_and_interval(measured).endswith(f"{said}, 3 seeds")
    assert number_and_interval(measured).startswith("+2.00, interval +1.00 ")


def test_versions_and_machine_are_there(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    machine = section(markdown, "## Machine and time")
    assert "| Abacus (cpu, 2 threads) | fp32, eager |" in machine
    assert "Python 3.12.1, torch 2.99.0+made-up, torchvision 0.99.0 | 0123456789ab | 12 |" in machine
    # 12 runs, 5 + 0.5 seconds each, which may have been trained at the same time.
    assert "All runs together: 1.6 minutes of computing, added up over runs" in machine


def test_the_numbers_of_the_paper_stand_beside_ours_on_cifar_10_alone(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG6], "cifar10", seeds=[0])
    markdown, _ = report_on(recorded, FIG6, folder=tmp_path / "plots")
    assert "| paper (CIFAR-10, test error %) |" in markdown
    (row,) = re.findall(r"\| ResNet-110 A \|.*", markdown)
    assert row.endswith("| 6.43 |")
    assert "For orientation only" not in markdown


def test_the_papers_ten_crop_errors_stand_beside_ours_on_imagenet(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "imagenet", seeds=[0])
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert "| paper (ImageNet, top-1, 10-crop, error %) |" not in markdown  # there are none of ours
    for record in recorded.records:
        assert record.final
        write_final(record.folder, record.final.model_copy(update={"ten_crop_error": 25.5}))
    (recorded,) = load_recorded_runs(tmp_path / "results", "imagenet")
    markdown, _ = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert "| 10-crop error (%) | 10-crop top-5 (%) | paper (ImageNet, top-1, 10-crop, error %) |" in markdown
    (row,) = re.findall(r"\| ResNet-34 A \|.*25\.50.*", markdown)
    assert row.endswith("| 25.50 |  | 25.03 |")


@pytest.mark.parametrize(
    ("setting", "experiment", "changes", "data"),
    [
        ("digits", FIG6, {}, "CIFAR-10"),
        ("cifar10-short", FIG6, {}, "CIFAR-10"),
        ("cifar10", FIG6, {"variant": "45k-5k"}, "CIFAR-10"),
        ("cifar10", FIG6, {"dataset": "CIFAR-10 (JPEG re-encoded)", "variant": "cifar-10-jpeg"}, "CIFAR-10"),
        ("cifar10", FIG6, {"dataset": "my photographs"}, "CIFAR-10"),
        ("cifar10", FIG4, {}, "ImageNet, top-1, 10-crop"),
        ("imagenet", FIG4, {}, "ImageNet, top-1, 10-crop"),
    ],
)
def test_elsewhere_the_numbers_of_the_paper_stand_apart_with_the_name_of_their_data(
    tmp_path: Path, setting: str, experiment: Experiment, changes: dict[str, str], data: str
) -> None:
    recorded = write_results(tmp_path / "results", [experiment], setting, seeds=[0], **changes)
    markdown, _ = report_on(recorded, experiment, folder=tmp_path / "plots")
    assert "| paper (" not in markdown
    (line,) = re.findall(r"For orientation only.*", markdown)
    assert f"({data})" in line
    first = next(iter(experiment.paper_errors.values()))
    assert f"{first:.2f}" in line
    assert f"{first:.2f}" not in markdown.replace(line, "")


def test_an_experiment_without_runs_is_left_out(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    markdown, _ = report_on(recorded, FIG4, FIG6, folder=tmp_path / "plots")
    assert FIG4.title in markdown
    assert FIG6.title not in markdown


def test_the_notebook_page_is_told_without_commands(tmp_path: Path) -> None:
    recorded = write_results(tmp_path / "results", [FIG4], "digits")
    _, page = report_on(recorded, FIG4, folder=tmp_path / "plots")
    assert "the deeper plain network has the higher training error" in page.text
    assert page.text.count("run_all.sh") == 1  # the one that says how to run it again


def test_a_study_gives_its_reason(tmp_path: Path) -> None:
    study = Study("slow", {"epochs": 20}, "twenty epochs: ten are few")
    experiment = Experiment(
        "Slow", "none", ("final_errors",), {"digits": ("plain18",)}, (), {"digits": (study,)}, name="slow"
    )
    recorded = write_results(tmp_path / "results", [experiment], "digits")
    markdown, _ = report_on(recorded, experiment, folder=tmp_path / "plots")
    assert "study of its own: twenty epochs: ten are few." in markdown


def test_the_formula_of_a_claim_is_in_the_names_of_the_paper() -> None:
    claim = Claim("c", {"plain34": 2, "residual34-A": -1, "cifar-plain20": -0.5}, above=0.0)
    assert formula(claim) == "training error: 2 plain-34 - ResNet-34 A - 0.5 plain-20"


@pytest.mark.parametrize(
    ("column", "said"), [("training_error", True), ("test_error", True), ("worst_training_error", False)]
)
def test_diverged_runs_are_said_to_count_as_chance_where_they_do(column: str, said: bool) -> None:
    claim = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, column, above=0.0)
    measured = Measurement({0: 80.0}, level=0.95, floor=0.0)
    verdict = Verdict("made-up", claim, 0.0, "validation", measured, "open", diverged=1)
    assert ("1 diverged runs count as chance error" in verdict_table([verdict])) == said


def test_the_class_table_has_precision_recall_and_f1_of_all_seeds_and_the_articles_beside(tmp_path: Path) -> None:
    counts = ([[8, 2, 0], [1, 9, 0], [0, 4, 6]], [[7, 3, 0], [0, 10, 0], [5, 0, 5]])
    for seed, confusion in enumerate(counts):
        folder = write_run(tmp_path, "digits", "plain18", seed, classes=("a", "b", "c"))
        write_json(folder.final, read_json(folder.final) | {"confusion": confusion})
        reseal(folder)
    published = {"a": (0.9, 0.8), "b": (0.7, 0.6), "c": (0.5, 0.4)}
    recorded = read_runs(tmp_path, "digits")
    experiment = Experiment(
        "E", "none", (), {"digits": ("plain18",)}, (), name="mine", published_classes=published
    )
    title, table = class_tables(recorded, experiment)
    # In all, a is guessed 21 times, 15 of them rightly, of 20; b 28 times, 19 of them; c 11 times, 11 of them.
    assert title == "**plain-18** on the validation images: accuracy 0.7500.\n"
    assert table.splitlines() == [
        "| class | precision | recall | F1 | article: precision | recall |",
        "|---|---|---|---|---|---|",
        "| a | 0.71 | 0.75 | 0.73 | 0.90 | 0.80 |",
        "| b | 0.68 | 0.95 | 0.79 | 0.70 | 0.60 |",
        "| c | 1.00 | 0.55 | 0.71 | 0.50 | 0.40 |",
    ]
    elsewhere = replace(experiment, published_classes={"a": (0.9, 0.8)})
    assert "| a | 0.71 | 0.75 | 0.73 |" in list(class_tables(recorded, elsewhere))[1].splitlines()


def with_costs(folder: RunFolder, seconds: float, evaluating: float, speed: float, memory: int | None) -> None:
    costs = {"training_seconds": seconds, "evaluation_seconds": evaluating, "images_per_second": speed}
    write_json(folder.final, read_json(folder.final) | costs | {"peak_memory_mib": memory})
    reseal(folder)


def test_times_are_means_speed_is_a_median_and_memory_the_most(tmp_path: Path) -> None:
    costs = [(10.0, 1.0, 100.0, 50), (20.0, 2.0, 200.0, 70), (60.0, 6.0, 900.0, 60)]
    for seed, one in enumerate(costs):
        with_costs(write_run(tmp_path, "digits", "plain18", seed), *one)
    recorded = read_runs(tmp_path, "digits")
    assert time_table(recorded).splitlines()[2] == "| plain18 | 30.0 | 3.0 | 200 | 70 | 3 |"
    with_costs(write_run(tmp_path, "digits", "plain34", 0), 1.0, 1.0, 1.0, None)
    assert "| plain18 | 30.0 | 3.0 | 200 | 3 |" in time_table(read_runs(tmp_path, "digits")).splitlines()
    experiment = Experiment("E", "none", (), {"digits": ("plain18",)}, (), name="mine")
    (row,) = summary(recorded, experiment).to_dict("records")
    assert row["images_per_second"] == 200
    assert (row["training_seconds_mean"], row["training_seconds_sd"]) == pytest.approx((30, 700**0.5))


def test_the_machine_table_counts_the_runs_of_each_machine(tmp_path: Path) -> None:
    for seed in range(3):
        folder = write_run(tmp_path, "digits", "plain18", seed)
        if seed == 2:
            run = read_json(folder.run)
            run["environment"] |= {"device_name": "Loom", "git_changes": True}
            run["arithmetic"]["precision"] = "bf16"
            write_json(folder.run, run)
            reseal(folder)
    versions = "Python 3.12.1, torch 2.99.0+made-up, torchvision 0.99.0"
    assert machine_table(read_runs(tmp_path, "digits")).splitlines()[2:] == [
        f"| Abacus (cpu, 2 threads) | fp32, eager | {versions} | 0123456789ab | 2 |",
        f"| Loom (cpu, 2 threads) | bf16, eager | {versions} | 0123456789ab with changes | 1 |",
    ]


def test_a_row_of_the_verdict_table_says_side_margin_mean_interval_level_and_seeds() -> None:
    contrast = {"plain34": 1, "plain18": -1}
    measured = Measurement({0: 1.0, 1: 2.0, 2: 3.0}, level=0.975, floor=0.0)
    less = Claim("less", contrast, below=0.5, primary=True)
    more = Claim("more", contrast, "mean_response", above=0.25)
    verdicts = [
        Verdict("mine", less, 0.5, "test", measured, "undecided", "why"),
        Verdict("mine", more, 0.25, "test", measured, "open"),
    ]
    # 2 plus or minus 6.2053 / sqrt(3), the 98.75 % point of Student's t with 2 degrees of freedom.
    numbers = "+2.00 | -1.58 to +5.58 (97.5 %) | 3"
    assert verdict_table(verdicts).splitlines()[2:] == [
        f"| **less** | training error: plain-34 - plain-18 < 0.5 points | {numbers} | **undecided** (why) |",
        f"| more | mean response: plain-34 - plain-18 > 0.25 | {numbers} | open |",
    ]


def test_importing_and_writing_a_report_needs_no_torch(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [FIG4], "digits", seeds=[0])
    program = f"""
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, NoTorch())
sys.argv = ["plain_vs_residual", "report", "fig4_depth",
            "--results", {str(tmp_path / "results")!r}, "--plots", {str(tmp_path / "plots")!r}]
from plain_vs_residual.cli.app import main
main()
assert "torch" not in sys.modules
"""
    folder = Path(__file__).parent.parent
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plots" / "digits" / "report.html").exists()
    assert "report.html" in done.stdout


def test_every_experiment_of_the_suite_has_its_section_in_every_setting(tmp_path: Path) -> None:
    experiments = [one for one in load_experiments().values() if "digits" in one.networks]
    recorded = write_results(tmp_path / "results", experiments, "digits", seeds=range(1))
    markdown, _ = report_on(recorded, *experiments, folder=tmp_path / "plots")
    sections = dict(zip((e.title for e in experiments), re.split(r"\n## ", markdown)[3:], strict=False))
    for experiment in experiments:
        text = sections[experiment.title]
        assert text.startswith(experiment.title)
        assert all(claim.statement in text for claim in experiment.claims_in("digits"))
        assert "not run" not in text
    assert "ResNet-50 B (0..255-mean-lr0.01-cold)" in markdown
    assert "accuracy" in sections["ResNet-50 and plain-50 on enlarged images"]


def test_held_out_images_are_not_called_test_beside_runs_whose_images_are(tmp_path: Path) -> None:
    """In one setting, a study can hold images out of the training set where the others look at the test set."""
    study = EXPERIMENTS["resnet50_study"]
    recorded = write_results(tmp_path / "results", [FIG4, study], "cifar10", seeds=[0])
    assert (recorded.validation_name(FIG4), recorded.validation_name(study)) == ("test", "validation")
    markdown, _ = report_on(recorded, FIG4, study, folder=tmp_path / "plots")
    tables = [
        re.findall(r"\| network \|.*", part)[0] for part in re.split(r"\n## ", markdown) if "| network |" in part
    ]
    assert ["test error (%)" in table for table in tables] == [True, False]


def test_runs_of_another_version_are_left_out_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, [FIG4], "digits", seeds=[0])
    old = write_run(tmp_path, "digits", "plain18", 7)
    record = read_json(old.run)
    del record["initial_buffers"]
    write_json(old.run, record)
    reseal(old)
    recorded = read_runs(tmp_path, "digits")
    assert recorded.seeds == [0]
    assert (
        "1 runs were recorded by another version of this suite and are left out (plain18-s7"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("side", "as_claimed", "away"), [({"above": 0.5}, 2, 1), ({"below": 0.5}, 1, -1), ({"within": 1.5}, 2, None)]
)
def test_a_row_by_seeds_has_numbers_signs_distance_and_what_another_seed_may_give(
    side: dict[str, float], as_claimed: int, away: int | None
) -> None:
    values = {1: 1.0, 0: -0.05, 2: 3.05}
    claim, (margin,) = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, **side), side.values()
    others = Measurement({7: 2.0}, 0.95, 0.0)
    given = ("made-up", claim, margin, "validation")
    verdict = Verdict(*given, Measurement(values, 0.95, 0.0), "open", others=others)
    mean, deviation = sum(values.values()) / 3, statistics.stdev(values.values())
    distance = away * (mean - margin) if away else margin - mean
    half = 4.302653 * deviation * math.sqrt(1 + 1 / 3)  # of Student's t of 2 degrees of freedom, 97.5 %
    one = Verdict(*given, Measurement({4: 0.0}, 0.95, 0.0), "open")
    nothing = Verdict(*given, Measurement({}, 0.95, 0.0), "open")
    assert seeds_table([verdict, one, nothing]).splitlines()[2:] == [
        "| deeper is worse | 0: -0.05, 1: +1.00, 2: +3.05; not planned, decide nothing: 7: +2.00 | 2 of 3 | "
        f"{as_claimed} of 3 | {distance / deviation:+.2f} | {mean - half:+.2f} to {mean + half:+.2f} |",
        f"| deeper is worse | 4: +0 | 0 of 1 | {int(claim.side != 'above')} of 1 |  |  |",
    ]
