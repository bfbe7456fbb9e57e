"""Reading images in advance, in a thread beside the computation."""

import collections
import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from cnn.data.image_block import new_block
from cnn.errors import RunError
from cnn.tensor import Tensor


class StoredImages:
    """Images that are read a few at a time from an array, or from the file if the array is a memory map.

    The file itself is read, not its map: a failure to read a map would kill the process without a message (SIGBUS).

    Args:
        images: uint8 (samples, height, width, channels).
    """

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self._file: int | None = None
        base: Any = images.base
        # numpy does not know at which offset of the file a view begins, so views are read through the map.
        if isinstance(images, np.memmap) and isinstance(base, mmap.mmap) and images.flags.c_contiguous:
            try:
                self._file = os.open(str(images.filename), os.O_RDONLY)
            except OSError as error:
                raise self._unreadable(error) from error
            weakref.finalize(self, os.close, self._file)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices, (samples, height, width, channels), in a new block of memory.

        Raises:
            RunError: the file cannot be read.
        """
        block = new_block((len(indices), *self._images.shape[1:]))
        if self._file is None:
            block[...] = self._images[indices]
            return block
        try:
            for image, index in zip(block, indices.tolist(), strict=True):
                offset = self._images.offset + index * image.nbytes  # type: ignore[attr-defined]  # a memory map
                if os.preadv(self._file, [image], offset) < image.nbytes:
                    raise OSError("it has become shorter")
        except OSError as error:
            raise self._unreadable(error) from error
        return block

    def _unreadable(self, error: OSError) -> RunError:
        return RunError(
            f"{self._images.filename} can no longer be read "  # type: ignore[attr-defined]  # a memory map
            f"({error.strerror or error}): check the disk that holds it, then start again with --resume."
        )


class ReadAhead:
    """Reads blocks of images in a thread, in the order in which they will be taken, until it is closed.

    Args:
        read: function from a block's indices to the block.
        coming: indices of each block, int32 (samples,), all of the same length; the thread iterates over it.
        samples: maximum number of samples read in advance; two blocks are always allowed.
    """

    def __init__(self, read: Callable[[np.ndarray], Tensor], coming: Iterator[np.ndarray], samples: int) -> None:
        self._read = read
        self._coming = coming
        self._samples = samples
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._blocks: collections.deque[Future[tuple[np.ndarray | None, Tensor]]] = collections.deque()
        self._fill(2)

    def take(self, indices: np.ndarray) -> Tensor:
        """Returns the next block. Raises what reading it raised, and ValueError if its indices are not these."""
        read, block = self._blocks.popleft().result()
        if not np.array_equal(read, indices):  # type: ignore[arg-type]  # None differs from any indices
            raise ValueError("the block of these indices is not the next one")
        # Two for each that is taken: the end of `coming` is seen by the thread alone, and until then there may be
        # thousands of small blocks to submit in vain.
        self._fill(min(len(self._blocks) + 2, max(2, self._samples // len(indices))))
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
