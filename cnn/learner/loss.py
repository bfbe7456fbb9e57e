"""The loss that training minimises."""

import tensorflow as tf

from cnn.tensor import Tensor


def cross_entropy(labels: Tensor, logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each sample, floating (samples,).

    Args:
        labels: int64 (samples,), numbered from 0.
        logits: floating (samples, classes).
        smoothing: the part of each label that is spread evenly over all classes.
    """
    if logits.dtype == tf.float64:  # TensorFlow has no sparse form of it for GPUs
        of_labels = tf.nn.softmax_cross_entropy_with_logits(
            tf.one_hot(labels, logits.shape[1], dtype=logits.dtype), logits
        )
    else:
        of_labels = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if not smoothing:
        return of_labels
    of_uniform = tf.reduce_logsumexp(logits, 1) - tf.reduce_mean(logits, 1)
    return (1 - smoothing) * of_labels + smoothing * of_uniform
