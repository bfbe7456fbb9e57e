"""Remembers which store a folder of image files led to, so that an unchanged folder is opened without listing it.

To list a million files takes more than twice as long as to look whether they have changed, and half a gigabyte.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from cnn.data.dataset import Dataset
from cnn.data.store.cache_folder import cache_folder
from cnn.data.store.seen_times import NEVER
from cnn.data.store.source_record import settled
from cnn.data.store.store_files import DamagedStoreError, folder_of, open_files
from cnn.from_json import from_json, parse_json
from cnn.whole_file import write_whole

_RULES = 1
"""Version of the rules by which files become images, parts and classes: increase it when these change."""

# States of a folder, or copies of it on several hosts, that a cache remembers; beyond that the oldest is forgotten.
_MAX_STATES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """What a folder led to."""

    store: str
    """Name of the store's folder."""

    notes: tuple[str, ...]
    """Remarks about the folder's files."""


class KnownFolder:
    """A folder of image files, as it is now.

    Args:
        folder: the folder.
        settings: all that determines the store besides the folder's content, as JSON values.
    """

    def __init__(self, folder: Path, settings: list[Any]) -> None:
        origin = hashlib.sha256(json.dumps([_RULES, str(folder.resolve()), *settings]).encode()).hexdigest()[:16]
        state = _state(folder)
        self._file = None if state is None else cache_folder() / "folders" / origin / f"{state}.json"

    def open(self) -> tuple[Dataset, tuple[str, ...]] | None:
        """The data set of the folder, and remarks about its files; None if that is not known."""
        if self._file is None:
            return None
        try:
            record = from_json(_Record, parse_json(self._file.read_bytes()))
            return open_files(cache_folder() / "stores" / Path(record.store).name, verify=False), record.notes
        except (OSError, ValueError, DamagedStoreError):
            return None

    def remember(self, dataset: Dataset, notes: tuple[str, ...]) -> None:
        """Records the folder's data set; does nothing if the cache cannot be written, or files have just changed."""
        if self._file is None:
            return
        record = _Record(store=folder_of(dataset).name, notes=notes)
        with contextlib.suppress(OSError):
            write_whole(self._file, json.dumps(dataclasses.asdict(record)).encode())
            states = sorted(self._file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            for old in states[:-_MAX_STATES]:
                old.unlink()


def _state(folder: Path) -> str | None:
    """A hash of names, sizes, modification and change times of everything in a folder and below; links are followed.

    None if one of the files may change again without a new change time, or a folder cannot be read.
    """
    state, newest = hashlib.blake2b(digest_size=16), 0
    pending, seen = [str(folder)], set()
    try:
        while pending:
            path = pending.pop()
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:  # a link leads to a folder again
                continue
            seen.add((status.st_dev, status.st_ino))
            rows, folders = [], []
            with os.scandir(path) as entries:
                for entry in entries:  # a few microseconds each: with a million files every operation counts
                    try:
                        status = entry.stat()
                    except OSError:  # a broken link
                        rows.append(entry.name)
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.path)
                    newest = max(newest, status.st_ctime_ns)
                    rows.append(f"{entry.name}/{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
            pending.extend(sorted(folders))
            state.update("/".join([path, *sorted(rows), ""]).encode(errors="surrogateescape"))
    except OSError:
        return None
    return None if settled([newest]) == [NEVER] else state.hexdigest()
