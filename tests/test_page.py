"""The page as a browser shows it: contents, curves that toggle, folded solutions, phone, print."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.report.html import as_html
from plain_vs_residual.report.listing import listing, plain_beside_residual
from plain_vs_residual.report.page import write_report
from tests.made_up_records import write_results

EXPERIMENTS = load_experiments()
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
# Does what a person would do and writes down what they would see.
ACTOR = """<script>
const seen = {errors: [], missing: [], hidden: 0, back: 0, sections: 0, buttons: 0, width: 0, overflow: []};
window.addEventListener("error", event => seen.errors.push(String(event.message)));
window.addEventListener("load", () => {
  for (const link of document.querySelectorAll("nav a")) {
    seen.sections += 1;
    if (!document.querySelector(link.getAttribute("href"))) seen.missing.push(link.textContent);
  }
  const buttons = document.querySelectorAll("button[data-shows]");
  seen.buttons = buttons.length;
  const curves = [...document.querySelectorAll("[data-curve]")];
  const drawn = () => curves.filter(one => one.getClientRects().length).length;
  const before = drawn();
  buttons[0].click();
  seen.hidden = before - drawn();
  buttons[0].click();
  seen.back = before - drawn();
  seen.width = document.documentElement.scrollWidth;
  seen.inner = window.innerWidth;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  (window.parent.document.body || document.body).appendChild(out);
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page of two experiments of the paper and one of the seminar."""
    folder = tmp_path_factory.mktemp("page")
    chosen = [EXPERIMENTS[name] for name in ("fig4_depth", "fig7_layer_responses", "gradient_norms")]
    recorded = write_results(folder / "results", chosen, "digits")
    _, html = write_report(recorded, chosen, folder / "plots")
    return html


def browse(url: str, folder: Path, *options: str) -> str:
    assert BROWSER
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
        *("--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", *options, url),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def seen_in(page: Path, folder: Path, width: int) -> dict[str, object]:
    """Open the page in a frame of a width in pixels, act, and return what was seen."""
    acted = folder / "acted.html"
    acted.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{ACTOR}</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        f'<body><iframe src="acted.html" style="width:{width}px;height:900px;border:0"></iframe></body>'
    )
    text = browse(frame.as_uri(), folder, "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'<pre id="seen">(.*?)</pre>', text, flags=re.DOTALL)
    assert found, text[:500]
    seen: dict[str, object] = json.loads(found[1])
    return seen


@needs_browser
@pytest.mark.parametrize("width", [390, 1920])
def test_the_page_works_in_a_browser(page: Path, tmp_path: Path, width: int) -> None:
    seen = seen_in(page, tmp_path, width)
    assert seen["errors"] == []
    assert seen["missing"] == []
    assert seen["sections"] == 8
    assert isinstance(seen["hidden"], int)
    assert seen["hidden"] > 0
    assert seen["back"] == 0
    assert seen["inner"] == width
    assert isinstance(seen["width"], int)
    assert seen["width"] <= width


@needs_browser
def test_the_page_can_be_printed(page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"
    browse(page.as_uri(), tmp_path, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 50_000


def test_every_link_of_the_contents_has_its_section_and_every_curve_its_button(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'<a href="#([\w-]+)">', text)
    assert links
    assert links == re.findall(r'<h2 id="([\w-]+)">', text)
    assert "the-gradient-layer-by-layer" in links
    curves, buttons = (set(re.findall(rf'data-{name}="([^"]*)"', text)) for name in ("curve", "shows"))
    assert curves == buttons >= {"plain-18", "ResNet-34 A", "plain-56"}
    ids = re.findall(r'\bid="([^"]*)"', text)
    figures = {one.split("-")[0] for one in ids}
    assert "gradient_norms" in figures
    assert 'download="gradient_norms.csv" href="data:text/csv;base64,' in text


def test_solutions_are_folded_and_tables_can_scroll(tmp_path: Path) -> None:
    text = as_html("## One (Fig. 1)\n\nSolution: *no*.\n\n| a |\n|---|\n| b |\n", "Title", tmp_path)
    assert "<details><summary>Solution</summary><p><em>no</em>.</p></details>" in text
    assert '<div class="table"><table>' in text
    assert '<a href="#one">One</a>' in text


def test_figures_and_numbers_lie_inside_the_page_and_what_is_not_there_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "größe.svg").write_text(
        '<?xml version="1.0"?><svg width="9" viewBox="0 0 9 9"><metadata>made</metadata>'
        '<g id="curve:plain-18"/><g id="curve:plain-34" clip-path="url(#a)"/><path id="a"/><use href="#a"/></svg>'
    )
    (tmp_path / "größe.png").write_bytes(b"made-up picture")
    (tmp_path / "größe.csv").write_text("a\n")
    markdown = (
        '![A "word"](größe.png)\n\n[numbers](größe.csv), [others](b.csv)\n\n![B](b.png)\n\nIn text: ![B](b.png)\n'
    )
    text = as_html(markdown, "Title", tmp_path).split("<main>\n")[1].split("</main>")[0]
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-shows="{name}">{name}</button>'
        for name in ("plain-18", "plain-34")
    )
    assert text == (
        f'<figure><div class="curves">{buttons}</div>'
        '<svg role="img" aria-label="A &quot;word&quot;" viewBox="0 0 9 9"><g data-curve="plain-18"/>'
        '<g data-curve="plain-34" clip-path="url(#größe-a)"/><path id="größe-a"/>'
        '<use href="#größe-a"/></svg></figure>\n'
        '<p><a download="größe.csv" href="data:text/csv;base64,YQo=">numbers</a>, <a href="b.csv">others</a></p>\n'
        '<img src="b.png" alt="B" />\n<p>In text: <img src="b.png" alt="B" /></p>\n'
    )


def test_a_diff_marks_what_only_one_side_has(tmp_path: Path) -> None:
    text = as_html("```diff\n--- a\n+++ b\n x < y\n-x & y\n+<b>\n```\n\n```python\n-x\n```\n", "Title", tmp_path)
    assert (
        "<pre><code>--- a\n+++ b\n x &lt; y\n<del>-x &amp; y</del>\n<ins>+&lt;b&gt;</ins></code></pre>\n"
        '<pre><code class="language-python">-x\n</code></pre>' in text
    )


def test_the_line_that_matters_is_cut_out_of_the_code() -> None:
    changed = [line for line in plain_beside_residual().splitlines() if line[:1] in "+-"]
    assert changed == [
        "-     return relu(self.residual_function(x))",
        "+     return relu(self.residual_function(x) + self.shortcut(x))",
    ]
    with pytest.raises(ValueError, match=r"there is no nothing in blocks\.py"):
        listing("blocks.py:nothing")
    with pytest.raises(ValueError, match=r"there is no .*nowhere\.py"):
        listing("nowhere.py:nothing")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_code_that_an_experiment_shows_is_there_and_fits_on_a_slide(name: str) -> None:
    for reference in EXPERIMENTS[name].code:
        assert 2 <= len(listing(reference).splitlines()) <= 45
