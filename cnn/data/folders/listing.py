"""Lists folders of images: one walk for images to train on and images to predict."""

import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.folders.left_out import BROKEN_LINKS, OUTSIDE, SPECIAL_FILES, SYSTEM_FILES, UNSUPPORTED, LeftOut
from cnn.data.folders.system_names import is_system_name
from cnn.data.images.image_file import EXTENSIONS
from cnn.data.source import ImageFile
from cnn.data.split import path_key
from cnn.errors import UserError
from cnn.shown_text import on_one_line

# Characters of a path that a message shows.
_MAX_SHOWN = 400


def visible_entries(folder: Path, left_out: LeftOut | None = None) -> Iterator["os.DirEntry[str]"]:
    """The entries that a user put into a folder, in no particular order.

    Hidden entries are left out, and so are those of systems and other programs, which `left_out` counts.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not is_system_name(entry.name):
                    yield entry
                elif left_out is not None:
                    left_out.add(SYSTEM_FILES, entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def image_entries(folder: Path, path: str, left_out: LeftOut) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """The image files in a folder and its subfolders, in no particular order; links to files and folders are followed.

    Args:
        folder: the data set's folder.
        path: the folder to search, relative to `folder`; empty for `folder` itself.
        left_out: counts the other files by reason, but no hidden ones.

    Returns:
        Each image file, or link to one or to nothing, with its path relative to `folder`.

    Raises:
        UserError: a folder cannot be read.
    """
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(path, frozenset())]
    while pending:
        inner, parents = pending.pop()
        identity = folder_id(folder / inner)
        if identity in parents:  # a link leads back to it
            continue
        prefix = f"{inner}/" if inner else ""
        for entry in visible_entries(folder / inner, left_out):
            if is_folder(entry):
                pending.append((prefix + entry.name, parents | {identity}))
            elif is_image(entry, left_out):
                yield entry, prefix + entry.name


def is_image(entry: "os.DirEntry[str]", left_out: LeftOut) -> bool:
    """Whether an entry other than a folder is an image by its name; counts it in `left_out` if not."""
    name = entry.name
    if name[name.rfind(".") :].lower() not in EXTENSIONS:
        if entry.is_symlink() and not os.path.exists(entry.path):
            left_out.add(BROKEN_LINKS, name)
        else:
            left_out.add_file(UNSUPPORTED, name)
    elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return True
    else:
        left_out.add_file(SPECIAL_FILES, name)
    return False


def folder_names(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """The sorted names of the folders, and links to folders, in a folder; UserError if it cannot be read.

    Args:
        folder: the folder, whose subfolders are not searched.
        left_out: counts the files in `folder`.
    """
    names = []
    for entry in visible_entries(folder, left_out):
        if is_folder(entry):
            names.append(entry.name)
        elif left_out is not None and is_image(entry, left_out):
            left_out.add_file(OUTSIDE, entry.name)
    return sorted(names)


def folder_id(folder: Path) -> tuple[int, int]:
    """A folder's device and inode, the same for every path to it; UserError if they cannot be read."""
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # for example a link to itself
        return False


def image_file(entry: "os.DirEntry[str]", path: str, label: int) -> ImageFile:
    """Describes an image file, or a link to one, whose path relative to the data set's folder is `path`."""
    try:
        status = entry.stat()
    except OSError:  # a broken link, which is reported with the damaged images
        return ImageFile(path, label, -1, 0, path_key(path), 0)
    return ImageFile(path, label, status.st_size, status.st_mtime_ns, path_key(path), status.st_ctime_ns)


def shown(path: str) -> str:
    """The path for a message: on one line, control characters escaped, and cut in its middle if it is very long."""
    text = on_one_line(path)
    half = _MAX_SHOWN // 2
    return text if len(text) <= _MAX_SHOWN else f"{text[:half]}...{text[-half:]}"


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{shown(str(folder))} cannot be read ({error.strerror}): fix that or choose another folder.")
