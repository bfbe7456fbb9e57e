"""Preparing a store of JPEG records: its content, and what interrupts it."""

import logging
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.dataset import Dataset
from cnn.data.images.image_file import decode_image
from cnn.data.jpeg_images import JpegImages
from cnn.data.sources.folder import FOLDER
from cnn.data.store.image_store import open_image_store
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.errors import UserError


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two class folders, of six and four smooth pictures."""
    rows, columns = np.mgrid[:24, :24] * 10
    for blue, (name, count) in enumerate((("cat", 6), ("dog", 4))):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.stack([rows, columns, np.full_like(rows, 20 * number + 10 * blue)], 2).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photographs" / name / f"{number}.png")
    return tmp_path / "photographs"


def _open(folder: Path, *, jpeg: bool = True, skip_damaged: bool = False, verify: bool = False) -> tuple[Dataset, int]:
    """The data set, and how many images had to be decoded."""
    progress = PreparationProgress()
    index = FOLDER.index(folder)
    dataset = open_image_store(
        "mine", folder, index, 16, jpeg=jpeg, skip_damaged=skip_damaged, progress=progress, verify=verify
    )
    return dataset, progress.images


def _stores(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "stores").iterdir() if path.is_dir())


def _check(dataset: Dataset, folder: Path, left_out: frozenset[str] = frozenset()) -> None:
    """The stored images are those of the files, as nearly as JPEG keeps them."""
    index = FOLDER.index(folder)
    for part, files in ((dataset.train, index.train), (dataset.test, index.test)):
        good = [file for file in files if file.path not in left_out]
        assert isinstance(part.images, JpegImages)
        assert part.labels.tolist() == [file.label for file in good]
        expected = np.array([decode_image(folder / file.path, 16) for file in good], int)
        assert np.abs(np.asarray(part.images) - expected).mean() < 3
    scaled = np.asarray(dataset.train.images) / 255
    assert np.allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(dataset.standard_deviation, scaled.std((0, 1, 2)), rtol=1e-12)


def test_a_store_of_records(photographs: Path, cache: Path) -> None:
    dataset, decoded = _open(photographs)
    assert decoded == 10
    _check(dataset, photographs)
    (store,) = _stores(cache)
    parts = [f"{part}_{kind}" for part in ("test", "train") for kind in ("ends.npy", "images.jpegs", "labels.npy")]
    content = sorted(path.name for path in store.iterdir() if "-" not in path.name)
    assert content == sorted([*parts, "train_keys.npy", "manifest.json", "sources.npy"])
    again, decoded = _open(photographs, verify=True)
    assert (again.checksum, decoded) == (dataset.checksum, 0)
    _open(photographs, jpeg=False)
    assert len(_stores(cache)) == 2


def test_damaged_files_are_left_out(photographs: Path) -> None:
    index = FOLDER.index(photographs)
    damaged = frozenset({index.train[1].path, index.test[0].path})
    for path in damaged:
        (photographs / path).write_text("no image")
    with pytest.raises(UserError, match="2 image files cannot be used"):
        _open(photographs)
    dataset, decoded = _open(photographs, skip_damaged=True)
    assert decoded == 0
    _check(dataset, photographs, damaged)


@pytest.mark.parametrize("change", ["shorter", "missing"])
def test_of_an_interrupted_preparation_a_chunk_that_is_not_complete_is_prepared_again(
    photographs: Path, cache: Path, change: str
) -> None:
    index = FOLDER.index(photographs)
    (photographs / index.test[0].path).write_text("no image")
    with pytest.raises(UserError):
        _open(photographs)
    (unfinished,) = _stores(cache)
    chunk = unfinished / "chunks" / "train-0.jpegs"
    chunk.unlink() if change == "missing" else os.truncate(chunk, chunk.stat().st_size - 1)
    dataset, decoded = _open(photographs, skip_damaged=True)
    assert decoded == len(index.train)
    _check(dataset, photographs, frozenset({index.test[0].path}))


@pytest.mark.parametrize("limit", [1000, 4000])
def test_a_full_disk_is_explained_and_what_was_done_is_kept(photographs: Path, cache: Path, limit: int) -> None:
    """The file of a chunk, or that of all of them, must be smaller than it will be."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(UserError, match=rf"the cache folder {cache}/stores cannot be used \(.+\): free space"):
            _open(photographs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    dataset, _ = _open(photographs)
    _check(dataset, photographs)


@pytest.mark.parametrize("name", ["train_ends.npy", "test_images.jpegs", "train_images.jpegs"])
@pytest.mark.parametrize("change", ["shorter", "missing", "other"])
def test_a_store_that_is_not_as_it_was_written_is_prepared_again(
    photographs: Path, cache: Path, caplog: pytest.LogCaptureFixture, name: str, change: str
) -> None:
    checksum = _open(photographs)[0].checksum
    (store,) = _stores(cache)
    path = store / name
    if change == "shorter":
        os.truncate(path, path.stat().st_size - 1)
    elif change == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with caplog.at_level(logging.WARNING):
        dataset, decoded = _open(photographs)
    assert (dataset.checksum, decoded) == (checksum, 10)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the prepared data set {store} is prepared again: {name} ")
