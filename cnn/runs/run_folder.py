"""The folder that a run writes: exclusive access to it, and its record of settings and environment."""

import contextlib
import datetime
import itertools
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn.cluster.ranks.installation import versions
from cnn.errors import RunError, UserError
from cnn.from_json import read_object
from cnn.monitoring.records.summary import write_json
from cnn.optim.optimizers import default_rate
from cnn.runs.checkpoints import KEPT
from cnn.runs.folder_lock import lock_folder, locked_by
from cnn.settings.settings import read_settings, training_defaults, write_settings

MAY_DIFFER = {
    "run_dir",
    "resume",
    "initialize_from",
    "data_dir",
    "resident_mb",
    "epochs",
    "steps",
    "save_every",
    "log_every",
    "patience",
    "stop_after",
    "class_table",
    "metrics_port",
    "metrics_address",
    "histograms_every",
    "profile_steps",
    "profile_ranks",
}
"""Settings that may differ when a run is resumed: locations, intervals of saving and logging, output, and length."""

FOLLOW_WEIGHTS = {"conventions": "model", "preprocessing": "data"}
"""Settings that follow from the initial weights unless they are given, with their groups in TrainingSettings."""

SETTINGS = "settings.yaml"
ENVIRONMENT = "environment.json"

_UNITS = ((10**6, "MB"), (10**3, "kB"), (1, "bytes"))

_MAX_SECONDS_TO_END = 20
"""Within this time the previous process of a run has ended, after it lost a worker or was started again elsewhere."""


def default_folder(data: str, model: str) -> Path:
    """The folder of a run without --run_dir, named after data, network and time."""
    return Path("runs", f"{data}-{model}-{datetime.datetime.now():%Y%m%d-%H%M%S}")


def make_new_folder(path: Path) -> Path:
    """Creates a folder that did not exist: `path`, or `path` with a number appended if other runs took that name.

    Raises:
        UserError: it cannot be created.
    """
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in itertools.count(1))
    with _writable(path, "choose another --run_dir"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in names:
            with contextlib.suppress(FileExistsError):
                each.mkdir()
                return each
    raise AssertionError("unreachable")


def check_unused(path: Path) -> None:
    """Raises UserError when a folder already holds a run."""
    if holds_run(path):
        raise UserError(
            f"{path} already holds a run: continue it with --resume, or choose another --run_dir for a new one."
        )


def reserve_folder(path: Path, patience: float = _MAX_SECONDS_TO_END) -> int:
    """Creates a run's folder, if it does not exist, and locks it.

    Args:
        path: the folder.
        patience: seconds to wait for another process that holds the lock.

    Returns:
        The descriptor of the lock file, which holds the lock until it is closed, at the latest when this process ends.

    Raises:
        UserError: the folder cannot be written.
        RunError: another process still holds the lock; starting again later may help.
    """
    deadline = time.monotonic() + patience
    with _writable(path, "make room, fix its permissions, or choose another --run_dir"):
        path.mkdir(parents=True, exist_ok=True)
        while (lock := lock_folder(path)) is None:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{locked_by(path)} is using the run folder {path}: wait until it ends, or use another --run_dir."
                )
            time.sleep(0.2)
    return lock


def start_folder(path: Path, settings: Mapping[str, Any]) -> None:
    """Creates the folder of a new run and records its settings; UserError when it cannot be written."""
    with _writable(path, "choose another --run_dir"):
        path.mkdir(parents=True, exist_ok=True)
        write_settings(path / SETTINGS, settings)


def check_same(path: Path, settings: Mapping[str, Any], must_agree: Collection[str] = ()) -> None:
    """Checks that a run can be resumed with these settings.

    Args:
        path: the run's folder.
        settings: the new settings.
        must_agree: names of settings that usually may differ, but on which the learning rates depend here.

    Raises:
        UserError: there is no run, or it was made with other settings, which are named.
    """
    if not holds_run(path):
        raise UserError(f"--resume found no run in {path}: leave --resume out to start one there.")
    other = differences(path, settings, must_agree)
    if other:
        why = " The learning rates of all its steps depend on its length." * (other != differences(path, settings))
        raise UserError(
            f"{path} was made with other settings: {other}; give the original ones, or choose another --run_dir.{why}"
        )


