"""Batch normalisation that does not depend on the number of workers."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cnn.models.batch import TrainingBatch, current_batch
from cnn.tensor import Tensor


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
        if training and self.trainable:
            return self._by_groups(inputs, current_batch())
        scale = self.gamma.value * tf.math.rsqrt(self.moving_variance.value + self.epsilon)
        shift = self.beta.value - self.moving_mean.value * scale
        return tf.cast(tf.cast(inputs, self.variable_dtype) * scale + shift, self.compute_dtype)

    def _by_groups(self, inputs: Tensor, batch: TrainingBatch) -> Tensor:
        normalise = _normalise_by_xla() if tf.config.get_visible_devices("GPU") else normalise_groups
        gamma, beta = self.gamma.value, self.beta.value
        outputs, real, mean, variance = normalise(inputs, batch.weights, gamma, beta, batch.group_size, self.epsilon)
        self._contribute(batch, real, mean, variance, inputs.shape[1] * inputs.shape[2])
        return outputs

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


def normalise_groups(
    inputs: Tensor, weights: Tensor, gamma: Tensor, beta: Tensor, group_size: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalises each group of samples by its own mean and variance.

    Computes in the type of `gamma`, whatever type the maps have.

    Args:
        inputs: maps (samples, height, width, channels).
        weights: 1 for each sample, or 0 for padding, (samples,).
        gamma: factor of each channel.
        beta: term of each channel.
        group_size: samples of a group.
        epsilon: constant added to the variance.

    Returns:
        The normalised maps; the number of samples of each group that are not padding, (groups, 1); their mean and
        variance, (groups, channels).
    """
    maps = tf.cast(inputs, gamma.dtype)
    sample_mean, sample_variance = tf.nn.moments(maps, (1, 2))

    def over_group(values: Tensor) -> Tensor:
        return tf.reduce_sum(tf.reshape(values, (-1, group_size, values.shape[-1])), 1)

    def of_sample(values: Tensor) -> Tensor:
        # Not by tf.repeat, whose gradient XLA cannot compile for a GPU.
        return tf.reshape(values[:, None] + tf.zeros((group_size, 1), values.dtype), (-1, values.shape[-1]))

    weights = tf.cast(weights, maps.dtype)[:, None]
    real = over_group(weights)
    # A group of padding alone has no influence, but is normalised as well to avoid overflow.
    weights += of_sample(1 - tf.minimum(real, 1))
    count = over_group(weights)
    mean = over_group(weights * sample_mean) / count
    variance = over_group(weights * (sample_variance + tf.square(sample_mean - of_sample(mean)))) / count
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    shift = beta - mean * scale
    outputs = maps * of_sample(scale)[:, None, None, :] + of_sample(shift)[:, None, None, :]
    return tf.cast(outputs, inputs.dtype), real, mean, variance


@functools.cache
def _normalise_by_xla() -> Callable[..., Any]:
    """`normalise_groups` for GPUs, where single operations would read and write the maps a dozen times.

    XLA makes few kernels of it, forward and backward; cuDNN's batch normalisation knows neither groups nor padding. As
    one function for all layers, it is compiled once for all maps of one size.
    """
    compiled: Callable[..., Any] = tf.function(normalise_groups, autograph=False, jit_compile=True)
    return compiled
