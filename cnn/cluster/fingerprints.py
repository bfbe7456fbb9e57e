"""The guard against training out of step: all ranks must hold the same weights, bit for bit."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.errors import RunError, diverged


def check_in_step(cluster: Cluster, variables: Sequence[Any], step: int) -> None:
    """Compares a checksum of every variable over the ranks; every rank calls it at the same step.

    Args:
        cluster: the workers.
        variables: Keras variables.
        step: named in the error.

    Raises:
        RunError: a rank differs from rank 0, or all have a variable that is not finite; on every rank, naming the rank
            and the first such variable.
    """
    values = [np.asarray(tf.convert_to_tensor(variable.value)) for variable in variables]  # none is copied
    found = [(zlib.crc32(value.reshape(-1).view(np.uint8).data), _is_finite(value)) for value in values]
    by_rank = cluster.gather(found)
    for rank, theirs in enumerate(by_rank):
        for variable, mine, first in zip(variables, theirs, by_rank[0], strict=True):
            if mine != first:
                raise RunError(
                    f"at step {step} rank {rank} (on {cluster.peers[rank][0]}) is out of step with rank 0, first in "
                    f"{variable.path}: the run is stopped; its last checkpoint is from when all were equal.",
                    agreed=True,
                )
    for variable, (_, finite) in zip(variables, by_rank[0], strict=True):
        if not finite:
            raise diverged(step, f"{variable.path} is not finite")


def _is_finite(value: np.ndarray) -> bool:
    """Of all numbers; without memory for an answer each, which for large weights takes longer than to look at them."""
    return not value.size or bool(np.isfinite(value.min()) and np.isfinite(value.max()))
