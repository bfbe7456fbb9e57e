"""The message that travels with a step's gradients: sums of metrics, and what the ranks report to each other."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cnn.learner.metric_table import Answers, Metric, metrics_for
from cnn.learner.totals import Total
from cnn.tensor import Tensor


class Reports(NamedTuple):
    """What each rank reports, at no cost; results hold the sums over the ranks, each an array (steps,)."""

    seconds: Tensor = 0.0
    """Tensor number: how long a step took, for example."""

    stops: Tensor = 0
    """Whether the rank was asked to stop; how many ranks were."""

    changes: Tensor = 0
    """Whether the rank heard that the workers are to change; how many ranks did."""


class StepMessage:
    """What training computes of the metrics, and how it is laid out in the message.

    Args:
        classes: number of the network's classes.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._metrics = metrics_for(classes, training=True)
        # A metric per class needs its samples' number for each class; the others' is known from the plan.
        self._widths = [2 * classes if metric.per_class else 1 for metric in self._metrics.values()]
        self.width = sum(self._widths) + len(Reports._fields)
        """How many numbers there are."""

    def sums(self, answers: Answers, weights: Tensor) -> dict[str, Tensor]:
        """Each metric's part of the message, 1-D tensors, of some samples.

        Args:
            answers: the network's.
            weights: floating (samples,): 0 for samples that only fill up.
        """
        return {name: self._sum(metric, answers, weights) for name, metric in self._metrics.items()}

    def _sum(self, metric: Metric, answers: Answers, weights: Tensor) -> Tensor:
        values = tf.cast(metric.of_samples(answers), weights.dtype) * weights
        if not metric.per_class:
            return tf.reduce_sum(values)[tf.newaxis]
        # Sums of rows that are mostly zeros add in the same order always, which a GPU's scattered sums do not; and a
        # product of matrices might round.
        of_class = tf.one_hot(answers.labels, self._classes, dtype=weights.dtype)
        return tf.concat([tf.reduce_sum(of_class * each[:, tf.newaxis], 0) for each in (values, weights)], 0)

    def pack(self, sums: Mapping[str, Tensor], reports: Tensor) -> Tensor:
        """The message, 1-D.

        Args:
            sums: as `sums` gives them, perhaps added up.
            reports: a rank's `Reports` as one tensor.
        """
        return tf.concat([*(sums[name] for name in self._metrics), reports], 0)

    def unpack(self, messages: np.ndarray, counts: np.ndarray) -> tuple[dict[str, Total], Reports]:
        """The totals of the metrics and the reports, both summed over the ranks.

        Args:
            messages: (steps, width): summed over the ranks.
            counts: int (steps,): samples of each step's global batch.
        """
        *parts, reports = np.split(messages, np.cumsum(self._widths), axis=1)
        totals = {
            name: _per_class_total(part, metric) if metric.per_class else _total(part, counts[:, np.newaxis], metric)
            for (name, metric), part in zip(self._metrics.items(), parts, strict=True)
        }
        seconds, stops, changes = reports.T
        return totals, Reports(seconds, np.rint(stops), np.rint(changes))


def _total(sums: np.ndarray, counts: np.ndarray, metric: Metric) -> Total:
    if metric.counted:
        return Total(_whole(sums), counts.astype(np.int64))
    # By way of the mean, in float64, as ever: a curve has the same bits as its repetition, whichever version drew it.
    return Total(sums / counts * counts, counts.astype(np.int64))


def _per_class_total(part: np.ndarray, metric: Metric) -> Total:
    sums, counts = np.split(part, 2, axis=1)
    return Total(_whole(sums) if metric.counted else sums.astype(np.float64), _whole(counts))


def _whole(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(sums), np.int64)
