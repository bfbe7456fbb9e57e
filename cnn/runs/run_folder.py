"""The folder that a run writes: who may use it, and what it says of how the run was made."""

import contextlib
import datetime
import itertools
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn.cluster.installation import versions
from cnn.errors import RunError, UserError
from cnn.from_json import read_object
from cnn.monitoring.summary import write_json
from cnn.runs.checkpoints import KEPT
from cnn.runs.folder_lock import lock_folder, locked_by
from cnn.settings.settings import read_settings, training_defaults, write_settings

# What may differ when a run goes on: where things are, how often it reports, and how far it goes.
_MAY_DIFFER = {
    "run_dir",
    "resume",
    "initialize_from",
    "data_dir",
    "resident_mb",
    "epochs",
    "steps",
    "save_every",
    "log_every",
}
SETTINGS = "settings.yaml"
ENVIRONMENT = "environment.json"

_UNITS = ((10**6, "MB"), (10**3, "kB"), (1, "bytes"))

_SECONDS_TO_END = 20
"""In which a run has ended that lost a worker, or was started again elsewhere; who goes on with it waits so long."""


def default_folder(data: str, model: str) -> Path:
    """The folder of a run that was told none: it tells data, network and time apart."""
    return Path("runs", f"{data}-{model}-{datetime.datetime.now():%Y%m%d-%H%M%S}")


def make_new_folder(path: Path) -> Path:
    """Makes a folder that nobody else has: of this name, or with a number after it where others were faster.

    Raises:
        UserError: it cannot be made.
    """
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in itertools.count(1))
    with _writable(path, "choose another --run_dir"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in names:
            with contextlib.suppress(FileExistsError):
                each.mkdir()
                return each
    raise AssertionError("there are numbers without end")


def check_unused(path: Path) -> None:
    """UserError when a folder holds a run already."""
    if holds_run(path):
        raise UserError(
            f"{path} already holds a run: go on with it by --resume, or choose another --run_dir for a new one."
        )


def reserve_folder(path: Path, patience: float = _SECONDS_TO_END) -> int:
    """Makes a run's folder, if need be, and keeps others out of it.

    Args:
        path: the folder.
        patience: seconds to wait for the end of another process that does so.

    Returns:
        The file that keeps them out for as long as it is open; this process's end closes it.

    Raises:
        UserError: the folder cannot be written.
        RunError: the other process has not ended; starting again later may help.
    """
    deadline = time.monotonic() + patience
    with _writable(path, "make room or mend its permissions, or choose another --run_dir"):
        path.mkdir(parents=True, exist_ok=True)
        while (lock := lock_folder(path)) is None:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{locked_by(path)} is at work on the run in {path}: wait for its end, or choose another --run_dir."
                )
            time.sleep(0.2)
    return lock


def start_folder(path: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder of a new run; UserError when it cannot be written."""
    with _writable(path, "choose another --run_dir"):
        path.mkdir(parents=True, exist_ok=True)
        write_settings(path / SETTINGS, settings)


def check_same(path: Path, settings: Mapping[str, Any], must_agree: Collection[str] = ()) -> None:
    """Checks that a run can go on with these settings.

    Args:
        path: the run's folder.
        settings: those of now.
        must_agree: names of settings which otherwise may differ.

    Raises:
        UserError: there is no run, or it was made with other settings, which are named.
    """
    if not holds_run(path):
        raise UserError(f"--resume found no run in {path}: leave --resume out to start one there.")
    other = differences(path, settings, must_agree)
    if other:
        raise UserError(f"{path} was made with other settings: {other}; give the same, or choose another --run_dir.")


def record_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Records the settings with which a run goes on, once it has; UserError when they cannot be written."""
    with _writable(path, "make room, or mend its permissions"):
        write_settings(path / SETTINGS, {**settings, "resume": False})  # from which it can be repeated elsewhere


@contextlib.contextmanager
def _writable(path: Path, advice: str) -> Iterator[None]:
    """Turns an OSError of the code inside into a UserError about a run folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"the run folder {path} cannot be written ({error.strerror}); {advice}.") from error


def check_room(path: Path, checkpoint_bytes: int, there: int = 0) -> None:
    """UserError when the checkpoints of a run do not fit on the disk of its folder, which need not be there yet.

    Args:
        path: the run's folder.
        checkpoint_bytes: of each.
        there: bytes of those that it has already.
    """
    needed = (KEPT + 2) * checkpoint_bytes - there  # those kept, the best, and the one that is being written
    with _writable(path, "choose another --run_dir"):
        disk = shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.exists()))
    free = disk.free
    if free < needed and disk.total:  # a place like /proc has none, and is no disk
        there_is, wanted = in_one_unit(free, needed)
        raise UserError(
            f"the disk of {path} has {there_is} free, this run's checkpoints need {wanted}: make room, or choose "
            "another --run_dir."
        )


def in_one_unit(less: int, more: int) -> tuple[str, str]:
    """Two numbers of bytes as texts that differ: the first rounded down and the second up, in a unit that fits."""
    size, unit = next(each for each in _UNITS if (less or more) >= each[0])
    return f"{less // size:,} {unit}", f"{-(-more // size):,} {unit}"


def differences(path: Path, settings: Mapping[str, Any], must_agree: Collection[str] = ()) -> str:
    """Says which settings the run in a folder was made with that are not these; empty when all agree that must."""
    before = training_defaults() | read_settings(path / SETTINGS)  # an earlier version may not have known them all
    return ", ".join(
        f"{name} ({before.get(name)} there, {settings.get(name)} now)"
        for name in sorted(set(settings) - (_MAY_DIFFER - set(must_agree)))
        if before.get(name) != settings.get(name)
    )


def holds_run(path: Path) -> bool:
    """Whether a run was begun in a folder."""
    try:
        return (path / SETTINGS).is_file()
    except OSError:  # a folder above may not be entered, or a name is too long
        return False


def write_environment(
    path: Path, topology: Mapping[str, Any], data_checksum: str, origin: Mapping[str, Any] | None = None
) -> None:
    """Records what the run was made with: versions, topology, data, and the weights of another run, if any."""
    made_with = {"versions": versions(), "topology": topology, "data_checksum": data_checksum, "origin": origin}
    write_json(path / ENVIRONMENT, made_with)


def recorded_topology(path: Path) -> Mapping[str, Any]:
    """The workers that a run last had; empty when it did not come so far. UserError when the file is damaged."""
    return _recorded(path, "topology")


def recorded_origin(path: Path) -> Mapping[str, Any]:
    """The weights that a run began with; empty when they were its own. UserError when the file is damaged."""
    return _recorded(path, "origin")


def recorded_checksum(path: Path) -> Any:
    """That of the data of a run; None when it did not come so far. UserError when the file is damaged."""
    return _environment(path).get("data_checksum")


def _recorded(path: Path, name: str) -> Mapping[str, Any]:
    recorded = _environment(path).get(name)
    return recorded if isinstance(recorded, dict) else {}


def _environment(path: Path) -> Mapping[str, Any]:
    environment = path / ENVIRONMENT
    return read_object(environment) if environment.is_file() else {}
