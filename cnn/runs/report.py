"""A run's output while it trains: to the terminal, TensorBoard and metrics.jsonl. Only rank 0 has a report."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from cnn.data.dataset import Dataset
from cnn.learner.evaluation import Evaluation
from cnn.learner.state import read_state
from cnn.learner.totals import Total, Totals, add_totals, means
from cnn.monitoring.records.metrics import MetricsLog
from cnn.monitoring.serving.numbers_receiver import NumbersReceiver
from cnn.monitoring.terminal.training_progress import Score, TrainingProgress
from cnn.monitoring.timing.bottlenecks import Bottleneck, StepTimes
from cnn.monitoring.timing.goodput import Goodput
from cnn.runs.curve import Point
from cnn.runs.tensorboard_log import TensorBoardLog
from cnn.terminal import has_terminal

_SHOWN = ("loss", "accuracy")


class Report:
    """Shows and records a run's results.

    Attributes:
        tensorboard: what TensorBoard shows of the run.

    Args:
        folder: the run's folder.
        total_steps: number of steps at which the run ends.
        start_step: 0, or the step of the checkpoint that the run continues from.
        steps_per_epoch: number of steps per epoch.
        resumed: whether the run started earlier, in another job or with other workers.
        dataset: the data set.
        receivers: what else gets the run's numbers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        total_steps: int,
        start_step: int,
        steps_per_epoch: int,
        resumed: bool,
        dataset: Dataset | None = None,
        receivers: Sequence[NumbersReceiver] = (),
    ) -> None:
        resume_step = start_step if resumed else None
        self._metrics = MetricsLog(folder / "metrics.jsonl", resume_step)
        self.tensorboard = TensorBoardLog(folder, resume_step, dataset)
        terminal = has_terminal(sys.stdout, os.environ)
        self._progress = TrainingProgress(total_steps, start_step, steps_per_epoch, sys.stdout, terminal)
        self._steps_per_epoch = steps_per_epoch
        self._epoch_totals: Totals = {}
        self._receivers = receivers
        for receiver in receivers:
            receiver.begin(str(folder), start_step, total_steps, steps_per_epoch)

    def steps(self, done: int, totals: Totals, images_per_second: float | None) -> None:
        """Shows the progress of the run.

        Args:
            done: number of steps done.
            totals: the metrics of the latest of them.
            images_per_second: speed of all workers together; None while it is not known.
        """
        latest = {name: Total(totals[name].sums.sum(0), totals[name].samples.sum(0)) for name in _SHOWN}
        self._epoch_totals = add_totals(self._epoch_totals, latest)
        self._progress.update(done, _score(means(latest)), images_per_second)
        samples, taken = int(latest["loss"].samples.sum()), len(totals["loss"].sums)
        for receiver in self._receivers:
            receiver.progress(done, taken, samples, images_per_second)
            receiver.means("train", means(latest))

    def point(self, point: Point, learning_rate: float, images_per_second: float | None) -> None:
        """Records a point of the training curve.

        Args:
            point: the point.
            learning_rate: the learning rate of its last step.
            images_per_second: speed of all workers together; None while it is not known.
        """
        others = {"learning_rate": learning_rate}
        if images_per_second is not None:
            others["images_per_second"] = images_per_second
        self._write("train", point.step, {**point.means, **others})
        self.tensorboard.training(point.step, point.means, others)
        for receiver in self._receivers:
            receiver.learning_rate(learning_rate)

    def evaluation(self, part: str, step: int, evaluation: Evaluation) -> None:
        """Records an evaluation on a part (validation or test) after `step` steps."""
        self._write(part, step, evaluation.means)
        self.tensorboard.evaluation(part, step, evaluation)
        for receiver in self._receivers:
            receiver.means(part, evaluation.means)

    def epoch(self, step: int, evaluation: Evaluation | None, *, best: bool) -> None:
        """Shows the result of an epoch that has ended.

        Args:
            step: number of steps done.
            evaluation: the evaluation on the validation part, if there is one.
            best: whether it is the best of the run so far.
        """
        training = _score(means(self._epoch_totals)) if self._epoch_totals else None
        self._progress.epoch(step, training, None if evaluation is None else _score(evaluation.means), best=best)
        self._epoch_totals = {}
        if best and evaluation is not None:
            self.tensorboard.best(step, evaluation.means["accuracy"])
        self._tell_problem()

    def times(self, step: int, of_step: StepTimes, whole: Goodput) -> None:
        """Records where the time goes.

        Args:
            step: number of steps done.
            of_step: rank 0's times of the latest steps.
            whole: the run's time so far.
        """
        self.tensorboard.scalars(
            step,
            {f"time of a step/{part} (ms)": 1000 * seconds for part, seconds in of_step.parts.items()}
            | {f"time of the run/{activity} (s)": seconds for activity, seconds in whole.seconds.items()}
            | {"time of the run/goodput": whole.share},
        )
        for receiver in self._receivers:
            receiver.times(of_step.parts, whole.seconds, whole.share)

    def limit(self, step: int, limit: Bottleneck) -> None:
        """Shows and records a cause of slow steps."""
        self.message(limit.sentence)
        self.tensorboard.limit(step, limit.cause, limit.sentence)
        for receiver in self._receivers:
            receiver.limit(limit.cause)

    def weights(self, step: int, variables: Mapping[str, keras.Variable], gradient_norms: Mapping[str, float]) -> None:
        """Records the norms of the network's weights and of their gradients, filters, and the memory in use.

        Args:
            step: number of steps done.
            variables: the entire state, by name.
            gradient_norms: the norms of the last step's gradients; may be empty.
        """
        self.tensorboard.weights(step, _trainable(variables), gradient_norms)
        self.tensorboard.memory(step)

    def histograms(self, step: int, variables: Mapping[str, keras.Variable]) -> None:
        """Records histograms of the network's weights, of the entire state by name."""
        self.tensorboard.histograms(step, _trainable(variables))

    def wait(self, text: str) -> None:
        """Shows what is being done until the first step has been taken."""
        self._progress.wait(text)

    def message(self, text: str) -> None:
        """Shows a line."""
        self._progress.message(text)

    def _write(self, part: str, step: int, values: dict[str, float]) -> None:
        self._metrics.append(part, step, step / self._steps_per_epoch, values)

    def _tell_problem(self) -> None:
        if problem := self.tensorboard.problem():
            self.message(problem)

    def close_progress(self) -> None:
        """Closes the progress display at the end of training, whose events are then all visible to TensorBoard."""
        self.tensorboard.trained()
        self.tensorboard.flush()
        self._tell_problem()
        self._progress.close()

    def close(self) -> None:
        self._progress.close()
        self._metrics.close()
        self.tensorboard.close()


def _trainable(variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    """The values of the network's trainable weights by name; see `read_state` for how long to hold them."""
    return read_state(
        {
            name.removeprefix("model/"): variable
            for name, variable in variables.items()
            if name.startswith("model/") and variable.trainable
        }
    )


def _score(metrics: Mapping[str, float]) -> Score:
    return Score(**{name: metrics[name] for name in _SHOWN})
