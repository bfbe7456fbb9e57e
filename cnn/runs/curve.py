"""The training curve: which steps' metrics become one point of it."""

from typing import NamedTuple

from cnn.learner.totals import Total, Totals, add_totals, means


class Point(NamedTuple):
    """A point of the training curve."""

    step: int
    """How many steps were done at its end."""

    row: int
    """The last of its steps, among those that were given."""

    means: dict[str, float]
    """The metrics by name."""


class TrainingCurve:
    """Makes points, each the mean of `log_every` steps.

    At an epoch's end, and at the run's, a point is the mean of what there is. The run's end breaks no interval: should
    the run be given more steps, its later points are those of a run that had them from the start.

    Args:
        log_every: steps of a point.
        steps_per_epoch: of this run.
        total_steps: at which the run ends.
    """

    def __init__(self, log_every: int, steps_per_epoch: int, total_steps: int) -> None:
        self._log_every = log_every
        self._steps_per_epoch = steps_per_epoch
        self._total_steps = total_steps

    def points(self, pending: Totals, first: int, steps: Totals) -> tuple[list[Point], Totals]:
        """The points that some steps complete, and what is pending after them.

        Args:
            pending: the metrics of the steps since the last point.
            first: how many steps were done before these.
            steps: the metrics of each.
        """
        points = []
        for row in range(len(next(iter(steps.values())).samples)):
            step = {name: Total(total.sums[row], total.samples[row]) for name, total in steps.items()}
            pending = add_totals(pending, step)
            done = first + row + 1
            completed = done % self._log_every == 0 or done % self._steps_per_epoch == 0
            if completed or done == self._total_steps:
                points.append(Point(done, row, means(pending)))
            if completed:
                pending = {}
        return points, pending
