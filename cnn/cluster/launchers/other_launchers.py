"""Detects launchers whose processes Horovod cannot connect: each would train separately, without any warning."""

import dataclasses
import json
import re
from collections.abc import Mapping

from cnn.errors import UserError

_SEVERAL = 2
"""The number of processes to assume of a launcher that sets no variable for it."""


@dataclasses.dataclass(frozen=True)
class _Launcher:
    """The variables that a launcher sets in each process; both kinds must be set, as leftovers have only one."""

    name: str

    sizes: tuple[str, ...]
    """The variables whose product is the number of processes."""

    places: tuple[str, ...]
    """Variables of which at least one is set: the index of the process, from 0 or 1, or the rendezvous address."""

    size: int = 1
    """The number of processes if none of `sizes` is set."""


_LAUNCHERS = (
    _Launcher("srun", ("SLURM_STEP_NUM_TASKS",), ("SLURM_PROCID",)),
    _Launcher("Flux", ("FLUX_JOB_SIZE",), ("FLUX_TASK_RANK",)),
    _Launcher("jsrun", ("JSM_NAMESPACE_SIZE",), ("JSM_NAMESPACE_RANK",)),
    _Launcher("blaunch", ("LSB_DJOB_NUMPROC",), ("LSF_PM_TASKID",)),
    _Launcher("MVAPICH's mpirun", ("MV2_COMM_WORLD_SIZE",), ("MV2_COMM_WORLD_RANK",)),
    _Launcher("MVAPICH's mpirun", ("MVP_COMM_WORLD_SIZE",), ("MVP_COMM_WORLD_RANK",)),
    _Launcher("the mpirun of another MPI", ("PMI_SIZE",), ("PMI_RANK",)),
    _Launcher("Horovod", ("HOROVOD_SIZE",), ("HOROVOD_RANK",)),
    _Launcher("torchrun, or a launcher with the same variables,", ("WORLD_SIZE",), ("RANK",)),
    _Launcher(
        "Kubeflow's Trainer",
        ("PET_NNODES", "PET_NPROC_PER_NODE"),
        ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_RDZV_ENDPOINT"),
    ),
    _Launcher("the launcher that set TF_CONFIG", ("TF_CONFIG",), ("TF_CONFIG",)),
    _Launcher("Vertex AI", ("CLUSTER_SPEC",), ("CLUSTER_SPEC",)),
    _Launcher("SageMaker", ("SM_HOSTS",), ("SM_CURRENT_HOST",)),
    _Launcher("AWS Batch", ("AWS_BATCH_JOB_NUM_NODES",), ("AWS_BATCH_JOB_NODE_INDEX",)),
    _Launcher("JAX's launcher", ("JAX_NUM_PROCESSES",), ("JAX_PROCESS_ID",)),
    _Launcher("Paddle's launcher", ("PADDLE_TRAINERS_NUM",), ("PADDLE_TRAINER_ID",)),
    _Launcher("Volcano", ("VC_WORKER_NUM",), ("VC_TASK_INDEX", "VK_TASK_INDEX")),
    # It does not set the number of processes; Kubeflow's Trainer does for the Jobs that it creates.
    _Launcher("an Indexed Job of Kubernetes", ("PET_NNODES",), ("JOB_COMPLETION_INDEX",), _SEVERAL),
)
"""Not included: launchers of independent runs, such as job arrays and GNU parallel, and allocations in which no
processes have been started yet."""


def refuse_other_launchers(environ: Mapping[str, str]) -> None:
    """Raises UserError if one of these launchers has started this process as one of several."""
    for launcher in _LAUNCHERS:
        count = _count(launcher, environ)
        place = next((name for name in launcher.places if _is_place(environ.get(name, ""), count)), None)
        if count < 2 or place is None:
            continue
        found = list(dict.fromkeys(name for name in (*launcher.sizes, place) if name in environ))
        number = count if set(launcher.sizes) & set(found) else "several"
        raise UserError(
            f"{launcher.name} started {number} processes, which Horovod cannot connect "
            f"({', '.join(f'{name}={environ[name]}' for name in found)}): start them with mpirun or horovodrun of "
            f".venv/bin, with launch/mpirun.sh, or under Slurm with launch/slurm.sbatch; to run this process alone, "
            f"start it by `env -u {' -u '.join(found)} ...`."
        )


def _count(launcher: _Launcher, environ: Mapping[str, str]) -> int:
    found = [name for name in launcher.sizes if name in environ]
    count = 1 if found else launcher.size
    for name in found:
        count *= _size(environ[name])
    return count


def _size(value: str) -> int:
    """The number of processes in a variable's value: 4, 2:4 (at most 4), or the length of JSON lists; otherwise 1."""
    number = re.fullmatch(r"(?:[0-9]{1,9}:)?([0-9]{1,9})", value.strip())
    if number:
        return int(number[1])
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        return 1
    if isinstance(listed, dict):
        roles = listed.get("cluster")
        return sum(map(_length, roles.values())) if isinstance(roles, dict) else 1
    return _length(listed)


def _length(listed: object) -> int:
    return len(listed) if isinstance(listed, list | dict) else 0


def _is_place(value: str, count: int) -> bool:
    """Whether a value can be the index of one of `count` processes; any name or address counts."""
    return bool(value) and (not re.fullmatch(r"-?[0-9]+", value) or 0 <= int(value[:10]) <= count)
