"""The templates of pages and hand-outs, and what they can do with words, claims and numbers."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from plain_vs_residual.evidence.registration import in_words
from plain_vs_residual.report.tables import number_and_interval, plain, seeds_table, verdict_table

TEMPLATES = Environment(
    loader=PackageLoader("plain_vs_residual.report"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
SENTENCE = re.compile(r"(?<!al\.)(?<!Sec\.)(?<=[.?!])\s+(?=[A-Z])")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text.

    >>> first_sentence("Look at plain-56 (He et al. Fig. 6). It ends higher.")
    'Look at plain-56 (He et al. Fig. 6).'
    """
    return SENTENCE.split(text, maxsplit=1)[0]


def after_first_sentence(text: str) -> str:
    """Return what follows the first sentence of a text; empty if nothing does."""
    return "".join(SENTENCE.split(text, maxsplit=1)[1:])


TEMPLATES.filters |= {
    "plain": plain,
    "verdict_table": verdict_table,
    "seeds_table": seeds_table,
    "number_and_interval": number_and_interval,
    "in_words": in_words,
    "first_sentence": first_sentence,
    "after_first_sentence": after_first_sentence,
}
