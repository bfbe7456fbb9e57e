"""The Oxford flowers: 17 classes of 80 photographs each, in the official files `jpg/image_0001.jpg` to `_1360.jpg`."""

import os
import re
from pathlib import Path

import numpy as np

from cnn.data.dataset import Division
from cnn.data.folders.file_search import file_names, find_archive, levels
from cnn.data.folders.listing import image_file, shown, visible_entries
from cnn.data.source import ImageFile, ImageIndex, ImageSource, Remote
from cnn.data.split import stratified_split
from cnn.errors import UserError
from cnn.keyed_random import fold64

CLASS_NAMES = (
    "Daffodil",
    "Snowdrop",
    "Lily Valley",
    "Bluebell",
    "Crocus",
    "Iris",
    "Tigerlily",
    "Tulip",
    "Fritillary",
    "Sunflower",
    "Daisy",
    "Colts' Foot",
    "Dandelion",
    "Cowslip",
    "Buttercup",
    "Windflower",
    "Pansy",
)

_FOLDER = "jpg"
_ARCHIVE = "17flowers.tgz"
_URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/"

_SPLITS_FILE = "datasplits.mat"

_PER_CLASS = 80
_IMAGES = _PER_CLASS * len(CLASS_NAMES)

# Constants, so that every user has the same test images.
_SEED = 17
_TRAIN_OF_ALL = 1000
_TEST_FRACTION_BY_PLACE = 0.25


def index(folder: Path, split: int = 1, division: Division = "by name") -> ImageIndex:
    """Lists the photographs and divides them into training and test images.

    If the folder has the official `datasplits.mat`, one of its splits is used: its training and validation parts to
    train, its test part to test. Otherwise 1,000 images drawn at random are to train and the other 360 to test; missing
    ones are left out of either part.

    Args:
        folder: `jpg`, the folder that holds it, or one above it.
        split: number of the official split, 1 to 3; 1 without `datasplits.mat`.
        division: "by place" tests with a quarter of each class if some images are missing.

    Raises:
        UserError: a file does not belong to the data set, there are too few photographs, or `datasplits.mat` is damaged
            or, for splits 2 and 3, missing.
    """
    photographs = _photographs(folder)
    files = [photographs[number] for number in sorted(photographs)]
    labels = np.array([file.label for file in files])
    train, test = _divide(folder, split, np.array(sorted(photographs), np.int64), labels, division)
    if not len(train) or not len(test):
        raise UserError(f"{folder} holds too few flowers to train and to test with, {len(files)}: add more.")
    return ImageIndex(
        class_names=CLASS_NAMES,
        train=[files[position] for position in train],
        test=[files[position] for position in test],
        division=division,
    )


def missing(folder: Path) -> list[str]:
    """The archive, wherever it is at or below the folder, if no photograph is found."""
    return [] if _photographs(folder) else [find_archive(folder, [_ARCHIVE])]


def _photographs(folder: Path) -> dict[int, ImageFile]:
    """The image files by their numbers."""
    image_folder = _image_folder(folder)
    found: dict[int, ImageFile] = {}
    for entry in visible_entries(image_folder):
        match = re.fullmatch(r"image_(\d+)\.jpg", entry.name.lower())
        if match is None:
            continue
        number = int(match[1])
        if not 1 <= number <= _IMAGES or len(match[1]) != 4:
            raise UserError(
                f"{entry.path} does not belong to oxflower17, whose images are image_0001.jpg to image_{_IMAGES}.jpg: "
                "remove it, or use --data folder for images of your own."
            )
        path = str((image_folder / entry.name).relative_to(folder))
        if number in found:
            other = folder / found[number].path
            raise UserError(f"{folder / path} and {other} are the same photograph: remove one of them.")
        found[number] = image_file(entry, path, (number - 1) // _PER_CLASS)._replace(key=number)
    return found


def _image_folder(folder: Path) -> Path:
    """The folder of the photographs; `folder` itself if there are none."""
    for level in levels(folder):
        for candidates in ([inner / _FOLDER for inner in level], level):
            found = [inner for inner in candidates if _holds_photographs(inner)]
            if len(found) > 1:
                both = " and ".join(shown(str(place)) for place in found[:2])
                raise UserError(f"{both} both hold flowers: set data_dir to one of them.")
            if found:
                return found[0]
    return folder


def _holds_photographs(folder: Path) -> bool:
    return any(re.fullmatch(r"image_\d{4}\.jpg", name.lower()) for name in file_names(folder))


def _divide(
    folder: Path, split: int, numbers: np.ndarray, labels: np.ndarray, division: Division
) -> tuple[np.ndarray, np.ndarray]:
    """The positions in `numbers` of the training and of the test images, each ascending."""
    splits = folder / _SPLITS_FILE
    if os.path.lexists(splits):  # so that a broken link is reported as unreadable
        is_test = np.isin(numbers, _official_test(splits, split))
    elif split != 1:
        raise UserError(
            f"split is {split}, but there is no {_SPLITS_FILE} in {folder}: get it from {_URL}, or leave split out."
        )
    elif division == "by name" or len(numbers) == _IMAGES:
        ranks = np.argsort(np.argsort(fold64(_SEED, np.arange(1, _IMAGES + 1)), kind="stable"))
        is_test = ranks[numbers - 1] >= _TRAIN_OF_ALL
    else:
        return stratified_split(labels, _TEST_FRACTION_BY_PLACE, _SEED)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _official_test(path: Path, split: int) -> np.ndarray:
    """The numbers of a split's test images; all others are its training and validation images."""
    from scipy.io import loadmat  # slow to import

    names = [f"{part}{split}" for part in ("trn", "val", "tst")]
    try:
        content = loadmat(path, variable_names=names)
        train, validation, test = (np.asarray(content[name]).ravel() for name in names)
        numbers = np.sort(np.concatenate([train, validation, test]))
    except Exception as error:  # scipy has no common class for damaged files
        raise UserError(f"{path} cannot be read ({error}): get it again, or remove it to do without.") from error
    if not np.array_equal(numbers, np.arange(1, _IMAGES + 1)):
        raise UserError(f"{path} does not divide the images 1 to {_IMAGES}: get it again, or remove it to do without.")
    return test


OXFLOWER17 = ImageSource(
    index=index,
    splits=3,
    remote=Remote(
        base_url=_URL,
        md5={_ARCHIVE: "b59a65d8d1a99cd66944d474e1289eab"},
        missing=missing,
    ),
)
