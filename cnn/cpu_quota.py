"""How many cores a process may use; the number of visible cores does not show a container's CPU limit."""

import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def cpu_quota(control_group: Path = _CONTROL_GROUP) -> int | None:
    """Returns this container's CPU limit in whole cores, at least 1; None if there is no limit.

    Args:
        control_group: mount point of the control groups, version 1 or 2.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((control_group / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return max(1, int(quota) // int(period))
    return None


def worker_count() -> int:
    """Number of cores that this process may use, within the container's CPU quota."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)
