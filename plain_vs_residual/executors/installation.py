"""Whether this Python has what the suite needs, in versions that will do: a part of what the doctor looks at."""

import importlib
import platform
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from plain_vs_residual.executors.finding import Finding
from plain_vs_residual.launcher import INSTALLED, command
from plain_vs_residual.records.files import REPOSITORY


def versions() -> Iterator[Finding]:
    """Compare the installed versions with those that pyproject.toml asks for."""
    if INSTALLED:
        return  # pip has looked at them
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"]
    wanted = "" if platform.python_version() in SpecifierSet(python) else f"PYTHON=/path/to/python3 {command()}"
    yield Finding("Python", f"{platform.python_version()} (needed: {python})", wanted)
    for line in project["dependencies"]:
        requirement = Requirement(line)
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "missing"
        if installed == "missing" or not requirement.specifier.contains(installed, prereleases=True):
            yield Finding(
                requirement.name, f"{installed} (needed: {line})", f"{command()} sets up a Python with it"
            )


def imports(module: str) -> Finding:
    """Import what training cannot do without."""
    name = module.rpartition(".")[2].removesuffix("_import")
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken installation can raise anything
        return Finding(
            name,
            f"cannot be imported: {error}",
            f"{shlex.quote(sys.executable)} -m pip install --force-reinstall {name}",
        )
    return Finding(name, f"{version(name)}, can be imported")


def drawing() -> Finding:
    """Import what the figures and the page need; a run of hours must not end there."""
    try:
        importlib.import_module("plain_vs_residual.report.page")
    except Exception as error:  # a broken installation can raise anything
        return Finding("drawing", f"cannot be imported: {error}", f"{command()} sets up a Python with it")
    return Finding("drawing", f"matplotlib {version('matplotlib')}, can be imported")
