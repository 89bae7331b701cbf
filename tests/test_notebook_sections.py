"""The docstrings of experiments, read as pages of a lab notebook: their fields, and errors that name the file."""

import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from plain_vs_residual.experiment import EXPERIMENTS, load_experiments
from plain_vs_residual.notebook import Notebook, read_notebook

PAGE = """Depth 18 against 34 (He et al.,
Fig. 4).

The paper finds: the *deeper* one
errs more.

Predict: which one?

What to look for: the upper
line.

The lower one, too.

    bash run_all.sh mine     (alone)
    bash run_all.sh          (all)

Cost: a minute.

Exercise: add 0.5: what happens?

Solution: nothing: see above.
"""
REPORTED = 'EXPERIMENT = Experiment("Mine", "none", (), {"digits": ("plain18",)}, ())\n'


def test_a_page_is_read_into_its_fields() -> None:
    assert read_notebook(PAGE) == Notebook(
        title="Depth 18 against 34 (He et al., Fig. 4).",
        background="The paper finds: the *deeper* one errs more.",
        predict="which one?",
        look="the upper line.\n\nThe lower one, too.",
        commands=("bash run_all.sh mine     (alone)", "bash run_all.sh          (all)"),
        cost="a minute.",
        exercise="add 0.5: what happens?",
        solution="nothing: see above.",
    )


def test_a_page_without_sections_is_prose() -> None:
    assert read_notebook("") == Notebook()
    assert read_notebook("Mine.\n\nFirst.\n\nTwo things: a, b.") == Notebook(
        title="Mine.", background="First.\n\nTwo things: a, b."
    )


@pytest.mark.parametrize("name", load_experiments())
def test_every_experiment_of_the_suite_has_a_whole_page(name: str) -> None:
    page = load_experiments()[name].notebook
    assert all(astuple(page))
    assert all(line.startswith("bash run_all.sh") for line in page.commands)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Exercise: add 0.5: what happens?\n\n", "", r"no section 'Exercise:'; .* has all of Predict, What"),
        ("Predict: which one?\n\n", "", r"no section 'Predict:';"),
        ("Solution:", "Soluton:", r"'Soluton:' in its docstring is no section \(did you mean Solution\?\)"),
        ("What to look for:", "What to look at:", r"'What to look at:' .* \(did you mean What to look for\?\)"),
        ("Exercise:", "exercise:", r"'exercise:' .* \(did you mean Exercise\?\)"),
        ("Cost: a minute.", "Predict: once more.", r"two sections of its docstring are called 'Predict:'"),
        ("see above.\n", "see above.\n\nOr below.\n", r"'Solution:' has several paragraphs"),
    ],
)
def test_a_section_that_is_missing_or_misspelt_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str
) -> None:
    # Python would take the bytecode of a file of the same second and size.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert old in PAGE
    code = f"from plain_vs_residual.experiment import Experiment\n{REPORTED}"
    (tmp_path / "mine.py").write_text(f'"""{PAGE}"""\n{code}', encoding="utf-8")
    assert load_experiments(tmp_path)["mine"].notebook == read_notebook(PAGE)
    (tmp_path / "mine.py").write_text(f'"""{PAGE.replace(old, new)}"""\n{code}', encoding="utf-8")
    with pytest.raises(ValueError, match=rf"mine\.py: .*{words}"):
        load_experiments(tmp_path)


def test_the_files_themselves_are_what_is_read() -> None:
    assert EXPERIMENTS.name == "experiments"
    assert load_experiments()["fig4_depth"].notebook.cost == "about 1 minute per seed on 2 cores (`fashion`)."
