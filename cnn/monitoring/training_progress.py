"""The progress of a training run."""

import time
from collections.abc import Callable
from typing import TextIO

from cnn.progress_display import ProgressDisplay


class TrainingProgress:
    """Shows the steps from `start_step` (0, or the step resumed from) to `total_steps`.

    Lines are written for the first step and the last, and every ten seconds between them.

    Args:
        total_steps: last step of the run.
        start_step: step at which this process starts.
        stream: stream to write to.
        terminal: whether to draw a bar.
        clock: a clock in seconds, from any origin.
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
        self._is_first = True
        bar_format = "{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}  {remaining} left{postfix}"
        self._display = ProgressDisplay(
            stream,
            terminal=terminal,
            total=total_steps,
            done=start_step,
            clock=clock,
            miniters=1,
            bar_format=bar_format,
        )

    def update(self, step: int, epoch: float, loss: float, accuracy: float, images_per_second: float | None) -> None:
        """Shows that `step` steps are done.

        Args:
            step: steps done.
            epoch: epochs done.
            loss: mean training loss.
            accuracy: training accuracy between 0 and 1.
            images_per_second: speed of all workers together; None while it is unknown.
        """
        if self._is_first:  # the first call includes compilation, which must not count in the time left
            self._display.restart_timing(step)
            self._is_first = False
        epoch_and_loss, percentage = f"epoch {epoch:.1f}  loss {loss:.3f}", f"{100 * accuracy:.1f} %"
        speed = "" if images_per_second is None else f"  {images_per_second:,.0f} img/s"
        time_left = self._display.time_left(step)
        position = f"step {step:,}/{self._total:,} ({100 * step // max(self._total, 1)} %)"
        self._display.update(
            step,
            f"{position}  {epoch_and_loss}  accuracy {percentage}{speed}{time_left and f'  {time_left}'}",
            bar_text=f"{epoch_and_loss}  acc {percentage}{speed}",  # fits into 80 columns
            is_due=step >= self._total,
        )

    def message(self, text: str) -> None:
        """Writes a separate line, above the bar if there is one."""
        self._display.write(text)

    def close(self) -> None:
        """Leaves the latest state visible, also after a run that ended early."""
        self._display.close()
