"""A lock among the processes of all hosts that share a folder."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import filelock

# Seconds to wait before a message says so.
_SILENT = 10

# Seconds between two calls of what is done meanwhile.
_TURN = 1

_logger = logging.getLogger(__name__)


def take_lock(path: Path, others: str, meanwhile: Callable[[], None] = lambda: None) -> "filelock.BaseFileLock":
    """Waits until no other process holds the lock, and takes it; the caller must release it.

    Args:
        path: the lock file.
        others: the work of the process that holds the lock, as in "prepares digits"; shown if the wait is long.
        meanwhile: called about once a second during the wait; it may take any time.

    Raises:
        OSError: the lock file cannot be written.
    """
    import filelock  # only here: a data set that is prepared already needs no lock

    lock = filelock.FileLock(path)
    told, start = False, time.monotonic()
    while True:
        try:
            lock.acquire(timeout=min(_TURN, _SILENT))
            break
        except filelock.Timeout:
            meanwhile()
        if not told and time.monotonic() - start >= _SILENT:
            _logger.warning("waiting for another process that %s", others)
            told = True
    os.listdir(path.parent)  # or NFS may still report as missing what another host has just written there
    return lock
