"""Exact evaluation: every sample counts once, whatever the number of workers."""

import contextlib
import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.data.feed import Feed
from cnn.learner.classifier import GROUP, Classifier, answered, log_probabilities
from cnn.learner.metric_table import Answers, Metric, metrics_for
from cnn.learner.totals import Total, Totals, means
from cnn.optim.averaging import WeightAverage
from cnn.tensor import Tensor

_GLANCED = 8
"""Images that tell whether a network overflows: an epoch's end, or a checkpoint, need not wait for more."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a network is worth on some samples."""

    totals: Totals
    """The metrics. Samples whose logits are no numbers are not counted as right, and the loss is not finite then."""

    confusion: np.ndarray
    """int64 (classes, classes): how many samples of a row's class the network takes for a column's."""

    @property
    def means(self) -> dict[str, float]:
        """Each metric's value."""
        return means(self.totals)


class Soundness:
    """Tells by a few images whether a network's weights give finite numbers; every rank calls it, and hears the same.

    Args:
        model: gives logits.
        feed: gives the images.
        samples: indices of images to choose from.
        cluster: the workers, of which rank 0 looks.
    """

    def __init__(self, model: keras.Model, feed: Feed, samples: np.ndarray, cluster: Cluster) -> None:
        self._samples = samples[:_GLANCED]
        self._cluster = cluster
        self._classifier = Classifier(model, feed, group=len(self._samples))

    def __call__(self) -> bool:
        sound = True
        if self._cluster.is_chief:
            sound = all(answered(logits).all() for logits, _ in self._classifier([self._samples]))
        return bool(self._cluster.gather(sound)[0])


class Evaluator:
    """Evaluates a network on the images of a feed, as often as it is called; every rank calls it.

    Args:
        model: gives logits.
        feed: gives the images.
        samples: indices of those to look at, each once.
        cluster: the workers that share them.
        average: of the network's weights, with which it is evaluated instead of with those of the latest step.
        batch_size: images that one call computes, at most; but always one group. No result depends on it.
    """

    def __init__(
        self,
        model: keras.Model,
        feed: Feed,
        samples: np.ndarray,
        cluster: Cluster,
        average: WeightAverage | None = None,
        batch_size: int = GROUP,
    ) -> None:
        self._average = average
        self._samples = samples
        self._cluster = cluster
        self._classifier = Classifier(model, feed, batch_size)
        self._classes = model.outputs[0].shape[-1]
        self._metrics = metrics_for(self._classes)
        logits = tf.TensorSpec((None, self._classes), model.dtype)
        signature = [Answers(tf.TensorSpec((None,), tf.float64), logits, tf.TensorSpec((None,), tf.int32))]
        self._compiled = tf.function(self._of_samples, input_signature=signature, autograph=False)

    def __call__(self) -> Evaluation:
        """Looks at all samples."""
        with self._average.in_place() if self._average is not None else contextlib.nullcontext():
            return self._evaluate()

    def _of_samples(self, answers: Answers) -> dict[str, Tensor]:
        return {name: metric.of_samples(answers) for name, metric in self._metrics.items()}

    def _evaluate(self) -> Evaluation:
        cluster, classes = self._cluster, self._classes
        groups = [self._samples[start : start + GROUP] for start in range(0, len(self._samples), GROUP)]
        mine = range(cluster.rank, len(groups), cluster.world_size)
        confusion, images = np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64)
        sums = {name: _nothing(metric, classes, len(groups)) for name, metric in self._metrics.items()}
        for number, (logits, labels) in zip(mine, self._classifier([groups[n] for n in mine]), strict=True):
            sound = answered(logits)
            np.add.at(confusion, (labels[sound], logits[sound].argmax(1)), 1)
            images += np.bincount(labels, minlength=classes)
            losses = -log_probabilities(logits)[np.arange(len(labels)), labels]
            with tf.device("CPU:0"):  # where the logits are
                computed = self._compiled(Answers(losses, logits, labels))
            for name, metric in self._metrics.items():
                values = computed[name].numpy()
                values = values & sound if metric.counted else values.astype(np.float64)
                total = np.bincount(labels, values, classes) if metric.per_class else values.sum()
                sums[name][:, 0 if metric.counted else number] += total.astype(sums[name].dtype)
        confusion, images, *joint = _summed(cluster, [confusion, images, *sums.values()])
        count = np.array([len(self._samples)])
        totals = {
            name: Total(total.sum(-1), images if metric.per_class else count)
            for (name, metric), total in zip(self._metrics.items(), joint, strict=True)
        }
        return Evaluation(totals=totals, confusion=confusion)


def _nothing(metric: Metric, classes: int, groups: int) -> np.ndarray:
    """Zeros (cells, 1) for whole numbers, which may be added up in any order, or else (cells, groups).

    To a group's sums the other ranks add zeros, so that the order in which all are added up is always the same.
    """
    kind, columns = (np.int64, 1) if metric.counted else (np.float64, groups)
    return np.zeros((metric.cells(classes), columns), kind)


def _summed(cluster: Cluster, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The sums over the ranks, by one message for each type of numbers."""
    sums = list(arrays)
    for kind in (np.int64, np.float64):
        places = [place for place, array in enumerate(arrays) if array.dtype == kind]
        joint = cluster.sum(np.concatenate([arrays[place].ravel() for place in places]))
        ends = np.cumsum([arrays[place].size for place in places])
        for place, part in zip(places, np.split(joint, ends[:-1]), strict=True):
            sums[place] = part.reshape(arrays[place].shape)
    return sums
