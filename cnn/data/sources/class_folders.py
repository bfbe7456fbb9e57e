"""Labelled images outside a data set: folders of images that are named like the classes of a trained network."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from cnn.data.folders.left_out import LeftOut
from cnn.data.folders.listing import folder_names, image_entries, image_file, shown
from cnn.data.source import ImageFile
from cnn.data.sources.folder import as_seen, check_names, quoted
from cnn.errors import UserError
from cnn.shown_text import on_one_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """The images in class folders, by class and then by name."""

    folder: Path
    files: Sequence[ImageFile]
    """The images; their labels are those of the network's classes."""

    notes: tuple[str, ...]
    """Sentences on folders without a class, classes without images, and files that are not used."""

    @property
    def labels(self) -> np.ndarray:
        """int32 (samples,)."""
        return np.array([file.label for file in self.files], np.int32)

    @property
    def fingerprint(self) -> str:
        """The same on two machines whose folders hold files of the same names and sizes."""
        listed = repr([(file.path, file.label, file.bytes) for file in self.files])
        return hashlib.blake2b(listed.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def list_class_folders(folder: Path, class_names: Sequence[str]) -> LabelledFiles:
    """Lists the images in the folders that are named like classes; case, spaces and encoding may differ.

    Args:
        folder: the folder that holds the class folders.
        class_names: names of the network's classes, whose labels are their positions.

    Raises:
        UserError: a folder cannot be read, or none has the name of a class, or these hold no images.
    """
    labels = {as_seen(name): label for label, name in enumerate(class_names)}
    left_out = LeftOut()
    names = folder_names(folder, left_out)
    check_names(folder, names)
    known = {labels[as_seen(name)]: name for name in names if as_seen(name) in labels}
    if not known:
        raise _nothing_known(folder, names, class_names, set(labels))
    files = {label: _images(folder, known[label], label, left_out) for label in sorted(known)}
    if not any(files.values()):
        raise UserError(f"{_quoted_in(known.values(), folder)} hold no images: put the images to evaluate there.")
    missing = [name for label, name in enumerate(class_names) if not files.get(label)]
    extra = [name for name in names if as_seen(name) not in labels]
    notes = [
        f"no images of these classes in {folder}: {quoted(missing)}" if missing else "",
        f"not used, since the network has no such classes: {_quoted_in(extra, folder)}" if extra else "",
        f"not used in {folder}: {left_out}" if str(left_out) else "",
    ]
    return LabelledFiles(
        folder=folder,
        files=[file for label in files for file in files[label]],
        notes=tuple(on_one_line(note) for note in notes if note),
    )


def _images(folder: Path, name: str, label: int, left_out: LeftOut) -> list[ImageFile]:
    found = (image_file(entry, inner, label) for entry, inner in image_entries(folder, name, left_out))
    return sorted(found, key=itemgetter(0))


def _nothing_known(folder: Path, names: list[str], class_names: Sequence[str], known: set[str]) -> UserError:
    inner = next((name for name in names if known & {*map(as_seen, folder_names(folder / name))}), None)
    there = f"it holds {quoted(names)}" if names else "it holds no folders"
    hint = "that holds them" if inner is None else f"{shown(str(folder / inner))}, for example"
    return UserError(
        f"no folder in {folder} has the name of a class of the network ({quoted([*class_names])}); {there}: name the "
        f"folder {hint}."
    )


def _quoted_in(names: Iterable[str], folder: Path) -> str:
    return f"{quoted([*names])} in {folder}"
