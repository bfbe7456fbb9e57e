"""The record of where a run's time goes: RUN/times/0001.json for its first start, 0002.json for the next, and so on."""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import time
from pathlib import Path

from cnn.errors import UserError
from cnn.foreign_folder import make_folder, open_new, read_file
from cnn.from_json import from_json, parse_json
from cnn.monitoring.records.metrics import MAX_STEPS
from cnn.monitoring.timing.goodput import ACTIVITIES, Goodput, StartTimes, goodput
from cnn.monitoring.timing.stopwatch import Stopwatch

TIMES = "times"

_MAX_BYTES = 10_000
_MAX_SECONDS = 1e10
_SAVED = 8
"""Number of the latest checkpoints whose times are kept."""


class TimeRecord:
    """Keeps the file of this start up to date. Rank 0 has one.

    After each call of a few steps, the file is overwritten in place, without waiting for the disk: it survives the
    process, whatever ends it. Where it cannot be written, the run continues without it.

    Args:
        folder: the run folder.
        stopwatch: measures this process since it was started.
        step: number of steps done before this start.
        world_size: number of workers.

    Raises:
        UserError: the folder of these files is a link.
        OSError: the file cannot be created.
    """

    def __init__(self, folder: Path, stopwatch: Stopwatch, step: int, world_size: int) -> None:
        self._stopwatch = stopwatch
        begin = time.time() - sum(stopwatch.seconds().values())
        self._times = StartTimes(begin=begin, world_size=world_size, first_step=step, step=step, seconds={})
        self._earlier: list[StartTimes] = []
        with contextlib.suppress(UserError):  # a damaged record
            self._earlier = read_times(folder)
        make_folder(folder / TIMES)
        paths = (folder / TIMES / f"{number:04d}.json" for number in itertools.count(1))
        self._file = open_new(next(path for path in paths if not os.path.lexists(path)))
        self._size = 0
        self.update(step)

    def update(self, step: int) -> None:
        """Writes the times until now, at which `step` steps are done."""
        self._times.step, self._times.seconds = step, self._stopwatch.seconds()
        self._write()

    def saved(self, step: int) -> None:
        """Writes that the state after `step` steps is saved now, or kept for a change of workers."""
        self._times.step, self._times.seconds = step, self._stopwatch.seconds()
        self._times.saved = [*self._times.saved, (step, self._times.trained)][-_SAVED:]
        self._write()

    def _write(self) -> None:
        content = json.dumps(dataclasses.asdict(self._times)).encode()
        self._size = max(self._size, len(content))
        with contextlib.suppress(OSError):
            os.pwrite(self._file.fileno(), content.ljust(self._size), 0)  # in one call, so that it is always complete

    def goodput(self) -> Goodput:
        """Where the time of the run went so far."""
        return goodput([*self._earlier, self._times])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_times(folder: Path) -> list[StartTimes]:
    """Reads the records of a run's starts, in their order; empty for runs of earlier versions.

    Raises:
        UserError: a file is damaged.
    """
    starts = []
    for path in sorted((folder / TIMES).glob("*.json")):
        try:
            starts.append(_checked(from_json(StartTimes, parse_json(read_file(path, _MAX_BYTES)))))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}): delete it to leave this start out.") from error
    return starts


def _checked(times: StartTimes) -> StartTimes:
    numbers = [times.begin, *times.seconds.values(), *(seconds for _, seconds in times.saved)]
    if not all(0 <= number < _MAX_SECONDS and math.isfinite(number) for number in numbers):
        raise ValueError("its times are impossible")
    steps = [times.first_step, *(step for step, _ in times.saved), times.step]
    if steps != sorted(steps) or not 0 <= times.first_step <= times.step < MAX_STEPS or times.world_size < 1:
        raise ValueError("its steps contradict each other")
    if unknown := times.seconds.keys() - ACTIVITIES.keys():
        raise ValueError(f"it has an activity {sorted(unknown)[0]!r}")
    return times


def process_age() -> float:
    """Seconds since this process was started; 0 where the system does not tell."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # in ticks since the boot
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"))
