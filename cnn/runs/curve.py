"""The training curve: groups of steps whose mean metrics become its points."""

from typing import NamedTuple

from cnn.learner.totals import Total, Totals, add_totals, means


class Point(NamedTuple):
    """A point of the training curve."""

    step: int
    """The number of steps done at its end."""

    row: int
    """The index of its last step among the steps passed to `points`."""

    means: dict[str, float]
    """Metrics by name."""


def completes_point(step: int, log_every: int, steps_per_epoch: int) -> bool:
    """Whether a point of the curve is completed by the step that is the `step`-th of the run.

    The ends of epochs complete one, and so does every `log_every`-th step except within half an interval of an epoch's
    end. There, one interval is merged with the next: the mean of a few steps, of which the last may have a single
    sample, would be an outlier.
    """
    in_epoch = step % steps_per_epoch
    if step % log_every or not in_epoch:
        return not in_epoch
    return 2 * min(in_epoch, steps_per_epoch - in_epoch) >= log_every


class TrainingCurve:
    """Makes points, each the mean of about `log_every` steps.

    At the end of an epoch or of the run, a point is the mean of the steps since the last point. The run's end does not
    reset the interval: if the run is extended later, its points are those of a run that had all steps from the start.

    Args:
        log_every: number of steps per point.
        steps_per_epoch: number of steps per epoch.
        total_steps: number of steps at which the run ends.
    """

    def __init__(self, log_every: int, steps_per_epoch: int, total_steps: int) -> None:
        self._log_every = log_every
        self._steps_per_epoch = steps_per_epoch
        self._total_steps = total_steps

    def points(self, pending: Totals, first: int, steps: Totals) -> tuple[list[Point], Totals]:
        """The points that some steps complete, and the metrics that are pending after them.

        Args:
            pending: the metrics of the steps since the last point.
            first: number of steps done before these.
            steps: the metrics of each step.
        """
        points = []
        for row in range(len(next(iter(steps.values())).samples)):
            step = {name: Total(total.sums[row], total.samples[row]) for name, total in steps.items()}
            pending = add_totals(pending, step)
            done = first + row + 1
            completed = completes_point(done, self._log_every, self._steps_per_epoch)
            if completed or done == self._total_steps:
                points.append(Point(done, row, means(pending)))
            if completed:
                pending = {}
        return points, pending
