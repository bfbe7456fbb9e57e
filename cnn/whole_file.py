"""Atomic writing of files: a reader, also after a crash, sees the old content or the new one, never a part of it."""

import os
from pathlib import Path

from cnn.foreign_folder import open_beside


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file at `path`; its folder is created if missing. A link is replaced, not followed.

    Raises:
        OSError: the file cannot be written, for example on a full disk; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, file = open_beside(path)
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
