"""Says what a file is that was taken for a checkpoint: an LFS pointer, a web page, an archive, another format."""

import codecs
import os
import tarfile
import zipfile
from pathlib import Path

from plain_vs_residual.data.listing import is_address

LOOKED_AT = 4096
ADVICE = "torch.save writes what is needed; safetensors are read as well"

# How files begin, and what they are; where something can be done about it, that is said after a semicolon.
BEGINNINGS = {
    b"version https://git-lfs.github.com/": "a Git LFS pointer, not the file that it stands for; git lfs pull "
    "fetches that",
    b"/annex/objects/": "a git-annex pointer, not the file that it stands for; git annex get fetches that",
    b"plain-vs-residual ": "the state of an unfinished run of this suite; the command that began the run goes on "
    "with it and writes weights.pt",
    b"\x1f\x8b": "compressed by gzip; unpack it first: gunzip, or tar xzf for .tar.gz",
    b"BZh": "compressed by bzip2; unpack it first: bunzip2, or tar xjf for .tar.bz2",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it first: unxz, or tar xJf for .tar.xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first: unzstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes",
    b"GGUF": "a GGUF file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"#!": "a script",
}
# The same for text, whatever comes before it and however it is written.
TEXTS = {
    "<!doctype html": "a web page (HTML) in place of the file; is its address that of the file itself?",
    "<html": "a web page (HTML) in place of the file; is its address that of the file itself?",
    "<?xml": "an XML document, often a server's refusal; is its address that of the file itself?",
    "{": "a JSON text",
    "[": "a JSON text",
}


def what_it_is(path: Path) -> str:
    """Describe a file that cannot be read as a checkpoint, in a few words; what to do stands after a semicolon.

    Raises:
        OSError: if it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if not start.strip(b"\x00"):
        return f"{'only zeros in it' if start else 'an empty file, 0 bytes'}; was its download cut off?"
    for beginning, words in BEGINNINGS.items():
        if start.startswith(beginning):
            return words
    if start.startswith(b"PK"):
        return _zip(path)
    if tarfile.is_tarfile(path):
        return "a tar archive; unpack it first: tar xf"
    return _text(start) or _binary(start, path.suffix)


def _binary(start: bytes, ending: str) -> str:
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if start[0] == 8 and (ending == ".onnx" or b"onnx" in start.lower() or b"pytorch" in start[:20]):
        return "an ONNX model"
    return "a pickle, but not one of torch.save; or cut off" if start[0] == 0x80 else "binary, of no known kind"


def _zip(path: Path) -> str:
    """Describe what begins as a zip archive: NumPy's arrays, Keras' models, files, or one that was cut off."""
    if not zipfile.is_zipfile(path):
        return "a zip archive that was cut off; fetch or copy it again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a zip archive that was damaged, or copied as text; fetch or copy it again"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    if "model.weights.h5" in names:
        return "a Keras model (.keras)"
    if any(name.endswith("/data.pkl") for name in names):
        return "a file of torch.save whose content is damaged; fetch or copy it again"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    inside = f" with {names[0]}{more} in it" if names else ", empty"
    return f"a zip archive{inside}; unpack it first"


def _text(start: bytes) -> str:
    """Describe a text by its kind or its first words; empty if it is none."""
    try:
        # Incremental, because a letter of several bytes may be cut at the end of what is looked at.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start).strip()
    except UnicodeDecodeError:
        return ""
    if any(ord(letter) < 32 and letter not in "\n\r\t\f" for letter in text):
        return ""
    lowered = text.lower()
    # Comments and the like may come before a page's first word.
    page = next((words for sign, words in TEXTS.items() if sign in lowered[:500] and sign[0] == "<"), "")
    other = next((words for sign, words in TEXTS.items() if lowered.startswith(sign)), "")
    return page or other or f"a text that begins '{' '.join(text.split())[:40]}'"


def about_a_folder(folder: Path) -> str:
    """Describe a folder that was given in place of a file, and name what in it may be meant."""
    if (folder / "run.json").is_file():
        return "a folder of a run of this suite; its weights are in weights.pt"
    runs = sorted(path.parent.name for path in folder.glob("*/run.json"))
    if runs:
        return f"a folder of runs; give one of them, such as {folder / runs[0]}"
    if (folder / ".metadata").is_file():
        return (
            "a checkpoint of torch.distributed.checkpoint, in pieces; "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE makes it a file"
        )
    if (folder / "data.pkl").is_file():
        return "what torch.save wrote, unpacked by a browser or unzip; fetch the file again, or zip the folder -0"
    endings = (".safetensors", ".index.json", ".pt", ".pth", ".th", ".ckpt", ".bin", ".tar")
    files = sorted((path.name for path in folder.iterdir() if path.name.endswith(endings)), key=_whole_first)
    if files:
        return f"a folder; give the file in it: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}"
    return "a folder, neither of a run of this suite (no run.json) nor with a checkpoint in it"


def _whole_first(name: str) -> tuple[bool, str]:
    """Order what is one whole, or the index of its pieces, before the pieces."""
    return "-of-" in name, name


def about_nothing(path: Path) -> str:
    """Describe a path at which there is no file."""
    if path.is_symlink():
        return f"a link to {os.readlink(path)}, where there is nothing (git annex get fetches what it stands for)"
    if path.exists():
        return "no file with content (a pipe or a device)"
    if is_address(path):
        return "an address, which is not fetched; download it, and give the file"
    return "no such file"
