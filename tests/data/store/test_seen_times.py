import os
from pathlib import Path

import numpy as np
import pytest

from cnn.data.store.seen_times import NEVER, SeenTimes, change_time


def _times(*times: int) -> np.ndarray:
    return np.array(times, np.int64)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_a_time_that_was_not_seen_needs_reading(tmp_path: Path) -> None:
    seen = SeenTimes(tmp_path, "files")
    assert seen.unseen(_times(1, 2, 3)).tolist() == [0, 1, 2]
    seen.add(_times(1, NEVER, 3))
    assert seen.unseen(_times(1, 2, 3)).tolist() == [1]
    seen.add(_times(1, 2, 3))
    assert seen.unseen(_times(1, 2, 3)).tolist() == []
    assert seen.unseen(_times(1, 2, 4)).tolist() == [2]
    assert SeenTimes(tmp_path, "others").unseen(_times(1, 2, 3)).tolist() == [0, 1, 2]


def test_copies_of_the_files_do_not_displace_each_other(tmp_path: Path) -> None:
    """Hosts that share the cache, but each have the files on a disk of their own."""
    seen = SeenTimes(tmp_path, "files")
    for copy in (_times(1, 2, 3), _times(4, 5, 6)):
        seen.add(copy)
    names = _names(tmp_path)
    for copy in (_times(1, 2, 3), _times(4, 5, 6)):
        assert seen.unseen(copy).tolist() == []
        seen.add(copy)
    assert _names(tmp_path) == names


def test_what_is_remembered_does_not_grow(tmp_path: Path) -> None:
    seen = SeenTimes(tmp_path, "files")
    for changed in range(10, 20):
        seen.add(_times(1, 2, changed))
    assert len(_names(tmp_path)) == 1
    for copy in range(100, 300, 2):
        seen.add(_times(copy, copy + 1))
    assert len(_names(tmp_path)) == 65
    assert seen.unseen(_times(298, 299)).tolist() == []
    assert seen.unseen(_times(100, 101)).tolist() == [0, 1]


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00\x03\x00{(\n"])
def test_what_is_remembered_may_be_damaged(tmp_path: Path, content: bytes) -> None:
    seen = SeenTimes(tmp_path, "files")
    seen.add(_times(1, 2))
    next(tmp_path.iterdir()).write_bytes(content)
    assert seen.unseen(_times(1, 3)).tolist() == [0, 1]


def test_nothing_is_remembered_where_nothing_can_be_written(tmp_path: Path) -> None:
    seen = SeenTimes(tmp_path / "missing", "files")
    seen.add(_times(1))
    assert seen.unseen(_times(1)).tolist() == [0]


def test_a_change_time_cannot_be_set_back(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = change_time(tmp_path / "file")
    os.utime(tmp_path / "file", ns=(0, 0))
    assert change_time(tmp_path / "file") >= before > 0
    assert change_time(tmp_path / "missing") == 0
