"""Exact evaluation: every sample counts once, whatever the number of workers."""

import contextlib
import dataclasses

import keras
import numpy as np

from cnn.cluster.collectives import Cluster
from cnn.data.feed import Feed
from cnn.training.averaging import WeightAverage
from cnn.training.classifier import GROUP, Classifier, answered, log_probabilities, ranking

_GLANCED = 8
"""Images that tell whether a network overflows: an epoch's end, or a checkpoint, need not wait for more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network is worth on some samples."""

    correct: int
    """Of samples whose logits are no numbers none is."""

    count: int
    loss: float
    """Mean cross-entropy; not finite where the network overflows on a sample."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.count


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassEvaluation(Evaluation):
    """And on each class of them."""

    top5: int
    """How many have their class among the five that the network holds for the likeliest."""

    confusion: np.ndarray = dataclasses.field(compare=False)
    """int64 (classes, classes): how many of a row's class the network takes for a column's."""


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
        self._model = model
        self._average = average
        self._samples = samples
        self._cluster = cluster
        self._classifier = Classifier(model, feed, batch_size)

    def __call__(self) -> ClassEvaluation:
        """Looks at all samples."""
        with self._average.in_place() if self._average is not None else contextlib.nullcontext():
            return self._evaluate()

    def _evaluate(self) -> ClassEvaluation:
        cluster, classes = self._cluster, self._model.outputs[0].shape[-1]
        groups = [self._samples[start : start + GROUP] for start in range(0, len(self._samples), GROUP)]
        mine = range(cluster.rank, len(groups), cluster.world_size)
        losses = np.zeros(len(groups))
        confusion, top5 = np.zeros((classes, classes), np.int64), 0
        for number, (logits, labels) in zip(mine, self._classifier([groups[n] for n in mine]), strict=True):
            sound = answered(logits)
            said, classes_of = ranking(logits[sound], 5), labels[sound]
            np.add.at(confusion, (classes_of, said[:, 0]), 1)
            top5 += int((said == classes_of[:, np.newaxis]).sum())
            losses[number] = -log_probabilities(logits)[np.arange(len(labels)), labels].sum()
        # To a group's loss the other ranks add zeros, so that the order in which all are added up is always the same.
        loss = float(cluster.sum(losses).sum())
        counts = cluster.sum(np.append(confusion, top5))
        confusion = counts[:-1].reshape(classes, classes)
        return ClassEvaluation(
            correct=int(confusion.trace()),
            count=len(self._samples),
            loss=loss / len(self._samples),
            top5=int(counts[-1]),
            confusion=confusion,
        )
