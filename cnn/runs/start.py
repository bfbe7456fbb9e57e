"""How a run starts, decided once for all ranks: as a new one, from its last checkpoint, or with changed workers."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.job import Job
from cnn.data.dataset import Division
from cnn.errors import UserError
from cnn.learner.state import state_bytes
from cnn.runs.checkpoint_record import check_exchange, check_record
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder
from cnn.runs.data_record import DATA, read_data
from cnn.runs.fine_tuning import following_weights, recorded_start, with_values
from cnn.runs.run_folder import (
    FOLLOW_WEIGHTS,
    SETTINGS,
    check_room,
    check_same,
    check_unused,
    default_folder,
    holds_run,
    make_new_folder,
    recorded_checksum,
    recorded_topology,
    reserve_folder,
    start_folder,
)
from cnn.settings.settings import TrainingSettings, read_settings

How = Literal["fresh", "resumed", "rejoined"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """What a run starts from; the same on every rank unless noted."""

    how: How
    """fresh: a new run. resumed: a run that another job began. rejoined: a run of this job, whose workers changed."""

    folder: Path
    """The run's folder. A new run's may get another name when it is created."""

    settings: TrainingSettings
    """The given settings, with those that follow from the initial weights; for a run that continues, these weights and
    settings are the recorded ones."""

    checkpoint: Checkpoint | None = None
    """On rank 0: the state to continue from, if one was saved."""

    has_checkpoint: bool = False
    """Whether rank 0 has one."""

    exchange: dict[str, Any] | None = None
    """The run's record of its exchange of gradients."""

    division: Division = "by name"
    """The rule that divides image files into parts."""

    data_checksum: str | None = None
    """Checksum of the data that the run was started with, if recorded."""

    damage: Sequence[str] = ()
    """On rank 0: the errors of later, damaged checkpoints, a sentence for each."""


@dataclasses.dataclass(kw_only=True)
class Carried:
    """The parts of a run that a process keeps when its job's workers change."""

    folder: Path
    lock: int | None = None
    """Descriptor of the file with which rank 0 locks the folder."""

    checkpoint: Checkpoint | None = None
    """The state that all workers last agreed on, in memory."""


def decide_start(cluster: Cluster, settings: TrainingSettings, job: Job) -> Start:
    """Decides how the run starts; every rank calls it, and rank 0 reads the folder.

    Args:
        cluster: the current workers.
        settings: the given settings.
        job: the job, which carries a `Carried` if its workers changed.

    Raises:
        UserError: the settings are not those of the run in the folder, a new run would overwrite another one, or what
            the folder holds cannot be used.
        RunError: another process is using the folder.
    """
    carried: Carried | None = job.carried
    if carried is not None and carried.lock is not None and not cluster.is_chief:  # rank 0 before the workers changed
        os.close(carried.lock)
        carried.lock = None
    decided: list[Start] = []

    def decide() -> dict[str, Any]:
        decided.append(_decide(settings, job))
        return _plain(decided[0])

    from_chief = cluster.from_chief(decide)
    return decided[0] if decided else _from_plain(from_chief, settings)


def _plain(start: Start) -> dict[str, Any]:
    """The values that all ranks need, as JSON values."""
    names = ("how", "has_checkpoint", "exchange", "division", "data_checksum")
    merged = start.settings.merged
    decided = {name: merged[name] for name in ("initialize_from", *FOLLOW_WEIGHTS)}
    return {"folder": str(start.folder), **decided} | {name: getattr(start, name) for name in names}


def _from_plain(values: dict[str, Any], settings: TrainingSettings) -> Start:
    run = dataclasses.replace(settings.run, initialize_from=values.pop("initialize_from"))
    following = {name: values.pop(name) for name in FOLLOW_WEIGHTS}
    settings = with_values(dataclasses.replace(settings, run=run), following)
    return Start(folder=Path(values.pop("folder")), settings=settings, **values)


