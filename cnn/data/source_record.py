"""What the files held that a store was made of, and whether they hold it still."""

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnn.data.listing import shown
from cnn.data.seen_times import NEVER, SeenTimes
from cnn.data.store_files import DamagedStoreError, sync
from cnn.data.work_progress import FILES, WorkProgress

_DIGESTS = "sources.npy"
_DIGEST_BYTES = 16

_UNREADABLE = bytes(_DIGEST_BYTES)

# Nanoseconds. File systems and clocks are coarse: a file that was changed so shortly before it was read may be changed
# again without its time showing it.
_COARSE = 2_000_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """The files that a store is made of, as they were listed, before any was read."""

    folder: Path
    paths: list[str]
    """Relative to the folder."""

    times: list[int]
    """The change time of each in nanoseconds; 0 where there is none."""


def digest(file: BinaryIO) -> bytes:
    """Identifies what an opened file holds; the same for all that cannot be read."""
    try:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").digest()[:_DIGEST_BYTES]  # type: ignore[arg-type]  # as it can be read
    except OSError:
        return _UNREADABLE


def file_digest(path: Path | str) -> bytes:
    """As `digest`, of a file that is not opened yet."""
    if not os.path.isfile(path):  # opening a pipe would wait for its writer
        return _UNREADABLE
    try:
        with open(path, "rb") as file:
            return digest(file)
    except OSError:
        return _UNREADABLE


def settled(times: list[int]) -> list[int]:
    """Change times that are to be relied on when the files are read from now on; NEVER for those that are too new."""
    now = time.time_ns()
    return [NEVER if abs(now - changed) < _COARSE else changed for changed in times]


def write_record(store: Path, digests: list[bytes], times: list[int]) -> None:
    """Adds to an unfinished store what was read.

    Args:
        store: the folder.
        digests: of each source file, in the order of `SourceFiles`.
        times: of each, as `settled` gave them before the first one was read.
    """
    if not digests:
        return
    with open(store / _DIGESTS, "wb") as file:
        np.save(file, np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES))
        sync(file)
    _seen(store).add(np.array(times, np.int64))


def is_known(store: Path, files: SourceFiles) -> bool:
    """Whether all files have been compared at the change times that they have now."""
    return not files.times or not len(_seen(store).unseen(np.array(files.times, np.int64)))


def compare(store: Path, files: SourceFiles, *, every: bool) -> None:
    """Compares the source files with what was read when the store was made.

    Args:
        store: the folder.
        files: those it would be made of now.
        every: of them is compared; otherwise those whose change time is a new one.

    Raises:
        DamagedStoreError: one holds something else now, or what was read is not known.
    """
    if not files.paths:
        return
    digests = _read_digests(store, len(files.paths))
    times = np.array(files.times, np.int64)
    positions = np.arange(len(times)) if every else _seen(store).unseen(times)
    reliable = np.array(settled(files.times), np.int64)
    changed = [
        files.paths[position]
        for position in _shown(files, positions)
        if file_digest(os.path.join(files.folder, files.paths[position])) != digests[position].tobytes()
    ]
    if changed:
        more = f" and {len(changed) - 1:,} more of its source files hold" if len(changed) > 1 else " holds"
        raise DamagedStoreError(
            f"{shown(str(files.folder / changed[0]))}{more} something else than when it was made, "
            "though names, sizes and modification times are the same"
        )
    if len(positions):
        _seen(store).add(reliable)


def count_sources(store: Path) -> int:
    """How many files a store was made of."""
    path = store / _DIGESTS
    return len(np.load(path, mmap_mode="r", allow_pickle=False)) if path.exists() else 0


def _seen(store: Path) -> SeenTimes:
    return SeenTimes(store, "sources")


def _shown(files: SourceFiles, positions: np.ndarray) -> Iterator[int]:
    """The positions, while it is shown how many of their files have been compared."""
    progress = WorkProgress(f"comparing files in {files.folder}", done=0, total=len(positions), unit=FILES)
    with contextlib.closing(progress):
        for position in positions:
            yield int(position)
            progress.add(1)


def _read_digests(store: Path, files: int) -> np.ndarray:
    digests: np.ndarray | None
    try:
        digests = np.load(store / _DIGESTS, allow_pickle=False)
    except FileNotFoundError:
        raise DamagedStoreError(f"{_DIGESTS}, which tells what its source files held, is missing") from None
    except Exception:  # NumPy has no common class for what other bytes make it raise
        digests = None
    if digests is None or digests.shape != (files, _DIGEST_BYTES) or digests.dtype != np.uint8:
        raise DamagedStoreError(f"{_DIGESTS} is not as it was written")
    return digests
