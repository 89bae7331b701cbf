"""Whether this machine is ready for a setting: what was found, and what to do where it is not enough."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.executors.finding import Finding
from plain_vs_residual.executors.installation import drawing, imports, versions
from plain_vs_residual.executors.room import disk, memory, shared_memory, writable
from plain_vs_residual.records.files import run_folders
from plain_vs_residual.records.locks import LOCKS, holder, is_locked
from plain_vs_residual.records.store import LINE_ENDINGS, damage
from plain_vs_residual.settings import Setting, default_setting

if TYPE_CHECKING:
    pass

SAMPLED = 500  # files of each part that are decoded for a trial


def examine(
    setting: Setting, data: Path | None, results: Path, device_name: str | None, seeds: int
) -> Iterator[Finding]:
    """Look at everything that ``train`` with the same options would need.

    Args:
        setting: what would be trained.
        data: other images, as ``--data``.
        results: where records would go.
        device_name: as ``--device``; the best there is if None.
        seeds: how many.
    """
    yield from versions()
    imported = [imports(module) for module in ("torch", "plain_vs_residual.data.torchvision_import")]
    yield from imported
    yield drawing()
    if not any(finding.fix for finding in imported):
        yield from _device(setting, device_name)
        yield _data(setting, data)
        if setting.data == "imagenet":
            yield shared_memory(setting)
        yield disk(setting, results, seeds)
    yield writable(results)
    yield from _records(results / setting.name)


def preferred_setting(device_name: str | None) -> str:
    """Return the setting that ``train`` takes when none is named."""
    try:
        from plain_vs_residual.executors.machine import choose_device

        return default_setting(choose_device(device_name).type)
    except Exception:  # a broken installation can raise anything; it is named among the findings
        return default_setting("cpu")


def _device(setting: Setting, name: str | None) -> Iterator[Finding]:
    from plain_vs_residual.executors.cores import num_cores
    from plain_vs_residual.executors.description import environment
    from plain_vs_residual.executors.gpus import cannot_compute, left_out, remark_on_precision, unused_gpu
    from plain_vs_residual.executors.machine import (
        all_devices,
        choose_device,
        choose_execution,
        choose_precision,
    )
    from plain_vs_residual.training.execution import compiler

    try:
        device = choose_device(name)
    except ValueError as error:
        yield Finding("device", str(error), "leave --device out, or name one that is here")
        return
    precision = choose_precision(None, device)
    execution = choose_execution(None, device)
    devices = all_devices(device)
    on_gpus = device.type == "cuda"
    number = f"{len(devices)} x " if on_gpus else ""
    what = f"{number}{environment(devices[0]).device_name} ({device.type}), {precision}, {execution}"
    others = left_out() if on_gpus and device.index is None else ""
    what = "; ".join(filter(None, (what, remark_on_precision(devices[0], precision), others)))
    unused = unused_gpu()
    yield Finding("device", f"{what}; {unused.reason}" if unused else what, unused.remedy if unused else "")
    yield Finding("compiler", f"{compiler() or 'none'} (only --execution compile and native need one)")
    for fault in filter(None, map(cannot_compute, devices[1:])):
        yield Finding("device", *fault)
    yield Finding("cores", f"{num_cores()} of {os.cpu_count()} may be used")
    yield memory(setting, devices[0], precision)


def _data(setting: Setting, data: Path | None) -> Finding:
    from plain_vs_residual.data.datasets import load_dataset
    from plain_vs_residual.data.decoding import decoder
    from plain_vs_residual.data.image_folder import sample_files
    from plain_vs_residual.data.images import ImageFiles

    try:
        dataset = load_dataset(setting, data)
    except (ValueError, OSError) as error:
        return Finding("data", str(error), "docs/usage.md, Your own images, says what is accepted")
    counts = f"{len(dataset.training):,} training and {len(dataset.validation):,} validation images"
    found = "; ".join([f"{dataset.name}: {counts}, {len(dataset.classes):,} classes", *dataset.remarks])
    looked_at, faults = 0, list[str]()
    for part in (dataset.training, dataset.validation):
        if isinstance(part, ImageFiles):  # images in memory have been decoded, all of them
            sampled, unreadable = sample_files(part, SAMPLED)
            looked_at += sampled
            faults += unreadable
    if faults:
        return Finding(
            "data",
            f"{found}; {len(faults)} of {looked_at:,} sampled files cannot be decoded: {'; '.join(faults)}",
            "a run would stop there; replace or delete such files",
        )
    return Finding("data", f"{found}; {looked_at:,} sampled files decoded by {decoder()}" if looked_at else found)


def _records(folder: Path) -> Iterator[Finding]:
    runs = run_folders(folder)
    finished = [run for run in runs if run.finished]
    damaged = [line for run in runs for line in damage(run, weights=True)]
    yield Finding(
        "records", f"{len(finished)} finished and {len(runs) - len(finished)} unfinished runs in {folder}"
    )
    for line in damaged:
        mended = "as it says" if LINE_ENDINGS in line else "--rerun sets the run aside and trains it anew"
        yield Finding("records", line, mended)
    held = [path.stem for path in sorted((folder / LOCKS).glob("*.json")) if is_locked(folder / path.stem)]
    for name in held:
        yield Finding("lock", f"{name} is being trained by {holder(folder / name)}", "wait for it, or stop it")
    if not held:
        yield Finding("lock", "no other suite is training here")


def show(findings: Iterator[Finding], say: Callable[[str], None]) -> bool:
    """Say each finding, and return whether all is well."""
    ready = True
    for finding in findings:
        mark = "PROBLEM" if finding.fix else "ok"
        say(f"{mark:8}{finding.what}: {' '.join(finding.found.split())}")
        if finding.fix:
            ready = False
            say(f"{'':8}-> {finding.fix}")
    return ready
