"""Access to files in untrusted folders: for example a downloaded run, or one on a disk that others can write to.

Such a folder can hold links that lead out of it, pipes, and endless files. These functions never write outside the
folder, and read only regular files of limited size.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import IO

from cnn.errors import UserError

_PERMISSIONS = 0o666
"""Permissions of new files, before the user's umask."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """Reads a file.

    Args:
        path: the file, or a link to one.
        max_bytes: maximum size of the file.

    Raises:
        ValueError: the file is larger, or not a regular file, so that it might never end.
        OSError: the file cannot be read.
    """
    with open_to_read(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes, more than any run writes")
    return content


def open_to_read(path: Path) -> IO[bytes]:
    """Opens a file for reading; raises the same errors as `read_file`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not wait for a pipe's other end
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise ValueError("it is not a file")


def open_new(path: Path) -> IO[bytes]:
    """Creates a new file, replacing an existing file or link of this name. Raises OSError."""
    path.unlink(missing_ok=True)
    return open(_open(path, os.O_WRONLY | os.O_EXCL), "wb")


def open_beside(path: Path) -> tuple[Path, IO[bytes]]:
    """Creates a new file with an unpredictable name in the folder of `path`. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    return temporary, open(_open(temporary, os.O_WRONLY | os.O_EXCL), "wb")


def open_to_append(path: Path) -> IO[bytes]:
    """Opens a file for appending without a buffer (each write is one system call); creates it if missing.

    Raises:
        UserError: it is a link, or not a regular file, or has a hard link elsewhere.
        OSError: it cannot be written.
    """
    return open(open_to_write(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)


def open_to_write(path: Path, flags: int) -> int:
    """Opens a file for writing, creates it if missing, and returns its descriptor.

    Raises the same errors as `open_to_append`.
    """
    check_no_link(path)
    descriptor = _open(path, flags | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    problem = "has a hard link elsewhere, which would be written, too" if status.st_nlink > 1 else "is not a file"
    raise UserError(f"{path} {problem}: remove it.")


def make_folder(path: Path) -> None:
    """Creates a folder in a run folder, if it is missing.

    Raises:
        UserError: it is a link, through which files of another folder would be written.
        OSError: it cannot be created.
    """
    check_no_link(path)
    path.mkdir(parents=True, exist_ok=True)


def check_no_link(path: Path) -> None:
    """Raises UserError when a file or folder to be written is a link."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a link, and links inside a run folder are not followed for writing: remove it, or replace it "
            "by its target. To keep a run on another disk, link the run folder itself."
        )


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PERMISSIONS)
