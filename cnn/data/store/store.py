"""The prepared form of a data set: arrays that every process of a machine maps into its memory.

A store is a folder `<name>-<key>`; the key is a hash of the names, sizes and modification times of the source's files,
so that changed files make a new store. Content that changes while these stay the same is detected by the file's change
time (see `source_record`), and the store is prepared again.

It is written as `<name>-<key>.<origin>.unfinished` and renamed when it is complete; the origin is a hash of the
source's folder and the images' size, so that an unfinished store whose files have changed since is recognised.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn.data.dataset import Dataset
from cnn.data.source import RawDataset
from cnn.data.store.cache_folder import cache_folder, explained, locked
from cnn.data.store.source_record import SourceFiles, compare, file_digest, is_known, settled, write_record
from cnn.data.store.store_files import (
    FORMAT,
    DamagedStoreError,
    mean_and_deviation,
    open_files,
    sync_folder,
    write_array,
    write_manifest,
)
from cnn.errors import RunError, UserError

RECORD = "record"
"""The folder in an unfinished store from which its preparation can resume."""

CHUNKS = "chunks"
"""The folder in an unfinished store for files that only its preparation needs."""

_UNFINISHED = ".unfinished"

_logger = logging.getLogger(__name__)


def open_store(
    name: str,
    read: Callable[[], RawDataset],
    folder: Path | None = None,
    files: Iterable[Path] = (),
    *,
    verify: bool = False,
) -> Dataset:
    """Opens the prepared form of a data set that fits into memory, and prepares it first if necessary.

    Args:
        name: name of the data set.
        read: reads it from its source; called only for preparing.
        folder: folder of the source's files; None for a source without files.
        files: all files that `read` reads, in or below `folder`.
        verify: compare the content of all source files, and of the store, with their checksums.

    Returns:
        The data set; its arrays are read-only memory maps.

    Raises:
        UserError: one of the files or the cache folder cannot be used; `read` may raise other errors.
    """

    origin, content = [], []
    sources = SourceFiles(folder=folder or Path(), paths=[], times=[])
    if folder is not None:
        origin.append(str(folder.resolve()))
        for path in sorted(files):
            try:
                stat = path.stat()
            except OSError as error:  # for example a broken link
                raise UserError(
                    f"{path} cannot be read ({error.strerror}): fix that or choose another folder."
                ) from error
            content.append([str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns])
            sources.paths.append(str(path.relative_to(folder)))
            sources.times.append(stat.st_ctime_ns)

    def prepare(unfinished: Path) -> None:
        times = settled(sources.times)
        # Before they are read, so that the next start detects changes made while they are read.
        digests = [file_digest(os.path.join(sources.folder, path)) for path in sources.paths]
        raw = read()
        _logger.info("%s: %d training and %d test images", name, len(raw.train.labels), len(raw.test.labels))
        with explained(unfinished.parent):
            try:
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                _write(unfinished, name, raw)
                write_record(unfinished, digests, times)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise

    return open_or_prepare(name, origin, content, sources, prepare, verify=verify)


def open_or_prepare(
    name: str,
    origin: list[Any],
    content: list[Any],
    sources: SourceFiles,
    prepare: Callable[[Path], None],
    *,
    verify: bool,
    help: Callable[[Path], None] = lambda unfinished: None,
) -> Dataset:
    """Opens a store, and prepares it first if necessary.

    Of the processes that share the cache folder, one prepares the store or compares files, and the others help it or
    wait for it. A store is prepared
    again, with a warning, if it is damaged or the content of a source file has changed. Any other origin or content
    makes another store.

    Args:
        name: name of the data set.
        origin: the source's folder and the images' size, if it has any, as JSON values.
        content: everything in the source that determines the arrays, as JSON values.
        sources: the source's files, in an order that depends on origin and content alone.
        prepare: fills the folder whose path it gets. If that exists, it has the same origin and content and was left by
            a killed process or by a `prepare` that raised an error.
        verify: as for `open_store`.
        help: helps the process that fills the folder whose path it gets, if there is something to help with; called
            again and again while that process has the lock.

    Raises:
        UserError: the cache folder cannot be used; `prepare` may raise other errors.
        RunError: with `verify`, a file has changed while it was read.
    """
    stores = cache_folder() / "stores"
    store = stores / f"{name}-{_key(FORMAT, name, *origin, *content)}"
    if not verify:
        with contextlib.suppress(DamagedStoreError), explained(stores):
            if store.is_dir() and is_known(store, sources):
                return open_files(store, verify=False)
    unfinished = stores / f"{store.name}.{_key(name, *origin)}{_UNFINISHED}"
    lock = _lock(stores, store.name)
    with _locked_or_read_only(lock, f"prepares {name}", lambda: help(unfinished)) as read_only:
        try:  # again, since another process may have prepared it meanwhile
            with explained(stores):
                if store.is_dir():
                    return _compared(store, sources, verify=verify)
        except DamagedStoreError as damage:
            _logger.warning("the prepared data set %s is prepared again: %s", store, damage)
        if read_only is not None:
            raise read_only
        with explained(stores):
            _remove_leftovers(unfinished)
        prepare(unfinished)
        with explained(stores):
            _put_in_place(unfinished, store)
            if not verify:
                return open_files(store, verify=False)
            try:
                return _compared(store, sources, verify=True)
            except DamagedStoreError as change:
                raise RunError(f"{change}: start again when no program writes there any more.") from change


def _compared(store: Path, sources: SourceFiles, *, verify: bool) -> Dataset:
    dataset = open_files(store, verify=verify)
    compare(store, sources, every=verify)
    return dataset


@contextlib.contextmanager
def _locked_or_read_only(path: Path, others: str, meanwhile: Callable[[], None]) -> Iterator[UserError | None]:
    """Like `locked`, but yields the error instead, without the lock, if the lock file cannot be written."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, others, meanwhile))
        except UserError as error:
            yield error
            return
        yield None


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _lock(stores: Path, store: str) -> Path:
    """The lock file of a store, by its name; one per store, so that no process waits for another data set."""
    return stores / f"{store}.lock"


