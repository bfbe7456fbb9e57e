"""Where a data set's files lie in the folder that was named, and what lies there in their place."""

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cnn.data.listing import is_folder, shown

# Folders in each other, below the one that was named: MNIST/raw and the like.
_DEEPEST = 2

# What follows the name of a file that a browser or we ourselves have begun to download.
_UNFINISHED = (".part", ".crdownload", ".download", ".partial", ".opdownload", ".tmp", ".aria2")

_SIMILAR = 0.75
_NAMED = 4


def levels(folder: Path, ignored: Iterable[str] = ()) -> Iterator[list[Path]]:
    """The folder, those in it, and those in these, a list each; without what is hidden or cannot be read.

    Args:
        folder: to begin with.
        ignored: letters and digits of the names, in lower case, of folders that are not looked into.
    """
    level, ignored = [folder], set(ignored)
    for _ in range(_DEEPEST + 1):
        yield level
        level = [inner for outer in level for inner in _folders(outer) if letters(inner.name) not in ignored]


def file_names(folder: Path) -> list[str]:
    """The names of the files there, and of links to files; none where the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_file(entry))
    except OSError:
        return []


def lying_archive(folder: Path, names: Sequence[str]) -> str:
    """The path, in the folder, of the first of these archives that lies there or deeper; else the first one's name."""
    for path in (inner / name for level in levels(folder) for inner in level for name in names):
        if os.path.isfile(path):
            return str(path.relative_to(folder))
    return names[0]


def letters(name: str) -> str:
    """A name's letters and digits, in lower case: what stays of it whoever writes it."""
    return "".join(character for character in name.lower() if character.isalnum())


def instead(folder: Path, missing: Iterable[str], official: Iterable[str]) -> str:
    """What lies in the folder, or below it, under names like those that are missing: an addition to a sentence.

    Args:
        folder: that was named.
        missing: names of files.
        official: the names of all files of the data set, which are not like others of them.
    """
    missing = list(missing)
    wanted, others = [_stem(name) for name in missing], {_stem(name) for name in official}
    found = []
    for path in (inner / name for level in levels(folder) for inner in level for name in file_names(inner)):
        whole = path.name
        while whole.lower().endswith(_UNFINISHED):
            whole = whole[: whole.rfind(".")]
        unfinished = whole != path.name
        if path.name in [f"{name}.part" for name in missing] or (not unfinished and _stem(whole) in others):
            continue  # ours, which the next download begins with; or a file in its place
        if difflib.get_close_matches(_stem(whole), wanted, n=1, cutoff=_SIMILAR):
            found.append(
                shown(str(path.relative_to(folder))) + (", whose download is not finished" if unfinished else "")
            )
    if not found:
        return ""
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return f" (what is there has another name: {', '.join(found[:_NAMED])}{more})"


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
