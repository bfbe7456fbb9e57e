"""The copy of a prepared data set on a host's own disk, for hosts whose cache folder is on a shared one."""

import contextlib
import dataclasses
import logging
import shutil
from pathlib import Path

from cnn.data.dataset import Dataset
from cnn.data.store.cache_folder import explained, folder_named_by, locked
from cnn.data.store.store_files import DamagedStoreError, folder_of, open_files, sync, sync_folder

VARIABLE = "CNN_LOCAL_CACHE_DIR"

_logger = logging.getLogger(__name__)


def opened_locally(dataset: Dataset) -> Dataset:
    """Opens the copy of a store in the folder that $CNN_LOCAL_CACHE_DIR names; the data set itself if it names none.

    The first process of a host that opens it makes the copy, while others wait. A copy is compared with its checksums
    once, and made again if it is damaged or cut short.

    Raises:
        UserError: the folder cannot be used, for example because the disk is full.
    """
    folder = folder_named_by(VARIABLE)
    if folder is None:
        return dataset
    store = folder_of(dataset)
    copy = folder / "stores" / store.name
    if copy.resolve() == store.resolve():
        return dataset
    with contextlib.suppress(DamagedStoreError), explained(folder, VARIABLE):
        return _opened(copy, dataset)
    lock = copy.with_name(f"{store.name}.lock")
    with locked(lock, f"copies {dataset.name} to this host", variable=VARIABLE), explained(folder, VARIABLE):
        with contextlib.suppress(DamagedStoreError):  # another process may have copied it meanwhile
            return _opened(copy, dataset)
        _logger.info("%s: copying %s to %s", dataset.name, store, copy.parent)
        _copy(store, copy)
        return _opened(copy, dataset)


def _opened(copy: Path, dataset: Dataset) -> Dataset:
    found = open_files(copy, verify=False)
    if found.checksum != dataset.checksum:
        raise DamagedStoreError("it is the copy of another store")
    return dataclasses.replace(found, input_size=dataset.input_size)


def _copy(store: Path, copy: Path) -> None:
    """Copies a store's files, so that a copy with this name is complete."""
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed here
    shutil.rmtree(copy, ignore_errors=True)
    unfinished.mkdir()
    try:
        for path in store.iterdir():
            if path.is_file():
                shutil.copyfile(path, unfinished / path.name)
                with open(unfinished / path.name, "rb") as file:
                    sync(file)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(copy)
    sync_folder(copy.parent)
