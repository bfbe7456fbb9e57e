import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn.data.source import Remote
from cnn.data.sources.download import fetch_missing
from cnn.data.sources.synthetic import read
from cnn.data.store.lock import take_lock
from cnn.data.store.store import open_store


class _Other(logging.Handler):
    """Has a lock as another process would, until somebody says that he waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def take(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())
        os.close(self._file)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Other]:
    monkeypatch.setattr("cnn.data.store.lock._SILENT", 0)
    handler = _Other()
    logging.getLogger("cnn").addHandler(handler)
    yield handler
    logging.getLogger("cnn").removeHandler(handler)


def test_nothing_is_said_where_nobody_has_the_lock(tmp_path: Path, other: _Other) -> None:
    take_lock(tmp_path / "lock", "prepares digits").release()
    assert other.heard == []


def test_who_waits_for_a_preparation_says_so(cache: Path, other: _Other) -> None:
    checksum = open_store("tiny", read).checksum
    (lock,) = (cache / "stores").glob("*.lock")
    shutil.rmtree(lock.with_suffix(""))
    other.take(lock)
    assert open_store("tiny", read).checksum == checksum
    assert other.heard == ["waiting for another process that prepares tiny"]


def test_who_waits_for_a_download_says_so(target: Path, other: _Other) -> None:
    looks: list[list[str]] = [[], ["file"]]  # the last one first: the other process downloads the file meanwhile
    other.take(target / ".lock")
    fetch_missing("mnist", Remote(base_url="", md5={}, missing=lambda _: looks.pop()), target)
    assert other.heard == [f"waiting for another process that downloads into {target}"]
