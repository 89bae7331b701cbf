"""The notebook, executed from top to bottom in a kernel of its own; what it uses, from Python."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from plain_vs_residual.interactive import images, network, train
from plain_vs_residual.records.fingerprint import PACKAGE

NOTEBOOK = PACKAGE.parent / "experiments" / "seminar.ipynb"


def said(notebook: Any) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.get("text", "") for output in outputs)


def test_its_outputs_are_kept_without_an_error() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [one for cell in cells for one in cell.outputs if one.output_type == "error"]
    pictures = [one for cell in cells for one in cell.outputs if "image/png" in one.get("data", {})]
    assert len(pictures) == 4
    assert "of other value: []" in said(notebook)


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two kernels of threads on two cores wait for each other
    notebook = nbformat.read(NOTEBOOK, 4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        # The same cells with a few iterations, and records of their own.
        cell.source = cell.source.replace("import images, network, train", "import images, network")
        if "FAMILY = (" in cell.source:
            cell.source += (
                "\nfrom functools import partial\n\nfrom plain_vs_residual import interactive\n"
                f"train = partial(interactive.train, results=Path({str(tmp_path / 'results')!r}), iterations=10)\n"
            )
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute()
    text = said(notebook)
    assert "only in one of them: []" in text
    assert "of other value: []" in text
    assert "largest difference of any logit" in text


def test_images_are_those_of_the_setting() -> None:
    pixels, labels = images("digits", number=20)
    assert pixels.shape == (20, 1, 16, 16)
    assert labels.shape == (20,)
    assert pixels.dtype == torch.float32
    assert pixels.abs().max() < 1.01


def test_training_from_python_finds_what_is_trained_and_reports_each_evaluation(tmp_path: Path) -> None:
    seen: list[int] = []

    def watch(folder: Path) -> None:
        seen.append(len((folder / "metrics.csv").read_text().splitlines()) - 1)

    def call() -> Any:
        names = ["cifar-plain8", "cifar-residual8-A"]
        return train(names, "digits", results=tmp_path, watch=watch, iterations=6, evaluations=2)

    first = call()
    assert seen == [1, 2, 1, 2]
    assert len(first.finals) == 2
    assert len(call().finals) == 2
    assert seen == [1, 2, 1, 2]
    weights = torch.load(first.records[0].folder.weights, weights_only=True)
    network("cifar-plain8", "digits").load_state_dict(weights)


def test_a_mistake_is_explained() -> None:
    with pytest.raises(ValueError, match="unknown network 'plan20'"):
        network("plan20")
    with pytest.raises(ValueError, match="a setting has no field 'rate'"):
        train(["cifar-plain8"], "digits", rate=1)
