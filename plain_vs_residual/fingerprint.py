"""Whether a recorded run is the one that would be trained now: configuration, data, source. Imports no torch."""

import ast
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
DETERMINING = (
    "blocks.py",
    "shortcuts.py",
    "networks.py",
    "randomness.py",
    "data/*.py",
    "training/*.py",
    "diagnostics/responses.py",
    "diagnostics/first_iterations.py",
)


@cache
def source_hashes() -> dict[str, str]:
    """Hash of every module that determines the numbers; comments, docstrings and layout do not count."""
    paths = sorted(path for pattern in DETERMINING for path in PACKAGE.glob(pattern))
    return {path.relative_to(PACKAGE.parent).as_posix(): _code_hash(path) for path in paths}


def _code_hash(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                value.value = ""
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def fingerprint_of(values: object) -> str:
    """Hash of plain values (lists, numbers, text)."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two records in ``configuration`` and ``sources``; empty if they are the same run."""
    found = []
    for name, new in now["configuration"].items():
        old = recorded.get("configuration", {}).get(name)
        if old != new:
            found.append(f"{name}: {old} before, {new} now")
    old_sources = recorded.get("sources", {})
    for path, new in now["sources"].items():
        if old_sources.get(path) != new:
            found.append(f"{path}: other code")
    found += [f"{path}: gone" for path in old_sources if path not in now["sources"]]
    return found
