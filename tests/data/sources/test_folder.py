import inspect
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.dataset import Division
from cnn.data.source import ImageFile
from cnn.data.sources.folder import FOLDER
from cnn.data.sources.folder import index as index_folder
from cnn.errors import UserError
from cnn.shown_text import on_one_line
from tests.hostile import examples, read_or_sentence


def _complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        FOLDER.index(folder)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    return folder


def _paths(files: list[ImageFile]) -> list[str]:
    return [file.path for file in files]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return _fill(tmp_path, "train/b/1.jpg", "train/b/2.jpg", "train/a/3.png", "test/a/4.png", "test/b/5.JPG")


@pytest.mark.parametrize(("division", "tested"), [("by name", [4, 43]), ("by place", [2, 40])])
def test_a_fifth_is_kept(tmp_path: Path, division: Division, tested: list[int]) -> None:
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name, count in (("b", 200), ("a", 10)) for number in range(count)))
    index = index_folder(tmp_path, division)
    assert index.class_names == ("a", "b")
    assert np.bincount([file.label for file in index.test]).tolist() == tested
    assert len({*_paths(index.train), *_paths(index.test)}) == 210
    assert all(file.path.startswith("ab"[file.label] + "/") for file in index.train + index.test)
    assert index_folder(tmp_path, division) == index


def test_added_removed_and_renamed_images_move_no_other_ones(tmp_path: Path) -> None:
    """A run that is begun with the weights of an earlier one must not be tested on what that one was trained on."""
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in range(50)))
    before = FOLDER.index(tmp_path)
    _fill(tmp_path, *(f"a/0{number}.jpg" for number in range(50)), "b/deeper/0.jpg", "c/1.jpg", "c/2.jpg")
    (tmp_path / before.test[0].path).unlink()
    (tmp_path / before.train[0].path).rename(tmp_path / "a/renamed.jpg")
    after = FOLDER.index(tmp_path)
    gone = {before.test[0].path, before.train[0].path}
    assert {*_paths(before.train)} - gone <= {*_paths(after.train)}
    assert {*_paths(before.test)} - gone <= {*_paths(after.test)}


def test_the_choice_never_changes(tmp_path: Path) -> None:
    """A checkpoint that is resumed with a later version must not train on what was kept for the test."""
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in range(10)))
    assert _paths(FOLDER.index(tmp_path).test) == ["a/1.jpg", "a/4.jpg", "a/5.jpg", "a/8.jpg", "b/1.jpg"]
    assert _paths(index_folder(tmp_path, "by place").test) == ["a/1.jpg", "a/4.jpg", "b/7.jpg", "b/9.jpg"]


def test_two_parts(parts: Path) -> None:
    _fill(parts, "models/readme.txt", "train/c/6.jpg", "loose.jpg")
    index = FOLDER.index(parts)
    assert index.class_names == ("a", "b", "c")
    assert _paths(index.train) == ["train/a/3.png", "train/b/1.jpg", "train/b/2.jpg", "train/c/6.jpg"]
    assert _paths(index.test) == ["test/a/4.png", "test/b/5.JPG"]
    assert [file.label for file in index.train] == [0, 1, 1, 2]
    assert [file.label for file in index.test] == [0, 1]
    assert (index.train[0].bytes, index.train[0].changed) == (1, (parts / "train/a/3.png").stat().st_mtime_ns)
    assert index.validation == []
    assert index.notes == (
        f"classes in {parts} without test images: 'c'",
        f"not used in {parts}: images outside the class folders (.jpg: 1); folders beside the parts (models: 1)",
    )


def test_one_of_the_parts_may_be_named_itself(parts: Path) -> None:
    _fill(parts, "train/a/7.jpg")
    assert len(FOLDER.index(parts / "train").train) == 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    _fill(tmp_path, "bus/1.jpg", "bus/2.jpg", "train/1.jpg", "train/2.jpg")
    index = FOLDER.index(tmp_path)
    assert index.class_names == ("bus", "train")
    assert index.notes == (f"classes in {tmp_path} that are named like parts of a data set: 'train'",)


