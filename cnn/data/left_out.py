"""What a walk through folders of images leaves out: counted, so that it can be said in a sentence."""

from collections import Counter
from typing import Self

from cnn.shown_text import on_one_line

OTHER_KINDS = "files of kinds that are not read"
NOT_FILES = "pipes, sockets and devices"
BROKEN = "links to nothing"
OUTSIDE = "images outside the class folders"
BESIDE = "folders beside the parts"
OF_SYSTEMS = "what systems and other programs put there"

_REASONS = (OTHER_KINDS, NOT_FILES, BROKEN, OUTSIDE, BESIDE, OF_SYSTEMS)

# What a sentence shows: names, or suffixes, for each reason, and letters of each.
_NAMES = 8
_LETTERS = 30


class LeftOut:
    """Counts by reason, and by name within a reason."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {reason: Counter() for reason in _REASONS}

    def add(self, reason: str, name: str) -> None:
        """One more, for one of the reasons above, under the name that the sentence shows."""
        self._counts[reason][name] += 1

    def add_file(self, reason: str, name: str) -> None:
        """One more file of this name, under its suffix."""
        _, dot, suffix = name.rpartition(".")
        self.add(reason, f".{suffix.lower()}" if dot and suffix else "no suffix")

    def __iadd__(self, other: Self) -> Self:
        for reason, counts in other._counts.items():
            self._counts[reason] += counts
        return self

    def __str__(self) -> str:
        """All of it on one line; empty if there is nothing."""
        return "; ".join(f"{reason} ({_listed(counts)})" for reason, counts in self._counts.items() if counts)


def _listed(counts: Counter[str]) -> str:
    frequent_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{_short(name)}: {count:,}" for name, count in frequent_first[:_NAMES]]
    rest = sum(count for _, count in frequent_first[_NAMES:])
    return ", ".join([*texts, *([f"others: {rest:,}"] if rest else [])])


def _short(name: str) -> str:
    text = on_one_line(name)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."
