"""Norms of tensors that are identical on every rank, to the last bit.

TensorFlow sums a complete tensor in as many parts as there are threads. Ranks may have different numbers of threads,
and weights that depend on such sums would diverge. The sums here are over rows, each summed by a single thread.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.tensor import Tensor

Completed = Callable[[Tensor, str], Tensor]
"""Makes sums over gradients (gradients,) complete where each rank has only a part of a gradient; see
`cnn.cluster.exchange.sharded_kernels.ShardedKernels.completed`. The second argument names the call."""


def norms(tensors: Sequence[Tensor], path: str, sharded: ShardedKernels = NOT_SHARDED) -> list[Tensor]:
    """The Euclidean norms of a variable, its gradient or the like, each a tensor of at least one dimension.

    Args:
        tensors: tensors of the variable's shape; of a divided kernel, this rank's rows of them.
        path: the variable's path.
        sharded: the kernels that are divided among the ranks, which all call this function alike.
    """
    sums = tf.stack([_sum_of_squares(tensor) for tensor in tensors])
    found: list[Tensor] = tf.unstack(tf.sqrt(sharded.completed(sums, [path] * len(tensors), f"{path}.norms")))
    return found


def clipped(
    gradients: Sequence[Tensor], max_norm: float, completed: Completed = lambda sums, name: sums
) -> list[Tensor]:
    """The gradients, scaled down to a global norm of at most `max_norm` (Pascanu et al., 2013, algorithm 1).

    Args:
        gradients: the gradients, of some of which a rank may have only a part.
        max_norm: the largest norm.
        completed: makes sums over these gradients complete.
    """
    squares = completed(tf.stack([_sum_of_squares(gradient) for gradient in gradients]), "squares")
    global_norm = tf.sqrt(tf.reduce_sum(squares))
    scale = max_norm / tf.maximum(global_norm, max_norm)
    return [gradient * scale for gradient in gradients]


def _sum_of_squares(tensor: Tensor) -> Tensor:
    rows = tf.reshape(tf.square(tensor), (-1, tensor.shape[-1]))
    return tf.reduce_sum(tf.reduce_sum(rows, 1))
