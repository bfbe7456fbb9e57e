"""The progress of a long operation: a bar on a terminal, lines elsewhere."""

import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from cnn.duration import duration

_SECONDS_BETWEEN_LINES = 10.0


def has_terminal(stream: TextIO, environ: Mapping[str, str], *, launched: bool = False) -> bool:
    """Whether to draw a bar on the stream.

    The environment variable CNN_PROGRESS decides if it is `bar` or `lines`. A launched process cannot see the user's
    terminal (horovodrun gives it a pipe, mpirun a pseudo-terminal even when its output goes to a file), so by default
    it writes lines.
    """
    choice = environ.get("CNN_PROGRESS", "")
    if choice:
        return choice == "bar"
    return stream.isatty() and not launched


class ProgressDisplay:
    """Shows a bar on a terminal; elsewhere, such as in a job's log file, a line at most every ten seconds.

    Args:
        stream: stream to write to.
        terminal: whether to draw a bar.
        total: amount of work, or None if it is unknown.
        done: amount of work that an earlier start has done.
        silent_seconds: time before the first line, so that quick work writes nothing.
        clock: a clock in seconds, from any origin.
        bar_options: passed on to tqdm.
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
        **bar_options: Any,
    ) -> None:
        self._stream, self._total, self._clock = stream, total, clock
        self._start_done, self._start_time = done, clock()
        self._next_line_at = self._start_time + silent_seconds
        self._has_shown_a_line = False
        self._pending = ""
        self._bar = None
        if terminal:
            from tqdm import tqdm  # here, because most programs never draw a bar

            # COLUMNS and LINES if set: mpirun's pseudo-terminal has no size.
            columns, lines = shutil.get_terminal_size()
            self._bar = tqdm(total=total, initial=done, file=stream, ncols=columns, nrows=lines, **bar_options)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return self._clock() - self._start_time

    def restart_timing(self, done: int) -> None:
        """Measures the speed from now on only, with `done` as the amount already done."""
        self._start_done, self._start_time = done, self._clock()

    def update(self, done: int, line: str, *, bar_text: str = "", is_due: bool = False) -> None:
        """Shows the amount of work done.

        Args:
            done: amount done so far, including that of an earlier start.
            line: the line to write if there is no bar and the last line was written ten seconds ago or earlier.
            bar_text: text after the bar.
            is_due: write the line regardless of the time of the last one.
        """
        if self._bar is not None:
            self._bar.set_postfix_str(bar_text, refresh=False)
            self._bar.update(done - self._bar.n)
        elif is_due or self._clock() >= self._next_line_at:
            self.write(line)
            self._next_line_at, self._pending = self._clock() + _SECONDS_BETWEEN_LINES, ""
            self._has_shown_a_line = True
        else:
            self._pending = line

    def write(self, text: str) -> None:
        """Writes a separate line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def time_left(self, done: int) -> str:
        """The remaining time as text, estimated from the speed so far; empty if unknown, or if all is done."""
        if self._total is None or done <= self._start_done or done >= self._total:
            return ""
        seconds_per_unit = self.seconds / (done - self._start_done)
        return f"{duration(seconds_per_unit * (self._total - done))} left"

    def close(self) -> None:
        """Leaves the latest state visible."""
        if self._bar is not None:
            self._bar.close()
        elif self._pending and self._has_shown_a_line:
            self.write(self._pending)
        self._pending = ""
