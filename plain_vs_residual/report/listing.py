"""The lines of code that matter, cut out of the modules, for the page."""

import ast
import difflib
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def listing(reference: str) -> str:
    """Return the source of a function, class or method.

    Args:
        reference: module and name, such as ``blocks.py:ResidualBlock.forward``.

    Raises:
        ValueError: if there is no such module or name.
    """
    path, _, name = reference.partition(":")
    if not (PACKAGE / path).is_file():
        raise ValueError(f"code '{reference}': there is no {PACKAGE / path}")
    source = (PACKAGE / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(source)
    for part in name.split("."):
        named = (one for one in ast.iter_child_nodes(node) if getattr(one, "name", "") == part)
        found = next(named, None)
        if found is None:
            raise ValueError(f"code '{reference}': there is no {part} in {path}")
        node = found
    return textwrap.dedent(ast.get_source_segment(source, node, padded=True) or "") + "\n"


def plain_beside_residual() -> str:
    """Return what a residual block does otherwise than a plain one, as a diff."""
    plain, residual = (listing(f"blocks.py:{name}.forward") for name in ("PlainBlock", "ResidualBlock"))
    lines = difflib.ndiff(plain.splitlines(keepends=True), residual.splitlines(keepends=True))
    return "".join(line for line in lines if not line.startswith("?"))
