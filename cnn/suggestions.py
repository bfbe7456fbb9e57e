"""Suggestions for mistyped names: the known one that is most similar."""

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path


def most_similar(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most similar, whatever its case and separators; None if none is.

    Args:
        name: what was written.
        known: the known names.
        cutoff: the smallest similarity, from 0 to 1.
    """
    by_letters = {_letters(each): each for each in known}
    found = difflib.get_close_matches(_letters(name), by_letters, n=1, cutoff=cutoff)
    return by_letters[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence that proposes the most similar known name; empty if none is similar."""
    found = most_similar(name, known)
    return f"; did you mean {prefix}{found}?" if found else ""


def similar_path(path: Path) -> Path | None:
    """The file or folder beside a missing one whose name is most similar; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = difflib.get_close_matches(path.name, [each.name for each in path.parent.iterdir()], n=1)
        return path.with_name(found[0]) if found else None
    return None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()
