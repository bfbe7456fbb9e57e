"""Saves checkpoints in a thread of its own, so that a step waits for a copy of the state at most."""

import functools
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np

from cnn.errors import RunError
from cnn.runs.checkpoints import CheckpointFolder

_NICENESS = 7
"""Of the thread that writes: of a core that training uses, too, it takes a sixth, so that no step is much longer."""


class BackgroundSaver:
    """Writes one checkpoint after another; on leaving its block, all are written.

    One that could not be written is tried once more, before the next or on leaving: the disk may have been full for a
    while. What goes wrong then is raised.
    """

    def __init__(self, checkpoints: CheckpointFolder) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=_give_way)
        self._write: Callable[[], None] = lambda: None
        self._last: Future[None] | None = None
        self._copies: dict[str, np.ndarray] = {}

    def hold(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copies a state. The memory is kept for the next one, as new memory takes ten times as long as copying: doing
        this before the first step makes the first save as short as the others."""
        for name, values in arrays.items():
            np.copyto(self._copies.setdefault(name, np.empty_like(values)), values)

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], *, best: bool) -> None:
        """As `CheckpointFolder.save`, of a copy, once the state before is written."""
        self.wait()
        self.hold(arrays)
        self._write = functools.partial(self._checkpoints.save, step, self._copies, record, best=best)
        self._last = self._thread.submit(self._write)

    def wait(self) -> None:
        """Until the last one is written; raises what went wrong with it twice."""
        last, self._last = self._last, None
        try:
            if last is not None:
                last.result()
        except RunError:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown()


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICENESS, os.nice(0)))  # Linux: of this thread
