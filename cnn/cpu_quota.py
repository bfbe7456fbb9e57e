"""The CPU limit of a container, which the number of visible cores does not show."""

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
