"""Atomic writing of files: a reader, or a crash, finds either the old content or the new one, never a part."""

import os
from pathlib import Path

from cnn.foreign_folder import open_beside


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file at `path`; its folder is created if missing. A link is replaced, not followed.

    Raises OSError (full disk, no permission) and then leaves the old file unchanged.
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
