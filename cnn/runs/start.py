"""How a run starts, decided once for all ranks: as a new one, from its last checkpoint, or with other workers."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cnn.cluster.collectives import Cluster
from cnn.cluster.job import Job
from cnn.data.dataset import Division
from cnn.errors import UserError
from cnn.learner.state import read_state
from cnn.runs.checkpoint_record import check_exchange, check_record
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder
from cnn.runs.data_record import DATA, read_data
from cnn.runs.fine_tuning import recorded_start
from cnn.runs.run_folder import (
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
from cnn.settings.settings import TrainingSettings

How = Literal["fresh", "resumed", "rejoined"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """What a run starts from; the same on every rank, unless something else is said."""

    how: How
    """fresh: a new run. resumed: one that another job has begun. rejoined: one whose workers have changed."""

    folder: Path
    """The run's. That of a new run may get another name when it is made."""

    settings: TrainingSettings
    """Those that were given, but for what shaped the start of a run that was begun before."""

    checkpoint: Checkpoint | None = None
    """On rank 0: the state to continue from, where one was saved."""

    has_checkpoint: bool = False
    """Whether rank 0 has one."""

    exchange: dict[str, Any] | None = None
    """What the run has recorded of its exchange of gradients."""

    division: Division = "by name"
    """What divides image files into parts."""

    data_checksum: str | None = None
    """That of the data the run was begun with, where it has come so far."""

    damage: Sequence[str] = ()
    """On rank 0: what is wrong with later checkpoints, a sentence for each."""


@dataclasses.dataclass(kw_only=True)
class Carried:
    """What a process keeps of a run when its job's workers change."""

    folder: Path
    lock: int | None = None
    """The file by which rank 0 keeps others out of the folder."""

    checkpoint: Checkpoint | None = None
    """The state that all workers last agreed on, in memory."""


def decide_start(cluster: Cluster, settings: TrainingSettings, job: Job) -> Start:
    """Decides how the run starts; every rank calls it, and rank 0 looks.

    Args:
        cluster: the workers of now.
        settings: those that were given.
        job: what it carries, if anything, is a `Carried`.

    Raises:
        UserError: the settings are not those of the run in the folder, a new run would overwrite another one, or what
            the folder holds cannot be used.
        RunError: another process is at work in the folder.
    """
    carried: Carried | None = job.carried
    if carried is not None and carried.lock is not None and not cluster.is_chief:  # rank 0 before the workers changed
        os.close(carried.lock)
        carried.lock = None
    decided = cluster.on_chief(lambda: _decide(settings, job))
    told = cluster.gather(None if decided is None else _plain(decided))[0]
    return decided or _from_plain(told, settings)


def _plain(start: Start) -> dict[str, Any]:
    """What all ranks are to know, as JSON can hold it."""
    names = ("how", "has_checkpoint", "exchange", "division", "data_checksum")
    initial = start.settings.run.initialize_from
    return {"folder": str(start.folder), "initialize_from": initial} | {name: getattr(start, name) for name in names}


def _from_plain(values: dict[str, Any], settings: TrainingSettings) -> Start:
    run = dataclasses.replace(settings.run, initialize_from=values.pop("initialize_from"))
    return Start(folder=Path(values.pop("folder")), settings=dataclasses.replace(settings, run=run), **values)


def _decide(settings: TrainingSettings, job: Job) -> Start:
    carried: Carried | None = job.carried
    run = settings.run
    given = Path(run.run_dir) if run.run_dir is not None else None
    if carried is not None:
        if holds_run(carried.folder):
            return _begun_before("rejoined", carried.folder, settings, carried.checkpoint)
        return Start(how="fresh", folder=carried.folder, settings=settings)
    if given is not None and (run.resume is True or (run.resume == "auto" and holds_run(given))):
        if holds_run(given):
            job.carried = Carried(folder=given, lock=reserve_folder(given))
        length = {"epochs", "steps"} if settings.schedule.depends_on_the_end else set()
        check_same(given, settings.merged, must_agree=length)
        return _begun_before("resumed", given, settings, None)
    if given is not None:
        check_unused(given)
    folder = given or default_folder(settings.data.data, settings.model.model)
    return Start(how="fresh", folder=folder, settings=settings)


def _begun_before(how: How, folder: Path, settings: TrainingSettings, kept: Checkpoint | None) -> Start:
    """Reads what a run folder tells of the run, and its last checkpoint where none was kept."""
    damage: list[str] = []
    if kept is None:
        checkpoints = CheckpointFolder(folder / "checkpoints")
        kept, damage = checkpoints.load_last()
        if kept is not None:
            check_record(kept)
            checkpoints.complete(kept)
    if kept is not None:
        exchange = kept.record.get("exchange")
    else:
        exchange = recorded_topology(folder).get("exchange")
        check_exchange(exchange, str(folder))
    run = dataclasses.replace(settings.run, initialize_from=recorded_start(folder, settings.run.initialize_from))
    return Start(
        how=how,
        folder=folder,
        settings=dataclasses.replace(settings, run=run),
        checkpoint=kept,
        has_checkpoint=kept is not None,
        exchange=exchange,
        division=_recorded_division(folder),
        data_checksum=recorded_checksum(folder),
        damage=damage,
    )


def _recorded_division(folder: Path) -> Division:
    if (folder / DATA).exists():
        with contextlib.suppress(UserError):  # a damaged file, which training mends
            return read_data(folder).division
    return "by name"


def claim_folder(cluster: Cluster, start: Start, job: Job, variables: dict[str, Any]) -> Path:
    """Makes the folder of a new run, or takes that of an earlier one, once all that can be refused has been looked at.

    Args:
        cluster: the workers.
        start: how the run starts.
        job: from now on it carries the folder.
        variables: the whole state of a run, of which the folder is to hold checkpoints.

    Returns:
        The folder; its name has got a number where nobody had asked for a name and another run had taken it.
    """

    def choose() -> str:
        folder, checkpoints = start.folder, CheckpointFolder(start.folder / "checkpoints")
        checkpoints.check_link()
        carried: Carried | None = job.carried
        if carried is None or start.how == "resumed":
            size = sum(values.nbytes for values in read_state(variables).values())
            check_room(folder, size, checkpoints.bytes())
        if carried is None and start.settings.run.run_dir is None:
            folder = make_new_folder(folder)
        job.carried = carried or Carried(folder=folder)
        if job.carried.lock is None:
            job.carried.lock = reserve_folder(folder)
        return str(folder)

    def begin() -> None:
        check_unused(folder)  # another job may have taken it meanwhile
        # Without --resume auto, so that the file repeats the run elsewhere.
        start_folder(folder, {**start.settings.merged, "run_dir": str(folder), "resume": False})

    folder = Path(cluster.from_chief(choose))
    job.carried = job.carried or Carried(folder=folder)
    job.folder = folder
    if start.how == "fresh":
        cluster.on_chief(begin)
    return folder
