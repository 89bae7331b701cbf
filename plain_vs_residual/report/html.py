"""A page of Markdown as one HTML file: an article with its figures inside it, and a lecture of the same figures.

Needs no network and no library. What Markdown says decides how it is shown. A heading of the second level begins a
section, which the contents name; one of the third level folds away what follows. ``LEADS`` below are the words at
the beginning of a paragraph that have a meaning. The lecture (``templates/lecture.js.j2``) takes every section
with a figure for a slide.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from plain_vs_residual.report.inline_figure import figure_in_page
from plain_vs_residual.report.templating import TEMPLATES

Tokens = Sequence[Token]

# How a paragraph is shown that begins with a word and a colon.
LEADS = {
    "Predict: ": ('<p class="predict"><strong>Predict:</strong> ', "</p>\n"),
    "What to look for: ": ('<p class="look"><strong>What to look for:</strong> ', "</p>\n"),
    "Answer: ": ('<details class="answer"><summary>Answer</summary><p>', "</p></details>\n"),
    "Solution: ": ("<details><summary>Solution</summary><p>", "</p></details>\n"),
}


def as_html(markdown: str, title: str, folder: Path) -> str:
    """Return the page with its figures and tables of numbers inside it; raw HTML in the text is shown, not obeyed.

    Args:
        markdown: what the page says.
        title: of the window.
        folder: where the figures and tables of numbers lie that the text names.
    """
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=PageRenderer).enable("table")
    parser.core.ruler.push("paragraphs", tell_paragraphs)
    parser.core.ruler.push("sections", tell_sections)
    environment = {"folder": folder, "contents": {}, "slides": False}
    body = parser.render(markdown, environment)
    return TEMPLATES.get_template("page.html.j2").render(title=title, body=body, **environment)


def tell_paragraphs(state: StateCore) -> None:
    """Give a paragraph that is a picture alone, or begins with one of LEADS, a name that it is rendered by."""
    for opening, inline, closing in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        words = inline.children or []
        lead = next((lead for lead in LEADS if inline.content.startswith(lead)), "")
        if opening.type == "paragraph_open" and [word.type for word in words] == ["image"]:
            opening.type, words[0].type, closing.type = "figure_open", "figure", "figure_close"
        elif opening.type == "paragraph_open" and lead:
            opening.type, closing.type = "lead_open", "lead_close"
            opening.info = closing.info = lead
            words[0].content = words[0].content.removeprefix(lead)


def tell_sections(state: StateCore) -> None:
    """Put what follows a heading of the second level into a section, of the third level into a fold."""
    tokens, told, ends = state.tokens, [], []
    levels = [token.tag if token.type == "heading_open" else "" for token in tokens]
    if "h2" in levels:
        told, ends = [_html("<header>\n")], ["</header>\n"]
    for place, (token, level) in enumerate(zip(tokens, levels, strict=True)):
        if level in ("h2", "h3"):
            while len(ends) > (level == "h3"):
                told.append(_html(ends.pop()))
            ends.append("</section>\n" if level == "h2" else "</details>\n")
            told.append(_html("<section>\n" if level == "h2" else "<details>"))
        if level == "h3":
            token.tag = tokens[place + 2].tag = "summary"
        state.env["slides"] |= token.type == "figure_open" and ends == ["</section>\n"]
        told.append(token)
    state.tokens = [*told, *map(_html, reversed(ends))]


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=text)


class PageRenderer(RendererHTML):
    """What this page renders otherwise than usual: a method for each kind of token.

    The environment of a page holds its ``folder``; ``contents`` collects the sections: words by name.
    """

    def heading_open(self, tokens: Tokens, place: int, options: OptionsDict, environment: EnvType) -> str:
        """Begin a heading; a section's is named and listed in the contents, without what stands in brackets."""
        if tokens[place].tag == "h2":
            inline, contents = tokens[place + 1].children or [], environment["contents"]
            words = self.renderInlineAsText(inline, options, environment).partition(" (")[0]
            name = re.sub(r"\W+", "-", words.lower()).strip("-")
            while name in contents:
                name += "-more"
            contents[name] = words
            tokens[place].attrSet("id", name)
        return self.renderToken(tokens, place, options, environment)

    def table_open(self, *_: object) -> str:
        """Begin a table, which is moved sideways where the window is narrow."""
        return '<div class="table"><table>\n'

    def table_close(self, *_: object) -> str:
        """End a table."""
        return "</table></div>\n"

    def lead_open(self, tokens: Tokens, place: int, *_: object) -> str:
        """Begin a paragraph whose first words say what it is."""
        return LEADS[tokens[place].info][0]

    def lead_close(self, tokens: Tokens, place: int, *_: object) -> str:
        """End it."""
        return LEADS[tokens[place].info][1]

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
        """Begin a link; a table of numbers is inside the page, and another file beside it is named without a link.

        A page that is shared alone would have a link to nothing there.
        """
        path = _linked(environment["folder"], tokens[place].attrs["href"])
        if path.suffix == ".csv" and path.exists():
            numbers = base64.b64encode(path.read_bytes()).decode()
            tokens[place].attrs = {"download": path.name, "href": f"data:text/csv;base64,{numbers}"}
        elif path.is_file():
            closing = next(token for token in tokens[place:] if token.type == "link_close")
            tokens[place].tag, tokens[place].attrs, closing.tag = "span", {}, "span"
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
