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
        shares = tf.cast(batch.shares_of_groups, gamma.dtype)
        outputs, mean, variance = normalise(inputs, shares, gamma, beta, self.epsilon)
        self._contribute(batch, mean, variance, inputs.shape[1] * inputs.shape[2])
        return outputs

    def _contribute(self, batch: TrainingBatch, mean: Tensor, variance: Tensor, positions: int) -> None:
        """Adds what these groups' statistics (groups, channels) contribute to the moving statistics' next values."""
        variance_weights, has_variance = batch.variance_weights(positions)
        kept = tf.where(has_variance, tf.constant(self.momentum, mean.dtype), 1)
        share = tf.cast(batch.share, mean.dtype)
        for moving, statistic, weights, momentum in (
            (self.moving_mean, mean, batch.mean_weights, self.momentum),
            (self.moving_variance, variance, variance_weights, kept),
        ):
            contribution = (1 - momentum) * tf.reduce_sum(tf.cast(weights, mean.dtype) * statistic, 0)
            batch.statistics.append((moving, share * momentum * moving.value + contribution))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def normalise_groups(
    inputs: Tensor, shares: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each group of samples by its own mean and variance.

    Computes in the type of `gamma`, whatever type the maps have. The gradient passes through the normalised maps alone.
    It is written by hand, because TensorFlow's would consist of three times as many operations.

    Args:
        inputs: maps (samples, height, width, channels).
        shares: each sample's share in the statistics of its group, (groups, samples of a group, 1, 1).
        gamma: factor of each channel.
        beta: term of each channel.
        epsilon: constant added to the variance.

    Returns:
        The normalised maps, and the groups' mean and variance, (groups, channels).
    """
    positions, channels = inputs.shape[1] * inputs.shape[2], inputs.shape[3]
    in_groups = (-1, shares.shape[1], positions, channels)
    maps = tf.reshape(tf.cast(inputs, gamma.dtype), in_groups)
    sample_mean = tf.reduce_mean(maps, 2, keepdims=True)
    sample_variance = tf.reduce_mean(tf.math.squared_difference(maps, sample_mean), 2, keepdims=True)
    mean = tf.reduce_sum(shares * sample_mean, 1, keepdims=True)
    deviation = tf.math.squared_difference(sample_mean, mean)
    variance = tf.reduce_sum(shares * (sample_variance + deviation), 1, keepdims=True)
    inverse = tf.math.rsqrt(variance + epsilon)

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def normalised(inputs: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Any]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """The paper's section 3, with the statistics' dependence on each value weighted by its sample's share."""
            of_outputs = tf.reshape(tf.cast(upstream, gamma.dtype), in_groups)
            centred = maps - mean
            of_beta = tf.reduce_sum(of_outputs, (1, 2), keepdims=True)
            of_gamma = inverse * tf.reduce_sum(of_outputs * centred, (1, 2), keepdims=True)
            factor = gamma * inverse
            share = factor * (shares / positions)
            of_inputs = of_outputs * factor - centred * (share * (inverse * of_gamma)) - share * of_beta
            of_inputs = tf.cast(tf.reshape(of_inputs, tf.shape(upstream)), inputs.dtype)
            return of_inputs, tf.reduce_sum(of_gamma, (0, 1, 2)), tf.reduce_sum(of_beta, (0, 1, 2))

        scale = gamma * inverse
        outputs = maps * scale + (beta - mean * scale)
        return tf.cast(tf.reshape(outputs, tf.shape(inputs)), inputs.dtype), gradient

    return normalised(inputs, gamma, beta), tf.reshape(mean, (-1, channels)), tf.reshape(variance, (-1, channels))


@functools.cache
def _normalise_by_xla() -> Callable[..., Any]:
    """`normalise_groups` for GPUs, where single operations would read and write the maps a dozen times.

    XLA makes few kernels of it, forward and backward; cuDNN's batch normalisation knows neither groups nor padding. As
    one function for all layers, it is compiled once for all maps of one size.
    """
    compiled: Callable[..., Any] = tf.function(normalise_groups, autograph=False, jit_compile=True)
    return compiled
