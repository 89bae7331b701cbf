"""One way for every command: what a line means, what its help shows, and how messages name it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plain_vs_residual import launcher
from plain_vs_residual.cli import app as cli
from plain_vs_residual.cli import commands
from plain_vs_residual.cli.benchmarks import BENCHMARKS

REPOSITORY = Path(__file__).parent.parent
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that gives exit code, output and error output of a command."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plain_vs_residual", *arguments])
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return (code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


def test_an_experiment_and_an_option_mean_train(said: Said) -> None:
    for line in (["fig4_depth"], ["seminar"], ["--seeds", "1"]):
        assert said(*line, "--setting", "mnist") == said("train", *line, "--setting", "mnist")
        assert "unknown setting 'mnist'" in said(*line, "--setting", "mnist")[2]
    assert said("fig4_depth", "--help") == said("train", "--help")


def test_any_other_word_is_answered_with_the_nearest_one(said: Said) -> None:
    code, _, error = said("lsit")
    assert code == 2
    assert "No such command 'lsit', and no such experiment (did you mean list?); " in error
    assert "did you mean fig4_depth?" in said("fig4_dept")[2]
    assert "did you mean" not in said("xyz")[2]
    assert f"{launcher.command('list')} the experiments" in said("xyz")[2]


def test_a_command_stays_one_where_an_experiment_has_its_name(
    said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file itself is refused where experiments are loaded, alone (tests/test_declared.py)."""
    before = said("report", "--help")
    (tmp_path / "report.py").touch()
    monkeypatch.setattr(commands, "EXPERIMENTS", tmp_path)
    assert said("report", "--help") == before
    assert "Draw the figures and write" in before[1]


def test_help_shows_every_command_in_whole_sentences_and_what_train_takes(said: Said) -> None:
    _, output, _ = said("--help")
    assert output.startswith(f"Usage: {launcher.command()} [COMMAND] [EXPERIMENT]... [OPTIONS]\n")
    listed = output.partition("Commands:")[2].partition("Without")[0]
    assert re.findall(r"^  (\w+) ", listed, re.MULTILINE) == [
        *("list", "train", "runs", "plot", "report", "verify", "compare", "power", "doctor"),
        *("describe", "evaluate", "responses", "inspect", "export", "benchmark"),
    ]
    assert "..." not in listed
    assert "(Fig. 7) of a checkpoint" in listed
    options = re.findall(r"^ +(--[\w-]+)", said("train", "--help")[1], re.MULTILINE)
    assert len(options) > 10
    assert re.findall(r"^ +(--[\w-]+)", output.partition("Without")[2], re.MULTILINE) == options


def test_a_command_is_named_as_it_can_be_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert launcher.command() == "bash run_all.sh"
    assert launcher.command("compare", Path("a b"), "it's") == """bash run_all.sh compare 'a b' 'it'"'"'s'"""
    monkeypatch.chdir(tmp_path)
    assert launcher.command("list") == f"bash {REPOSITORY / 'run_all.sh'} list"
    (tmp_path / "run_all.sh").touch()  # another one
    assert launcher.command("list") == f"bash {REPOSITORY / 'run_all.sh'} list"
    (tmp_path / "my copy").mkdir()
    monkeypatch.setattr(launcher, "SCRIPT", tmp_path / "my copy" / "run_all.sh")
    assert launcher.command("list") == f"bash '{tmp_path}/my copy/run_all.sh' list"


def test_a_python_that_lacks_something_is_told_the_line_that_works(tmp_path: Path) -> None:
    package = tmp_path / "my copy" / "plain_vs_residual"
    shutil.copytree(
        REPOSITORY / "plain_vs_residual", package, ignore=shutil.ignore_patterns("*.gz", "__pycache__")
    )
    lacking = tmp_path / "lacking" / "typer"
    lacking.mkdir(parents=True)
    (lacking / "__init__.py").write_text("raise ImportError(\"No module named 'typer'\")")
    path = os.pathsep.join(map(str, (lacking.parent, package.parent)))
    done = subprocess.run(
        [sys.executable, "-m", "plain_vs_residual", "describe", "my net"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: No module named 'typer' in {sys.executable}; ")
    assert done.stderr.endswith(f": bash '{package.parent}/run_all.sh' describe 'my net'\n")


def test_the_launcher_works_from_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    elsewhere = tmp_path / "some where"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", REPOSITORY / "run_all.sh", "report", "--results", "my results"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    script = REPOSITORY / "run_all.sh"
    assert done.stderr == f"error: --results my results: no such folder; train some runs first: bash {script}\n"
    assert done.returncode == 2


def test_a_benchmark_gets_its_options_as_they_are(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    assert said("benchmark", "throughput", "--case", "a@b", "--help")[0] == 0
    assert started == [[sys.executable, "-m", "benchmarks.throughput", "--case", "a@b", "--help"]]
    assert "unknown benchmark 'speed'; accepted are throughput, jobs" in said("benchmark", "speed")[2]
    assert "throughput, jobs" in said("benchmark", "--help")[1]


def test_every_benchmark_is_named() -> None:
    files = {path for path in (REPOSITORY / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}
    packages = {path.parent for path in (REPOSITORY / "benchmarks").glob("*/__main__.py")}
    assert {path.stem for path in files | packages} == set(BENCHMARKS)


def test_no_text_names_a_command_that_fails_as_copied() -> None:
    """A reader's python may lack what run_all.sh finds or sets up."""
    texts = [path for room in ("experiments", "benchmarks") for path in (REPOSITORY / room).rglob("*")]
    texts = [path for path in texts if path.suffix in (".py", ".sh", ".md", ".ipynb")]
    assert len(texts) > 30
    pages = (REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))
    for path in (*texts, *pages):
        assert not re.findall(r"(?<!\")python -m (?:plain_vs|benchmarks).*", path.read_text("utf-8")), path
