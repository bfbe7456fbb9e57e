import logging
import shutil
from pathlib import Path

import pytest

from cnn.data.source import ImageFile
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.store.equal_images import EqualImages


def _file(path: str, label: int) -> ImageFile:
    return ImageFile(path=path, label=label, bytes=1, changed=1, key=0, **_TIMES)


_TIMES = dict.fromkeys(set(ImageFile._fields) - {"path", "label", "bytes", "changed", "key"}, 1)


def test_images_of_two_parts_and_of_two_classes() -> None:
    images = [
        (_file("a/1", 0), "train", "x"),
        (_file("a/2", 0), "train", "x"),
        (_file("a/3", 0), "test", "x"),
        (_file("b/1", 1), "test", "x"),
        (_file("b/2", 1), "test", "y"),
    ]
    assert EqualImages(images).notes() == [
        "2 images are also in another part, with the same content: a/1 and a/3, for example",
        "1 image is also in another class, with the same content: a/1 and b/1",
    ]
    assert EqualImages(images[:2] + images[4:]).notes() == []


def test_a_copy_in_another_part_is_told_when_the_images_are_prepared(
    image_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = image_folder.parent / "parts"
    shutil.copytree(image_folder, folder / "train")
    (image_folder / "cat" / "0.png").rename(image_folder / "cat" / "other name.png")
    for name in ("cat", "dog"):
        (folder / "test" / name).mkdir(parents=True)
    shutil.copy(folder / "train" / "dog" / "1.png", folder / "test" / "dog" / "copy.png")
    shutil.copy(folder / "train" / "dog" / "2.png", folder / "train" / "cat" / "copy.png")
    with caplog.at_level(logging.WARNING):
        open_dataset(DataSettings(data="folder", data_dir=str(folder), image_size=8))
    told = [record.getMessage() for record in caplog.records if "same content" in record.getMessage()]
    assert told == [
        "warning: 1 image is also in another part, with the same content: train/dog/1.png and test/dog/copy.png",
        "warning: 1 image is also in another class, with the same content: train/cat/copy.png and train/dog/2.png",
    ]
