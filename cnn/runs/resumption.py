"""Resuming from a checkpoint: checks that it fits, and restores its state on every rank."""

import math
from typing import Any

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset
from cnn.errors import UserError
from cnn.learner.learner import Learner
from cnn.learner.state import divided, restore_state
from cnn.runs.checkpoint_record import check_record
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder, load_checkpoint
from cnn.runs.loop_state import LoopState
from cnn.runs.start import Start
from cnn.settings.settings import RunSettings


def check_length(cluster: Cluster, start: Start, run: RunSettings, steps_per_epoch: int) -> int:
    """Returns the requested total number of steps of a run, on every rank.

    Args:
        cluster: the workers.
        start: what the run starts from.
        run: the settings that hold the requested epochs or steps.
        steps_per_epoch: number of steps per epoch.

    Raises:
        UserError: the run has already done more steps.
    """
    total = run.steps or run.epochs * steps_per_epoch

    def check() -> None:
        done = 0 if start.checkpoint is None else start.checkpoint.record["progress"]["step"]
        if done > total:
            epochs = math.ceil(done / steps_per_epoch)
            sufficient = f"--epochs {epochs}" if run.steps is None else f"--steps {done}"
            requested = f"--epochs {run.epochs} is {total:,}" if run.steps is None else f"--steps {total} is less"
            raise UserError(
                f"{start.folder} has done {done:,} steps ({done / steps_per_epoch:.4g} epochs), but {requested}: give "
                f"{sufficient} or more, or choose another --run_dir for a shorter run."
            )

    cluster.on_chief(check)
    return total


def check_data(cluster: Cluster, start: Start, dataset: Dataset) -> None:
    """Raises UserError, on every rank, when the data differ from those that the run was started with."""

    def check() -> None:
        if start.data_checksum not in (None, dataset.checksum):
            raise UserError(f"{start.folder} was started with other data: give its original --data_dir.")

    cluster.on_chief(check)


def best_checkpoint(cluster: Cluster, checkpoints: CheckpointFolder) -> Checkpoint | None:
    """Loads the best checkpoint on rank 0; returns None on other ranks."""

    def load() -> Checkpoint:
        arrays, record = load_checkpoint(checkpoints.best)
        best = Checkpoint(path=checkpoints.best, arrays=arrays, record=record)
        check_record(best)
        return best

    return cluster.on_chief(load)


def restore_and_broadcast(
    cluster: Cluster, checkpoint: Checkpoint | None, learner: Learner, dataset: Dataset
) -> LoopState:
    """Restores rank 0's checkpoint, or without one its initial state, on every rank; returns the loop's state.

    Raises:
        UserError: the checkpoint is from other data, another network or another optimizer.
    """
    variables = learner.variables

    def restore() -> dict[str, Any]:
        if checkpoint is None:
            return LoopState().record()
        if checkpoint.record.get("data_checksum") != dataset.checksum:
            raise UserError(f"{checkpoint.path} was trained on other data: give its original --data_dir.")
        restore_state(variables, checkpoint.arrays, str(checkpoint.path))
        return LoopState.from_record(checkpoint.record["progress"]).record()

    state, restored = cluster.from_chief(lambda: [restore(), checkpoint is not None])
    parts = divided(variables)
    cluster.broadcast([variable.value for name, variable in variables.items() if name not in parts])
    learner.divide((checkpoint.arrays if checkpoint else {}) if restored else None)
    return LoopState.from_record(state)
