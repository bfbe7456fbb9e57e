"""Files of settings: names and the values that they have by the types of the settings; see `setting_value`."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnn.settings.plain_yaml import Written, load_yaml, read_yaml
from cnn.settings.setting_value import read_value

_EXAMPLE = "`epochs: 3` for example"
_SHOWN = 40
"""Characters of a line."""


def read_group(source: Path | str) -> tuple[str, dict[str, Any]]:
    """Reads settings.

    Args:
        source: a file, or the text of one.

    Returns:
        What to call it, and its names and values as `load_yaml` gives them.

    Raises:
        ValueError: it holds no settings; a sentence that says what it is and what to do.
    """
    place = str(source) if isinstance(source, Path) else "the text of --config"
    try:
        content = read_yaml(source) if isinstance(source, Path) else load_yaml(source)
    except ValueError as error:
        raise ValueError(f"{place} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{place} holds no settings{_not_settings(content)}, {_EXAMPLE}.")
    return place, content


def _not_settings(content: Any) -> str:
    if isinstance(content, list):
        return " but a list: write one on a line, without a dash or brackets"
    if isinstance(content, Written):
        return f": in line {content.line}, {content[:_SHOWN]!r} is not a name, a colon, a space and a value"
    return ": write one on a line"


def typed(place: str, content: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings.

    Args:
        place: what to call the file.
        content: from `read_group`.
        hints: the types of all settings that there are.

    Raises:
        ValueError: there is no such setting, or it has no such value; names file, line, setting and value.
    """
    return {str(name): typed_value(place, name, value, hints) for name, value in content.items()}


def typed_value(place: str, name: str, written: Any, hints: Mapping[str, Any]) -> Any:
    """The value of one setting, as `typed`."""
    where = f"{place}, line {name.line}" if isinstance(name, Written) else place
    if name not in hints:
        advice = "; write settings without sections." if isinstance(written, dict) else closest(name, hints)
        raise ValueError(f"{where}: there is no setting {str(name)!r}{advice or '; leave it out.'}")
    try:
        return read_value(hints[name], written)
    except ValueError as error:
        raise ValueError(f"{where}: {name} {error}.") from error


def closest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Asks whether another name was meant, where one is like it: what a hand or a program makes of it, or a slip."""
    plain = re.sub(r"\W+", "_", name).strip("_").lower()
    found = difflib.get_close_matches(plain, list(names), n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""
