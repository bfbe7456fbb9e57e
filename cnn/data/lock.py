"""Letting one process at a time do what several are about to do, those of hosts that share the folder as well."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import filelock

# Seconds to wait without a word.
_PATIENCE = 10

_logger = logging.getLogger(__name__)


def take_lock(path: Path, others: str) -> "filelock.BaseFileLock":
    """Waits until no other process has the lock, and takes it; it is the caller's to release.

    Args:
        path: the lock's file.
        others: what the process does that has it, as in "prepares digits"; is told who waits long.

    Raises:
        OSError: the lock's file cannot be written.
    """
    import filelock  # only here: what is there already needs no lock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except filelock.Timeout:
        _logger.warning("waiting for another process that %s", others)
        lock.acquire()
    os.listdir(path.parent)  # or NFS may go on saying that what another host has just put there is missing
    return lock
