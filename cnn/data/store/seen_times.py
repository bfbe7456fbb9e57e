"""The change times at which files were read and had the expected content.

Writing to a file, replacing it or setting its modification time gives it a new change time (ctime), which no program
can choose. So a file need not be read again while its change time is one of these.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NEVER = -1
"""Stands for a file's change time if the file must be read again, whatever its change time is."""

# Copies of the same files, each on another host, that one cache remembers; beyond that the oldest is forgotten.
_MAX_COPIES = 64


def change_time(path: Path) -> int:
    """A file's change time in nanoseconds; 0 if there is no such file."""
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0


class SeenTimes:
    """Remembers change times in a folder: one file per state, that is, the times of all files, named by its hash.

    Thus hosts that share the folder, but each have their own copy of the files, neither overwrite each other's records
    nor have to wait for each other.

    Args:
        folder: where the records are kept.
        prefix: beginning of the records' names.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder, self._prefix = folder, prefix

    def unseen(self, times: np.ndarray) -> np.ndarray:
        """The positions of the files that were not yet read at these change times (int64, nanoseconds)."""
        if self._path(times).exists():
            return np.zeros(0, np.int64)
        seen = np.zeros(len(times), bool)
        for _, state in self._states(len(times)):
            seen |= state == times
        return np.flatnonzero(~seen)

    def add(self, times: np.ndarray) -> None:
        """Records that all files were intact at these change times; does nothing if the folder cannot be written."""
        if (times == NEVER).all():
            return
        path = self._path(times)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            states = [*self._states(len(times))]
            with open(temporary, "wb") as file:
                np.save(file, times)
            temporary.replace(path)
            # Earlier states of this same copy of the files, and the oldest if there are too many copies.
            stale = [other for other, state in states if (state == times).mean() > 0.5]
            kept = sorted({other for other, _ in states} - {*stale, path}, key=change_time)
            for other in {*stale, *kept[: -_MAX_COPIES + 1]} - {path}:
                other.unlink()

    def _path(self, times: np.ndarray) -> Path:
        state = hashlib.sha256(times.tobytes()).hexdigest()[:16]
        return self._folder / f"{self._prefix}-{state}.npy"

    def _states(self, files: int) -> Iterator[tuple[Path, np.ndarray]]:
        for path in self._folder.glob(f"{self._prefix}-*.npy"):
            try:
                times = np.load(path, allow_pickle=False)
            except Exception:  # just removed by another process, or damaged, for which NumPy has no common class
                continue
            if times.shape == (files,) and times.dtype == np.int64:
                yield path, times
