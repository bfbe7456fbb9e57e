"""The guard against training out of step: all ranks must hold the same weights, bit for bit."""

import zlib
from collections.abc import Sequence
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.errors import RunError


def check_in_step(cluster: Cluster, variables: Sequence[Any], step: int) -> None:
    """Compares a checksum of every variable over the ranks; every rank calls it at the same step.

    Args:
        cluster: the workers.
        variables: Keras variables.
        step: named in the error.

    Raises:
        RunError: a rank differs from rank 0; on every rank, naming the rank and the first variable that differs.
    """
    checksums = [zlib.crc32(variable.value.numpy().tobytes()) for variable in variables]
    by_rank = cluster.gather(checksums)
    for rank, theirs in enumerate(by_rank):
        for variable, mine, first in zip(variables, theirs, by_rank[0], strict=True):
            if mine != first:
                error = RunError(
                    f"at step {step} rank {rank} (on {cluster.peers[rank][0]}) is out of step with rank 0, first in "
                    f"{variable.path}: the run is stopped; its last checkpoint is from when all were equal."
                )
                error.agreed = True
                raise error
