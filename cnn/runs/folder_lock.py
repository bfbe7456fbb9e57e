"""A lock that reserves a folder for one process at a time."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from cnn.foreign_folder import open_to_write, read_file

_LOCK = ".lock"
_MAX_BYTES = 500
"""Maximum length of its text."""


def lock_folder(folder: Path) -> int | None:
    """Locks a folder, if the file system supports locks.

    Returns:
        The descriptor of the lock file, which holds the lock until it and its copies in child processes are closed, at
        the latest when these processes end; None when another process holds the lock.

    Raises:
        OSError: the folder cannot be written.
        UserError: the lock file is a link.
    """
    lock = open_to_write(folder / _LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        return lock
    with contextlib.suppress(OSError):  # on a full disk, for example: only the text for other processes is missing
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return lock


def locked_by(folder: Path) -> str:
    """Names the process that holds, or last held, the lock of a folder."""
    with contextlib.suppress(OSError, ValueError):
        return read_file(folder / _LOCK, _MAX_BYTES).decode(errors="replace") or "a process"
    return "a process"
