import os
from pathlib import Path

import pytest

from cnn.cpu_quota import cpu_quota, worker_count


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


CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "workers"),
    [("150000 100000", 1), (f"{CORES + 1}00000 100000", CORES), ("max 100000", CORES)],
)
def test_a_container_gets_no_more_processes_than_its_limit_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, workers: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr("cnn.cpu_quota.cpu_quota", lambda: cpu_quota(tmp_path))
    assert worker_count() == workers
