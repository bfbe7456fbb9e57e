"""What a step looks at in its exchanged gradients: their norms, and whether they are finite."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from cnn.tensor import Tensor

Completed = Callable[[Tensor, str], Tensor]
"""Makes sums over gradients (gradients,) complete where each rank has only a part of a gradient; see
`cnn.cluster.exchange.sharded_kernels.ShardedKernels.completed`. The second argument names the call."""


def norms_if(wanted: Tensor, gradients: Sequence[Tensor], completed: Completed) -> Tensor:
    """The gradients' norms (gradients,) if they are wanted, otherwise zeros, which take no time.

    Args:
        wanted: bool (), the same on every rank.
        gradients: the gradients.
        completed: as described above.
    """

    def norms() -> Tensor:
        return tf.sqrt(completed(2 * tf.stack([tf.nn.l2_loss(gradient) for gradient in gradients]), "norms"))

    return tf.cond(wanted, norms, lambda: tf.zeros(len(gradients), gradients[0].dtype))


def are_finite(gradients: Sequence[Tensor], completed: Completed) -> Tensor:
    """Whether all numbers of all gradients are finite, bool (), the same on every rank."""
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    faults = tf.cast(tf.logical_not(tf.stack(finite)), gradients[0].dtype)
    return tf.reduce_all(tf.equal(completed(faults, "faults"), 0))
