"""What a user types: messages name commands as they can be copied, from whatever folder somebody is in."""

import os
import shlex
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "run_all.sh"
# By pip, which puts the experiments into the package (pyproject.toml), without a repository around it.
INSTALLED = (Path(__file__).parent / "experiments").is_dir()


def command(*words: object) -> str:
    """Return the line that runs a command of the suite from the current folder, quoted for a shell.

    >>> command("compare", "my results", "results")  # doctest: +ELLIPSIS
    "bash ...run_all.sh compare 'my results' results"
    """
    if INSTALLED:
        return shlex.join(["plain-vs-residual", *map(str, words)])
    here = os.path.samefile(os.curdir, SCRIPT.parent)
    return shlex.join(["bash", SCRIPT.name if here else str(SCRIPT), *map(str, words)])
