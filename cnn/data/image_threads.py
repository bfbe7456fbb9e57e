"""Work on the images of a batch, shared among threads: decoding and resizing release Python's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnn.cpu_quota import worker_count

# Images for which it is worth while to wake another thread.
_MIN_IMAGES = 4


class ImageThreads:
    """One thread per core."""

    def __init__(self) -> None:
        self._cores = worker_count()
        self._threads = ThreadPoolExecutor(self._cores, "images")

    def share(self, work: Callable[..., None], *arrays: np.ndarray) -> None:
        """Calls `work` for all parts of the arrays, which are cut along their first axis; raises what a call raised."""
        shares = min(self._cores, len(arrays[0]) // _MIN_IMAGES)
        if shares < 2:
            work(*arrays)
            return
        for _ in self._threads.map(work, *(np.array_split(array, shares) for array in arrays)):
            pass
