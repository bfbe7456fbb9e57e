"""Going on from a checkpoint: which one, and how every rank gets its state."""

import dataclasses
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.data.dataset import Dataset
from cnn.errors import UserError
from cnn.training.checkpoints import Checkpoint, CheckpointFolder, load_checkpoint
from cnn.training.loop import Progress
from cnn.training.state import restore_state


def last_checkpoint(
    cluster: Cluster, checkpoints: CheckpointFolder, *, resume: bool
) -> tuple[Checkpoint | None, list[str]]:
    """On rank 0 the checkpoint to go on from, if there is to be one and is one, and what is wrong with later ones."""
    found: tuple[Checkpoint | None, list[str]] = (None, [])
    with cluster.together():
        if cluster.is_chief and resume:
            found = checkpoints.load_last()
    return found


def best_checkpoint(cluster: Cluster, checkpoints: CheckpointFolder) -> Checkpoint | None:
    """On rank 0 the best checkpoint."""
    best = None
    with cluster.together():
        if cluster.is_chief:
            arrays, record = load_checkpoint(checkpoints.best)
            best = Checkpoint(path=checkpoints.best, arrays=arrays, record=record)
    return best


def restore_everywhere(
    cluster: Cluster, checkpoint: Checkpoint | None, variables: dict[str, Any], dataset: Dataset
) -> Progress:
    """Gives every rank rank 0's state: that of its checkpoint, or the initial one (None).

    Raises:
        UserError: the checkpoint is of other data, another network or another optimizer.
    """
    progress = Progress()
    with cluster.together():
        if cluster.is_chief and checkpoint is not None:
            checksum, progress = _read_record(checkpoint)
            if checksum != dataset.checksum:
                raise UserError(f"{checkpoint.path} was trained on other data: give the --data_dir of that time.")
            restore_state(variables, checkpoint.arrays, str(checkpoint.path))
    cluster.broadcast([variable.value for variable in variables.values()])
    return Progress(**cluster.gather(dataclasses.asdict(progress))[0])


def _read_record(checkpoint: Checkpoint) -> tuple[str, Progress]:
    """The checksum of the data that a checkpoint was trained on, and how far it had come."""
    try:
        return checkpoint.record["data_checksum"], Progress(**checkpoint.record["progress"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{checkpoint.path} is no checkpoint of this program's training; remove it.") from error
