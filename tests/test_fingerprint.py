"""The fingerprint: it covers everything that determines the numbers, and nothing else."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from shutil import which

import pytest

from plain_vs_residual.records import fingerprint
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.fingerprint import (
    EXEMPT,
    PACKAGE,
    ROOTS,
    code,
    code_hashes,
    differing_code,
    exempt,
    hash_of,
    imported_by,
)

MODULE = """
from plain_vs_residual.blocks import layer
def f(x: int) -> str:
    if x:
        y = f"{x!r:>{10}} # {'a' + "b"}"
    return y
"""


@pytest.mark.parametrize(
    "same",
    [
        MODULE.replace("def", "# a comment\ndef"),
        MODULE.replace("    if", "    # a comment\n\n    if"),
        MODULE.replace("    if", '    """A docstring."""\n    if'),
        MODULE.replace("    if", '    r"""A raw\n\n    docstring."""\n    if'),
        MODULE.replace("x: int", "x :int"),
        MODULE.replace("    return y", "    return  y  # why"),
        MODULE.replace("plain_vs_residual.blocks", "plain_vs_residual.rooms.blocks"),
        MODULE.replace("    ", "  "),
    ],
)
def test_comments_docstrings_blank_space_and_moves_do_not_count(same: str) -> None:
    assert code(same) == code(MODULE)


@pytest.mark.parametrize(
    "other",
    [
        MODULE.replace("    return y", "        return y"),
        MODULE.replace("10", "11"),
        MODULE.replace(" # {", " #  {"),
        MODULE.replace("import layer", "import layer as block"),
        MODULE.replace("from plain_vs_residual.blocks", "from torch"),
        MODULE.replace("    if x", "    f'{x}'\n    if x"),
        MODULE.replace("if x", "if not x"),
        MODULE + "f(1)\n",
        MODULE.replace("plain_vs_residual.blocks", "plain_vs_residual.tricks"),
        MODULE.replace("!r", "!s"),
    ],
)
def test_statements_and_text_within_strings_count(other: str) -> None:
    assert code(other) != code(MODULE)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_python_gives_the_same_hashes(version: str) -> None:
    python = which(f"python{version}")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version == here:
        python = sys.executable
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} here")
    # Only this module runs: the dependencies of the package are not installed for every Python.
    rules = Path(fingerprint.__file__).read_text(encoding="utf-8")
    rules = rules.replace("from plain_vs_residual.records.models import RunDescription\n", "")
    program = f"""from __future__ import annotations
__file__ = {fingerprint.__file__!r}
{rules}
print(code_hashes())
"""
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == code_hashes()


def test_every_module_that_training_imports_is_in_it_or_exempt_with_a_reason() -> None:
    """The expected modules are those that Python actually loads for training, not those found by parsing."""
    program = "import sys, plain_vs_residual.training.loop, plain_vs_residual.data.datasets; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "sklearn" not in done.stdout.split()  # a second of every process that trains
    names = (name for name in done.stdout.split() if name.startswith(f"{PACKAGE.name}."))
    places = [PACKAGE.parent.joinpath(*name.split(".")) for name in names]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    loaded = {file for file in files if file.exists() and code(file.read_text(encoding="utf-8"))}
    hashed = {PACKAGE.parent / path for path in code_hashes()}
    assert loaded - hashed == {path for path in loaded if exempt(path)}
    assert all(reason for reason in EXEMPT.values())
    assert len(EXEMPT) <= 3


def test_what_decides_a_bottleneck_is_in_it() -> None:
    for name in (
        "architecture",
        "blocks",
        "networks",
        "randomness",
        "data/stream",
        "training/step",
        "training/loop",
    ):
        assert f"plain_vs_residual/{name}.py" in code_hashes()


def test_no_name_is_defined_twice_among_what_counts() -> None:
    """The fingerprint ignores which module of the package a name is imported from, so names must be unique."""
    modules = [path for path in imported_by(*ROOTS) if not exempt(path)]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules}
    defined = Counter(
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    imported = {
        alias.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE.name)
        for alias in node.names
    }
    assert {name for name in imported if defined[name] > 1} == set()


def test_a_moved_file_is_no_change_and_a_changed_one_is_named() -> None:
    before = {"a.py": hash_of("a"), "b.py": hash_of("b")}
    assert differing_code(before, {"a.py": hash_of("a"), "rooms/b.py": hash_of("b")}) == []
    assert differing_code(before, {"a.py": hash_of("a"), "b.py": hash_of("c")}) == ["b.py"]
    assert differing_code(before, {"a.py": hash_of("a")}) == ["b.py"]
    assert differing_code(before, before | {"c.py": hash_of("b")}) == ["b.py", "c.py"]


def test_lines_end_where_python_says_they_end() -> None:
    """A form feed ends a line for str.splitlines, and for no Python."""
    with_form_feed = "x = 1\n\x0c\n" + MODULE
    assert code(with_form_feed) != code(with_form_feed.replace("'a'", "'A'"))


def test_relative_imports_and_packages_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "house"
    for name, text in {
        "__init__.py": "patched = 1",
        "room/__init__.py": "",
        "room/loop.py": "from .tricks import FACTOR\nfrom ..ground import x\nfrom . import beside\n",
        "room/tricks.py": "FACTOR = 1.0",
        "room/beside.py": "",
        "ground.py": "x = 1",
        "elsewhere.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    found = {path.relative_to(package).as_posix() for path in imported_by(package / "room" / "loop.py")}
    assert found == {
        "__init__.py",
        "room/__init__.py",
        "room/loop.py",
        "room/tricks.py",
        "room/beside.py",
        "ground.py",
    }
