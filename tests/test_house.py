"""The layers of the package: no module imports from a higher layer, and no imports are circular."""

from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from plain_vs_residual.records.fingerprint import PACKAGE, imports_of

# From the bottom up: a module or package imports only from those before it, and from itself.
ROOMS = (
    *("launcher", "near_misses", "architecture", "arithmetic", "schedules", "recipe", "settings", "vocabulary"),
    *("notebook", "claim", "prediction", "study", "experiment", "randomness", "group", "records", "run"),
    *("plan", "ledger"),
    *("blocks", "watching", "folding", "replacing", "scaling", "streams", "tailored", "modifications"),
    *("networks", "growth", "data", "measures", "training"),
    *("subject", "seminar", "evidence", "report", "executors", "inspection", "interactive"),
    *("exercises", "cli", "__main__"),
)
WITHOUT_TORCH = (
    *("launcher", "near_misses", "architecture", "arithmetic", "schedules", "recipe", "settings", "vocabulary"),
    *("notebook", "claim", "prediction", "study", "experiment", "records", "run", "plan", "ledger", "evidence"),
    "report",
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.read_text(encoding="utf-8").count("import "))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_import_runs_against_the_stream(path: Path) -> None:
    above = [other for other in imports_of(path) if ROOMS.index(room(other)) > ROOMS.index(room(path))]
    assert above == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = TopologicalSorter({path: set(imports_of(path)) for path in MODULES}).static_order()
    assert set(MODULES) <= set(order)


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in WITHOUT_TORCH], ids=str)
def test_what_reads_records_imports_no_torch(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.strip().startswith(("import torch", "from torch"))]


def test_hooks_are_registered_in_one_place() -> None:
    registering = [path.name for path in MODULES if "_hook(" in path.read_text(encoding="utf-8")]
    assert registering == ["watching.py"]


def test_no_module_is_too_long_for_a_projector() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path.name: length for path, length in lengths.items() if length > 255} == {}
