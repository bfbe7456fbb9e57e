"""The folder on this machine for downloads and prepared data sets."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.lock import take_lock
from cnn.errors import UserError


def cache_folder() -> Path:
    """$CNN_CACHE_DIR, or else `cnn` in $XDG_CACHE_HOME or in ~/.cache; not necessarily there yet."""
    chosen = os.environ.get("CNN_CACHE_DIR")
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError:
            raise UserError(
                f"CNN_CACHE_DIR '{chosen}' begins with a home folder that this machine does not know: set it to the "
                "path of a folder."
            ) from None
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return (Path(base).expanduser() / "cnn").absolute()
    except RuntimeError:
        raise UserError("there is no home folder for the cache: set CNN_CACHE_DIR to a folder for it.") from None


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns an OSError of the code inside (full disk, no permission) into a UserError about the cache folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the cache folder {folder} cannot be used ({error.strerror or error}): "
            "make room or permission there, or set CNN_CACHE_DIR to another folder."
        ) from error


@contextlib.contextmanager
def locked(path: Path, others: str) -> Iterator[None]:
    """Lets one process at a time run the code inside; the others wait. Makes the lock's folder.

    Args:
        path: the lock's file.
        others: what the process does that has the lock, as in "prepares digits".
    """
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = take_lock(path, others)
    try:
        yield
    finally:
        lock.release()
