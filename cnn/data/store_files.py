"""The files of a prepared data set: its arrays and a manifest with their checksums."""

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnn.data.dataset import Dataset, Part
from cnn.data.seen_times import SeenTimes, change_time
from cnn.from_json import from_json, parse_json

FORMAT = 1
"""To be raised when the files change. It is part of every checksum, which checkpoints record; so what comes to be read
differently from the same files is told by a number in the key of the store instead."""

_MANIFEST = "manifest.json"
_KEYS = "train_keys"

# Reading more would make every start wait: ten times as much for a second, on a processor without SHA instructions.
_BYTES_ALWAYS_READ = 64 << 20


class DamagedStoreError(Exception):
    """A store is not what it was when it was written; the text says in which file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Array:
    """What the manifest says of an array's file."""

    shape: list[int]
    dtype: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arrays:
    train_images: _Array
    train_labels: _Array
    test_images: _Array
    test_labels: _Array
    train_keys: _Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Manifest:
    format: int
    name: str
    class_names: list[str]
    mean: list[float]
    standard_deviation: list[float]
    arrays: _Arrays
    validation_images: int = 0
    checksum: str
    """Of all the other fields."""


def write_array(folder: Path, name: str, array: np.ndarray) -> None:
    """Writes one of the arrays train_images, train_labels, test_images, test_labels, train_keys."""
    with open(folder / f"{name}.npy", "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        sync(file)


def write_manifest(
    folder: Path,
    name: str,
    class_names: tuple[str, ...],
    statistics: tuple[list[float], list[float]],
    validation_images: int = 0,
) -> None:
    """Makes a store of a folder that holds the four arrays, and may hold the training images' keys.

    Args:
        folder: to write to.
        name: of the data set.
        class_names: in the order of the labels.
        statistics: mean and standard deviation of each channel.
        validation_images: how many of the last training images are the data set's own validation part.
    """
    entries = {}
    for array_name in _array_names():
        path = folder / f"{array_name}.npy"
        if array_name == _KEYS and not path.exists():
            continue
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        entries[array_name] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "bytes": path.stat().st_size,
            "sha256": _sha256(path),
        }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "class_names": list(class_names),
        "mean": statistics[0],
        "standard_deviation": statistics[1],
        "arrays": entries,
    }
    if validation_images:  # else it is left out: the checksum is in the checkpoints of earlier runs
        manifest["validation_images"] = validation_images
    manifest["checksum"] = _checksum(manifest)
    with open(folder / _MANIFEST, "w", encoding="utf-8") as text:
        json.dump(manifest, text, indent=2)
        sync(text)
    _seen(folder).add(_times(folder))
    sync_folder(folder)


def mean_and_deviation(total: int, first: int, second: int) -> tuple[float, float]:
    """Of `total` pixel values, whose sum is `first` and the sum of whose squares is `second`, in units of pixel / 255.

    The sums are exact, so that the result is equal on every machine.
    """
    return first / total / 255, math.sqrt(total * second - first * first) / total / 255


def open_files(store: Path, *, verify: bool) -> Dataset:
    """Opens a store; its arrays are read-only memory maps.

    Sizes and headers are always checked; checksums if the arrays are small together or `verify` asks for it, and those
    of arrays whose change time is a new one. Raises DamagedStoreError if the store is not whole.
    """
    manifest = _read_manifest(store / _MANIFEST)
    entries: dict[str, _Array] = {name: entry for name, entry in vars(manifest.arrays).items() if entry is not None}
    times = _times(store)
    unseen = _seen(store).unseen(times)
    every = verify or sum(entry.bytes for entry in entries.values()) <= _BYTES_ALWAYS_READ
    read = set(entries) if every else {_array_names()[position] for position in unseen}
    arrays = {name: _open_array(store / f"{name}.npy", entry, name in read) for name, entry in entries.items()}
    if len(unseen):
        _seen(store).add(times)
    keys = arrays.get(_KEYS)
    try:
        train, test = (
            Part(images=arrays[f"{part}_images"], labels=arrays[f"{part}_labels"]) for part in ("train", "test")
        )
        if keys is not None and (keys.dtype != np.uint64 or keys.shape != train.labels.shape):
            raise ValueError(f"keys are {keys.dtype} {keys.shape}, not a uint64 for each training image")
    except ValueError as error:
        raise DamagedStoreError(f"its arrays are none of a data set: {error}") from error
    if not 0 <= manifest.validation_images < len(train.labels):
        raise DamagedStoreError(f"{_MANIFEST} names more validation images than there are training images")
    return Dataset(
        name=manifest.name,
        class_names=tuple(manifest.class_names),
        train=train,
        test=test,
        mean=tuple(manifest.mean),
        standard_deviation=tuple(manifest.standard_deviation),
        checksum=manifest.checksum,
        train_keys=keys,
        validation_images=manifest.validation_images,
    )


def folder_of(dataset: Dataset) -> Path:
    """The folder of the store that a data set was opened from."""
    labels = dataset.train.labels  # not the images, which may have been scaled since
    assert isinstance(labels, np.memmap)
    return Path(labels.filename).parent  # type: ignore[arg-type]  # a path, as it was opened by one


def _read_manifest(path: Path) -> _Manifest:
    try:
        values = parse_json(path.read_bytes())
        manifest = from_json(_Manifest, values)
    except FileNotFoundError:
        raise DamagedStoreError(f"{path.name} is missing") from None
    except ValueError:
        manifest = None
    if manifest is None or manifest.checksum != _checksum(values) or manifest.format != FORMAT:
        raise DamagedStoreError(f"{path.name} is not as it was written")
    return manifest


def _seen(store: Path) -> SeenTimes:
    return SeenTimes(store, "arrays")


def _times(store: Path) -> np.ndarray:
    return np.array([change_time(store / f"{name}.npy") for name in _array_names()], np.int64)


def _array_names() -> list[str]:
    return [field.name for field in dataclasses.fields(_Arrays)]


def _open_array(path: Path, entry: _Array, read: bool) -> np.ndarray:
    """Compares its content if it is to be read."""
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise DamagedStoreError(f"{path.name} has {size:,} bytes instead of {entry.bytes:,}")
        if read and _sha256(path) != entry.sha256:
            raise DamagedStoreError(f"{path.name} has another checksum than when it was written")
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DamagedStoreError(f"{path.name} is missing") from None
    except (DamagedStoreError, OSError):
        raise
    except Exception:  # NumPy has no common class for what other bytes make it raise
        raise DamagedStoreError(f"{path.name} has another header than when it was written") from None
    if list(array.shape) != entry.shape or str(array.dtype) != entry.dtype:
        raise DamagedStoreError(f"{path.name} holds {array.dtype} {array.shape}, not what {_MANIFEST} says")
    return array


def _checksum(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(file: IO[Any]) -> None:
    """Returns when the file's content is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Returns when the names in the folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
