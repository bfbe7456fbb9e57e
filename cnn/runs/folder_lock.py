"""Keeps a folder to one process at a time."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from cnn.foreign_folder import open_own, read_file

_LOCK = ".lock"
_LONGEST = 500
"""Bytes of the words in it."""


def lock_folder(folder: Path) -> int | None:
    """Keeps others out of a folder, where the file system has locks; None when another process is in.

    Returns:
        The file that does so for as long as it, or a copy that a process inherits, is open: at most until these end.

    Raises:
        OSError: the folder cannot be written.
        UserError: the file that locks it is a link.
    """
    lock = open_own(folder / _LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        return lock
    with contextlib.suppress(OSError):  # a full disk, say: only the words for others are missing then
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return lock


def locked_by(folder: Path) -> str:
    """Which process has, or had, a folder to itself, in words."""
    with contextlib.suppress(OSError, ValueError):
        return read_file(folder / _LOCK, _LONGEST).decode(errors="replace") or "a process"
    return "a process"
