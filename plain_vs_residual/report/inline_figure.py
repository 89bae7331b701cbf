"""A figure inside a page: matplotlib's vector graphics, a button for each curve; one moves with the iteration."""

import base64
import re
from html import unescape
from pathlib import Path

from plain_vs_residual.report.figures.style import CURVE
from plain_vs_residual.report.moving_figure import moving_figure

METADATA = re.compile("<metadata>.*?</metadata>", flags=re.DOTALL)
CAPTION = re.compile("<dc:description>(.*?)</dc:description>", flags=re.DOTALL)
BOX = re.compile(r'viewBox="[^"]*"')
CURVE_ID = re.compile(rf'\bid="{CURVE}([^"]*)"')
# Where an id is given or referred to: what follows is the id.
BEFORE_ID = re.compile(r'\bid="|href="#|url\(#')


def figure_in_page(picture: Path, words: str) -> str:
    """Return a figure as HTML.

    Args:
        picture: its PNG. The SVG beside it is put into the page; the PNG itself where there is none.
        words: what the figure shows, escaped, for those who cannot see it.
    """
    drawing = picture.with_suffix(".svg")
    if not drawing.exists():
        data = base64.b64encode(picture.read_bytes()).decode()
        return f'<figure><img src="data:image/png;base64,{data}" alt="{words}"></figure>'
    whole = drawing.read_text(encoding="utf-8")
    caption = CAPTION.search(whole)
    text = METADATA.sub("", whole)
    start, _, rest = text[text.index("<svg") :].partition(">")
    box = BOX.search(start)
    assert box
    curves = list(dict.fromkeys(CURVE_ID.findall(rest)))
    rest = CURVE_ID.sub(r'data-curve="\1"', rest)
    # Ids of one figure must not be those of another.
    rest = BEFORE_ID.sub(rf"\g<0>{picture.stem}-", rest)
    still = f'<svg role="img" aria-label="{words}" {box[0]}>{rest}'
    moves = moving_figure(picture, unescape(caption[1]) if caption else "")
    return f"<figure>{_buttons(curves)}{still}{moves}</figure>"


def _buttons(curves: list[str]) -> str:
    """Return a button for each of several curves, which shows and hides it."""
    if len(curves) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-shows="{name}">{name}</button>' for name in curves
    )
    return f'<div class="curves">{buttons}</div>'
