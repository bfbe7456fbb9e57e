"""The progress of a long operation: a bar on a terminal, lines elsewhere."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from cnn.duration import duration
from cnn.terminal import columns

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWINGS = 0.1

_MIN_BAR, _MAX_BAR = 8, 40
"""Bounds of the bar's length."""

_TEXT = 80
"""Columns that the bar leaves for the texts if the terminal is wide enough."""

_GAP = "  "


class ProgressDisplay:
    """Shows a bar on a terminal; elsewhere, such as in a job's log file, a line at most every ten seconds.

    The bar is never wider than the terminal. It is between carriage returns because of the prefixes of launchers:
    Horovod passes on what ends with one, and puts a prefix in front of it. mpirun puts a prefix in front of what it
    happens to read at once; this prefix must not begin behind the bar, and the bar then overwrites it.

    Args:
        stream: stream to write to.
        terminal: whether to draw a bar.
        total: amount of work, or None if it is unknown.
        done: amount of work that an earlier start has done.
        silent_seconds: time before the first line, so that quick work writes none.
        clock: a clock in seconds, from any origin.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool,
        total: int | None,
        done: int = 0,
        silent_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._terminal, self._total, self._clock = stream, terminal, total, clock
        self._start_done, self._start_time = done, clock()
        self._next_at = self._start_time + (0.0 if terminal else silent_seconds)
        self._has_shown = False
        self._pending = ""
        self._drawn = ""
        self._lock = threading.Lock()
        self._waiting: threading.Thread | None = None
        self._waited = threading.Event()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return self._clock() - self._start_time

    def restart_timing(self, done: int) -> None:
        """Measures the speed from now on only, with `done` as the amount already done."""
        self._start_done, self._start_time = done, self._clock()

    def update(self, done: int, line: str, *, parts: Sequence[str] = (), is_due: bool = False) -> None:
        """Shows the amount of work done.

        Args:
            done: amount done so far, including that of an earlier start.
            line: the line to write if there is no bar and the last line was written ten seconds ago or earlier.
            parts: texts beside the bar, the most important first: on a narrow terminal the last ones are left out.
            is_due: show it regardless of the time of the last line or bar.
        """
        self._end_waiting()
        now = self._clock()
        pending = line if not self._terminal else bar(done, self._total, parts, columns(self._stream) - 1)
        if not is_due and now < self._next_at:
            self._pending = pending
            return
        self._show(pending)
        self._next_at = now + (_SECONDS_BETWEEN_DRAWINGS if self._terminal else _SECONDS_BETWEEN_LINES)

    def wait(self, text: str) -> None:
        """Shows what is being done, and on a terminal for how long, until the next update."""
        if not self._terminal:
            self.write(text)
            return
        self._waited.clear()
        self._waiting = threading.Thread(target=self._count_seconds, args=(text,), daemon=True)
        self._waiting.start()

    def write(self, text: str) -> None:
        """Writes a separate line, above the bar if there is one."""
        with self._lock:
            if self._drawn:
                self._drawn = self._drawn[: columns(self._stream) - 1]  # it may have been made narrower
                self._put(f"\r{text.ljust(len(self._drawn))}\n\r{self._drawn}\r")
            else:
                self._put(f"{text}\n")

    def time_left(self, done: int) -> str:
        """The remaining time as text, estimated from the speed so far; empty if unknown, or if all is done."""
        if self._total is None or done <= self._start_done or done >= self._total:
            return ""
        seconds_per_unit = self.seconds / (done - self._start_done)
        return f"{duration(seconds_per_unit * (self._total - done))} left"

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._end_waiting()
        if self._pending and self._has_shown:
            self._show(self._pending)
        self._pending = ""
        with self._lock:
            if self._drawn:
                self._put("\n")
                self._drawn = ""

    def _show(self, text: str) -> None:
        self._has_shown, self._pending = True, ""
        if not self._terminal:
            self.write(text)
            return
        with self._lock:
            drawn = text.ljust(columns(self._stream) - 1)
            self._put(f"\r{drawn}\r")
            self._drawn = drawn

    def _put(self, text: str) -> None:
        self._stream.write(text)  # in one piece, as launchers may put a prefix in front of each
        self._stream.flush()

    def _count_seconds(self, text: str) -> None:
        begin = time.monotonic()
        while True:
            self._show(f"{text} {time.monotonic() - begin:.0f} s"[: columns(self._stream) - 1])
            if self._waited.wait(1.0):
                return

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waited.set()
            self._waiting.join()
            self._waiting = None


def bar(done: int, total: int | None, parts: Sequence[str], width: int) -> str:
    """Draws a bar with texts beside it, as many of the first ones as fit.

    Args:
        done: amount of work done.
        total: amount of work; if it is unknown, there are only the texts.
        parts: the texts, the most important first.
        width: maximum number of characters.
    """
    if total is None:
        return _joined(parts, width)
    share = min(1.0, done / total) if total else 1.0
    length = max(_MIN_BAR, min(_MAX_BAR, width - _TEXT))
    drawn = f"{int(100 * share):3d} % |{'#' * int(length * share):{length}}|"
    return f"{drawn}{_GAP}{_joined(parts, width - len(drawn) - len(_GAP))}"[: max(0, width)].rstrip()


def _joined(parts: Sequence[str], width: int) -> str:
    text = ""
    for part in filter(None, parts):
        longer = f"{text}{_GAP}{part}" if text else part
        if len(longer) > width:
            break
        text = longer
    return text
