"""What is in folders of images: one walk for those that are trained on and those that are predicted."""

import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.image_file import EXTENSIONS
from cnn.data.left_out import BROKEN, NOT_FILES, OF_SYSTEMS, OTHER_KINDS, OUTSIDE, LeftOut
from cnn.data.source import ImageFile
from cnn.data.split import path_key
from cnn.data.system_names import is_of_a_system
from cnn.errors import UserError
from cnn.shown_text import on_one_line

# Characters of a path that a sentence shows.
_SHOWN = 400


def visible_entries(folder: Path, left_out: LeftOut | None = None) -> Iterator["os.DirEntry[str]"]:
    """All that a user put into a folder, in no order.

    Left out are what is hidden and, counted in `left_out`, what systems and other programs put there.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not is_of_a_system(entry.name):
                    yield entry
                elif left_out is not None:
                    left_out.add(OF_SYSTEMS, entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def image_entries(folder: Path, path: str, left_out: LeftOut) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """The image files in a folder and in the folders in it, in no order; links to files and to folders are followed.

    Args:
        folder: the data set's.
        path: of the folder to look through, in the data set's; empty for that itself.
        left_out: counts what is no image by its name, or what systems put there; but nothing that is hidden.

    Returns:
        Each file, or link to a file or to nothing, with its path in the data set's folder.

    Raises:
        UserError: a folder cannot be read.
    """
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(path, frozenset())]
    while pending:
        inner, above = pending.pop()  # `above` are the folders that it is in
        own = folder_id(folder / inner)
        if own in above:  # reached again by a link
            continue
        prefix = f"{inner}/" if inner else ""
        for entry in visible_entries(folder / inner, left_out):
            if is_folder(entry):
                pending.append((prefix + entry.name, above | {own}))
            elif is_image(entry, left_out):
                yield entry, prefix + entry.name


def is_image(entry: "os.DirEntry[str]", left_out: LeftOut) -> bool:
    """Whether what is not a folder is an image by its name, or else it is counted."""
    name = entry.name
    if name[name.rfind(".") :].lower() not in EXTENSIONS:
        if entry.is_symlink() and not os.path.exists(entry.path):
            left_out.add(BROKEN, name)
        else:
            left_out.add_file(OTHER_KINDS, name)
    elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return True
    else:
        left_out.add_file(NOT_FILES, name)
    return False


def folder_names(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """The folders in a folder, and links to folders, in the order of their names; UserError if it cannot be read.

    Args:
        folder: is not searched any deeper.
        left_out: counts the files in it.
    """
    names = []
    for entry in visible_entries(folder, left_out):
        if is_folder(entry):
            names.append(entry.name)
        elif left_out is not None and is_image(entry, left_out):
            left_out.add_file(OUTSIDE, entry.name)
    return sorted(names)


def folder_id(folder: Path) -> tuple[int, int]:
    """The same by whatever path it is reached, its device and number; raises UserError if that cannot be had."""
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def image_file(entry: "os.DirEntry[str]", path: str, label: int) -> ImageFile:
    """Describes a file, or a link to one, whose path in the data set's folder is `path`."""
    try:
        status = entry.stat()
    except OSError:  # a link to nothing, which is told with the other damaged images
        return ImageFile(path, label, -1, 0, path_key(path), 0)
    return ImageFile(path, label, status.st_size, status.st_mtime_ns, path_key(path), status.st_ctime_ns)


def shown(path: str) -> str:
    """The path for a sentence: on one line, as text that does nothing, and cut in its middle if it is very long."""
    text = on_one_line(path)
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]}...{text[-half:]}"


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{shown(str(folder))} cannot be read ({error.strerror}): mend that or name another folder.")
