"""Whether this machine is ready for a setting: what was found, and what to do where it is not enough."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.executors.installation import Finding, drawing, imports, versions
from plain_vs_residual.records.files import run_folders
from plain_vs_residual.records.locks import LOCKS, holder, is_locked
from plain_vs_residual.records.store import LINE_ENDINGS, damage
from plain_vs_residual.settings import Setting, default_setting

if TYPE_CHECKING:
    import torch

GIB = 2**30
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
            yield _shared_memory(setting)
        yield _disk(setting, results, seeds)
    yield _writable(results)
    yield from _records(results / setting.name)


def preferred_setting(device_name: str | None) -> str:
    """Return the setting that ``train`` takes when none is named."""
    try:
        from plain_vs_residual.executors.machine import choose_device

        return default_setting(choose_device(device_name).type)
    except Exception:  # a broken installation can raise anything; it is named among the findings
        return default_setting("cpu")


def _device(setting: Setting, name: str | None) -> Iterator[Finding]:
    from plain_vs_residual.executors.description import environment
    from plain_vs_residual.executors.gpus import cannot_compute, left_out, remark_on_precision, unused_gpu
    from plain_vs_residual.executors.machine import (
        all_devices,
        choose_device,
        choose_execution,
        choose_precision,
        compiler,
        num_cores,
    )

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
    yield Finding("compiler", f"{compiler() or 'none'} (only --execution compile needs one)")
    for fault in filter(None, map(cannot_compute, devices[1:])):
        yield Finding("device", *fault)
    yield Finding("cores", f"{num_cores()} of {os.cpu_count()} may be used")
    yield _memory(setting, devices[0], precision)


def _memory(setting: Setting, device: "torch.device", precision: Precision = "fp32") -> Finding:
    import torch

    from plain_vs_residual.executors.needs import largest_network_bytes

    try:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    except RuntimeError as error:  # the device is full, or held by another program
        return Finding("memory", f"unknown: {str(error).splitlines()[0]}", "stop what else uses the GPU")
    wanted = largest_network_bytes(setting, precision)
    fix = "" if free >= wanted else "a device with more memory, fewer --jobs, or another --setting"
    needed = f"about {wanted / GIB:.1f} GiB needed for one run in {precision}"
    return Finding("memory", f"{free / GIB:.1f} GiB free, {needed}", fix)


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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


def _shared_memory(setting: Setting) -> Finding:
    """Look for room for the batches that the processes which decode images hand over."""
    from plain_vs_residual.executors.needs import bytes_on_their_way

    shared = Path("/dev/shm")  # where Linux keeps it; elsewhere it has no limit of its own
    if not shared.exists():
        return Finding("shared memory", "no limit of its own on this system")
    free = shutil.disk_usage(shared).free
    wanted = bytes_on_their_way(setting)
    fix = "" if free >= wanted else "give the container more, such as docker run --shm-size=8g, or --ipc=host"
    found = f"{free / GIB:.2f} GiB free in {shared}, about {wanted / GIB:.2f} GiB needed by batches on their way"
    return Finding("shared memory", found, fix)


def _writable(results: Path) -> Finding:
    folder = _existing_parent(results)
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return Finding("results", f"{results} can be written")
    return Finding("results", f"{results} cannot be written", "--results DIR names another folder")


def _disk(setting: Setting, results: Path, seeds: int) -> Finding:
    from plain_vs_residual.executors.needs import networks_of, weight_bytes

    free = shutil.disk_usage(_existing_parent(results)).free
    sizes = [weight_bytes(network) for network in networks_of(setting)]
    # Weights of every run; weights and momentum, three times over, of the one that is saved; records, figures.
    wanted = seeds * sum(sizes) + 6 * max(sizes) + 50 * 2**20
    fix = "" if free >= wanted else "make room, or --results DIR on another disk"
    return Finding("disk", f"{free / GIB:.1f} GiB free, about {wanted / GIB:.2f} GiB needed", fix)


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


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
