"""The Oxford flowers: 80 photographs of each of 17 kinds, in the official files `jpg/image_0001.jpg` to `_1360.jpg`."""

import os
import re
from pathlib import Path

import numpy as np

from cnn.data.dataset import Division
from cnn.data.listing import image_file, shown, visible_entries
from cnn.data.lying_files import file_names, levels, lying_archive
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

# Constants: everybody's test flowers are the same ones.
_SEED = 17
_TRAIN_OF_ALL = 1000
_TEST_FRACTION_BY_PLACE = 0.25


def index(folder: Path, split: int = 1, division: Division = "by name") -> ImageIndex:
    """Lists the photographs, and divides them.

    With the official `datasplits.mat` in the folder one of its splits: both the training and the validation part to
    train, the test part to test. Otherwise 1,000 drawn at random from all to train and 360 to test; of these, those
    that are there.

    Args:
        folder: holds `jpg`, or is that folder, or one of those in it does or is.
        split: 1, 2 or 3, the official one's number; 1 where there is none.
        division: by place, a quarter of each class is to test if some images are missing.

    Raises:
        UserError: a file that has no place in the data set, too few photographs, or `datasplits.mat` is damaged or is
            not there though one of the other two splits is asked for.
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
    """The archive, wherever it lies, if no photograph is there."""
    return [] if _photographs(folder) else [lying_archive(folder, [_ARCHIVE])]


def _photographs(folder: Path) -> dict[int, ImageFile]:
    """The files by their numbers."""
    place = _place(folder)
    found: dict[int, ImageFile] = {}
    for entry in visible_entries(place):
        match = re.fullmatch(r"image_(\d+)\.jpg", entry.name.lower())
        if match is None:
            continue
        number = int(match[1])
        if not 1 <= number <= _IMAGES or len(match[1]) != 4:
            raise UserError(
                f"{entry.path} has no place in oxflower17, whose images are image_0001.jpg to image_{_IMAGES}.jpg: "
                "remove it, or use --data folder for images of your own."
            )
        path = str((place / entry.name).relative_to(folder))
        if number in found:
            other = folder / found[number].path
            raise UserError(f"{folder / path} and {other} are the same photograph: remove one of them.")
        found[number] = image_file(entry, path, (number - 1) // _PER_CLASS)._replace(key=number)
    return found


def _place(folder: Path) -> Path:
    """The folder of the photographs."""
    for level in levels(folder):
        for named in ([inner / _FOLDER for inner in level], level):
            found = [inner for inner in named if _holds_photographs(inner)]
            if len(found) > 1:
                both = " and ".join(shown(str(place)) for place in found[:2])
                raise UserError(f"{both} both hold flowers: name one of them as data_dir.")
            if found:
                return found[0]
    return folder


def _holds_photographs(folder: Path) -> bool:
    return any(re.fullmatch(r"image_\d{4}\.jpg", name.lower()) for name in file_names(folder))


def _divide(
    folder: Path, split: int, numbers: np.ndarray, labels: np.ndarray, division: Division
) -> tuple[np.ndarray, np.ndarray]:
    """The positions, in `numbers`, of the images to train and to test with; both ascending."""
    splits = folder / _SPLITS_FILE
    if os.path.lexists(splits):  # of a link to nothing it is told that it cannot be read
        tested = np.isin(numbers, _official_test(splits, split))
    elif split != 1:
        raise UserError(
            f"split is {split}, but there is no {_SPLITS_FILE} in {folder}: get it from {_URL}, or leave split out."
        )
    elif division == "by name" or len(numbers) == _IMAGES:
        ranks = np.argsort(np.argsort(fold64(_SEED, np.arange(1, _IMAGES + 1)), kind="stable"))
        tested = ranks[numbers - 1] >= _TRAIN_OF_ALL
    else:
        return stratified_split(labels, _TEST_FRACTION_BY_PLACE, _SEED)
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def _official_test(path: Path, split: int) -> np.ndarray:
    """The numbers of a split's test images; all others are its training and validation images."""
    from scipy.io import loadmat  # it takes a moment

    names = [f"{part}{split}" for part in ("trn", "val", "tst")]
    try:
        content = loadmat(path, variable_names=names)
        train, validation, test = (np.asarray(content[name]).ravel() for name in names)
        whole = np.sort(np.concatenate([train, validation, test]))
    except Exception as error:  # whatever scipy makes of other bytes
        raise UserError(f"{path} cannot be read ({error}): get it again, or remove it to do without.") from error
    if not np.array_equal(whole, np.arange(1, _IMAGES + 1)):
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
