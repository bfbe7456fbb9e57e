import os
from pathlib import Path

import pytest

from cnn.cpu_quota import cpu_quota
from cnn.data.decoding import worker_count

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "workers"),
    [("150000 100000", 1), (f"{CORES + 1}00000 100000", CORES), ("max 100000", CORES)],
)
def test_a_container_gets_no_more_processes_than_its_limit_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, workers: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr("cnn.data.decoding.cpu_quota", lambda: cpu_quota(tmp_path))
    assert worker_count() == workers
