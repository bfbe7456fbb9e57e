"""A run's output while it trains: to the terminal, TensorBoard and metrics.jsonl. Only rank 0 has a report."""

import os
import sys
from pathlib import Path

from cnn.learner.evaluation import Evaluation
from cnn.learner.totals import Totals
from cnn.monitoring.events import EventWriter
from cnn.monitoring.metrics import MetricsLog
from cnn.monitoring.training_progress import TrainingProgress
from cnn.progress_display import has_terminal
from cnn.runs.curve import Point


class Report:
    """Shows and records a run's results.

    Args:
        folder: the run's folder.
        total_steps: number of steps at which the run ends.
        start_step: 0, or the step of the checkpoint that the run continues from.
        steps_per_epoch: number of steps per epoch.
        resumed: whether the run started earlier, in another job or with other workers.
        launched: whether a launcher is between this process and the terminal.
    """

    def __init__(
        self,
        folder: Path,
        *,
        total_steps: int,
        start_step: int,
        steps_per_epoch: int,
        resumed: bool,
        launched: bool,
    ) -> None:
        resume_step = start_step if resumed else None
        self._metrics = MetricsLog(folder / "metrics.jsonl", resume_step)
        self._events = EventWriter(folder / "events", resume_step)
        terminal = has_terminal(sys.stdout, os.environ, launched=launched)
        self._progress = TrainingProgress(total_steps, start_step, sys.stdout, terminal)
        self._steps_per_epoch = steps_per_epoch

    def steps(self, done: int, totals: Totals, images_per_second: float | None) -> None:
        """Shows the progress of the run.

        Args:
            done: number of steps done.
            totals: the metrics of the latest of them.
            images_per_second: speed of all workers together; None while it is not known.
        """
        loss, accuracy = (totals[name].sums.sum() / totals[name].samples.sum() for name in ("loss", "accuracy"))
        self._progress.update(done, done / self._steps_per_epoch, loss, accuracy, images_per_second)

    def point(self, point: Point, learning_rate: float, images_per_second: float | None) -> None:
        """Records a point of the training curve.

        Args:
            point: the point.
            learning_rate: the learning rate of its last step.
            images_per_second: speed of all workers together; None while it is not known.
        """
        values = {**point.means, "learning_rate": learning_rate}
        if images_per_second is not None:
            values["images_per_second"] = images_per_second
        self._write("train", point.step, values)

    def evaluation(self, part: str, step: int, evaluation: Evaluation) -> None:
        """Records an evaluation on a part (validation or test) after `step` steps."""
        self._write(part, step, evaluation.means)
        self._events.flush()

    def message(self, text: str) -> None:
        """Shows a line."""
        self._progress.message(text)

    def _write(self, part: str, step: int, values: dict[str, float]) -> None:
        self._metrics.append(part, step, step / self._steps_per_epoch, values)
        self._events.scalars(part, step, values)

    def close_progress(self) -> None:
        """Closes the progress display at the end of training."""
        self._progress.close()

    def close(self) -> None:
        self._progress.close()
        self._metrics.close()
        self._events.close()