@pytest.mark.parametrize(
    "names", [("control", "test"), ("broken", "valid"), ("bullet train", "ice train"), ("#1", "@b")]
)
def test_classes_may_have_names_of_a_part_if_others_do_not(tmp_path: Path, names: tuple[str, str]) -> None:
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in (1, 2)))
    assert FOLDER.index(tmp_path).class_names == names


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(
            ("Training", "Testing"),
            ("train", "val"),
            ("TRAIN", "valid"),
            ("training_set", "test_set"),
            ("Train", "Test"),
        ),
        *(("train2017", "val2017"), ("seg_train", "seg_test"), ("img-train", "validation"), ("train", "dev")),
        *(("ILSVRC2012_img_train", "ILSVRC2012_img_val"), ("TrainImages", "eval")),
    ],
)
def test_parts_by_their_usual_names(tmp_path: Path, train: str, test: str) -> None:
    _fill(tmp_path, *(f"{train}/{name}/{number}.jpg" for name in "ab" for number in (1, 2)), f"{test}/b/1.jpg")
    _fill(tmp_path, "pred/1.jpg")
    index = FOLDER.index(tmp_path)
    assert index.class_names == ("a", "b")
    assert _paths(index.train) == [f"{train}/{path}" for path in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")]
    assert _paths(index.test) == [f"{test}/b/1.jpg"]
    assert index.notes[0] == f"in {tmp_path}, '{train}' is the training part, '{test}' is the test part"


def test_three_parts(parts: Path) -> None:
    whole = FOLDER.index(parts)
    _fill(parts, "Valid/b/6.jpg", "Valid/a/7.jpg")
    index = FOLDER.index(parts)
    assert _paths(index.validation) == ["Valid/a/7.jpg", "Valid/b/6.jpg"]
    assert [file.label for file in index.validation] == [0, 1]
    assert (index.train, index.test) == (whole.train, whole.test)
    assert index.notes == (
        f"in {parts}, 'train' is the training part, 'Valid' is the validation part, 'test' is the test part",
    )


@pytest.mark.parametrize(
    "names", [("train", "test1"), ("testA", "trainA"), ("train", "valid", "bus"), ("test", "valid")]
)
def test_parts_without_class_folders_are_not_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in (1, 2)))
    text = _complaint(tmp_path)
    assert text.startswith(f"folders in {tmp_path} have the names of parts of a data set but hold no class folders, '")
    assert text.endswith("or if they are classes, rename them.")


def test_a_part_without_class_folders(parts: Path) -> None:
    _fill(parts, "val/1.jpg", "val/@eaDir/1.jpg")
    assert "but hold no class folders, 'val': put a folder for each class" in _complaint(parts)


@pytest.mark.parametrize(("one", "other", "part"), [("Testing", "test", "test"), ("val", "valid", "validation")])
def test_two_folders_for_one_part(parts: Path, one: str, other: str, part: str) -> None:
    _fill(parts, f"{one}/a/1.jpg", f"{other}/a/2.jpg")
    assert _complaint(parts).startswith(f"'{one}' and '{other}' in {parts} are both the {part} part by their names: ")


def test_parts_of_each_class(tmp_path: Path) -> None:
    _fill(tmp_path, *(f"{name}/{part}/1.jpg" for name in "ab" for part in ("Train", "val")))
    assert _complaint(tmp_path).startswith(f"the class folder {tmp_path}/a is divided into parts: put the parts above")


def test_the_same_folders_in_all_class_folders(tmp_path: Path) -> None:
    _fill(tmp_path, *(f"{year}/{name}/1.jpg" for year in (2019, 2020) for name in ("cat", "dog")))
    assert FOLDER.index(tmp_path).notes == (
        "the classes are '2019', '2020', though each holds the folders 'cat', 'dog': if those are the classes, move "
        f"them to {tmp_path}",
    )


