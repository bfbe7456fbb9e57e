"""Which image files of no data set a user names."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from cnn.data.left_out import LeftOut
from cnn.data.listing import image_entries, shown
from cnn.errors import UserError
from cnn.shown_text import on_one_line

_NAMED = 10
_LIST = "@"
_PATTERN = frozenset("*?[")

_logger = logging.getLogger(__name__)


def list_images(names: Iterable[str]) -> list[str]:
    """The files that are named, and those in the folders that are named and in their folders, each once.

    They are in the order in which they are named, those of a folder in the order of their names. Of a folder, what
    training would leave out is left out; a warning says what that is, unless it is hidden. Links are followed.

    Args:
        names: of files, of folders, or with @ before it of a file that holds such names, one a line.

    Raises:
        UserError: one is not there, a list cannot be read, or a folder has no images.
    """
    named = [name for each in names for name in (_listed(each[1:]) if _is_list(each) else [each])]
    missing = [name for name in named if not os.path.lexists(name)]
    if missing:
        raise _missing(missing)
    here, left_out = os.getcwd(), LeftOut()
    found: dict[str, str] = {}  # by absolute path: a file may be named by itself and by its folder
    for name in named:
        for path in _inside(name, left_out) if os.path.isdir(name) else [str(Path(name))]:
            found.setdefault(os.path.join(here, path), path)
    if str(left_out):
        _logger.warning("warning: not used: %s", left_out)
    return [*found.values()]


def _is_list(name: str) -> bool:
    return name.startswith(_LIST) and not os.path.lexists(name)


def _listed(path: str) -> list[str]:
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise UserError(
            f"the list {shown(path)} cannot be read ({error.strerror}): after @, name a text file that names images, "
            "one a line."
        ) from error
    if not any(lines):
        raise UserError(f"the list {shown(path)} names no images: write their names into it, one a line.")
    return [os.fsdecode(line) for line in lines if line]


def _missing(names: list[str]) -> UserError:
    told = ", ".join(map(shown, names[:_NAMED]))
    more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    pattern = any(_PATTERN & set(name) for name in names)
    hint = " (a pattern that no file fits, which the shell then leaves as it is)" if pattern else ""
    return UserError(f"not there: {told}{more}{hint}; name image files, or folders of them.")


def _inside(folder: str, left_out: LeftOut) -> list[str]:
    """The images in a folder and in its folders, in the order of their names."""
    own = LeftOut()
    inside = sorted(inner for _, inner in image_entries(Path(folder), "", own))
    if not inside:
        beside = f" but {own}" if str(own) else ""
        raise UserError(f"{shown(folder)} holds no image files{beside}: name files, or a folder of them.")
    left_out += own
    return [str(Path(folder, path)) for path in inside]


def printable(name: str | Path) -> str:
    """A file's name as text that does nothing but to be read, on one line; what is not such text as escapes."""
    return on_one_line(os.fsencode(name).decode(errors="backslashreplace"))
