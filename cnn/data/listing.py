"""What is in a folder of images."""

import os
from pathlib import Path

from cnn.data.source import ImageFile
from cnn.errors import UserError


def visible_entries(folder: Path) -> list["os.DirEntry[str]"]:
    """All that is in a folder and not hidden, in no order; raises UserError if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): mend that or name another folder") from error


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
        return ImageFile(path, label, -1, 0)
    return ImageFile(path, label, status.st_size, status.st_mtime_ns)
