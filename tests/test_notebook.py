"""The notebook in two versions: the teacher's is executed from top to bottom, the students' is made from it."""

import ast
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import numpy as np
import pytest
import torch

from docs.notebooks import STUDENTS, TEACHERS, for_students
from plain_vs_residual import interactive
from plain_vs_residual.executors import description
from plain_vs_residual.interactive import images, network, train
from plain_vs_residual.records.files import REPOSITORY
from tests.few_images import train_on_few_images
from tests.test_readme import project


def read(path: Path) -> Any:
    return nbformat.read(path, 4)  # type: ignore[no-untyped-call]


def said(notebook: Any) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.get("text", "") for output in outputs)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    train_on_few_images(monkeypatch)


# ---- two versions ----------------------------------------------------------------------------------------


def test_its_outputs_are_kept_without_an_error() -> None:
    notebook = read(TEACHERS)
    cells = code(notebook)
    assert all(cell.execution_count for cell in cells)
    assert not [one for cell in cells for one in cell.outputs if one.output_type == "error"]
    pictures = [one for cell in cells for one in cell.outputs if "image/png" in one.get("data", {})]
    assert len(pictures) == 4
    assert "of other value: []" in said(notebook)


def test_the_checks_in_it_say_that_its_answers_are_right() -> None:
    outputs = [one for cell in code(read(TEACHERS)) for one in cell.outputs]
    shown = "".join(one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in outputs)
    assert shown.count("Right. ") == 10
    assert "Not so." not in shown
    assert "No answer yet" not in shown


def test_the_students_version_is_made_from_the_teachers() -> None:
    assert read(STUDENTS) == for_students(read(TEACHERS))


def test_students_see_neither_answers_nor_outputs_nor_solutions() -> None:
    students, teachers = read(STUDENTS), read(TEACHERS)
    for cell in code(students):
        assert (cell.outputs, cell.execution_count) == ([], None)
    text, full = ("\n".join(cell.source for cell in notebook.cells) for notebook in (students, teachers))
    answers = re.findall(r"[=:n] (.*?),?  # solution$", full, re.MULTILINE)
    assert len(answers) == text.count("...,\n") + len(re.findall(r"(?:=|return) \.\.\.$", text, re.MULTILINE)) > 14
    assert "# solution" not in text
    assert "<summary>Solution" not in text
    assert (text.count("<summary>Hint"), full.count("<summary>Solution")) == (8, 8)


def test_each_exercise_says_how_hard_it_is_and_how_long_it_takes() -> None:
    headings = re.findall(r"^## \d .*", "\n".join(cell.source for cell in read(STUDENTS).cells), re.MULTILINE)
    assert len(headings) == 8
    for heading in headings:
        assert re.search(r"\((easy|medium|hard), \d+ minutes", heading), heading


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cell changes of this process is taken back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    matplotlib.use("agg")


def execute(source: str, names: dict[str, Any]) -> None:
    """Execute a cell as a kernel does: what it ends with is shown, unless that is None."""
    *statements, last = ast.parse(source).body
    shown = [last] if isinstance(last, ast.Expr) else []
    exec(compile(ast.Module([*statements, *([] if shown else [last])], []), "cell", "exec"), names)
    for expression in shown:
        value = eval(compile(ast.Expression(expression.value), "cell", "eval"), names)
        if value is not None:
            print(repr(value))


@pytest.mark.usefixtures("restored")
def test_it_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same cells with a few images and iterations, and records of their own.
    quick = partial(train, results=tmp_path / "results", iterations=2, evaluations=1)
    monkeypatch.setattr(interactive, "train", quick)
    monkeypatch.chdir(TEACHERS.parent)
    names: dict[str, Any] = {}
    for cell in code(read(TEACHERS)):
        execute(cell.source, names)
    text = capsys.readouterr().out
    assert "only in one of them: []" in text
    assert "of other value: []" in text
    assert "largest difference of any logit" in text
    assert text.count("Right. ") >= 9
    assert "Not so." not in text


# ---- its first cell --------------------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path) -> Path:
    """A repository of the suite, as far as the first cell looks at it."""
    repository = tmp_path / "address"
    (repository / "plain_vs_residual").mkdir(parents=True)
    for name in ("environment.py", "pyproject.toml", "constraints.txt", "plain_vs_residual/__init__.py"):
        shutil.copy(REPOSITORY / name, repository / name)
    commit(repository)
    return repository


