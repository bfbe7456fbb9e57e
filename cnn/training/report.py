"""What a run tells while it trains: to the terminal, TensorBoard and metrics.jsonl. Rank 0 alone has one."""

import os
import sys
from pathlib import Path

import numpy as np

from cnn.monitoring.events import EventWriter
from cnn.monitoring.metrics import MetricsLog
from cnn.monitoring.progress import Progress, has_terminal
from cnn.training.evaluation import Evaluation
from cnn.training.step_values import StepResults


class Report:
    """Turns the results of steps into points of the training curve, each the mean of `log_every` steps.

    At an epoch's end, and at the run's, a point is the mean of what there is. The run's end breaks no interval: should
    the run be given more steps, its later points are those of a run that had them from the start.

    Args:
        folder: the run's.
        total_steps: at which the run ends.
        start_step: 0, or that of the checkpoint which the run goes on from.
        steps_per_epoch: to tell epochs.
        log_every: steps of a point.
        resumed: whether the run goes on from a checkpoint.
        launched: whether a launcher stands between this process and the terminal.
        pending: of each step since the last point [loss times count, correct, count]; it is kept up to date.
    """

    def __init__(
        self,
        folder: Path,
        *,
        total_steps: int,
        start_step: int,
        steps_per_epoch: int,
        log_every: int,
        resumed: bool,
        launched: bool,
        pending: list[list[float]],
    ) -> None:
        resume_step = start_step if resumed else None
        self._metrics = MetricsLog(folder / "metrics.jsonl", resume_step)
        self._events = EventWriter(folder / "events", resume_step)
        terminal = has_terminal(sys.stdout, os.environ, launched=launched)
        self._progress = Progress(total_steps, start_step, sys.stdout, terminal)
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._log_every = log_every
        self._pending = pending
        self._speed: float | None = None

    def steps(
        self, first: int, results: StepResults, counts: np.ndarray, rates: np.ndarray, images_per_second: float | None
    ) -> None:
        """Takes the results of the steps from `first` on (0, 1, ...); counts are the samples of each; the
        speed is None while it is not known."""
        self._speed = images_per_second
        for offset, (loss, correct, count) in enumerate(zip(results.losses, results.correct, counts, strict=True)):
            self._pending.append([float(loss) * int(count), int(correct), int(count)])
            done = first + offset + 1
            if done % self._log_every == 0 or done % self._steps_per_epoch == 0:
                self._point(done, float(rates[offset]))
                self._pending.clear()
            elif done == self._total_steps:
                self._point(done, float(rates[offset]))
        done = first + len(counts)
        seen = counts.sum()
        self._progress.update(
            done,
            done / self._steps_per_epoch,
            float((results.losses * counts).sum() / seen),
            float(results.correct.sum() / seen),
            images_per_second,
        )

    def _point(self, step: int, rate: float) -> None:
        loss, correct, count = (sum(column) for column in zip(*self._pending, strict=True))
        values = {"loss": loss / count, "accuracy": correct / count, "learning_rate": rate}
        if self._speed is not None:
            values["images_per_second"] = self._speed
        self._write("train", step, values)

    def evaluation(self, part: str, step: int, evaluation: Evaluation) -> None:
        """Takes what an evaluation on a part (validation or test) gave after `step` steps."""
        self._write(part, step, {"loss": evaluation.loss, "accuracy": evaluation.accuracy})
        self._events.flush()

    def message(self, text: str) -> None:
        """Shows a line."""
        self._progress.message(text)

    def _write(self, part: str, step: int, values: dict[str, float]) -> None:
        self._metrics.append(part, step, step / self._steps_per_epoch, values)
        self._events.scalars(part, step, values)

    def close_progress(self) -> None:
        """Ends the progress display, when training is over."""
        self._progress.close()

    def close(self) -> None:
        self._progress.close()
        self._metrics.close()
        self._events.close()
