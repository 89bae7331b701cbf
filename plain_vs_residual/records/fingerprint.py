"""Whether a recorded run is the one that would be trained now: the same configuration, images and code.

The code that counts is every module of this package that loads images, and every one that training and these
import, directly or through others, but for those that EXEMPT names; and the C++ that a module is named after.
"""

import ast
import hashlib
import io
import token as kinds
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from plain_vs_residual.records.models import RunDescription

PACKAGE = Path(__file__).parent.parent
# All of data/, because recipe.py names the loaders in it as text.
ROOTS = (PACKAGE / "training" / "loop.py", *sorted((PACKAGE / "data").glob("*.py")))
EXEMPT = {
    "recipe.py": "its values are in the configuration",
    "settings": "its values are in the configuration, and a new setting changes no other",
    "records": "writes down what was measured, and what it writes is sealed",
}


def code_hashes() -> dict[str, str]:
    """Hash the code of every module that determines what training gives, by its path in the repository."""
    return hashes_of_modules(*ROOTS)


@cache
def hashes_of_modules(*roots: Path) -> dict[str, str]:
    """Hash the code of modules and of all that they import, but for EXEMPT, by its path in the repository."""
    modules = (path for path in sorted(imported_by(*roots)) if not exempt(path))
    files = (file for path in modules for file in (path, path.with_suffix(".cpp")) if file.is_file())
    codes = {path: code(path.read_text(encoding="utf-8"), path.suffix) for path in files}
    return {path.relative_to(PACKAGE.parent).as_posix(): hash_of(text) for path, text in codes.items() if text}


def exempt(path: Path) -> bool:
    """Say whether EXEMPT names a module or the folder that it is in."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] in EXEMPT


def imported_by(*paths: Path) -> set[Path]:
    """Find modules of this package and all others of it that they import, directly or through others."""
    found: set[Path] = set()
    waiting = list(paths)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        waiting += imports_of(module)
        # Python runs these first.
        packages = [folder for folder in module.parents if folder.is_relative_to(PACKAGE)]
        waiting += [folder / "__init__.py" for folder in packages if (folder / "__init__.py").is_file()]
    return found


def imports_of(path: Path) -> Iterator[Path]:
    """Find the modules of this package that a module's import statements name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            above = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            target = PACKAGE.joinpath(*rest)
            for file in (target.with_suffix(".py"), target / "__init__.py"):
                if first == PACKAGE.name and rest and file.is_file():
                    yield file


def code(source: str, suffix: str = ".py") -> str:
    """Return what a program does: without comments, docstrings and blank space, the same on every Python.

    Text is cut out of the source by position, because the same program is printed in other words by another
    Python. Of the path of an own module that is imported only its name counts, so that a file can be moved. What
    is not Python (by the suffix of its file) counts as it is written.

    >>> code("x = 1  # one") == code("x  =  1")
    True
    >>> code("if x:\\n  y()\\nz()") == code("if x:\\n  y()\\n  z()")
    False
    """
    if suffix != ".py":
        return source
    written: list[str] = []
    statement: list[str] = []
    for kind, text in _tokens(source):
        if kind in ("INDENT", "DEDENT"):
            written.append(kind)
        elif kind == "NEWLINE":
            written += _meaning(statement)
            statement = []
        elif kind not in ("COMMENT", "NL", "ENDMARKER"):
            statement.append(text)
    return "\n".join(written)


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each token. An f-string is one, which newer Pythons take apart."""
    lines = io.StringIO(source).readlines()
    begun: list[tuple[int, int]] = []  # f-strings that are still open: where each starts
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = kinds.tok_name[token.type]
        if kind in ("FSTRING_START", "TSTRING_START"):
            begun.append(token.start)
        elif kind in ("FSTRING_END", "TSTRING_END"):
            start = begun.pop()
            if not begun:
                yield "STRING", _between(lines, start, token.end)
        elif not begun:
            yield kind, token.string


def _meaning(statement: list[str]) -> list[str]:
    """Return a statement in one line: none for a docstring, and an own module without its path."""
    alone = statement[0].lower() if len(statement) == 1 else ""
    if alone.endswith(("'", '"')) and not alone.startswith(("f", "rf", "t", "rt")):
        return []  # a docstring, or any other text on its own
    if statement[:1] == ["from"] and statement[1] == PACKAGE.name:
        rest = statement.index("import")
        statement = ["from", PACKAGE.name, statement[rest - 1], *statement[rest:]]
    return [" ".join(statement)]


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join([lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]])


def hash_of(values: object) -> str:
    """Hash text or plain values (SHA-256, first 16 digits)."""
    text = values if isinstance(values, str) else repr(values)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differing_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the modules whose code differs; one that was moved without a change does not."""
    removed = Counter(before.values()) - Counter(now.values())
    added = Counter(now.values()) - Counter(before.values())
    changed = [path for path, value in now.items() if added[value]]
    gone = [path for path, value in before.items() if removed[value] and path not in now]
    return [*changed, *gone]


def differences(recorded: RunDescription, now: RunDescription) -> list[str]:
    """Say what differs between two records in configuration, arithmetic and sources; nothing for the same run.

    A run may go on with other threads, or with another number of devices, which compute eagerly what one of them
    began as a graph: verify names that, and training does not refuse it.

    Args:
        recorded: the run as it was recorded.
        now: as it would be trained.
    """
    old, new = (record.configuration.model_dump() for record in (recorded, now))
    changed = {name: (old[name], new[name]) for name in new if old[name] != new[name]}
    may_change = {"threads", "devices"}
    if now.arithmetic.devices > 1:
        may_change.add("execution")
    changed |= recorded.arithmetic.differences(now.arithmetic, frozenset(may_change))
    found = [f"{name}: {before} before, {after} now" for name, (before, after) in changed.items()]
    found += [f"{path}: other code" for path in differing_code(recorded.sources, now.sources)]
    return found
