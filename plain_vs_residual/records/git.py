"""What git says of this repository: the commit that is recorded, and code as it was at a commit."""

import os
import subprocess

from plain_vs_residual.launcher import INSTALLED
from plain_vs_residual.records.files import REPOSITORY

# Within a hook, these name the repository that the hook is of.
ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


def ask_git(*arguments: str) -> str | None:
    """Ask git about this repository, also where another user owns it, as in containers; None if it cannot say."""
    if INSTALLED:
        return None  # the folder above may be in a repository of somebody's own
    ours = ["git", "-C", str(REPOSITORY), "-c", f"safe.directory={REPOSITORY}"]
    clean = {name: value for name, value in os.environ.items() if name not in ANOTHER_REPOSITORY}
    try:
        done = subprocess.run(
            [*ours, *arguments], capture_output=True, text=True, check=True, timeout=10, env=clean
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
