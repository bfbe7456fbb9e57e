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
from cnn.data.jpeg_images import JpegImages
from cnn.data.store.seen_times import SeenTimes, change_time
from cnn.from_json import from_json, parse_json

FORMAT = 1
"""To be raised when the files' format changes. It is part of every checksum, and checkpoints record these; so a change
of the arrays alone, made from the same source files, raises a number in the store's key instead."""

_MANIFEST = "manifest.json"
_KEYS = "train_keys"
_ENDS = ("train_ends", "test_ends")

# Reading more would delay every start: ten times as much by a second, on a processor without SHA instructions.
_BYTES_ALWAYS_READ = 64 << 20


class DamagedStoreError(Exception):
    """A store is not as it was written; the text names the file and the difference."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Array:
    """The manifest's entry for the file of an array, or of the JPEG records of one."""

    shape: list[int]
    dtype: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arrays:
    train_ends: _Array | None = None
    test_ends: _Array | None = None
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
    """The checksum of all other fields."""


def write_array(folder: Path, name: str, array: np.ndarray) -> None:
    """Writes one of the store's arrays: the fields of `_Arrays`."""
    with open(array_file(folder, name), "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        sync(file)


def array_file(folder: Path, name: str) -> Path:
    """The file of one of a store's arrays."""
    return folder / f"{name}.npy"


def records_file(folder: Path, name: str) -> Path:
    """The file of a store's images, train_images or test_images, if they are JPEG records."""
    return folder / f"{name}.jpegs"


def write_manifest(
    folder: Path,
    name: str,
    class_names: tuple[str, ...],
    statistics: tuple[list[float], list[float]],
    validation_images: int = 0,
) -> None:
    """Makes a folder a store; it must hold the four arrays and may hold the training images' keys.

    In place of an array of images it may hold their JPEG records and the array of the records' ends.

    Args:
        folder: the folder.
        name: name of the data set.
        class_names: names of the classes in the order of the labels.
        statistics: mean and standard deviation of each channel.
        validation_images: number of images at the end of the training images that are the validation part.
    """
    entries = {}
    for array_name in _array_names(folder):
        path = _path(folder, array_name)
        if array_name == _KEYS and not path.exists():
            continue
        array = _opened(folder, array_name)
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
    if validation_images:  # left out if 0: the checkpoints of earlier runs record the checksum without it
        manifest["validation_images"] = validation_images
    manifest["checksum"] = _checksum(manifest)
    with open(folder / _MANIFEST, "w", encoding="utf-8") as text:
        json.dump(manifest, text, indent=2)
        sync(text)
    _seen(folder).add(_times(folder))
    sync_folder(folder)


def mean_and_deviation(count: int, total: int, squares: int) -> tuple[float, float]:
    """Mean and standard deviation, in units of pixel / 255, of `count` pixel values from their sum and sum of squares.

    The sums are exact, so that the results are equal on every machine.
    """
    return total / count / 255, math.sqrt(count * squares - total * total) / count / 255


def open_files(store: Path, *, verify: bool) -> Dataset:
    """Opens a store; its arrays are read-only memory maps.

    Sizes and headers are always checked. Checksums are verified of arrays with a new change time, and of all arrays if
    they have little data or with `verify`. Raises DamagedStoreError if the store is incomplete or damaged.
    """
    manifest = _read_manifest(store / _MANIFEST)
    entries: dict[str, _Array] = {name: entry for name, entry in vars(manifest.arrays).items() if entry is not None}
    times = _times(store)
    unseen = _seen(store).unseen(times)
    every = verify or sum(entry.bytes for entry in entries.values()) <= _BYTES_ALWAYS_READ
    read = set(entries) if every else {_array_names(store)[position] for position in unseen}
    arrays: dict[str, Any] = {name: _open_array(store, name, entry, name in read) for name, entry in entries.items()}
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
        raise DamagedStoreError(f"its arrays are not those of a data set: {error}") from error
    if not 0 <= manifest.validation_images < len(train.labels):
        raise DamagedStoreError(f"{_MANIFEST} states more validation images than there are training images")
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
    labels = dataset.train.labels  # not the images, which may have been enlarged
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
    return np.array([change_time(_path(store, name)) for name in _array_names(store)], np.int64)


def _array_names(store: Path) -> list[str]:
    """The arrays of a store, the ends of records before their images; without ends where images are raw."""
    names = [field.name for field in dataclasses.fields(_Arrays)]
    return [name for name in names if name not in _ENDS or array_file(store, name).exists()]


def _path(store: Path, name: str) -> Path:
    """The file of an array, or of the JPEG records in its place."""
    return records_file(store, name) if _ends_of(store, name) else array_file(store, name)


def _ends_of(store: Path, name: str) -> Path | None:
    """The file with the ends of an array's JPEG records; None if it is stored as an array."""
    ends = array_file(store, name.replace("_images", "_ends"))
    return ends if name.endswith("_images") and ends.exists() else None


def _opened(store: Path, name: str) -> np.ndarray | JpegImages:
    """Opens an array, or JPEG images."""
    ends = _ends_of(store, name)
    array: np.ndarray = np.lib.format.open_memmap(ends or array_file(store, name), mode="r")
    if ends is None:
        return array
    try:
        return JpegImages(records_file(store, name), array)
    except ValueError as error:
        raise DamagedStoreError(str(error)) from error


def _open_array(store: Path, name: str, entry: _Array, read: bool) -> np.ndarray | JpegImages:
    """Opens an array's file, or that of JPEG records, after checking it; `read` also verifies its checksum."""
    path = _path(store, name)
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise DamagedStoreError(f"{path.name} has {size:,} bytes instead of {entry.bytes:,}")
        if read and _sha256(path) != entry.sha256:
            raise DamagedStoreError(f"{path.name} has another checksum than when it was written")
        array = _opened(store, name)
    except FileNotFoundError as error:
        raise DamagedStoreError(f"{Path(error.filename).name} is missing") from None
    except (DamagedStoreError, OSError):
        raise
    except Exception:  # NumPy has no common class for errors of damaged files
        raise DamagedStoreError(f"{path.name} has another header than when it was written") from None
    if list(array.shape) != entry.shape or str(array.dtype) != entry.dtype:
        raise DamagedStoreError(f"{path.name} holds {array.dtype} {array.shape}, not what {_MANIFEST} states")
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
