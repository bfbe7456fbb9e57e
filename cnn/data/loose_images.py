"""Which image files of no data set a user names."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cnn.data.image_file import EXTENSIONS
from cnn.data.listing import folder_id, is_folder, shown, visible_entries
from cnn.errors import UserError

_NAMED = 10
_LIST = "@"
_PATTERN = frozenset("*?[")


def list_images(names: Iterable[str]) -> list[str]:
    """The files that are named, and those in the folders that are named and in their folders, each once.

    They are in the order in which they are named, those of a folder in the order of their names. Of a folder, hidden
    files and those that by their names are no images are left out.

    Args:
        names: of files, of folders, or with @ before it of a file that holds such names, one a line.

    Raises:
        UserError: one is not there, a list cannot be read, or a folder has no images.
    """
    named = [name for each in names for name in (_listed(each[1:]) if _is_list(each) else [each])]
    missing = [name for name in named if not os.path.lexists(name)]
    if missing:
        raise _missing(missing)
    here = os.getcwd()
    found: dict[str, str] = {}  # by absolute path: a file may be named by itself and by its folder
    for name in named:
        for path in _inside(Path(name)) if os.path.isdir(name) else [str(Path(name))]:
            found.setdefault(os.path.join(here, path), path)
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


def _inside(folder: Path) -> Iterator[str]:
    """The images in a folder and in its folders; links are followed, but none back to a folder that it is in."""
    pending = [_by_name(folder, frozenset())]
    found = False
    while pending:
        entry, above = next(pending[-1], (None, frozenset()))
        if entry is None:
            pending.pop()
        elif is_folder(entry):
            pending.append(_by_name(Path(entry.path), above))
        elif entry.name[entry.name.rfind(".") :].lower() in EXTENSIONS:
            found = True
            yield entry.path
    if not found:
        raise UserError(f"{shown(str(folder))} holds no image files: name files, or a folder of them.")


def _by_name(
    folder: Path, above: frozenset[tuple[int, int]]
) -> Iterator[tuple["os.DirEntry[str]", frozenset[tuple[int, int]]]]:
    """What is in a folder, with the folders that it is in; nothing where it is one of `above`, reached by a link."""
    own = folder_id(folder)
    if own not in above:
        for entry in sorted(visible_entries(folder), key=lambda entry: entry.name):
            yield entry, above | {own}


def printable(name: str | Path) -> str:
    """A file's name as text; the bytes that are none as \\x and two digits."""
    return os.fsencode(name).decode(errors="backslashreplace")
