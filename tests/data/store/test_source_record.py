"""Whether a change of the files that a data set was prepared from is noticed, whatever their times say."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.dataset import Dataset
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.store.cache_folder import cache_folder
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.seen_times import SeenTimes, change_time
from cnn.data.store.source_record import NEVER, count_sources, file_digest, settled
from cnn.data.store.store_files import folder_of
from cnn.errors import RunError, UserError

DARK, LIGHT = 20, 220


@pytest.fixture(autouse=True)
def fine_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files here are read right after they were made; as on a file system with exact times that is no matter."""
    monkeypatch.setattr("cnn.data.store.source_record._MIN_AGE", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten images; all files have one size and one time."""
    for name, grey in (("dark", DARK), ("light", LIGHT)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            _paint(tmp_path / "images" / name / f"{number}.bmp", grey, number)
    return tmp_path / "images"


def _paint(path: Path, grey: int, number: int = 15) -> None:
    """In a grey, with a point that no other image has there."""
    image = Image.new("RGB", (16, 16), (grey,) * 3)
    image.putpixel((number, number), (grey, grey, grey + 1))
    image.save(path)
    os.utime(path, (0, 0))


def _swap(folder: Path) -> None:
    for number in range(10):
        _paint(folder / "dark" / f"{number}.bmp", LIGHT, number)
        _paint(folder / "light" / f"{number}.bmp", DARK, number)


def _open(folder: Path, progress: PreparationProgress | None = None, *, verify: bool = False) -> Dataset:
    settings = DataSettings(data="folder", data_dir=str(folder), image_size=16)
    return open_dataset(settings, progress=progress, verify=verify)


def _decoded(folder: Path, *, verify: bool = False) -> int:
    """How many images had to be decoded."""
    progress = PreparationProgress()
    _open(folder, progress, verify=verify)
    return progress.images


def _greys(dataset: Dataset) -> list[int]:
    """Of each class."""
    return [round(float(dataset.train.images[dataset.train.labels == label].mean())) for label in (0, 1)]


def test_other_images_under_the_same_names_sizes_and_times(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = folder_of(_open(folder))
    assert _decoded(folder) == 0
    assert caplog.records == []
    _swap(folder)
    assert _greys(_open(folder)) == [LIGHT, DARK]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the prepared data set {store} is prepared again: {folder}/")
    assert record.getMessage().endswith(
        ".bmp and 19 more of its source files have other content than when it was made, though names, sizes and "
        "modification times are the same"
    )
    assert _decoded(folder) == 0


def _replace(path: Path) -> None:
    _paint(path.with_name(".new.bmp"), LIGHT)
    path.with_name(".new.bmp").rename(path)


def _retarget(path: Path) -> None:
    _paint(path.parents[2] / "elsewhere.bmp", LIGHT)
    path.unlink()
    path.symlink_to("../../elsewhere.bmp")


def _copy(path: Path) -> None:
    """Replaces the whole folder by a copy that keeps times, as archives and rsync make them."""
    other = shutil.copytree(path.parents[1], path.parents[2] / "other")
    shutil.rmtree(path.parents[1])
    other.rename(path.parents[1])


def _replace_folder(path: Path) -> None:
    _copy(path)
    _paint(path, LIGHT)


@pytest.mark.parametrize("change", [lambda path: _paint(path, LIGHT), _replace, _retarget, _replace_folder])
def test_one_other_image(folder: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    _open(folder)
    change(folder / "dark" / "3.bmp")
    assert _decoded(folder) == 20
    assert f"{folder}/dark/3.bmp has other content than when it was made" in caplog.text
    assert _decoded(folder) == 0


@pytest.mark.parametrize("change", [lambda path: path.chmod(0o600), lambda path: os.utime(path, (5, 0)), _copy])
def test_files_that_hold_what_they_held_are_read_once(folder: Path, change: Callable[[Path], None]) -> None:
    path = folder / "light" / "3.bmp"
    store = folder_of(_open(folder))
    before = sorted(store.glob("sources-*"))
    change(path)
    assert _decoded(folder) == 0
    after = sorted(store.glob("sources-*"))
    assert before != after
    assert _decoded(folder) == 0
    assert sorted(store.glob("sources-*")) == after


def test_copies_of_the_files_on_hosts_that_share_the_cache(folder: Path) -> None:
    """The store remembers the change times of both, so that neither host reads its files at every start."""
    copy = shutil.copytree(folder, folder.with_name("copy"))
    store = folder_of(_open(folder))
    for _ in range(2):
        folder.rename(folder.with_name("other host"))
        copy.rename(folder)
        assert _decoded(folder) == 0
        folder.rename(copy)
        folder.with_name("other host").rename(folder)
        assert _decoded(folder) == 0
        states = sorted(store.glob("sources-*"))
        assert len(states) == 2
    assert {path.stat().st_ino for path in states} == {path.stat().st_ino for path in store.glob("sources-*")}


class _SwapWhenDecoded(PreparationProgress):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def advance(self, images: int) -> None:
        super().advance(images)
        _swap(self._folder)


def test_files_that_change_while_they_are_prepared(folder: Path) -> None:
    _open(folder, _SwapWhenDecoded(folder))
    assert _greys(_open(folder)) == [LIGHT, DARK]


def test_verifying_says_that_files_change_while_they_are_prepared(folder: Path) -> None:
    with pytest.raises(RunError, match="have other content .*start again when no program writes there any more"):
        open_dataset(
            DataSettings(data="folder", data_dir=str(folder), image_size=16),
            progress=_SwapWhenDecoded(folder),
            verify=True,
        )
    assert _greys(_open(folder)) == [LIGHT, DARK]


def test_files_that_changed_before_a_preparation_was_gone_on_with(folder: Path) -> None:
    (folder / "dark" / "10.bmp").write_text("no image")
    os.utime(folder / "dark" / "10.bmp", (0, 0))
    with pytest.raises(UserError, match="1 image file cannot be used"):
        _open(folder)
    _swap(folder)
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(folder), image_size=16, damaged="skip"))
    assert _greys(dataset) == [LIGHT, DARK]


def test_a_skipped_image_that_was_mended(folder: Path) -> None:
    path = folder / "dark" / "3.bmp"
    whole = path.read_bytes()
    path.write_bytes(b"x" * len(whole))
    os.utime(path, (0, 0))
    settings = DataSettings(data="folder", data_dir=str(folder), image_size=16, damaged="skip")
    assert len(open_dataset(settings).train.images) + len(open_dataset(settings).test.images) == 19
    path.write_bytes(whole)
    os.utime(path, (0, 0))
    assert len(open_dataset(settings).train.images) + len(open_dataset(settings).test.images) == 20


def _see(store: Path, files: list[Path]) -> None:
    """As if what is in the files now had been there when they were read: without change times, or when a disk fails."""
    SeenTimes(store, "sources").add(np.array([change_time(path) for path in files], np.int64))


def test_verifying_reads_all_files_whatever_their_times(idx_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = DataSettings(data="mnist", data_dir=str(idx_folder))
    store = folder_of(open_dataset(settings, verify=True))
    path = idx_folder / "train-labels-idx1-ubyte.gz"
    content, status = bytearray(path.read_bytes()), path.stat()
    content[9] ^= 1  # gzip's note of the system, which no reader looks at
    path.write_bytes(content)
    os.utime(path, ns=(0, status.st_mtime_ns))
    _see(store, sorted(idx_folder.iterdir()))
    open_dataset(settings)
    assert caplog.records == []
    open_dataset(settings, verify=True)
    assert f"{path} has other content than when it was made" in caplog.text
    assert count_sources(store) == 4


def test_other_arrays_under_the_same_names_sizes_and_times(cifar_folder: Path) -> None:
    settings = DataSettings(data="cifar10", data_dir=str(cifar_folder))
    before = open_dataset(settings)
    path = cifar_folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    content, status = bytearray(path.read_bytes()), path.stat()
    content[5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, status.st_mtime_ns))
    after = open_dataset(settings)
    assert after.checksum != before.checksum
    assert not np.array_equal(after.train.images, before.train.images)


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x93NUMPY\x01\x00\x03\x00{(\n"])
def test_a_store_without_its_record_is_prepared_again(
    folder: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = folder_of(_open(folder))
    (store / "sources.npy").unlink()
    for path in store.glob("sources-*"):
        path.unlink()
    if content is not None:
        (store / "sources.npy").write_bytes(content)
    shutil.rmtree(cache_folder() / "folders")  # a folder that is known to be unchanged needs no record
    with caplog.at_level(logging.WARNING):
        assert _decoded(folder) == 20
    assert "is prepared again: sources.npy" in caplog.text


def test_where_no_lock_can_be_had_files_are_compared_without(folder: Path) -> None:
    """As in a cache that may only be read."""
    store = folder_of(_open(folder))
    lock = store.with_name(f"{store.name}.lock")
    lock.unlink()
    lock.mkdir()
    (folder / "dark" / "3.bmp").chmod(0o600)
    assert _decoded(folder) == 0
    assert _decoded(folder, verify=True) == 0
    _swap(folder)
    with pytest.raises(UserError, match="cannot be used"):
        _open(folder)


def test_another_decoder_makes_another_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = _open(folder).checksum
    for module in ("store.image_store", "sources.registry"):
        monkeypatch.setattr(f"cnn.data.{module}.DECODER", -1)
    assert _decoded(folder) == 20
    assert _open(folder).checksum == checksum


def test_a_time_too_near_to_the_reading_is_not_relied_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cnn.data.store.source_record._MIN_AGE", 2_000_000_000)
    (tmp_path / "file").touch()
    new = change_time(tmp_path / "file")
    assert settled([new - 10**10, new, new + 10**12]) == [new - 10**10, NEVER, new + 10**12]


def test_what_cannot_be_read_has_one_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert file_digest(tmp_path / "pipe") == file_digest(tmp_path / "missing") == file_digest(tmp_path)
    assert file_digest(tmp_path / "file") != file_digest(tmp_path)
