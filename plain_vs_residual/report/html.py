"""A page of Markdown as one HTML file: figures inside it as vector graphics, contents that stay in sight.

Needs no network, and no script but a few lines that show and hide curves.
"""

import base64
import html
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from plain_vs_residual.report.figures.style import CURVE
from plain_vs_residual.report.tables import plain, verdict_table

TEMPLATES = Environment(
    loader=PackageLoader("plain_vs_residual.report"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"plain": plain, "verdict_table": verdict_table}


def as_html(markdown: str, title: str, folder: Path) -> str:
    """Return the page with its figures and tables of numbers inside it; raw HTML in the text is shown, not obeyed.

    Args:
        markdown: what the page says. A paragraph that begins with ``Solution:`` is folded away.
        title: of the window.
        folder: where the figures lie that the text names.
    """
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = str(renderer.render(markdown))
    body = re.sub(
        r'<p><img src="([\w.-]+)\.png" alt="([^"]*)" /></p>', lambda m: _figure(folder, m[1], m[2]), body
    )
    body = re.sub(r'<a href="([\w.-]+\.csv)">', lambda m: _download(folder, m[1]), body)
    body = re.sub(
        r"<p>Solution: (.*?)</p>", r"<details><summary>Solution</summary><p>\1</p></details>", body, flags=re.S
    )
    body = re.sub(r"<table>.*?</table>", r'<div class="table">\g<0></div>', body, flags=re.S)
    body = re.sub(
        r'<code class="language-diff">(.*?)</code>', lambda m: f"<code>{_diff(m[1])}</code>", body, flags=re.S
    )
    headings = re.findall(r"<h2>(.*?)</h2>", body)
    for number, heading in enumerate(headings):
        body = body.replace(f"<h2>{heading}</h2>", f'<h2 id="section-{number}">{heading}</h2>', 1)
    contents = [(f"section-{number}", re.sub(r" \(.*\)$", "", heading)) for number, heading in enumerate(headings)]
    return TEMPLATES.get_template("page.html.j2").render(title=title, body=body, contents=contents)


def _figure(folder: Path, stem: str, words: str) -> str:
    """Return a figure as vector graphics, with a button for each of its curves; as a picture if there are none."""
    path = folder / f"{stem}.svg"
    if not path.exists():
        picture = base64.b64encode((folder / f"{stem}.png").read_bytes()).decode()
        return f'<figure><img src="data:image/png;base64,{picture}" alt="{words}"></figure>'
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    start, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', start)
    assert box
    curves = list(dict.fromkeys(re.findall(rf'id="{CURVE}([^"]*)"', rest)))
    rest = re.sub(rf'id="{CURVE}([^"]*)"', r'data-curve="\1"', rest)
    # Ids of one figure must not be those of another.
    rest = re.sub(r'id="([^"]*)"', rf'id="{stem}-\1"', rest)
    rest = re.sub(r'href="#([^"]*)"', rf'href="#{stem}-\1"', rest)
    rest = re.sub(r"url\(#([^)]*)\)", rf"url(#{stem}-\1)", rest)
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-shows="{name}">{name}</button>' for name in curves
    )
    legend = f'<div class="curves">{buttons}</div>' if len(curves) > 1 else ""
    return f'<figure>{legend}<svg role="img" aria-label="{words}" {box[0]}>{rest}</figure>'


def _download(folder: Path, name: str) -> str:
    """Return the start of a link to a table of numbers that the page itself contains."""
    path = folder / name
    if not path.exists():
        return f'<a href="{name}">'
    numbers = base64.b64encode(path.read_bytes()).decode()
    return f'<a download="{name}" href="data:text/csv;base64,{numbers}">'


def _diff(code: str) -> str:
    """Mark the lines that only one side has."""
    marks = {"-": "del", "+": "ins"}
    lines = []
    for line in code.splitlines():
        mark = None if line.startswith(("---", "+++")) else marks.get(html.unescape(line)[:1])
        lines.append(f"<{mark}>{line}</{mark}>" if mark else line)
    return "\n".join(lines)
