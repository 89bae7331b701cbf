"""Which files of a folder are images, class by class, and what else lies there. Imports no torch."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Folders that systems and programs add, in small letters: macOS, Linux, Windows, NAS devices, Python.
OF_THE_SYSTEM = frozenset(
    {
        *("__macosx", "network trash folder", "temporary items", "lost+found", "$recycle.bin", "recycler"),
        *("system volume information", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
        "__pycache__",
    }
)
# Formats that Pillow recognises without being able to read them, or only by another program.
NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
READ_AS_JPEG = "MPO"  # several JPEG pictures in a file, of cameras with two lenses; it has no reader of its own
MOST_NAMES = 5  # of what was left out, in a line


@dataclass(frozen=True)
class Listing:
    """The images of ``train/`` or ``val/``, sorted by class and name, and what was left out.

    Attributes:
        folder: which folder.
        classes: names of the classes as people read them, in the order of the labels.
        names: of the image files, below the folder.
        labels: the number of each file's class.
        left_out: why something was left out, and what: names, or endings of names.
    """

    folder: Path
    classes: tuple[str, ...]
    names: list[str] = field(repr=False)
    labels: list[int] = field(repr=False)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)


def list_images(folder: Path) -> Listing:
    """List the images in ``folder/<class>/``, at any depth below it.

    Raises:
        ValueError: if there are fewer than two classes, or one without images, or two of the same name.
    """
    left_out: defaultdict[str, Counter[str]] = defaultdict(Counter)
    classes = _class_folders(folder, left_out)
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes.values()):
        ignored: defaultdict[str, Counter[str]] = defaultdict(Counter)
        found = sorted(_image_files(folder / name, ignored), key=_order)
        if not found:
            raise ValueError(f"--data: {readable(folder / name)} holds no images{_instead(ignored)}")
        names += [f"{name}{os.sep}{file}" for file in found]
        labels += [label] * len(found)
        for reason, what in ignored.items():
            left_out[reason] += what
    return Listing(folder, tuple(classes), names, labels, dict(left_out))


def what_was_left_out(listings: Sequence[Listing]) -> str:
    """Say in a line what of some folders is not among their images; empty if nothing."""
    whole: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for listing in listings:
        for reason, what in listing.left_out.items():
            whole[reason] += what
    return f"left out: {_all_counted(whole)}" if whole else ""


def is_address(path: str | Path) -> bool:
    """Say whether what is given as a path is an address, such as ``s3://images``: nothing here fetches it.

    >>> is_address("s3://images"), is_address("a folder/s3")
    (True, False)
    """
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+]+:/", str(path)))


def readable(text: str | Path) -> str:
    r"""Return a name as it can be printed and recorded: in one Unicode form, with other bytes in escapes.

    >>> readable("caf\udce9"), readable("cafe\u0301") == readable("caf\xe9")
    ('caf\\xe9', True)
    """
    raw = str(text)
    if raw.isascii() and raw.isprintable():
        return raw
    decoded = os.fsencode(raw).decode("utf-8", "backslashreplace")
    one_form = unicodedata.normalize("NFC", decoded)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in one_form)


@cache
def image_endings() -> frozenset[str]:
    """Return the endings of the files that Pillow reads, such as ``.png``."""
    from PIL import Image

    endings = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in endings if kind in {*Image.OPEN, READ_AS_JPEG} - NOT_READ)


def _class_folders(folder: Path, left_out: dict[str, Counter[str]]) -> dict[str, str]:
    """Return the folders of the classes by the classes' names, sorted by these."""
    found: dict[str, str] = {}
    for entry in _entries(folder):
        if reason := _no_image(entry):
            left_out[reason][readable(entry.name)] += 1
        elif entry.is_symlink() and not os.path.exists(entry.path):
            left_out["links to nothing in place of classes"][readable(entry.name)] += 1
        elif not _leads_to(entry, folder=True):
            left_out["beside the class folders"][readable(entry.name)] += 1
        elif (name := readable(entry.name)) in found:
            raise ValueError(
                f"--data: {readable(folder)} holds class {name} twice, in two Unicode forms; join the folders"
            )
        else:
            found[name] = entry.name
    if len(found) < 2:
        raise ValueError(
            f"--data: {readable(folder)} holds {len(found)} class folders; at least 2 are needed"
            f"{_instead(left_out)}"
        )
    return dict(sorted(found.items()))


def _image_files(folder: Path, left_out: dict[str, Counter[str]]) -> Iterator[str]:
    """Yield the names of the image files below a folder; links are followed, each folder is entered once."""
    endings = image_endings()
    seen = {_inode(folder)}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for entry in _entries(folder / below):
            if reason := _no_image(entry):
                left_out[reason][readable(entry.name)] += 1
            elif _leads_to(entry, folder=True):
                inode = _inode(entry.path)
                if inode in seen:
                    left_out["there already by another way"][readable(entry.name)] += 1
                else:
                    seen.add(inode)
                    waiting.append(f"{below}{entry.name}{os.sep}")
            elif not _leads_to(entry, folder=False):
                left_out["neither file nor folder"][readable(entry.name)] += 1
            elif (ending := os.path.splitext(entry.name)[1].lower()) in endings:
                yield below + entry.name
            else:
                left_out["by ending"][readable(ending) or "none"] += 1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _no_image(entry: os.DirEntry[str]) -> str:
    """Say why an entry is no class and no image, whatever its kind; empty if nothing speaks against it."""
    if entry.name.startswith("."):
        return "hidden"
    return "of the system" if entry.name.lower() in OF_THE_SYSTEM else ""


def _leads_to(entry: os.DirEntry[str], *, folder: bool) -> bool:
    """Say whether an entry is a folder, or a file with content, or a link to one."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:  # a circle of links
        return False


def _inode(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _order(name: str) -> list[str]:
    """Sort by folders, then names, as paths are sorted; alike in all Unicode forms."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).split(os.sep)


def _instead(left_out: dict[str, Counter[str]]) -> str:
    return f"; left out: {_all_counted(left_out)}" if left_out else ""


def _all_counted(left_out: dict[str, Counter[str]]) -> str:
    """Count what was left out for each reason, and name the most frequent: ``3 hidden (2 .DS_Store, .a)``."""
    said = []
    for reason, what in sorted(left_out.items()):
        most = sorted(what.items(), key=lambda one: (-one[1], one[0]))
        named = [f"{number:,} {name}" if number > 1 else name for name, number in most[:MOST_NAMES]]
        more = [f"{len(most) - MOST_NAMES:,} more names"] if len(most) > MOST_NAMES else []
        said.append(f"{what.total():,} {reason} ({', '.join(named + more)})")
    return "; ".join(said)
