"""Opens a finished run of this suite: its record knows network, setting, precision and images."""

from pathlib import Path

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.launcher import command
from plain_vs_residual.networks import Network, build
from plain_vs_residual.recipe import IMAGE_KINDS, Recipe
from plain_vs_residual.records.files import RunFolder, run_folders
from plain_vs_residual.records.models import RunRecord
from plain_vs_residual.records.store import Record, read_record
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.subject.weight_sets import State
from plain_vs_residual.subject.weights import load_weights, read_weights
from plain_vs_residual.training.precision import prepare_arithmetic, this_process


def open_run(
    record: Record, data: Path | None, device: torch.device, precision: Precision | None = None
) -> Subject:
    """Rebuild the network of a finished run and find its images; what is cheap to check is checked first.

    Args:
        record: of the run, see :func:`finished_record`.
        data: where its images are, unless they are the setting's own.
        device: where to compute.
        precision: in which to compute; the recorded one if None.

    Raises:
        ValueError: if the images are not those of the run, or the weights do not fit.
        FileNotFoundError: if CIFAR-10 is neither here nor to be downloaded.
    """
    run, setting = record.run, recorded_setting(record.run)
    state = read_weights(record.folder.weights)
    dataset = _images_of(record, setting, data)
    network = network_of(record, state, dataset.channels)
    precision, deterministic = precision or run.arithmetic.precision, run.arithmetic.deterministic
    prepare_arithmetic(device, this_process(precision, deterministic=deterministic))
    return Subject(
        source=record.folder.path,
        architecture=Architecture.parse(run.network),
        setting=setting,
        seed=run.seed,
        read=lambda: network,
        dataset=dataset,
        device=device,
        precision=precision,
        class_order="as recorded",
    )


def finished_record(path: Path) -> Record:
    """Read the record of a finished run whose weights are kept.

    Raises:
        ValueError: if the folder is no run, the run is not finished, or its weights are not there.
    """
    folder = RunFolder(path.resolve())
    if path.is_file():
        raise ValueError(
            f"{path}: a file, where the folder of a run is needed, such as results/digits/plain18-s0; "
            f"{command('evaluate')} takes weights from elsewhere"
        )
    if not folder.run.is_file():
        runs = run_folders(path)
        one = runs[0].path if runs else "results/digits/plain18-s0"
        raise ValueError(f"{path}: no run in this folder (no {folder.run.name}); give one such as {one}")
    if not folder.finished:
        raise ValueError(f"{path}: this run is not finished; {command()} goes on with it")
    if not folder.weights.is_file():
        raise ValueError(
            f"{path}: its {folder.weights.name} is not here (git does not keep weights); train the run anew"
        )
    return read_record(folder)


def recorded_setting(run: RunRecord) -> Setting:
    """Return the setting with which a run was trained, changes by a study included.

    Raises:
        ValueError: if there is no setting of that name.
    """
    return find_setting(run.setting).with_changes(run.configuration.model_dump(include=set(Recipe.model_fields)))


def network_of(record: Record, state: State, channels: int) -> Network:
    """Build the network of a run with its weights, for images of so many channels, on the CPU.

    Raises:
        ValueError: if they do not fit.
    """
    run = record.run
    network = build(
        Architecture.parse(run.network),
        recorded_setting(run),
        channels=channels,
        num_classes=len(run.dataset.classes),
        seed=run.seed,
    )
    load_weights(network, state, str(record.folder.weights))
    return network


def _images_of(record: Record, setting: Setting, data: Path | None) -> Dataset:
    name, recorded = record.run.dataset.name, record.run.configuration.data_fingerprint
    if data is None and name != IMAGE_KINDS[setting.data].name:
        raise ValueError(f"{record.name} was trained on {name}; give these images again: --data FOLDER")
    dataset = split(load_dataset(setting, data), setting.split)
    if dataset.fingerprint != recorded:
        where = f"--data {data}" if data else f"setting {setting.name}"
        raise ValueError(
            f"{where}: {dataset.name} with fingerprint {dataset.fingerprint} is not what {record.name} was "
            f"trained on: {name} with {recorded}; give the same images: --data FOLDER"
        )
    return dataset
