"""Files of settings: reads names, and values by the types of the settings (see `setting_value`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn.settings.plain_yaml import Written, load_yaml, read_yaml
from cnn.settings.setting_value import read_value
from cnn.suggestions import did_you_mean, similar_path

_EXAMPLE = "`epochs: 3` for example"
_SHOWN = 40
"""Characters of a line that an error shows."""


def read_group(source: Path | str) -> tuple[str, dict[str, Any]]:
    """Reads settings.

    Args:
        source: a file, or the text of one.

    Returns:
        A name for the source in messages, and its settings as read by `load_yaml`.

    Raises:
        ValueError: it holds no settings; the message is a sentence that says what to do.
    """
    place = str(source) if isinstance(source, Path) else "the text of --config"
    try:
        content = read_yaml(source) if isinstance(source, Path) else load_yaml(source)
    except ValueError as error:
        raise ValueError(f"{place} cannot be read: {error}{_meant(source)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{place} holds {_not_settings(content)}, {_EXAMPLE}.")
    return place, content


def _meant(source: Path | str) -> str:
    """The end of a sentence about settings that cannot be read: the file that was probably meant."""
    if isinstance(source, Path) and not source.is_file():
        inside = source / "settings.yaml"  # of a run folder
        found = inside if inside.is_file() else None if source.exists() else similar_path(source)
        return f"; did you mean {found}?" if found else "; name a file of settings." if source.is_dir() else "."
    return "."


def _not_settings(content: Any) -> str:
    if isinstance(content, list):
        return "a list instead of settings: write one per line, without a dash or brackets"
    if isinstance(content, Written):
        return f"no settings: line {content.line}, {content[:_SHOWN]!r}, is not a name, a colon, a space and a value"
    return "no settings: write one per line"


def typed(place: str, content: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings.

    Args:
        place: the source's name in messages.
        content: settings from `read_group`.
        hints: the types of all known settings.

    Raises:
        ValueError: a setting is unknown or a value does not fit; the message names file, line, setting and value.
    """
    return {str(name): typed_value(place, name, value, hints) for name, value in content.items()}


def typed_value(place: str, name: str, written: Any, hints: Mapping[str, Any]) -> Any:
    """The value of one setting, as `typed`."""
    where = f"{place}, line {name.line}" if isinstance(name, Written) else place
    if name not in hints:
        advice = "; write settings without sections." if isinstance(written, dict) else did_you_mean(name, hints)
        raise ValueError(f"{where}: there is no setting {str(name)!r}{advice or '; leave it out.'}")
    try:
        return read_value(hints[name], written)
    except ValueError as error:
        raise ValueError(f"{where}: {name} {error}.") from error
