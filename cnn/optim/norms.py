"""Norms of tensors that are identical on every rank, to the last bit.

TensorFlow sums a complete tensor in as many parts as there are threads. Ranks may have different numbers of threads,
and weights that depend on such sums would diverge. The sums here are over rows, each summed by a single thread.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from cnn.tensor import Tensor


def norm(tensor: Tensor) -> Tensor:
    """The Euclidean norm of a tensor of at least one dimension."""
    return tf.sqrt(_sum_of_squares(tensor))


def clipped(
    gradients: Sequence[Tensor], max_norm: float, completed: Callable[[Tensor, str], Tensor] = lambda sums, name: sums
) -> list[Tensor]:
    """The gradients, scaled down to a global norm of at most `max_norm` (Pascanu et al., 2013, algorithm 1).

    Args:
        gradients: the gradients, of some of which a rank may have only a part.
        max_norm: the largest norm.
        completed: makes sums over these gradients (gradients,) complete; its second argument names the call.
    """
    squares = completed(tf.stack([_sum_of_squares(gradient) for gradient in gradients]), "squares")
    global_norm = tf.sqrt(tf.reduce_sum(squares))
    scale = max_norm / tf.maximum(global_norm, max_norm)
    return [gradient * scale for gradient in gradients]


def _sum_of_squares(tensor: Tensor) -> Tensor:
    rows = tf.reshape(tf.square(tensor), (-1, tensor.shape[-1]))
    return tf.reduce_sum(tf.reduce_sum(rows, 1))
