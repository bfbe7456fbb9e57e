"""Folders that a stranger has made: nothing is written out of them, and nothing in them is read for ever."""

import os
import resource
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnn.errors import UserError
from cnn.foreign_folder import (
    make_folder,
    open_beside,
    open_new,
    open_to_append,
    open_to_write,
    read_file,
)
from cnn.monitoring.records.metrics import MetricsLog
from cnn.monitoring.records.prediction_files import PredictionFiles
from cnn.monitoring.tensorboard.events import EventWriter
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.folder_lock import lock_folder
from cnn.whole_file import write_whole
from tests.hostile import read_or_sentence

CANARY = b"what a link must not lead to"


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    path.write_bytes(CANARY)
    yield path
    assert path.read_bytes() == CANARY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_is_written_anew_replaces_a_link(folder: Path, canary: Path, link: Callable[..., None]) -> None:
    for name in ("new", "whole", ".whole.tmp"):
        link(canary, folder / name)
    with open_new(folder / "new") as file:
        file.write(b"mine")
    write_whole(folder / "whole", b"mine")
    for name in ("new", "whole"):
        assert (folder / name).read_bytes() == b"mine"
        assert not (folder / name).is_symlink()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_is_added_to_is_refused_if_it_is_a_link(folder: Path, canary: Path, link: Callable[..., None]) -> None:
    link(canary, folder / "log")
    for write in (open_to_append, lambda path: open_to_write(path, os.O_RDWR)):
        assert read_or_sentence(lambda write=write: write(folder / "log"), str(folder / "log"), UserError) is None
    os.mkfifo(folder / "pipe")
    assert read_or_sentence(lambda: open_to_write(folder / "pipe", os.O_RDWR), "is not a file", UserError) is None
    os.symlink("gone", folder / "dangling")
    assert read_or_sentence(lambda: open_to_append(folder / "dangling"), "is a link", UserError) is None
    assert not (folder / "gone").exists()


def test_files_get_the_usual_permissions_and_names_that_nobody_knows(folder: Path) -> None:
    (folder / "plain").touch()
    usual = stat.S_IMODE((folder / "plain").stat().st_mode)
    first, one = open_beside(folder / "a")
    second, other = open_beside(folder / "a")
    assert first != second
    with one, other, open_new(folder / "new"), open_to_append(folder / "log"):
        for path in (first, second, folder / "new", folder / "log"):
            assert stat.S_IMODE(path.stat().st_mode) == usual


def test_a_failed_write_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    write_whole(folder / "file", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError):
            write_whole(folder / "file", b"new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(folder) == ["file"]
    assert (folder / "file").read_bytes() == b"old"


def test_reading_ends_whatever_the_file_is(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with open(folder / "large", "wb") as file:
        file.truncate(1 << 40)
    (folder / "fits").write_bytes(b"four")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "link").symlink_to("fits")
    for name, said in (("pipe", "not a file"), ("zero", "not a file"), ("large", "more than 4 bytes")):
        tracemalloc.start()
        with pytest.raises(ValueError, match=said):
            read_file(folder / name, 4)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
    assert read_file(folder / "fits", 4) == read_file(folder / "link", 4) == b"four"


def test_every_file_that_stays_open_is_opened_by_the_rule(folder: Path, canary: Path) -> None:
    for name in (".lock", "metrics.jsonl", "predictions.csv.unfinished", "predictions.json.unfinished"):
        (folder / name).symlink_to(canary)
    for open_it in (lambda: lock_folder(folder), lambda: MetricsLog(folder / "metrics.jsonl", None)):
        assert read_or_sentence(open_it, str(folder), UserError) is None
    files = PredictionFiles(folder)
    files.begin({}, 1)
    files.close()
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    for name in ("step-000000001.npz", "best.npz"):
        (checkpoints / f"{name}.unfinished").symlink_to(canary)
        (checkpoints / name).symlink_to(canary)
    CheckpointFolder(checkpoints).save(1, {}, {}, best=True)
    for number in (1, 3):
        (folder / f"events.out.tfevents.{number:010d}").symlink_to(canary)
    writer = EventWriter(folder, None)
    writer.scalars(1, {"loss/train": 1.0})
    writer.close()
    assert writer.problem() is None


def test_folders_in_it_that_are_links(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "best.npz").write_bytes(CANARY)
    (folder / "checkpoints").symlink_to(other)
    for write in (
        lambda: make_folder(folder / "checkpoints"),
        lambda: CheckpointFolder(folder / "checkpoints").save(1, {}, {}, best=True),
    ):
        assert read_or_sentence(write, "is a link", UserError) is None
    assert os.listdir(other) == ["best.npz"]
    assert (other / "best.npz").read_bytes() == CANARY
    (other / "best.npz").unlink()
    for step in (1, 2):  # a user's own, to a larger disk
        CheckpointFolder(folder / "checkpoints").save(step, {}, {}, best=True)
    assert CheckpointFolder(other).steps() == [1, 2]
