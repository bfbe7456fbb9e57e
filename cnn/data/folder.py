"""The user's own images: a folder for each class, once or in `train` and in `test`."""

import unicodedata
from itertools import chain
from pathlib import Path

import numpy as np

from cnn.data.dataset import Division
from cnn.data.image_file import EXTENSIONS
from cnn.data.listing import folder_id, image_file, is_folder, shown, visible_entries
from cnn.data.source import ImageFile, ImageIndex, ImageSource
from cnn.data.split import split_by_draws, stratified_split
from cnn.errors import UserError
from cnn.keyed_random import fold64

# Constants: a folder's test images are the same ones every time.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 24
_SPLIT_SEED_BY_PLACE = 20

_TRAIN, _TEST = "train", "test"


def index(folder: Path, division: Division = "by name") -> ImageIndex:
    """Lists the images of class folders; the classes are in the order of their names.

    A folder `train` and a folder `test` are the two parts, and other folders beside them are left alone. Otherwise
    every folder is a class, and a fifth of the images is kept for the test, chosen by their paths, so that an image
    which is added or removed moves no other one between the parts. What lies in folders of a class folder is of that
    class too. Hidden files and folders and files that by their names are no images are left out.

    Args:
        folder: of the images.
        division: how the fifth is chosen; "by place" as for the first runs.

    Raises:
        UserError: a folder cannot be read; fewer than two classes; a class without images, or without training images.
    """
    folders = {entry.name for entry in visible_entries(folder) if is_folder(entry)}
    present = [part for part in (_TRAIN, _TEST) if part in folders]
    if len(present) == 2:
        return _index_parts(folder, division)
    if present and any(is_folder(entry) for entry in visible_entries(folder / present[0])):  # else a class of that name
        absent = _TEST if present[0] == _TRAIN else _TRAIN
        raise UserError(
            f"{folder} has a folder '{present[0]}' of class folders but no '{absent}' beside it: add it, or name "
            f"{folder / present[0]} to have a fifth of each class there kept for the test."
        )
    return _index_whole(folder, division)


def _index_parts(folder: Path, division: Division) -> ImageIndex:
    names, tested = _class_names(folder / _TRAIN), _class_names(folder / _TEST)
    _check_names(folder, [*names, *tested])
    unknown = sorted(set(tested) - set(names))
    if unknown:
        raise UserError(
            f"the class '{unknown[0]}' is in {folder / _TEST} but not in {folder / _TRAIN}: give it training images, "
            "or take it out."
        )
    train = [_images(folder, f"{_TRAIN}/{name}", label) for label, name in enumerate(names)]
    _check_classes(folder / _TRAIN, names, train)
    test = [_images(folder, f"{_TEST}/{name}", label) for label, name in enumerate(names) if name in tested]
    if not any(test):
        raise UserError(f"{folder / _TEST} holds no images: put some into its class folders.")
    return ImageIndex(class_names=tuple(names), train=[*chain(*train)], test=[*chain(*test)], division=division)


def _index_whole(folder: Path, division: Division) -> ImageIndex:
    names = _class_names(folder)
    _check_names(folder, names)
    classes = [_images(folder, name, label) for label, name in enumerate(names)]
    _check_classes(folder, names, classes)
    files = [*chain(*classes)]
    labels = np.array([file.label for file in files])
    if division == "by name":
        draws = fold64(_SPLIT_SEED, np.array([file.key for file in files], np.uint64))
        train, test = split_by_draws(labels, _TEST_FRACTION, draws)
    else:
        train, test = stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED_BY_PLACE)
    if not len(test):
        raise UserError(f"no class in {folder} has two images, so that none can be kept for the test: add images.")
    return ImageIndex(
        class_names=tuple(names),
        train=[files[sample] for sample in train],
        test=[files[sample] for sample in test],
        division=division,
    )


def _check_names(folder: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if shown(name) != name:
            raise UserError(f"the name of the class folder '{shown(name)}' in {folder} cannot be shown: rename it.")
        other = seen.setdefault(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()), name)
        if other != name:
            raise UserError(
                f"'{other}' and '{name}' in {folder} differ only in case or in how their letters are encoded: if they "
                "are one class, give it one name, or else give them names that differ more."
            )


def _check_classes(folder: Path, names: list[str], classes: list[list[ImageFile]]) -> None:
    kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if names and not any(classes):
        raise UserError(f"the class folders in {folder} hold no images: put files of these kinds there, {kinds}.")
    if len(names) < 2:
        held = f"one class folder, '{names[0]}'" if names else "no class folders"
        raise UserError(f"{folder} holds {held}: at least two are needed, each with the images of one class.")
    empty = [name for name, files in zip(names, classes, strict=True) if not files]
    if empty:
        raise UserError(
            f"the class '{empty[0]}' in {folder} has no images: put files of these kinds there, {kinds}, or remove it."
        )


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in visible_entries(folder) if is_folder(entry))


def _images(folder: Path, path: str, label: int) -> list[ImageFile]:
    """The images of a class, whose folder is `path` in the data set's; in the order of their names."""
    found = []
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(path, frozenset())]
    while pending:
        inner, above = pending.pop()  # `above` are the folders that it is in
        own = folder_id(folder / inner)
        if own in above:  # reached again by a link
            continue
        for entry in visible_entries(folder / inner):
            if is_folder(entry):
                pending.append((f"{inner}/{entry.name}", above | {own}))
            elif entry.name[entry.name.rfind(".") :].lower() in EXTENSIONS:
                found.append(image_file(entry, f"{inner}/{entry.name}", label))
    return sorted(found, key=lambda file: file.path)


FOLDER = ImageSource(index=index)
