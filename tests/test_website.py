"""The website: README, docs and reports with links that hold, all of them reachable from its start."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.website import PAGES, build, name_headings, place_of
from plain_vs_residual.records.files import REPOSITORY
from tests.test_readme import anchors, tokens

ADDRESS = "https://somewhere/a/b"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("website") / "site"
    build(folder, ADDRESS)
    return folder


def links(page: Path) -> set[str]:
    found = re.findall(r'(?:href|src)="([^"]*)"', page.read_text("utf-8"))
    return {unquote(link) for link in found if not link.startswith("data:")}


def target(page: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def test_every_link_and_anchor_leads_somewhere_within_the_website(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    names = {page: set(re.findall(r'\bid="([^"]*)"', page.read_text("utf-8"))) for page in pages}
    for page in pages:
        for link in links(page):
            if "://" not in link:
                there, anchor = target(page, link), link.partition("#")[2]
                assert there.is_file(), (page, link)
                assert there.is_relative_to(site), (page, link)
                assert not anchor or anchor in names[there], (page, link)


def test_links_to_code_lead_to_the_repository(site: Path) -> None:
    found = {link for page in site.rglob("*.html") for link in links(page) if link.startswith(ADDRESS)}
    assert f"{ADDRESS}/blob/main/plain_vs_residual/blocks.py" in found
    assert f"{ADDRESS}/tree/main/plain_vs_residual/data" in found
    for link in found:
        kind, _, path = link.removeprefix(f"{ADDRESS}/").partition("/main/")
        there = REPOSITORY / path.partition("#")[0]
        assert there.is_file() if kind == "blob" else kind == "tree" and there.is_dir(), link


def test_every_page_and_report_is_reached_from_the_start(site: Path) -> None:
    reached, waiting = set(), [site / "index.html"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            there = [target(page, link) for link in links(page) if "://" not in link]
            waiting += [one for one in there if one.suffix == ".html"]
    assert reached == set(site.rglob("*.html"))
    reports = {path.parent.name for path in (REPOSITORY / "plots" / "reference").glob("*/report.html")}
    assert {path.parent.name for path in reached if path.name == "report.html"} == reports
    assert {site / place_of(page) for page in PAGES} <= reached
    assert {page.name for page in PAGES} >= {path.name for path in (REPOSITORY / "docs").glob("*.md")}


def test_figures_are_shown_and_raw_html_is_not_obeyed(site: Path) -> None:
    start = (site / "index.html").read_text("utf-8")
    assert re.search(r'<img src="plots/reference/.*fig6_cifar_depth.png" alt="[^"]+"', start)
    for page in PAGES:
        shown = (site / place_of(page)).read_text("utf-8")
        assert "<table>" in shown or "|---" not in page.read_text("utf-8")
        assert "<script" not in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_headings_have_the_names_that_github_gives_them(page: Path) -> None:
    named = tokens(page)
    name_headings(named)
    given = [str(token.attrs["id"]) for token in named if token.type == "heading_open"]
    assert anchors(page) <= set(given)
    assert len(given) == len(set(given))


def test_the_workflow_calls_what_is_tested_here() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "pages.yml").read_text("utf-8")
    assert 'run: python docs/website.py site "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"\n' in workflow
    assert re.search(r"upload-pages-artifact@v\d+\n +with:\n +path: site\n", workflow)
