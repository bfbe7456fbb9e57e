import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat  # type: ignore[import-untyped]

from cnn.data.feed.feed_settings import FeedSettings
from cnn.data.images.image_file import decode_image
from cnn.data.jpeg_images import JpegImages
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import UserError


def test_an_unknown_name() -> None:
    with pytest.raises(UserError) as caught:
        DataSettings(data="minst")
    assert str(caught.value) == (
        "unknown data set 'minst': choose one of digits, mnist, fashion-mnist, cifar10, cifar100, oxflower17, "
        "folder, synthetic. Did you mean 'mnist'?"
    )


def test_negative_megabytes() -> None:
    with pytest.raises(UserError, match="resident_mb is -1: it must be 0 or more megabytes, for example 2048"):
        FeedSettings(resident_mb=-1)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_a_folder_for_what_needs_none(name: str) -> None:
    with pytest.raises(UserError, match=f"data_dir is '/x', but the data set {name} is not read from files"):
        DataSettings(data=name, data_dir="/x")


def test_the_default_needs_nothing() -> None:
    dataset = open_dataset(DataSettings())
    assert dataset.name == "digits"
    assert dataset.image_shape == (32, 32, 1)
    assert dataset.classes == 10


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(idx_folder: Path, name: str) -> None:
    dataset = open_dataset(DataSettings(data=name, data_dir=str(idx_folder)))
    assert dataset.name == name
    assert dataset.image_shape == (5, 4, 1)
    assert dataset.class_names[9] == {"mnist": "9", "fashion-mnist": "Ankle boot"}[name]


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_files(cifar_folder: Path, name: str, classes: int) -> None:
    dataset = open_dataset(DataSettings(data=name, data_dir=str(cifar_folder)))
    assert dataset.image_shape == dataset.input_shape == (32, 32, 3)
    assert dataset.classes == classes


def test_files_in_the_cache_are_found(idx_folder: Path, cache: Path) -> None:
    (cache / "data").mkdir(parents=True)
    idx_folder.rename(cache / "data" / "mnist")
    assert len(open_dataset(DataSettings(data="mnist")).train.labels) == 40


def test_the_folder_is_looked_at_when_the_data_set_is_opened(tmp_path: Path) -> None:
    settings = DataSettings(data="mnist", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=f"data_dir '{tmp_path}/nowhere' does not exist on this machine: name the fold"):
        open_dataset(settings)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        open_dataset(DataSettings(data="mnist", data_dir=str(tmp_path / "file")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match="is not readable for you"):
        open_dataset(DataSettings(data="mnist", data_dir=str(tmp_path / "closed")))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("x" * 300, "cannot be accessed (File name too long)"),  # as below a folder that may not be entered
        ("nul\0", "does not exist on this machine"),
        ("~nobody-of-this-name/x", "begins with a home folder that is unknown on this machine"),
    ],
)
def test_a_folder_that_cannot_be_looked_at(path: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        open_dataset(DataSettings(data="mnist", data_dir=path))
    shown = path.replace("\0", "\\x00")
    assert str(caught.value) == (
        f"data_dir '{shown}' {fault}: name the folder of the data set's files, or leave data_dir out."
    )


def test_a_link_to_nothing_is_named(cifar_folder: Path) -> None:
    link = cifar_folder / "cifar-10-batches-bin" / "data_batch_2.bin"
    link.symlink_to("nothing")
    with pytest.raises(UserError) as caught:
        open_dataset(DataSettings(data="cifar10", data_dir=str(cifar_folder)))
    assert str(caught.value) == f"{link} cannot be read (No such file or directory): fix that or choose another folder."


def _link_to_what_cannot_be_looked_at(link: Path) -> None:
    """As to a file below a folder that may not be entered."""
    link.unlink(missing_ok=True)
    link.symlink_to("x" * 300)


@pytest.mark.parametrize("name", ["test_batch.bin", "batches.meta.txt"])
def test_a_link_of_cifar_to_what_cannot_be_looked_at(cifar_folder: Path, name: str) -> None:
    link = cifar_folder / "cifar-10-batches-bin" / name
    _link_to_what_cannot_be_looked_at(link)
    with pytest.raises(UserError, match=rf"{name} cannot be read \(File name too long\): fix that or choose another"):
        open_dataset(DataSettings(data="cifar10", data_dir=str(cifar_folder)))


@pytest.mark.parametrize("target", ["nothing", "x" * 300])
def test_a_link_of_the_flowers_division_to_nothing(
    tmp_path: Path, noise: Callable[..., Image.Image], target: str
) -> None:
    for number in range(1, 9):
        noise(number).save(tmp_path / f"image_{number:04}.jpg")
    (tmp_path / "jpg").symlink_to("x" * 300)
    (tmp_path / "datasplits.mat").symlink_to(target)
    with pytest.raises(UserError, match=r"datasplits.mat cannot be read \(.*\): get it again, or remove it to do"):
        open_dataset(DataSettings(data="oxflower17", data_dir=str(tmp_path), image_size=8))


def test_damaged_files_make_no_store(idx_folder: Path, cache: Path) -> None:
    path = idx_folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        open_dataset(DataSettings(data="mnist", data_dir=str(idx_folder)))
    assert [entry.name for entry in (cache / "stores").iterdir() if entry.is_dir()] == []


def test_image_files(image_folder: Path) -> None:
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(image_folder), image_size=70))
    assert dataset.name == "folder"
    assert (dataset.image_shape, dataset.input_shape) == ((80, 80, 3), (70, 70, 3))
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(image_folder), image_size=10))
    assert (dataset.image_shape, dataset.input_shape) == ((10, 10, 3), (10, 10, 3))
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(image_folder)))
    assert (dataset.image_shape, dataset.input_shape) == ((256, 256, 3), (224, 224, 3))


