"""Files of folders that may be a stranger's: a run that was downloaded, say, or one on a disk that many write to.

Such a folder can hold links that lead out of it, pipes, and files without end. What is written here never leads out of
the folder, and what is read is a file of a size that it can have.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import IO

from cnn.errors import UserError

_PERMISSIONS = 0o666
"""Permissions of new files, of which the user's mask takes some."""


def read_file(path: Path, most: int) -> bytes:
    """The content of a file.

    Args:
        path: of the file; it may be a link to one.
        most: bytes that it may have.

    Raises:
        ValueError: it is larger, or something that only looks like a file and might never end.
        OSError: it cannot be read.
    """
    with open_to_read(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes, and no run writes so many")
    return content


def open_to_read(path: Path) -> IO[bytes]:
    """Opens a file for reading; raises as `read_file`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not wait for a pipe's other end
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise ValueError("it is not a file")


def open_new(path: Path) -> IO[bytes]:
    """Makes a new file in the place of whatever has its name, a link for example, which is removed. Raises OSError."""
    path.unlink(missing_ok=True)
    return open(_open(path, os.O_WRONLY | os.O_EXCL), "wb")


def open_beside(path: Path) -> tuple[Path, IO[bytes]]:
    """Makes a new file with a name that nobody can know before, in the folder of `path`. Raises OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    return beside, open(_open(beside, os.O_WRONLY | os.O_EXCL), "wb")


def open_to_append(path: Path) -> IO[bytes]:
    """Opens a file, which is made if missing, to add to it; each write is one of the system's.

    Raises:
        UserError: it is a link, or something else than a file of this folder alone.
        OSError: it cannot be written.
    """
    return open(open_own(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)


def open_own(path: Path, flags: int) -> int:
    """Opens a file, which is made if missing, for writing; a descriptor. Raises as `open_to_append`."""
    check_no_link(path)
    descriptor = _open(path, flags | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    kind = "has another name, too, and is written to by it" if status.st_nlink > 1 else "is not a file"
    raise UserError(f"{path} {kind}: remove it.")


def make_folder(path: Path) -> None:
    """Makes a folder in a run folder, if it is missing.

    Raises:
        UserError: it is a link, by which another folder's files would be written.
        OSError: it cannot be made.
    """
    check_no_link(path)
    path.mkdir(parents=True, exist_ok=True)


def check_no_link(path: Path) -> None:
    """UserError when a file or a folder that is to be written is a link."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a link, and nothing is written where links in a run folder lead: remove it, or put in its "
            "place what it leads to. To have a run on another disk, link the whole run folder."
        )


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PERMISSIONS)
