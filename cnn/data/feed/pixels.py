"""Sources of a feed's pixels: the device's memory, or the store.

Getting the pixels of a step takes two calls. Outside a compiled function, `read` returns a tensor for several steps,
which becomes an argument of the function and has the shape and type that `spec` returns. Inside the function, `of_step`
turns one step's part of this tensor into pixels.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.python.client import device_lib

from cnn.data.dataset import Images
from cnn.data.feed.read_ahead import ReadAhead, StoredImages
from cnn.data.image_block import as_tensor
from cnn.data.jpeg_images import JpegImages
from cnn.tensor import Tensor

STREAMED_BYTES = 128 << 20
"""Maximum bytes of pixels that are read ahead, and that one compiled call takes."""


ReadPixels: TypeAlias = Callable[[np.ndarray], Tensor]
"""`Pixels.read`, or a function like it."""


class Pixels(Protocol):
    """The pixels of images, by the images' indices."""

    resident_bytes: int
    """Bytes of the images that stay on the device."""

    def read(self, indices: np.ndarray) -> Tensor:
        """Returns a tensor (steps, samples, ...) for indices (steps, samples); RunError if the store is unreadable."""

    def spec(self, samples: int) -> Any:
        """The shape and type of the result of `read` for any number of steps."""

    def of_step(self, images: Tensor) -> Tensor:
        """The pixels, uint8 (samples, height, width, channels), of one step's part (samples, ...) of such a tensor."""

    def max_steps(self, samples: int) -> int:
        """Maximum number of steps to read for one call."""

    def reading_ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager[ReadPixels]:
        """A function like `read` that may read in advance. It must be called for the steps of `coming`, in that order.

        Args:
            coming: indices of each step, int32 (samples,), all of the same length; another thread may iterate over it.
        """


def default_resident_mb() -> int:
    """How many megabytes of images to keep on the device: 2048, or a quarter of what TensorFlow may use of a GPU's."""
    if not tf.config.get_visible_devices("GPU"):
        return 2048
    gpu = next(each for each in device_lib.list_local_devices() if each.device_type == "GPU")
    return int(gpu.memory_limit // 4 // 10**6)


class ResidentPixels:
    """Holds all images, uint8 (samples, height, width, channels), on the device and gathers them there."""

    def __init__(self, images: Images) -> None:
        # A variable, because TensorFlow can gather uint8 from a variable on a GPU, but not from a constant: it would
        # copy all images to the host in every step.
        self._images = tf.Variable(np.asarray(images), trainable=False)
        self.resident_bytes = images.nbytes

    def read(self, indices: np.ndarray) -> Tensor:
        return tf.constant(indices, tf.int64)

    def spec(self, samples: int) -> Any:
        return tf.TensorSpec((None, samples), tf.int64)

    def of_step(self, images: Tensor) -> Tensor:
        return tf.gather(self._images, images)

    def max_steps(self, samples: int) -> int:
        return sys.maxsize

    def reading_ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager[ReadPixels]:
        return contextlib.nullcontext(self.read)


class StreamedPixels:
    """Reads images, uint8 (samples, height, width, channels), from the store; RunError if it cannot be read."""

    def __init__(self, images: Images) -> None:
        self._images = images if isinstance(images, JpegImages) else StoredImages(images)
        self.resident_bytes = 0
        self._shape = images.shape[1:]
        self._max_samples = STREAMED_BYTES // int(np.prod(self._shape))

    def read(self, indices: np.ndarray) -> Tensor:
        return tf.concat([self._read_step(step) for step in indices], 0)

    def spec(self, samples: int) -> Any:
        return tf.TensorSpec((None, samples, *self._shape), tf.uint8)

    def of_step(self, images: Tensor) -> Tensor:
        return images

    def max_steps(self, samples: int) -> int:
        return max(1, self._max_samples // samples)

    @contextlib.contextmanager
    def reading_ahead(self, coming: Iterator[np.ndarray]) -> Iterator[ReadPixels]:
        reader = ReadAhead(self._read_step, coming, self._max_samples)
        try:
            yield lambda indices: tf.concat([reader.take(step) for step in indices], 0)
        finally:
            reader.close()

    def _read_step(self, indices: np.ndarray) -> Tensor:
        # (1, samples, ...), because on a GPU TensorFlow can concatenate uint8, but not stack it.
        return as_tensor(self._images.read(indices)[np.newaxis])
