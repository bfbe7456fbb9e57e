from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat  # type: ignore[import-untyped]

from cnn.data.source import ImageFile
from cnn.data.sources.oxflower17 import OXFLOWER17
from cnn.errors import UserError


def _complaint(folder: Path, split: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        OXFLOWER17.index(folder, split)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _numbers(files: list[ImageFile]) -> list[int]:
    return [int(file.path[-8:-4]) for file in files]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    (tmp_path / "jpg").mkdir()
    for number in range(1, 1361):
        (tmp_path / "jpg" / f"image_{number:04}.jpg").touch()
    (tmp_path / "jpg" / "files.txt").touch()
    return tmp_path


def _write_splits(folder: Path) -> list[list[np.ndarray]]:
    """Three splits, each of training, validation and test numbers."""
    splits, content = [], {}
    for split in (1, 2, 3):
        numbers = np.random.default_rng(split).permutation(np.arange(1, 1361))
        splits.append([numbers[:680], numbers[680:1020], numbers[1020:]])
        content |= dict(zip((f"trn{split}", f"val{split}", f"tst{split}"), splits[-1], strict=True))
    savemat(folder / "datasplits.mat", content)
    return splits


@pytest.mark.parametrize(
    "place", [lambda name: f"17flowers/jpg/{name}", lambda name: f"flowers/{name.upper()}", lambda name: name.upper()]
)
def test_where_tools_leave_the_photographs(whole: Path, place: Callable[[str], str]) -> None:
    expected = OXFLOWER17.index(whole)
    folder = whole.with_name("elsewhere")
    for path in (whole / "jpg").iterdir():
        other = folder / place(path.name)
        other.parent.mkdir(parents=True, exist_ok=True)
        path.rename(other)
    index = OXFLOWER17.index(folder)
    assert [_numbers(part) for part in (index.train, index.test)] == [
        _numbers(part) for part in (expected.train, expected.test)
    ]
    assert (folder / index.train[0].path).exists()
    assert OXFLOWER17.remote is not None
    assert OXFLOWER17.remote.missing(folder) == []


def test_one_photograph_by_two_names(whole: Path) -> None:
    (whole / "jpg" / "IMAGE_0007.JPG").touch()
    assert "are the same photograph: remove one of them." in _complaint(whole)


def test_two_folders_of_photographs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "jpg").mkdir(parents=True)
        (tmp_path / name / "jpg" / "image_0001.jpg").touch()
    assert _complaint(tmp_path) == (
        f"{tmp_path}/a/jpg and {tmp_path}/b/jpg both hold flowers: set data_dir to one of them."
    )


def test_an_archive_that_lies_there_is_to_be_unpacked(tmp_path: Path) -> None:
    assert OXFLOWER17.remote is not None
    assert OXFLOWER17.remote.missing(tmp_path) == ["17flowers.tgz"]
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "17flowers.tgz").touch()
    assert OXFLOWER17.remote.missing(tmp_path) == ["downloads/17flowers.tgz"]


def test_the_tutorials_split_of_all(whole: Path) -> None:
    index = OXFLOWER17.index(whole)
    train, test = _numbers(index.train), _numbers(index.test)
    assert (len(train), len(test)) == (1000, 360)
    assert sorted(train + test) == list(range(1, 1361))
    assert train == sorted(train)
    assert test[:8] == [1, 4, 8, 9, 17, 25, 26, 29]  # the test flowers never change
    assert len({file.label for file in index.test}) == 17


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_official_splits(whole: Path, split: int) -> None:
    train, validation, test = _write_splits(whole)[split - 1]
    index = OXFLOWER17.index(whole, split)
    assert _numbers(index.train) == sorted([*train, *validation])
    assert _numbers(index.test) == sorted(test)


def test_the_first_split_is_taken_unless_another_is_named(whole: Path) -> None:
    _write_splits(whole)
    assert OXFLOWER17.index(whole) == OXFLOWER17.index(whole, 1)


