"""Exact evaluation: every sample counts once, whatever the number of workers."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.feed.feed import Feed
from cnn.learner.classifier import GROUP, Classifier, answered, log_probabilities
from cnn.learner.metric_table import Answers, Metric, metrics_for
from cnn.learner.totals import Total, Totals, means
from cnn.optim.averaging import WeightAverage
from cnn.tensor import Tensor

_WORST = 16
"""Wrong answers of an evaluation that are reported one by one."""

_PROBED = 8
"""Images that show whether a network overflows: so few that an epoch's end or a checkpoint hardly waits for them."""


class WrongAnswer(NamedTuple):
    """A sample for whose class the largest logit was another class's."""

    loss: float
    sample: int
    """Index of the image."""

    label: int
    predicted: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A network's metrics on some samples."""

    totals: Totals
    """The metrics. Samples without a finite largest logit count as wrong, and make the loss infinite or NaN."""

    confusion: np.ndarray
    """int64 (classes, classes): numbers of samples by true class (row) and predicted class (column)."""

    worst: Sequence[WrongAnswer] = ()
    """The wrong answers with the largest losses, in descending order; empty unless they were asked for."""

    @property
    def means(self) -> dict[str, float]:
        """Each metric's value."""
        return means(self.totals)


class Soundness:
    """Checks on a few images whether a network's logits are finite; every rank calls it and gets the same result.

    Args:
        model: a network that returns logits.
        feed: the source of the images.
        samples: indices of images, of which the first few are used.
        cluster: the workers, of which rank 0 computes.
    """

    def __init__(self, model: keras.Model, feed: Feed, samples: np.ndarray, cluster: Cluster) -> None:
        self._samples = samples[:_PROBED]
        self._cluster = cluster
        self._classifier = Classifier(model, feed, group=len(self._samples))

    def __call__(self) -> bool:
        sound = True
        if self._cluster.is_chief:
            sound = all(answered(logits).all() for logits, _ in self._classifier([self._samples]))
        return bool(self._cluster.gather(sound)[0])


class Evaluator:
    """Evaluates a network on images of a feed each time it is called; every rank calls it.

    Args:
        model: a network that returns logits.
        feed: the source of the images.
        samples: indices of the images to evaluate, each once.
        cluster: the workers that share them.
        average: the moving average to evaluate instead of the latest step's weights.
        batch_size: maximum number of images in one call, which has at least one group. No result depends on it.
        left_out: those of `samples` that are not evaluated after all; the others stay in their groups.
        find_worst: whether to find the wrong answers with the largest losses.
        flip: as `Classifier`.
    """

    def __init__(
        self,
        model: keras.Model,
        feed: Feed,
        samples: np.ndarray,
        cluster: Cluster,
        average: WeightAverage | None = None,
        batch_size: int = GROUP,
        left_out: Sequence[int] = (),
        find_worst: bool = False,
        flip: bool = False,
    ) -> None:
        self._find_worst = find_worst
        self._average = average
        self._groups = groups_of(samples, left_out)
        self._cluster = cluster
        self._classifier = Classifier(model, feed, batch_size, flip=flip)
        self._classes = model.outputs[0].shape[-1]
        self._metrics = metrics_for(self._classes)
        logits = tf.TensorSpec((None, self._classes), model.dtype)
        signature = [Answers(tf.TensorSpec((None,), tf.float64), logits, tf.TensorSpec((None,), tf.int64))]
        self._compiled = tf.function(self._sample_metrics, input_signature=signature, autograph=False)

    def on(self, feed: Feed, samples: np.ndarray) -> "Evaluator":
        """Returns an evaluator of other images by the network's weights, for which the network is not traced again."""
        other = copy.copy(self)
        other._groups, other._classifier = groups_of(samples), self._classifier.on(feed)
        other._average, other._find_worst = None, False
        return other

    def __call__(self) -> Evaluation:
        """Evaluates all samples."""
        with self._average.in_place() if self._average is not None else contextlib.nullcontext():
            return self._evaluate()

    def _sample_metrics(self, answers: Answers) -> dict[str, Tensor]:
        return {name: metric.of_samples(answers) for name, metric in self._metrics.items()}

    def _evaluate(self) -> Evaluation:
        cluster, classes, groups = self._cluster, self._classes, self._groups
        mine = own_groups(cluster, len(groups))
        confusion, images = np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64)
        sums = {name: _zero_sums(metric, classes, len(groups)) for name, metric in self._metrics.items()}
        worst: list[WrongAnswer] = []
        for number, (logits, labels) in zip(mine, self._classifier([groups[n] for n in mine]), strict=True):
            sound = answered(logits)
            np.add.at(confusion, (labels[sound], logits[sound].argmax(1)), 1)
            images += np.bincount(labels, minlength=classes)
            losses = -log_probabilities(logits)[np.arange(len(labels)), labels]
            if self._find_worst:
                worst = _worst([*worst, *_wrong_answers(groups[number], logits, labels, losses)])
            with tf.device("CPU:0"):  # where the logits are
                computed = self._compiled(Answers(losses, logits, labels))
            for name, metric in self._metrics.items():
                values = computed[name].numpy()
                values = values & sound if metric.counted else values.astype(np.float64)
                total = np.bincount(labels, values, classes) if metric.per_class else values.sum()
                sums[name][:, 0 if metric.counted else number] += total.astype(sums[name].dtype)
        confusion, images, *joint = _summed(cluster, [confusion, images, *sums.values()])
        count = np.array([sum(map(len, groups))])
        totals = {
            name: Total(total.sum(-1), images if metric.per_class else count)
            for (name, metric), total in zip(self._metrics.items(), joint, strict=True)
        }
        if self._find_worst:
            worst = _worst([WrongAnswer(*each) for of_rank in cluster.gather(worst) for each in of_rank])
        return Evaluation(totals=totals, confusion=confusion, worst=worst)