def commit(repository: Path) -> None:
    for command in (
        ["init", "-q"],
        ["checkout", "-q", "-B", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", "-C", str(repository), *command], check=True)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: None) -> Path:
    """The folder in which somebody opens the notebook, and nothing else."""
    folder = tmp_path / "nothing here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip is asked to install, which nobody does."""
    asked: list[list[str]] = []
    run = subprocess.run

    def only_noted(command: Any, **how: Any) -> Any:
        words = list(map(str, command))
        if "pip" not in words:
            return run(command, **how)
        asked.append(words[words.index("install") + 1 :])
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", only_noted)
    return asked


def first_cell(address: object) -> str:
    source = str(code(read(STUDENTS))[0].source)
    named = re.sub(r"^ADDRESS = .*", lambda _: f"ADDRESS = {str(address)!r}", source, flags=re.MULTILINE)
    assert named != source
    return named


def test_a_package_without_its_repository_is_not_the_suite(
    address: Path, empty: Path, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = empty / "site-packages" / "plain_vs_residual" / "experiments"  # as pip lays it out
    experiments.mkdir(parents=True)
    monkeypatch.chdir(experiments)
    execute(first_cell(address), {})
    assert Path.cwd() == experiments / "plain-vs-residual"


def test_in_an_empty_folder_the_first_cell_fetches_the_suite_once(
    address: Path, empty: Path, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    execute(first_cell(address), {})
    clone = empty / "plain-vs-residual"
    assert Path.cwd() == clone
    assert sys.path[0] == str(clone)
    assert (clone / "plain_vs_residual" / "__init__.py").exists()
    assert f"The suite is in {clone}. Everything is computed on the CPU (" in capsys.readouterr().out
    shutil.rmtree(address)  # nothing is fetched any more:
    execute(first_cell(address), {})  # neither by the same kernel,
    assert "The suite is here already. " in capsys.readouterr().out
    monkeypatch.chdir(empty)
    execute(first_cell(address), {})  # nor by a new one
    assert Path.cwd() == clone
    assert installed == []


def lack_a_package(repository: Path) -> None:
    project, pins = repository / "pyproject.toml", repository / "constraints.txt"
    project.write_text(project.read_text("utf-8").replace("dependencies = [", 'dependencies = ["absent>=1.1",'))
    pins.write_text(f"{pins.read_text('utf-8')}\nabsent==1.2\n")


def test_it_installs_what_is_missing_and_keeps_the_torch_that_is_there(
    address: Path, empty: Path, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lack_a_package(address)
    commit(address)
    monkeypatch.setitem(sys.modules, "absent", sys)  # as if an older one had been imported
    execute(first_cell(address), {})
    assert installed[0][:2] == ["-q", "absent==1.2"]
    assert [package.partition("==")[0] for package in installed[0][2:]] == ["torch", "torchvision"]
    assert f"torch=={torch.__version__}" in installed[0]
    text = capsys.readouterr().out
    assert "Installing absent==1.2\n" in text
    assert re.search("Restart the kernel.* imported before were absent\n", text)


def test_with_nothing_but_a_python_it_installs_what_is_pinned(
    address: Path, empty: Path, installed: list[list[str]]
) -> None:
    asked = address / "environment.py"
    asked.write_text(re.sub(r"(def installed\(.*\n)", r'\1    return ""\n', asked.read_text("utf-8")))
    commit(address)
    execute(first_cell(address), {})
    (words,) = installed
    assert words[0] == "-q"
    assert [word.partition("==")[0] for word in words[1:]] == [
        re.split("[>=]", requirement)[0] for requirement in project()["dependencies"]
    ]
    assert all("==" in word for word in words[1:])


def test_where_the_suite_is_it_installs_nothing_and_says_what_to_do(
    address: Path, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    lack_a_package(address)
    monkeypatch.chdir(address)
    with pytest.raises(ImportError, match=r"lacks absent==1\.2; see The notebook in .*docs/usage\.md"):
        execute(first_cell("nowhere"), {})
    assert installed == []
    assert "\n## The notebook\n" in (REPOSITORY / "docs" / "usage.md").read_text("utf-8")


def test_an_address_that_is_wrong_or_not_known_is_named(empty: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nowhere.* does not exist"):
        execute(first_cell(empty / "nowhere"), {})
    with pytest.raises(ValueError, match=r"^ADDRESS: put the repository's address"):
        execute(first_cell("https://github.com/OWNER/plain-vs-residual"), {})
    assert list(empty.iterdir()) == []


def test_badges_and_first_cell_name_one_address() -> None:
    text = "\n".join(cell.source for cell in read(STUDENTS).cells)
    address, revision = (re.search(f'^{name} = "(.*?)"', text, re.MULTILINE) for name in ("ADDRESS", "REVISION"))
    assert address
    assert revision
    place = address[1].removeprefix("https://github.com")
    here = STUDENTS.relative_to(REPOSITORY).as_posix()
    assert f"(https://colab.research.google.com/github{place}/blob/{revision[1]}/{here})" in text
    assert f"welcome?src={address[1]}/blob/{revision[1]}/{here})" in text


# ---- what it uses, from Python ---------------------------------------------------------------------------


def test_images_are_those_of_the_setting() -> None:
    pixels, labels = images("digits", number=20)
    assert pixels.shape == (20, 1, 16, 16)
    assert labels.shape == (20,)
    assert pixels.dtype == torch.float32
    assert pixels.abs().max() < 1.01


def test_training_from_python_finds_what_is_trained_and_reports_each_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert capsys.readouterr().out == ""
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


def test_one_network_and_one_seed_need_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train("plain18", "digits", np.int64(3), results=str(tmp_path), iterations=1, evaluations=1)
    (record,) = trained.records
    assert (record.run.network, record.run.seed) == ("plain18", 3)
    # Nobody watches, so that a line says how far it is.
    name, error = record.name, float(trained.finals["training_error"].item())
    line = f"1/1 {name}: iteration 1 of 1, training error {error:5.1f} %"
    assert capsys.readouterr().out == f"1/1 {name}\r{line}\n"
    with pytest.raises(ValueError, match="names: there is none; name at least one network"):
        train([], "digits")