def test_damaged_image_files(image_folder: Path) -> None:
    (image_folder / "cat" / "text.jpg").write_text("no image")
    settings = {"data": "folder", "data_dir": str(image_folder), "image_size": 8}
    with pytest.raises(UserError, match=r"cat/text.jpg \(a text file\)"):
        open_dataset(DataSettings(**settings))
    dataset = open_dataset(DataSettings(**settings, damaged="skip"))
    assert len(dataset.train.labels) + len(dataset.test.labels) == 10


def test_flowers(tmp_path: Path, noise: Callable[..., Image.Image]) -> None:
    (tmp_path / "jpg").mkdir()
    for number in range(1, 9):
        noise(number).save(tmp_path / "jpg" / f"image_{number:04}.jpg")
    dataset = open_dataset(DataSettings(data="oxflower17", data_dir=str(tmp_path), image_size=8))
    assert (len(dataset.train.labels), len(dataset.test.labels), dataset.classes) == (5, 3, 17)
    assert dataset.train_keys is not None
    assert dataset.train_keys.tolist() == [2, 3, 5, 6, 7]
    settings = DataSettings(data="oxflower17", data_dir=str(tmp_path), image_size=8)
    dataset = open_dataset(settings, division="by place")
    assert (len(dataset.train.labels), len(dataset.test.labels), dataset.train_keys) == (6, 2, None)


def test_each_split_is_a_store_of_its_own(tmp_path: Path, cache: Path, noise: Callable[..., Image.Image]) -> None:
    (tmp_path / "jpg").mkdir()
    for number in range(1, 13):
        noise(number).save(tmp_path / "jpg" / f"image_{number:04}.jpg")
    parts = {}
    for split in (1, 2, 3):
        numbers = np.roll(np.arange(1, 1361), -4 * (split - 1))
        parts |= {f"tst{split}": numbers[:4], f"val{split}": numbers[4:5], f"trn{split}": numbers[5:]}
    savemat(tmp_path / "datasplits.mat", parts)
    settings = {"data": "oxflower17", "data_dir": str(tmp_path), "image_size": 8}
    for split in (1, 2, 3, 1):
        tested = [tmp_path / "jpg" / f"image_{number:04}.jpg" for number in range(4 * split - 3, 4 * split + 1)]
        dataset = open_dataset(DataSettings(**settings, split=split))
        assert np.array_equal(dataset.test.images, [decode_image(path, 8) for path in tested])
    assert len([path for path in (cache / "stores").iterdir() if path.is_dir()]) == 3


@pytest.mark.parametrize("name", ["digits", "cifar10", "folder"])
def test_a_split_of_what_has_none(name: str) -> None:
    data_dir = "/x" if name == "folder" else None
    with pytest.raises(UserError, match=f"split is 2, but {name} has no official splits: leave split"):
        DataSettings(data=name, data_dir=data_dir, split=2)
    DataSettings(data=name, data_dir=data_dir, split=1)


@pytest.mark.parametrize("split", [-1, 0, 4])
def test_a_split_out_of_range(split: int) -> None:
    with pytest.raises(UserError, match=f"split is {split}: it must be a whole number from 1 to 3"):
        DataSettings(data="oxflower17", split=split)


def test_the_users_own_images_need_a_folder() -> None:
    with pytest.raises(UserError, match=r"the data set folder needs data_dir: name the folder .* per class\.$"):
        DataSettings(data="folder")


@pytest.mark.parametrize("size", [-1, 0, 7, 1025])
def test_an_image_size_out_of_range(size: int) -> None:
    with pytest.raises(UserError, match=f"image_size is {size}: it must be a whole number from 8 to 1024, for example"):
        DataSettings(data="oxflower17", image_size=size)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_settings_of_image_files_for_what_has_none(name: str) -> None:
    with pytest.raises(UserError, match=f"image_size is 32, but the images of {name} have a fixed size: leave"):
        DataSettings(data=name, image_size=32)
    with pytest.raises(UserError, match=f"damaged is 'skip', but {name} has no image files to skip: leave"):
        DataSettings(data=name, damaged="skip")


def test_an_unknown_choice_for_damaged() -> None:
    with pytest.raises(UserError, match="unknown choice for damaged 'ignore': choose one of refuse, skip"):
        DataSettings(data="oxflower17", damaged="ignore")


def test_a_way_to_store_images_for_what_has_no_image_files() -> None:
    with pytest.raises(UserError, match="store is 'jpeg', but digits has no image files to scale and store: leave"):
        DataSettings(store="jpeg")
    with pytest.raises(UserError, match="unknown store 'png': choose one of auto, raw, jpeg"):
        DataSettings(data="oxflower17", store="png")


@pytest.mark.parametrize(("store", "limit", "is_jpeg"), [("raw", 0, False), ("jpeg", 10**9, True)])
def test_images_are_stored_as_asked_for(
    image_folder: Path, store: str, limit: int, is_jpeg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn.data.sources.registry._MAX_RAW_BYTES", limit)
    settings = DataSettings(data="folder", data_dir=str(image_folder), image_size=8, store=store)
    assert isinstance(open_dataset(settings).train.images, JpegImages) == is_jpeg


@pytest.mark.parametrize("is_jpeg", [False, True])
def test_by_default_many_images_are_stored_as_jpeg(
    image_folder: Path, is_jpeg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn.data.sources.registry._MAX_RAW_BYTES", 10 * 8 * 8 * 3 - is_jpeg)
    settings = DataSettings(data="folder", data_dir=str(image_folder), image_size=8)
    assert isinstance(open_dataset(settings).test.images, JpegImages) == is_jpeg
