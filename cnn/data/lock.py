"""Letting one process at a time do what several are about to do, those of hosts that share the folder as well."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import filelock


def take_lock(path: Path) -> "filelock.BaseFileLock":
    """Waits until no other process has the lock, and takes it; it is the caller's to release.

    Raises:
        OSError: the lock's file, which is `path`, cannot be written.
    """
    import filelock  # only here: what is there already needs no lock

    lock = filelock.FileLock(path)
    lock.acquire()
    os.listdir(path.parent)  # or NFS may go on saying that what another host has just put there is missing
    return lock
