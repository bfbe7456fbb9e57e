"""Saves checkpoints in a background thread, so that training waits only while the state is copied."""

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np

from cnn.errors import RunError
from cnn.runs.checkpoints import CheckpointFolder
from cnn.thread_priority import lower_priority


class BackgroundSaver:
    """Writes one checkpoint after another; when its `with` block ends, all are written.

    A failed write is repeated once, before the next one or at the end of the block, as the disk may have been full for
    a while only. An error of the second attempt is raised.
    """

    def __init__(self, checkpoints: CheckpointFolder) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=lower_priority)
        self._write: Callable[[], None] = lambda: None
        self._last: Future[None] | None = None
        self._copies: dict[str, np.ndarray] = {}

    def hold(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copies a state into memory that later saves reuse, as new memory takes ten times as long as copying: a call
        before the first step makes the first save as short as the others."""
        for name, values in arrays.items():
            np.copyto(self._copies.setdefault(name, np.empty_like(values)), values)

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], *, best: bool) -> None:
        """Copies the state, once the previous one is written, and saves the copy like `CheckpointFolder.save`."""
        self.wait()
        self.hold(arrays)
        self._write = functools.partial(self._checkpoints.save, step, self._copies, record, best=best)
        self._last = self._thread.submit(self._write)

    def wait(self) -> None:
        """Waits until the last checkpoint is written; raises RunError if it failed twice."""
        last, self._last = self._last, None
        try:
            if last is not None:
                last.result()
        except RunError:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown()
