"""The images of a store that is being prepared: where chunks of them are written, and how they become the store's."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from cnn.data.store.decoding import Decoded
from cnn.data.store.store import CHUNKS
from cnn.data.store.store_files import array_file, records_file, sync, sync_folder, write_array

_COPIED_IMAGES = 128


class Place(NamedTuple):
    """Where a chunk is written."""

    path: Path
    offset: int | None
    """Bytes before the chunk's first image in a file of raw pixels; None if the file has JPEG records of this chunk."""


class UnfinishedImages(Protocol):
    """The images of one part of a data set."""

    def begin(self) -> None:
        """Creates what chunks are written to; OSError if the disk is too small."""

    def can_resume(self) -> bool:
        """Whether chunks that were written earlier may still be there."""

    def place(self, start: int) -> Place:
        """Where the chunk that begins with image `start` is written."""

    def holds(self, decoded: Decoded) -> bool:
        """Whether a chunk that was recorded as written is there."""

    def finish(self, chunks: Sequence[Decoded], kept: np.ndarray) -> None:
        """Makes the store's files.

        Args:
            chunks: all chunks of the part, in order.
            kept: positions of the images that are not damaged, int64, ascending.
        """


class RawImages:
    """Pixels in one array, which has its full size from the start: a disk that is too small shows at once.

    Args:
        store: folder of the unfinished store.
        part: train or test.
        count: number of images.
        size: side of a stored image in pixels.
    """

    def __init__(self, store: Path, part: str, count: int, size: int) -> None:
        self._path = array_file(store, f"{part}_images")
        self._shape = (count, size, size, 3)

    def begin(self) -> None:
        _new_array(self._path, self._shape)

    def can_resume(self) -> bool:
        """Whether the array has its full size; it is smaller if damaged images were already left out."""
        try:
            array = np.lib.format.open_memmap(self._path, mode="r")
        except Exception:  # NumPy's errors on damaged files have no common class
            return False
        return array.shape == self._shape and array.dtype == np.uint8

    def place(self, start: int) -> Place:
        image_bytes = self._shape[1] * self._shape[2] * self._shape[3]
        header = self._path.stat().st_size - self._shape[0] * image_bytes
        return Place(self._path, header + start * image_bytes)

    def holds(self, decoded: Decoded) -> bool:
        return not decoded.lengths

    def finish(self, chunks: Sequence[Decoded], kept: np.ndarray) -> None:
        if len(kept) == self._shape[0]:
            return
        old = np.load(self._path, mmap_mode="r")
        path = self._path.with_suffix(".kept")
        new = _new_array(path, (len(kept), *self._shape[1:]))
        for start in range(0, len(kept), _COPIED_IMAGES):
            new[start : start + _COPIED_IMAGES] = old[kept[start : start + _COPIED_IMAGES]]
        new.flush()
        with open(path, "rb") as file:
            sync(file)
        path.replace(self._path)


class JpegChunks:
    """JPEG records in a file per chunk, since their lengths are not known beforehand.

    In the end they are copied into one file. The chunks are removed with the record of the preparation, so that a
    process that is killed loses nothing; until then they take as much space again.

    Args:
        store: folder of the unfinished store.
        part: train or test.
    """

    def __init__(self, store: Path, part: str) -> None:
        self._store, self._part = store, part

    def begin(self) -> None:
        (self._store / CHUNKS).mkdir(exist_ok=True)

    def can_resume(self) -> bool:
        return (self._store / CHUNKS).is_dir()

    def place(self, start: int) -> Place:
        return Place(self._store / CHUNKS / f"{self._part}-{start}.jpegs", None)

    def holds(self, decoded: Decoded) -> bool:
        if len(decoded.lengths) != decoded.stop - decoded.start:
            return False
        try:
            return self.place(decoded.start).path.stat().st_size == sum(decoded.lengths)
        except OSError:
            return False

    def finish(self, chunks: Sequence[Decoded], kept: np.ndarray) -> None:
        with open(records_file(self._store, f"{self._part}_images"), "wb") as file:
            for chunk in chunks:
                file.write(self.place(chunk.start).path.read_bytes())
            sync(file)
        lengths = np.concatenate([np.array(chunk.lengths, np.uint64) for chunk in chunks])[kept]
        write_array(self._store, f"{self._part}_ends", np.cumsum(lengths, dtype=np.uint64))
        sync_folder(self._store)


def _new_array(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """Creates an array's file with all its blocks on the disk: if that is too small, it fails now, not hours later."""
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        sync(file)
    return array
