"""The cache folder, on this machine, for downloads and prepared data sets."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cnn.data.store.lock import take_lock
from cnn.errors import UserError

VARIABLE = "CNN_CACHE_DIR"


def cache_folder() -> Path:
    """Path of the cache folder, which may not exist: $CNN_CACHE_DIR, else `cnn` in $XDG_CACHE_HOME or ~/.cache."""
    folder = folder_named_by(VARIABLE)
    if folder is not None:
        return folder
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return (Path(base).expanduser() / "cnn").absolute()
    except RuntimeError:
        raise UserError(f"there is no home folder for the cache: set {VARIABLE} to the path of a folder.") from None


def folder_named_by(variable: str) -> Path | None:
    """Path of the folder, which may not exist, that an environment variable names; None if it is empty or not set."""
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise UserError(
            f"{variable} '{path}' begins with a home folder that this machine does not have: set it to the path of a "
            "folder."
        ) from None


@contextlib.contextmanager
def explained(folder: Path, variable: str = VARIABLE) -> Iterator[None]:
    """Turns an OSError raised inside (full disk, no permission) into a UserError about the cache folder.

    Args:
        folder: the folder that is used inside.
        variable: the environment variable that names another one.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the cache folder {folder} cannot be used ({error.strerror or error}): "
            f"free space or grant permission there, or set {variable} to another folder."
        ) from error


@contextlib.contextmanager
def locked(
    path: Path, activity: str, meanwhile: Callable[[], None] = lambda: None, variable: str = VARIABLE
) -> Iterator[None]:
    """Runs the code inside in one process at a time, while others wait; creates the lock file's folder.

    Args:
        path: lock file.
        activity: what the process that has the lock does, for the message to those that wait: "prepares digits".
        meanwhile: called again and again by those that wait.
        variable: the environment variable that names another folder for it.
    """
    with explained(path.parent, variable):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = take_lock(path, activity, meanwhile)
    try:
        yield
    finally:
        lock.release()
