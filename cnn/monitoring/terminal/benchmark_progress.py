"""The progress of a benchmark with one number of workers, on standard error."""

import os
import sys

from cnn.progress_display import ProgressDisplay
from cnn.shown_text import counted
from cnn.terminal import has_terminal


class BenchmarkProgress:
    """Shows what is being compiled or measured.

    Args:
        workers: number of workers.
        visible: whether to show anything; only one of the workers does.
    """

    def __init__(self, workers: int, *, visible: bool) -> None:
        self._workers, self._visible = counted(workers, "worker"), visible
        self._done, self._total = 0, 0
        if visible:
            print(f"{self._workers}: building the network", file=sys.stderr, flush=True)

    def start(self, total: int) -> None:
        """Starts with the number of pieces of work."""
        self._total = total
        if self._visible:
            terminal = has_terminal(sys.stderr, os.environ)
            self._display = ProgressDisplay(sys.stderr, terminal=terminal, total=total)

    def begin(self, activity: str) -> None:
        """Shows the next piece of work, when it begins."""
        if self._visible:
            text = f"{self._workers}: {activity}"
            time_left = self._display.time_left(self._done)
            self._display.update(self._done, text, parts=(text, time_left), is_due=self._done == 0)
        self._done += 1

    def close(self) -> None:
        """Shows that all is done."""
        if self._visible:
            self._display.update(self._total, f"{self._workers}: done", parts=(f"{self._workers}: done",), is_due=True)
            self._display.close()
