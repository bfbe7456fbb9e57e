"""What is in a folder of images."""

import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.source import ImageFile
from cnn.errors import UserError
from cnn.shown_text import on_one_line

# Characters of a path that a sentence shows.
_SHOWN = 400


def visible_entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """All that is in a folder and not hidden, in no order; raises UserError if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield entry
    except OSError as error:
        raise _unreadable(folder, error) from error


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
        return ImageFile(path, label, -1, 0, 0)
    return ImageFile(path, label, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def shown(path: str) -> str:
    """The path for a sentence: on one line, as text that does nothing, and cut in its middle if it is very long."""
    text = on_one_line(path)
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]}...{text[-half:]}"


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{shown(str(folder))} cannot be read ({error.strerror}): mend that or name another folder.")
