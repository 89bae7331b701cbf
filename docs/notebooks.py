"""Makes the students' notebook from the teacher's; with --execute, runs the teacher's first.

The teacher's has outputs and solutions. The students' has neither: no cell that is tagged ``teacher``, and ``...``
in the place of an answer, which is what stands in a line that ends in ``# solution``.
"""

import copy
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
TEACHERS, STUDENTS = EXPERIMENTS / "seminar_teacher.ipynb", EXPERIMENTS / "seminar.ipynb"
ANSWER = re.compile(r"(=|:|return) .*?(,?)  # solution$", re.MULTILINE)


def for_students(teachers: NotebookNode) -> NotebookNode:
    """Return the notebook without outputs, solutions and answers."""
    notebook = copy.deepcopy(teachers)
    notebook.cells = [cell for cell in notebook.cells if "teacher" not in cell.metadata.get("tags", ())]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = ANSWER.sub(r"\1 ...\2", cell.source)
            cell.outputs, cell.execution_count = [], None
    return notebook


def execute(teachers: NotebookNode) -> None:
    """Run all cells in a kernel of this Python and keep what they print and draw, but not when."""
    from nbclient import NotebookClient

    place = {"metadata": {"path": str(EXPERIMENTS)}}
    NotebookClient(teachers, timeout=600, coalesce_streams=True, resources=place).execute()
    for cell in teachers.cells:
        cell.metadata.pop("execution", None)


if __name__ == "__main__":
    notebook = nbformat.read(TEACHERS, 4)
    if "--execute" in sys.argv[1:]:
        execute(notebook)
        nbformat.write(notebook, TEACHERS)
    nbformat.write(for_students(notebook), STUDENTS)
