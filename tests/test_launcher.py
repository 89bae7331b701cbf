"""One way for every command: what a line means, what its help shows, and how messages name it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plain_vs_residual import launcher
from plain_vs_residual.cli import app as cli
from plain_vs_residual.cli import commands
from plain_vs_residual.cli.benchmarks import BENCHMARKS
from plain_vs_residual.executors import description
from plain_vs_residual.records import git

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
        *("list", "train", "runs", "plot", "report", "handout", "verify", "compare", "power", "doctor"),
        *("describe", "evaluate", "responses", "measure", "inspect", "export", "benchmark"),
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


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Lay the package out as pip installs it; return a function that runs its program elsewhere."""
    package, elsewhere = tmp_path / "site" / "plain_vs_residual", tmp_path / "some where"
    shutil.copytree(REPOSITORY / "plain_vs_residual", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        REPOSITORY / "experiments", package / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    elsewhere.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from plain_vs_residual.__main__ import start; start()", *arguments],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_package_that_pip_installed_has_its_experiments_and_works_in_the_current_folder(
    installed: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    listed = installed("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "fig4_depth " in listed.stdout
    missing = installed("report")
    folder = tmp_path / "some where" / "results"
    line = f"error: --results {folder}: no such folder; train some runs first: plain-vs-residual\n"
    assert (missing.returncode, missing.stderr) == (2, line)
    assert "no part of an installed package" in installed("benchmark", "jobs").stderr


def test_the_wheel_has_every_package_and_the_experiments() -> None:
    tables = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {path.parent for path in (REPOSITORY / "plain_vs_residual").rglob("__init__.py")}
    names = {".".join(path.relative_to(REPOSITORY).parts) for path in packages}
    assert set(tables["tool"]["setuptools"]["packages"]) == names | {"plain_vs_residual.experiments"}
    module, _, function = tables["project"]["scripts"]["plain-vs-residual"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_commands_draw_whatever_backend_a_notebook_names() -> None:
    """Each in a fork of one process, which has imported all but what reads the name."""
    program = """
import os, sys
import pandas, scipy.stats
for backend in ("module://matplotlib_inline.not_installed", "qtagg", "no backend"):
    if not os.fork():
        os.environ["MPLBACKEND"] = backend
        assert "matplotlib" not in sys.modules
        from plain_vs_residual.__main__ import start
        sys.argv = ["plain-vs-residual", "list"]
        start()
        import plain_vs_residual.report.figures
        import matplotlib.pyplot as plt
        plt.figure()
        print(f"{backend}: drawn by", plt.get_backend().lower(), flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    for backend in ("module://matplotlib_inline.not_installed", "qtagg", "no backend"):
        assert f"{backend}: drawn by agg\n" in done.stdout, done.stderr


def test_a_notebook_keeps_its_backend_when_it_imports_figures() -> None:
    program = (
        "import matplotlib as m; m.use('svg'); import plain_vs_residual.report.figures; print(m.get_backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "svg\n"


def test_every_text_is_checked_out_with_the_same_line_ends() -> None:
    """Where git is set to write CRLF, bash would not run a script, and a template would write other pages."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no clone")
    done = subprocess.run(["git", "ls-files", "--eol"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [line.split("\t")[0].split(maxsplit=2) for line in done.stdout.splitlines()]
    assert len(files) > 100
    assert {(index, tuple(attributes.split())) for index, _, attributes in files} <= {
        ("i/lf", ("attr/text=auto", "eol=lf")),
        ("i/none", ("attr/text=auto", "eol=lf")),
        ("i/-text", ("attr/-text",)),
    }


def test_an_installed_package_takes_no_other_repository_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "INSTALLED", True)
    recorded = description.environment.__wrapped__(torch.device("cpu"))  # not what an earlier test found
    assert (recorded.git_commit, recorded.git_changes) == (None, None)
