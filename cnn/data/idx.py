"""MNIST and Fashion-MNIST: four files in the IDX format, gzipped or not."""

import functools
import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np

from cnn.data.dataset import Part
from cnn.data.source import FolderSource, RawDataset, Remote
from cnn.errors import UserError

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Two zero bytes, 8 for uint8, the number of dimensions.
_IMAGES_MAGIC = 0x803
_LABELS_MAGIC = 0x801

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read(folder: Path, class_names: tuple[str, ...]) -> RawDataset:
    """Reads the four files, whole sets or parts of them; raises UserError naming a file that is missing or damaged."""
    train, test = (_read_part(folder, names, len(class_names)) for names in (_TRAIN, _TEST))
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join("{1}x{2}".format(*part.images.shape) for part in (train, test))
        paths = " and ".join(str(_find(folder, names[0])) for names in (_TRAIN, _TEST))
        raise UserError(f"{paths} hold images of different sizes, {sizes}: put files of one data set there.")
    return RawDataset(class_names=class_names, train=train, test=test)


def files(folder: Path) -> list[Path]:
    """Those of the four files that are in the folder."""
    return sorted(path for name in _TRAIN + _TEST if os.path.exists(path := _find(folder, name)))


def missing(folder: Path) -> list[str]:
    """Those of the four files that are in the folder neither gzipped nor plain, by their gzipped names."""
    return [f"{name}.gz" for name in _TRAIN + _TEST if not os.path.exists(_find(folder, name))]


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Reads one file of bytes.

    No memory is taken for what the header promises, only for what is there, and never much more than was promised.

    Args:
        path: the file, gzipped if its name ends in .gz.
        magic: the number that must be at its beginning; its last byte is the number of dimensions.

    Returns:
        uint8 of the shape that the header names, no dimension being zero.

    Raises:
        UserError: the file is missing, unreadable or damaged; says what is wrong.
    """
    try:
        with _open(path) as file:
            header = file.read(4)
            if header != magic.to_bytes(4, "big"):
                raise _damaged(path, f"it begins with {header.hex() or 'nothing'} instead of {magic:08x}")
            dimensions = magic & 0xFF
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise _damaged(path, "it ends within its header")
            shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
            if 0 in shape:
                raise _damaged(path, f"its header names a dimension of zero, {shape}")
            content = _read_up_to(file, math.prod(shape) + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it there.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"its compressed content is cut off or altered ({error})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend that or name another folder.") from error
    if len(content) != math.prod(shape):
        held = "fewer" if len(content) < math.prod(shape) else "more"
        raise _damaged(path, f"it holds {held} bytes than the {math.prod(shape):,} its header promises")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_part(folder: Path, names: tuple[str, str], classes: int) -> Part:
    images_path, labels_path = (_find(folder, name) for name in names)
    images, labels = read_idx(images_path, _IMAGES_MAGIC), read_idx(labels_path, _LABELS_MAGIC)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} holds {len(images):,} images but {labels_path} {len(labels):,} labels: they do not belong "
            "together, get both again."
        )
    if labels.max() >= classes:
        raise _damaged(labels_path, f"label {np.argmax(labels):,} is {labels.max()}, not 0 to {classes - 1}")
    return Part(images=images[..., np.newaxis], labels=labels.astype(np.int32))


def _find(folder: Path, name: str) -> Path:
    plain, gzipped = folder / name, folder / f"{name}.gz"
    return plain if os.path.exists(plain) and not os.path.exists(gzipped) else gzipped


def _open(path: Path) -> io.BufferedIOBase:
    if path.suffix != ".gz":
        return open(path, "rb")
    with open(path, "rb") as file:
        if file.read(2) != _GZIP_MAGIC:
            raise _damaged(path, "it is no gzip file")
    return gzip.open(path, "rb")


def _read_up_to(file: io.BufferedIOBase, limit: int) -> bytearray:
    content = bytearray()
    while len(content) < limit and (chunk := file.read(min(_CHUNK, limit - len(content)))):
        content += chunk
    return content


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged: {what}; get it again, or remove it to have it downloaded.")


def _source(base_url: str, md5: tuple[str, str, str, str], class_names: tuple[str, ...]) -> FolderSource:
    checksums = dict(zip((f"{name}.gz" for name in _TRAIN + _TEST), md5, strict=True))
    return FolderSource(
        read=functools.partial(read, class_names=class_names),
        files=files,
        remote=Remote(base_url=base_url, md5=checksums, missing=missing),
    )


MNIST = _source(
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    tuple("0123456789"),
)

FASHION_MNIST = _source(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
