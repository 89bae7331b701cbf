"""The notebook, executed from top to bottom in a kernel of its own; what it uses, from Python."""

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from plain_vs_residual.executors import description
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


FEW = """
from dataclasses import replace
from functools import partial

from plain_vs_residual import interactive
from plain_vs_residual.data.images import Images

whole = interactive.load_dataset


def few_images(recipe):
    dataset = whole(recipe)
    training, validation = dataset.training, dataset.validation
    return replace(
        dataset,
        training=Images(training.pixels[::12], training.labels[::12]),
        validation=Images(validation.pixels[::10], validation.labels[::10]),
    )


interactive.load_dataset = few_images
train = partial(interactive.train, results=Path({results!r}), iterations=4, evaluations=2)
"""


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two kernels of threads on two cores wait for each other
    notebook = nbformat.read(NOTEBOOK, 4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        # The same cells with a few images, iterations and evaluations, and records of their own.
        cell.source = cell.source.replace("import images, network, train", "import images, network")
        if "FAMILY = (" in cell.source:
            cell.source += FEW.format(results=str(tmp_path / "results"))
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


def test_training_from_python_returns_the_runs_that_were_asked_for_and_no_others(tmp_path: Path) -> None:
    trained: list[Path] = []

    def call(*names: str, seeds: tuple[int, ...] = (0,), **changes: Any) -> list[str]:
        found = train(names, "digits", seeds, results=tmp_path, watch=trained.append, evaluations=1, **changes)
        return [record.name for record in found.records]

    few = {"iterations": 2}
    assert call("cifar-plain8", seeds=(5, 2), **few) == [
        "cifar-plain8-evaluations-1-iterations-2-s5",
        "cifar-plain8-evaluations-1-iterations-2-s2",
    ]
    assert len(trained) == 2
    # Another network, another seed and other changes lie in the same folder.
    assert len(call("cifar-residual8-A", seeds=(9,), **few)) == 1
    (split,) = call("cifar-plain8", seeds=(2,), iterations=2, split="45k/5k")
    assert split == "cifar-plain8-evaluations-1-iterations-2-split-45k-5k-s2"
    assert call("cifar-plain8", seeds=(2,), split="45k/5k", iterations=2) == [split]
    assert len(trained) == 4
    assert call("cifar-plain8", seeds=(5,), **few) == ["cifar-plain8-evaluations-1-iterations-2-s5"]
    assert len(trained) == 4


def test_a_notebook_keeps_its_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    found = train(["cifar-plain8"], "digits", results=tmp_path, iterations=1, evaluations=1)
    assert [record.run.arithmetic.threads for record in found.records] == [3]


def test_what_differs_is_said_in_words_that_fit_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(**more: Any) -> Any:
        return train(["cifar-plain8"], "digits", results=tmp_path, iterations=2, evaluations=1, **more)

    call()
    monkeypatch.setattr(description, "code_hashes", lambda: {"plain_vs_residual/blocks.py": "other"})
    with pytest.raises(ValueError, match=r"blocks\.py: other code.*rerun=True.*results=Path") as refused:
        call()
    assert "--" not in str(refused.value).replace(str(tmp_path), "")
    assert len(call(rerun=True).finals) == 1
    assert len(list((tmp_path / "digits" / "set-aside").iterdir())) == 1


def test_a_mistake_is_explained() -> None:
    with pytest.raises(ValueError, match="unknown network 'plan20'"):
        network("plan20")
    with pytest.raises(ValueError, match="a setting has no field 'rate'"):
        train(["cifar-plain8"], "digits", rate=1)


@pytest.mark.parametrize("seeds", [0.5, "0", [0.5], [], -1, [0, -1], None, ["1"]])
def test_seeds_that_are_no_whole_numbers_are_refused_in_one_line(seeds: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^seeds: .*; accepted are whole numbers from 0 on, such as 0 or \(0, 1, 2\)$"
    ):
        train(["plain18"], "digits", seeds)


def test_one_network_and_one_seed_need_no_list(tmp_path: Path) -> None:
    trained = train("plain18", "digits", np.int64(3), results=str(tmp_path), iterations=1, evaluations=1)
    (record,) = trained.records
    assert (record.run.network, record.run.seed) == ("plain18", 3)
    with pytest.raises(ValueError, match="names: there is none; name at least one network"):
        train([], "digits")