def test_all_of_it_a_folder_deeper(parts: Path) -> None:
    (parts / "set").mkdir()
    for part in ("train", "test"):
        (parts / part).rename(parts / "set" / part)
    _fill(parts, "labels.csv", "__MACOSX/set/train/a/1.jpg")
    assert f"if the classes are in {parts}/set, choose that folder, or move them up." in _complaint(parts)


def test_a_part_a_folder_deeper(tmp_path: Path) -> None:
    _fill(tmp_path, *(f"{part}/{part}/{name}/1.jpg" for part in ("train", "test") for name in "ab"))
    assert f"if the classes are in {tmp_path}/train/train, " in _complaint(tmp_path)


@pytest.mark.parametrize("prefix", ["", "train/"])
@pytest.mark.parametrize("other", ["labels", "Masks"])
def test_images_beside_what_another_task_needs(tmp_path: Path, prefix: str, other: str) -> None:
    _fill(tmp_path, f"{prefix}images/1.jpg", f"{prefix}images/2.jpg", f"{prefix}{other}/1.png", "val/images/1.jpg")
    if not prefix:
        shutil.rmtree(tmp_path / "val")
    assert f"in {tmp_path} are not usual names of classes: choose the folder that" in _complaint(tmp_path)


def test_what_is_an_image_is_told_by_the_name(tmp_path: Path) -> None:
    kinds = ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "JPG", "Png"]
    _fill(tmp_path, *(f"a/{number}.{kind}" for number, kind in enumerate(kinds)))
    _fill(tmp_path, "a/.hidden.jpg", "a/.hidden/1.jpg", ".git/1.jpg", "a/jpg", "a/x.txt", "a/jpg.", "a/y.jpg.bak")
    _fill(tmp_path, "b/1.jpg", "b/2.jpg")
    index = FOLDER.index(tmp_path)
    assert index.class_names == ("a", "b")
    assert len(index.train + index.test) == len(kinds) + 2
    assert index.notes == (f"not used in {tmp_path}: files of unsupported types (no suffix: 2, .bak: 1, .txt: 1)",)


def test_what_systems_and_programs_put_there_is_left_out_and_told(tmp_path: Path) -> None:
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in (1, 2)))
    whole = FOLDER.index(tmp_path)
    _fill(tmp_path, "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "b/@EADIR/1.jpg/x.jpg", "a/SYNOPHOTO_THUMB_M.jpg")
    _fill(tmp_path, "#recycle/1.jpg", "$RECYCLE.BIN/1.jpg", "__MACOSX/a/1.jpg", "a/Thumbs.db", "b/.DS_Store", "x.jpg")
    _fill(tmp_path, "a/.ipynb_checkpoints/1.jpg", "b/Icon\r", "b/1.HEIC", "b/2.heic")
    index = FOLDER.index(tmp_path)
    assert (index.class_names, index.train, index.test) == (whole.class_names, whole.train, whole.test)
    assert index.notes == (
        f"not used in {tmp_path}: files of unsupported types (.heic: 2); images outside the class folders "
        "(.jpg: 1); files and folders of systems and other programs (#recycle: 1, $RECYCLE.BIN: 1, @EADIR: 1, "
        "@eaDir: 1, Icon\\r: 1, SYNOPHOTO_THUMB_M.jpg: 1, Thumbs.db: 1, __MACOSX: 1)",
    )


def test_what_is_not_a_file_is_told_by_how_it_is_named(tmp_path: Path) -> None:
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in (1, 2)))
    os.mkfifo(tmp_path / "a/3.jpg")
    (tmp_path / "c").symlink_to("nothing")
    (tmp_path / "a/4.jpg").symlink_to("nothing")
    index = FOLDER.index(tmp_path)
    assert [file.path for file in index.train + index.test if file.bytes == -1] == ["a/4.jpg"]
    assert index.notes == (f"not used in {tmp_path}: pipes, sockets and devices (.jpg: 1); broken links (c: 1)",)


