"""Finds a data set's files at or below the folder that the user named, and files with similar names."""

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cnn.data.folders.listing import is_folder, shown

# Levels of folders below the named one that are searched, for MNIST/raw for example.
_MAX_DEPTH = 2

# Suffixes of incomplete downloads, by browsers or by this program.
_INCOMPLETE = (".part", ".crdownload", ".download", ".partial", ".opdownload", ".tmp", ".aria2")

_MIN_SIMILARITY = 0.75
_MAX_NAMED = 4


def levels(folder: Path, ignored: Iterable[str] = ()) -> Iterator[list[Path]]:
    """The folder, its subfolders, and their subfolders, one list per level, without hidden and unreadable ones.

    Args:
        folder: the folder of the first level.
        ignored: names of folders to skip, as `letters` returns them.
    """
    level, ignored = [folder], set(ignored)
    for _ in range(_MAX_DEPTH + 1):
        yield level
        level = [inner for outer in level for inner in _folders(outer) if letters(inner.name) not in ignored]


def file_names(folder: Path) -> list[str]:
    """The sorted names of the files, and links to files, in a folder; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_file(entry))
    except OSError:
        return []


def find_archive(folder: Path, names: Sequence[str]) -> str:
    """The relative path of the first of these archives in the folder or below; the first name if none is there."""
    for path in (inner / name for level in levels(folder) for inner in level for name in names):
        if os.path.isfile(path):
            return str(path.relative_to(folder))
    return names[0]


def letters(name: str) -> str:
    """A name's letters and digits in lower case, for comparing spellings of it."""
    return "".join(character for character in name.lower() if character.isalnum())


def similar_names(folder: Path, missing: Iterable[str], official: Iterable[str]) -> str:
    """Lists files in the folder or below with names similar to the missing ones, as an addition to an error message.

    Args:
        folder: the folder that the user named.
        missing: the names of the missing files.
        official: the names of all files of the data set, which do not count as similar to each other.
    """
    missing = list(missing)
    missing_stems, official_stems = [_stem(name) for name in missing], {_stem(name) for name in official}
    found = []
    for path in (inner / name for level in levels(folder) for inner in level for name in file_names(inner)):
        complete = path.name
        while complete.lower().endswith(_INCOMPLETE):
            complete = complete[: complete.rfind(".")]
        incomplete = complete != path.name
        if path.name in [f"{name}.part" for name in missing] or (not incomplete and _stem(complete) in official_stems):
            continue  # a download to be resumed, or a file of the data set under its own name
        if difflib.get_close_matches(_stem(complete), missing_stems, n=1, cutoff=_MIN_SIMILARITY):
            found.append(shown(str(path.relative_to(folder))) + (", an incomplete download" if incomplete else ""))
    if not found:
        return ""
    more = f" and {len(found) - _MAX_NAMED:,} more" if len(found) > _MAX_NAMED else ""
    return f" (similar names found: {', '.join(found[:_MAX_NAMED])}{more})"


def _stem(name: str) -> str:
    return letters(name).removesuffix("gz")


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, for example
        return False


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
