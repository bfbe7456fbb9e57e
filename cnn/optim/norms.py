"""Lengths of tensors that are the same on every rank, to the last bit.

TensorFlow adds up a whole tensor in as many parts as there are threads. Ranks may have different numbers of these, and
weights that follow from such a sum would go out of step; the sums here are of rows, each of which one thread adds up.
"""

from collections.abc import Sequence

import tensorflow as tf

from cnn.tensor import Tensor


def norm(values: Tensor) -> Tensor:
    """The Euclidean length of a tensor of any shape but ()."""
    return tf.sqrt(_sum_of_squares(values))


def clipped(gradients: Sequence[Tensor], most: float) -> list[Tensor]:
    """The gradients, scaled down if all together are longer than that (Pascanu et al., 2013, algorithm 1)."""
    length = tf.sqrt(tf.reduce_sum(tf.stack([_sum_of_squares(gradient) for gradient in gradients])))
    scale = most / tf.maximum(length, most)
    return [gradient * scale for gradient in gradients]


def _sum_of_squares(values: Tensor) -> Tensor:
    rows = tf.reshape(tf.square(values), (-1, values.shape[-1]))
    return tf.reduce_sum(tf.reduce_sum(rows, 1))
