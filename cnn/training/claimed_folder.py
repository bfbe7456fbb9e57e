"""The folder that all ranks of a run write to: rank 0 chooses it, keeps it from others, and makes it."""

import os
from pathlib import Path
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.cluster.job import Job
from cnn.training.checkpoints import CheckpointFolder
from cnn.training.run_folder import (
    check_room,
    check_same,
    check_unused,
    default_folder,
    holds_run,
    make_new_folder,
    reserve_folder,
    start_folder,
)
from cnn.training.settings import TrainingSettings
from cnn.training.state import read_state


def claim_folder(cluster: Cluster, settings: TrainingSettings, job: Job) -> Path:
    """The run folder; rank 0 chooses, and checks that this run may have it."""
    if job.lock is not None and not cluster.is_chief:  # as it was before workers changed
        os.close(job.lock)
        job.lock = None
    run_dir = settings.run.run_dir
    default = default_folder(settings.data.data, settings.model.model)
    folder = _of_rank_0(cluster, job.folder or (default if run_dir is None else Path(run_dir)))
    with cluster.together():
        if cluster.is_chief and job.folder is None:
            if settings.run.resume:
                length = {"epochs", "steps"} if settings.schedule.depends_on_the_end else set()
                if holds_run(folder):
                    _reserve(job, folder)
                check_same(folder, settings.merged, must_agree=length)
            elif run_dir is not None and not job.again:
                check_unused(folder)
    return folder


def begin_folder(
    cluster: Cluster, folder: Path, settings: TrainingSettings, job: Job, variables: dict[str, Any]
) -> Path:
    """Makes the folder of a new run, when all that can be refused has been looked at.

    Returns:
        Its name, which has got a number where nobody had asked for a name and another run had taken it.
    """
    with cluster.together():
        if cluster.is_chief:
            checkpoints = CheckpointFolder(folder / "checkpoints")
            checkpoints.check_link()
            if not job.again:
                size = sum(values.nbytes for values in read_state(variables).values())
                check_room(folder, size, checkpoints.bytes())
            if settings.run.run_dir is None and job.folder is None:
                folder = make_new_folder(folder)
            _reserve(job, folder)
            if not (settings.run.resume or (job.again and holds_run(folder))):
                check_unused(folder)  # another job may have taken it meanwhile
                start_folder(folder, {**settings.merged, "run_dir": str(folder)})
    job.folder = _of_rank_0(cluster, folder)
    return job.folder


def _of_rank_0(cluster: Cluster, folder: Path) -> Path:
    return Path(cluster.gather(str(folder))[0])


def _reserve(job: Job, folder: Path) -> None:
    if job.lock is None:
        job.lock = reserve_folder(folder)
