"""Sources of a feed's pixels: the device's memory, or the store.

A step's pixels are obtained in two stages. Outside a compiled function, `read` returns a tensor for several steps, of
shape and type `spec`. The function takes this tensor, and `of_step` turns a step's slice of it into pixels.
"""

import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from cnn.data.read_ahead import ReadAhead, StoredImages
from cnn.tensor import Tensor

STREAMED_BYTES = 128 << 20
"""Maximum bytes of pixels that are read ahead, and that one compiled call takes."""


class Pixels(Protocol):
    """A source of images' pixels by index."""

    def read(self, indices: np.ndarray) -> Tensor:
        """A tensor (steps, samples, ...) for indices (steps, samples); RunError if the store's file cannot be read."""

    def spec(self, samples: int) -> Any:
        """The shape and type of the tensor from `read`, for any number of steps."""

    def of_step(self, images: Tensor) -> Tensor:
        """The pixels, uint8 (samples, height, width, channels), of a step's slice (samples, ...) of `read`'s tensor."""

    def max_steps(self, samples: int) -> int:
        """The maximum number of steps that may be read for one call."""

    def ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager["Pixels"]:
        """A source that may read ahead, provided that the steps of `coming` are then read in this order.

        Args:
            coming: indices per step, int32 (samples,), all of one length; may be consumed in another thread.
        """


class ResidentPixels:
    """Holds all images, uint8 (samples, height, width, channels), on the device and gathers them there."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = tf.constant(images)

    def read(self, indices: np.ndarray) -> Tensor:
        return tf.constant(indices)

    def spec(self, samples: int) -> Any:
        return tf.TensorSpec((None, samples), tf.int32)

    def of_step(self, images: Tensor) -> Tensor:
        return tf.gather(self._images, images)

    def max_steps(self, samples: int) -> int:
        return sys.maxsize

    def ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager[Pixels]:
        return contextlib.nullcontext(self)


class StreamedPixels:
    """Reads images, uint8 (samples, height, width, channels), from the store's file; RunError if that fails."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = StoredImages(images)
        self._shape = images.shape[1:]
        self._max_samples = STREAMED_BYTES // int(images[0].nbytes)
        self._take = self._read_step

    def read(self, indices: np.ndarray) -> Tensor:
        return tf.stack([self._take(step) for step in indices])

    def spec(self, samples: int) -> Any:
        return tf.TensorSpec((None, samples, *self._shape), tf.uint8)

    def of_step(self, images: Tensor) -> Tensor:
        return images

    def max_steps(self, samples: int) -> int:
        return max(1, self._max_samples // samples)

    @contextlib.contextmanager
    def ahead(self, coming: Iterator[np.ndarray]) -> Iterator[Pixels]:
        reader = ReadAhead(self._read_step, coming, self._max_samples)
        pixels = copy.copy(self)
        pixels._take = reader.take
        try:
            yield pixels
        finally:
            reader.close()

    def _read_step(self, indices: np.ndarray) -> Tensor:
        return tf.constant(self._images.read(indices))
