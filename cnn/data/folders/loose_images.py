"""Lists image files outside a data set by the names that a user gives."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from cnn.data.folders.left_out import LeftOut
from cnn.data.folders.listing import image_entries, shown
from cnn.errors import UserError
from cnn.shown_text import on_one_line

_MAX_NAMED = 10
_LIST_PREFIX = "@"
_WILDCARDS = frozenset("*?[")

_logger = logging.getLogger(__name__)


def list_images(names: Iterable[str]) -> list[str]:
    """The named files and the images in the named folders and their subfolders, each once.

    They are in the order of `names`, those of a folder sorted by path. Links are followed. Folder entries that training
    would leave out are left out here, too; a warning counts them, except hidden ones.

    Args:
        names: names of files and folders, and of lists of such names, one per line, as @LIST.

    Raises:
        UserError: a name does not exist, a list cannot be read, or a folder has no images.
    """
    expanded = [name for each in names for name in (_listed(each[1:]) if _is_list(each) else [each])]
    missing = [name for name in expanded if not os.path.lexists(name)]
    if missing:
        raise _missing(missing)
    here, left_out = os.getcwd(), LeftOut()
    found: dict[str, str] = {}  # by absolute path: a file may be named directly and by its folder
    for name in expanded:
        for path in _inside(name, left_out) if os.path.isdir(name) else [str(Path(name))]:
            found.setdefault(os.path.join(here, path), path)
    if str(left_out):
        _logger.warning("warning: not used: %s", left_out)
    return [*found.values()]


def _is_list(name: str) -> bool:
    return name.startswith(_LIST_PREFIX) and not os.path.lexists(name)


def _listed(path: str) -> list[str]:
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise UserError(
            f"the list {shown(path)} cannot be read ({error.strerror}): after @, name a text file with the names of "
            "images, one per line."
        ) from error
    if not any(lines):
        raise UserError(f"the list {shown(path)} names no images: write their names into it, one per line.")
    return [os.fsdecode(line) for line in lines if line]


def _missing(names: list[str]) -> UserError:
    listed = ", ".join(map(shown, names[:_MAX_NAMED]))
    more = f", and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    pattern = any(_WILDCARDS & set(name) for name in names)
    hint = " (a pattern that matches no file, so that the shell did not expand it)" if pattern else ""
    return UserError(f"not found: {listed}{more}{hint}; name image files, or folders of them.")


def _inside(folder: str, left_out: LeftOut) -> list[str]:
    """The images in a folder and its subfolders, sorted by path."""
    left_out_here = LeftOut()
    inside = sorted(inner for _, inner in image_entries(Path(folder), "", left_out_here))
    if not inside:
        beside = f" but {left_out_here}" if str(left_out_here) else ""
        raise UserError(f"{shown(folder)} holds no image files{beside}: name files, or a folder of them.")
    left_out += left_out_here
    return [str(Path(folder, path)) for path in inside]


def printable(name: str | Path) -> str:
    """A file's name on one line, with undecodable bytes and control characters escaped."""
    return on_one_line(os.fsencode(name).decode(errors="backslashreplace"))
