"""A file that is written incrementally and gets its final name only when it is complete."""

import contextlib
import io
import os
from pathlib import Path

from cnn.foreign_folder import open_new

UNFINISHED = ".unfinished"
"""Suffix of the name of an incomplete file."""


class StreamedFile:
    """A text file that is being written; all methods raise OSError.

    An existing file of the same name stays until `finish` replaces it.

    Args:
        path: final path of the file, in an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + UNFINISHED)
        self._file = io.TextIOWrapper(open_new(self._unfinished), encoding="utf-8", newline="")

    def write(self, text: str) -> None:
        """Appends text and flushes it, so that it survives if this process is killed."""
        self._file.write(text)
        self._file.flush()

    def finish(self) -> None:
        """Renames the complete file to its final name."""
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._unfinished, self._path)

    def close(self) -> None:
        """Closes the file; if unfinished, it keeps its temporary name."""
        with contextlib.suppress(OSError):  # a full disk, which `write` has reported
            self._file.close()

    def discard(self) -> None:
        """Closes and removes the unfinished file."""
        self.close()
        self._unfinished.unlink()
