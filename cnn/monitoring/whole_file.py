"""Writing a file so that a reader, or a crash, finds the old content or the new one and never half of it."""

import os
from pathlib import Path

from cnn.foreign_folder import open_beside


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file at `path`, whose folder is made if missing. A link is replaced, too, and not followed.

    Raises OSError (full disk, no permission); the old file is then still there.
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
