"""What layers need to know of the batch they are trained on, besides its images.

A Keras model is called with images alone, so that it stays an ordinary Keras model; a training step opens
`training_on(batch)` around the call, and the layers that depend on who a sample is ask `current_batch()`.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from cnn.tensor import Tensor


class Factors(NamedTuple):
    """What a fully connected layer's gradient is the product of."""

    inputs: Tensor
    """Tensor (samples, m)."""

    outputs: Tensor
    """Tensor (samples, n): what the layer's activation is given. The loss's gradient by it is the other factor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """The samples of one rank's part of a global batch."""

    keys: Tensor
    """uint32 tensor (samples,): follows from the seed, the epoch and the sample's place in it, never from the rank."""

    weights: Tensor
    """Floating tensor (samples,): 1, or 0 for a sample that only fills up."""

    count: Tensor
    """int32 tensor (): real samples of the whole global batch."""

    group_size: int
    """Samples that are normalised together: the rank's samples are whole groups, one behind the other."""

    statistics: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)
    """Filled by layers: a variable, and what the rank's groups add to its next value. The step sums it over the ranks,
    too, which gives that value."""

    factors: dict[str, Factors] = dataclasses.field(default_factory=dict)
    """Filled by fully connected layers, by the path of their kernel."""


_current: contextvars.ContextVar[TrainingBatch | None] = contextvars.ContextVar("training_batch", default=None)


@contextlib.contextmanager
def training_on(batch: TrainingBatch) -> Iterator[None]:
    """Makes `batch` the one that layers see while a model is called."""
    token = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(token)


def batch_in_training() -> TrainingBatch | None:
    """The batch being trained on; None outside `training_on`."""
    return _current.get()


def current_batch() -> TrainingBatch:
    """The batch being trained on; RuntimeError when a network is called for training outside `training_on`."""
    batch = batch_in_training()
    if batch is None:
        raise RuntimeError("a network was called with training=True outside training_on(batch)")
    return batch
