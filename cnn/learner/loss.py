"""The loss that training minimises."""

import numpy as np
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


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights of classes in the loss, float64 (classes,), by which all classes that occur weigh the same in total.

    Their mean over the samples is 1, so that the loss, which is divided by the number of samples, keeps its scale.

    Args:
        labels: int (samples,), of all training samples.
        classes: number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    occurs = counts > 0
    weights = np.zeros(classes)
    weights[occurs] = len(labels) / (occurs.sum() * counts[occurs])
    return weights


def weighted(losses: Tensor, labels: Tensor, class_weights: np.ndarray | None) -> Tensor:
    """Losses (samples,) times the weights (classes,) of their labels' classes; None for equal weights."""
    if class_weights is None:
        return losses
    return losses * tf.gather(tf.constant(class_weights, losses.dtype), labels)
