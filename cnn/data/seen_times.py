"""The change times at which files were read and found to hold what they should.

Whatever writes to a file, replaces it or sets its modification time gives it a new change time (ctime), which no
program can choose. So a file that has one at which it was read needs no reading.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NEVER = -1
"""In the place of a file's change time: that file is to be read again, whatever its time is."""

# Copies of the same files, each on another host, that one cache keeps apart; beyond that the oldest is forgotten.
_COPIES = 64


def change_time(path: Path) -> int:
    """In nanoseconds; 0 where there is no such file."""
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0


class SeenTimes:
    """Remembers change times in a folder, each state of the files as one whose name is a hash of all their times.

    Thus hosts that share the folder, but each have a copy of the files, do not write over what another remembers, and
    nobody has to wait for anybody.

    Args:
        folder: to remember them in.
        what: the files are, which the names there begin with.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what

    def unseen(self, times: np.ndarray) -> np.ndarray:
        """The positions of the files that were never read at these times, int64 nanoseconds."""
        if self._path(times).exists():
            return np.zeros(0, np.int64)
        seen = np.zeros(len(times), bool)
        for _, state in self._states(len(times)):
            seen |= state == times
        return np.flatnonzero(~seen)

    def add(self, times: np.ndarray) -> None:
        """Remembers that all files were right at these times; where nothing can be written they are not remembered."""
        if (times == NEVER).all():
            return
        path = self._path(times)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            states = [*self._states(len(times))]
            with open(temporary, "wb") as file:
                np.save(file, times)
            temporary.replace(path)
            # The same copy of the files as it was before, and the oldest of too many copies.
            stale = [other for other, state in states if (state == times).mean() > 0.5]
            kept = sorted({other for other, _ in states} - {*stale, path}, key=change_time)
            for other in {*stale, *kept[: -_COPIES + 1]} - {path}:
                other.unlink()

    def _path(self, times: np.ndarray) -> Path:
        state = hashlib.sha256(times.tobytes()).hexdigest()[:16]
        return self._folder / f"{self._what}-{state}.npy"

    def _states(self, files: int) -> Iterator[tuple[Path, np.ndarray]]:
        for path in self._folder.glob(f"{self._what}-*.npy"):
            try:
                times = np.load(path, allow_pickle=False)
            except Exception:  # removed by another process just now, or damaged, for which NumPy has no common class
                continue
            if times.shape == (files,) and times.dtype == np.int64:
                yield path, times
