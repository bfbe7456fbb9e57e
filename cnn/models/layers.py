"""Variants of Keras's layers that are independent of the number of workers, or faster on CPUs."""

import math
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.keyed_random import hash_tensor
from cnn.models.batch import TrainingBatch, current_batch
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


class GroupBatchNormalization(keras.layers.Layer):
    """Batch normalisation (Ioffe, Szegedy, 2015) over fixed groups of the global batch.

    Each group of samples, 32 for example, is normalised by its own mean and variance, as if it were a batch. Groups are
    never divided between workers, so that the number of workers does not change the result. Padding does not count.

    The moving statistics, used outside training, follow the mean of all the batch's values and their unbiased variance
    within the groups (algorithm 2 of the paper), pooled: a partial group is weighted by its number of values, and a
    group of a single value, which has a mean but no variance, is left out of the variance. If no group has a variance
    (an epoch's last batch is one sample with 1x1 maps), the moving variance does not change; Keras lets it shrink,
    PyTorch refuses such a batch. The layer's output for a single value is beta, and no gradient passes.

    A layer that is not trainable uses its moving statistics in training, too.

    Args:
        momentum: decay of the moving statistics per step.
        epsilon: constant added to the variance.
    """

    looks_at_groups = True
    """Marks layers that process a group of samples jointly: their networks are trained in groups."""

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for maps of `input_shape`, (samples, height, width, channels)."""

        def weight(name: str, initializer: str, *, trainable: bool = True) -> Tensor:
            # Not in mixed precision's shorter type, which would be too coarse for statistics.
            return self.add_weight(
                shape=(input_shape[-1],), initializer=initializer, trainable=trainable, autocast=False, name=name
            )

        self.gamma, self.beta = weight("gamma", "ones"), weight("beta", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", "ones", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Normalises maps (samples, height, width, channels)."""
        return tf.cast(self._normalised(tf.cast(inputs, self.variable_dtype), training), self.compute_dtype)

    def _normalised(self, inputs: Tensor, training: bool | None) -> Tensor:
        if not training or not self.trainable:
            scale = self.gamma.value * tf.math.rsqrt(self.moving_variance.value + self.epsilon)
            return inputs * scale + (self.beta.value - self.moving_mean.value * scale)
        batch = current_batch()
        mean, variance = self._group_statistics(inputs, batch)
        scale = self.gamma.value * tf.math.rsqrt(variance + self.epsilon)
        shift = self.beta.value - mean * scale
        per_sample = [tf.repeat(each, batch.group_size, axis=0)[:, None, None, :] for each in (scale, shift)]
        return inputs * per_sample[0] + per_sample[1]

    def _group_statistics(self, inputs: Tensor, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Mean and variance (groups, channels) of each group, from the weighted means and variances of its samples."""
        sample_mean, sample_variance = tf.nn.moments(inputs, (1, 2))

        def over_group(values: Tensor) -> Tensor:
            return tf.reduce_sum(tf.reshape(values, (-1, batch.group_size, values.shape[-1])), 1)

        weights = tf.cast(batch.weights, inputs.dtype)[:, None]
        real = over_group(weights)
        # A group of padding alone has no influence, but is normalised as well to avoid overflow.
        weights += tf.repeat(1 - tf.minimum(real, 1), batch.group_size, axis=0)
        count = over_group(weights)
        mean = over_group(weights * sample_mean) / count
        distance = sample_mean - tf.repeat(mean, batch.group_size, axis=0)
        variance = over_group(weights * (sample_variance + tf.square(distance))) / count
        self._contribute(batch, real, mean, variance, inputs.shape[1] * inputs.shape[2])
        return mean, variance

    def _contribute(self, batch: TrainingBatch, real: Tensor, mean: Tensor, variance: Tensor, positions: int) -> None:
        """Adds what these groups, of `real` samples (groups, 1), contribute to the moving statistics' next values."""
        samples = tf.cast(batch.count, mean.dtype)
        share = tf.reduce_sum(real) / samples
        # Degrees of freedom in the complete batch: values per channel less one for each group's estimated mean.
        degrees_of_freedom = samples * positions - tf.math.ceil(samples / batch.group_size)
        for moving, total, divisor in (
            (self.moving_mean, tf.reduce_sum(real * mean, 0), samples),
            (self.moving_variance, tf.reduce_sum(real * positions * variance, 0), degrees_of_freedom),
        ):
            kept = tf.where(divisor > 0, tf.constant(self.momentum, mean.dtype), 1)
            contribution = (1 - kept) * tf.math.divide_no_nan(total, divisor)
            batch.statistics.append((moving, share * kept * moving.value + contribution))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


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
