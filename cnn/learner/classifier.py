"""A network's logits for images: independent of the worker and of the number of images in one call."""

import copy
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cnn.data.feed.feed import Feed
from cnn.tensor import Tensor

GROUP = 100
"""Samples that are computed together; fixed, so that a sample's logits depend neither on the number of workers nor on
the number of groups in one call."""


class Classifier:
    """Computes a network's logits, group by group.

    Args:
        network: a network that returns logits, or a list of logits and auxiliary logits.
        feed: the source of the images.
        batch_size: maximum number of images in one call, which has at least one group.
        group: number of images that are computed together.
        flip: average the probabilities of each image and its mirror image (Simonyan and Zisserman, 2014, section 3.2);
            the logits are then the logarithms of these.
    """

    def __init__(
        self, network: keras.Model, feed: Feed, batch_size: int = GROUP, group: int = GROUP, *, flip: bool = False
    ) -> None:
        self._network = network
        self._flip = flip
        self._batch_size = batch_size
        self._group = group
        standardised = tf.TensorSpec((group, *network.inputs[0].shape[1:]), feed.dtype)
        self._logits_of = tf.function(self._network_logits, input_signature=[standardised], autograph=False)
        self._read_from(feed)

    def on(self, feed: Feed) -> "Classifier":
        """Returns a classifier of another feed's images, for which the network is not traced again."""
        other = copy.copy(self)
        other._read_from(feed)
        return other

    def _read_from(self, feed: Feed) -> None:
        self._feed = feed
        self._groups_per_call = max(1, min(self._batch_size // self._group, feed.max_steps(self._group)))
        images, _ = feed.specs(self._group)
        self._compiled = tf.function(self._logits, input_signature=[images], autograph=False)

    def __call__(self, groups: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the logits (samples, classes) and the labels (samples,) of each group of indices (samples,)."""
        filled = [np.resize(group, self._group).astype(np.int32) for group in groups]
        with self._feed.reading_ahead(iter(filled)) as read:
            for first in range(0, len(groups), self._groups_per_call):
                call = slice(first, first + self._groups_per_call)
                images, labels = read(np.stack(filled[call]))
                computed = self._compiled(images).numpy()
                for group, group_logits, group_labels in zip(groups[call], computed, labels.numpy(), strict=True):
                    yield group_logits[: len(group)], group_labels[: len(group)]

    def _logits(self, images: Tensor) -> Tensor:
        """Logits (groups, samples, classes) for images of `Feed.read`, one group after another, in the same shapes."""
        groups, dtype = tf.shape(images)[0], self._network.dtype

        def add(number: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
            return number + 1, found.write(number, self._logits_of(self._feed.batch(images[number])))

        # Not tf.map_fn, which on a GPU takes uint8 images apart in the host's memory, and asks the GPU for each group
        # whether it was the last.
        found = tf.TensorArray(dtype, groups, element_shape=(self._group, self._network.outputs[0].shape[-1]))
        _, found = tf.while_loop(lambda number, _: number < groups, add, (0, found), parallel_iterations=1)
        return found.stack()

    def _network_logits(self, images: Tensor) -> Tensor:
        """Logits (samples, classes) for standardised images (samples, height, width, channels)."""

        def logits_of(images: Tensor) -> Tensor:
            outputs = self._network(images, training=False)
            return tf.cast(outputs[0] if isinstance(outputs, list) else outputs, self._network.dtype)

        if not self._flip:
            return logits_of(images)
        both = tf.stack([tf.nn.log_softmax(logits_of(each)) for each in (images, images[:, :, ::-1])])
        return tf.reduce_logsumexp(both, 0) - tf.math.log(tf.constant(2, both.dtype))


def answered(logits: np.ndarray) -> np.ndarray:
    """Whether each sample has an answer, bool (samples,) from logits (samples, classes): a finite largest logit.

    Where a network overflows, logits are NaN or infinite; ranking them would name a class all the same.
    """
    return np.asarray(np.isfinite(logits.max(axis=1)))  # the maximum is NaN if any logit is


def ranking(logits: np.ndarray, places: int) -> np.ndarray:
    """The `places` classes with the largest logits (samples, places), in descending order; all if there are fewer.

    Of classes with equal logits, the first comes first.
    """
    return np.argsort(-logits, axis=1, kind="stable")[:, :places]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the classes' probabilities, float64 (samples, classes), from logits of that shape."""
    with np.errstate(invalid="ignore"):  # infinities become NaN, which is reported
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
