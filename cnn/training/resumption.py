"""Going on from a checkpoint: which one, and how every rank gets its state."""

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Any

from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange_choice import Rates
from cnn.data.dataset import Dataset, Division
from cnn.errors import UserError
from cnn.from_json import from_json
from cnn.training.checkpoints import Checkpoint, CheckpointFolder, load_checkpoint
from cnn.training.fine_tuning import with_recorded_start
from cnn.training.run_data import DATA, read_data
from cnn.training.run_folder import holds_run, recorded_checksum, recorded_topology
from cnn.training.run_progress import Progress
from cnn.training.settings import RunSettings, TrainingSettings
from cnn.training.state import restore_state

_SLOWEST, _FASTEST = 1e6, 1e18
"""Seconds of a message, and what happens in a second: no machine is so slow or so fast."""


def last_checkpoint(
    cluster: Cluster, checkpoints: CheckpointFolder, *, resume: bool
) -> tuple[Checkpoint | None, list[str]]:
    """On rank 0 the checkpoint to go on from, if there is to be one and is one, and what is wrong with later ones."""
    found: tuple[Checkpoint | None, list[str]] = (None, [])
    with cluster.together():
        if cluster.is_chief and resume:
            found = checkpoints.load_last()
            _check_record(found[0])
            if found[0] is not None:
                checkpoints.complete(found[0])
    return found


def as_begun(cluster: Cluster, settings: TrainingSettings, folder: Path, dataset: Dataset) -> TrainingSettings:
    """The settings of a run that is resumed, on every rank, with what shaped its start as it was when it began.

    Args:
        cluster: the workers.
        settings: those of now.
        folder: the run's.
        dataset: that of now.

    Raises:
        UserError: without a checkpoint it would begin again, and otherwise than it began.
    """
    initial = settings.run.initialize_from
    with cluster.together():
        if cluster.is_chief and holds_run(folder):
            initial = with_recorded_start(folder, settings).run.initialize_from
            if recorded_checksum(folder) not in (None, dataset.checksum):
                raise UserError(f"{folder} was begun with other data: give the --data_dir of that time.")
    run = dataclasses.replace(settings.run, initialize_from=cluster.gather(initial)[0])
    return dataclasses.replace(settings, run=run)


def check_length(
    cluster: Cluster, checkpoint: Checkpoint | None, folder: Path, run: RunSettings, steps_per_epoch: int
) -> int:
    """The steps that a run is to have in the end, on every rank.

    Args:
        cluster: the workers.
        checkpoint: the one to go on from, on rank 0.
        folder: the run's.
        run: how long it is to be.
        steps_per_epoch: of this run.

    Raises:
        UserError: more are done already.
    """
    total = run.steps or run.epochs * steps_per_epoch
    with cluster.together():
        done = checkpoint.record["progress"]["step"] if checkpoint is not None else 0
        if done > total:
            epochs = math.ceil(done / steps_per_epoch)
            enough = f"--epochs {epochs}" if run.steps is None else f"--steps {done}"
            asked = f"--epochs {run.epochs} is {total:,}" if run.steps is None else f"--steps {total} is less"
            raise UserError(
                f"{folder} has done {done:,} steps ({done / steps_per_epoch:.4g} epochs), and {asked}: give {enough} "
                "or more, or choose another --run_dir for a shorter run."
            )
    return total


def earlier_exchange(
    cluster: Cluster, checkpoint: Checkpoint | None, folder: Path, *, resume: bool
) -> dict[str, Any] | None:
    """On every rank what the run to go on from has recorded of its exchange, if it has come so far."""
    exchange = None
    with cluster.together():
        if cluster.is_chief:
            if checkpoint is not None:
                exchange = checkpoint.record.get("exchange")
            elif resume:
                exchange = recorded_topology(folder).get("exchange")
                _check_exchange(exchange, str(folder))
    found: dict[str, Any] | None = cluster.gather(exchange)[0]
    return found


def earlier_division(cluster: Cluster, folder: Path | None) -> Division:
    """On every rank what divides the image files into parts.

    Args:
        cluster: the workers.
        folder: that of the run to resume, where rank 0 finds what divided them before; None for a new run.
    """
    division: Division = "by name"
    if cluster.is_chief and folder is not None and (folder / DATA).exists():
        with contextlib.suppress(UserError):  # a damaged file, which training mends
            division = read_data(folder).division
    found: Division = cluster.gather(division)[0]
    return found


def best_checkpoint(cluster: Cluster, checkpoints: CheckpointFolder) -> Checkpoint | None:
    """On rank 0 the best checkpoint."""
    best = None
    with cluster.together():
        if cluster.is_chief:
            arrays, record = load_checkpoint(checkpoints.best)
            best = Checkpoint(path=checkpoints.best, arrays=arrays, record=record)
            _check_record(best)
    return best


def _check_record(checkpoint: Checkpoint | None) -> None:
    """Raises UserError for a record that no run has written."""
    if checkpoint is None:
        return
    try:
        Progress.from_record(checkpoint.record.get("progress"))
    except ValueError as error:
        raise UserError(_foreign(f"the checkpoint {checkpoint.path}", error)) from error
    _check_exchange(checkpoint.record.get("exchange"), f"the checkpoint {checkpoint.path}")


def _check_exchange(exchange: Any, where: str) -> None:
    """Raises UserError for a record of an exchange that no run has written."""
    try:
        if not isinstance(exchange, dict | None):
            raise ValueError("the exchange is none")
        if exchange and "rates" in exchange:
            rates = from_json(Rates, exchange["rates"])
            reached = (rates.sent_per_second, rates.gathered_per_second, rates.multiply_adds_per_second)
            if not (0 <= rates.latency < _SLOWEST and all(1 <= rate < _FASTEST for rate in reached)):
                raise ValueError("a rate in it cannot be one that was measured")
    except ValueError as error:
        raise UserError(_foreign(where, error)) from error


def _foreign(where: str, error: ValueError) -> str:
    return f"{where} holds what no run has saved ({error}); remove it, or choose another --run_dir to start anew."


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
            if checkpoint.record.get("data_checksum") != dataset.checksum:
                raise UserError(f"{checkpoint.path} was trained on other data: give the --data_dir of that time.")
            restore_state(variables, checkpoint.arrays, str(checkpoint.path))
            progress = Progress.from_record(checkpoint.record["progress"])
    cluster.broadcast([variable.value for variable in variables.values()])
    return Progress.from_record(cluster.gather(progress.record())[0])
