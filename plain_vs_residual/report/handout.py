"""Hand-outs of a seminar from the records: a sheet on which a room predicts, and one that says what came out.

Each as Markdown, to paste into a poll or a wiki, and as PDF on A4, to print.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.image import imread

from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.prediction import Prediction
from plain_vs_residual.records.atomic import atomically, write_text
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures import draw
from plain_vs_residual.report.predictions import answer
from plain_vs_residual.report.templating import TEMPLATES

SHEET, SOLUTIONS = "predictions", "predictions-solved"
WIDTH, HEIGHT, MARGIN, LINE = 8.27, 11.69, 0.7, 0.2  # inches, of A4
CHARACTERS, BOLD_CHARACTERS = 100, 84  # of 10 points, in a line between the margins
PICTURE = 2.8  # inches, the height of a figure at most
ROOM_TO_WRITE = "Because: " + "_" * 84


@dataclass(frozen=True)
class Question:
    """What is asked of one experiment, and what its runs answered.

    Attributes:
        experiment: whose figure answers it.
        prediction: the question with its four answers.
        answer: the right letter, the number that makes it right and its interval; empty as long as no seed is
            complete.
        picture: the figure, as PNG.
    """

    experiment: Experiment
    prediction: Prediction
    answer: str
    picture: Path


def _asks(experiment: Experiment) -> bool:
    return experiment.prediction is not None


def write_handouts(
    recorded: RecordedRuns, experiments: Sequence[Experiment], folder: Path, shown: Sequence[Experiment]
) -> list[Path]:
    """Write both sheets of some experiments, and the figures of the second.

    Args:
        recorded: the runs of one setting.
        experiments: all there are: their primary claims share the error rate.
        folder: where the sheets and the figures go.
        shown: those whose questions are wanted; one that asks nothing, or has no run, is left out.

    Returns:
        The paths of the sheets.

    Raises:
        ValueError: if none of them asks anything, or the folder cannot be written to.
    """
    asking = [one for one in shown if _asks(one) and recorded.of(one)]
    if not asking:
        wanted, others = (", ".join(one.name for one in these) for these in (shown, filter(_asks, experiments)))
        raise ValueError(f"{recorded.name}: {wanted} asked for, and no question in it; {others} ask one")
    verdicts = judge(recorded, experiments)
    questions = []
    for one in asking:
        assert one.prediction
        said = answer(one.prediction, [v for v in verdicts if v.experiment == one.name], recorded.setting)
        picture = draw(recorded, one, one.figures[0], folder, verdicts)
        questions.append(Question(one, one.prediction, said, picture))
    paths = []
    for stem, solved in ((SHEET, False), (SOLUTIONS, True)):
        text = TEMPLATES.get_template("handout.md.j2").render(
            recorded=recorded, questions=questions, solved=solved
        )
        write_text(folder / f"{stem}.md", text)
        atomically(folder / f"{stem}.pdf", _printing(recorded, questions, solved=solved))
        paths += [folder / f"{stem}.md", folder / f"{stem}.pdf"]
    return paths


@dataclass
class Sheets:
    """Pages of A4 that are filled from top to bottom."""

    pages: list[Figure] = field(default_factory=list)
    below: float = HEIGHT  # inches from the top: the first block begins a page

    def begin(self, height: float) -> None:
        """Go on to a new page if a block of this height (inches) has no room on this one."""
        if self.below + height > HEIGHT - MARGIN:
            self.pages.append(Figure(figsize=(WIDTH, HEIGHT)))
            self.below = MARGIN

    def write(self, lines: Sequence[str], *, bold: bool = False) -> None:
        """Write lines below what is there."""
        for line in lines:
            weight, down = "bold" if bold else "normal", self.below / HEIGHT
            self.pages[-1].text(MARGIN / WIDTH, 1 - down, line, size=10, va="top", weight=weight, parse_math=False)
            self.below += LINE

    def show(self, picture: Any) -> None:
        """Show a picture (height, width, 3 or 4) below what is there, as large as fits."""
        width, height = _size(picture)
        place = (MARGIN / WIDTH, 1 - (self.below + height) / HEIGHT, width / WIDTH, height / HEIGHT)
        axes = self.pages[-1].add_axes(place)
        axes.imshow(picture)
        axes.set_axis_off()
        self.below += height + LINE


def _size(picture: Any) -> tuple[float, float]:
    """Return the width and the height in inches of a picture that fills the line, or is as high as one may be."""
    height, width = picture.shape[:2]
    scale = min((WIDTH - 2 * MARGIN) / width, PICTURE / height)
    return scale * width, scale * height


def _printing(recorded: RecordedRuns, questions: Sequence[Question], *, solved: bool) -> Callable[[Path], None]:
    """Return what writes the sheet as PDF; without a date, so that equal records give equal bytes."""
    sheets = Sheets()
    sheets.begin(HEIGHT)
    sheets.write(
        [f"{'What came out' if solved else 'Predict'}: {recorded.setting} on {recorded.dataset}"], bold=True
    )
    sheets.write([""] if solved else ["Name:", ""])
    for number, question in enumerate(questions, start=1):
        asked = f"{number}. {question.experiment.title}: {question.prediction.question}"
        title = textwrap.wrap(asked, BOLD_CHARACTERS)
        rest = [line for one in _below(question, solved=solved) for line in textwrap.wrap(one, CHARACTERS)]
        picture = imread(question.picture) if solved else None
        shown = LINE if picture is None else _size(picture)[1]
        sheets.begin(LINE * (len(title) + len(rest) + 1) + shown)
        sheets.write(title, bold=True)
        sheets.write([*rest, ""])
        if picture is None:
            sheets.write([""])
        else:
            sheets.show(picture)

    def save(path: Path) -> None:
        with mpl.rc_context({"pdf.fonttype": 42}), PdfPages(path, metadata={"CreationDate": None}) as pdf:
            for page in sheets.pages:
                pdf.savefig(page, dpi=150)

    return save


def _below(question: Question, *, solved: bool) -> Iterator[str]:
    """Give what stands below a question: its answers, and room to write or what came out."""
    for letter in question.prediction.lettered:
        right = solved and question.answer.startswith(letter[0])
        yield f"{'☒' if right else '☐'} {letter}"
    yield (question.answer or "The runs so far do not answer it.") if solved else ROOM_TO_WRITE