def test_one_folder_is_not_two_classes_or_parts(parts: Path) -> None:
    (parts / "test/c").symlink_to(parts / "train/a")
    (parts / "train/c").mkdir()
    assert f"{parts}/train/a and {parts}/test/c are the same folder (one is a link): remove" in _complaint(parts)
    (parts / "train/c").rmdir()
    shutil.rmtree(parts / "test")
    (parts / "test").symlink_to("train")
    assert f"{parts}/train and {parts}/test are the same folder" in _complaint(parts)
    (parts / "train/c").symlink_to("a")
    assert f"{parts}/train/a and {parts}/train/c are the same folder" in _complaint(parts / "train")


def test_images_of_two_classes_or_parts_are_told(parts: Path) -> None:
    (parts / "train/a/linked.jpg").symlink_to(parts / "train/b/1.jpg")
    (parts / "test/a/hard.jpg").hardlink_to(parts / "train/a/3.png")
    (parts / "train/b/again.jpg").symlink_to("2.jpg")  # a second time in its own class
    assert FOLDER.index(parts).notes == (
        f"images in {parts} that links put into two classes or parts: 2; train/a/linked.jpg and train/b/1.jpg",
    )


def test_folders_in_a_class_folder_and_links(tmp_path: Path) -> None:
    _fill(tmp_path, "other/1.jpg", "set/a/deep/er/1.jpg", "set/a/2.jpg", "set/b/1.jpg")
    (tmp_path / "set/a/3.jpg").symlink_to(tmp_path / "other/1.jpg")
    (tmp_path / "set/a/linked").symlink_to(tmp_path / "other")
    (tmp_path / "set/a/deep/loop").symlink_to(tmp_path / "set/a")
    (tmp_path / "set/a/self.jpg").symlink_to("self.jpg")
    (tmp_path / "set/c").symlink_to(tmp_path / "other")
    index = FOLDER.index(tmp_path / "set")
    files = {file.path: file for file in index.train + index.test}
    assert sorted(files) == [
        *("a/2.jpg", "a/3.jpg", "a/deep/er/1.jpg", "a/linked/1.jpg", "a/self.jpg"),
        *("b/1.jpg", "c/1.jpg"),
    ]
    assert (files["a/3.jpg"].bytes, files["a/self.jpg"].bytes) == (1, -1)


def test_folders_deep_in_each_other(tmp_path: Path) -> None:
    """More of them than calls may be in each other."""
    _fill(tmp_path, "a/1.jpg", "b/1.jpg", "/".join(["a", *["x"] * 200, "2.jpg"]))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        index = FOLDER.index(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert len(index.train + index.test) == 3


def test_too_few_classes(tmp_path: Path) -> None:
    assert _complaint(tmp_path) == (
        f"{tmp_path} holds no class folders: at least two are needed, each with the images of one class."
    )
    _fill(tmp_path, "a/1.jpg")
    assert _complaint(tmp_path).startswith(f"{tmp_path} holds one class folder, 'a': at least two are needed")


def test_no_images(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.txt", "b/2.txt")
    assert _complaint(tmp_path).startswith(f"the class folders in {tmp_path} hold no images: put files of these types")


def test_a_class_without_images(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "b/2.txt")
    text = _complaint(tmp_path)
    assert text.startswith(f"the class 'b' in {tmp_path} has no images, but files of unsupported types (.txt: 1): p")


def test_a_class_of_one_image_is_told(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    index = FOLDER.index(tmp_path)
    assert "a/1.jpg" in _paths(index.train)
    assert index.notes == (f"classes in {tmp_path} without test images: 'a'",)


def test_a_class_without_training_images(parts: Path) -> None:
    _fill(parts, "train/c/1.txt")
    assert _complaint(parts).startswith(f"the class 'c' in {parts}/train has no images, but files of unsupported")


def test_no_test_images(parts: Path) -> None:
    for path in (parts / "test").glob("*/*"):
        path.unlink()
    assert _complaint(parts) == f"{parts}/test holds no images: put some into its class folders."


def test_a_single_image_of_each_class(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "b/1.jpg")
    assert _complaint(tmp_path).startswith(f"no class in {tmp_path} has two images")


def test_a_class_of_the_test_only(parts: Path) -> None:
    _fill(parts, "test/d/1.jpg")
    assert _complaint(parts).startswith(f"the class 'd' is in {parts}/test but not in {parts}/train: add training")


@pytest.mark.parametrize(("there", "absent"), [("train", "test"), ("test", "train")])
def test_one_part_only(parts: Path, there: str, absent: str) -> None:
    shutil.rmtree(parts / absent)
    assert _complaint(parts).startswith(f"{parts} has a folder '{there}' of class folders but no '{absent}' beside it")


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "Cat"), ("Caf\u00e9", "Cafe\u0301"), ("caf\u00e9", "CAFE\u0301"), ("a", "a "), ("a", "a\u200b")],
)
def test_two_names_of_one_class(tmp_path: Path, one: str, other: str) -> None:
    _fill(tmp_path / "whole", f"{one}/1.jpg", f"{other}/1.jpg", "dog/1.jpg")
    assert f"in {tmp_path}/whole differ only in case, in spaces or in how their letters" in _complaint(
        tmp_path / "whole"
    )
    _fill(tmp_path / "parts", f"train/{one}/1.jpg", f"test/{other}/1.jpg", "train/dog/1.jpg")
    assert f"in {tmp_path}/parts differ only in case, in spaces or in how their letters" in _complaint(
        tmp_path / "parts"
    )


