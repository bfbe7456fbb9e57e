"""Where a feed's pixels come from: the device's memory, or the store.

Either is asked twice for the pixels of a step. `read`, outside a compiled function, gives a tensor for some steps that
the function gets, as `spec` says; in the function `of_step` makes the pixels of a step's part of it.
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
"""Of pixels that are read ahead, at most, and that one compiled call gets."""


class Pixels(Protocol):
    """Gives the pixels of images by their indices."""

    def read(self, indices: np.ndarray) -> Tensor:
        """A tensor (steps, samples, ...) for indices (steps, samples); RunError if the store's file cannot be read."""

    def spec(self, samples: int) -> Any:
        """The shape and type of what `read` gives for any number of steps."""

    def of_step(self, images: Tensor) -> Tensor:
        """The pixels, uint8 (samples, height, width, channels), for a step's part (samples, ...) of such a tensor."""

    def max_steps(self, samples: int) -> int:
        """How many steps may be read for one call."""

    def ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager["Pixels"]:
        """What may read before it is asked to. It is then asked for the steps of `coming`, in that order.

        Args:
            coming: the indices of each step, int32 (samples,), all of one length; another thread may draw from it.
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
    """Reads images, uint8 (samples, height, width, channels), from where they are stored; RunError if it cannot."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = StoredImages(images)
        self._shape = images.shape[1:]
        self._most_samples = STREAMED_BYTES // int(images[0].nbytes)
        self._take = self._read_step

    def read(self, indices: np.ndarray) -> Tensor:
        return tf.stack([self._take(step) for step in indices])

    def spec(self, samples: int) -> Any:
        return tf.TensorSpec((None, samples, *self._shape), tf.uint8)

    def of_step(self, images: Tensor) -> Tensor:
        return images

    def max_steps(self, samples: int) -> int:
        return max(1, self._most_samples // samples)

    @contextlib.contextmanager
    def ahead(self, coming: Iterator[np.ndarray]) -> Iterator[Pixels]:
        reader = ReadAhead(self._read_step, coming, self._most_samples)
        pixels = copy.copy(self)
        pixels._take = reader.take
        try:
            yield pixels
        finally:
            reader.close()

    def _read_step(self, indices: np.ndarray) -> Tensor:
        return tf.constant(self._images.read(indices))
