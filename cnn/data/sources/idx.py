"""MNIST and Fashion-MNIST: four files in the IDX format, gzipped or not, in the folders that common tools create."""

import dataclasses
import gzip
import io
import math
import re
import zlib
from pathlib import Path

import numpy as np

from cnn.data.dataset import Part
from cnn.data.folders.file_search import file_names, letters, levels, similar_names
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.errors import UserError

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Magic numbers: two zero bytes, 8 for uint8, the number of dimensions.
_IMAGES_MAGIC = 0x803
_LABELS_MAGIC = 0x801

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20

_CLASSES = 10
_FIRST_LABELS = 10

# Folders named after another data set are not searched: torchvision, for example, puts several side by side.
_DATA_SETS = frozenset({"mnist", "fashionmnist", "fashion", "emnist", "kmnist", "kuzushijimnist", "qmnist", "notmnist"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdxFiles:
    """One of the data sets, with signatures by which its files are recognised."""

    name: str
    """Name in the settings."""

    class_names: tuple[str, ...]
    folders: frozenset[str]
    """Possible names of its folder, reduced to letters and digits in lower case."""

    md5: tuple[str, str, str, str]
    """Checksums of the official gzipped files, in the order of `_TRAIN` and `_TEST`."""

    signatures: dict[str, bytes]
    """By file name: bytes within the first image of a file of images, or the first labels of a file of labels."""

    def read(self, folder: Path) -> RawDataset:
        """Reads the four files, which may hold fewer samples than the official ones.

        Raises:
            UserError: a file is missing, damaged, of another data set or under another file's name, or exists twice
                with different content; the message names it.
        """
        found = self._find(folder)
        train, test = (self._read_part(folder, names, found) for names in (_TRAIN, _TEST))
        if train.images.shape[1:] != test.images.shape[1:]:
            sizes = " and ".join("{1}x{2}".format(*part.images.shape) for part in (train, test))
            paths = " and ".join(str(found[names[0]][0]) for names in (_TRAIN, _TEST))
            raise UserError(f"{paths} hold images of different sizes, {sizes}: put files of one data set there.")
        return RawDataset(class_names=self.class_names, train=train, test=test)

    def files(self, folder: Path) -> list[Path]:
        """All copies of the four files that exist."""
        return sorted(path for paths in self._find(folder).values() for path in paths)

    def missing(self, folder: Path) -> list[str]:
        """The files of the four that exist neither gzipped nor plain, by their gzipped names."""
        return [f"{name}.gz" for name, paths in self._find(folder).items() if not paths]

    def _find(self, folder: Path) -> dict[str, list[Path]]:
        """Paths of each of the four files, searched for level by level in and below the folder until all are found."""
        found: dict[str, list[Path]] = {name: [] for name in _TRAIN + _TEST}
        known = {letters(name): name for name in found}
        for level in levels(folder, _DATA_SETS - self.folders):
            for path in (inner / name for inner in level for name in file_names(inner)):
                name = known.get(letters(re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE)))
                if name is not None:
                    found[name].append(path)
            if all(found.values()):
                break
        return found

    def _read_part(self, folder: Path, names: tuple[str, str], found: dict[str, list[Path]]) -> Part:
        images, labels = (
            self._read_one(folder, name, found, magic)
            for name, magic in zip(names, (_IMAGES_MAGIC, _LABELS_MAGIC), strict=True)
        )
        images_path, labels_path = (found[name][0] for name in names)
        if len(images) != len(labels):
            raise UserError(
                f"{images_path} holds {len(images):,} images but {labels_path} {len(labels):,} labels: they do not "
                "belong together, get both again."
            )
        if labels.max() >= _CLASSES:
            raise UserError(
                f"{labels_path} is damaged, or of another data set such as EMNIST: label {np.argmax(labels):,} is "
                f"{labels.max()}, not 0 to {_CLASSES - 1}; put the file of {self.name} there."
            )
        self._check_signature(images_path, names[0], images)
        self._check_signature(labels_path, names[1], labels)
        return Part(images=images[..., np.newaxis], labels=labels.astype(np.int32))

    def _read_one(self, folder: Path, name: str, found: dict[str, list[Path]], magic: int) -> np.ndarray:
        paths = found[name]
        if not paths:
            path = folder / f"{name}.gz"
            raise UserError(f"{path} is missing{similar_names(folder, [path.name], found)}: put it there.")
        first = read_idx(paths[0], magic)
        for path in paths[1:]:
            if not np.array_equal(read_idx(path, magic), first):
                raise UserError(
                    f"{paths[0]} and {path} are both {name} but differ in content: remove the one that is not of "
                    f"{self.name}, or set data_dir to the folder of the right one."
                )
        return first

    def _check_signature(self, path: Path, name: str, array: np.ndarray) -> None:
        """Raises UserError for a file of another data set or under another's name, also if it is cut or repacked."""
        for data_set in (MNIST_FILES, FASHION_MNIST_FILES):
            for other, signature in data_set.signatures.items():
                expected = (data_set.name, other) == (self.name, name)
                if not expected and signature in (array[0] if array.ndim == 3 else array[:_FIRST_LABELS]).tobytes():
                    raise UserError(
                        f"{path} has the content of {other} of {data_set.name}, not of {name} of {self.name}: put the "
                        "right file there, or choose the data set that the file belongs to."
                    )


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Reads an IDX file of uint8.

    Memory is allocated as bytes are read, whatever the header declares, and reading stops one byte after that length.

    Args:
        path: file, which is recognised as gzipped or plain by its content.
        magic: required magic number; its last byte is the number of dimensions.

    Returns:
        uint8 of the shape in the header, without dimensions of zero.

    Raises:
        UserError: the file is missing, unreadable or damaged; the message names the fault.
    """
    try:
        with _open(path) as file:
            _check_magic(path, file.read(4), magic)
            dimensions = magic & 0xFF
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise _damaged(path, "it ends within its header")
            shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
            if 0 in shape:
                raise _damaged(path, f"its header declares a dimension of zero, {shape}")
            content = _read_up_to(file, math.prod(shape) + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it there.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"its compressed content is cut off or altered ({error})") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) != math.prod(shape):
        comparison = "fewer" if len(content) < math.prod(shape) else "more"
        raise _damaged(path, f"it holds {comparison} bytes than the {math.prod(shape):,} its header declares")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_magic(path: Path, header: bytes, magic: int) -> None:
    if header == magic.to_bytes(4, "big"):
        return
    contents = {_IMAGES_MAGIC: "images", _LABELS_MAGIC: "labels"}
    content = contents.get(int.from_bytes(header, "big"))
    if content is not None and magic in contents:
        raise UserError(f"{path} holds {content}, not {contents[magic]}: give each file its own name.")
    raise _damaged(path, f"it begins with {header.hex() or 'nothing'} instead of {magic:08x}")


def _open(path: Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        gzipped = file.read(2) == _GZIP_MAGIC
    return gzip.open(path, "rb") if gzipped else open(path, "rb")


def _read_up_to(file: io.BufferedIOBase, limit: int) -> bytearray:
    content = bytearray()
    while len(content) < limit and (chunk := file.read(min(_CHUNK, limit - len(content)))):
        content += chunk
    return content


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged: {reason}; get it again, or remove it to have it downloaded.")


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read ({error.strerror}): fix that or choose another folder.")


def _source(data_set: IdxFiles, base_url: str) -> FolderSource:
    checksums = dict(zip((f"{name}.gz" for name in _TRAIN + _TEST), data_set.md5, strict=True))
    return FolderSource(
        read=data_set.read,
        files=data_set.files,
        remote=Remote(base_url=base_url, md5=checksums, missing=data_set.missing),
    )


MNIST_FILES = IdxFiles(
    name="mnist",
    class_names=tuple("0123456789"),
    folders=frozenset({"mnist"}),
    md5=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    signatures={
        _TRAIN[0]: bytes([3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]),
        _TRAIN[1]: bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        _TEST[0]: bytes([84, 185, 159, 151, 60, 36]),
        _TEST[1]: bytes([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    },
)

FASHION_MNIST_FILES = IdxFiles(
    name="fashion-mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    folders=frozenset({"fashionmnist", "fashion"}),
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    signatures={
        _TRAIN[0]: bytes([193, 228, 218, 213, 198, 180, 212, 210, 211, 213, 223, 220, 243, 202]),
        _TRAIN[1]: bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
        _TEST[0]: bytes([53, 129, 120, 147, 175, 157, 166, 135, 154, 168, 140]),
        _TEST[1]: bytes([9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
    },
)

MNIST = _source(MNIST_FILES, "https://ossci-datasets.s3.amazonaws.com/mnist/")

FASHION_MNIST = _source(FASHION_MNIST_FILES, "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/")
