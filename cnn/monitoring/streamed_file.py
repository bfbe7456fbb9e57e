"""A file that is written piece by piece, for as long as it takes, and has its name only when it is whole."""

import contextlib
import io
import os
from pathlib import Path

from cnn.foreign_folder import open_new

UNFINISHED = ".unfinished"
"""Ends the name of a file that is not whole."""


class StreamedFile:
    """A text file in the making; all of its methods raise OSError. What has its name is not touched until the end.

    Args:
        path: of the file when it is whole, in a folder that is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + UNFINISHED)
        self._file = io.TextIOWrapper(open_new(self._unfinished), encoding="utf-8", newline="")

    def write(self, text: str) -> None:
        """Adds to it, so that it is there even if this process is killed next."""
        self._file.write(text)
        self._file.flush()

    def finish(self) -> None:
        """Gives it its name."""
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._unfinished, self._path)

    def close(self) -> None:
        """Ends what is not finished, which stays there under its other name."""
        with contextlib.suppress(OSError):  # of a full disk, which `write` has told already
            self._file.close()

    def discard(self) -> None:
        """Leaves nothing of it."""
        self.close()
        self._unfinished.unlink()
