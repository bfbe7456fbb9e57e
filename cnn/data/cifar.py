"""CIFAR-10 and CIFAR-100 in their binary layout: records of labels and 3,072 pixels, planes red, green, blue."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from cnn.data.dataset import Part
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.errors import UserError

_PIXELS = 3072


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What the files of one of the two are called and what their records are."""

    folder: str
    train: str
    """Pattern of the names of the training batches."""
    wanted: str
    """What is missing where no training batch is there."""
    test: str
    names: str
    """The file of class names."""
    archive: str
    labels: int
    """Bytes before the pixels; the last of them is the label."""
    classes: int

    def read(self, folder: Path) -> RawDataset:
        """Reads the batches that are there; raises UserError naming a file that is missing or damaged.

        Args:
            folder: holds the layout's folder, or is it.
        """
        batches = self._batches_folder(folder)
        train = sorted(batches.glob(self.train))
        if not train:
            raise UserError(f"{batches} holds no {self.wanted} there.")
        return RawDataset(
            class_names=self._read_class_names(batches / self.names),
            train=self._read_batches(train),
            test=self._read_batches([batches / self.test]),
        )

    def files(self, folder: Path) -> list[Path]:
        """The batches and the file of class names that are there, also links to nothing."""
        batches = self._batches_folder(folder)
        single = [path for name in (self.names, self.test) if os.path.lexists(path := batches / name)]
        return sorted([*batches.glob(self.train), *single])

    def missing(self, folder: Path) -> list[str]:
        """The archive, if no batch is there."""
        return [] if self.files(folder) else [self.archive]

    def _batches_folder(self, folder: Path) -> Path:
        inner = folder / self.folder
        return inner if os.path.isdir(inner) else folder

    def _read_batches(self, paths: list[Path]) -> Part:
        batches = [self._read_records(path) for path in paths]
        pixels = np.concatenate([batch[:, self.labels :] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([batch[:, self.labels - 1] for batch in batches])
        return Part(images=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels=labels.astype(np.int32))

    def _read_records(self, path: Path) -> np.ndarray:
        content = _content(path)
        size = self.labels + _PIXELS
        if len(content) % size or not content:
            raise _damaged(path, f"its size, {len(content):,} bytes, is no multiple of a record's {size:,}")
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        labels = records[:, self.labels - 1]
        if labels.max() >= self.classes:
            first = np.argmax(labels >= self.classes)
            raise _damaged(path, f"the label of record {first:,} is {labels[first]}, not 0 to {self.classes - 1}")
        return records

    def _read_class_names(self, path: Path) -> tuple[str, ...]:
        try:
            names = tuple(_content(path).decode("ascii").split())
        except UnicodeDecodeError:
            raise _damaged(path, "it is no text") from None
        if len(names) != self.classes or len(set(names)) != self.classes:
            raise _damaged(path, f"it holds {len(set(names))} names instead of {self.classes}")
        return names


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it there.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend that or name another folder.") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged: {what}; get it again.")


def _source(layout: Layout, md5: str) -> FolderSource:
    remote = Remote(base_url="https://www.cs.toronto.edu/~kriz/", md5={layout.archive: md5}, missing=layout.missing)
    return FolderSource(read=layout.read, files=layout.files, remote=remote)


CIFAR10 = _source(
    Layout(
        folder="cifar-10-batches-bin",
        train="data_batch_[1-5].bin",
        wanted="data_batch_1.bin to data_batch_5.bin: put one of them at least",
        test="test_batch.bin",
        names="batches.meta.txt",
        archive="cifar-10-binary.tar.gz",
        labels=1,
        classes=10,
    ),
    "c32a1d4ab5d03f1284b67883e8d87530",
)

CIFAR100 = _source(
    Layout(
        folder="cifar-100-binary",
        train="train.bin",
        wanted="train.bin: put it",
        test="test.bin",
        names="fine_label_names.txt",
        archive="cifar-100-binary.tar.gz",
        labels=2,
        classes=100,
    ),
    "03b5dce01913d631647c71ecec9e9cb8",
)
