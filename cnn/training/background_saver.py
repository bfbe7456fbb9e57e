"""Saves checkpoints in a thread of its own, so that a step waits for a copy of the state at most."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np

from cnn.training.checkpoints import CheckpointFolder


class BackgroundSaver:
    """Writes one checkpoint after another; on leaving its block, all are written.

    What went wrong with one is raised by the next call, or on leaving.
    """

    def __init__(self, checkpoints: CheckpointFolder) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future[None] | None = None

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], *, best: bool) -> None:
        """As `CheckpointFolder.save`, once the one before is written: the state is held in memory twice at most.

        Args:
            arrays: nobody may write to them any more. TensorFlow does not: it updates a variable whose value is still
                held elsewhere in a new place.
        """
        self.wait()
        self._last = self._thread.submit(self._checkpoints.save, step, arrays, record, best=best)

    def wait(self) -> None:
        """Until the last one is written; raises what went wrong with it."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()
