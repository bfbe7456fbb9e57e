"""Conversion of untrusted JSON back to the dataclasses that it was written from."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from cnn.errors import UserError
from cnn.foreign_folder import read_file

T = TypeVar("T")

MAX_JSON_BYTES = 16_000_000
"""Maximum bytes of a JSON file in a run folder: enough for the names of a hundred thousand classes."""


def parse_json(text: str | bytes) -> Any:
    """Parses as json.loads does, but raises ValueError for every error."""
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file; raises UserError if it holds none."""
    try:
        values = parse_json(read_file(path, MAX_JSON_BYTES))
        if isinstance(values, dict):
            return values
        error: Exception = ValueError("it is not a JSON object")
    except (OSError, ValueError) as caught:
        error = caught
    raise UserError(f"{path} cannot be read ({error}): restore what the run wrote there, or train again.") from error


def from_json(cls: type[T], values: Any) -> T:
    """Converts parsed JSON of `dataclasses.asdict` back to the dataclass.

    Raises:
        ValueError: a value is missing, has the wrong type or belongs to no field; the message names it.
    """
    converted: T = _convert(cls, values, "the content")
    return converted


def _convert(hint: Any, value: Any, name: str) -> Any:
    parameters = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return None if value is None else _convert(parameters[0], value, name)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        if not _required(hint) <= value.keys() <= hints.keys():
            raise ValueError(f"{name} has other fields")
        return hint(**{field: _convert(hints[field], item, field) for field, item in value.items()})
    origin = typing.get_origin(hint)
    if origin is typing.Literal and isinstance(value, str) and value in parameters:
        return value
    if origin in (list, tuple) and isinstance(value, list | tuple):
        if origin is list or parameters[-1] is ...:
            parameters = parameters[:1] * len(value)
        if len(parameters) == len(value):
            return origin(_convert(parameter, item, name) for parameter, item in zip(parameters, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _convert(parameters[1], item, name) for key, item in value.items()}
    if type(value) is int and hint in (int, float) and abs(value) < 2**63:
        return hint(value)
    if type(value) is hint is not int:
        return value
    raise ValueError(f"{name} is of another type")


def _required(cls: Any) -> set[str]:
    missing = dataclasses.MISSING
    return {field.name for field in dataclasses.fields(cls) if field.default is missing is field.default_factory}