def _decide(settings: TrainingSettings, job: Job) -> Start:
    carried: Carried | None = job.carried
    run = settings.run
    given = Path(run.run_dir) if run.run_dir is not None else None
    if carried is not None:
        if holds_run(carried.folder):
            return _continued("rejoined", carried.folder, settings, carried.checkpoint)
        return Start(how="fresh", folder=carried.folder, settings=following_weights(settings))
    if given is not None and (run.resume is True or (run.resume == "auto" and holds_run(given))):
        if holds_run(given):
            job.carried = Carried(folder=given, lock=reserve_folder(given))
        _check_resumable(given, settings)
        return _continued("resumed", given, settings, None)
    if given is not None:
        check_unused(given)
    folder = given or default_folder(settings.data.data, settings.model.model)
    return Start(how="fresh", folder=folder, settings=following_weights(settings))


def _continued(how: How, folder: Path, settings: TrainingSettings, checkpoint: Checkpoint | None) -> Start:
    """Reads a run folder's records, and its last checkpoint unless one is given."""
    damage: list[str] = []
    if checkpoint is None:
        checkpoints = CheckpointFolder(folder / "checkpoints")
        checkpoint, damage = checkpoints.load_last()
        if checkpoint is not None:
            check_record(checkpoint)
            checkpoints.complete(checkpoint)
    if checkpoint is not None:
        exchange = checkpoint.record.get("exchange")
    else:
        exchange = recorded_topology(folder).get("exchange")
        check_exchange(exchange, str(folder))
    run = dataclasses.replace(settings.run, initialize_from=recorded_start(folder, settings.run.initialize_from))
    return Start(
        how=how,
        folder=folder,
        settings=following_weights(dataclasses.replace(settings, run=run), read_settings(folder / SETTINGS)),
        checkpoint=checkpoint,
        has_checkpoint=checkpoint is not None,
        exchange=exchange,
        division=_recorded_division(folder),
        data_checksum=recorded_checksum(folder),
        damage=damage,
    )


def planned_start(settings: TrainingSettings) -> Start:
    """Where a run would start, found without locking or writing anything.

    Args:
        settings: the given settings.

    Raises:
        UserError: as `decide_start`.
    """
    run = settings.run
    folder = Path(run.run_dir) if run.run_dir is not None else default_folder(settings.data.data, settings.model.model)
    if not (run.resume is True or (run.resume == "auto" and holds_run(folder))):
        check_unused(folder)
        return Start(how="fresh", folder=folder, settings=following_weights(settings))
    _check_resumable(folder, settings)
    return Start(
        how="resumed",
        folder=folder,
        settings=following_weights(settings, read_settings(folder / SETTINGS)),
        exchange=recorded_topology(folder).get("exchange"),
        division=_recorded_division(folder),
        data_checksum=recorded_checksum(folder),
    )


def _check_resumable(folder: Path, settings: TrainingSettings) -> None:
    length = {"epochs", "steps"} if settings.schedule.depends_on_the_end else set()
    check_same(folder, settings.merged, must_agree=length)


def _recorded_division(folder: Path) -> Division:
    if (folder / DATA).exists():
        with contextlib.suppress(UserError):  # a damaged file, which training rewrites
            return read_data(folder).division
    return "by name"


def claim_folder(cluster: Cluster, start: Start, job: Job, variables: dict[str, Any]) -> Path:
    """Creates the folder of a new run, or locks that of an earlier one; called when all checks of the input are done.

    Args:
        cluster: the workers.
        start: how the run starts.
        job: the job, which carries the folder from now on.
        variables: the run's complete state, from which the size of its checkpoints follows.

    Returns:
        The folder; its name ends with a number if no --run_dir was given and another run had taken the name.
    """

    def choose() -> str:
        folder, checkpoints = start.folder, CheckpointFolder(start.folder / "checkpoints")
        checkpoints.check_link()
        carried: Carried | None = job.carried
        if carried is None or start.how == "resumed":
            check_room(folder, state_bytes(variables), checkpoints.bytes())
        if carried is None and start.settings.run.run_dir is None:
            folder = make_new_folder(folder)
        job.carried = carried or Carried(folder=folder)
        if job.carried.lock is None:
            job.carried.lock = reserve_folder(folder)
        return str(folder)

    def begin() -> None:
        check_unused(folder)  # another job may have used it since it was last checked
        # Without --resume auto, so that the file repeats the run elsewhere.
        start_folder(folder, {**start.settings.merged, "run_dir": str(folder), "resume": False})

    folder = Path(cluster.from_chief(choose))
    job.carried = job.carried or Carried(folder=folder)
    job.folder = folder
    if start.how == "fresh":
        cluster.on_chief(begin)
    return folder
