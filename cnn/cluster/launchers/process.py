"""This process's rank, as the launcher assigned it, and its share of the host's devices."""

import dataclasses
import os
import socket
from collections.abc import Mapping
from typing import Any, Literal

from cnn.cluster.devices.unused_gpu import why_unlisted, why_unusable
from cnn.cluster.launchers.other_launchers import refuse_other_launchers
from cnn.cpu_quota import cpu_quota
from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """This process's position in the job, from the launcher's environment variables."""

    controller: Literal["none", "mpi", "gloo"]
    """How Horovod connects the processes; none for a process started without a launcher."""

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    bound: bool
    """Whether the launcher has already bound this process to a subset of the host's cores."""


ALONE = Launch(controller="none", rank=0, world_size=1, local_rank=0, local_size=1, bound=False)


def launch_from_environment(environ: Mapping[str, str]) -> Launch:
    """Reads the variables of mpirun (Open MPI) or horovodrun; returns ALONE if neither started this process.

    Raises:
        UserError: variables are missing or invalid, or are those of a launcher whose processes Horovod cannot connect.
    """
    if environ.get("HOROVOD_ELASTIC") == "1" and "/" not in environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", "/"):
        raise UserError(
            "Horovod's own horovodrun executes whatever anyone sends to the port of an elastic job (CVE-2024-10190): "
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
            f"the launcher's environment variables are incomplete ({error}): start the job with horovodrun or mpirun."
        ) from error
    return Launch(controller=controller, bound=bound, **numbers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cores:
    """The processor cores that one rank computes on."""

    pinned: frozenset[int] | None
    """The cores to bind to; None to leave the affinity unchanged."""

    threads: int

    shared: int = 0
    """The number of cores that all ranks of the host share if there are fewer cores than ranks; else 0."""


def share_cores(launch: Launch, allowed: frozenset[int], host_cores: int, quota: int | None = None) -> Cores:
    """Divides a host's cores among its ranks.

    Args:
        launch: this rank's position in the job.
        allowed: cores that this process may run on now.
        host_cores: number of cores of the host.
        quota: number of cores that the container may use at a time, whichever they are; None without a limit.
    """
    if quota is not None and quota < len(allowed):
        return Cores(pinned=None, threads=max(1, quota // launch.local_size))
    if launch.bound and len(allowed) < host_cores:
        # Bound to a core, it has that core to itself; bound to a socket, it shares it with some of the host's ranks.
        sharing = max(1, round(launch.local_size * len(allowed) / host_cores))
        return Cores(pinned=None, threads=max(1, len(allowed) // sharing))
    if launch.local_size > len(allowed):
        return Cores(pinned=None, threads=1, shared=len(allowed))
    cores = sorted(allowed)
    first = launch.local_rank * len(cores) // launch.local_size
    last = (launch.local_rank + 1) * len(cores) // launch.local_size
    # The same number of threads for each rank, as all wait for the slowest.
    return Cores(pinned=frozenset(cores[first:last]), threads=len(cores) // launch.local_size)


DEVICES = ("gpu", "cpu")
"""The values of CNN_DEVICE: what ranks must compute on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices that one rank computes on."""

    cores: Cores
    gpu: Literal["none", "exclusive", "shared"]
    mistake: UserError | None
    """Why the rank does not have the requested device."""

    unused_gpu: str = ""
    """Why the rank uses no GPU although its host has one; empty if it has none, or if processors were requested."""


def take_devices(launch: Launch, requested: str | None, *, reproducible: bool = False) -> Devices:
    """Binds this process to its cores and, if there are any, to a GPU; to be called before TensorFlow computes.

    Args:
        launch: this process's position in the job.
        requested: gpu, cpu, or None for a GPU if there is one.
        reproducible: compute each operation by a single thread, as what it rounds depends on their number; several
            threads compute several operations.
    """
    cores = share_cores(launch, frozenset(os.sched_getaffinity(0)), os.cpu_count() or 1, cpu_quota())
    if cores.pinned is not None and launch.world_size > 1:
        os.sched_setaffinity(0, cores.pinned)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1 if reproducible else cores.threads)
    # One thread computes; a second one, even on a single core, passes finished gradients to Horovod meanwhile.
    operations = 1 if launch.world_size == 1 and cores.threads == 1 else 2
    tf.config.threading.set_inter_op_parallelism_threads(max(operations, cores.threads) if reproducible else operations)
    gpus, unused = ([], "") if requested == "cpu" else _find_gpus()
    visible = [gpus[launch.local_rank % len(gpus)]] if gpus else []
    tf.config.set_visible_devices(visible, "GPU")
    for gpu in visible:
        tf.config.experimental.set_memory_growth(gpu, True)
    mistake = _device_mistake(requested, len(gpus), unused)
    use: Literal["exclusive", "shared"] = "exclusive" if launch.local_size <= len(gpus) else "shared"
    return Devices(cores=cores, gpu=use if visible else "none", mistake=mistake, unused_gpu=unused)


def _find_gpus() -> tuple[list[Any], str]:
    """The GPUs that TensorFlow can use; if there are none, the reason, which is empty if the host has none either."""
    import tensorflow as tf

    try:
        gpus = tf.config.list_physical_devices("GPU")
    except tf.errors.OpError as error:  # TensorFlow computes nothing then, not even on processors
        reason = why_unlisted(os.environ) or f"TensorFlow fails to list it ({error.message}): make `nvidia-smi` work."
        raise UserError(f"no GPU can be used on {socket.gethostname()}: {reason}") from error
    reason = why_unusable() if gpus else why_unlisted(os.environ)
    return ([] if reason else gpus), reason


def _device_mistake(requested: str | None, gpus: int, reason: str) -> UserError | None:
    if requested != "gpu" or gpus:
        return None
    if reason:
        return UserError(f"no GPU can be used on {socket.gethostname()}: {reason}")
    return UserError(
        f"{socket.gethostname()} has no GPU (there is no /dev/nvidia0): do not request one, or start this on a host "
        "that has one."
    )
