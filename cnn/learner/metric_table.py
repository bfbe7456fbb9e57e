"""The metrics: what is computed for each sample, how samples are put together, and which direction is better.

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
    """Floating (samples,): in training the loss that is minimised, in an evaluation the plain cross-entropy."""

    logits: Tensor
    """Floating (samples, classes)."""

    labels: Tensor
    """int32 (samples,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: a mean over samples, or over classes of the means over their samples."""

    of_samples: Callable[[Answers], Tensor]
    """Boolean or floating (samples,): what is averaged. It must not depend on the other samples."""

    better: Literal["higher", "lower"]

    label: str
    """Its name in what jobs/evaluate.py prints."""

    counted: bool = False
    """Whether `of_samples` is boolean. The samples are then counted, exactly, instead of adding up fractions."""

    per_class: bool = False
    """Whether each class has a mean of its own. The metric is then the mean of these, so that rare classes count as
    much as frequent ones."""

    in_training: bool = True
    """Whether training steps compute it, too. Its sums then travel with the gradients: one number, or two per class.
    A longer message is cut in other places, so that from three workers on the weights' last bits may change."""

    fewest_classes: int = 1
    """With fewer classes it says nothing and is left out."""

    def cells(self, classes: int) -> int:
        """How many sums it has with so many classes."""
        return classes if self.per_class else 1


def _first(answers: Answers) -> Tensor:
    """Whether the label's class has the largest logit, the first of equal ones."""
    import tensorflow as tf

    return tf.equal(tf.argmax(answers.logits, 1, tf.int32), answers.labels)


def _among_first_five(answers: Answers) -> Tensor:
    """Whether fewer than five classes precede the label's; of equal logits the first class precedes."""
    import tensorflow as tf

    logits, labels = answers.logits, answers.labels[:, tf.newaxis]
    own = tf.gather(logits, labels, axis=1, batch_dims=1)
    earlier = tf.range(tf.shape(logits)[1])[tf.newaxis] < labels
    before = tf.logical_or(logits > own, tf.logical_and(tf.equal(logits, own), earlier))
    return tf.math.count_nonzero(before, 1, dtype=tf.int32) < 5


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
"""By name. `loss` and `accuracy` must be there: progress displays, the figure and the choice of the best checkpoint
use them."""

BEST_BY = ("accuracy", "loss")
"""The metrics that decide which evaluation is the best: the second where the first is equal."""


def metrics_for(classes: int, *, training: bool = False) -> dict[str, Metric]:
    """The rows that apply to so many classes.

    Args:
        classes: number of the data set's classes.
        training: only those that training steps compute.
    """
    return {
        name: metric
        for name, metric in METRICS.items()
        if classes >= metric.fewest_classes and (metric.in_training or not training)
    }
