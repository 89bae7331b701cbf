"""Any input, typed or read from a file, gives a result or one line that says what is wrong, never a traceback."""

import contextlib
import copy
import io
import json
import string
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from plain_vs_residual.arithmetic import PRECISIONS
from plain_vs_residual.cli import app as cli
from plain_vs_residual.data.decoding import decode_image
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.executors import suite
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import damage
from plain_vs_residual.report.summary import summary
from plain_vs_residual.settings import DIGITS, SETTINGS, Setting
from plain_vs_residual.training.checkpoint import MAGIC, load_checkpoint
from tests.made_up_records import write_results

in_a_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
typed = st.text(string.printable, max_size=8) | st.integers(-5, 2000).map(str) | st.floats().map(str)

NETWORKS = load_experiments()["fig4_depth"].networks["digits"]
ACCEPTED: dict[str, Any] = {
    "--setting": lambda value: value == "digits",
    "--seeds": lambda value: 1 <= int(value) <= 1000,
    "--first-seed": lambda value: int(value) >= 0,
    "--iterations": lambda value: int(value) >= 1,
    "--evaluations": lambda value: 1 <= int(value) <= 10**4,
    "--jobs": lambda value: 1 <= int(value) <= 256,
    "--device": lambda value: torch.device(value).type == "cpu",
    "--precision": lambda value: value in PRECISIONS and value != "tf32",
    "--execution": lambda value: value in ("eager", "compile"),
    "--split": lambda value: value in ("test", "45k/5k"),
    "--network": lambda value: value in (*NETWORKS, "residual18", "residual34"),
}
sensible = st.sampled_from(["digits", "cpu", "bf16", "fp32", "eager", "test", "45k/5k", "3", *NETWORKS, *SETTINGS])


@in_a_folder
@given(st.lists(st.tuples(st.sampled_from(sorted(ACCEPTED)), typed | sensible), max_size=3))
def test_the_command_line_takes_sense_and_names_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[tuple[str, str]]
) -> None:
    trained: list[bool] = []
    monkeypatch.setattr(suite, "train_all", lambda *_: trained.append(True))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    arguments = [part for option in options for part in option]
    fixed = ["train", "fig4_depth", "--setting", "digits", "--device", "cpu", "--no-report", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["x", *fixed, "--results", str(tmp_path / "r"), *arguments])
    said, code = io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    assert code == (0 if trained else 2)
    if trained:
        last = dict(options)  # the last value counts if an option is given twice
        assert all(accepts(last[name]) for name, accepts in ACCEPTED.items() if name in last)
    else:
        assert said.getvalue().startswith("error: ")
        assert said.getvalue().count("\n") == 1


@in_a_folder
@given(st.sampled_from(sorted(DIGITS.recipe())), anything)
def test_a_setting_takes_sense_and_names_nonsense(field: str, value: Any) -> None:
    try:
        changed = DIGITS.with_changes({field: value})
    except ValueError as error:
        assert str(error).startswith("setting digits: ")
        assert field in str(error)
        return
    assert isinstance(changed, Setting)
    kind = type(getattr(DIGITS, field))
    if field in ("iterations", "epochs", "enlarge_to"):
        kind = int
        if value is None:
            return
    assert isinstance(value, (int, float) if kind is float else kind)


def leaves(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(values, dict):
        return [path]
    return [path] + [leaf for key, value in values.items() for leaf in leaves(value, (*path, key))]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    write_results(folder, [load_experiments()["fig4_depth"]], "digits", seeds=range(2))
    return folder


@in_a_folder
@given(st.sampled_from(["run.json", "final.json"]), st.booleans(), st.data())
def test_a_changed_record_is_read_or_named(results: Path, name: str, finished: bool, data: st.DataObject) -> None:
    run = RunFolder(sorted((results / "digits").glob("plain18*"))[0])
    path = run.path / name
    before, final = path.read_bytes(), run.final.read_bytes()
    values = json.loads(before)
    changed = copy.deepcopy(values)
    where = data.draw(st.sampled_from(leaves(values)[1:]))
    parent = changed
    for key in where[:-1]:
        parent = parent[key]
    parent[where[-1]] = data.draw(anything)
    try:
        path.write_text(json.dumps(changed))
        if not finished:
            run.final.unlink()
        elif changed != values:
            assert any(name in line for line in damage(run))
        try:
            (recorded, *_) = load_recorded_runs(results, "digits")
            experiment = load_experiments()["fig4_depth"]
            judge(recorded, [experiment])
            verify(recorded, experiment)
            summary(recorded, experiment)
        except ValueError as error:
            assert str(path) in str(error) or str(run.path) in str(error)
    finally:
        path.write_bytes(before)
        run.final.write_bytes(final)


@in_a_folder
@given(st.text(max_size=60) | st.sampled_from(["raise SystemExit(0)", "EXPERIMENT = 3", "import nowhere", "1/0"]))
def test_an_experiment_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.py"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ValueError, match=r"page\.py: "):
        load_experiments(tmp_path)


@in_a_folder
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_taken_for_a_checkpoint(tmp_path: Path, content: bytes, with_head: bool) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoint.write_bytes(MAGIC + content if with_head else content)
    checkpoint, damaged = load_checkpoint(folder)
    assert checkpoint is None
    assert len(damaged) == 1


@in_a_folder
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_image_is_read_or_named(tmp_path: Path, place: int, value: int, cut: bool) -> None:
    path = tmp_path / "image.png"
    buffer = io.BytesIO()
    Image.effect_noise((9, 9), 50).save(buffer, "png")
    whole = buffer.getvalue()
    place %= len(whole)
    path.write_bytes(whole[:place] + b"" if cut else whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        assert decode_image(path).mode == "RGB"
    except ValueError as error:
        assert str(path) in str(error)
