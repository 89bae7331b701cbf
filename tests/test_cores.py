"""Cores: those that a process is bound to, and what its control groups grant of them."""

import math
from pathlib import Path

import pytest

from plain_vs_residual.executors import cores
from plain_vs_residual.executors.sharing import Sharing, share
from tests.conftest import CPU

V1 = "12:cpuset:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:{path}\n"
V2 = "0::{path}\n"


def process(
    tmp_path: Path,
    version: int,
    path: str,
    quotas: dict[str, str],
    *,
    root: str = "/",
    mounted: str = "cpu,cpuacct",
) -> Path:
    """Write what a process would see of its control groups; quotas by folder under the mount point."""
    mount = tmp_path / "sys" / "fs" / "cgroup" / (mounted if version == 1 else "")
    for folder, quota in {"": "max 100000" if version == 2 else "-1", **quotas}.items():
        group = mount / folder
        group.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (group / "cpu.max").write_text(f"{quota}\n")
        else:
            (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (group / "cpu.cfs_period_us").write_text("100000\n")
    kind = {1: f"cgroup cgroup rw,{mounted}", 2: "cgroup2 cgroup2 rw,nsdelegate"}[version]
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "cgroup").write_text((V1 if version == 1 else V2).format(path=path))
    (folder / "mountinfo").write_text(
        f"22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        f"30 22 0:26 {root} {mount} rw,nosuid shared:4 master:1 - {kind}\n"
        f"31 22 0:27 / {tmp_path}/elsewhere rw - cgroup cgroup rw,memory\n"
    )
    return folder


@pytest.mark.parametrize(
    ("version", "path", "quotas", "root", "expected"),
    [
        (2, "/", {}, "/", math.inf),
        (2, "/", {"": "200000 100000"}, "/", 2.0),  # docker --cpus 2: its group is the root that it sees
        (2, "/user.slice/a.scope", {"user.slice": "300000 100000", "user.slice/a.scope": "max 100000"}, "/", 3.0),
        (2, "/pods/b", {"pods": "800000 100000", "pods/b": "50000 100000"}, "/", 0.5),
        (2, "/../../docker/c", {"": "150000 100000"}, "/", 1.5),  # another name space than that of the mount
        (1, "/docker/d", {"": "200000"}, "/docker/d", 2.0),  # the container sees its own group at the mount point
        (1, "/docker/e", {"": "250000"}, "/", 2.5),
        (1, "/slurm/job", {"slurm/job": "400000"}, "/", 4.0),
        (1, "/", {}, "/", math.inf),
        (2, "/f", {"f": "no numbers"}, "/", math.inf),
    ],
)
def test_the_least_that_a_control_group_grants_counts(
    tmp_path: Path, version: int, path: str, quotas: dict[str, str], root: str, expected: float
) -> None:
    assert cores.granted(process(tmp_path, version, path, quotas, root=root)) == expected


def test_the_controllers_of_version_1_may_be_mounted_one_by_one(tmp_path: Path) -> None:
    folder = process(tmp_path, 1, "/a", {"a": "300000"}, mounted="cpu")
    (folder / "cgroup").write_text("1:cpu:/a\n2:cpuacct:/b\n0::/\n")
    assert cores.granted(folder) == 3.0


def test_without_control_groups_nothing_limits(tmp_path: Path) -> None:
    assert cores.granted(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("bound_to", "quota", "expected"),
    [(64, 2.0, 2), (64, 2.5, 2), (64, 0.5, 1), (4, 16.0, 4), (8, math.inf, 8)],
)
def test_cores_are_those_bound_to_and_granted(
    monkeypatch: pytest.MonkeyPatch, bound_to: int, quota: float, expected: int
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(bound_to)), raising=False)
    monkeypatch.setattr(cores, "granted", lambda: quota)
    assert cores.num_cores() == expected


def test_two_cores_of_a_container_on_64_start_two_runs_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cores, "granted", lambda: 2.0)
    assert share(CPU) == Sharing(at_once=2, devices=1, threads=1)


def test_what_python_was_told_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 has -X cpu_count and PYTHON_CPU_COUNT."""
    monkeypatch.setattr(cores.os, "process_cpu_count", lambda: 3, raising=False)
    monkeypatch.setattr(cores, "granted", lambda: math.inf)
    assert cores.num_cores() == 3


def test_a_disk_whose_name_is_not_utf8_hides_no_control_group(tmp_path: Path) -> None:
    folder = process(tmp_path, 2, "/", {"": "200000 100000"})
    mounts = folder / "mountinfo"
    mounts.write_bytes(b"40 22 8:17 / /media/caf\xe9 rw - vfat /dev/sdb1 rw\n" + mounts.read_bytes())
    assert cores.granted(folder) == 2.0
