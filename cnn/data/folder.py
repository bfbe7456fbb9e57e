"""The user's own images: a folder for each class, once or in folders for the parts to train and to test with."""

import dataclasses
import os
import unicodedata
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from pathlib import Path

import numpy as np

from cnn.data.dataset import Division
from cnn.data.image_file import EXTENSIONS
from cnn.data.left_out import BESIDE, LeftOut
from cnn.data.listing import folder_names, image_entries, image_file, shown
from cnn.data.parts import TEST, TRAIN, VALIDATION, divided_again, find_parts, named_parts
from cnn.data.repeats import Repeats
from cnn.data.source import ImageFile, ImageIndex, ImageSource
from cnn.data.split import split_by_draws, stratified_split
from cnn.errors import UserError
from cnn.keyed_random import fold64
from cnn.shown_text import on_one_line

# Constants: a folder's test images are the same ones every time.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 24
_SPLIT_SEED_BY_PLACE = 20

# What lies beside the images of data sets for other tasks.
_CONTAINERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
_COMPANIONS = frozenset(
    {"labels", "label", "annotations", "annotation", "masks", "mask", "ground_truth", "groundtruth", "segmentations"}
)

# Classes, say, that a sentence names.
_NAMED = 10


def index(folder: Path, division: Division = "by name") -> ImageIndex:
    """Lists the images of class folders; the classes are in the order of their names.

    Folders that are named like the parts of a data set, `train` and `test` for example, are its parts, and other
    folders beside them are left alone. Otherwise every folder is a class, and a fifth of the images is kept for the
    test, chosen by their paths, so that an image which is added or removed moves no other one between the parts. What
    lies in folders of a class folder is of that class too. What is hidden, what systems and other programs put there,
    and files of kinds that are not read are left out.

    Args:
        folder: of the images.
        division: how the fifth is chosen; "by place" as for the first runs, which knew no validation part either.

    Raises:
        UserError: a folder cannot be read; it is not clear which folders are classes; fewer than two classes; a class
            without images, or without training images.
    """
    walk = _Walk(folder, LeftOut(), Repeats())
    names = folder_names(folder, walk.left_out)
    parts = find_parts(folder, names)
    found = _index_parts(walk, names, parts) if parts else _index_whole(walk, names, division)
    notes = [*found.notes, *_untested(folder, found), walk.repeats.note(folder)]
    if text := str(walk.left_out):
        notes.append(f"not used in {folder}: {text}")
    found = dataclasses.replace(found, division=division, notes=tuple(on_one_line(note) for note in notes if note))
    return found if division == "by name" else dataclasses.replace(found, validation=[])


@dataclasses.dataclass(frozen=True)
class _Walk:
    """A data set's folder, and what is noticed on the way through it."""

    folder: Path
    left_out: LeftOut
    repeats: Repeats

    def images(self, path: str, label: int) -> list[ImageFile]:
        """The images of a class, whose folder is `path` in the data set's; in the order of their names."""
        found = []
        for entry, inner in image_entries(self.folder, path, self.left_out):
            found.append(image_file(entry, inner, label))
            self.repeats.add(entry, inner, path)
        return sorted(found, key=itemgetter(0))


def _index_parts(walk: _Walk, names: list[str], parts: dict[str, str]) -> ImageIndex:
    folder, left_out = walk.folder, walk.left_out
    for name in set(names) - set(parts.values()):
        left_out.add(BESIDE, name)
    present = {part: folder_names(folder / name, left_out) for part, name in parts.items()}
    _check_names(folder, [*chain(*present.values())])
    _check_distinct(folder, [*parts.values(), *(f"{parts[part]}/{name}" for part in parts for name in present[part])])
    labels = {name: label for label, name in enumerate(present[TRAIN])}
    train = [walk.images(f"{parts[TRAIN]}/{name}", label) for name, label in labels.items()]
    _check_classes(folder / parts[TRAIN], present[TRAIN], train)
    files: dict[str, list[ImageFile]] = {VALIDATION: [], TEST: []}
    for part in [part for part in parts if part != TRAIN]:
        place = folder / parts[part]
        unknown = [name for name in present[part] if name not in labels]
        if unknown:
            raise UserError(
                f"the class '{unknown[0]}' is in {place} but not in {folder / parts[TRAIN]}: give it training "
                "images, or take it out."
            )
        files[part] = [file for name in present[part] for file in walk.images(f"{parts[part]}/{name}", labels[name])]
        if not files[part]:
            raise UserError(f"{place} holds no images: put some into its class folders.")
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
    """How names of parts other than train and test are understood."""
    if parts == {TRAIN: "train", TEST: "test"}:
        return ()
    used = {part: TEST if part == VALIDATION and TEST not in parts else part for part in parts}
    texts = [f"'{name}' is the {used[part]} part" for part, name in parts.items()]
    return (f"in {folder}, {_listed(texts)}",)


