"""The prepared form of a data set: arrays that every process of a machine maps into its memory.

A store is a folder `<name>-<key>`; the key follows from the source's files, so that changed files make a new store.
It is written under another name and renamed when it is whole.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnn.data.cache_folder import cache_folder, explained, locked
from cnn.data.dataset import Dataset, Part
from cnn.data.source import RawDataset

# Raise it when the store's form changes or a source comes to read the same files differently.
_FORMAT = 1

_MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"

_logger = logging.getLogger(__name__)


class _DamagedError(Exception):
    """A store is not what it was when it was written; the text says in which file."""


def open_store(
    name: str, read: Callable[[], RawDataset], folder: Path | None = None, files: Iterable[Path] = ()
) -> Dataset:
    """Opens the prepared form of a data set, and prepares it first if need be.

    One process of the machine prepares, the others wait for it. A damaged store is prepared again, with a warning.

    Args:
        name: of the data set.
        read: gets it from its source; is called only for preparing.
        folder: where the source's files are; None for a source without files.
        files: all that `read` reads, in or below `folder`.

    Returns:
        The data set; its arrays are read-only memory maps.

    Raises:
        UserError: the cache folder cannot be used; and whatever `read` raises.
    """
    stores = cache_folder() / "stores"
    store = stores / f"{name}-{_key(name, folder, files)}"
    with contextlib.suppress(_DamagedError), explained(stores):
        if store.is_dir():
            return _open(store)
    with locked(stores / ".lock"):
        try:  # again, for another process may have made or mended it meanwhile
            with explained(stores):
                if store.is_dir():
                    return _open(store)
        except _DamagedError as damage:
            _logger.warning("the prepared data set %s is damaged and is prepared again: %s", store, damage)
        raw = read()
        _logger.info("%s: %d training and %d test images", name, len(raw.train.labels), len(raw.test.labels))
        with explained(stores):
            _replace(store, name, raw)
            return _open(store)


def _key(name: str, folder: Path | None, files: Iterable[Path]) -> str:
    """Changes whenever the source's files may have; they are not read."""
    parts: list[Any] = [_FORMAT, name]
    if folder is not None:
        parts.append(str(folder.resolve()))
        for path in sorted(files):
            stat = path.stat()
            parts.append([str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _replace(store: Path, name: str, raw: RawDataset) -> None:
    """Writes the store, in the place of a damaged one if there is one; needs the lock."""
    for leftover in store.parent.glob(f"*{_UNFINISHED}"):  # of a process that was killed
        shutil.rmtree(leftover)
    unfinished = store.with_name(store.name + _UNFINISHED)
    unfinished.mkdir()
    try:
        _write(unfinished, name, raw)
        if store.exists():
            old = store.with_name(f"{store.name}.old{_UNFINISHED}")
            store.rename(old)
            shutil.rmtree(old)
        unfinished.rename(store)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _sync_folder(store.parent)


def _write(folder: Path, name: str, raw: RawDataset) -> None:
    mean, deviation = _statistics(raw.train.images)
    arrays = {
        "train_images": raw.train.images,
        "train_labels": raw.train.labels,
        "test_images": raw.test.images,
        "test_labels": raw.test.labels,
    }
    entries = {}
    for array_name, array in arrays.items():
        path = folder / f"{array_name}.npy"
        with open(path, "wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            _sync(file)
        entries[array_name] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "bytes": path.stat().st_size,
            "sha256": _sha256(path),
        }
    manifest: dict[str, Any] = {
        "format": _FORMAT,
        "name": name,
        "class_names": list(raw.class_names),
        "mean": mean,
        "standard_deviation": deviation,
        "arrays": entries,
    }
    manifest["checksum"] = _checksum(manifest)
    with open(folder / _MANIFEST, "w", encoding="utf-8") as text:
        json.dump(manifest, text, indent=2)
        _sync(text)
    _sync_folder(folder)


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in units of pixel / 255; from counts, so equal on every machine."""
    values = np.arange(256)
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 1000):  # for counting takes eight times the memory of what is counted
            counts += np.bincount(images[start : start + 1000, ..., channel].ravel(), minlength=256)
        total, first, second = (int(np.sum(counts * values**power)) for power in range(3))
        means.append(first / total / 255)
        deviations.append(math.sqrt(total * second - first * first) / total / 255)
    return means, deviations


def _open(store: Path) -> Dataset:
    """Raises _DamagedError if the store is not whole."""
    manifest = _read_manifest(store / _MANIFEST)
    arrays = {name: _open_array(store / f"{name}.npy", entry) for name, entry in manifest["arrays"].items()}
    return Dataset(
        name=manifest["name"],
        class_names=tuple(manifest["class_names"]),
        train=Part(images=arrays["train_images"], labels=arrays["train_labels"]),
        test=Part(images=arrays["test_images"], labels=arrays["test_labels"]),
        mean=tuple(manifest["mean"]),
        standard_deviation=tuple(manifest["standard_deviation"]),
        checksum=manifest["checksum"],
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        whole = manifest["checksum"] == _checksum(manifest) and manifest["format"] == _FORMAT
    except FileNotFoundError:
        raise _DamagedError(f"{path.name} is missing") from None
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _DamagedError(f"{path.name} is not as it was written")
    assert isinstance(manifest, dict)
    return manifest


def _open_array(path: Path, entry: dict[str, Any]) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise _DamagedError(f"{path.name} has {size:,} bytes instead of {entry['bytes']:,}")
        if _sha256(path) != entry["sha256"]:
            raise _DamagedError(f"{path.name} has another checksum than when it was written")
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise _DamagedError(f"{path.name} is missing") from None
    if list(array.shape) != entry["shape"] or str(array.dtype) != entry["dtype"]:
        raise _DamagedError(f"{path.name} holds {array.dtype} {array.shape}, not what {_MANIFEST} says")
    return array


def _checksum(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
