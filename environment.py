"""What environment.sh asks of a Python: what it lacks of pyproject.toml, what one built on it must know.

Runs before every command, on whatever Python is active: the standard library only, and no import of torch.
"""

import contextlib
import fcntl
import re
import site
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENVS = ROOT / ".venvs"
# Extras of pyproject.toml: what a purpose needs, and what its set-up adds although the purpose can do without.
NEEDED = {"runtime": [], "tests": ["tests"]}
ADDED = {"runtime": [], "tests": ["cluster", "scripts", "kernels"]}


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 13) for 2.13.0+cpu.

    A pre-release counts as its release, because vendors' containers ship torch as 2.11.0a0.
    """
    leading = re.match(r"[\d.]*", version)
    parts = [int(part) for part in leading[0].split(".") if part] if leading else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def project_table() -> dict[str, Any]:
    """Return what pyproject.toml says of the project."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def requirements(purpose: str) -> dict[str, str]:
    """Return name -> lowest version that pyproject.toml accepts, for "runtime" or "tests"."""
    project = project_table()
    lines = [f"python{project['requires-python']}", *project["dependencies"]]
    for extra in NEEDED[purpose]:
        lines += project["optional-dependencies"][extra]
    found = {}
    for line in lines:
        match = re.fullmatch(r"([\w.-]+) *>= *([\d.]+)", line)
        if match is None:
            sys.exit(f"pyproject.toml asks for {line!r}, environment.py reads only name>=version")
        found[match[1]] = match[2]
    return found


def installed(name: str) -> str:
    """Return the installed version of a package, "" if it is absent or half written."""
    try:
        return metadata.version(name) or ""
    except (metadata.PackageNotFoundError, KeyError):
        return ""


def lacking(purpose: str) -> list[str]:
    """Return, for each requirement that is not met, what to install: the pinned version."""
    wanted = requirements(purpose)
    python = wanted.pop("python")
    if sys.version_info < numbers(python):
        sys.exit(f"Python {python} or newer is needed")
    missing = [name for name, lowest in wanted.items() if numbers(installed(name)) < numbers(lowest)]
    if not missing:
        return []
    found = pins()
    if "torch" not in missing:
        # Each torchvision belongs to one torch: beside another torch than the pinned one, pip must choose.
        found["torchvision"] = ""
    return [f"{name}=={found[name]}" if found.get(name) else f"{name}>={wanted[name]}" for name in missing]


def added(purpose: str) -> Iterator[str]:
    """Yield what a set-up installs beside what is needed, where it can be had."""
    for extra in ADDED[purpose]:
        yield from project_table()["optional-dependencies"].get(extra, ())


def pins() -> dict[str, str]:
    """Return name -> pinned version, of all that a set-up can install."""
    return versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))


def versions(text: str) -> dict[str, str]:
    """Return name -> version of the lines that give one: ``name==version``, and a marker behind it or not."""
    lines = (line.partition(";")[0].strip() for line in text.splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def stamp(purpose: str) -> Iterator[str]:
    """Yield the pins that a set-up for this purpose went by: without those of what only another one needs."""
    others = requirements("tests").keys() - requirements(purpose).keys()
    yield from (f"{name}=={version}" for name, version in pins().items() if name not in others)


def in_own_venv() -> bool:
    """Say whether this Python is that of one of the repository's own environments."""
    prefix = Path(sys.prefix).resolve()
    return prefix == VENV.resolve() or prefix.parent == VENVS.resolve()


def set_up_is_complete(purpose: str) -> bool:
    """Say whether environment.sh finished this environment, with today's pins."""
    own = Path(sys.prefix)
    # A .venv that somebody else made has no log: it is judged by its packages alone.
    if not (own / "set-up.log").exists():
        return True
    try:
        _, _, text = (own / "set-up.done").read_text(encoding="utf-8").partition("\n")
    except FileNotFoundError:
        return False
    stamped, wanted = versions(text), requirements(purpose).keys() - {"python"}
    # One with the test tools serves at run time as well.
    return wanted <= stamped.keys() and stamped.items() <= pins().items()


def report(purpose: str) -> Iterator[str]:
    """Yield which Python this is, then a line for each thing it lacks: a single line means it will do."""
    own = in_own_venv()
    yield ".venv" if own else f"Python {sys.version.split()[0]} in {sys.prefix}"
    if own and not set_up_is_complete(purpose):
        yield "a complete set-up"
    yield from lacking(purpose)


def frozen() -> Iterator[str]:
    """Yield the pip constraints that keep an installed torch and torchvision as they are."""
    for name in ("torch", "torchvision"):
        if version := installed(name):
            yield f"{name}=={version}"


def parent_path() -> Iterator[str]:
    """Yield the lines of a .pth file through which an environment sees this Python's packages, after its own.

    --system-site-packages would show those of the base Python, which is another one when this is a virtual
    environment. addsitedir also follows .pth files, hence editable installs.
    """
    directories = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        directories.append(site.getusersitepackages())
    for directory in directories:
        if Path(directory).is_dir():
            yield f"import site; site.addsitedir({directory!r})"


def lock() -> None:
    """Lock the file that the shell has open as 9; the lock is the shell's too and ends when it does."""
    try:
        fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another set-up of .venv to end.", file=sys.stderr)
        fcntl.flock(9, fcntl.LOCK_EX)
    except OSError:
        pass  # some network file systems have no locks: go on without


def link(environment: str) -> None:
    """Make .venv a link to an environment at one stroke, unless a folder with files in it is in its place."""
    with contextlib.suppress(OSError):
        VENV.rmdir()
    if VENV.is_symlink() or not VENV.exists():
        new = VENVS / "link"
        new.unlink(missing_ok=True)
        new.symlink_to(Path(environment).relative_to(ROOT))
        new.replace(VENV)


def main(question: str, argument: str = "runtime") -> None:
    """Answer one question of environment.sh on standard output, or do what it cannot do itself."""
    match question:
        case "report":
            print(*report(argument), sep="\n")
        case "added":
            print(*added(argument), sep="\n")
        case "stamp":
            print(*stamp(argument), sep="\n")
        case "frozen":
            print(*frozen(), sep="\n")
        case "parent-path":
            print(*parent_path(), sep="\n")
        case "lock":
            lock()
        case "link":
            link(argument)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
