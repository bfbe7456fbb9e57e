"""Reading images before they are asked for, while something else is computed."""

import collections
import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from cnn.errors import RunError
from cnn.tensor import Tensor


class StoredImages:
    """Images that are read a few at a time: from an array, or from the file that it maps.

    The file is read and not its map, for where a map cannot be read the process ends without a word (SIGBUS).

    Args:
        images: uint8 (samples, height, width, channels).
    """

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self._file: int | None = None
        base: Any = images.base
        # Of a view, numpy does not tell where in the file it begins.
        if isinstance(images, np.memmap) and isinstance(base, mmap.mmap) and images.flags.c_contiguous:
            try:
                self._file = os.open(str(images.filename), os.O_RDONLY)
            except OSError as error:
                raise self._unreadable(error) from error
            weakref.finalize(self, os.close, self._file)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images of these indices, shape (samples, height, width, channels); RunError if the file fails."""
        if self._file is None:
            return np.asarray(self._images[indices])
        block = np.empty((len(indices), *self._images.shape[1:]), np.uint8)
        try:
            for image, index in zip(block, indices.tolist(), strict=True):
                offset = self._images.offset + index * image.nbytes  # type: ignore[attr-defined]  # it is a map
                if os.preadv(self._file, [image], offset) < image.nbytes:
                    raise OSError("it is shorter than it was")
        except OSError as error:
            raise self._unreadable(error) from error
        return block

    def _unreadable(self, error: OSError) -> RunError:
        return RunError(
            f"{self._images.filename} cannot be read any more "  # type: ignore[attr-defined]  # it is a map
            f"({error.strerror or error}): see to the disk that it is on, then go on with --resume."
        )


class ReadAhead:
    """Reads blocks of images in a thread, in the order in which they will be asked for, until it is closed.

    Args:
        read: from a block's indices to what is wanted of it.
        coming: the indices of each block, int32 (samples,), all of one length; the thread draws from it.
        samples: as many are read and wait, at most; but always two blocks.
    """

    def __init__(self, read: Callable[[np.ndarray], Tensor], coming: Iterator[np.ndarray], samples: int) -> None:
        self._read = read
        self._coming = coming
        self._samples = samples
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._blocks: collections.deque[Future[tuple[np.ndarray | None, Tensor]]] = collections.deque()
        self._fill(2)

    def take(self, indices: np.ndarray) -> Tensor:
        """The next block; raises what reading it raised, and ValueError if it is not the one of these indices."""
        read, block = self._blocks.popleft().result()
        if not np.array_equal(read, indices):  # type: ignore[arg-type]  # None equals nothing
            raise ValueError("a block was asked for that is not the next one")
        self._fill(max(2, self._samples // len(indices)))
        return block

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _fill(self, blocks: int) -> None:
        while len(self._blocks) < blocks:
            self._blocks.append(self._thread.submit(self._next))

    def _next(self) -> tuple[np.ndarray | None, Tensor]:
        indices = next(self._coming, None)
        return indices, None if indices is None else self._read(indices)
