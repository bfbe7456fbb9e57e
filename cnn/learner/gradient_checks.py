"""What a step looks at in its exchanged gradients: their norms, and whether they are finite."""

from collections.abc import Sequence

import tensorflow as tf

from cnn.optim.norms import Completed
from cnn.tensor import Tensor


def norms_if(wanted: Tensor, gradients: Sequence[Tensor], completed: Completed) -> Tensor:
    """The gradients' norms (gradients,) if they are wanted, otherwise zeros, which take no time.

    Args:
        wanted: bool (), the same on every rank.
        gradients: the gradients.
        completed: makes sums over these gradients complete.
    """

    def norms() -> Tensor:
        return tf.sqrt(completed(2 * tf.stack([tf.nn.l2_loss(gradient) for gradient in gradients]), "norms"))

    return tf.cond(wanted, norms, lambda: tf.zeros(len(gradients), gradients[0].dtype))


def are_finite(gradients: Sequence[Tensor], completed: Completed) -> Tensor:
    """Whether all numbers of all gradients are finite, bool (), the same on every rank."""
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    faults = tf.cast(tf.logical_not(tf.stack(finite)), gradients[0].dtype)
    return tf.reduce_all(tf.equal(completed(faults, "faults"), 0))
