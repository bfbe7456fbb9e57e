"""The user's own images: a folder for each class, directly in the data set's folder or in one for each of its parts."""

import dataclasses
import os
import unicodedata
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from pathlib import Path

import numpy as np

from cnn.data.dataset import Division
from cnn.data.folders.imagenet import ValidationLabels, find_kit
from cnn.data.folders.left_out import BESIDE, LeftOut
from cnn.data.folders.listing import folder_names, image_entries, image_file, shown
from cnn.data.folders.parts import TEST, TRAIN, VALIDATION, divided_again, find_parts, flat_parts, named_parts
from cnn.data.folders.repeats import Repeats
from cnn.data.images.image_file import EXTENSIONS
from cnn.data.source import ImageFile, ImageIndex, ImageSource
from cnn.data.split import split_by_draws, stratified_split
from cnn.errors import UserError
from cnn.keyed_random import fold64
from cnn.shown_text import on_one_line

# Constants, so that a folder's test images are always the same.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 24
_SPLIT_SEED_BY_PLACE = 20

# Usual names of folders in data sets for other tasks: of all images, and of labels or masks beside them.
_CONTAINERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
_COMPANIONS = frozenset(
    {"labels", "label", "annotations", "annotation", "masks", "mask", "ground_truth", "groundtruth", "segmentations"}
)

# Maximum number of names that a message lists.
_MAX_LISTED = 10


def index(folder: Path, division: Division = "by name") -> ImageIndex:
    """Lists the images of class folders; the classes are in the order of their names.

    Folders that are named like the parts of a data set, `train` and `test` for example, are its parts, and other
    folders beside them are ignored. Otherwise every folder is a class, and a fifth of the images is held out for
    testing, chosen by path, so that adding or removing an image moves no other image between the parts. Images in
    subfolders of a class folder belong to that class. ImageNet's validation images need no class folders if the
    development kit is beside their folder; its test images, which have no labels, are then ignored. Hidden files, files
    that systems and other programs create, and files of unsupported formats are left out.

    Args:
        folder: folder of the data set.
        division: how the fifth is chosen; "by place" is for runs of the first versions, which had no validation part.

    Raises:
        UserError: a folder cannot be read; it is not clear which folders are classes; there are fewer than two
            classes; a class has no images, or no training images.
    """
    walk = _Walk(folder, LeftOut(), Repeats())
    names = folder_names(folder, walk.left_out)
    kit = find_kit(folder, names)
    flat = {} if kit is None else flat_parts(folder, names)
    labelled = [name for name, part in flat.items() if part == VALIDATION]
    parts = find_parts(folder, [name for name in names if name in labelled or name not in flat], labelled)
    validation = ValidationLabels(kit) if kit and parts.get(VALIDATION) in labelled else None
    found = _index_parts(walk, names, parts, validation) if parts else _index_undivided(walk, names, division)
    notes = [*found.notes, *_untested(folder, found), walk.repeats.note(folder)]
    if text := str(walk.left_out):
        notes.append(f"not used in {folder}: {text}")
    found = dataclasses.replace(found, division=division, notes=tuple(on_one_line(note) for note in notes if note))
    return found if division == "by name" else dataclasses.replace(found, validation=[])


@dataclasses.dataclass(frozen=True)
class _Walk:
    """A data set's folder, with records of what was left out and what was repeated in it."""

    folder: Path
    left_out: LeftOut
    repeats: Repeats

    def images(self, path: str, label: int) -> list[ImageFile]:
        """The images of a class in the order of their names; `path` is its folder, relative to the data set's."""
        found = []
        for entry, inner in image_entries(self.folder, path, self.left_out):
            found.append(image_file(entry, inner, label))
            self.repeats.add(entry, inner, path)
        return sorted(found, key=itemgetter(0))


def _index_parts(
    walk: _Walk, names: list[str], parts: dict[str, str], validation: ValidationLabels | None
) -> ImageIndex:
    """Lists the images of the parts; those of the validation part by `validation`, if it has no class folders."""
    folder, left_out = walk.folder, walk.left_out
    for name in set(names) - set(parts.values()):
        left_out.add(BESIDE, name)
    flat = [] if validation is None else [VALIDATION]
    present = {part: [] if part in flat else folder_names(folder / name, left_out) for part, name in parts.items()}
    check_names(folder, [*chain(*present.values())])
    _check_distinct(folder, [*parts.values(), *(f"{parts[part]}/{name}" for part in parts for name in present[part])])
    labels = {name: label for label, name in enumerate(present[TRAIN])}
    train = [walk.images(f"{parts[TRAIN]}/{name}", label) for name, label in labels.items()]
    _check_classes(folder / parts[TRAIN], present[TRAIN], train)
    files: dict[str, list[ImageFile]] = {VALIDATION: [], TEST: []}
    for part in [part for part in parts if part != TRAIN]:
        part_folder = folder / parts[part]
        unknown = [name for name in present[part] if name not in labels]
        if unknown:
            raise UserError(
                f"the class '{unknown[0]}' is in {part_folder} but not in {folder / parts[TRAIN]}: add training images "
                "for it, or remove it."
            )
        if validation is not None and part in flat:
            files[part] = validation.files(folder, parts[part], labels, left_out)
        else:
            files[part] = [
                file for name in present[part] for file in walk.images(f"{parts[part]}/{name}", labels[name])
            ]
        if not files[part]:
            raise UserError(f"{part_folder} holds no images: put some into its class folders.")
    if not files[TEST]:
        files = {TEST: files[VALIDATION], VALIDATION: []}
    return ImageIndex(
        class_names=tuple(labels),
        train=[*chain(*train)],
        test=files[TEST],
        validation=files[VALIDATION],
        notes=_parts_note(folder, parts),
    )


