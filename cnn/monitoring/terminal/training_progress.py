"""The progress of a training run."""

import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from cnn.progress_display import ProgressDisplay
from cnn.terminal import columns


class _Labels(NamedTuple):
    """The words of an epoch's line, of which the longest are used that fit into the terminal."""

    loss: str
    accuracy: str
    validation: str
    validation_accuracy: str
    best: str
    gap: str = "  "


_FULL = _Labels("loss ", "accuracy ", "validation loss ", "accuracy ", "best so far")
_SHORT = _Labels("loss ", "acc ", "val ", "", "best")
_SHORTEST = _Labels("", "", "val ", "", "best", " ")


class Score(NamedTuple):
    """What is shown of an epoch."""

    loss: float
    """The mean loss."""

    accuracy: float
    """The accuracy between 0 and 1."""


class TrainingProgress:
    """Shows the steps from `start_step` (0, or the step resumed from) to `total_steps`, and the result of each epoch.

    Without a terminal, lines are written for the first step and the last, and every ten seconds between them.

    Args:
        total_steps: last step of the run.
        start_step: step at which this process starts.
        steps_per_epoch: number of steps per epoch.
        stream: stream to write to.
        terminal: whether to draw a bar.
        clock: a clock in seconds, from any origin.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int,
        steps_per_epoch: int,
        stream: TextIO,
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._steps_per_epoch = total_steps, steps_per_epoch
        self._is_first = True
        self._stream, self._terminal = stream, terminal
        self._display = ProgressDisplay(stream, terminal=terminal, total=total_steps, done=start_step, clock=clock)

    def wait(self, text: str) -> None:
        """Shows what is being done until the first step has been taken."""
        self._display.wait(text)

    def update(self, step: int, latest: Score, images_per_second: float | None) -> None:
        """Shows that `step` steps are done.

        Args:
            step: steps done.
            latest: mean training loss and accuracy of the latest of them.
            images_per_second: speed of all workers together; None while it is unknown.
        """
        if self._is_first:  # the first call includes compilation, which must not count in the time left
            self._display.restart_timing(step)
        epoch, loss = f"epoch {step / self._steps_per_epoch:.1f}", f"loss {latest.loss:.3f}"
        percentage = f"{100 * latest.accuracy:.1f} %"
        speed = "" if images_per_second is None else f"{images_per_second:,.0f} img/s"
        time_left = self._display.time_left(step)
        position = f"step {step:,}/{self._total:,}"
        line = [f"{position} ({100 * step // max(self._total, 1)} %)", epoch, loss, f"accuracy {percentage}"]
        self._display.update(
            step,
            "  ".join(filter(None, [*line, speed, time_left])),
            parts=(epoch, time_left, loss, f"acc {percentage}", speed, position),
            is_due=self._is_first or step >= self._total,
        )
        self._is_first = False

    def epoch(self, step: int, training: Score | None, validation: Score | None, *, best: bool) -> None:
        """Shows the result of an epoch.

        Args:
            step: steps done at its end.
            training: mean loss and accuracy of the epoch's steps; None if this process has taken none of them.
            validation: loss and accuracy on the validation part; None if there is none.
            best: whether the validation part was classified better than ever before.
        """
        lines = (self._epoch_line(labels, step, training, validation, best) for labels in (_FULL, _SHORT, _SHORTEST))
        width = columns(self._stream) if self._terminal else None
        fitting = (line for line in lines if width is None or len(line) <= width)
        self._display.write(next(fitting, self._epoch_line(_SHORTEST, step, training, validation, best)))

    def _epoch_line(
        self, labels: _Labels, step: int, training: Score | None, validation: Score | None, best: bool
    ) -> str:
        total = f"{self._total / self._steps_per_epoch:.4g}"
        parts = [f"epoch {step / self._steps_per_epoch:>{len(total)}.4g}{f'/{total}' if labels is _FULL else ''}"]
        if training is not None:
            parts += [f"{labels.loss}{training.loss:.3f}", f"{labels.accuracy}{_percent(training)}"]
        if validation is not None:
            accuracy = f"{labels.validation_accuracy}{_percent(validation)}"
            parts += [f"{labels.validation}{validation.loss:.3f}", accuracy]
        return labels.gap.join([*parts, labels.best] if best else parts)

    def message(self, text: str) -> None:
        """Writes a separate line, above the bar if there is one."""
        self._display.write(text)

    def close(self) -> None:
        """Leaves the latest state visible, also after a run that ended early."""
        self._display.close()


def _percent(score: Score) -> str:
    return f"{100 * score.accuracy:5.1f} %"
