"""The metrics as TensorBoard scalars.

Each part has a separate folder, events/train, events/validation and events/test, so that TensorBoard overlays their
curves under one tag. The records are written with TensorBoard's own protobufs, which load without TensorFlow.
"""

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn.foreign_folder import check_no_link, make_folder, open_new

PARTS = ("train", "validation", "test")


class EventWriter:
    """Writes scalars below `folder`, one TensorBoard run per part.

    `resume_step` is None for a new run, and the checkpoint's step for a resumed one: TensorBoard then drops later
    steps, written before the interruption, instead of showing them twice.

    Raises UserError when a folder is a link.
    """

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        self._folder = folder
        self._resume_step = resume_step
        self._writers: dict[str, Any] = {}
        for path in (folder, *(folder / part for part in PARTS)):
            check_no_link(path)
        if resume_step is not None:
            for part in PARTS:
                # Opened now, so that TensorBoard drops the part's later points before a new one is written.
                if (folder / part).exists():
                    self._writers[part] = self._open(part)

    def scalars(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Adds the point `step` to each of the part's curves: loss, accuracy (0 to 1), learning_rate, ..."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        if part not in PARTS:
            raise ValueError(f"part {part!r} is not one of {PARTS}")
        if part not in self._writers:
            self._writers[part] = self._open(part)
        points = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=points))
        self._writers[part].write(event.SerializeToString())

    def flush(self) -> None:
        """Makes everything written so far visible to TensorBoard."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        for writer in self._writers.values():
            writer.close()

    def _open(self, part: str) -> Any:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = self._folder / part
        make_folder(self._folder)
        make_folder(folder)
        # TensorBoard reads a folder's files in the order of their names. Numbering them keeps the order correct even
        # if the run resumes on a machine with another clock.
        count = sum(1 for _ in folder.glob("events.out.tfevents.*"))
        paths = (folder / f"events.out.tfevents.{number:010d}" for number in itertools.count(count + 1))
        writer = RecordWriter(open_new(next(path for path in paths if not os.path.lexists(path))))
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        # TensorBoard takes a folder's second START for a restart and drops the steps from there on. Its default reader
        # ignores START, but drops them, too, curve by curve, when a curve's step decreases.
        step = 0 if self._resume_step is None else self._resume_step + 1
        start = Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
        writer.write(start.SerializeToString())
        writer.flush()
        return writer
