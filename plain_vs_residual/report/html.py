"""A page of Markdown as one HTML file: figures inside it as vector graphics, contents that stay in sight.

Needs no network, and no script but a few lines that show and hide curves.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from plain_vs_residual.evidence.registration import in_words
from plain_vs_residual.report.inline_figure import figure_in_page
from plain_vs_residual.report.tables import plain, seeds_table, verdict_table

TEMPLATES = Environment(
    loader=PackageLoader("plain_vs_residual.report"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {
    "plain": plain,
    "verdict_table": verdict_table,
    "seeds_table": seeds_table,
    "in_words": in_words,
}
Tokens = Sequence[Token]


# A paragraph that begins so is folded away.
SOLUTION = "Solution: "


def as_html(markdown: str, title: str, folder: Path) -> str:
    """Return the page with its figures and tables of numbers inside it; raw HTML in the text is shown, not obeyed.

    Args:
        markdown: what the page says. A paragraph that begins with ``Solution:`` is folded away.
        title: of the window.
        folder: where the figures and tables of numbers lie that the text names.
    """
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=PageRenderer).enable("table")
    parser.core.ruler.push("figures_and_solutions", tell_figures_and_solutions)
    environment = {"folder": folder, "contents": []}
    body = parser.render(markdown, environment)
    return TEMPLATES.get_template("page.html.j2").render(title=title, body=body, contents=environment["contents"])


def tell_figures_and_solutions(state: StateCore) -> None:
    """Give a paragraph that is a picture alone, or a solution, a name of its own, so that it is rendered by it."""
    for opening, inline, closing in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        words = inline.children or []
        if opening.type == "paragraph_open" and [word.type for word in words] == ["image"]:
            opening.type, words[0].type, closing.type = "figure_open", "figure", "figure_close"
        elif opening.type == "paragraph_open" and inline.content.startswith(SOLUTION):
            opening.type, closing.type = "solution_open", "solution_close"
            words[0].content = words[0].content.removeprefix(SOLUTION)


class PageRenderer(RendererHTML):
    """What this page renders otherwise than usual: a method for each kind of token.

    The environment of a page holds its ``folder``; ``contents`` collects the headings and where they are.
    """

    def heading_open(self, tokens: Tokens, place: int, options: OptionsDict, environment: EnvType) -> str:
        """Begin a heading; a section's is listed in the contents, without what stands in brackets behind it."""
        contents = environment["contents"]
        if tokens[place].tag == "h2":
            name = f"section-{len(contents)}"
            words = self.renderInline(tokens[place + 1].children or [], options, environment)
            contents.append((name, words.partition(" (")[0]))
            tokens[place].attrSet("id", name)
        return self.renderToken(tokens, place, options, environment)

    def table_open(self, *_: object) -> str:
        """Begin a table, which is moved sideways where the window is narrow."""
        return '<div class="table"><table>\n'

    def table_close(self, *_: object) -> str:
        """End a table."""
        return "</table></div>\n"

    def solution_open(self, *_: object) -> str:
        """Begin a solution, folded away."""
        return "<details><summary>Solution</summary><p>"

    def solution_close(self, *_: object) -> str:
        """End a solution."""
        return "</p></details>\n"

    def figure_open(self, *_: object) -> str:
        """Begin a picture that is a paragraph of its own: a figure is none."""
        return ""

    def figure_close(self, *_: object) -> str:
        """End it."""
        return "\n"

    def figure(self, tokens: Tokens, place: int, options: OptionsDict, environment: EnvType) -> str:
        """Return the picture itself, inside the page; a link to it where it does not lie in the page's folder."""
        picture = _linked(environment["folder"], tokens[place].attrs["src"])
        if not picture.exists():
            return self.image(tokens, place, options, environment)
        words = self.renderInlineAsText(tokens[place].children, options, environment)
        return figure_in_page(picture, escapeHtml(words))

    def link_open(self, tokens: Tokens, place: int, options: OptionsDict, environment: EnvType) -> str:
        """Begin a link; a table of numbers is inside the page."""
        path = _linked(environment["folder"], tokens[place].attrs["href"])
        if path.suffix == ".csv" and path.exists():
            numbers = base64.b64encode(path.read_bytes()).decode()
            tokens[place].attrs = {"download": path.name, "href": f"data:text/csv;base64,{numbers}"}
        return self.renderToken(tokens, place, options, environment)

    def fence(self, tokens: Tokens, place: int, options: OptionsDict, environment: EnvType) -> str:
        """Return lines of code; in a diff, those that only one side has are marked."""
        if tokens[place].info != "diff":
            return super().fence(tokens, place, options, environment)
        lines = "\n".join(map(_marked, tokens[place].content.splitlines()))
        return f"<pre><code>{lines}</code></pre>\n"


def _linked(folder: Path, target: object) -> Path:
    """Return the path of a file that a text names; markdown-it has encoded the name as a URL's."""
    return folder / unquote(str(target))


def _marked(line: str) -> str:
    """Return a line of a diff, marked as deleted or inserted unless it names a file or is on both sides."""
    mark = None if line.startswith(("---", "+++")) else {"-": "del", "+": "ins"}.get(line[:1])
    return f"<{mark}>{escapeHtml(line)}</{mark}>" if mark else escapeHtml(line)
