"""A run's event files, from which TensorBoard shows the run, written in the background.

The files are in the run folder itself, so that a run folder is one run in TensorBoard, under the folder's name. The
records are written with TensorBoard's own protobufs, which load without TensorFlow.
"""

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cnn.foreign_folder import open_new
from cnn.monitoring.tensorboard.event_values import scalar
from cnn.thread_priority import lower_priority

Make = Callable[[], Sequence[Any]]
"""Makes the values of an event, as in `cnn.monitoring.tensorboard.event_values`; called in the background."""

_MAX_WAITING = 1000
"""Events that wait for the disk: those of several minutes. Later ones are left out instead of delaying training."""

_MAX_SECONDS = 20.0
"""Time after which the end of a run no longer waits for its disk."""


class _Event(NamedTuple):
    time: float
    make: Callable[[], tuple[int, dict[str, Any]]]
    """Returns the step, and fields of TensorBoard's Event."""


class EventWriter:
    """Writes events to a new file in `folder`, in a thread of its own, so that training does not wait for a disk.

    `resume_step` is None for a new run, and the checkpoint's step for a resumed one: TensorBoard then drops later
    steps, written before the interruption, instead of showing them twice.

    If the file cannot be written, training continues without it; `problem` then tells why.
    """

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        self._folder = folder
        self._resume_step = resume_step
        self._waiting: queue.Queue[_Event | threading.Event | None] = queue.Queue(_MAX_WAITING)
        self._problem: str | None = None
        self._has_told = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def add(self, step: int, make: Make) -> None:
        """Adds what a function makes, when the background thread calls it, as an event of a step."""
        self.add_late(lambda: (step, make()))

    def add_late(self, make: Callable[[], tuple[int, Sequence[Any]]]) -> None:
        """As `add`, but the function returns the step, too."""
        self._put(lambda: _with_summary(*make()))

    def graph(self, step: int, content: bytes) -> None:
        """Adds the run's graph, from `cnn.monitoring.tensorboard.event_values.graph`."""
        self._put(lambda: (step, {"graph_def": content}))

    def _put(self, make: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        if self._error is not None:  # a mistake in the code of an earlier one
            raise self._error
        try:
            self._waiting.put_nowait(_Event(time.time(), make))
        except queue.Full:
            self._problem = f"{self._folder} is written too slowly: TensorBoard will not show all of this run"

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the point `step` to the curve of each tag."""
        self.add(step, lambda: [scalar(tag, value) for tag, value in values.items()])

    def problem(self) -> str | None:
        """The reason why something could not be written, as a sentence, the first time that it is asked for."""
        if self._problem is None or self._has_told:
            return None
        self._has_told = True
        return self._problem

    def flush(self) -> None:
        """Waits until everything added so far is visible to TensorBoard."""
        written = threading.Event()
        with suppress(queue.Full):
            self._waiting.put(written, timeout=_MAX_SECONDS)
            written.wait(_MAX_SECONDS)

    def close(self) -> None:
        """Writes everything added so far, and closes the file."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_MAX_SECONDS)
            self._thread.join(_MAX_SECONDS)

    def _work(self) -> None:
        lower_priority()
        file: Any = None
        entry: _Event | threading.Event | None = None
        try:
            file = _open(self._folder, self._resume_step)
            while (entry := self._waiting.get()) is not None:
                if isinstance(entry, threading.Event):
                    file.flush()
                    entry.set()
                else:
                    file.write(_serialised(entry.time, *entry.make()))
                    if self._waiting.empty():
                        file.flush()
            file.close()
        except OSError as error:
            reason, rest = error.strerror or error, "TensorBoard will not show the rest of this run"
            self._problem = f"{self._folder} cannot be written ({reason}): {rest}"
            self._drop(file, entry)
        except Exception as error:
            self._error = error
            self._drop(file, entry)

    def _drop(self, file: Any, failed: _Event | threading.Event | None) -> None:
        """Drops what failed and what is still added, so that nobody waits for it."""
        with suppress(OSError):
            if file is not None:
                file.close()
        if isinstance(failed, threading.Event):
            failed.set()
        while (entry := self._waiting.get()) is not None:
            if isinstance(entry, threading.Event):
                entry.set()


def _open(folder: Path, resume_step: int | None) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.record_writer import RecordWriter

    # TensorBoard reads a folder's files in the order of their names. Numbering them keeps the order correct even if
    # the run resumes on a machine with another clock.
    count = sum(1 for _ in folder.glob("events.out.tfevents.*"))
    paths = (folder / f"events.out.tfevents.{number:010d}" for number in itertools.count(count + 1))
    writer = RecordWriter(open_new(next(path for path in paths if not os.path.lexists(path))))
    writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
    # TensorBoard takes a folder's second START for a restart and drops the steps from there on. Its default reader
    # ignores START, but drops them, too, curve by curve, when a curve's step decreases.
    step = 0 if resume_step is None else resume_step + 1
    start = Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
    writer.write(start.SerializeToString())
    writer.flush()
    return writer


def _with_summary(step: int, values: Sequence[Any]) -> tuple[int, dict[str, Any]]:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return step, {"summary": Summary(value=values)}


def _serialised(when: float, step: int, fields: dict[str, Any]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event

    event: bytes = Event(wall_time=when, step=step, **fields).SerializeToString()
    return event
