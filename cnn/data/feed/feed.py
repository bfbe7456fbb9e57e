"""From images, in memory or in the store, to batches on the device."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from cnn.data.dataset import Dataset, Part
from cnn.data.feed.augmentation import Augmentation, AugmentationSettings, Mixed, centre_offset
from cnn.data.feed.pixels import Pixels, ResidentPixels, StreamedPixels, default_resident_mb
from cnn.data.jpeg_images import JpegImages
from cnn.tensor import Tensor

Read: TypeAlias = Callable[[np.ndarray], tuple[Tensor, Tensor]]
"""`Feed.read`, or a function like it."""


class Feed:
    """Makes batches of images. Keeps the images on the device as uint8 or, if they are large, reads them as needed.

    Args:
        dataset: source of the mean and standard deviation of the pixels, and of the network's input shape.
        part: images and labels: the data set's training part, for example.
        dtype: floating type of the batches' images.
        augmentation: changes to training batches; none if None.
        resident_mb: maximum megabytes of a part that is kept on the device; None for `default_resident_mb`.

    Raises:
        UserError: as `Augmentation`.
        RunError: the store's file cannot be opened.
    """

    def __init__(
        self,
        dataset: Dataset,
        part: Part,
        dtype: str,
        augmentation: AugmentationSettings | None = None,
        *,
        resident_mb: int | None,
    ) -> None:
        limit = default_resident_mb() if resident_mb is None else resident_mb
        pixels_class = ResidentPixels if part.images.nbytes <= limit * 10**6 else StreamedPixels
        self._pixels: Pixels = pixels_class(part.images)
        self.streamed_mb = 0 if pixels_class is ResidentPixels else -(-part.images.nbytes // 10**6)
        """Megabytes of images that are read as needed; 0 if they are in memory."""

        self.decodes_jpeg = bool(self.streamed_mb) and isinstance(part.images, JpegImages)
        """Whether these are decoded as they are read."""

        self._labels = part.labels.astype(np.int64)
        self._shape = dataset.input_shape
        height, width, _ = self._shape
        stored_height, stored_width, _ = part.images.shape[1:]
        self._centre_crop_corner = centre_offset(stored_height, height), centre_offset(stored_width, width)
        settings = augmentation or AugmentationSettings()
        self._augmentation = Augmentation(settings, part.images.shape[1:], self._shape)
        self._needs_augmentation_crop = settings.crop != "centre" or settings.flip
        # One factor for each of a row's numbers: broadcasting over three channels alone takes four times as long.
        deviation = np.maximum(dataset.standard_deviation, 1e-3)
        self._scale = tf.constant(np.tile(1 / (255 * deviation), width), dtype)
        self._shift = tf.constant(np.tile(-np.asarray(dataset.mean) / deviation, width), dtype)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the images that stay on the device."""
        return self._pixels.resident_bytes

    @property
    def dtype(self) -> Any:
        """Floating type of the batches' images."""
        return self._scale.dtype

    def read(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Returns the arguments of a compiled function for some steps: a tensor from which `batch` or `training_batch`
        makes images, (steps, samples, ...), and int64 labels (steps, samples).

        Args:
            indices: int32 (steps, samples).

        Raises:
            RunError: the store's file cannot be read.
        """
        return self._pixels.read(indices), self._labels_of(indices)

    def specs(self, samples: int) -> tuple[Any, Any]:
        """The shapes and types of the result of `read` for any number of steps."""
        return self._pixels.spec(samples), tf.TensorSpec((None, samples), tf.int64)

    def max_steps(self, samples: int) -> int:
        """Maximum number of steps to read for one call, so that it takes little memory."""
        return self._pixels.max_steps(samples)

    @contextlib.contextmanager
    def reading_ahead(self, coming: Iterator[np.ndarray]) -> Iterator[Read]:
        """A function like `read` that may read in advance. It must be called for the steps of `coming`, in that order.

        Args:
            coming: indices of each step, int32 (samples,), all of the same length; another thread may iterate over it.
        """
        with self._pixels.reading_ahead(coming) as read_pixels:
            yield lambda indices: (read_pixels(indices), self._labels_of(indices))

    def batch(self, images: Tensor) -> Tensor:
        """Standardised images (samples, height, width, channels), cropped at the centre.

        Args:
            images: one step's part of the first result of `read`.
        """
        return self._standardised(self._centre(self._pixels.of_step(images)))

    def training_batch(self, images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor, group_size: int) -> Mixed:
        """Standardised and augmented images with their labels.

        Args:
            images: one step's part of the first result of `read`.
            labels: one step's part of its second result.
            keys: uint32 (samples,), from which the random numbers are computed.
            weights: floating (samples,), 0 for padding.
            group_size: samples per group; images are mixed within a group only.
        """
        augmentation, dtype = self._augmentation, self._scale.dtype
        pixels = self._pixels.of_step(images)
        pixels = augmentation.crop(pixels, keys, dtype) if self._needs_augmentation_crop else self._centre(pixels)
        if augmentation.settings.colour_jitter:
            pixels = augmentation.colour(tf.cast(pixels, dtype), keys)
        images = augmentation.erase(self._standardised(pixels), keys)
        return augmentation.mix(images, labels, keys, weights, group_size)

    def pixels_of(self, images: Tensor) -> np.ndarray:
        """The pixels, uint8, of standardised images (samples, height, width, channels)."""
        rows = tf.cast(tf.reshape(images, (len(images), self._shape[0], -1)), tf.float32)
        scale, shift = (tf.cast(each, tf.float32) for each in (self._scale, self._shift))
        pixels = tf.clip_by_value((rows - shift) / scale, 0, 255)
        return np.asarray(tf.cast(tf.round(tf.reshape(pixels, images.shape)), tf.uint8))

    def _labels_of(self, indices: np.ndarray) -> Tensor:
        return tf.constant(self._labels[indices])

    def _centre(self, pixels: Tensor) -> Tensor:
        (top, left), (height, width, _) = self._centre_crop_corner, self._shape
        return pixels[:, top : top + height, left : left + width]

    def _standardised(self, pixels: Tensor) -> Tensor:
        height, width, channels = self._shape
        rows = tf.cast(tf.reshape(pixels, (-1, height, width * channels)), self._scale.dtype)
        return tf.reshape(rows * self._scale + self._shift, (-1, height, width, channels))
