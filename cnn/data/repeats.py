"""Images that links put into two classes or parts of a data set."""

import os
from pathlib import Path


class Repeats:
    """Remembers the numbers of files, which costs little; only files with equal numbers are then looked at."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}
        self._pairs: list[tuple[str, str]] = []

    def add(self, entry: "os.DirEntry[str]", path: str, group: str) -> None:
        """One more image, or a link to one.

        Args:
            entry: the image's.
            path: in the data set's folder.
            group: the folder of its class in its part, which `path` begins with.
        """
        try:
            number = entry.stat().st_ino  # which the entry keeps for whoever asks again
        except OSError:  # a link to nothing
            return
        first = self._first.setdefault(number, path)
        if first is not path and number and not first.startswith(f"{group}/"):
            self._pairs.append((first, path))

    def note(self, folder: Path) -> str | None:
        """Says how many images are in two classes or parts, and names one; None if there are none."""
        pairs = [pair for pair in self._pairs if _same(*(folder / path for path in pair))]
        if not pairs:
            return None
        return f"images in {folder} that links put into two classes or parts: {len(pairs):,}; {' and '.join(pairs[0])}"


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # it is gone by now
        return False
