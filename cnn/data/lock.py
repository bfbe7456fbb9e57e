"""A lock among the processes of all hosts that share a folder."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import filelock

# Seconds to wait before a message says so.
_SILENT = 10

_logger = logging.getLogger(__name__)


def take_lock(path: Path, others: str) -> "filelock.BaseFileLock":
    """Waits until no other process holds the lock, and takes it; the caller must release it.

    Args:
        path: the lock file.
        others: the work of the process that holds the lock, as in "prepares digits"; shown if the wait is long.

    Raises:
        OSError: the lock file cannot be written.
    """
    import filelock  # only here: a data set that is prepared already needs no lock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=_SILENT)
    except filelock.Timeout:
        _logger.warning("waiting for another process that %s", others)
        lock.acquire()
    os.listdir(path.parent)  # or NFS may still report as missing what another host has just written there
    return lock
