"""The progress of a sweep: the runs that are being trained, and those that have ended."""

import time
from collections.abc import Callable
from typing import TextIO

from cnn.progress_display import ProgressDisplay


class SweepProgress:
    """Shows a line for each run that starts or ends, with a count, or a line for each that ends above a bar.

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
        self._training: list[str] = []
        self._terminal = terminal
        self._display = ProgressDisplay(stream, terminal=terminal, total=total, done=ended, clock=clock)

    def started(self, name: str) -> None:
        """Shows that a run is being trained from now on."""
        self._training.append(name)
        self._show(f"{name}: started")

    def ended(self, name: str, line: str) -> None:
        """Shows the line of a run that has just ended."""
        self._ended += 1
        self._training.remove(name)
        if self._terminal:
            self._display.write(line)
        self._show(line)

    def _show(self, line: str) -> None:
        time_left = self._display.time_left(self._ended)
        count = f"{self._ended:{len(str(self._total))}}/{self._total}"
        training = f"training {self._training[0]}" if self._training else ""
        self._display.update(
            self._ended,
            f"{count} {line}{time_left and f'  ({time_left})'}",
            parts=(f"{count.strip()} runs", time_left, training, *self._training[1:]),
            is_due=True,
        )

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._display.close()
