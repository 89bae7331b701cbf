"""The docstring of a file in experiments/, read into fields: each file is a page of a lab notebook.

Its first line is a title, and what follows says what is compared, and why. Then come sections: each begins with a
paragraph of its name and a colon, and goes on until the next one. Lines to copy are indented.
"""

import re
from dataclasses import dataclass

from plain_vs_residual.near_misses import did_you_mean

SECTIONS = {
    "Predict": "predict",
    "What to look for": "look",
    "Cost": "cost",
    "Exercise": "exercise",
    "Solution": "solution",
}


@dataclass(frozen=True)
class Notebook:
    """What a page of the lab notebook says; empty lines separate the paragraphs of a field.

    Attributes:
        title: first line of the page.
        background: what the paper says, and what is compared here.
        predict: a question to answer before the results are seen.
        look: what to look for in the figures.
        commands: lines to copy.
        cost: measured time.
        exercise: a question to try.
        solution: its answer, one paragraph, which a page folds away.
    """

    title: str = ""
    background: str = ""
    predict: str = ""
    look: str = ""
    commands: tuple[str, ...] = ()
    cost: str = ""
    exercise: str = ""
    solution: str = ""


def read_notebook(docstring: str) -> Notebook:
    """Read a page of the lab notebook: one with all sections, or one without any, which is prose alone.

    Raises:
        ValueError: if a section is missing, misspelt or there twice, or the solution has several paragraphs.
    """
    title, *paragraphs = re.split(r"\n\s*\n", docstring.strip())
    commands: list[str] = []
    said: dict[str, list[str]] = {"background": []}
    field = "background"
    for paragraph in paragraphs:
        if paragraph.startswith("    "):
            commands += map(str.strip, paragraph.splitlines())
            continue
        text = " ".join(paragraph.split())
        begin, _, rest = text.partition(": ")
        if begin in SECTIONS:
            field, text = SECTIONS[begin], rest
            if field in said:
                raise ValueError(f"two sections of its docstring are called '{begin}:'")
            said[field] = []
        elif question := did_you_mean(begin, SECTIONS):
            raise ValueError(f"'{begin}:' in its docstring is no section{question}")
        said[field].append(text)
    _check(said)
    texts = {name: "\n\n".join(several) for name, several in said.items()}
    return Notebook(title=" ".join(title.split()), commands=tuple(commands), **texts)


def _check(said: dict[str, list[str]]) -> None:
    missing = [f"'{name}:'" for name, field in SECTIONS.items() if field not in said]
    if 0 < len(missing) < len(SECTIONS):
        raise ValueError(
            f"its docstring has no section {', '.join(missing)}; a page of the notebook has all of "
            f"{', '.join(SECTIONS)}, each a paragraph that begins with its name and a colon, or none of them"
        )
    if len(said.get("solution", ())) > 1:
        raise ValueError("'Solution:' has several paragraphs in its docstring; a page folds one away: join them")
