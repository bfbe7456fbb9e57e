"""Which of Open MPI's ways ranks take to each other, so that none listens to other machines without need."""

import os
from collections.abc import Mapping

from cnn.cluster.process import Launch

MEMORY_PER_RANK = 8 << 20
"""Bytes of shared memory; Open MPI takes a little more than 4 MB."""

_SHARED_MEMORY = "/dev/shm"
_TRANSPORTS = "OMPI_MCA_btl"


def transports(launch: Launch, environ: Mapping[str, str], shared_memory: int) -> str | None:
    """What OMPI_MCA_btl is to be: without tcp where all ranks share a host, else as it is.

    With tcp, ranks that only ever speak by shared memory listen on all addresses, whatever btl_tcp_if_include says.

    Args:
        launch: this rank's place.
        environ: the environment, in which the user may have chosen.
        shared_memory: free bytes of it; without enough, Open MPI needs tcp.
    """
    chosen = environ.get(_TRANSPORTS)
    alone = launch.local_size == launch.world_size and shared_memory >= launch.local_size * MEMORY_PER_RANK
    if launch.controller != "mpi" or not alone or (chosen and not chosen.startswith("^")):
        return chosen
    excluded = (chosen or "^").removeprefix("^").split(",")
    return "^" + ",".join(dict.fromkeys([*filter(None, excluded), "tcp"]))


def close_ports(launch: Launch) -> None:
    """Does that for this process. Before MPI is started."""
    try:
        found = os.statvfs(_SHARED_MEMORY)
        shared_memory = found.f_bavail * found.f_frsize
    except OSError:
        shared_memory = 0
    chosen = transports(launch, os.environ, shared_memory)
    if chosen is not None:
        os.environ[_TRANSPORTS] = chosen
