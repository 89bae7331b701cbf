"""Writes README, docs and the reference pages as a website, into a folder; links to code lead to an address.

A page of Markdown becomes one of HTML at the same place, README.md as index.html. Reports and figures are copied.
"""

import re
import shutil
import sys
from collections import Counter
from html import escape
from itertools import pairwise
from os.path import relpath
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "plots" / "reference"
PAGES = [path for room in (".", "docs", "findings", "benchmarks") for path in sorted((ROOT / room).glob("*.md"))]
NAMED = {"Start": ROOT / "README.md", "All pages": ROOT / "docs" / "README.md"}
NAMED |= {f"Report: {path.parent.name}": path for path in sorted(REPORTS.glob("*/report.md"))}
STYLE = """
:root { color-scheme: light dark }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif }
nav a { margin-right: 1rem }
img { max-width: 100% }
pre { overflow-x: auto; padding: 0.5rem 1rem; background: #8881 }
table { display: block; overflow-x: auto; border-collapse: collapse }
th, td { padding: 0.2rem 0.6rem; border: 1px solid #8886; text-align: left; vertical-align: top }
"""


def place_of(path: Path) -> Path:
    """Return where a file of the repository is in the website, as a relative path."""
    place = path.relative_to(ROOT)
    return place.with_name("index.html") if place.name == "README.md" else place.with_suffix(".html")


def build(folder: Path, address: str) -> None:
    """Write the website into a new folder."""
    shutil.copytree(REPORTS, folder / REPORTS.relative_to(ROOT), ignore=shutil.ignore_patterns("report.md"))
    for page in PAGES:
        place = folder / place_of(page)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(as_html(page, folder, address), encoding="utf-8")


def as_html(page: Path, folder: Path, address: str) -> str:
    """Return a page of Markdown as HTML, and copy the pictures that it shows."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(page.read_text(encoding="utf-8"))
    name_headings(tokens)
    for span in (span for token in tokens for span in token.children or ()):
        for attribute in {"href", "src"} & span.attrs.keys():
            span.attrs[attribute] = linked(page, unquote(str(span.attrs[attribute])), folder, address)
    title = next(after.content for token, after in pairwise(tokens) if token.type == "heading_open")
    links = (f'<a href="{relation(page, place_of(path))}">{name}</a>' for name, path in NAMED.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<nav>{' '.join(links)}</nav>\n"
        f"{parser.renderer.render(tokens, parser.options, {})}</html>\n"
    )


def name_headings(tokens: list[Token]) -> None:
    """Give each heading the name by which GitHub links to it."""
    seen: Counter[str] = Counter()
    for token, after in pairwise(tokens):
        if token.type == "heading_open":
            name = re.sub(r"[^\w\- ]", "", after.content.lower()).replace(" ", "-")
            token.attrSet("id", f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1


def linked(page: Path, target: str, folder: Path, address: str) -> str:
    """Return what a link of the repository's page is in the website."""
    path, _, anchor = target.partition("#")
    if "://" in target or not path:
        return target
    file = (page.parent / path).resolve()
    place = file.relative_to(ROOT)
    if file in PAGES or file in NAMED.values():
        path = relation(page, place_of(file))
    elif file.is_relative_to(REPORTS) and file.is_file():
        path = relation(page, place)
    elif file.suffix in (".png", ".svg"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / place)
        path = relation(page, place)
    else:
        path = f"{address}/{'tree' if file.is_dir() else 'blob'}/main/{place.as_posix()}"
    return f"{path}#{anchor}" if anchor else path


def relation(page: Path, place: Path) -> str:
    """Return how a place in the website is reached from a page."""
    return Path(relpath(place, place_of(page).parent)).as_posix()


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