def _parts_note(folder: Path, parts: dict[str, str]) -> tuple[str, ...]:
    """A note on how folders are assigned to parts, unless their names are exactly train and test."""
    if parts == {TRAIN: "train", TEST: "test"}:
        return ()
    used = {part: TEST if part == VALIDATION and TEST not in parts else part for part in parts}
    texts = [f"'{name}' is the {used[part]} part" for part, name in parts.items()]
    return (f"in {folder}, {_listed(texts)}",)


def _index_undivided(walk: _Walk, names: list[str], division: Division) -> ImageIndex:
    folder = walk.folder
    check_names(folder, names)
    _check_distinct(folder, names)
    classes = [walk.images(name, label) for label, name in enumerate(names)]
    _check_classes(folder, names, classes)
    notes = _deeper_notes(folder, names, classes)
    if as_parts := named_parts(names):
        notes.append(f"classes in {folder} that are named like parts of a data set: {quoted(as_parts)}")
    files = [*chain(*classes)]
    labels = np.array([file.label for file in files])
    if division == "by name":
        draws = fold64(_SPLIT_SEED, np.array([file.key for file in files], np.uint64))
        train, test = split_by_draws(labels, _TEST_FRACTION, draws)
    else:
        train, test = stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED_BY_PLACE)
    if not len(test):
        raise UserError(f"no class in {folder} has two images, so none can be held out for testing: add images.")
    return ImageIndex(
        class_names=tuple(names),
        train=[files[sample] for sample in train],
        test=[files[sample] for sample in test],
        notes=tuple(notes),
    )


def _deeper_notes(folder: Path, names: list[str], classes: list[list[ImageFile]]) -> list[str]:
    """A note if subfolders that all class folders share may be the classes; UserError if subfolders are parts."""
    deeper = [{file.path.split("/", 2)[1] for file in found if file.path.count("/") > 1} for found in classes]
    for name, inner in zip(names, deeper, strict=True):
        if divided_again(inner):
            raise UserError(
                f"the class folder {folder / name} is divided into parts: put the parts above the classes, such as "
                f"train/{name} and test/{name}, or rename its folders if all of it is one class."
            )
    if len(deeper[0]) < 2 or any(inner != deeper[0] for inner in deeper):
        return []
    return [
        f"the classes are {quoted(names)}, though each holds the folders {quoted(sorted(deeper[0]))}: if those are "
        f"the classes, move them to {folder}"
    ]


def _untested(folder: Path, found: ImageIndex) -> list[str]:
    """A note on classes without test images, if there are any."""
    tested = {file.label for file in found.test}
    names = [name for label, name in enumerate(found.class_names) if label not in tested]
    return [f"classes in {folder} without test images: {quoted(names)}"] if names else []


def check_names(folder: Path, names: list[str]) -> None:
    """Raises UserError if the names of class folders cannot be told apart or displayed, or are not those of classes."""
    seen: dict[str, str] = {}
    for name in names:
        if shown(name) != name:
            raise UserError(f"the name of the class folder '{shown(name)}' in {folder} cannot be displayed: rename it.")
        other = seen.setdefault(as_seen(name), name)
        if other != name:
            raise UserError(
                f"'{other}' and '{name}' in {folder} differ only in case, in spaces or in how their letters are "
                "encoded: if they are the same class, merge them, otherwise rename one of them."
            )
    folded = {*map(str.lower, names)}
    if len(folded) > 1 and folded & _CONTAINERS and folded <= _CONTAINERS | _COMPANIONS:
        raise UserError(
            f"{quoted(sorted({*names}))} in {folder} are not usual names of classes: choose the folder that holds a "
            "folder of images for each class; or if they are classes, rename them."
        )


def as_seen(name: str) -> str:
    """A name without differences that are hard to see: case, spaces, invisible characters, encoding of letters."""
    visible = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", " ".join(visible.casefold().split()))


def _check_distinct(folder: Path, paths: list[str]) -> None:
    """Raises UserError if two of the paths are the same folder, because of a link."""
    if not any(os.path.islink(folder / path) for path in paths):
        return
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(os.path.realpath(folder / path), path)
        if other != path:
            raise UserError(f"{folder / other} and {folder / path} are the same folder (one is a link): remove one.")


def _check_classes(folder: Path, names: list[str], classes: list[list[ImageFile]]) -> None:
    formats = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if names and not any(classes):
        raise UserError(f"the class folders in {folder} hold no images: put files of these types there, {formats}.")
    if len(names) < 2:
        found = f"one class folder, '{names[0]}'" if names else "no class folders"
        deeper = bool(names) and bool(folder_names(folder / names[0]))
        hint = f"; if the classes are in {folder / names[0]}, choose that folder, or move them up" if deeper else ""
        raise UserError(f"{folder} holds {found}: at least two are needed, each with the images of one class{hint}.")
    empty = [name for name, files in zip(names, classes, strict=True) if not files]
    if empty:
        left_out = LeftOut()
        for _ in image_entries(folder, empty[0], left_out):
            pass
        others = f", but {left_out}" if str(left_out) else ""
        raise UserError(
            f"the class '{empty[0]}' in {folder} has no images{others}: put files of these types there, {formats}, or "
            "remove it."
        )


def quoted(names: list[str]) -> str:
    """The names in quotation marks, at most ten of them."""
    return _listed(f"'{name}'" for name in names)


def _listed(texts: Iterable[str]) -> str:
    texts = [*texts]
    rest = [f"and {len(texts) - _MAX_LISTED:,} more"] if len(texts) > _MAX_LISTED else []
    return ", ".join([*texts[:_MAX_LISTED], *rest])


FOLDER = ImageSource(index=index)
"""The user's own folder of images."""
