"""How far the work on a data set's files is, on standard error."""

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from cnn.progress_display import ProgressDisplay
from cnn.terminal import has_terminal

_SILENT_SECONDS = 10.0


class Unit(NamedTuple):
    """What is counted."""

    name: str
    """Its name in lines."""

    size: int
    """Counts per unit: 1,000,000 if bytes are counted and shown as megabytes."""


IMAGES = Unit("images", 1)
FILES = Unit("files", 1)
MEGABYTES = Unit("MB", 1_000_000)


class WorkProgress:
    """Shows how much is done. Work of less than ten seconds is not mentioned.

    Args:
        activity: name of the work: "preparing digits", for example.
        done: count that an earlier start has already done.
        total: count including `done`; None if it is unknown.
        unit: how counts are shown.
        clock: a clock in seconds, from any origin.
    """

    def __init__(
        self, activity: str, *, done: int, total: int | None, unit: Unit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = 0.0
        """Time from the start to the latest addition."""

        self._activity, self._total, self._unit = activity, total, unit
        self._before, self._done = done, done
        terminal = has_terminal(sys.stderr, os.environ)
        self._display = ProgressDisplay(
            sys.stderr, terminal=terminal, total=total, done=done, silent_seconds=_SILENT_SECONDS, clock=clock
        )
        if done and done != total and not terminal:
            self._display.write(f"{activity}: resuming after {self._state()}")

    def add(self, count: int) -> None:
        """Counts more work as done."""
        self._done += count
        self.seconds = self._display.seconds
        state, time_left = f"{self._activity}: {self._state()}", self._display.time_left(self._done)
        speed = f"{self._number((self._done - self._before) / max(self.seconds, 1e-9))} {self._unit.name} a second"
        line = ", ".join(part for part in (state, speed, time_left) if part)
        self._display.update(self._done, line, parts=(state, time_left, speed))

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._display.close()

    def _state(self) -> str:
        total = "" if self._total is None else f" of {self._number(self._total)}"
        return f"{self._number(self._done)}{total} {self._unit.name}"

    def _number(self, count: float) -> str:
        return f"{count / self._unit.size:,.{0 if self._unit.size == 1 else 1}f}"
