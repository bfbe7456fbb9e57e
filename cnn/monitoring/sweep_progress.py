"""The progress of a sweep: the runs that have ended."""

import time
from collections.abc import Callable
from typing import TextIO

from cnn.progress_display import ProgressDisplay


class SweepProgress:
    """Shows a line for each run that ends, with a count, or with a bar below the lines.

    Args:
        total: number of runs.
        ended: number of runs that had ended before the start.
        stream: stream to write to.
        terminal: whether to draw a bar.
        clock: a clock in seconds, from any origin.
    """

    def __init__(
        self, total: int, ended: int, stream: TextIO, terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._ended = total, ended
        self._terminal = terminal
        bar_format = "{n_fmt}/{total_fmt} runs |{bar}| {elapsed}, {remaining} left"
        self._display = ProgressDisplay(
            stream, terminal=terminal, total=total, done=ended, clock=clock, bar_format=bar_format
        )

    def ended(self, line: str) -> None:
        """Shows the line of a run that has just ended."""
        self._ended += 1
        if self._terminal:
            self._display.write(line)
        time_left = self._display.time_left(self._ended)
        count = f"{self._ended:{len(str(self._total))}}/{self._total}"
        self._display.update(self._ended, f"{count} {line}{time_left and f'  ({time_left})'}", is_due=True)

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._display.close()
