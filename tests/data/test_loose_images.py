"""Image files of no data set."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.folder import FOLDER
from cnn.data.loose_images import list_images, printable, read_images
from cnn.data.registry import DataSettings, open_dataset
from cnn.errors import UserError


def save(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            save(tmp_path / name / f"{number}.jpg", (90 + number, 120, 3), number + len(name))
    return tmp_path


def test_files_and_folders_are_listed_in_order(photographs: Path) -> None:
    save(photographs / ".hidden" / "a.png", (9, 9))
    (photographs / "cat" / "notes.txt").touch()
    strange = photographs / "picture"
    found = list_images([str(strange), str(photographs)])
    assert [str(path.relative_to(photographs)) for path in found] == [
        "picture", "cat/0.jpg", "cat/1.jpg", "cat/2.jpg", "dog/0.jpg", "dog/1.jpg", "dog/2.jpg",
    ]  # fmt: skip


def test_folders_are_walked_through_as_in_training(photographs: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(photographs / "cat" / "@eaDir" / "0.jpg" / "SYNOPHOTO_THUMB_M.jpg", (9, 9))
    (photographs / "cat" / "1.HEIC").touch()
    (photographs / "cat" / "loop").symlink_to(photographs)
    (photographs / "dog" / "elsewhere").symlink_to(photographs / "cat")
    (photographs / "dog" / "linked.jpg").symlink_to(photographs / "cat" / "0.jpg")
    index = FOLDER.index(photographs)
    found = list_images([str(photographs / "cat"), str(photographs / "dog")])
    assert [str(path.relative_to(photographs)) for path in found] == sorted(
        file.path for file in index.train + index.test
    )
    (record,) = caplog.records
    (note,) = (note for note in index.notes if note.startswith("not used in "))
    assert record.getMessage() == f"warning: not used: {note.partition(': ')[2]}"


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "1.heic").touch()
    with pytest.raises(
        UserError, match=r"holds no image files but files of kinds that are not read \(.heic: 1\): name"
    ):
        list_images([str(tmp_path)])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))} holds no image files"):
        list_images([str(tmp_path)])


def test_they_are_what_the_store_of_a_data_set_holds(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(photographs), image_size=64))
    assert dataset.image_shape == (73, 73, 3)
    read = read_images(list_images([str(photographs)]), dataset.image_shape)
    stored = np.concatenate([dataset.train.images, dataset.test.images])
    assert sorted(image.tobytes() for image in read) == sorted(image.tobytes() for image in stored)


def test_grey_stays_what_it_is_and_colours_become_grey(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", (28, 28))
    colours = save(tmp_path / "colours.png", (28, 28, 3))
    read = read_images([tmp_path / "grey.png", tmp_path / "colours.png"], (28, 28, 1))
    assert np.array_equal(read[0, :, :, 0], grey)
    np.testing.assert_allclose(read[1, :, :, 0], colours @ [0.299, 0.587, 0.114], atol=0.51)
    read = read_images([tmp_path / "grey.png"], (28, 28, 3))
    assert np.array_equal(read[0], np.stack([grey] * 3, 2))


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    save(tmp_path / "good.png", (28, 28))
    (tmp_path / "text.png").write_text("no image")
    paths = [tmp_path / name for name in ("good.png", "text.png", "missing.png")]
    with pytest.raises(UserError) as caught:
        read_images(paths, (28, 28, 1))
    assert str(caught.value) == (
        f"no image, or a damaged one: {paths[1]} (a text file), {paths[2]} (cannot be decoded: No such "
        "file or directory); leave it out."
    )
    with pytest.raises(UserError, match="File name too long"):
        read_images(list_images(["x" * 300]), (28, 28, 1))
    with pytest.raises(UserError, match="text.png .*, and 15 more; leave it out"):
        read_images([tmp_path / "text.png"] * 25, (28, 28, 1))


def test_only_squares_are_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="have 28x20 pixels: only squares"):
        read_images([tmp_path / "any.png"], (28, 20, 1))


def test_names_that_are_no_text_can_be_told() -> None:
    assert printable(os.fsdecode(b"caf\xe9/\xc3\xa9.png")) == "caf\\xe9/é.png"
