"""The way out: tidy tables, TensorBoard and ONNX of finished runs; a missing library is named in a line."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from plain_vs_residual.inspection.export import FORMATS, export
from plain_vs_residual.records.files import RunFolder
from tests.conftest import network_of
from tests.test_training import train_all, weights_of


@pytest.fixture
def trained(make_suite: Any) -> list[RunFolder]:
    return train_all(make_suite("plain18", "residual18-B"))


def missing(to: str) -> list[str]:
    return [name for name in FORMATS[to][0] if find_spec(name) is None]


def test_tables_have_a_row_per_observation_with_the_identity_of_its_run(
    trained: list[RunFolder], tmp_path: Path
) -> None:
    paths = list(export(trained[0].path.parent, "tidy", tmp_path / "out"))
    assert [path.name for path in paths] == [
        *("finals.csv", "evaluations.csv", "training_curves.csv", "responses.csv")
    ]
    tables = [pd.read_csv(path) for path in paths]
    for table in tables:
        assert set(table["network"]) == {"plain18", "residual18-B"}
        assert set(table["setting"]) == {"digits"}
        assert set(table["seed"]) == {0}
    finals, evaluations, *_ = tables
    own = pd.read_csv(trained[0].metrics)
    assert (
        evaluations[evaluations["network"] == "plain18"]["training_error"].tolist()
        == own["training_error"].tolist()
    )
    assert len(finals) == 2
    # Of one run, and of all settings at once; beside the results where no folder is named.
    (one, *_) = export(trained[0].path, "tidy")
    assert len(pd.read_csv(one)) == 1
    (both, *_) = export(trained[0].path.parent.parent, "tidy")
    assert one == both == tmp_path / "plots" / "digits-12-iterations" / "tidy" / "finals.csv"


@pytest.mark.parametrize("to", ["tensorboard", "onnx"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    trained: list[RunFolder], tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plain_vs_residual.inspection.export.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=rf"--to {to} needs {' '.join(FORMATS[to][0])}, not installed.* -m pip install"
    ):
        list(export(trained[0].path, to, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_and_a_folder_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--to wandb: accepted are tidy, tensorboard, onnx"):
        list(export(tmp_path, "wandb"))
    with pytest.raises(ValueError, match="no runs in"):
        list(export(tmp_path, "tidy"))


def test_a_run_without_weights_is_no_network(
    trained: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", ((), FORMATS["onnx"][1]))
    for folder in trained:
        folder.weights.unlink()
    with pytest.raises(ValueError, match=r"its weights\.pt is not here"):
        list(export(trained[0].path.parent, "onnx", tmp_path))


def test_of_several_runs_the_finished_ones_with_weights_are_written(
    make_suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", ((), FORMATS["onnx"][1]))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: None)
    without_weights, unfinished, whole = train_all(make_suite("plain18", seeds=3))
    without_weights.weights.unlink()
    unfinished.final.unlink()
    assert list(export(whole.path.parent, "onnx", tmp_path)) == [
        tmp_path / "digits-12-iterations" / f"{whole.path.name}.onnx"
    ]


def test_tensorboard_reads_the_curves_back(trained: list[RunFolder], tmp_path: Path) -> None:
    if missing("tensorboard"):
        with pytest.raises(ValueError, match="pip install tensorboard"):
            list(export(trained[0].path, "tensorboard", tmp_path))
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second time in place of the first
        (folder,) = export(trained[0].path, "tensorboard", tmp_path)
    events = EventAccumulator(str(folder))
    events.Reload()
    written = [event.value for event in events.Scalars("metrics/validation_error")]
    assert written == pytest.approx(pd.read_csv(trained[0].metrics)["validation_error"].tolist())
    assert [event.step for event in events.Scalars("metrics/validation_error")] == [4, 8, 12]


def test_an_onnx_network_computes_what_the_trained_one_computes(trained: list[RunFolder], tmp_path: Path) -> None:
    if missing("onnx"):
        with pytest.raises(ValueError, match=r"pip install .*onnx"):
            list(export(trained[1].path, "onnx", tmp_path))
        return
    from onnx.reference import ReferenceEvaluator

    (path,) = export(trained[1].path, "onnx", tmp_path)
    network = network_of("residual18-B", channels=1, num_classes=3, stem_width=4).eval()
    network.load_state_dict(weights_of(trained[1]))
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    (logits,) = ReferenceEvaluator(str(path)).run(None, {"images": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(images).numpy(), rtol=1e-3, atol=1e-4)
