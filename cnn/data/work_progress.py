"""How far the work on a data set's files is, on standard error."""

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from cnn.progress_display import ProgressDisplay, has_terminal

_SILENT_SECONDS = 10.0


class Unit(NamedTuple):
    """What is counted."""

    name: str
    """Its name in lines."""

    size: int
    """Counts per unit: 1,000,000 if bytes are counted and shown as megabytes."""

    bar: str
    """Its name in a bar, behind a number that is shortened if the size is above 1."""


IMAGES = Unit("images", 1, " images")
FILES = Unit("files", 1, " files")
MEGABYTES = Unit("MB", 1_000_000, "B")


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
            sys.stderr,
            terminal=terminal,
            total=total,
            done=done,
            silent_seconds=_SILENT_SECONDS,
            clock=clock,
            desc=activity,
            unit=unit.bar,
            unit_scale=unit.size > 1,
        )
        if done and done != total and not terminal:
            self._display.write(f"{activity}: resuming after {self._state()}")

    def add(self, count: int) -> None:
        """Counts more work as done."""
        self._done += count
        self.seconds = self._display.seconds
        speed = (self._done - self._before) / max(self.seconds, 1e-9)
        self._display.update(self._done, f"{self._activity}: {self._state()}, {self._number(speed)} a second")

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._display.close()

    def _state(self) -> str:
        total = "" if self._total is None else f" of {self._number(self._total)}"
        return f"{self._number(self._done)}{total} {self._unit.name}"

    def _number(self, count: float) -> str:
        return f"{count / self._unit.size:,.{0 if self._unit.size == 1 else 1}f}"