def _remove_leftovers(unfinished: Path) -> None:
    """Removes stores that killed processes left unfinished, unless they can be resumed; needs `unfinished`'s lock."""
    import filelock  # only here, as in take_lock

    for leftover in unfinished.parent.glob(f"*{_UNFINISHED}"):
        store = leftover.name.partition(".")[0]
        if unfinished.name.startswith(f"{store}."):
            continue
        # A process that holds its lock is preparing it.
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(_lock(unfinished.parent, store), timeout=0):
            resumable = (leftover / RECORD).exists()
            if resumable and leftover.suffixes != unfinished.suffixes:
                continue
            if resumable:
                _logger.warning("the unfinished %s is removed since its source files have changed", leftover)
            shutil.rmtree(leftover, ignore_errors=True)  # it may have been renamed by now


def _put_in_place(unfinished: Path, store: Path) -> None:
    old = store.with_name(f"{store.name}.old{_UNFINISHED}")
    if store.exists():
        shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed here
        store.rename(old)
    unfinished.rename(store)
    shutil.rmtree(old, ignore_errors=True)
    for name in (CHUNKS, RECORD):
        shutil.rmtree(store / name, ignore_errors=True)
    sync_folder(store.parent)


def _write(folder: Path, name: str, raw: RawDataset) -> None:
    for part_name, part in (("train", raw.train), ("test", raw.test)):
        write_array(folder, f"{part_name}_images", np.asarray(part.images))
        write_array(folder, f"{part_name}_labels", part.labels)
    write_manifest(folder, name, raw.class_names, _statistics(np.asarray(raw.train.images)))


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel."""
    values = np.arange(256)
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 1000):  # since bincount takes eight times the images' memory
            counts += np.bincount(images[start : start + 1000, ..., channel].ravel(), minlength=256)
        mean, deviation = mean_and_deviation(*(int(np.sum(counts * values**power)) for power in range(3)))
        means.append(mean)
        deviations.append(deviation)
    return means, deviations
