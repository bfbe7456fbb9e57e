"""Stored images that are compressed: JPEG records in one file, which are decoded as they are read.

The records lie one after another in the file; an index holds the position of each record's end. Each is a complete
JPEG, which any program can decode once it is cut out.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from cnn.data.image_block import new_block
from cnn.data.image_threads import ImageThreads
from cnn.data.jpeg_record import decode
from cnn.errors import RunError


class JpegImages:
    """Images in a file of JPEG records; indexing decodes them.

    The file is read, not mapped: a failure to read a map would kill the process without a message (SIGBUS).

    Args:
        path: file of the records.
        ends: uint64 (samples,): position in the file after each record; may be a memory map.

    Raises:
        ValueError: the index does not fit the file, or the first record is no JPEG.
        OSError: the file cannot be read.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path: Path, ends: np.ndarray) -> None:
        self.path = path
        self._ends = ends
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size
        if ends.dtype != np.uint64 or ends.ndim != 1 or not len(ends) or ends[0] == 0 or (ends[1:] <= ends[:-1]).any():
            raise ValueError(f"the index of {path.name} is not one of ascending positions")
        if int(ends[-1]) != size:
            raise ValueError(f"the index of {path.name} ends at {int(ends[-1]):,}, but the file has {size:,} bytes")
        height, width, *_ = simplejpeg.decode_jpeg_header(self._record(0))
        self.shape: tuple[int, int, int, int] = (len(ends), height, width, 3)
        self._threads = ImageThreads()

    @property
    def nbytes(self) -> int:
        """Bytes of all images when they are decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Any) -> np.ndarray:
        """Decodes the images that an array of `shape` would return for these indices of its first axis."""
        positions = np.arange(len(self))[indices]
        return self.read(positions.reshape(-1)).reshape(*positions.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices, uint8 (samples, height, width, channels), in a new block of memory.

        Raises:
            RunError: the file cannot be read, or a record is damaged.
        """
        block = new_block((len(indices), *self.shape[1:]))
        self._threads.share(self._decode, indices, block)
        return block

    def _decode(self, indices: np.ndarray, block: np.ndarray) -> None:
        for index, image in zip(indices.tolist(), block, strict=True):
            try:
                decode(self._record(index), image)
            except OSError as error:
                raise RunError(
                    f"{self.path} can no longer be read ({error.strerror or error}): check the disk that holds it, "
                    "then start again with --resume."
                ) from error
            except ValueError as error:
                raise RunError(
                    f"image {index:,} in {self.path} is damaged ({error}): run jobs/prepare.py with --verify, which "
                    "prepares the data set again, then start again with --resume."
                ) from error

    def _record(self, index: int) -> bytes:
        start = int(self._ends[index - 1]) if index else 0
        length = int(self._ends[index]) - start
        content = os.pread(self._file, length, start)
        if len(content) < length:
            raise OSError("it has become shorter")
        return content