def _index_whole(walk: _Walk, names: list[str], division: Division) -> ImageIndex:
    folder = walk.folder
    _check_names(folder, names)
    _check_distinct(folder, names)
    classes = [walk.images(name, label) for label, name in enumerate(names)]
    _check_classes(folder, names, classes)
    notes = _deeper_notes(folder, names, classes)
    if as_parts := named_parts(names):
        notes.append(f"classes in {folder} that have names of parts of a data set: {_quoted(as_parts)}")
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
        notes=tuple(notes),
    )


def _deeper_notes(folder: Path, names: list[str], classes: list[list[ImageFile]]) -> list[str]:
    """Says that the folders in all class folders might be the classes; UserError if they are parts of a data set."""
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
        f"the classes are {_quoted(names)}, though each holds the folders {_quoted(sorted(deeper[0]))}: if those are "
        f"the classes, put them into {folder}"
    ]


def _untested(folder: Path, found: ImageIndex) -> list[str]:
    """Says which classes have no test images."""
    tested = {file.label for file in found.test}
    names = [name for label, name in enumerate(found.class_names) if label not in tested]
    return [f"classes in {folder} without test images: {_quoted(names)}"] if names else []


def _check_names(folder: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if shown(name) != name:
            raise UserError(f"the name of the class folder '{shown(name)}' in {folder} cannot be shown: rename it.")
        other = seen.setdefault(_as_seen(name), name)
        if other != name:
            raise UserError(
                f"'{other}' and '{name}' in {folder} differ only in case, in spaces or in how their letters are "
                "encoded: if they are one class, give it one name, or else give them names that differ more."
            )
    folded = {*map(str.lower, names)}
    if len(folded) > 1 and folded & _CONTAINERS and folded <= _CONTAINERS | _COMPANIONS:
        raise UserError(
            f"{_quoted(sorted({*names}))} in {folder} are not named as classes are: name the folder that holds a "
            "folder of images for each class; or if they are classes, rename them."
        )


def _as_seen(name: str) -> str:
    """What is left of a name for somebody who does not look closely."""
    visible = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", " ".join(visible.casefold().split()))


def _check_distinct(folder: Path, paths: list[str]) -> None:
    """Raises UserError if a link makes one folder of two."""
    if not any(os.path.islink(folder / path) for path in paths):
        return
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(os.path.realpath(folder / path), path)
        if other != path:
            raise UserError(f"{folder / other} and {folder / path} are the same folder, by a link: remove one of them.")


def _check_classes(folder: Path, names: list[str], classes: list[list[ImageFile]]) -> None:
    kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if names and not any(classes):
        raise UserError(f"the class folders in {folder} hold no images: put files of these kinds there, {kinds}.")
    if len(names) < 2:
        held = f"one class folder, '{names[0]}'" if names else "no class folders"
        deeper = bool(names) and bool(folder_names(folder / names[0]))
        hint = f"; if those in {folder / names[0]} are meant, name that folder, or move them up" if deeper else ""
        raise UserError(f"{folder} holds {held}: at least two are needed, each with the images of one class{hint}.")
    empty = [name for name, files in zip(names, classes, strict=True) if not files]
    if empty:
        left_out = LeftOut()
        for _ in image_entries(folder, empty[0], left_out):
            pass
        found = f", but {left_out}" if str(left_out) else ""
        raise UserError(
            f"the class '{empty[0]}' in {folder} has no images{found}: put files of these kinds there, {kinds}, or "
            "remove it."
        )


def _quoted(names: list[str]) -> str:
    return _listed(f"'{name}'" for name in names)


def _listed(texts: Iterable[str]) -> str:
    texts = [*texts]
    more = [f"and {len(texts) - _NAMED:,} more"] if len(texts) > _NAMED else []
    return ", ".join([*texts[:_NAMED], *more])


FOLDER = ImageSource(index=index)
"""What is in a folder of images."""