def record_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Records the settings of a resumed run after its first step; UserError when they cannot be written."""
    with _writable(path, "make room, or fix its permissions"):
        write_settings(path / SETTINGS, {**settings, "resume": False})  # so that the file repeats the run elsewhere


@contextlib.contextmanager
def _writable(path: Path, advice: str) -> Iterator[None]:
    """Turns an OSError in the block into a UserError about a run folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"the run folder {path} cannot be written ({error.strerror}); {advice}.") from error


def room_for_checkpoints(checkpoint_bytes: int) -> int:
    """The bytes that a run's checkpoints take at most: the latest ones, the best, and one being written."""
    return (KEPT + 2) * checkpoint_bytes


def check_room(path: Path, checkpoint_bytes: int, existing_bytes: int = 0) -> None:
    """Raises UserError when a run's checkpoints do not fit on the disk of its folder, which need not exist yet.

    Args:
        path: the run's folder.
        checkpoint_bytes: bytes of each checkpoint.
        existing_bytes: bytes of the checkpoints that the folder already holds.
    """
    needed = room_for_checkpoints(checkpoint_bytes) - existing_bytes
    with _writable(path, "choose another --run_dir"):
        disk = shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.exists()))
    free = disk.free
    if free < needed and disk.total:  # total is 0 for file systems like /proc, which are not disks
        available, required = in_one_unit(free, needed)
        raise UserError(
            f"the disk of {path} has {available} free, but this run's checkpoints need {required}: make room, or "
            "choose another --run_dir."
        )


def in_one_unit(less: int, more: int) -> tuple[str, str]:
    """Two numbers of bytes as texts in one unit; the first is rounded down and the second up, so that they differ."""
    size, unit = next(each for each in _UNITS if (less or more) >= each[0])
    return f"{less // size:,} {unit}", f"{-(-more // size):,} {unit}"


def differences(path: Path, settings: Mapping[str, Any], must_agree: Collection[str] = ()) -> str:
    """Lists the settings that must agree with those of the run in a folder but differ; empty if there are none."""
    before = training_defaults() | read_settings(path / SETTINGS)  # earlier versions lack some settings
    if before["learning_rate"] is None:  # earlier versions did not record an optimizer's own
        before["learning_rate"] = default_rate(before["optimizer"])
    follow = {name for name in FOLLOW_WEIGHTS if settings.get(name) is None}
    return ", ".join(
        f"{name} ({before.get(name)} there, {settings.get(name)} now)"
        for name in sorted(set(settings) - (MAY_DIFFER - set(must_agree)) - follow)
        if before.get(name) != settings.get(name)
    )


def holds_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    try:
        return (path / SETTINGS).is_file()
    except OSError:  # no permission for a parent folder, or a name that is too long
        return False


def environment_of(
    topology: Mapping[str, Any], data_checksum: str, origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A run's environment: versions, topology, checksum of the data, and origin of its initial weights."""
    return {"versions": versions(), "topology": topology, "data_checksum": data_checksum, "origin": origin}


def write_environment(path: Path, environment: Mapping[str, Any]) -> None:
    """Records the run's environment, from `environment_of`."""
    write_json(path / ENVIRONMENT, environment)


def recorded_topology(path: Path) -> Mapping[str, Any]:
    """The last recorded topology of a run; empty when none is recorded yet. UserError when the file is damaged."""
    return _recorded(path, "topology")


def recorded_origin(path: Path) -> Mapping[str, Any]:
    """The run whose weights a run started with; empty when it had its own. UserError when the file is damaged."""
    return _recorded(path, "origin")


def recorded_checksum(path: Path) -> Any:
    """The checksum of a run's data; None when none is recorded yet. UserError when the file is damaged."""
    return _environment(path).get("data_checksum")


def _recorded(path: Path, name: str) -> Mapping[str, Any]:
    recorded = _environment(path).get(name)
    return recorded if isinstance(recorded, dict) else {}


def _environment(path: Path) -> Mapping[str, Any]:
    environment = path / ENVIRONMENT
    return read_object(environment) if environment.is_file() else {}
