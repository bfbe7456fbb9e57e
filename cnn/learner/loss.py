"""The loss that training makes smaller."""

import tensorflow as tf

from cnn.tensor import Tensor


def cross_entropy(labels: Tensor, logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Of the softmax of logits (samples, classes) against int32 labels (samples,): floating (samples,).

    Args:
        labels: from 0 on.
        logits: one for each class.
        smoothing: the part of each label that is spread evenly over all classes.
    """
    own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if not smoothing:
        return own
    even = tf.reduce_logsumexp(logits, 1) - tf.reduce_mean(logits, 1)
    return (1 - smoothing) * own + smoothing * even
