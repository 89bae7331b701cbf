"""A finished run in one file: its weights as safetensors, with its record in their metadata.

``export --to safetensors`` writes such files. Whoever opens one needs nothing beside it: it is a run of this
suite, as its folder would be. Metadata are text by name. ``run`` and ``final`` are the records themselves, sealed
as in their own files; everything else is drawn from them and from the weights, for whoever reads a file's header,
and is compared with them when the file is opened.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plain_vs_residual.records.atomic import write_bytes
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import FinalRecord, RunRecord
from plain_vs_residual.records.store import Record, checked, damage
from plain_vs_residual.subject.checkpoint_files import read_content, refuse_folder, safetensors_metadata
from plain_vs_residual.subject.from_run import finished_record, open_run
from plain_vs_residual.subject.subject import Subject

MARK = "plain_vs_residual"  # metadata of this name say that the file is one of these, and of which form
FORM = "1"
LICENCE = "MIT"
ADVICE = "fetch the file again, or export the run anew"


@dataclass(frozen=True)
class WeightsFile(RunFolder):
    """A run that is one file, its weights."""

    @property
    def weights(self) -> Path:
        """The file itself."""
        return self.path


def write_weights_file(folder: Path, path: Path) -> None:
    """Write weights and record of a finished run; the same run gives the same bytes.

    Args:
        folder: of the run.
        path: of the file.

    Raises:
        ValueError: if the run is not finished, its weights are not kept, or a file of it is damaged.
    """
    from safetensors.torch import save

    source = finished_record(folder).folder
    if faults := damage(source, weights=True):
        raise ValueError(f"{faults[0]}; it is not exported")
    # Not as records are read: an earlier version may have written them, and they are sealed as they were written.
    run, final = (json.loads(one.read_bytes()) for one in (source.run, source.final))
    state = {name: value.contiguous() for name, value in read_content(source.weights).items()}
    records = {"run": _compact(run), "final": _compact(final)}
    write_bytes(path, _in_order(save(state, {**_drawn_from(run, final, state), **records})))


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a file of safetensors, which the library writes in another order each time."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = dict(sorted(header.pop("__metadata__").items()))
    text = _compact({"__metadata__": metadata, **header}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _drawn_from(run: Mapping[str, Any], final: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata that repeat what records and weights say."""
    configuration, environment = run["configuration"], run["environment"]
    return {
        MARK: FORM,
        "network": run["network"],
        "label": run["label"],
        "setting": run["setting"],
        "study": run["study"],
        "seed": str(run["seed"]),
        "recipe": _compact(configuration),
        "iterations": str(final["iteration"]),
        "outcome": final["outcome"],
        "training_error": str(final["training_error"]),
        "validation_error": str(final["validation_error"]),
        "running_training_error": str(final["running_training_error"]),
        "dataset": run["dataset"]["name"],
        "classes": _compact(run["dataset"]["classes"]),
        "data_fingerprint": configuration["data_fingerprint"],
        "weights_sha256": hash_of_weights(state),
        "torch": environment["torch"],
        "code_commit": str(environment["git_commit"]),
        "trained": run["started"],
        "licence": LICENCE,
    }


def hash_of_weights(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of all tensors in the order of their names: name, type, shape and values of each."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _compact(values: Any) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def record_in(path: Path) -> Record | None:
    """Read the record in a file that :func:`write_weights_file` wrote; None if it is any other file.

    Raises:
        ValueError: if records, weights and the rest of the metadata do not agree; names the first that does not.
    """
    metadata = safetensors_metadata(path) if path.is_file() else {}
    if MARK not in metadata:
        return None
    if metadata[MARK] != FORM:
        raise ValueError(f"{path}: its metadata are of form {metadata[MARK]}, this version reads form {FORM}")
    parts: dict[str, Any] = {}
    for name in ("run", "final"):
        try:
            parts[name] = json.loads(metadata.get(name, ""))
        except ValueError as error:
            raise ValueError(f"{path}: its metadata '{name}' are no record ({error}); {ADVICE}") from error
    run = checked(parts["run"], RunRecord, f"{path}, metadata 'run'", ADVICE)
    final = checked(parts["final"], FinalRecord, f"{path}, metadata 'final'", ADVICE)
    expected = _drawn_from(parts["run"], parts["final"], read_content(path))
    for name, value in expected.items():
        if name in metadata and metadata[name] != value:
            said = "its weights have" if name == "weights_sha256" else "its record says"
            raise ValueError(f"{path}: its metadata say {name} {metadata[name]}, {said} {value}; {ADVICE}")
    return Record(WeightsFile(path), run, final)


def record_of(path: Path) -> Record | None:
    """Read the record of a finished run, of its folder or of one file; None for weights from elsewhere.

    Raises:
        ValueError: if it is a run that is not finished or damaged.
    """
    return finished_record(path) if RunFolder(path).run.is_file() else record_in(path)


def open_trained(path: str | Path, data: str | Path | None = None, device: str = "cpu") -> Subject:
    """Open a finished run, from its folder or from one file, to be measured in fp32.

    >>> open_trained("results/reference/weights/fashion/cifar-plain20-s30.safetensors").seed
    30

    Args:
        path: of the folder or file.
        data: where its images are, unless they are the setting's own.
        device: where to compute.

    Raises:
        ValueError: if it is neither, or other images are given.
    """
    record = record_of(Path(path))
    if record is None:
        refuse_folder(Path(path))
        raise ValueError(
            f"{path}: weights from elsewhere, which do not say what they are of; "
            "open_checkpoint (plain_vs_residual.subject.from_checkpoint) takes that from you"
        )
    return open_run(record, Path(data) if data else None, torch.device(device), "fp32")
