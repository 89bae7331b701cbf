"""The way out: finished runs as tidy tables, TensorBoard's curves, ONNX networks and weights with their record."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from plain_vs_residual.records.atomic import atomically
from plain_vs_residual.records.files import RunFolder, plots_folder
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs, read_table
from plain_vs_residual.records.rows import CurveRow, MetricsRow
from plain_vs_residual.records.store import Record, read_record
from plain_vs_residual.subject.from_run import finished_record, network_of, recorded_setting
from plain_vs_residual.subject.weights import read_weights
from plain_vs_residual.subject.weights_file import write_weights_file

Export = Callable[[RecordedRuns, Path], Iterator[Path]]


def tidy(recorded: RecordedRuns, folder: Path) -> Iterator[Path]:
    """Write one table per kind of record, a row per observation, with the identity of its run in the same row."""
    tables = {
        "finals": recorded.finals,
        "evaluations": recorded.curves,
        "training_curves": recorded.training_curves,
        "responses": recorded.responses,
    }
    for name, table in tables.items():
        if not table.empty:
            identified = table.assign(setting=recorded.setting, variant=recorded.variant)
            path = folder / f"{name}.csv"
            atomically(path, partial(identified.to_csv, index=False))
            yield path


def tensorboard(recorded: RecordedRuns, folder: Path) -> Iterator[Path]:
    """Write each run's curves as TensorBoard reads them; the horizontal axis counts iterations."""
    from torch.utils.tensorboard import SummaryWriter

    for record in recorded.records:
        for old in (folder / record.name).glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(str(folder / record.name)) as writer:
            for path, model in ((record.folder.training_curve, CurveRow), (record.folder.metrics, MetricsRow)):
                if path.exists():
                    table = read_table(path, model).set_index("iteration").select_dtypes("number")
                    for iteration, column, value in table.stack().reset_index().itertuples(index=False):
                        writer.add_scalar(f"{path.stem}/{column}", value, iteration)
        yield folder / record.name


def onnx(recorded: RecordedRuns, folder: Path) -> Iterator[Path]:
    """Write the network of each finished run, in evaluation mode, for batches of any size.

    Its input is what the network saw in training: pixels without the training images' mean, over 255.
    """
    for record in _with_weights(recorded):
        setting = recorded_setting(finished_record(record.folder.path).run)
        state = read_weights(record.folder.weights)
        channels = state["conv1.weight"].shape[1]
        network = network_of(record, state, channels)
        path = folder / f"{record.name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
            torch.onnx.export(
                network.eval(),
                (torch.zeros(2, channels, setting.input_size, setting.input_size),),
                path,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=[{0: torch.export.Dim("batch")}],
                external_data=False,
                verbose=False,
            )
        yield path


def safetensors(recorded: RecordedRuns, folder: Path) -> Iterator[Path]:
    """Write weights and record of each finished run as one file, which every command about a network opens."""
    for record in _with_weights(recorded):
        path = folder / f"{record.name}.safetensors"
        write_weights_file(record.folder.path, path)
        yield path


def _with_weights(recorded: RecordedRuns) -> Sequence[Record]:
    """List the finished runs whose weights are kept; one without, which is refused with the reason, if none is."""
    kept = [record for record in recorded.records if record.folder.finished and record.folder.weights.exists()]
    return kept or recorded.records[:1]


# What each format needs beside what training needs, and what writes it.
FORMATS: dict[str, tuple[tuple[str, ...], Export]] = {
    "tidy": ((), tidy),
    "tensorboard": (("tensorboard",), tensorboard),
    "onnx": (("onnx", "onnxscript"), onnx),
    "safetensors": ((), safetensors),
}


def export(source: Path, to: str, out: Path | None = None) -> Iterator[Path]:
    """Write recorded runs in a format that other programs read, and yield the paths of what was written.

    Args:
        source: folder of a run, of a setting's runs, or of results.
        to: one of FORMATS.
        out: where it goes; ``<plots>/<setting>/<format>`` if None.

    Raises:
        ValueError: if there is no such format, a library is missing, or the folder holds no runs.
    """
    if to not in FORMATS:
        raise ValueError(f"--to {to}: accepted are {', '.join(FORMATS)}")
    libraries, write = FORMATS[to]
    if missing := [name for name in libraries if find_spec(name) is None]:
        names = " ".join(missing)
        raise ValueError(f"--to {to} needs {names}, not installed here: '{sys.executable}' -m pip install {names}")
    results, found = _runs_in(source.resolve())
    for recorded in found:
        folder = (out / recorded.name) if out else plots_folder(results, None) / recorded.name / to
        folder.mkdir(parents=True, exist_ok=True)
        yield from write(recorded, folder)


def _runs_in(source: Path) -> tuple[Path, list[RecordedRuns]]:
    """Return the results folder to which a folder belongs, and the runs in it."""
    if RunFolder(source).run.exists():
        record: Record = read_record(RunFolder(source))
        one = RecordedRuns(record.run.setting, record.run.dataset.variant, (record,))
        return source.parent.parent, [one]
    if any(source.glob("*/run.json")):
        return source.parent, load_recorded_runs(source.parent, source.name)
    return source, load_recorded_runs(source)
