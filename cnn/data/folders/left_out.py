"""Counts of the files and folders that a walk through folders of images leaves out, for a sentence to the user."""

from collections import Counter
from typing import Self

from cnn.shown_text import on_one_line

UNSUPPORTED = "files of unsupported types"
SPECIAL_FILES = "pipes, sockets and devices"
BROKEN_LINKS = "broken links"
OUTSIDE = "images outside the class folders"
BESIDE = "folders beside the parts"
SYSTEM_FILES = "files and folders of systems and other programs"

_REASONS = (UNSUPPORTED, SPECIAL_FILES, BROKEN_LINKS, OUTSIDE, BESIDE, SYSTEM_FILES)

# Names, or suffixes, that the sentence shows for each reason, and letters that it shows of each.
_MAX_NAMES = 8
_MAX_LETTERS = 30


class LeftOut:
    """Counts by reason, and by name within a reason."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {reason: Counter() for reason in _REASONS}

    def add(self, reason: str, name: str) -> None:
        """Counts a file or folder for one of the reasons above, under the name that the sentence shows."""
        self._counts[reason][name] += 1

    def add_file(self, reason: str, name: str) -> None:
        """Counts a file for one of the reasons above, under its suffix."""
        _, dot, suffix = name.rpartition(".")
        self.add(reason, f".{suffix.lower()}" if dot and suffix else "no suffix")

    def __iadd__(self, other: Self) -> Self:
        for reason, counts in other._counts.items():
            self._counts[reason] += counts
        return self

    def __str__(self) -> str:
        """All counts on one line; empty if nothing was left out."""
        return "; ".join(f"{reason} ({_listed(counts)})" for reason, counts in self._counts.items() if counts)


def _listed(counts: Counter[str]) -> str:
    frequent_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{_short(name)}: {count:,}" for name, count in frequent_first[:_MAX_NAMES]]
    rest = sum(count for _, count in frequent_first[_MAX_NAMES:])
    return ", ".join([*texts, *([f"others: {rest:,}"] if rest else [])])


def _short(name: str) -> str:
    text = on_one_line(name)
    return text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]}..."
