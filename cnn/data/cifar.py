"""CIFAR-10 in its binary layout: records of one label byte and 3,072 pixel bytes, planes red, green, blue."""

from pathlib import Path

import numpy as np

from cnn.data.dataset import Part
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.errors import UserError

_FOLDER = "cifar-10-batches-bin"
_TRAIN = "data_batch_[1-5].bin"
_TEST = "test_batch.bin"
_NAMES = "batches.meta.txt"
_ARCHIVE = "cifar-10-binary.tar.gz"

_CLASSES = 10
_PIXELS = 3072
_RECORD = 1 + _PIXELS


def read(folder: Path) -> RawDataset:
    """Reads the batches that are there; raises UserError naming a file that is missing or damaged.

    Args:
        folder: holds `cifar-10-batches-bin`, or is that folder.
    """
    batches = _batches_folder(folder)
    train = sorted(batches.glob(_TRAIN))
    if not train:
        raise UserError(f"{batches} holds no data_batch_1.bin to data_batch_5.bin: put one of them at least there")
    return RawDataset(
        class_names=_read_class_names(batches / _NAMES),
        train=_read_batches(train),
        test=_read_batches([batches / _TEST]),
    )


def files(folder: Path) -> list[Path]:
    """The batches and the file of class names that are there."""
    batches = _batches_folder(folder)
    single = [path for name in (_NAMES, _TEST) if (path := batches / name).exists()]
    return sorted([*batches.glob(_TRAIN), *single])


def missing(folder: Path) -> list[str]:
    """The archive, if no batch is there."""
    return [] if files(folder) else [_ARCHIVE]


def _batches_folder(folder: Path) -> Path:
    inner = folder / _FOLDER
    return inner if inner.is_dir() else folder


def _read_batches(paths: list[Path]) -> Part:
    batches = [_read_records(path) for path in paths]
    pixels = np.concatenate([batch[:, 1:] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch[:, 0] for batch in batches])
    return Part(images=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels=labels.astype(np.int32))


def _read_records(path: Path) -> np.ndarray:
    content = _content(path)
    if len(content) % _RECORD or not content:
        raise _damaged(path, f"its size, {len(content):,} bytes, is no multiple of a record's {_RECORD:,}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0]
    if labels.max() >= _CLASSES:
        raise _damaged(path, f"the label of record {np.argmax(labels):,} is {labels.max()}, not 0 to {_CLASSES - 1}")
    return records


def _read_class_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(_content(path).decode("ascii").split())
    except UnicodeDecodeError:
        raise _damaged(path, "it is no text") from None
    if len(set(names)) != _CLASSES:
        raise _damaged(path, f"it holds {len(set(names))} names instead of {_CLASSES}")
    return names


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it there") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend that or name another folder") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged: {what}; get it again")


CIFAR10 = FolderSource(
    read=read,
    files=files,
    remote=Remote(
        base_url="https://www.cs.toronto.edu/~kriz/",
        md5={_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"},
        missing=missing,
    ),
)
