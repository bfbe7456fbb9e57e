"""The folder that all ranks of a run write to: rank 0 chooses it, keeps it from others, and makes it."""

import os
from pathlib import Path
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.cluster.job import Job
from cnn.training.checkpoints import CheckpointFolder
from cnn.training.run_folder import (
    check_room,
    check_unused,
    choose_folder,
    holds_run,
    reopen_folder,
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
    name = choose_folder(settings.run.run_dir, settings.data.data, settings.model.model)
    folder = Path(cluster.gather(str(job.folder or name))[0])
    with cluster.together():
        if cluster.is_chief and job.folder is None:
            if settings.run.resume:
                length = {"epochs", "steps"} if settings.schedule.depends_on_the_end else set()
                if holds_run(folder):
                    _reserve(job, folder)
                reopen_folder(folder, settings.merged, must_agree=length)
            elif not job.again:
                check_unused(folder)
    return folder


def begin_folder(
    cluster: Cluster, folder: Path, settings: TrainingSettings, job: Job, variables: dict[str, Any]
) -> None:
    """Makes the folder of a new run, when all that can be refused has been looked at."""
    with cluster.together():
        if cluster.is_chief:
            if not job.again:
                size = sum(values.nbytes for values in read_state(variables).values())
                check_room(folder, size, CheckpointFolder(folder / "checkpoints").bytes())
            _reserve(job, folder)
            if not (settings.run.resume or (job.again and holds_run(folder))):
                check_unused(folder)  # another job may have taken it meanwhile
                start_folder(folder, {**settings.merged, "run_dir": str(folder)})
    job.folder = folder


def _reserve(job: Job, folder: Path) -> None:
    if job.lock is None:
        job.lock = reserve_folder(folder)
