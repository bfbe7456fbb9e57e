"""Finds a learning rate by a range test (Smith, "Cyclical learning rates for training neural networks", 2017, 3.3)."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn.choices import check_counts
from cnn.data.split import divide_training_part
from cnn.errors import UserError
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.monitoring.figures.range_figure import draw_range_test
from cnn.optim.optimizers import MIN_LEARNING_RATE
from cnn.runs.run_folder import FOLLOW_WEIGHTS
from cnn.settings.settings import TrainingSettings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.learner.learner import Learner

_REACH = 8
"""Steps before and after each step whose losses are averaged with its own."""

_DIVERGED = 4.0
"""How many times the lowest mean the loss may be, if it is above the first: beyond, larger rates teach nothing."""

_NEAR = 0.2
"""How far above its lowest mean the loss may be to count as near it, as a fraction of its whole decline. Where small
batches make the loss noisy, the place of the lowest mean is chance, and the end of the rates near it is not."""

_MARGIN = 3.0
"""Ratio of the largest rate with a loss near the lowest to the rate that is proposed: above, the loss rises at once."""

_MIN_STEPS = 3 * _REACH
"""Minimum number of steps: with fewer, the lowest mean would always be one of the first or of the last."""

_STEPS_PER_CALL = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RangeTestSettings:
    """The range test."""

    lowest_rate: float = 1e-6
    """Learning rate of the first step."""

    highest_rate: float = 10.0
    """Learning rate of the last step; the test ends earlier when the loss diverges."""

    range_steps: int = 200
    """Steps of the test, from each of which the rate rises by the same factor."""

    figure: str = "learning-rates.png"
    """File for the figure of the losses."""

    def __post_init__(self) -> None:
        check_counts(self, "range_steps")
        if not MIN_LEARNING_RATE <= self.lowest_rate < self.highest_rate < math.inf:
            raise UserError(
                f"--lowest_rate {self.lowest_rate:g} and --highest_rate {self.highest_rate:g} are not two positive "
                "numbers of which the second is larger: give 1e-6 and 1, for example."
            )
        if self.range_steps < _MIN_STEPS:
            raise UserError(f"--range_steps {self.range_steps} is too few to see a curve: give at least {_MIN_STEPS}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The settings of a run, and of the range test for it."""

    range_test: RangeTestSettings


class RangeTest(NamedTuple):
    """The losses of a range test."""

    rates: np.ndarray
    """float64 (steps,): the rates before scaling to the batch size."""

    losses: np.ndarray
    """float64 (steps,): mean loss of each step's global batch; the last may not be finite."""

    @property
    def smoothed(self) -> np.ndarray:
        """The mean of each step's loss and its neighbours', float64 (steps,); infinite where one is not finite."""
        losses = np.where(np.isfinite(self.losses), self.losses, np.inf)
        return np.array([losses[max(0, n - _REACH) : n + _REACH + 1].mean() for n in range(len(losses))])

    @property
    def has_diverged(self) -> bool:
        """Whether the loss of the last step is not finite, or far above the lowest mean and above the first loss."""
        limit = max(self.losses[0], _DIVERGED * self.smoothed.min())
        return not self.losses[-1] <= limit

    @property
    def best(self) -> int:
        """The step with the lowest mean."""
        return int(self.smoothed.argmin())

    @property
    def largest(self) -> int:
        """The step with the largest rate up to which, from the best step on, the mean is near the lowest."""
        smoothed, best = self.smoothed, self.best
        limit = smoothed[best] + _NEAR * (smoothed[0] - smoothed[best])
        above = np.flatnonzero(smoothed[best:] > limit)
        return (best + int(above[0]) if len(above) else len(smoothed)) - 1

    @property
    def proposal(self) -> float:
        """The proposed learning rate."""
        return float(self.rates[self.largest] / _MARGIN)

    def describe(self) -> str:
        """What the test shows, in one sentence or two."""
        smoothed, best = self.smoothed, self.best
        found = f"the loss was lowest, {smoothed[best]:.4g}, at the learning rate {self.rates[best]:.2g}"
        if best < _REACH:
            return f"{found}, one of the first: repeat the test with a smaller --lowest_rate."
        if best >= len(self.rates) - _REACH and not self.has_diverged:
            return f"{found}, one of the last: repeat the test with a larger --highest_rate."
        largest = f"{self.rates[self.largest]:.2g}"
        end = f", and diverged at {self.rates[-1]:.2g}" if self.has_diverged else ""
        return f"{found}, near it up to {largest}{end}: try --learning_rate {self.proposal:.1e}, a third of {largest}."


def find_learning_rate(cluster: "Cluster", settings: Settings) -> None:
    """Runs the test with the training images of a run, and shows its result; every rank calls it."""
    from cnn.runs.checked_data import open_training_data
    from cnn.runs.fine_tuning import following_weights, initialize_from, with_values
    from cnn.runs.resumption import restore_and_broadcast

    figure = Path(settings.range_test.figure)
    cluster.on_chief(lambda: _check_writable(figure))
    merged = cluster.from_chief(lambda: _following(following_weights(settings)))
    completed = with_values(settings, merged)
    dataset = open_training_data(cluster, completed, "by name")
    training, _ = divide_training_part(dataset, completed.run.validation_fraction, completed.run.seed)
    model = build_model(completed.learner, dataset)
    order = make_order(cluster, completed.learner, model, training, completed.run.global_batch_size)
    initial = completed.run.initialize_from
    if initial is not None:
        cluster.on_chief(functools.partial(initialize_from, Path(initial), completed.model.model, model))
    learner = assemble(cluster, completed.learner, dataset, order, model)
    restore_and_broadcast(cluster, None, learner, dataset)
    test = measure(cluster, learner, settings)
    if cluster.is_chief:
        title = f"{settings.model.model} on {dataset.name}"
        draw_range_test(test.rates, test.losses, test.smoothed, test.largest, figure, title)
        print(f"{title}, {len(test.rates)} steps: {test.describe()} Written to {figure}", flush=True)


def measure(cluster: "Cluster", learner: "Learner", settings: Settings) -> RangeTest:
    """Trains with rising rates until the last, or until the loss diverges; the same on every rank.

    Args:
        cluster: the workers.
        learner: what learns, which is changed.
        settings: the range, and the batch size that the rates are scaled to.
    """
    asked = settings.range_test
    rates = np.geomspace(asked.lowest_rate, asked.highest_rate, asked.range_steps)
    scale = settings.learning_rate / settings.optimizer.base_learning_rate
    step, losses = learner.make_step(), np.zeros(0)
    for first in range(0, len(rates), _STEPS_PER_CALL):
        call = rates[first : first + _STEPS_PER_CALL]
        results = step.run(learner.order.plan(first, len(call), cluster.rank, cluster.world_size), scale * call)
        for loss in results.totals["loss"].mean:
            losses = np.append(losses, loss)
            test = RangeTest(rates[: len(losses)], losses)
            if test.has_diverged:
                return test
    return test


def _following(settings: TrainingSettings) -> dict[str, str | None]:
    return {name: settings.merged[name] for name in FOLLOW_WEIGHTS}


def _check_writable(path: Path) -> None:
    if path.suffix != ".png":
        raise UserError(f"--figure {path} is no name of a PNG file: give NAME.png.")
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"--figure {path} cannot be written: its folder does not exist, or it is a folder itself.")
