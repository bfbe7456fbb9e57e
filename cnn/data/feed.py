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
        # One factor for each of a row's numbers: broadcasting over three channels alone takes four times as long.
        row = part.images.shape[2]
        deviation = np.maximum(standard_deviation, 1e-3)
        self._scale = tf.constant(np.tile(1 / (255 * deviation), row), dtype)
        self._shift = tf.constant(np.tile(-np.asarray(mean) / deviation, row), dtype)

    def batch(self, indices: Any) -> tuple[Any, Any]:
        """Standardised images (samples, height, width, channels) and int32 labels (samples,) of int32 indices."""
        pixels = tf.gather(self._images, indices)
        _, height, width, channels = pixels.shape
        rows = tf.cast(tf.reshape(pixels, (-1, height, width * channels)), self._scale.dtype)
        images = tf.reshape(rows * self._scale + self._shift, (-1, height, width, channels))
        return images, tf.gather(self._labels, indices)
