"""The message that travels with a step's gradients: sums of metrics, and the ranks' reports to each other."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cnn.learner.metric_table import Answers, Metric, metrics_for
from cnn.learner.totals import Total
from cnn.tensor import Tensor


class Reports(NamedTuple):
    """A rank's reports, which travel at no extra cost; results hold their sums over the ranks, each (steps,)."""

    seconds: Tensor = 0.0
    """Any number: the duration of a step, for example."""

    stops: Tensor = 0
    """1 if the rank was asked to stop, else 0; in results, the number of such ranks."""

    changes: Tensor = 0
    """1 if the rank was notified that the workers will change, else 0; in results, the number of such ranks."""


class StepMessage:
    """The sums of the training metrics, and their layout in the message.

    Args:
        classes: the number of the network's classes.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._metrics = metrics_for(classes, training=True)
        # A per-class metric also needs the number of samples of each class; for others the plan has it.
        self._widths = [2 * classes if metric.per_class else 1 for metric in self._metrics.values()]
        self.sums_width = sum(self._widths)
        """The number of its numbers that are sums of metrics; the others are reports."""

        self.width = self.sums_width + len(Reports._fields)
        """The length of the message, in numbers."""

    def sums(self, answers: Answers, weights: Tensor) -> dict[str, Tensor]:
        """Each metric's part of the message for some samples, as 1-D tensors.

        Args:
            answers: the network's output.
            weights: floating (samples,); 0 for samples that only pad the batch.
        """
        return {name: self._sum(metric, answers, weights) for name, metric in self._metrics.items()}

    def _sum(self, metric: Metric, answers: Answers, weights: Tensor) -> Tensor:
        values = tf.cast(metric.of_samples(answers), weights.dtype) * weights
        if not metric.per_class:
            return tf.reduce_sum(values)[tf.newaxis]
        # Sums over one-hot rows always add in the same order, unlike a GPU's scattered sums; a matrix product might
        # round.
        of_class = tf.one_hot(answers.labels, self._classes, dtype=weights.dtype)
        return tf.concat([tf.reduce_sum(of_class * each[:, tf.newaxis], 0) for each in (values, weights)], 0)

    def pack(self, sums: Mapping[str, Tensor], reports: Tensor) -> Tensor:
        """The message, 1-D.

        Args:
            sums: results of `sums`, possibly added over several pieces.
            reports: a rank's `Reports` as one 1-D tensor.
        """
        return tf.concat([*self.ordered(sums), reports], 0)

    def ordered(self, sums: Mapping[str, Tensor]) -> list[Tensor]:
        """The metrics' parts in the order of the message."""
        return [sums[name] for name in self._metrics]

    def unpack(self, messages: np.ndarray, counts: np.ndarray) -> tuple[dict[str, Total], Reports]:
        """The metrics' totals and the reports, both summed over the ranks.

        Args:
            messages: (steps, width), summed over the ranks.
            counts: int (steps,), the number of real samples in each step's global batch.
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
        return Total(_integers(sums), counts.astype(np.int64))
    # By way of the mean, in float64, as in earlier versions: repeating their runs gives the bits of their curves.
    return Total(sums / counts * counts, counts.astype(np.int64))


def _per_class_total(part: np.ndarray, metric: Metric) -> Total:
    sums, counts = np.split(part, 2, axis=1)
    return Total(_integers(sums) if metric.counted else sums.astype(np.float64), _integers(counts))


def _integers(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(sums), np.int64)
