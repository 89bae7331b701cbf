"""Reads what is in a file of weights: of torch.save, of safetensors, or in pieces with an index. Runs no code."""

import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from plain_vs_residual.subject.file_kinds import ADVICE, about_a_folder, about_nothing, what_it_is

# Hugging Face's tools cut large checkpoints: model-00001-of-00003.safetensors and so on, and an index beside it.
PIECE = re.compile(r"-(\d+)-of-(\d+)\.\w+$")
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def read_content(path: Path) -> Any:
    """Read a file of weights onto the CPU, whatever is in it; it is never allowed to run code.

    Raises:
        ValueError: if it is no file, one of another kind (which is named), damaged, one piece of several, or
            holds objects other than tensors and plain values.
        OSError: if it cannot be opened.
    """
    refuse_folder(path)
    if not path.is_file():
        raise ValueError(f"{path}: {about_nothing(path)}; a checkpoint is needed: {ADVICE}")
    piece = PIECE.search(path.name)
    if piece and int(piece[2]) > 1:
        raise ValueError(f"{path}: one of {int(piece[2])} pieces; give the index beside them, *.index.json")
    if path.name.endswith(".index.json"):
        return _from_pieces(path)
    if _is_safetensors(path):
        return _from_safetensors(path)
    return _from_torch(path)


def refuse_folder(path: Path) -> None:
    """Say what a folder is that was given in place of a file.

    Raises:
        ValueError: if it is one.
    """
    if path.is_dir():
        raise ValueError(_unreadable(path, about_a_folder(path)))


def _from_torch(path: Path) -> Any:
    if fault := damaged_member(path):
        raise ValueError(
            _unreadable(path, f"damaged: {fault} in it does not match its checksum; fetch or copy it again")
        )
    try:
        with warnings.catch_warnings():
            # torch warns about TorchScript archives before it refuses them; one line is enough.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if culprit := re.search(
            r"GLOBAL ([\w.]+)", str(error) if isinstance(error, pickle.UnpicklingError) else ""
        ):
            raise ValueError(
                f"{path}: holds more than tensors and plain values ({culprit[1]}) and is not opened, because "
                "unpickling such objects can run any code; save the state dict alone: "
                "torch.save(model.state_dict(), FILE)"
            ) from error
        script = "TorchScript" in str(error)
        raise ValueError(_unreadable(path, "a TorchScript archive" if script else what_it_is(path))) from error


def damaged_member(path: Path) -> str:
    """Name the first part of a file of torch.save that does not match its checksum, which torch does not compare.

    Where no part with content matches, the file was written without checksums, as torch can be told to.
    """
    faults, sound = [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                try:
                    with archive.open(member) as content:
                        while content.read(1 << 20):
                            pass
                    sound += member.file_size > 0
                except zipfile.BadZipFile:
                    faults.append(member.filename)
    except Exception:  # whoever reads it says what it is
        return ""
    return faults[0] if faults and sound else ""


def _is_safetensors(path: Path) -> bool:
    """Say whether a file begins as safetensors do: with the length of a header in JSON, and that."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and 0 < int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def _from_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(_unreadable(path, f"safetensors, but damaged or cut off: {error}")) from error
    return tensors


def safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a file of safetensors, text by name; none of any other or a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        if not _is_safetensors(path):
            return {}
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError:  # whoever reads its tensors says what it is
        return {}


def _from_pieces(index: Path) -> dict[str, torch.Tensor]:
    try:
        where: dict[str, str] = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        pieces = sorted(set(where.values()))
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(_unreadable(index, "no index of pieces: it has no weight_map")) from error
    content: dict[str, torch.Tensor] = {}
    for path in (index.parent / name for name in pieces):
        if not path.is_file():
            raise ValueError(f"{index}: its piece {path.name} is not beside it (there are {len(pieces)})")
        content |= _from_safetensors(path) if _is_safetensors(path) else _from_torch(path)
    if lacking := [name for name in where if name not in content]:
        raise ValueError(f"{index}: {lacking[0]} is not in {where[lacking[0]]}; are the pieces of one checkpoint?")
    return content


def _unreadable(path: Path, what: str) -> str:
    kind, _, remedy = what.partition("; ")
    return f"{path}: not a readable checkpoint ({kind}); {remedy or ADVICE}"
