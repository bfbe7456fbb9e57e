"""Restricts Open MPI's transports, so that no rank listens to other machines without need."""

import os
from collections.abc import Mapping

from cnn.cluster.launchers.process import Launch

MEMORY_PER_RANK = 8 << 20
"""Bytes of shared memory; Open MPI uses a little more than 4 MB."""

_SHARED_MEMORY = "/dev/shm"
_TRANSPORTS = "OMPI_MCA_btl"


def transports(launch: Launch, environ: Mapping[str, str], shared_memory: int) -> str | None:
    """The value for OMPI_MCA_btl: excludes tcp if all ranks share a host, otherwise the user's value.

    With tcp, even ranks that communicate only by shared memory listen on all addresses, whatever btl_tcp_if_include
    says.

    Args:
        launch: this rank's position in the job.
        environ: the environment, with the user's value, if any.
        shared_memory: free bytes of shared memory; without enough, Open MPI needs tcp.
    """
    chosen = environ.get(_TRANSPORTS)
    sufficient = launch.local_size == launch.world_size and shared_memory >= launch.local_size * MEMORY_PER_RANK
    if launch.controller != "mpi" or not sufficient or (chosen and not chosen.startswith("^")):
        return chosen
    excluded = (chosen or "^").removeprefix("^").split(",")
    return "^" + ",".join(dict.fromkeys([*filter(None, excluded), "tcp"]))


def close_ports(launch: Launch) -> None:
    """Sets OMPI_MCA_btl for this process; must be called before MPI is initialised."""
    try:
        found = os.statvfs(_SHARED_MEMORY)
        shared_memory = found.f_bavail * found.f_frsize
    except OSError:
        shared_memory = 0
    chosen = transports(launch, os.environ, shared_memory)
    if chosen is not None:
        os.environ[_TRANSPORTS] = chosen
