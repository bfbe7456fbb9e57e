"""The metrics: their values for each sample, how these are averaged, and which direction is better.

METRICS is the one place that lists them. Training steps and evaluations compute its rows; step results, metrics.jsonl,
TensorBoard, checkpoints and evaluation files hold them under their names.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

from cnn.tensor import Tensor


class Answers(NamedTuple):
    """A network's output for some samples, as tensors."""

    losses: Tensor
    """Floating (samples,): in training the minimised loss, in an evaluation the plain cross-entropy."""

    logits: Tensor
    """Floating (samples, classes)."""

    labels: Tensor
    """int64 (samples,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: a mean over samples, or the mean over classes of the means over their samples."""

    of_samples: Callable[[Answers], Tensor]
    """Values to average, boolean or floating (samples,). A sample's value must not depend on other samples."""

    better: Literal["higher", "lower"]

    label: str
    """Its name in the output of jobs/evaluate.py."""

    counted: bool = False
    """Whether `of_samples` is boolean: its sums are then exact counts instead of sums of fractions."""

    per_class: bool = False
    """Whether the metric is the mean of each class's mean, so that rare classes count as much as frequent ones."""

    in_training: bool = True
    """Whether training steps compute it, too. Its sums then travel with the gradients: one number, or two per class.
    A longer message is cut in other places, which may change the weights' last bits with three or more workers."""

    fewest_classes: int = 1
    """Minimum number of classes: with fewer, the metric is trivial and is left out."""

    def cells(self, classes: int) -> int:
        """The number of its sums."""
        return classes if self.per_class else 1


def _first(answers: Answers) -> Tensor:
    """Whether the label's class has the largest logit; of equal logits the first class counts."""
    import tensorflow as tf

    return tf.equal(tf.argmax(answers.logits, 1), answers.labels)


def _among_first_five(answers: Answers) -> Tensor:
    """Whether fewer than five classes precede the label's; of equal logits the first class precedes."""
    import tensorflow as tf

    logits, labels = answers.logits, answers.labels[:, tf.newaxis]
    label_logits = tf.gather(logits, labels, axis=1, batch_dims=1)
    earlier = tf.range(tf.shape(logits, tf.int64)[1])[tf.newaxis] < labels
    precedes = tf.logical_or(logits > label_logits, tf.logical_and(tf.equal(logits, label_logits), earlier))
    return tf.math.count_nonzero(precedes, 1) < 5


METRICS: dict[str, Metric] = {
    "loss": Metric(of_samples=lambda answers: answers.losses, better="lower", label="loss"),
    "accuracy": Metric(of_samples=_first, better="higher", label="accuracy", counted=True),
    "top5_accuracy": Metric(
        of_samples=_among_first_five,
        better="higher",
        label="top-5",
        counted=True,
        in_training=False,
        fewest_classes=6,
    ),
    "class_accuracy": Metric(
        of_samples=_first, better="higher", label="mean class accuracy", counted=True, per_class=True, in_training=False
    ),
}
"""By name. `loss` and `accuracy` are required: progress displays, the figure and the choice of the best checkpoint
use them."""

BEST_BY = ("accuracy", "loss")
"""The metrics that decide which evaluation is the best, in order of priority."""


def metrics_for(classes: int, *, training: bool = False) -> dict[str, Metric]:
    """The rows that apply to a number of classes.

    Args:
        classes: number of the data set's classes.
        training: whether to return only those that training steps compute.
    """
    return {
        name: metric
        for name, metric in METRICS.items()
        if classes >= metric.fewest_classes and (metric.in_training or not training)
    }
