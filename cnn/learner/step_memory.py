"""Prediction of the memory of a training step on its device, by kind."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cnn.learner.graph_memory import GraphRun, nodes_of
from cnn.learner.pool_allocator import SMALL_ON_CPU, Chunk, PoolAllocator
from cnn.learner.step import TracedStep

_STEPS = 3
"""Steps until the chunks of the allocator no longer change much."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes on the device of one worker, at the moment of a step when it uses most."""

    weights: int
    """Weights and moving statistics."""

    optimizer: int
    """The optimizer's variables, and the average of the weights."""

    gradients: int
    """Gradients, the buffers of the exchange, and copies of weights that are updated while they are still read."""

    activations: int
    """Outputs of layers that the backward pass needs, and its intermediate results."""

    images: int
    """The images that stay on the device."""

    unused: int
    """What TensorFlow's allocator hands out beyond what is requested."""

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(dataclasses.asdict(self).values())


def predict_memory(traced: TracedStep, weights: Sequence[Any], others: Sequence[Any], images: int) -> StepMemory:
    """Predicts the memory of a step.

    Args:
        traced: the step, from `TrainingStep.trace`.
        weights: the network's variables.
        others: the variables of optimizer and average.
        images: bytes of the images that stay on the device.
    """
    allocator = PoolAllocator(1 if tf.config.get_visible_devices("GPU") else SMALL_ON_CPU)
    chunks: dict[int, collections.deque[Chunk]] = collections.defaultdict(collections.deque)
    for variable in weights:
        temporary = [allocator.allocate(_bytes(variable)) for _ in range(2)]  # random numbers, and scaled ones
        chunks[_bytes(variable)].append(allocator.allocate(_bytes(variable)))
        for chunk in temporary:
            allocator.free(chunk)
    for size in [*map(_bytes, others), images]:
        allocator.allocate(size)
    step, piece = (None if each is None else nodes_of(each) for each in traced)
    runs = (GraphRun(step or [], allocator, chunks, piece or []).run() for _ in range(_STEPS))
    peak = max(runs, key=lambda run: run.used)
    sizes = [sum(map(_bytes, each)) for each in (weights, others)]
    known = sum(sizes) + peak.gradients + peak.activations + images
    return StepMemory(
        weights=sizes[0],
        optimizer=sizes[1],
        gradients=peak.gradients,
        activations=peak.activations,
        images=images,
        unused=max(0, peak.used - known),
    )


def _bytes(variable: Any) -> int:
    return int(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size)
