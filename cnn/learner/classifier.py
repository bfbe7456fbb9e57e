"""What a network says of images: the same whoever computes it, and however many at once."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cnn.data.feed import Feed
from cnn.tensor import Tensor

GROUP = 100
"""Samples that are computed together. Fixed, so that a sample's logits depend neither on the number of workers nor on
how many groups one call computes."""


class Classifier:
    """Computes a network's logits, group by group.

    Args:
        network: gives logits, or a list of these and of auxiliary ones.
        feed: gives the images.
        batch_size: images of one call, at most; but always one group.
        group: images that are computed together.
    """

    def __init__(self, network: keras.Model, feed: Feed, batch_size: int = GROUP, group: int = GROUP) -> None:
        self._network = network
        self._feed = feed
        self._group = group
        self._at_once = max(1, min(batch_size // group, feed.max_steps(group)))
        images, _ = feed.specs(group)
        self._compiled = tf.function(self._logits, input_signature=[images], autograph=False)

    def __call__(self, groups: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gives the logits (samples, classes) and the labels (samples,) of each group of indices (samples,)."""
        filled = [np.resize(group, self._group).astype(np.int32) for group in groups]
        with self._feed.reading_ahead(iter(filled)) as read:
            for first in range(0, len(groups), self._at_once):
                together = slice(first, first + self._at_once)
                images, labels = read(np.stack(filled[together]))
                computed = self._compiled(images).numpy()
                for group, logits, of in zip(groups[together], computed, labels.numpy(), strict=True):
                    yield logits[: len(group)], of[: len(group)]

    def _logits(self, images: Tensor) -> Tensor:
        """A group after the other, all in the same shapes: what `Feed.read` gave to (groups, samples, classes)."""

        def of_group(part: Tensor) -> Tensor:
            outputs = self._network(self._feed.batch(part), training=False)
            return tf.cast(outputs[0] if isinstance(outputs, list) else outputs, self._network.dtype)

        kind = tf.TensorSpec((self._group, self._network.outputs[0].shape[-1]), self._network.dtype)
        return tf.map_fn(of_group, images, parallel_iterations=1, fn_output_signature=kind)


def answered(logits: np.ndarray) -> np.ndarray:
    """Which samples have an answer, bool (samples,) of logits (samples, classes): those with a largest logit.

    Where a network overflows, logits are no numbers or infinite; to rank these would name a class all the same.
    """
    return np.asarray(np.isfinite(logits.max(axis=1)))  # NaN wherever there is one


def ranking(logits: np.ndarray, places: int) -> np.ndarray:
    """The classes with the largest logits, the largest first, (samples, places) or as many as there are classes.

    Of equal ones the first comes first.
    """
    return np.argsort(-logits, axis=1, kind="stable")[:, :places]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the classes' probabilities, float64 of the logits' shape (samples, classes)."""
    with np.errstate(invalid="ignore"):  # infinities become no numbers, which are told
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
