import functools
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.sources.cifar import CIFAR10, CIFAR100
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import UserError
from tests.hostile import altered, examples, read_or_sentence

from .pickled import python2


def _complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        CIFAR10.read(folder)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def batches(cifar_folder: Path) -> Path:
    return cifar_folder / "cifar-10-batches-bin"


def test_some_of_the_batches_are_read(cifar_folder: Path) -> None:
    raw = CIFAR10.read(cifar_folder)
    assert raw.train.images.shape == (40, 32, 32, 3)
    assert raw.test.images.shape == (10, 32, 32, 3)
    assert np.all(raw.train.images[21] == [1, 101, 201])
    assert list(raw.test.labels) == list(range(10))
    assert raw.class_names == tuple("abcdefghij")


def test_rows_come_before_columns(batches: Path) -> None:
    path = batches / "test_batch.bin"
    path.write_bytes(bytes(1) + bytes(i // 32 for i in range(1024)) + bytes(i % 32 for i in range(1024)) + bytes(1024))
    image = CIFAR10.read(batches).test.images[0]
    assert tuple(image[5, 9]) == (5, 9, 0)


def test_the_folder_of_the_batches_itself_may_be_named(cifar_folder: Path, batches: Path) -> None:
    assert np.array_equal(CIFAR10.read(batches).train.images, CIFAR10.read(cifar_folder).train.images)
    assert CIFAR10.files(batches) == CIFAR10.files(cifar_folder)
    assert len(CIFAR10.files(batches)) == 4


def test_the_archive_is_missing_only_where_no_batch_is(cifar_folder: Path, tmp_path: Path) -> None:
    assert CIFAR10.remote is not None
    assert CIFAR10.remote.missing(cifar_folder) == []
    (tmp_path / "empty").mkdir()
    assert CIFAR10.remote.missing(tmp_path / "empty") == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("size", [0, 3072, 3073 * 20 - 1, 3073 * 20 + 1])
def test_a_size_that_is_no_number_of_records(cifar_folder: Path, batches: Path, size: int) -> None:
    path = batches / "data_batch_3.bin"
    path.write_bytes((path.read_bytes() + b"\0")[:size])
    assert _complaint(cifar_folder).startswith(f"{path} is damaged: its size, {size:,} bytes, is not a multiple of")


def test_a_label_out_of_range(cifar_folder: Path, batches: Path) -> None:
    path = batches / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[3073 * 4] = 10
    path.write_bytes(content)
    assert _complaint(cifar_folder).startswith(f"{path} is damaged: the label of record 4 is 10, not 0 to 9")


@pytest.mark.parametrize("name", ["test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(cifar_folder: Path, batches: Path, name: str) -> None:
    (batches / name).unlink()
    assert _complaint(cifar_folder) == f"{batches / name} is missing: put it there."


def test_no_training_batch(cifar_folder: Path, batches: Path) -> None:
    for path in batches.glob("data_batch_*"):
        path.unlink()
    assert _complaint(cifar_folder).startswith(f"{batches} holds none of data_batch_1.bin to data_batch_5.bin: put")


@pytest.mark.parametrize(("content", "what"), [(b"a\nb\n", "holds 2 class names"), (b"\xff", "is not ASCII text")])
def test_class_names_that_are_none(cifar_folder: Path, batches: Path, content: bytes, what: str) -> None:
    (batches / "batches.meta.txt").write_bytes(content)
    assert f"batches.meta.txt is damaged: it {what}" in _complaint(cifar_folder)


def test_a_file_that_cannot_be_read_is_named(cifar_folder: Path, batches: Path) -> None:
    (batches / "test_batch.bin").unlink()
    (batches / "test_batch.bin").mkdir()
    assert "test_batch.bin cannot be read (Is a directory)" in _complaint(cifar_folder)


def test_real_cifar(real_data: Callable[[str], Path]) -> None:
    raw = CIFAR10.read(real_data("cifar10"))
    assert raw.train.images.shape == (10000, 32, 32, 3)
    assert raw.test.images.shape == (2000, 32, 32, 3)
    assert raw.class_names[0] == "airplane"
    # Known of the whole set: 0.491, 0.482, 0.447.
    assert np.allclose(raw.train.images.mean((0, 1, 2)) / 255, [0.491, 0.482, 0.447], atol=0.01)


def test_the_hundred_classes(cifar_folder: Path) -> None:
    raw = CIFAR100.read(cifar_folder)
    assert (raw.train.images.shape, raw.test.images.shape) == ((20, 32, 32, 3), (10, 32, 32, 3))
    assert np.all(raw.train.images[11] == [11, 111, 211])
    assert list(raw.test.labels) == list(range(10))  # the fine ones
    assert raw.class_names[99] == "class_99"
    assert np.array_equal(CIFAR100.read(cifar_folder / "cifar-100-binary").train.images, raw.train.images)
    assert [path.name for path in CIFAR100.files(cifar_folder)] == ["fine_label_names.txt", "test.bin", "train.bin"]


def test_damage_to_the_hundred_classes(cifar_folder: Path, tmp_path: Path) -> None:
    path = cifar_folder / "cifar-100-binary" / "train.bin"
    content = bytearray(path.read_bytes())
    content[3074 * 4 + 1] = 100
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"train.bin is damaged: the label of record 4 is 100, not 0 to 99; get it again."
    ):
        CIFAR100.read(cifar_folder)
    path.write_bytes(content[:-1])
    with pytest.raises(
        UserError, match=r"train.bin is damaged: its size, 61,479 bytes, is not a multiple of a record's 3,"
    ):
        CIFAR100.read(cifar_folder)
    path.unlink()
    with pytest.raises(UserError, match=r"cifar-100-binary holds no train.bin: put it there"):
        CIFAR100.read(cifar_folder)
    assert CIFAR100.remote is not None
    assert CIFAR100.remote.missing(cifar_folder) == []
    (tmp_path / "empty").mkdir()
    assert CIFAR100.remote.missing(tmp_path / "empty") == ["cifar-100-binary.tar.gz"]


RECORDS = st.binary(min_size=1, max_size=3).map(
    lambda labels: b"".join(bytes([label]) + bytes(3072) for label in labels)
)
NAMES = b"\n".join(b"%d" % each for each in range(10))


@examples(60)
@given(RECORDS | RECORDS.flatmap(altered), altered(NAMES))
def test_any_bytes_are_a_data_set_or_one_sentence(
    cifar_folder: Path, batches: Path, records: bytes, names: bytes
) -> None:
    (batches / "data_batch_3.bin").write_bytes(records)
    for content in (b"a b c d e f g h i j", names):
        (batches / "batches.meta.txt").write_bytes(content)
        raw = read_or_sentence(lambda: CIFAR10.read(cifar_folder), str(batches))
        if raw is not None:
            assert raw.train.images.shape == (20 + len(records) // 3073, 32, 32, 3)
            assert set(raw.train.labels) <= set(range(10))
            assert len(set(raw.class_names)) == 10


def _write_pickles(cifar_folder: Path, dump: Callable[[dict], bytes]) -> Path:
    """The same images in the other form, in a folder of their own."""
    ten, hundred = (cifar_folder.parent / "pickles" / name for name in ("cifar-10-batches-py", "cifar-100-python"))
    for folder, source, labels in ((ten, "cifar-10-batches-bin", 1), (hundred, "cifar-100-binary", 2)):
        folder.mkdir(parents=True)
        for path in (cifar_folder / source).glob("*.bin"):
            records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, labels + 3072)
            names = ["labels"] if labels == 1 else ["coarse_labels", "fine_labels"]
            batch = {name: records[:, column].tolist() for column, name in enumerate(names)}
            (folder / path.stem).write_bytes(dump({"data": records[:, labels:], **batch, "batch_label": "batch"}))
    (ten / "batches.meta").write_bytes(dump({"label_names": [*"abcdefghij"]}))
    (hundred / "meta").write_bytes(dump({"fine_label_names": [f"class_{number}" for number in range(100)]}))
    return ten.parent


@pytest.mark.parametrize("dump", [python2, functools.partial(pickle.dumps, protocol=5)])
@pytest.mark.parametrize(("name", "inner"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_the_pickled_form_is_the_same_data_set(
    cifar_folder: Path, dump: Callable[[dict], bytes], name: str, inner: str
) -> None:
    checksum = open_dataset(DataSettings(data=name, data_dir=str(cifar_folder))).checksum
    folder = _write_pickles(cifar_folder, dump)
    deeper = folder.parent / "deeper"
    shutil.copytree(folder, deeper / "downloads")
    for place in (folder, folder / inner, deeper):
        assert open_dataset(DataSettings(data=name, data_dir=str(place))).checksum == checksum


@pytest.mark.parametrize("place", [".", "downloads"])
def test_an_archive_that_lies_there_is_unpacked(cifar_folder: Path, tmp_path: Path, place: str) -> None:
    pickles = _write_pickles(cifar_folder, python2)
    (tmp_path / "target" / place).mkdir(parents=True)
    with tarfile.open(tmp_path / "target" / place / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(pickles / "cifar-10-batches-py", "cifar-10-batches-py")
    dataset = open_dataset(DataSettings(data="cifar10", data_dir=str(tmp_path / "target")))
    assert np.array_equal(dataset.train.images, CIFAR10.read(cifar_folder).train.images)
    assert (tmp_path / "target" / place / "cifar-10-python.tar.gz").exists()


def test_two_folders_of_batches(cifar_folder: Path, batches: Path) -> None:
    batches.rename(cifar_folder / "old")
    shutil.copytree(cifar_folder / "old", cifar_folder / "new")
    with pytest.raises(UserError, match="new and .*old both hold CIFAR-10: set data_dir to one of them"):
        CIFAR10.read(cifar_folder)
    assert len(CIFAR10.files(cifar_folder / "old")) == 4


def test_the_other_data_set_in_its_place(cifar_folder: Path, batches: Path) -> None:
    pickles = _write_pickles(cifar_folder, python2) / "cifar-100-python"
    shutil.copy(cifar_folder / "cifar-100-binary" / "train.bin", batches / "data_batch_1.bin")
    assert _complaint(cifar_folder).startswith(f"{batches / 'data_batch_1.bin'} belongs to CIFAR-100, not to CIFAR-10")
    shutil.copy(batches / "test_batch.bin", cifar_folder / "cifar-100-binary" / "train.bin")
    with pytest.raises(UserError, match=r"train.bin belongs to CIFAR-10, not to CIFAR-100"):
        CIFAR100.read(cifar_folder)
    shutil.copy(pickles / "test", pickles.parent / "cifar-10-batches-py" / "test_batch")
    with pytest.raises(UserError, match=r"test_batch belongs to CIFAR-100, not to CIFAR-10"):
        CIFAR10.read(pickles.parent)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"labels": [1]}, "its 'data' is not an array of images of 3,072 bytes"),
        ({"labels": [1], "data": np.zeros((1, 3071), np.uint8)}, "its 'data' is not an array of images"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "its 'labels' are not one label per image"),
        ({"labels": [1], "data": np.zeros((2, 3072), np.uint8)}, "its 'labels' are not one label per image"),
        ({"labels": [1, "x"], "data": np.zeros((2, 3072), np.uint8)}, "its 'labels' are not one label per image"),
        ({"labels": [1, 2**80], "data": np.zeros((2, 3072), np.uint8)}, "its 'labels' are not one label per image"),
        ({"labels": [1, 10], "data": np.zeros((2, 3072), np.uint8)}, "the label of record 1 is 10, not 0 to 9"),
        ({"labels": [], "data": np.zeros((0, 3072), np.uint8)}, "its 'labels' are not one label per image"),
        ({"labels": os.system}, "it names 'posix.system', which plain data do not need"),
    ],
)
def test_a_pickled_batch_that_is_none(cifar_folder: Path, values: dict, what: str) -> None:
    path = _write_pickles(cifar_folder, pickle.dumps) / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps(values))
    text = _complaint(path.parent)
    assert text.startswith(f"{path} is damaged: {what}")
    assert text.endswith("; get it again.")


@pytest.mark.parametrize("names", [None, ["a"], [1] * 10, "abcdefghij"])
def test_pickled_class_names_that_are_none(cifar_folder: Path, names: object) -> None:
    path = _write_pickles(cifar_folder, pickle.dumps) / "cifar-10-batches-py" / "batches.meta"
    path.write_bytes(pickle.dumps({"label_names": names}))
    assert f"{path} is damaged: it holds" in _complaint(path.parent)
