"""From JSON, which is not trusted, back to the dataclasses that it was made of."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from cnn.errors import UserError
from cnn.foreign_folder import read_file

T = TypeVar("T")

LARGEST = 16_000_000
"""Bytes of a file of JSON in a run folder: the names of a hundred thousand classes have room."""


def parse_json(text: str | bytes) -> Any:
    """As json.loads; raises ValueError whatever is wrong."""
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file; UserError when there is none."""
    try:
        values = parse_json(read_file(path, LARGEST))
        if isinstance(values, dict):
            return values
        error: Exception = ValueError("it holds no object")
    except (OSError, ValueError) as caught:
        error = caught
    raise UserError(f"{path} cannot be read ({error}): put back what the run wrote there, or train anew.") from error


def from_json(kind: type[T], values: Any) -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of one.

    Raises:
        ValueError: a value is missing, is not of the field's type or has no field; it is named.
    """
    made: T = _made(kind, values, "the content")
    return made


def _made(kind: Any, value: Any, name: str) -> Any:
    kinds = typing.get_args(kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return None if value is None else _made(kinds[0], value, name)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        if not _needed(kind) <= value.keys() <= hints.keys():
            raise ValueError(f"{name} has other fields")
        return kind(**{field: _made(hints[field], part, field) for field, part in value.items()})
    origin = typing.get_origin(kind)
    if origin is typing.Literal and isinstance(value, str) and value in kinds:
        return value
    if origin in (list, tuple) and isinstance(value, list | tuple):
        if origin is list or kinds[-1] is ...:
            kinds = kinds[:1] * len(value)
        if len(kinds) == len(value):
            return origin(_made(each, part, name) for each, part in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _made(kinds[1], part, name) for key, part in value.items()}
    if type(value) is int and kind in (int, float) and abs(value) < 2**63:
        return kind(value)
    if type(value) is kind is not int:
        return value
    raise ValueError(f"{name} is of another type")


def _needed(kind: Any) -> set[str]:
    missing = dataclasses.MISSING
    return {each.name for each in dataclasses.fields(kind) if each.default is missing is each.default_factory}
