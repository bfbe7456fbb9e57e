"""What the launcher decided for this process: its rank, and which of the host's devices it gets."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Literal

from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """This process's place in the job, as the launcher's environment tells it."""

    controller: Literal["none", "mpi", "gloo"]
    """How the processes are connected; none for a process that was started without a launcher."""

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    bound: bool
    """Whether the launcher has already bound this process to some of the host's cores."""


ALONE = Launch(controller="none", rank=0, world_size=1, local_rank=0, local_size=1, bound=False)


def launch_from_environment(environ: Mapping[str, str]) -> Launch:
    """Reads what mpirun (Open MPI) or horovodrun put into the environment; a lone process where neither did."""
    if environ.get("HOROVOD_CONTROLLER") == "gloo" and "HOROVOD_RANK" in environ:
        return _read(environ, "gloo", "HOROVOD_{}", bound=False)
    if "OMPI_COMM_WORLD_SIZE" in environ:
        return _read(environ, "mpi", "OMPI_COMM_WORLD_{}", bound=environ.get("OMPI_MCA_orte_bound_at_launch") == "1")
    return ALONE


def _read(environ: Mapping[str, str], controller: Literal["mpi", "gloo"], pattern: str, *, bound: bool) -> Launch:
    names = {name: pattern.format(name.upper()) for name in ("rank", "local_rank", "local_size")}
    names["world_size"] = pattern.format("SIZE")
    try:
        numbers = {name: int(environ[variable]) for name, variable in names.items()}
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the launcher's environment is not complete ({error}); start the job with horovodrun or mpirun."
        ) from error
    return Launch(controller=controller, bound=bound, **numbers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cores:
    """The processor cores that one rank computes on."""

    pinned: frozenset[int] | None
    """The cores to bind to; None where the process stays where it is."""

    threads: int

    shared: int = 0
    """Of the host, how many cores its ranks have where there is not one for each; else 0."""


def share_cores(launch: Launch, allowed: frozenset[int], host_cores: int) -> Cores:
    """Divides a host's cores among its ranks.

    Args:
        launch: this rank's place.
        allowed: cores that this process may run on now.
        host_cores: how many the host has.
    """
    if launch.bound and len(allowed) < host_cores:
        # Bound to a core, it has that core; bound to a socket, it shares it with its part of the host's ranks.
        sharing = max(1, round(launch.local_size * len(allowed) / host_cores))
        return Cores(pinned=None, threads=max(1, len(allowed) // sharing))
    if launch.local_size > len(allowed):
        return Cores(pinned=None, threads=1, shared=len(allowed))
    cores = sorted(allowed)
    first = launch.local_rank * len(cores) // launch.local_size
    last = (launch.local_rank + 1) * len(cores) // launch.local_size
    return Cores(pinned=frozenset(cores[first:last]), threads=last - first)


def take_devices(launch: Launch) -> Cores:
    """Gives this process its cores and, where there are GPUs, one of them. Before TensorFlow computes anything."""
    cores = share_cores(launch, frozenset(os.sched_getaffinity(0)), os.cpu_count() or 1)
    if cores.pinned is not None and launch.world_size > 1:
        os.sched_setaffinity(0, cores.pinned)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores.threads)
    # One thread computes; on a lone core, too, another one hands to Horovod what is ready meanwhile.
    tf.config.threading.set_inter_op_parallelism_threads(1 if launch.world_size == 1 and cores.threads == 1 else 2)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        mine = gpus[launch.local_rank % len(gpus)]
        tf.config.set_visible_devices(mine, "GPU")
        tf.config.experimental.set_memory_growth(mine, True)
    return cores
