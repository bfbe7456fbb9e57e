"""Records digests of the files that a store was made from, and checks whether these files still match."""

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnn.data.folders.listing import shown
from cnn.data.store.seen_times import NEVER, SeenTimes
from cnn.data.store.store_files import DamagedStoreError, sync
from cnn.data.store.work_progress import FILES, WorkProgress

_DIGESTS = "sources.npy"
_DIGEST_BYTES = 16

_UNREADABLE = bytes(_DIGEST_BYTES)

# Nanoseconds. File systems and clocks are coarse: a file changed more recently than this before it was read may change
# again without a new change time.
_MIN_AGE = 2_000_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """The files that a store is made from, as listed before any of them was read."""

    folder: Path
    paths: list[str]
    """Relative to the folder."""

    times: list[int]
    """The files' change times in nanoseconds; 0 where there is none."""


def digest(file: BinaryIO) -> bytes:
    """The digest of an opened file's content; a constant for all files that cannot be read."""
    try:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").digest()[:_DIGEST_BYTES]  # type: ignore[arg-type]  # only needs reading
    except OSError:
        return _UNREADABLE


def file_digest(path: Path | str) -> bytes:
    """The same as `digest`, by the file's path."""
    if not os.path.isfile(path):  # opening a pipe would wait for its writer
        return _UNREADABLE
    try:
        with open(path, "rb") as file:
            return digest(file)
    except OSError:
        return _UNREADABLE


def settled(times: list[int]) -> list[int]:
    """The change times that are reliable if the files are read from now on; NEVER in place of too recent ones."""
    now = time.time_ns()
    return [NEVER if abs(now - changed) < _MIN_AGE else changed for changed in times]


def write_record(store: Path, digests: list[bytes], times: list[int]) -> None:
    """Writes the record of the source files into an unfinished store.

    Args:
        store: the store's folder.
        digests: digest of each source file, in the order of `SourceFiles`.
        times: change time of each, as `settled` returned them before the first file was read.
    """
    if not digests:
        return
    with open(store / _DIGESTS, "wb") as file:
        np.save(file, np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES))
        sync(file)
    _seen(store).add(np.array(times, np.int64))


def is_known(store: Path, files: SourceFiles) -> bool:
    """Whether all files have been compared at their current change times."""
    return not files.times or not len(_seen(store).unseen(np.array(files.times, np.int64)))


def compare(store: Path, files: SourceFiles, *, every: bool) -> None:
    """Compares the source files with the digests recorded when the store was made.

    Args:
        store: the store's folder.
        files: the current source files.
        every: compare all files, not only those with a new change time.

    Raises:
        DamagedStoreError: a file's content has changed, or the record is missing or damaged.
    """
    if not files.paths:
        return
    digests = _read_digests(store, len(files.paths))
    times = np.array(files.times, np.int64)
    positions = np.arange(len(times)) if every else _seen(store).unseen(times)
    reliable = np.array(settled(files.times), np.int64)
    changed = [
        files.paths[position]
        for position in _with_progress(files, positions)
        if file_digest(os.path.join(files.folder, files.paths[position])) != digests[position].tobytes()
    ]
    if changed:
        more = f" and {len(changed) - 1:,} more of its source files have" if len(changed) > 1 else " has"
        raise DamagedStoreError(
            f"{shown(str(files.folder / changed[0]))}{more} other content than when it was made, "
            "though names, sizes and modification times are the same"
        )
    if len(positions):
        _seen(store).add(reliable)


def count_sources(store: Path) -> int:
    """The number of files that a store was made from."""
    path = store / _DIGESTS
    return len(np.load(path, mmap_mode="r", allow_pickle=False)) if path.exists() else 0


def _seen(store: Path) -> SeenTimes:
    return SeenTimes(store, "sources")


def _with_progress(files: SourceFiles, positions: np.ndarray) -> Iterator[int]:
    """Yields the positions, and shows how many of their files have been compared."""
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
        raise DamagedStoreError(f"{_DIGESTS}, the record of its source files, is missing") from None
    except Exception:  # NumPy has no common class for errors of damaged files
        digests = None
    if digests is None or digests.shape != (files, _DIGEST_BYTES) or digests.dtype != np.uint8:
        raise DamagedStoreError(f"{_DIGESTS} is not as it was written")
    return digests
