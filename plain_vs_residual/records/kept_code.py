"""The code that runs were trained by, kept beside them, so that what was changed can be shown later."""

import difflib
from pathlib import Path

from plain_vs_residual.records.atomic import write_text
from plain_vs_residual.records.fingerprint import PACKAGE, code, code_hashes, differing_code, hash_of
from plain_vs_residual.records.git import ask_git
from plain_vs_residual.records.models import RunDescription


def keep_code(folder: Path) -> None:
    """Keep every module that determines what training gives in ``.code/`` of a setting's results, by its hash."""
    for path, value in code_hashes().items():
        kept = folder / ".code" / f"{value}{Path(path).suffix}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, (PACKAGE.parent / path).read_text(encoding="utf-8"))


def diff_of_code(before: tuple[Path, RunDescription], after: tuple[Path, RunDescription]) -> list[str]:
    """Return a unified diff of each module that differs between two runs; a remark where the text is not kept.

    Args:
        before: folder of a setting's results and the description of a run in it.
        after: likewise.
    """
    diffs = []
    for path in differing_code(before[1].sources, after[1].sources):
        old, new = (_text(folder, run, path) for folder, run in (before, after))
        if old is None or new is None:
            diffs.append(f"{path}: differs, but its text {'before' if old is None else 'after'} is not kept\n")
            continue
        lines = difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), f"before/{path}", f"after/{path}"
        )
        diffs.append("".join(lines))
    return diffs


def _text(folder: Path, run: RunDescription, path: str) -> str | None:
    """Find the text of a module as a run was trained by it: kept beside it, here, or in the history of git."""
    value = run.sources.get(path)
    if value is None:
        return ""
    for candidate in (
        _read(folder / ".code" / f"{value}{Path(path).suffix}"),
        _read(PACKAGE.parent / path),
        _committed(run, path),
    ):
        if candidate is not None and hash_of(code(candidate, Path(path).suffix)) == value:
            return candidate
    return None


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _committed(run: RunDescription, path: str) -> str | None:
    commit = run.environment.git_commit
    return None if commit is None else ask_git("show", f"{commit}:{path}")
