"""Images that are stored as JPEG: what is read of them, and what is said about a file that is not as it was written."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.jpeg_images import JpegImages
from cnn.data.jpeg_record import encode
from cnn.errors import RunError

COLOURS = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
"""Each image has one colour, which JPEG keeps to within a few values."""


@pytest.fixture
def records() -> list[bytes]:
    return [encode(np.broadcast_to(colour, (24, 16, 3))) for colour in COLOURS]


def _ends(records: list[bytes]) -> np.ndarray:
    return np.cumsum([len(record) for record in records], dtype=np.uint64)


@pytest.fixture
def images(records: list[bytes], tmp_path: Path) -> JpegImages:
    (tmp_path / "train_images.jpegs").write_bytes(b"".join(records))
    return JpegImages(tmp_path / "train_images.jpegs", _ends(records))


@pytest.mark.parametrize("cores", [1, 3])
def test_any_images_are_read_in_any_order(
    records: list[bytes], tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn.data.image_threads.worker_count", lambda: cores)
    (tmp_path / "images").write_bytes(b"".join(records))
    images = JpegImages(tmp_path / "images", _ends(records))
    assert (images.shape, images.dtype, images.ndim, len(images)) == ((40, 24, 16, 3), np.uint8, 4, 40)
    assert images.nbytes == 40 * 24 * 16 * 3
    chosen = np.array([39, 0, 0, 7, *range(30)], np.int32)
    read = images.read(chosen)
    assert (read.shape, read.dtype) == ((34, 24, 16, 3), np.uint8)
    assert np.abs(read.astype(int) - COLOURS[chosen][:, None, None]).max() <= 4
    for record, pixels in zip(records, images.read(np.arange(40)), strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(record))))


def test_indices_are_those_of_an_array(images: JpegImages) -> None:
    decoded = np.asarray(images)
    assert decoded.shape == images.shape
    for indices in (3, -1, slice(5, 9), [7, 2], np.array([[1, 2], [3, 4]])):
        assert np.array_equal(images[indices], decoded[indices])


def test_a_damaged_record_is_named_by_its_place(images: JpegImages, records: list[bytes]) -> None:
    with open(images.path, "r+b") as file:
        file.seek(int(_ends(records)[4]) + len(records[5]) // 2)
        file.write(b"\xff\xd9" * 40)
    assert np.array_equal(images[4], images.read(np.array([4]))[0])  # its neighbours can still be read
    with pytest.raises(
        RunError, match=rf"image 5 in {images.path} is damaged \(.+\): run jobs/prepare.py with --verify"
    ):
        images.read(np.arange(40))


def test_a_record_of_another_size_is_damaged(records: list[bytes], tmp_path: Path) -> None:
    records[7] = encode(np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "images").write_bytes(b"".join(records))
    images = JpegImages(tmp_path / "images", _ends(records))
    with pytest.raises(RunError, match=r"image 7 in .* is damaged \(it has another size than the others\)"):
        images.read(np.array([6, 7]))


def test_a_file_that_becomes_shorter(images: JpegImages) -> None:
    os.truncate(images.path, images.path.stat().st_size - 1)
    assert images[38].shape == (24, 16, 3)
    with pytest.raises(RunError, match=r"can no longer be read \(it has become shorter\): check the disk"):
        images.read(np.array([39]))


def test_an_index_that_does_not_fit_is_refused(images: JpegImages, records: list[bytes]) -> None:
    ends = _ends(records)
    with pytest.raises(ValueError, match="the index of train_images.jpegs ends at .*, but the file has .* bytes"):
        JpegImages(images.path, ends[:-1])
    for wrong in (ends[::-1], ends.astype(np.int64), ends[:0], ends[:, None], np.append(ends, ends[-1:])):
        with pytest.raises(ValueError, match="the index of train_images.jpegs is not one of ascending positions"):
            JpegImages(images.path, wrong)
