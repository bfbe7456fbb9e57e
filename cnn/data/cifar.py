"""CIFAR-10 and CIFAR-100 in either of their official forms, the binary one and that of pickled Python objects.

In both an image is 3,072 bytes: planes red, green, blue.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from cnn.data.dataset import Part
from cnn.data.file_search import find_archive, levels, similar_names
from cnn.data.listing import shown
from cnn.data.plain_pickle import RefusedPickleError, read_plain_pickle
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.errors import UserError

_PIXELS = 3072

# Bytes; three times the largest official file. It is read into memory whole.
_LARGEST = 512 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What the files are called in one of the forms."""

    folder: str
    archives: tuple[str, ...]
    """The names under which the archive of that folder is published or kept."""

    train: tuple[str, ...]
    test: str
    names: str
    """The file of class names."""

    pickled: bool
    telling: bool = True
    """Whether one of these names tells of the data set, in whatever folder it is."""

    def present(self, folder: Path) -> list[Path]:
        """Those of the files that are there, also links to nothing."""
        paths = [folder / name for name in (*self.train, self.test, self.names)]
        return sorted(path for path in paths if os.path.lexists(path))

    def is_in(self, folder: Path) -> bool:
        """Whether that is a folder of such files."""
        present = [path for path in self.present(folder) if path.is_symlink() or not path.is_dir()]
        return len(present) == len(self.train) + 2 or (bool(present) and (self.telling or folder.name == self.folder))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One of the two data sets."""

    title: str
    other: str
    """The title of the other one."""

    forms: tuple[Form, Form]
    labels: int
    """Bytes before the pixels of a binary record; the last of them is the label."""

    classes: int
    key: str
    """Under which pickled labels are kept."""

    def read(self, folder: Path) -> RawDataset:
        """Reads the batches that are there.

        Args:
            folder: is the folder of the batches, or holds it, or a folder that does.

        Raises:
            UserError: a file is missing, damaged or of the other data set; names it.
        """
        form, batches = self._locate(folder) or (self.forms[0], folder)
        train = [path for name in form.train if os.path.lexists(path := batches / name)]
        if not train:
            wanted = (
                f"{form.train[0]} to {form.train[-1]}: put one of them at least"
                if form.train[1:]
                else (f"{form.train[0]}: put it")
            )
            raise UserError(f"{batches} holds no {wanted} there.")
        return RawDataset(
            class_names=self._class_names(form, batches / form.names),
            train=self._read_batches(form, train),
            test=self._read_batches(form, [batches / form.test]),
        )

    def files(self, folder: Path) -> list[Path]:
        """The batches and the file of class names that are there, also links to nothing."""
        located = self._locate(folder)
        return [] if located is None else located[0].present(located[1])

    def missing(self, folder: Path) -> list[str]:
        """If no batch is there: an archive that is there instead, as it is to be unpacked, or the one to download."""
        if self._locate(folder) is not None:
            return []
        return [find_archive(folder, [name for form in self.forms for name in form.archives])]

    def _locate(self, folder: Path) -> tuple[Form, Path] | None:
        """The folder of the batches: the one that was named, or one in it, or in one of these."""
        for level in levels(folder):
            for form in self.forms:
                found = [inner for inner in level if form.is_in(inner)]
                found = [inner for inner in found if inner.name == form.folder] or found
                if len(found) > 1:
                    raise UserError(f"{found[0]} and {found[1]} both hold {self.title}: name one of them as data_dir.")
                if found:
                    return form, found[0]
        return None

    def _read_batches(self, form: Form, paths: list[Path]) -> Part:
        batches = [self._unpickled(path) if form.pickled else self._records(path) for path in paths]
        pixels = np.concatenate([pixels for _, pixels in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([labels for labels, _ in batches])
        return Part(images=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels=labels.astype(np.int32))

    def _records(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels and pixels of a binary batch."""
        content = _content(path)
        size = self.labels + _PIXELS
        if len(content) % size or not content:
            if content and not len(content) % (3 - self.labels + _PIXELS):
                raise self._foreign(path)
            raise _damaged(path, f"its size, {len(content):,} bytes, is no multiple of a record's {size:,}")
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        return self._checked(path, records[:, self.labels - 1]), records[:, self.labels :]

    def _unpickled(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels and pixels of a pickled batch."""
        batch = _pickled(path)
        pixels, labels = batch.get("data"), batch.get(self.key)
        if labels is None and {"labels", "fine_labels"} & batch.keys():
            raise self._foreign(path)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
            raise _damaged(path, f"it holds no images of {_PIXELS:,} bytes under 'data'")
        try:
            numbers = np.array(labels, np.int64)
        except (TypeError, ValueError, OverflowError):
            numbers = None
        if numbers is None or numbers.shape != pixels.shape[:1] or not len(pixels):
            raise _damaged(path, f"it holds no label for each image under '{self.key}'")
        return self._checked(path, numbers), pixels

    def _checked(self, path: Path, labels: np.ndarray) -> np.ndarray:
        wrong = np.flatnonzero((labels < 0) | (labels >= self.classes))
        if len(wrong):
            raise _damaged(path, f"the label of record {wrong[0]:,} is {labels[wrong[0]]}, not 0 to {self.classes - 1}")
        return labels

    def _class_names(self, form: Form, path: Path) -> tuple[str, ...]:
        if form.pickled:
            held = _pickled(path).get(self.key.replace("labels", "label_names"))
            names = tuple(held) if isinstance(held, list) and all(isinstance(name, str) for name in held) else ()
        else:
            try:
                names = tuple(_content(path).decode("ascii").split())
            except UnicodeDecodeError:
                raise _damaged(path, "it is no text") from None
        if len(names) != self.classes or len(set(names)) != self.classes:
            raise _damaged(path, f"it holds {len(set(names))} names instead of {self.classes}")
        return names

    def _foreign(self, path: Path) -> UserError:
        return UserError(
            f"{path} is of {self.other}, not of {self.title}: choose that data set, or name the folder of {self.title}."
        )


def _pickled(path: Path) -> dict[str, Any]:
    try:
        return read_plain_pickle(_content(path))
    except RefusedPickleError as error:
        raise _damaged(path, shown(str(error))) from error


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, f"it has more than {_LARGEST:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing{similar_names(path.parent, [path.name], [])}: put it there.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): fix that or name another folder.") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged: {what}; get it again.")


def _source(layout: Layout, md5: str) -> FolderSource:
    archive = layout.forms[0].archives[0]
    remote = Remote(base_url="https://www.cs.toronto.edu/~kriz/", md5={archive: md5}, missing=layout.missing)
    return FolderSource(read=layout.read, files=layout.files, remote=remote)


CIFAR10 = _source(
    Layout(
        title="CIFAR-10",
        other="CIFAR-100",
        forms=(
            Form(
                folder="cifar-10-batches-bin",
                archives=("cifar-10-binary.tar.gz",),
                train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
                test="test_batch.bin",
                names="batches.meta.txt",
                pickled=False,
            ),
            Form(
                folder="cifar-10-batches-py",
                archives=("cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz"),
                train=tuple(f"data_batch_{number}" for number in range(1, 6)),
                test="test_batch",
                names="batches.meta",
                pickled=True,
            ),
        ),
        labels=1,
        classes=10,
        key="labels",
    ),
    "c32a1d4ab5d03f1284b67883e8d87530",
)

CIFAR100 = _source(
    Layout(
        title="CIFAR-100",
        other="CIFAR-10",
        forms=(
            Form(
                folder="cifar-100-binary",
                archives=("cifar-100-binary.tar.gz",),
                train=("train.bin",),
                test="test.bin",
                names="fine_label_names.txt",
                pickled=False,
            ),
            Form(
                folder="cifar-100-python",
                archives=("cifar-100-python.tar.gz",),
                train=("train",),
                test="test",
                names="meta",
                pickled=True,
                telling=False,
            ),
        ),
        labels=2,
        classes=100,
        key="fine_labels",
    ),
    "03b5dce01913d631647c71ecec9e9cb8",
)
