"""How much of the host's processors a container may use: its limit, which the number of cores does not show."""

from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def cpu_quota(control_group: Path = _CONTROL_GROUP) -> int | None:
    """Whole cores that this container's limit amounts to, at least one; None where there is no limit.

    Args:
        control_group: where control groups are mounted, of version 2 or 1.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((control_group / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return max(1, int(quota) // int(period))
    return None
