"""The data of a training batch that layers need besides the images.

Models are called with images alone, so that they stay ordinary Keras models. A training step makes this call inside
`training_on(batch)`, and the layers that depend on the samples' identity get the batch from `current_batch()`.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

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