def test_another_split_needs_the_official_file(whole: Path) -> None:
    assert _complaint(whole, 2) == (
        f"split is 2, but there is no datasplits.mat in {whole}: get it from "
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/, or leave split out."
    )


def test_the_official_split_of_a_part(whole: Path) -> None:
    *_, test = _write_splits(whole)[0]
    for number in range(700, 1361):
        (whole / "jpg" / f"image_{number:04}.jpg").unlink()
    assert _numbers(OXFLOWER17.index(whole).test) == sorted(test[test < 700])


def test_a_split_of_something_else(whole: Path) -> None:
    savemat(whole / "datasplits.mat", {"trn1": [1, 2], "val1": [3], "tst1": [4]})
    assert _complaint(whole).startswith(f"{whole}/datasplits.mat does not divide the images 1 to 1360: get it again")
    assert _complaint(whole, 3).startswith(f"{whole}/datasplits.mat cannot be read ('trn3'): get it again, or remove")
    (whole / "datasplits.mat").write_bytes(b"nothing of the kind")
    assert _complaint(whole).startswith(f"{whole}/datasplits.mat cannot be read")


def test_missing_photographs_move_no_other_ones(whole: Path) -> None:
    before = OXFLOWER17.index(whole)
    for number in (1, 2, 700, 1360):
        (whole / "jpg" / f"image_{number:04}.jpg").unlink()
    after = OXFLOWER17.index(whole)
    for part in ("train", "test"):
        assert _numbers(getattr(after, part)) == [
            n for n in _numbers(getattr(before, part)) if n not in (1, 2, 700, 1360)
        ]


def test_the_first_runs_tested_a_quarter_of_every_class_of_a_part(whole: Path) -> None:
    for number in range(1, 1361):
        if (number - 1) % 80 >= 60:
            (whole / "jpg" / f"image_{number:04}.jpg").unlink()
    index = OXFLOWER17.index(whole, division="by place")
    assert np.bincount([file.label for file in index.train]).tolist() == [45] * 17
    assert np.bincount([file.label for file in index.test]).tolist() == [15] * 17
    assert index.division == "by place"


def test_names_and_labels(whole: Path) -> None:
    index = OXFLOWER17.index(whole)
    assert len(index.class_names) == 17
    labels = {int(file.path[-8:-4]): index.class_names[file.label] for file in index.train + index.test}
    assert [labels[number] for number in (1, 80, 81, 1360)] == ["Daffodil", "Daffodil", "Snowdrop", "Pansy"]


def test_the_folder_of_the_photographs_may_be_named(whole: Path) -> None:
    assert _numbers(OXFLOWER17.index(whole / "jpg").test) == _numbers(OXFLOWER17.index(whole).test)
    assert OXFLOWER17.index(whole / "jpg").train[0].path == "image_0002.jpg"


@pytest.mark.parametrize("name", ["image_0000.jpg", "image_1361.jpg", "image_00001.jpg", "image_7.jpg"])
def test_a_number_out_of_range(whole: Path, name: str) -> None:
    (whole / "jpg" / name).touch()
    assert _complaint(whole).startswith(
        f"{whole}/jpg/{name} does not belong to oxflower17, whose images are image_0001.j"
    )


def test_too_few(tmp_path: Path) -> None:
    (tmp_path / "image_0001.jpg").touch()
    assert _complaint(tmp_path).startswith(f"{tmp_path} holds too few flowers to train and to test with, 1: add more")


def test_the_archive_is_missing_where_no_photograph_is(whole: Path) -> None:
    assert OXFLOWER17.remote is not None
    assert OXFLOWER17.remote.missing(whole) == []
    (whole / "empty").mkdir()
    assert OXFLOWER17.remote.missing(whole / "empty") == ["17flowers.tgz"]


def test_real_flowers(real_data: Callable[[str], Path]) -> None:
    index = OXFLOWER17.index(real_data("oxflower17"))
    assert np.bincount([file.label for file in index.train + index.test]).tolist() == [60] * 17
    assert np.bincount([file.label for file in index.test]).min() >= 10
