"""Exact evaluation: every sample counts once, whatever the number of workers."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.data.feed import ResidentFeed

GROUP = 100
"""Samples that are computed together. Fixed, so that a sample's logits do not depend on the number of workers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network is worth on some samples."""

    correct: int
    count: int
    loss: float
    """Mean cross-entropy."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.count


class Evaluator:
    """Evaluates a network on the images of a feed, as often as it is called; every rank calls it.

    Args:
        model: gives logits.
        feed: holds the images.
        samples: indices of those to look at, each once.
        cluster: the workers that share them.
    """

    def __init__(self, model: keras.Model, feed: ResidentFeed, samples: np.ndarray, cluster: Cluster) -> None:
        self._model = model
        self._feed = feed
        self._samples = samples
        self._cluster = cluster
        signature = [tf.TensorSpec((GROUP,), tf.int32), tf.TensorSpec((GROUP,), tf.bool)]
        self._compiled = tf.function(self._group, input_signature=signature)

    def __call__(self) -> Evaluation:
        correct, loss = 0, 0.0
        for start in range(self._cluster.rank * GROUP, len(self._samples), self._cluster.world_size * GROUP):
            indices = self._samples[start : start + GROUP]
            real = np.arange(GROUP) < len(indices)
            padded = np.resize(indices, GROUP).astype(np.int32)
            group_correct, group_loss = self._compiled(tf.constant(padded), tf.constant(real))
            correct += int(group_correct)
            loss += float(group_loss)
        correct = int(self._cluster.sum(np.array([correct], np.int64))[0])
        loss = float(self._cluster.sum(np.array([loss], np.float64))[0])
        return Evaluation(correct=correct, count=len(self._samples), loss=loss / len(self._samples))

    def _group(self, indices: Any, real: Any) -> tuple[Any, Any]:
        images, labels = self._feed.batch(indices)
        outputs = self._model(images, training=False)
        logits = outputs[0] if isinstance(outputs, list) else outputs
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.logical_and(tf.equal(tf.argmax(logits, 1, tf.int32), labels), real)
        loss = tf.reduce_sum(tf.where(real, tf.cast(losses, tf.float64), 0))
        return tf.reduce_sum(tf.cast(right, tf.int64)), loss
