"""ImageNet's own folders: class folders to train on, validation images in one folder, and their labels in the kit."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat  # type: ignore[import-untyped]

from cnn.data.sources.folder import FOLDER
from cnn.errors import UserError

CLASSES = {2: "n01440764", 1: "n01443537", 3: "n00000001"}
"""By number; the last is one of the kit's many that are not in the data set."""

LABELS = "ILSVRC2012_validation_ground_truth.txt"


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for name in ("n01440764", "n01443537"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "train" / name / f"{name}_{number}.JPEG").write_bytes(b"1")
    (tmp_path / "val").mkdir()
    for number in range(1, 5):
        (tmp_path / "val" / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(b"1")
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    savemat(kit / "meta.mat", {"synsets": np.array([[(*each, "words")] for each in CLASSES.items()], kind)})
    (kit / LABELS).write_text("2\n1\n1\n2\n")
    return tmp_path


def _complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        FOLDER.index(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_validation_images_have_the_labels_of_the_kit(imagenet: Path) -> None:
    index = FOLDER.index(imagenet)
    assert index.class_names == ("n01440764", "n01443537")
    assert [file.label for file in index.train] == [0, 0, 0, 1, 1, 1]
    assert [(file.path, file.label) for file in index.test] == [
        ("val/ILSVRC2012_val_00000001.JPEG", 0),
        ("val/ILSVRC2012_val_00000002.JPEG", 1),
        ("val/ILSVRC2012_val_00000003.JPEG", 1),
        ("val/ILSVRC2012_val_00000004.JPEG", 0),
    ]
    assert index.validation == []


def test_the_test_images_without_labels_are_ignored(imagenet: Path) -> None:
    (imagenet / "test").mkdir()
    (imagenet / "test" / "ILSVRC2012_test_00000001.JPEG").touch()
    index = FOLDER.index(imagenet)
    assert len(index.test) == 4
    assert any("folders beside the parts (ILSVRC2012_devkit_t12: 1, test: 1)" in note for note in index.notes)


def test_sorted_validation_images_need_no_kit(imagenet: Path) -> None:
    for name in ("n01440764", "n01443537"):
        (imagenet / "val" / name).mkdir()
    for path, name in zip(sorted(imagenet.glob("val/*.JPEG")), ("n01440764", "n01443537") * 2, strict=True):
        path.rename(path.parent / name / path.name)
    (imagenet / "ILSVRC2012_devkit_t12" / "data" / LABELS).write_text("damaged")
    assert [file.label for file in FOLDER.index(imagenet).test] == [0, 0, 1, 1]


def test_without_the_kit_they_are_refused(imagenet: Path) -> None:
    (imagenet / "ILSVRC2012_devkit_t12").rename(imagenet.parent / "elsewhere")
    assert "hold no class folders, 'val': put a folder for each class" in _complaint(imagenet)


def test_images_without_a_label_are_named(imagenet: Path) -> None:
    for name in ("ILSVRC2012_val_00000005.JPEG", "ILSVRC2012_val_00000000.JPEG", "mine.jpg"):
        path = imagenet / "val" / name
        path.touch()
        assert f"{path} has no label in {imagenet}/ILSVRC2012_devkit_t12/data/{LABELS}, which" in _complaint(imagenet)
        path.unlink()


def test_a_class_without_training_images_is_named(imagenet: Path) -> None:
    for path in (imagenet / "train" / "n01440764").iterdir():
        path.unlink()
    (imagenet / "train" / "n01440764").rename(imagenet / "train" / "n05")
    (imagenet / "train" / "n05" / "1.JPEG").touch()
    path = imagenet / "val" / "ILSVRC2012_val_0000000"
    complaint = _complaint(imagenet)
    assert complaint.startswith(str(path))
    assert "is of the class 'n01440764', for which there are no training images: add some" in complaint


@pytest.mark.parametrize(
    ("name", "content"), [("meta.mat", b"no matrix"), ("meta.mat", b""), (LABELS, b"one\n"), (LABELS, b"2\n9\n")]
)
def test_a_damaged_kit_is_named(imagenet: Path, name: str, content: bytes) -> None:
    path = imagenet / "ILSVRC2012_devkit_t12" / "data" / name
    path.write_bytes(content)
    assert _complaint(imagenet).startswith(f"{path} cannot be read (")
