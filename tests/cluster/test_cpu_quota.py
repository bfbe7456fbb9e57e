from pathlib import Path

import pytest

from cnn.cluster.cpu_quota import cpu_quota
from cnn.cluster.launch import ALONE, Launch, share_cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({}, None),
    ],
)
def test_limit_of_a_container_in_whole_cores(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path) == cores


def test_ranks_share_a_limit_without_being_bound() -> None:
    two = Launch(controller="mpi", rank=0, world_size=4, local_rank=0, local_size=2, bound=False)
    allowed = frozenset(range(64))
    shared = share_cores(two, allowed, 64, quota=6)
    assert (shared.pinned, shared.threads) == (None, 3)
    assert share_cores(two, allowed, 64, quota=1).threads == 1
    assert share_cores(ALONE, allowed, 64, quota=None).threads == 64