def test_a_class_in_any_script(tmp_path: Path) -> None:
    names = {"Veilchen", "\u30b9\u30df\u30ec\u3000\u82b1", "\u0645\u06cc\u200c\u062e\u0643"}  # a wide space, a joiner
    _fill(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in (1, 2)))
    assert set(FOLDER.index(tmp_path).class_names) == names


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "\udcff", "two\u2028lines"])
def test_a_class_that_cannot_be_shown(tmp_path: Path, name: str) -> None:
    _fill(tmp_path, "a/1.jpg", "a/2.jpg", f"{name}/1.jpg")
    escaped = ascii(name)[1:-1]
    text = _complaint(tmp_path)
    assert text == f"the name of the class folder '{escaped}' in {tmp_path} cannot be displayed: rename it."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b").chmod(0)
    assert _complaint(tmp_path).startswith(f"{tmp_path}/b cannot be read (Permission denied)")


def test_a_path_that_is_too_long_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path, "a/1.jpg", "b/1.jpg")
    monkeypatch.chdir(tmp_path / "a")
    for _ in range(50):
        os.mkdir("x" * 100)
        os.chdir("x" * 100)
    os.chdir(tmp_path)
    text = _complaint(tmp_path)
    assert text.startswith(f"{tmp_path}/a/xxx")
    assert text.endswith("xxx cannot be read (File name too long): fix that or choose another folder.")
    assert len(text) < 500


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert _complaint(tmp_path / "x").startswith(f"{tmp_path}/x cannot be read (No such file or directory)")


ALPHABET = [*"ab-'\"\\$ \n\t\x1b;*", "\N{COMBINING ACUTE ACCENT}", "\N{LINE SEPARATOR}", "\N{VIOLIN}", "\x80", "\udcff"]
NAMES = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=8) | st.sampled_from(
    ["train", "test", "-rf", "x" * 250, "Testing", "val", "seg_train"]
)


@examples(80)
@given(st.dictionaries(NAMES, st.sets(NAMES, max_size=3), max_size=4), NAMES)
def test_any_names_are_listed_or_are_one_sentence(tmp_path: Path, classes: dict[str, set[str]], own: str) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        folder = Path(place, own)
        folder.mkdir()
        files = [f"{name}/{each}.jpg" for name, inside in classes.items() for each in inside]
        for name in classes:
            (folder / name).mkdir()
        _fill(folder, *files)
        index = read_or_sentence(lambda: FOLDER.index(folder), on_one_line(str(folder)))
        if index is not None:
            assert sorted(_paths(index.train + index.test)) == sorted(files)
            assert all((folder / file.path).is_file() for file in index.train + index.test)
            assert all(on_one_line(name) == name for name in index.class_names)
