"""What README and docs say: links lead somewhere, commands are accepted, tables have headers, numbers hold."""

import csv
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.main import get_command

from plain_vs_residual import interactive
from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.app import app
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.settings import find_setting
from tests.few_images import train_on_few_images

README = REPOSITORY / "README.md"
PAGES = (
    README,
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "benchmarks" / "README.md",
    REPOSITORY / "findings" / "README.md",
)
EXPERIMENTS = (*load_experiments(), "seminar", "my_depths")  # the last one is README's own
COMMANDS: dict[str, Any] = vars(get_command(app))["commands"]
OURS = re.compile(r"(?:bash (?:\S+/)?run_all\.sh|-m plain_vs_residual|on_(?P<slurm>slurm)\.sh)(?P<words>.*)")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


def spans(page: Path) -> Iterator[Token]:
    """Yield what is within paragraphs, headings and cells."""
    for token in tokens(page):
        yield from token.children or ()


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub links to a page's headings."""
    headings = [after.content for token, after in pairwise(tokens(page)) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fences(page: Path, *languages: str) -> list[str]:
    return [token.content for token in tokens(page) if token.type == "fence" and token.info in languages]


def commands(page: Path) -> Iterator[str]:
    """Yield every line of a block and every inline code that may be a command."""
    for block in fences(page, "", "bash"):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (" ".join(span.content.split()) for span in spans(page) if span.type == "code_inline")


def project() -> Any:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def suite_commands() -> Iterator[tuple[str, str]]:
    """Yield page and words of every command of the suite, on all pages."""
    for page in PAGES:
        for match in (found for line in commands(page) for found in OURS.finditer(line)):
            if "COMMAND" not in match["words"]:
                yield page.name, ("runs" if match["slurm"] else "") + match["words"]


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    targets = [span.attrs.get("href") or span.attrs.get("src") for span in spans(page)]
    for target in (str(target) for target in targets if target and "://" not in str(target)):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_of_docs_is_one_click_from_its_index_and_two_from_the_readme() -> None:
    index = REPOSITORY / "docs" / "README.md"
    linked = {str(span.attrs["href"]).partition("#")[0] for span in spans(index) if "href" in span.attrs}
    pages = {
        page.name for page in index.parent.glob("*.md") if page != index and not page.name.startswith("notes-")
    }
    assert pages <= linked
    assert "docs/README.md" in {span.attrs.get("href") for span in spans(README)}


def test_every_finding_is_listed_with_what_its_first_line_says() -> None:
    listed = (REPOSITORY / "findings" / "README.md").read_text(encoding="utf-8")
    scripts = sorted((REPOSITORY / "findings").glob("*.sh"))
    rows = re.findall(r"^\| \[`(\S+)`\]\((\S+)\) \| .+ \| .+ \|$", listed, re.MULTILINE)
    assert rows == [(path.stem, path.name) for path in scripts]
    for path in scripts:
        library = path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ").partition(":")[0]
        assert library.replace(", interpreter", "") in listed, library


@every_page
def test_no_table_begins_without_a_header_row(page: Path) -> None:
    assert [
        token.content for token in tokens(page) if token.type == "inline" and token.content.startswith("|")
    ] == []


def test_the_readme_has_about_a_thousand_words() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= 1_150


@pytest.mark.parametrize(("page", "words"), [*suite_commands()])
def test_commands_are_accepted(page: str, words: str) -> None:
    given = [word for word in shlex.split(words, comments=True) if word != "..."]
    if "--help" in given:
        return
    name = given.pop(0) if given and given[0] in COMMANDS else "train"
    command = COMMANDS[name]
    if not given:  # a command that is named, without what it needs
        return
    chosen = command.make_context(name, given).params
    assert [one for one in chosen.get("names") or () if one not in EXPERIMENTS] == []
    if name == "benchmark":
        assert importlib.util.find_spec(f"benchmarks.{chosen['name']}")
    setting, network = chosen.get("setting"), chosen.get("network") or ()
    assert setting is None or find_setting(setting)
    for one in (network,) if isinstance(network, str) else network:
        Architecture.parse(one)


@every_page
def test_extras_that_are_named_exist(page: Path) -> None:
    named = [extra for line in commands(page) for extra in re.findall(r"install -e '\.\[(\w+)\]'", line)]
    assert set(named) <= set(project()["optional-dependencies"])


def test_what_is_shown_in_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(names: list[str], seeds: tuple[int, ...], iterations: int) -> RecordedRuns:
        assert iterations == 100
        return train(names, "digits", seeds[:1], iterations=2, evaluations=1, results=tmp_path / "results")

    train = interactive.train
    train_on_few_images(monkeypatch)
    monkeypatch.setattr(interactive, "train", quick)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    for page in (README, REPOSITORY / "docs" / "usage.md"):
        shown = [block for block in fences(page, "python") if "interactive import" in block]
        assert len(shown) == 1
        exec(shown[0], {})
        Path("curves.png").unlink()


def test_the_experiment_that_is_shown_is_one(tmp_path: Path) -> None:
    (block,) = [block for block in fences(README, "python") if "EXPERIMENT" in block]
    (tmp_path / "my_depths.py").write_text(block, encoding="utf-8")
    assert load_experiments(tmp_path)["my_depths"].networks["fashion"]


def test_the_first_numbers_are_those_of_the_records() -> None:
    said = " ".join(README.read_text(encoding="utf-8").split())
    plain, residual = (
        sum(parameter.numel() for parameter in interactive.network(name, setting="cifar10-short").parameters())
        for name in ("cifar-plain56", "cifar-residual56-A")
    )
    assert plain == residual
    of_cifar, of_fashion = (
        usual.groupby("network")["running_training_error"].mean().map("{:.0f} %".format)
        for setting in ("cifar10-short", "fashion")
        for (reference,) in [load_recorded_runs(REPOSITORY / "results" / "reference", setting)]
        for usual in [reference.finals[reference.finals["study"] == ""]]
    )
    assert (
        f"plain-56 ends at {of_cifar['cifar-plain56']} training error, ResNet-56 at "
        f"{of_cifar['cifar-residual56-A']}**, with {plain:,} parameters each. With 20 layers it is "
        f"{of_cifar['cifar-plain20']} and {of_cifar['cifar-residual20-A']}"
    ) in said
    assert (
        f"plain-56 ends at {of_fashion['cifar-plain56']}, ResNet-56 at {of_fashion['cifar-residual56-A']}; "
        f"with 20 layers it is {of_fashion['cifar-plain20']} and {of_fashion['cifar-residual20-A']}."
    ) in said


def tables(page: Path) -> Iterator[list[dict[str, str]]]:
    """Yield each table of a page: for each row, the cells by the words above them."""
    cells: list[list[str]] = []
    for token, after in pairwise(tokens(page)):
        if token.type == "tr_open":
            cells.append([])
        elif token.type in ("th_open", "td_open"):
            cells[-1].append(after.content)
        elif token.type == "table_close":
            yield [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
            cells = []


@pytest.mark.parametrize(("page", "number"), [(README, 4), (REPOSITORY / "docs" / "results.md", 10)])
def test_verdicts_are_those_of_the_reference_page(page: Path, number: int) -> None:
    folder, primary = REPOSITORY / "plots" / "reference" / "fashion", []
    for path in (folder / "claims.csv", *sorted(folder.glob("claims-[0-9].csv"))):
        with path.open(encoding="utf-8", newline="") as file:
            primary += [row for row in csv.DictReader(file) if row["primary"] == "True"]
    shown = [row for table in tables(page) for row in table if "interval that decides" in row]
    assert len(shown) == number
    for row in shown:
        mean = next(row[head] for head in row if head.startswith("mean"))
        numbers = [mean, *row["interval that decides"].split(" to ")]
        found = [
            claim
            for claim in primary
            if all(
                f"{float(claim[column]):.{len(text.partition('.')[2])}f}" == text.lstrip("+")
                for column, text in zip(("mean", "low", "high"), numbers, strict=True)
            )
        ]
        assert found, row
        level = 100 * float(found[0]["level"])
        assert row.get("level", f"{level:g} %") == f"{level:g} %"
        assert row["verdict"].startswith(found[0]["outcome"])


def test_one_version_is_named_everywhere() -> None:
    version = project()["version"]
    assert f"\nversion: {version}\n" in (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
