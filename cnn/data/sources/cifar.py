"""CIFAR-10 and CIFAR-100 in either of their official formats: binary, or pickled Python objects.

In both, an image is 3,072 bytes: a red, a green and a blue plane.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from cnn.data.dataset import Part
from cnn.data.folders.file_search import find_archive, levels, similar_names
from cnn.data.folders.listing import shown
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.data.sources.plain_pickle import RefusedPickleError, read_plain_pickle
from cnn.errors import UserError

_PIXELS = 3072

# Maximum bytes of a file, which is read into memory completely: three times the largest official one.
_MAX_BYTES = 512 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFormat:
    """File names in one of the formats."""

    folder: str
    archives: tuple[str, ...]
    """Names under which the folder's archive is published or commonly stored."""

    train: tuple[str, ...]
    test: str
    names: str
    """The file of class names."""

    pickled: bool
    distinctive: bool = True
    """Whether any one of the file names identifies the data set, in a folder of any name."""

    def present(self, folder: Path) -> list[Path]:
        """The files that exist in a folder, including broken links."""
        paths = [folder / name for name in (*self.train, self.test, self.names)]
        return sorted(path for path in paths if os.path.lexists(path))

    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds the data set in this format, possibly incomplete."""
        found = [path for path in self.present(folder) if path.is_symlink() or not path.is_dir()]
        return len(found) == len(self.train) + 2 or (bool(found) and (self.distinctive or folder.name == self.folder))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and record layout of one of the two data sets."""

    title: str
    other_title: str
    """Title of the other data set."""

    formats: tuple[FileFormat, FileFormat]
    label_bytes: int
    """Bytes before the pixels of a binary record; the last one is the label."""

    classes: int
    label_key: str
    """Key of the labels in a pickled batch."""

    def read(self, folder: Path) -> RawDataset:
        """Reads the batches that exist.

        Args:
            folder: folder of the batches, or one up to two levels above it.

        Raises:
            UserError: a file is missing, damaged or of the other data set; the message names it.
        """
        files, batches = self._locate(folder) or (self.formats[0], folder)
        train = [path for name in files.train if os.path.lexists(path := batches / name)]
        if not train:
            missing = (
                f"none of {files.train[0]} to {files.train[-1]}: put at least one of them"
                if files.train[1:]
                else f"no {files.train[0]}: put it"
            )
            raise UserError(f"{batches} holds {missing} there.")
        return RawDataset(
            class_names=self._class_names(files, batches / files.names),
            train=self._read_batches(files, train),
            test=self._read_batches(files, [batches / files.test]),
        )

    def files(self, folder: Path) -> list[Path]:
        """The batches and the file of class names that exist, including broken links."""
        located = self._locate(folder)
        return [] if located is None else located[0].present(located[1])

    def missing(self, folder: Path) -> list[str]:
        """If no batch exists: the archive in or below the folder, to be unpacked, or else the one to download."""
        if self._locate(folder) is not None:
            return []
        return [find_archive(folder, [name for files in self.formats for name in files.archives])]

    def _locate(self, folder: Path) -> tuple[FileFormat, Path] | None:
        """Format and folder of the batches: `folder` itself, or one up to two levels below it."""
        for level in levels(folder):
            for files in self.formats:
                found = [inner for inner in level if files.is_in(inner)]
                found = [inner for inner in found if inner.name == files.folder] or found
                if len(found) > 1:
                    raise UserError(f"{found[0]} and {found[1]} both hold {self.title}: set data_dir to one of them.")
                if found:
                    return files, found[0]
        return None

    def _read_batches(self, files: FileFormat, paths: list[Path]) -> Part:
        batches = [self._unpickled(path) if files.pickled else self._records(path) for path in paths]
        pixels = np.concatenate([pixels for _, pixels in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([labels for labels, _ in batches])
        return Part(images=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels=labels.astype(np.int32))

    def _records(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels and pixels of a binary batch."""
        content = _content(path)
        size = self.label_bytes + _PIXELS
        if len(content) % size or not content:
            if content and not len(content) % (3 - self.label_bytes + _PIXELS):
                raise self._foreign(path)
            raise _damaged(path, f"its size, {len(content):,} bytes, is not a multiple of a record's {size:,}")
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        return self._checked_labels(path, records[:, self.label_bytes - 1]), records[:, self.label_bytes :]

    def _unpickled(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels and pixels of a pickled batch."""
        batch = _pickled(path)
        pixels, labels = batch.get("data"), batch.get(self.label_key)
        if labels is None and {"labels", "fine_labels"} & batch.keys():
            raise self._foreign(path)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
            raise _damaged(path, f"its 'data' is not an array of images of {_PIXELS:,} bytes")
        try:
            numbers = np.array(labels, np.int64)
        except (TypeError, ValueError, OverflowError):
            numbers = None
        if numbers is None or numbers.shape != pixels.shape[:1] or not len(pixels):
            raise _damaged(path, f"its '{self.label_key}' are not one label per image")
        return self._checked_labels(path, numbers), pixels

    def _checked_labels(self, path: Path, labels: np.ndarray) -> np.ndarray:
        wrong = np.flatnonzero((labels < 0) | (labels >= self.classes))
        if len(wrong):
            raise _damaged(path, f"the label of record {wrong[0]:,} is {labels[wrong[0]]}, not 0 to {self.classes - 1}")
        return labels

    def _class_names(self, files: FileFormat, path: Path) -> tuple[str, ...]:
        if files.pickled:
            value = _pickled(path).get(self.label_key.replace("labels", "label_names"))
            names = tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()
        else:
            try:
                names = tuple(_content(path).decode("ascii").split())
            except UnicodeDecodeError:
                raise _damaged(path, "it is not ASCII text") from None
        if len(names) != self.classes or len(set(names)) != self.classes:
            raise _damaged(path, f"it holds {len(set(names))} class names instead of {self.classes}")
        return names

    def _foreign(self, path: Path) -> UserError:
        return UserError(
            f"{path} belongs to {self.other_title}, not to {self.title}: choose that data set, or set data_dir to the "
            f"folder of {self.title}."
        )


def _pickled(path: Path) -> dict[str, Any]:
    try:
        return read_plain_pickle(_content(path))
    except RefusedPickleError as error:
        raise _damaged(path, shown(str(error))) from error


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _damaged(path, f"it has more than {_MAX_BYTES:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing{similar_names(path.parent, [path.name], [])}: put it there.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): fix that or choose another folder.") from error


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged: {reason}; get it again.")


def _source(layout: Layout, md5: str) -> FolderSource:
    archive = layout.formats[0].archives[0]
    remote = Remote(base_url="https://www.cs.toronto.edu/~kriz/", md5={archive: md5}, missing=layout.missing)
    return FolderSource(read=layout.read, files=layout.files, remote=remote)


CIFAR10 = _source(
    Layout(
        title="CIFAR-10",
        other_title="CIFAR-100",
        formats=(
            FileFormat(
                folder="cifar-10-batches-bin",
                archives=("cifar-10-binary.tar.gz",),
                train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
                test="test_batch.bin",
                names="batches.meta.txt",
                pickled=False,
            ),
            FileFormat(
                folder="cifar-10-batches-py",
                archives=("cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz"),
                train=tuple(f"data_batch_{number}" for number in range(1, 6)),
                test="test_batch",
                names="batches.meta",
                pickled=True,
            ),
        ),
        label_bytes=1,
        classes=10,
        label_key="labels",
    ),
    "c32a1d4ab5d03f1284b67883e8d87530",
)

CIFAR100 = _source(
    Layout(
        title="CIFAR-100",
        other_title="CIFAR-10",
        formats=(
            FileFormat(
                folder="cifar-100-binary",
                archives=("cifar-100-binary.tar.gz",),
                train=("train.bin",),
                test="test.bin",
                names="fine_label_names.txt",
                pickled=False,
            ),
            FileFormat(
                folder="cifar-100-python",
                archives=("cifar-100-python.tar.gz",),
                train=("train",),
                test="test",
                names="meta",
                pickled=True,
                distinctive=False,
            ),
        ),
        label_bytes=2,
        classes=100,
        label_key="fine_labels",
    ),
    "03b5dce01913d631647c71ecec9e9cb8",
)
