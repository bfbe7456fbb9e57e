import gzip
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.sources.idx import FASHION_MNIST, MNIST, read_idx
from cnn.errors import UserError
from tests.hostile import altered, examples, read_or_sentence

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
Write = Callable[[np.ndarray], bytes]
WHOLE = bytes.fromhex("00000803 00000003 00000002 00000002") + bytes(range(12))


def _damage(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes what is inside the gzip file."""
    path = folder / f"{name}.gz"
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def _complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        MNIST.read(folder)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_and_labels_are_read(idx_folder: Path) -> None:
    raw = MNIST.read(idx_folder)
    assert raw.train.images.shape == (40, 5, 4, 1)
    assert raw.test.images.shape == (20, 5, 4, 1)
    assert list(raw.train.images[7].ravel()) == list(range(7, 27))
    assert list(raw.test.labels) == [*range(10), *range(10)]
    assert raw.class_names == tuple("0123456789")


def test_files_that_are_not_gzipped_are_read_too(idx_folder: Path) -> None:
    gzipped = MNIST.read(idx_folder)
    for path in list(idx_folder.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = MNIST.read(idx_folder)
    assert np.array_equal(plain.train.images, gzipped.train.images)
    assert MNIST.remote is not None
    assert MNIST.remote.missing(idx_folder) == []
    assert [path.name for path in MNIST.files(idx_folder)] == sorted(path.name for path in idx_folder.iterdir())


def test_a_missing_file_is_named(idx_folder: Path) -> None:
    (idx_folder / f"{LABELS}.gz").unlink()
    assert MNIST.remote is not None
    assert MNIST.remote.missing(idx_folder) == [f"{LABELS}.gz"]
    assert _complaint(idx_folder) == f"{idx_folder / LABELS}.gz is missing: put it there."


def test_a_file_that_cannot_be_read_is_named(idx_folder: Path) -> None:
    path = idx_folder / f"{LABELS}.gz"
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert _complaint(idx_folder).startswith(f"{path} cannot be read (Input/output error)")


@pytest.mark.parametrize("target", ["nothing", "x" * 300])
def test_a_link_to_nothing_is_a_missing_file(idx_folder: Path, target: str) -> None:
    """Or to what cannot be looked at, as below a folder that may not be entered."""
    (idx_folder / f"{LABELS}.gz").unlink()
    for name in (LABELS, f"{LABELS}.gz"):
        (idx_folder / name).symlink_to(target)
    assert MNIST.remote is not None
    assert MNIST.remote.missing(idx_folder) == [f"{LABELS}.gz"]
    assert len(MNIST.files(idx_folder)) == 3


def test_whether_a_file_is_gzipped_is_told_by_its_content(idx_folder: Path) -> None:
    gzipped = MNIST.read(idx_folder)
    path = idx_folder / f"{IMAGES}.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    (idx_folder / f"{LABELS}.gz").rename(idx_folder / LABELS)
    assert np.array_equal(MNIST.read(idx_folder).train.images, gzipped.train.images)


@pytest.mark.parametrize("keep", [12, 60, -9, -1])
def test_gzip_that_is_cut_off(idx_folder: Path, keep: int) -> None:
    path = idx_folder / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:keep])
    assert _complaint(idx_folder).startswith(f"{path} is damaged: its compressed content is cut off or altered")


def test_gzip_with_another_checksum(idx_folder: Path) -> None:
    path = idx_folder / f"{IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert _complaint(idx_folder).startswith(f"{path} is damaged: its compressed content is cut off or altered (CRC")


def test_labels_where_images_should_be(idx_folder: Path) -> None:
    path = idx_folder / f"{IMAGES}.gz"
    path.write_bytes((idx_folder / f"{LABELS}.gz").read_bytes())
    assert _complaint(idx_folder) == f"{path} holds labels, not images: give each file its own name."


def test_an_empty_file(idx_folder: Path) -> None:
    _damage(idx_folder, LABELS, lambda _: b"")
    assert "begins with nothing instead of 00000801" in _complaint(idx_folder)


def test_a_header_that_is_cut_off(idx_folder: Path) -> None:
    _damage(idx_folder, IMAGES, lambda content: content[:10])
    assert "ends within its header" in _complaint(idx_folder)


def test_fewer_bytes_than_promised(idx_folder: Path) -> None:
    _damage(idx_folder, IMAGES, lambda content: content[:-1])
    assert f"{IMAGES}.gz is damaged: it holds fewer bytes than the 800 its header declares" in _complaint(idx_folder)


def test_more_bytes_than_promised(idx_folder: Path) -> None:
    _damage(idx_folder, LABELS, lambda content: content + b"\0")
    assert f"{LABELS}.gz is damaged: it holds more bytes than the 40 its header declares" in _complaint(idx_folder)


def test_a_dimension_of_zero(idx_folder: Path) -> None:
    _damage(idx_folder, IMAGES, lambda content: content[:8] + bytes(4) + content[12:16])
    assert "its header declares a dimension of zero, (40, 0, 4)" in _complaint(idx_folder)


def test_counts_that_differ(idx_folder: Path, idx_bytes: Write) -> None:
    _damage(idx_folder, LABELS, lambda _: idx_bytes(np.zeros(39)))
    text = _complaint(idx_folder)
    assert f"{IMAGES}.gz holds 40 images but" in text
    assert f"{LABELS}.gz 39 labels" in text


def test_a_label_out_of_range(idx_folder: Path) -> None:
    _damage(idx_folder, LABELS, lambda content: content[:-1] + b"\x0a")
    assert f"{LABELS}.gz is damaged, or of another data set such as EMNIST: label 39 is 10, not" in _complaint(
        idx_folder
    )


def test_images_of_different_sizes(idx_folder: Path, idx_bytes: Write) -> None:
    _damage(idx_folder, IMAGES, lambda _: idx_bytes(np.zeros((40, 6, 4))))
    assert "hold images of different sizes, 6x4 and 5x4" in _complaint(idx_folder)


@pytest.mark.parametrize("size", [1 << 28, (1 << 32) - 1])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_no_memory_is_taken_for_what_a_header_promises(tmp_path: Path, suffix: str, size: int) -> None:
    content = (0x801).to_bytes(4, "big") + size.to_bytes(4, "big") + b"labels"
    path = tmp_path / f"{LABELS}{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert "holds fewer bytes" in _frugal_complaint(path)


def test_a_gzip_bomb_is_not_blown_up(tmp_path: Path) -> None:
    path = tmp_path / f"{LABELS}.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write((0x801).to_bytes(4, "big") + (10).to_bytes(4, "big"))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert "it holds more bytes than the 10 its header declares" in _frugal_complaint(path)


def _frugal_complaint(path: Path) -> str:
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read_idx(path, 0x801)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    return str(caught.value)


def _rename(folder: Path, rename: Callable[[str], str]) -> None:
    for path in sorted(folder.iterdir()):
        other = folder / rename(path.name.removesuffix(".gz"))
        other.parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / "moving")
        (folder / "moving").rename(other)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: re.sub("-idx", ".idx", name),
        lambda name: re.sub("-idx", ".idx", name) + ".gz",
        lambda name: name.upper() + ".GZ",
        lambda name: name.replace("-", "_"),
        lambda name: f"MNIST/raw/{name}",
        lambda name: f"mnist/{name}.gz",
        lambda name: f"archive/{re.sub('-idx', '.idx', name)}/{name}",
    ],
)
def test_the_names_that_tools_unpack_to(idx_folder: Path, rename: Callable[[str], str]) -> None:
    expected = MNIST.read(idx_folder)
    assert MNIST.remote is not None
    _rename(idx_folder, rename)
    assert MNIST.remote.missing(idx_folder) == []
    assert len(MNIST.files(idx_folder)) == 4
    assert np.array_equal(MNIST.read(idx_folder).train.images, expected.train.images)


def test_a_folder_of_another_data_set_is_not_looked_into(idx_folder: Path, idx_bytes: Write) -> None:
    """As torchvision has them beside each other."""
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        shutil.copytree(idx_folder, idx_folder.parent / "root" / name / "raw")
    root = idx_folder.parent / "root"
    (root / "FashionMNIST" / "raw" / f"{LABELS}.gz").write_bytes(idx_bytes(np.full(40, 3)))
    assert MNIST.read(root).train.labels[0] == 0
    assert FASHION_MNIST.read(root).train.labels[0] == 3


def test_a_file_that_is_there_twice(idx_folder: Path, idx_bytes: Write) -> None:
    path = idx_folder / LABELS
    path.write_bytes(gzip.decompress((idx_folder / f"{LABELS}.gz").read_bytes()))
    assert len(MNIST.read(idx_folder).train.labels) == 40
    assert len(MNIST.files(idx_folder)) == 5
    path.write_bytes(idx_bytes(np.zeros(40)))
    text = _complaint(idx_folder)
    assert text.startswith(f"{path} and {path}.gz are both {LABELS} but differ in content: remove the one")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"{LABELS}.gz.crdownload", f"{LABELS}.gz.crdownload, an incomplete download"),
        (f"{LABELS} (1).gz", f"{LABELS} (1).gz"),
        (f"emnist-digits-{LABELS}.gz", f"emnist-digits-{LABELS}.gz"),
    ],
)
def test_what_is_there_in_place_of_a_missing_file_is_named(idx_folder: Path, name: str, shown: str) -> None:
    (idx_folder / f"{LABELS}.gz").rename(idx_folder / name)
    assert _complaint(idx_folder) == (
        f"{idx_folder / LABELS}.gz is missing (similar names found: {shown}): put it there."
    )


FASHION_LABELS = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5, *range(10), *range(10), *range(10)])


@pytest.mark.parametrize("whole", [True, False])
def test_fashion_mnist_in_the_place_of_mnist(idx_folder: Path, idx_bytes: Write, whole: bool) -> None:
    """Or a part of it, by what it begins with."""
    if whole:
        _damage(idx_folder, LABELS, lambda _: idx_bytes(FASHION_LABELS))
    else:
        _damage(idx_folder, LABELS, lambda _: idx_bytes(FASHION_LABELS[:12]))
        _damage(idx_folder, IMAGES, lambda _: idx_bytes(np.zeros((12, 5, 4))))
    assert _complaint(idx_folder) == (
        f"{idx_folder / LABELS}.gz has the content of {LABELS} of fashion-mnist, not of {LABELS} of mnist: put the "
        "right file there, or choose the data set that the file belongs to."
    )
    assert len(FASHION_MNIST.read(idx_folder).train.labels) in (40, 12)


def test_training_and_test_labels_that_are_swapped(idx_folder: Path, idx_bytes: Write) -> None:
    (idx_folder / f"{LABELS}.gz").write_bytes(idx_bytes(np.array([7, 2, 1, 0, 4, 1, 4, 9, 5, 9, *range(10)] * 2)))
    assert f"has the content of t10k-labels-idx1-ubyte of mnist, not of {LABELS} of mnist" in _complaint(idx_folder)


@pytest.mark.parametrize("row", [[3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]])
def test_images_of_mnist_in_the_place_of_fashion_mnist(idx_folder: Path, idx_bytes: Write, row: list[int]) -> None:
    images = np.zeros((40, 28, 28))
    images[0, 5, 12:24] = row
    _damage(idx_folder, IMAGES, lambda _: idx_bytes(images))
    with pytest.raises(UserError, match=f"has the content of {IMAGES} of mnist, not of {IMAGES} of fashion-mnist"):
        FASHION_MNIST.read(idx_folder)


def test_real_mnist(real_data: Callable[[str], Path]) -> None:
    raw = MNIST.read(real_data("mnist"))
    assert raw.train.images.shape == (5000, 28, 28, 1)
    assert raw.test.images.shape == (1000, 28, 28, 1)
    assert 0.12 < raw.train.images.mean() / 255 < 0.14
    assert np.bincount(raw.train.labels).min() > 400
    assert MNIST.remote is not None
    assert MNIST.remote.missing(real_data("mnist")) == []


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 2**16, 2**32 - 1]), min_size=3, max_size=3)
HEADERS = SIZES.map(lambda sizes: WHOLE[:4] + b"".join(size.to_bytes(4, "big") for size in sizes))
CONTENTS = st.builds(bytes.__add__, HEADERS, st.sampled_from([0, 1, 2, 6, 8, 9, 12, 18, 27, 28]).map(bytes)) | altered(
    WHOLE
)


@examples(200)
@given(CONTENTS | CONTENTS.map(gzip.compress) | altered(gzip.compress(WHOLE, mtime=0)), st.sampled_from(["", ".gz"]))
def test_any_bytes_are_an_array_or_one_sentence(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"{IMAGES}{suffix}"
    path.write_bytes(content)
    array = read_or_sentence(lambda: read_idx(path, 0x803), str(path))
    if array is not None:
        assert (array.dtype, array.ndim) == (np.uint8, 3)
        assert 0 < array.size <= 100_000
