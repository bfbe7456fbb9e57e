"""Values of settings from their texts, by the setting's type, in files and on the command line alike."""

import math
import os
import re
import types
import typing
import unicodedata
from typing import Any, Literal

from cnn.settings.plain_yaml import NULLS

SwitchOrAuto = bool | Literal["auto"]
"""A setting that is on, off, or chosen automatically."""

SwitchOrCount = bool | int
"""A setting that is on, off, or on with a number."""

_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_HOME = "~"

_INTEGER_LIMIT = 2**63
"""No tensor could hold an integer of this size."""


def read_words(hint: Any, words: str | list[str]) -> Any:
    """The value of a setting from the command line, where the shell has removed quotation marks.

    Args:
        hint: the setting's type.
        words: one word, or the words of a list.

    Raises:
        ValueError: as `read_value`.
    """
    if isinstance(words, list):
        return read_value(hint, [None if word in NULLS else word for word in words])
    return read_value(hint, None if words in NULLS else words)


def read_value(hint: Any, written: Any) -> Any:
    """The value of a setting.

    Args:
        hint: the setting's type: int, float, bool, str, a Literal of texts, one of these or None, or a list of one.
        written: the value, as read by `load_yaml`.

    Raises:
        ValueError: the message continues a sentence that begins with the setting's name.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    optional = origin is types.UnionType and type(None) in parts
    if hint == SwitchOrAuto:
        return written if written == "auto" else read_value(bool, written)
    if hint == SwitchOrCount:
        hint = bool if str(written).lower() in _SWITCHES else int
    elif origin is types.UnionType:
        hint = next(each for each in parts if each is not type(None))
    if optional and (written is None or (written == _HOME and hint is not str)):
        return None
    if written is None:
        raise ValueError("has no value: give it one, or leave it out")
    if origin is list:
        return [read_value(parts[0], each) for each in (written if isinstance(written, list) else [written])]
    if not isinstance(written, str):
        if isinstance(written, dict):
            raise ValueError("is a section instead of one value: write settings without sections")
        raise ValueError("is a list instead of one value: put a text that begins with a bracket in quotation marks")
    if not written.strip():
        raise ValueError("is empty, as when a shell variable is not set: give it a value, or leave it out")
    return _choice(parts, written) if origin is typing.Literal else _READERS[hint](str(written))


def _choice(choices: tuple[str, ...], text: str) -> str:
    if text not in choices:
        raise ValueError(f"{text!r} is unknown: choose one of {', '.join(choices)}")
    return str(text)


def _whole_number(text: str) -> int:
    try:
        value = int(text.encode("ascii"))
    except ValueError:
        advice = _without_ornaments(text, whole=True) or "it in decimal digits, 10 for example"
        raise ValueError(f"{text!r} is not a whole number: write {advice}") from None
    if abs(value) >= _INTEGER_LIMIT:
        raise ValueError(f"has {len(str(abs(value)))} digits: give a whole number below 2**63")
    return value


def _number(text: str) -> float:
    try:
        value = float(text.encode("ascii"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        advice = _without_ornaments(text, whole=False) or "it with a decimal point or an exponent, 0.001 or 1e-3"
        raise ValueError(f"{text!r} is not a number: write {advice}")
    return value


def _without_ornaments(text: str, *, whole: bool) -> str:
    """How to write a number such as 1e3, 1,000 or 0,5; empty for a text that is none, or may be one of several."""
    plain = unicodedata.normalize("NFKC", text).strip().replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-")
    if whole and re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", plain):
        plain = plain.replace(",", "")
    elif not whole and re.fullmatch(r"[-+]?\d*,(\d{1,2}|\d{4,})", plain):
        plain = plain.replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return ""
    if not whole or not math.isfinite(value):
        return plain if math.isfinite(value) else ""
    return str(int(value)) if value.is_integer() and abs(value) < _INTEGER_LIMIT else ""


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError(f"{text!r} is neither true nor false: give one of these, or yes, no, on or off")
    return _SWITCHES[text.lower()]


def _text(text: str) -> str:
    if text == _HOME:
        raise ValueError("'~' means null in YAML but the home folder in shells: write null, or name the folder")
    return os.path.expanduser(text) if text.startswith(f"{_HOME}/") else text


_READERS: dict[Any, typing.Callable[[str], Any]] = {
    int: _whole_number,
    float: _number,
    bool: _switch,
    str: _text,
}
