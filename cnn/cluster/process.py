"""What the launcher decided for this process: its rank, and which of the host's devices it gets."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Literal

from cnn.cluster.other_launchers import refuse_other_launchers
from cnn.cpu_quota import cpu_quota
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
    """Reads what mpirun (Open MPI) or horovodrun put into the environment; a lone process where neither did.

    Raises:
        UserError: the environment is not complete, or of a launcher that cannot connect the processes.
    """
    if environ.get("HOROVOD_ELASTIC") == "1" and "/" not in environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", "/"):
        raise UserError(
            "an elastic job of Horovod's own horovodrun runs what any stranger sends to its port (CVE-2024-10190): "
            "start it with launch/elastic.sh, or with horovodrun of .venv/bin."
        )
    if environ.get("HOROVOD_CONTROLLER") == "gloo" and "HOROVOD_RANK" in environ:
        return _read(environ, "gloo", "HOROVOD_{}", bound=False)
    launch = ALONE
    if "OMPI_COMM_WORLD_SIZE" in environ:
        launch = _read(environ, "mpi", "OMPI_COMM_WORLD_{}", bound=environ.get("OMPI_MCA_orte_bound_at_launch") == "1")
    if launch.world_size == 1:
        refuse_other_launchers(environ)
    return launch


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


def share_cores(launch: Launch, allowed: frozenset[int], host_cores: int, quota: int | None = None) -> Cores:
    """Divides a host's cores among its ranks.

    Args:
        launch: this rank's place.
        allowed: cores that this process may run on now.
        host_cores: how many the host has.
        quota: how many a container may use at a time, if it has a limit; on whichever of the host's.
    """
    if quota is not None and quota < len(allowed):
        return Cores(pinned=None, threads=max(1, quota // launch.local_size))
    if launch.bound and len(allowed) < host_cores:
        # Bound to a core, it has that core; bound to a socket, it shares it with its part of the host's ranks.
        sharing = max(1, round(launch.local_size * len(allowed) / host_cores))
        return Cores(pinned=None, threads=max(1, len(allowed) // sharing))
    if launch.local_size > len(allowed):
        return Cores(pinned=None, threads=1, shared=len(allowed))
    cores = sorted(allowed)
    first = launch.local_rank * len(cores) // launch.local_size
    last = (launch.local_rank + 1) * len(cores) // launch.local_size
    # As many threads for each rank: all wait for the slowest.
    return Cores(pinned=frozenset(cores[first:last]), threads=len(cores) // launch.local_size)


DEVICES = ("gpu", "cpu")
"""What ranks can be told to compute on, by CNN_DEVICE."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """What one rank computes on."""

    cores: Cores
    gpu: Literal["none", "own", "shared"]
    """Whether it has a GPU, and to itself."""

    mistake: UserError | None
    """Why it does not have what was wanted."""


def take_devices(launch: Launch, wanted: str | None) -> Devices:
    """Gives this process its cores and, where there are GPUs, one of them. Before TensorFlow computes anything.

    Args:
        launch: this process's place.
        wanted: gpu, cpu, or None for a GPU where there is one.
    """
    cores = share_cores(launch, frozenset(os.sched_getaffinity(0)), os.cpu_count() or 1, cpu_quota())
    if cores.pinned is not None and launch.world_size > 1:
        os.sched_setaffinity(0, cores.pinned)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores.threads)
    # One thread computes; on a lone core, too, another one hands to Horovod what is ready meanwhile.
    tf.config.threading.set_inter_op_parallelism_threads(1 if launch.world_size == 1 and cores.threads == 1 else 2)
    gpus = tf.config.list_physical_devices("GPU")
    mine = [gpus[launch.local_rank % len(gpus)]] if gpus and wanted != "cpu" else []
    tf.config.set_visible_devices(mine, "GPU")
    for gpu in mine:
        tf.config.experimental.set_memory_growth(gpu, True)
    mistake = _device_mistake(wanted, len(gpus))
    kind: Literal["own", "shared"] = "own" if launch.local_size <= len(gpus) else "shared"
    return Devices(cores=cores, gpu=kind if mine else "none", mistake=mistake)


def _device_mistake(wanted: str | None, gpus: int) -> UserError | None:
    if wanted == "gpu" and not gpus:
        return UserError(
            "there is no GPU that TensorFlow can use: leave out the device gpu, or run `bash launch/setup.sh --gpu` "
            "where nvidia-smi lists one."
        )
    return None
