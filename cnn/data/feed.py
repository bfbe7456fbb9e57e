"""From images in memory to batches on the device."""

from typing import Any

import numpy as np
import tensorflow as tf

from cnn.data.dataset import Part


class ResidentFeed:
    """Holds a whole set on the device as uint8; a batch is a gather there.

    Args:
        part: the images and labels.
        mean: per channel, in units of pixel / 255.
        standard_deviation: likewise.
        dtype: of the batches' images.
    """

    def __init__(self, part: Part, mean: tuple[float, ...], standard_deviation: tuple[float, ...], dtype: str) -> None:
        self._images = tf.constant(part.images)
        self._labels = tf.constant(part.labels)
        deviation = np.maximum(standard_deviation, 1e-3)
        self._scale = tf.constant(1 / (255 * deviation), dtype)
        self._shift = tf.constant(-np.asarray(mean) / deviation, dtype)

    def batch(self, indices: Any) -> tuple[Any, Any]:
        """Standardised images (samples, height, width, channels) and int32 labels (samples,) of int32 indices."""
        pixels = tf.cast(tf.gather(self._images, indices), self._scale.dtype)
        return pixels * self._scale + self._shift, tf.gather(self._labels, indices)
