"""Writing a file so that a reader, or a crash, finds the old content or the new one and never half of it."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file at `path`, whose folder is made if missing.

    Raises OSError (full disk, no permission); the old file is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name: what a killed run leaves behind is overwritten by the next one instead of piling up.
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
