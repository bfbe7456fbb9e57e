"""Resuming from a checkpoint: whether it fits, and how every rank gets its state."""

import math
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.data.dataset import Dataset
from cnn.errors import UserError
from cnn.learner.state import restore_state
from cnn.runs.checkpoint_record import check_record
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder, load_checkpoint
from cnn.runs.run_progress import Progress
from cnn.runs.start import Start
from cnn.settings.settings import RunSettings


def check_length(cluster: Cluster, start: Start, run: RunSettings, steps_per_epoch: int) -> int:
    """The steps that a run is to have in the end, on every rank.

    Args:
        cluster: the workers.
        start: what the run starts from.
        run: how long it is to be.
        steps_per_epoch: of this run.

    Raises:
        UserError: more are done already.
    """
    total = run.steps or run.epochs * steps_per_epoch

    def check() -> None:
        done = 0 if start.checkpoint is None else start.checkpoint.record["progress"]["step"]
        if done > total:
            epochs = math.ceil(done / steps_per_epoch)
            enough = f"--epochs {epochs}" if run.steps is None else f"--steps {done}"
            asked = f"--epochs {run.epochs} is {total:,}" if run.steps is None else f"--steps {total} is less"
            raise UserError(
                f"{start.folder} has done {done:,} steps ({done / steps_per_epoch:.4g} epochs), and {asked}: give "
                f"{enough} or more, or choose another --run_dir for a shorter run."
            )

    cluster.on_chief(check)
    return total


def check_data(cluster: Cluster, start: Start, dataset: Dataset) -> None:
    """UserError, on every rank, when a run is to be continued with other data than it was begun with."""

    def check() -> None:
        if start.data_checksum not in (None, dataset.checksum):
            raise UserError(f"{start.folder} was begun with other data: give the --data_dir of that time.")

    cluster.on_chief(check)


def best_checkpoint(cluster: Cluster, checkpoints: CheckpointFolder) -> Checkpoint | None:
    """On rank 0 the best checkpoint; None elsewhere."""

    def load() -> Checkpoint:
        arrays, record = load_checkpoint(checkpoints.best)
        best = Checkpoint(path=checkpoints.best, arrays=arrays, record=record)
        check_record(best)
        return best

    return cluster.on_chief(load)


def restore_everywhere(
    cluster: Cluster, checkpoint: Checkpoint | None, variables: dict[str, Any], dataset: Dataset
) -> Progress:
    """Gives every rank rank 0's state: that of its checkpoint, or the initial one (None).

    Raises:
        UserError: the checkpoint is of other data, another network or another optimizer.
    """

    def restore() -> dict[str, Any]:
        if checkpoint is None:
            return Progress().record()
        if checkpoint.record.get("data_checksum") != dataset.checksum:
            raise UserError(f"{checkpoint.path} was trained on other data: give the --data_dir of that time.")
        restore_state(variables, checkpoint.arrays, str(checkpoint.path))
        return Progress.from_record(checkpoint.record["progress"]).record()

    progress = Progress.from_record(cluster.from_chief(restore))
    cluster.broadcast([variable.value for variable in variables.values()])
    return progress
