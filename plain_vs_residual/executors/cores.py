"""How many cores this process may use: those it is bound to, and no more than its control groups grant.

``docker --cpus 2``, the limits of Kubernetes and ``CPUQuota`` of systemd bind a process to no cores: they stop it
for the rest of each period once it has used its share. Threads beyond that only wait for each other.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

SELF = Path("/proc/self")


def num_cores() -> int:
    """Count the cores that this process may use, one at least; of a share such as 2.5 the whole part counts."""
    # Python 3.13 also heeds PYTHON_CPU_COUNT.
    counted = getattr(os, "process_cpu_count", None)
    if counted is not None:
        bound_to = counted() or 1
    else:
        bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(bound_to, granted())))


def granted(process: Path = SELF) -> float:
    """Return how many cores' worth of time a process's control groups grant; infinity where nothing limits it.

    Args:
        process: its folder under /proc.
    """
    return min((_share(folder) for folder in _groups(process)), default=math.inf)


def _groups(process: Path) -> Iterator[Path]:
    """Yield the folders of the groups that a process is in, each with those above it; versions 1 and 2 alike."""
    try:
        memberships = (process / "cgroup").read_bytes().split(b"\n")[:-1]
        mounts = (process / "mountinfo").read_bytes().split(b"\n")[:-1]
    except OSError:  # not Linux
        return
    own = {}  # path of the group by version
    for line in map(os.fsdecode, memberships):  # names of folders, which need not be UTF-8
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            own["cgroup"] = path
        elif not controllers:
            own["cgroup2"] = path
    for line in map(os.fsdecode, mounts):
        left, _, right = line.partition(" - ")
        root, mounted_at = left.split()[3:5]
        kind, _, *options = right.split()
        if kind not in own or (kind == "cgroup" and "cpu" not in ",".join(options).split(",")):
            continue
        folder = Path(mounted_at)
        yield folder
        # A container may see its own group at the root, under a path that holds outside of it only.
        inside = Path(own[kind]).relative_to(root) if Path(own[kind]).is_relative_to(root) else Path()
        for part in inside.parts:
            folder /= part
            yield folder


def _share(group: Path) -> float:
    """Return quota over period of one group; infinity if it has no quota (``max``, or -1) or cannot be read."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return share if share > 0 else math.inf
