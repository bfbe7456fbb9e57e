"""The data of a training batch that layers need besides the images.

Models are called with images alone, so that they stay ordinary Keras models. A training step makes this call inside
`training_on(batch)`, and the layers that depend on the samples' identity get the batch from `current_batch()`.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf

from cnn.tensor import Tensor


class Factors(NamedTuple):
    """Tensors from which the gradient of a fully connected layer's kernel can be computed as a product."""

    inputs: Tensor
    """Tensor (samples, m): the layer's inputs, the first factor."""

    outputs: Tensor
    """Tensor (samples, n): the outputs before the activation. The second factor is the loss's gradient with respect to
    them."""


DividedProduct = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Multiplies a rank's inputs (samples, m) with a kernel that several ranks share. Gives the two tensors of `Factors`,
which belong to the rank's part of the kernel, and the rank's outputs (samples, n)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """One rank's share of a global batch."""

    keys: Tensor
    """uint32 tensor (samples,): depends on the seed, the epoch and the sample's position in it, never on the rank."""

    weights: Tensor
    """Floating-point tensor (samples,): 1, or 0 for padding."""

    count: Tensor
    """int64 tensor (): samples of the complete global batch, without padding."""

    group_size: int
    """Samples that are normalised jointly; the rank's samples are consecutive complete groups."""

    statistics: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)
    """Filled by layers: a variable, and the rank's contribution to its next value. The step sums the contributions of
    all ranks to obtain this value."""

    factors: dict[str, Factors] = dataclasses.field(default_factory=dict)
    """Filled by fully connected layers: their factors by the path of their kernel."""

    divided: Mapping[str, DividedProduct] = dataclasses.field(default_factory=dict)
    """The products with kernels that several ranks share, by the kernel's path."""

    _variance_weights: dict[int, tuple[Tensor, Tensor]] = dataclasses.field(default_factory=dict, init=False)

    @functools.cached_property
    def real_samples(self) -> Tensor:
        """Floating-point tensor (groups,): the number of samples of each group that are not padding."""
        return tf.reduce_sum(self._weights_of_groups, 1)

    @functools.cached_property
    def shares_of_groups(self) -> Tensor:
        """Floating-point tensor (groups, group_size, 1, 1): each sample's share in the statistics of its group.

        The shares of a group add up to 1, and padding has 0. A group of padding alone has no influence, but is
        normalised as well to avoid overflow: there each sample has the same share.
        """
        real = self.real_samples[:, None]
        only_padding = 1 - tf.minimum(real, 1)
        shares = (self._weights_of_groups + only_padding) / (real + only_padding * self.group_size)
        return shares[:, :, None, None]

    @functools.cached_property
    def share(self) -> Tensor:
        """Floating-point tensor (): the rank's share of the global batch's samples."""
        return tf.reduce_sum(self.weights) / self._samples

    @functools.cached_property
    def mean_weights(self) -> Tensor:
        """Floating-point tensor (groups, 1): the share of each group in the global batch's mean."""
        return self.real_samples[:, None] / self._samples

    def variance_weights(self, positions: int) -> tuple[Tensor, Tensor]:
        """The weight of each group in the unbiased estimate of the global batch's variance within groups.

        Args:
            positions: values per sample and channel.

        Returns:
            The weights, floating-point (groups, 1), and whether there is a variance, bool (): not with a single value.
        """
        if positions not in self._variance_weights:
            # Degrees of freedom: values per channel less one for each group's estimated mean.
            degrees_of_freedom = self._samples * positions - tf.math.ceil(self._samples / self.group_size)
            weights = tf.math.divide_no_nan(self.real_samples[:, None] * positions, degrees_of_freedom)
            self._variance_weights[positions] = weights, degrees_of_freedom > 0
        return self._variance_weights[positions]

    @functools.cached_property
    def _samples(self) -> Tensor:
        return tf.cast(self.count, self.weights.dtype)

    @functools.cached_property
    def _weights_of_groups(self) -> Tensor:
        return tf.reshape(self.weights, (-1, self.group_size))


_current: contextvars.ContextVar[TrainingBatch | None] = contextvars.ContextVar("training_batch", default=None)


@contextlib.contextmanager
def training_on(batch: TrainingBatch) -> Iterator[None]:
    """Makes `batch` available to the layers of the models called inside."""
    token = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(token)


def batch_in_training() -> TrainingBatch | None:
    """The batch being trained on; None outside `training_on`."""
    return _current.get()


def current_batch() -> TrainingBatch:
    """The batch being trained on; RuntimeError outside `training_on`."""
    batch = batch_in_training()
    if batch is None:
        raise RuntimeError("a network was called with training=True outside training_on(batch)")
    return batch
