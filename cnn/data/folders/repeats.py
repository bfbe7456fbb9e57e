"""Finds images that links put into two classes or parts of a data set."""

import os
from pathlib import Path


class Repeats:
    """Collects files with equal inode numbers, which is cheap; only these are then compared."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}
        self._pairs: list[tuple[str, str]] = []

    def add(self, entry: "os.DirEntry[str]", path: str, group: str) -> None:
        """Adds an image, or a link to one.

        Args:
            entry: the image's directory entry.
            path: its path relative to the data set's folder.
            group: the folder of its class in its part, a prefix of `path`.
        """
        try:
            inode = entry.stat().st_ino  # cached by the entry
        except OSError:  # a broken link
            return
        first = self._first.setdefault(inode, path)
        if first is not path and inode and not first.startswith(f"{group}/"):
            self._pairs.append((first, path))

    def note(self, folder: Path) -> str | None:
        """The number of images that are in two classes or parts, with an example; None if there are none."""
        pairs = [pair for pair in self._pairs if _same(*(folder / path for path in pair))]
        if not pairs:
            return None
        return f"images in {folder} that links put into two classes or parts: {len(pairs):,}; {' and '.join(pairs[0])}"


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # it has been removed meanwhile
        return False
