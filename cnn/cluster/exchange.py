"""The exchange of gradients: sums over the ranks, in buckets of a fixed order."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cnn.cluster.collectives import Cluster

BUCKET_BYTES = 16 * 2**20


def make_buckets(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Groups tensors, last first (the order in which gradients appear), into buckets of about `limit` bytes.

    Args:
        sizes: bytes of each tensor.
        limit: a bucket is closed before it would grow beyond this; a larger tensor has a bucket of its own, so that
            it need not be copied into a joint one.

    Returns:
        Positions in `sizes`, each once.
    """
    buckets: list[list[int]] = []
    room = 0
    for position in reversed(range(len(sizes))):
        if not buckets or sizes[position] > room:
            buckets.append([])
            room = limit
        buckets[-1].append(position)
        room -= sizes[position]
    return buckets


class GradientExchange:
    """Sums lists of tensors over the ranks, inside a compiled step.

    The result is the same on every rank and from run to run: buckets hold the same tensors always, and each is one
    allreduce of its own.
    """

    def __init__(self, cluster: Cluster, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._cluster = cluster
        self._bucket_bytes = bucket_bytes

    def __call__(self, tensors: Sequence[Any]) -> list[Any]:
        """Tensors of one dtype and known shapes in; their sums over the ranks out, in the same order."""
        if self._cluster.world_size == 1:
            return list(tensors)
        sums: list[Any] = [None] * len(tensors)
        sizes = [tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors]
        for number, bucket in enumerate(make_buckets(sizes, self._bucket_bytes)):
            parts = [tf.reshape(tensors[position], [-1]) for position in bucket]
            joint = parts[0] if len(parts) == 1 else tf.concat(parts, 0)
            total = self._cluster.sum_in_graph(joint, f"gradients.{number}")
            lengths = [tensors[position].shape.num_elements() for position in bucket]
            for position, part in zip(bucket, tf.split(total, lengths), strict=True):
                sums[position] = tf.reshape(part, tensors[position].shape)
        return sums
