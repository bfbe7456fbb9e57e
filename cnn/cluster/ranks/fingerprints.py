"""The check against diverging replicas: all ranks must hold the same weights, bit for bit."""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from cnn.cluster.ranks.collectives import Cluster
from cnn.errors import RunError, diverged


def check_in_step(cluster: Cluster, variables: Sequence[Any], step: int) -> None:
    """Compares a checksum of every variable over the ranks; collective: every rank calls it at the same step.

    Args:
        cluster: the workers.
        variables: Keras variables.
        step: the current step, for the error message.

    Raises:
        RunError: a rank differs from rank 0, or a variable is not finite; raised on every rank, naming the rank and the
            first such variable.
    """
    values = [np.asarray(tf.convert_to_tensor(variable.value)) for variable in variables]  # without copies
    local = [(zlib.crc32(value.reshape(-1).view(np.uint8).data), _is_finite(value)) for value in values]
    digests = cluster.gather(hashlib.sha256(repr(local).encode()).hexdigest())
    if len(set(digests)) > 1:
        _raise_difference(cluster, variables, cluster.gather(local), step)
    for variable, (_, finite) in zip(variables, local, strict=True):
        if not finite:
            raise diverged(step, f"{variable.path} is not finite")


def _raise_difference(cluster: Cluster, variables: Sequence[Any], by_rank: list[list[Any]], step: int) -> NoReturn:
    """Raises RunError for the first rank whose fingerprints, one for each variable, differ from rank 0's."""
    rank, variable = next(
        (rank, variable)
        for rank, theirs in enumerate(by_rank)
        for variable, fingerprint, expected in zip(variables, theirs, by_rank[0], strict=True)
        if fingerprint != expected
    )
    raise RunError(
        f"at step {step} the weights of rank {rank} (on {cluster.peers[rank][0]}) differ from those of rank 0, first "
        f"in {variable.path}: the run is stopped; all ranks agreed at its last checkpoint.",
        agreed=True,
    )


def _is_finite(value: np.ndarray) -> bool:
    """Whether all elements are finite; avoids an array of booleans, whose allocation takes longer than the check."""
    return not value.size or bool(np.isfinite(value.min()) and np.isfinite(value.max()))
