"""From images in memory to batches on the device."""

from typing import Any

import numpy as np
import tensorflow as tf

from cnn.data.augmentation import Augmentation, AugmentationSettings, Mixed
from cnn.data.dataset import Dataset, Part


class ResidentFeed:
    """Holds a whole set on the device as uint8; a batch is a gather there.

    Args:
        dataset: tells the mean and deviation of the pixels and the shape that the network takes.
        part: the images and labels: the data set's training part, say.
        dtype: of the batches' images.
        augmentation: what training batches undergo; nothing when None.
    """

    def __init__(
        self, dataset: Dataset, part: Part, dtype: str, augmentation: AugmentationSettings | None = None
    ) -> None:
        self._images = tf.constant(part.images)
        self._labels = tf.constant(part.labels)
        self._shape = dataset.input_shape
        height, width, _ = self._shape
        stored_height, stored_width, _ = part.images.shape[1:]
        self._corner = (stored_height - height) // 2, (stored_width - width) // 2
        settings = augmentation or AugmentationSettings()
        self._augmentation = Augmentation(settings, part.images.shape[1:], self._shape)
        self._moves = settings.crop != "centre" or settings.flip
        # One factor for each of a row's numbers: broadcasting over three channels alone takes four times as long.
        deviation = np.maximum(dataset.standard_deviation, 1e-3)
        self._scale = tf.constant(np.tile(1 / (255 * deviation), width), dtype)
        self._shift = tf.constant(np.tile(-np.asarray(dataset.mean) / deviation, width), dtype)

    def batch(self, indices: Any) -> tuple[Any, Any]:
        """Standardised images (samples, height, width, channels), cut from the centre, and int32 labels (samples,).

        Args:
            indices: int32 (samples,).
        """
        return self._standardised(self._centre(indices)), tf.gather(self._labels, indices)

    def training_batch(self, indices: Any, keys: Any, weights: Any, group_size: int) -> Mixed:
        """Standardised and augmented images with their labels.

        Args:
            indices: int32 (samples,).
            keys: uint32 (samples,): what the changes follow from.
            weights: floating (samples,): 0 for what only fills up.
            group_size: samples within which images are mixed.
        """
        change, dtype = self._augmentation, self._scale.dtype
        crop = self._moves
        pixels = change.crop(tf.gather(self._images, indices), keys, dtype) if crop else self._centre(indices)
        if change.settings.colour_jitter:
            pixels = change.colour(tf.cast(pixels, dtype), keys)
        images = change.erase(self._standardised(pixels), keys)
        return change.mix(images, tf.gather(self._labels, indices), keys, weights, group_size)

    def _centre(self, indices: Any) -> Any:
        pixels = tf.gather(self._images, indices)
        (top, left), (height, width, _) = self._corner, self._shape
        return pixels[:, top : top + height, left : left + width]

    def _standardised(self, pixels: Any) -> Any:
        height, width, channels = self._shape
        rows = tf.cast(tf.reshape(pixels, (-1, height, width * channels)), self._scale.dtype)
        return tf.reshape(rows * self._scale + self._shift, (-1, height, width, channels))
