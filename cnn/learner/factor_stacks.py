"""The factors of a rank's micro-batches, which are joined rather than added: their product sums over all samples."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cnn.tensor import Tensor

Factors = list[tuple[Tensor, Tensor]]
Stacks = list[tuple[Any, Any]]
"""Two arrays of tensors, one tensor for each micro-batch, for each pair of factors."""


def stacks_of(first: Factors, pieces: int) -> Stacks:
    """Stacks for `pieces` micro-batches, which hold the first one's factors."""

    def stack_of(factor: Tensor) -> Any:
        return tf.TensorArray(factor.dtype, pieces, element_shape=factor.shape).write(0, factor)

    return [(stack_of(x), stack_of(dy)) for x, dy in first]


def with_factors(stacks: Stacks, number: Tensor, factors: Factors) -> Stacks:
    """The stacks with the factors of another micro-batch."""
    pairs = zip(stacks, factors, strict=True)
    return [(x_stack.write(number, x), dy_stack.write(number, dy)) for (x_stack, dy_stack), (x, dy) in pairs]


def joined(stacks: Stacks, first: Factors, pieces: int) -> Factors:
    """The factors of all micro-batches together, of each of which `first` has the shapes."""

    def joint(stack: Any, shape: Sequence[int]) -> Tensor:
        return tf.ensure_shape(stack.concat(), (pieces * shape[0], *shape[1:]))

    pairs = zip(stacks, first, strict=True)
    return [(joint(x_stack, x.shape), joint(dy_stack, dy.shape)) for (x_stack, dy_stack), (x, dy) in pairs]
