"""Where CIFAR-10 and CIFAR-100 lie below a folder, in their authors' form for Python. Imports no torch."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plain_vs_residual.data.listing import readable

MOST_FOLDERS = 1000  # that are looked into
DEPTH = 3  # of folders in folders
ARCHIVES = (".tar.gz", ".tgz", ".tar")  # a browser may have unzipped it
# The authors' data sets for other programs: in the names of archives, and a file in each.
OTHER_FORMS = ("binary", "matlab")
OTHER_BATCHES = ("data_batch_1.bin", "data_batch_1.mat", "train.bin", "train.mat")


class CifarFiles(NamedTuple):
    """What the files of a data set are called.

    Attributes:
        name: of the data set.
        setting: that trains on it.
        folder: of the batches, as it is unpacked.
        files: the batches, and last the names of the classes.
        enough: how many of these files tell that a folder holds the data set.
        archive: as it is downloaded.
    """

    name: str
    setting: str
    folder: str
    files: tuple[str, ...]
    enough: int
    archive: str


CIFAR10 = CifarFiles(
    name="CIFAR-10",
    setting="cifar10",
    folder="cifar-10-batches-py",
    files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
    enough=1,
    archive="cifar-10-python.tar.gz",
)
CIFAR100 = CifarFiles(
    name="CIFAR-100",
    setting="cifar100",
    folder="cifar-100-python",
    files=("train", "test", "meta"),
    enough=2,  # other folders have a file called train, too
    archive="cifar-100-python.tar.gz",
)
# By the kind of images that a recipe asks for.
CIFAR_FILES = {"cifar10": CIFAR10, "cifar100": CIFAR100, "cifar100-coarse": CIFAR100}


def find_cifar(path: Path, kind: str) -> Path | None:
    """Return the folder with a data set's batches, whatever it is called, or else its archive, or some batches.

    Args:
        path: that folder or archive itself, or a folder above it.
        kind: of the images; kinds that have no such files are nowhere.
    """
    if kind not in CIFAR_FILES:
        return None
    wanted, archives, incomplete = CIFAR_FILES[kind], [], []
    if path.is_file():
        return path.parent if path.name in wanted.files else path
    for folder, names in _folders(path):
        if names.issuperset(wanted.files[:-1]):
            return folder
        if folder.name == wanted.folder or len(names & set(wanted.files)) >= wanted.enough:
            incomplete.append(folder)
        archives += [folder / name for name in sorted(names) if _is_archive(name, wanted)]
    return next(iter([*archives, *incomplete]), None)


def what_else(path: Path, kind: str) -> str:
    """Say which form of which CIFAR data set lies below a folder where the wanted one was not found."""
    for other in (CIFAR10, CIFAR100):
        if CIFAR_FILES.get(kind) != other and (found := find_cifar(path, other.setting)):
            return f"; {readable(found)} is {other.name}: --setting {other.setting}"
    if kind not in CIFAR_FILES:
        return ""
    for folder, names in _folders(path):
        for name in sorted(names):
            archive = "cifar" in name and any(form in name for form in OTHER_FORMS)
            if archive or name in OTHER_BATCHES:
                found_here = readable(folder / name)
                return f"; {found_here} is made for other programs, {CIFAR_FILES[kind].archive} for this one"
    return ""


def _is_archive(name: str, wanted: CifarFiles) -> bool:
    """Say whether a file is likely to be the archive; browsers and people rename it."""
    lower = name.lower()
    of_python = lower.endswith(ARCHIVES) and "cifar" in lower and not any(form in lower for form in OTHER_FORMS)
    return of_python and ("100" in lower) == (wanted is CIFAR100)


def _folders(path: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield a folder and those below it with the names of their files.

    Nothing below train/, val/ and test/; of a folder of images, which has these, only folders directly in it.
    """
    waiting, seen, depth_here = deque([(path.resolve(), 0)]), 0, DEPTH
    while waiting and seen < MOST_FOLDERS:
        folder, depth = waiting.popleft()
        seen += 1
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError:  # not ours to read
            continue
        below = {entry.name for entry in entries if entry.is_dir()}
        yield folder, {entry.name for entry in entries if entry.is_file()}
        if depth == 0 and "train" in below and below & {"val", "test"}:
            depth_here = 1
        if depth < depth_here:
            waiting += [(folder / name, depth + 1) for name in sorted(below - {"train", "val", "test"})]
