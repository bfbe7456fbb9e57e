"""How far a run is, shown on a terminal as a bar and elsewhere, such as in a job's log file, as lines."""

import shutil
import time
from collections.abc import Callable, Mapping
from typing import NoReturn, TextIO

from tqdm import tqdm

from cnn.monitoring.duration import duration

_SECONDS_BETWEEN_LINES = 10.0


def has_terminal(stream: TextIO, environ: Mapping[str, str], *, launched: bool) -> bool:
    """Whether to draw a bar on the stream.

    CNN_PROGRESS=bar or =lines decides where it is set. A launched process cannot see the terminal (horovodrun gives it
    a pipe, mpirun a pseudo-terminal even when all goes to a file), so that without it such a process writes lines.
    """
    choice = environ.get("CNN_PROGRESS", "")
    if choice:
        return choice == "bar"
    return stream.isatty() and not launched


class Progress:
    """Shows the steps from `start_step` (0, or the step resumed from) to `total_steps`.

    With `terminal` this is a bar, else plain lines: the first step, the last one, and between them at most one line
    every 10 seconds. `clock` gives seconds from any origin.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int,
        stream: TextIO,
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total_steps
        self._stream = stream
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._shown_at = float("-inf")
        self._pending = ""
        self._bar = _bar(total_steps, start_step, stream) if terminal else None

    def update(self, step: int, epoch: float, loss: float, accuracy: float, images_per_second: float | None) -> None:
        """Shows that `step` steps are done; accuracy is between 0 and 1, the speed that of all workers, once known."""
        state, right = f"epoch {epoch:.1f}  loss {loss:.3f}", f"{100 * accuracy:.1f} %"
        speed = "" if images_per_second is None else f"  {images_per_second:,.0f} img/s"
        if self._bar is not None:
            # Short enough for 80 columns.
            self._bar.set_postfix_str(f"{state}  acc {right}{speed}", refresh=False)
            self._bar.update(step - self._bar.n)
            return
        percent = 100 * step // max(self._total, 1)
        line = f"step {step:,}/{self._total:,} ({percent} %)  {state}  accuracy {right}{speed}"
        line += self._time_left(step)
        now = self._clock()
        if step >= self._total or now - self._shown_at >= _SECONDS_BETWEEN_LINES:
            self.message(line)
            self._shown_at, self._pending = now, ""
        else:
            self._pending = line

    def message(self, text: str) -> None:
        """Prints a line of its own, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the last state on show; also right after a run that ended early."""
        if self._bar is not None:
            self._bar.close()
        elif self._pending:
            self.message(self._pending)
            self._pending = ""

    def _time_left(self, step: int) -> str:
        """Judged by the speed since the first step shown: that step holds the compilation, which comes only once."""
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        first_step, first_time = self._first
        if step == first_step or step >= self._total:
            return ""
        return f"  {duration((now - first_time) / (step - first_step) * (self._total - step))} left"


def _bar(total_steps: int, start_step: int, stream: TextIO) -> "tqdm[NoReturn]":
    columns, lines = shutil.get_terminal_size()  # COLUMNS and LINES if set: mpirun's pseudo-terminal has no size
    return tqdm(
        total=total_steps,
        initial=start_step,
        file=stream,
        miniters=1,
        ncols=columns,
        nrows=lines,
        bar_format="{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}  {remaining} left{postfix}",
    )