def _wrong_answers(
    samples: np.ndarray, logits: np.ndarray, labels: np.ndarray, losses: np.ndarray
) -> Iterator[WrongAnswer]:
    predicted = logits.argmax(1)
    for place in np.flatnonzero(answered(logits) & (predicted != labels)):
        yield WrongAnswer(*(values[place].item() for values in (losses, samples, labels, predicted)))


def _worst(answers: Sequence[WrongAnswer]) -> list[WrongAnswer]:
    """The answers with the largest losses; of equal losses the first sample comes first, whichever rank computed it."""
    return sorted(answers, key=lambda answer: (-answer.loss, answer.sample))[:_WORST]


def groups_of(samples: np.ndarray, left_out: Sequence[int] = ()) -> list[np.ndarray]:
    """The samples (samples,) in groups of GROUP, of which the last may be smaller, then without those left out."""
    groups = [samples[start : start + GROUP] for start in range(0, len(samples), GROUP)]
    return [group[~np.isin(group, left_out)] for group in groups] if left_out else groups


def own_groups(cluster: Cluster, groups: int) -> range:
    """The numbers of those of so many groups of GROUP samples that this rank evaluates."""
    return range(cluster.rank, groups, cluster.world_size)


def _zero_sums(metric: Metric, classes: int, groups: int) -> np.ndarray:
    """Zeros (cells, 1) for counts, which may be added in any order, or (cells, groups) for fractions.

    To a group's sums the other ranks add zeros, so that all groups are always added in the same order.
    """
    dtype, columns = (np.int64, 1) if metric.counted else (np.float64, groups)
    return np.zeros((metric.cells(classes), columns), dtype)


def _summed(cluster: Cluster, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The sums over the ranks, exchanged in one message per dtype."""
    sums = list(arrays)
    for dtype in (np.int64, np.float64):
        places = [place for place, array in enumerate(arrays) if array.dtype == dtype]
        joint = cluster.sum(np.concatenate([arrays[place].ravel() for place in places]))
        ends = np.cumsum([arrays[place].size for place in places])
        for place, part in zip(places, np.split(joint, ends[:-1]), strict=True):
            sums[place] = part.reshape(arrays[place].shape)
    return sums
