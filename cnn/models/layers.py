"""Variants of Keras's layers that are independent of the number of workers, or faster on CPUs."""

import math
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.keyed_random import hash_tensor
from cnn.models.batch import current_batch
from cnn.models.bias import add_bias
from cnn.models.conv2d import Conv2D, pair_columns
from cnn.tensor import Tensor


class Dropout(keras.layers.Layer):
    """Inverted dropout (Srivastava et al., JMLR 2014) whose mask does not depend on the number of workers.

    A unit is dropped according to a hash of (the sample's key, this layer's name, the unit's index). Keras's own layer
    draws from a random generator's state, so that masks would depend on the number of workers.

    Args:
        rate: fraction of units set to zero, in [0, 1). The others are scaled by 1 / (1 - rate).
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units of a tensor (samples, ...) in training."""
        if not training or self.rate == 0:
            return inputs
        units = math.prod(inputs.shape[1:])
        bits = hash_tensor(current_batch().keys, units, salt=zlib.crc32(self.name.encode()))
        kept = bits >= tf.constant(round(self.rate * 2**32), tf.uint32)
        scale = tf.cast(kept, inputs.dtype) * tf.constant(1 / (1 - self.rate), inputs.dtype)
        return inputs * tf.reshape(scale, tf.shape(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class LocalResponseNormalization(keras.layers.Layer):
    """Divides by (k + alpha * the sum of the squares of neighbouring channels) ** 0.75; AlexNet, section 3.3.

    Equal to tf.nn.local_response_normalization, which takes more than twice the time on CPUs and has no float64. The
    sum is a product with a band matrix; the power -0.75 is s * sqrt(s) with s the inverse square root.
    """

    def __init__(self, radius: int = 2, k: float = 2.0, alpha: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius, self.k, self.alpha = radius, k, alpha

    def call(self, inputs: Tensor) -> Tensor:
        """Normalises maps (samples, height, width, channels)."""
        channels = inputs.shape[-1]
        positions = np.arange(channels)
        band = np.abs(positions[:, None] - positions) <= self.radius
        maps = tf.cast(inputs, self.variable_dtype)  # in a shorter type the sum would vanish beside k
        kernel = tf.constant((self.alpha * band)[None, None], maps.dtype)
        root = tf.math.rsqrt(self.k + tf.nn.conv2d(tf.square(maps), kernel, 1, "VALID"))
        return tf.cast(maps * (root * tf.sqrt(root)), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "radius": self.radius, "k": self.k, "alpha": self.alpha}


class FewChannelConv2D(Conv2D):
    """A convolution to few channels, about 1.4 times as fast as `Conv2D` on CPUs, with the same weights.

    oneDNN computes 16 output channels in one vector, so that with 6 most of its work is wasted. Here two neighbouring
    columns of pixels become one column of twice the channels (without moving data), and the kernel, repeated for each
    of them and padded by a column of zeros, computes both: 5x5 pixels to 6 channels become 5x3 column pairs to 12.

    It supports square kernels of side 4n + 1 (5, 9), stride 1 and padding "same"; on a GPU, or for images of odd width,
    it computes as `Conv2D` does.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps images (samples, height, width, channels) to (samples, height, width, filters)."""
        _, height, width, channels = inputs.shape
        if width % 2 or tf.config.get_visible_devices("GPU"):
            return super().call(inputs)
        columns = tf.reshape(inputs, (-1, height, width // 2, 2 * channels))
        outputs = tf.nn.conv2d(columns, pair_columns(tf.convert_to_tensor(self.kernel)), 1, "SAME")
        outputs = add_bias(outputs, tf.tile(tf.convert_to_tensor(self.bias), [2]))
        return tf.reshape(self.activation(outputs), (-1, height, width, self.filters))


class HalvingAveragePooling2D(keras.layers.Layer):
    """Average pooling of 2x2 pixels, equal to Keras's AveragePooling2D(2).

    Its gradient, computed by two copies, takes a third of the time.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Halves the height and width of maps (samples, height, width, channels), rounded down."""
        _, height, width, channels = inputs.shape
        if height % 2 or width % 2:
            return tf.nn.avg_pool2d(inputs, 2, 2, "VALID")

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def pool(maps: Tensor) -> tuple[Tensor, Tensor]:
            def gradient(upstream: Tensor) -> Tensor:
                quarter = upstream / 4
                rows = tf.reshape(tf.concat([quarter, quarter], 3), (-1, height // 2, width * channels))
                return tf.reshape(tf.concat([rows, rows], 2), (-1, height, width, channels))

            return tf.nn.avg_pool2d(maps, 2, 2, "VALID"), gradient

        return pool(inputs)
