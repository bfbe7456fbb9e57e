"""How many runs of a sweep have ended: on a terminal a bar below their lines, elsewhere lines that count."""

import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

from cnn.monitoring.duration import duration


class RunsProgress:
    """Shows each run's end.

    Args:
        total: how many runs there are.
        ended: how many of them had ended before.
        stream: where to.
        terminal: whether to draw a bar there.
        clock: gives seconds from any origin.
    """

    def __init__(
        self, total: int, ended: int, stream: TextIO, terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._before, self._ended = total, ended, ended
        self._stream, self._clock = stream, clock
        self._begin = clock()
        self._bar = None
        if terminal:
            form = "{n_fmt}/{total_fmt} runs |{bar}| {elapsed}, {remaining} left"
            self._bar = tqdm(total=total, initial=ended, file=stream, dynamic_ncols=True, bar_format=form)

    def ended(self, line: str) -> None:
        """One more has ended, and this is to be said of it."""
        self._ended += 1
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
            self._bar.update()
            return
        left = self._total - self._ended
        seconds = (self._clock() - self._begin) / (self._ended - self._before) * left
        count = f"{self._ended:{len(str(self._total))}}/{self._total}"
        print(f"{count} {line}{f'  ({duration(seconds)} left)' if left else ''}", file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the last state on show."""
        if self._bar is not None:
            self._bar.close()
