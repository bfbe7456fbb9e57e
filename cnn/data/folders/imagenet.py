"""Labels of ImageNet's validation images (ILSVRC 2012), which lie in one folder, from the official development kit."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnn.data.folders.left_out import LeftOut
from cnn.data.folders.listing import image_file, is_image, shown, visible_entries
from cnn.data.source import ImageFile
from cnn.errors import UserError

_CLASSES = "meta.mat"
_LABELS = "ILSVRC2012_validation_ground_truth.txt"
_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)


def find_kit(folder: Path, names: list[str]) -> Path | None:
    """The folder of the development kit's files, in one of the folders of these names or in `data` below it, if any."""
    for name in names:
        for place in (folder / name, folder / name / "data"):
            if all(os.path.lexists(place / file) for file in (_CLASSES, _LABELS)):
                return place
    return None


class ValidationLabels:
    """The class of each validation image.

    Args:
        kit: the folder that holds the development kit's files `meta.mat` and `ILSVRC2012_validation_ground_truth.txt`.

    Raises:
        UserError: one of the files cannot be read, or does not have the content that it should.
    """

    def __init__(self, kit: Path) -> None:
        self._kit = kit
        names = _class_names(kit / _CLASSES)
        path = kit / _LABELS
        try:
            numbers = [int(line) for line in path.read_text(encoding="ascii").split()]
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        unknown = next((number for number in numbers if number not in names), None)
        if unknown is not None:
            raise _unreadable(path, ValueError(f"it names the class {unknown}, which {_CLASSES} does not have"))
        self._names = [names[number] for number in numbers]

    def files(self, folder: Path, part: str, labels: dict[str, int], left_out: LeftOut) -> list[ImageFile]:
        """The validation images, in the order of their names.

        Args:
            folder: the data set's folder.
            part: name of the folder in it that holds the images.
            labels: the label of each class by its name (`n01440764`, for example).
            left_out: counts files that are not images.

        Raises:
            UserError: an image has no label or a class that `labels` lacks, or the folder cannot be read.
        """
        return sorted(self._files(folder, part, labels, left_out), key=lambda file: file.path)

    def _files(self, folder: Path, part: str, labels: dict[str, int], left_out: LeftOut) -> Iterator[ImageFile]:
        for entry in visible_entries(folder / part, left_out):
            if not is_image(entry, left_out):
                continue
            match = _IMAGE.fullmatch(entry.name)
            number = int(match[1]) if match else 0
            if not 1 <= number <= len(self._names):
                raise UserError(
                    f"{shown(entry.path)} has no label in {self._kit / _LABELS}, which has those of "
                    f"ILSVRC2012_val_00000001.JPEG to _{len(self._names):08}.JPEG: remove it, or sort the images of "
                    f"{folder / part} into class folders."
                )
            name = self._names[number - 1]
            if name not in labels:
                raise UserError(
                    f"{shown(entry.path)} is of the class '{name}', for which there are no training images: add some, "
                    "or remove the images of this class."
                )
            yield image_file(entry, f"{part}/{entry.name}", labels[name])


def _class_names(path: Path) -> dict[int, str]:
    """The names of the classes' folders by the numbers that the labels use."""
    from scipy.io import loadmat  # slow to import

    try:
        classes = loadmat(path, variable_names=["synsets"], squeeze_me=True)["synsets"]
        numbers, names = (np.atleast_1d(classes[field]) for field in ("ILSVRC2012_ID", "WNID"))
        return {int(number): str(name) for number, name in zip(numbers, names, strict=True)}
    except Exception as error:  # scipy has no common class for damaged files
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read ({error}): get the development kit again, or remove it and sort the validation images "
        "into class folders."
    )
