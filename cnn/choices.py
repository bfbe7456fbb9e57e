"""What a setting's field says beyond its type: allowed names, a count, its default, its place on the command line."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from cnn.errors import UserError
from cnn.suggestions import most_similar

_NAMES, _DEFAULT, _POSITIONAL, _MOMENTARY = "names", "default", "positional", "momentary"


def one_of(names: Callable[[], Iterable[str]], default: str) -> Any:
    """Returns a dataclass field for a name from a table; --help lists the names.

    Args:
        names: returns the allowed names; a function, as the table may be defined after the settings.
        default: one of the names.
    """
    return dataclasses.field(default=default, metadata={_NAMES: names})


def names_for(field: "dataclasses.Field[Any]") -> list[str]:
    """Returns the names allowed for a setting; empty when it was not made by `one_of`."""
    return list(field.metadata.get(_NAMES, list)())


def own_default(describe: Callable[[], str]) -> Any:
    """Returns a dataclass field of the default None, which stands for another value.

    Args:
        describe: returns what --help says about that value; a function, as tables may be defined after the settings.
    """
    return dataclasses.field(default=None, metadata={_DEFAULT: describe})


def described_default(field: "dataclasses.Field[Any]") -> str:
    """Returns the description of `own_default`; empty for other fields."""
    return str(field.metadata.get(_DEFAULT, str)())


def positional() -> Any:
    """Returns a dataclass field of the default None, whose value may stand on the command line without its name."""
    return dataclasses.field(default=None, metadata={_POSITIONAL: True})


def is_positional(field: "dataclasses.Field[Any]") -> bool:
    """Whether a field was made by `positional`."""
    return bool(field.metadata.get(_POSITIONAL))


def momentary(default: Any) -> Any:
    """Returns a dataclass field for a setting of one command, which --print_config leaves out: no run repeats it."""
    return dataclasses.field(default=default, metadata={_MOMENTARY: True})


def is_momentary(field: "dataclasses.Field[Any]") -> bool:
    """Whether a field was made by `momentary`."""
    return bool(field.metadata.get(_MOMENTARY))


def check_choice(noun: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError, listing the choices and suggesting the closest, unless `value` is one of them."""
    choices = list(choices)
    if value in choices:
        return
    closest = most_similar(value, choices, cutoff=0.5)
    hint = f" Did you mean '{closest}'?" if closest else ""
    raise UserError(f"unknown {noun} '{value}': choose one of {', '.join(choices)}.{hint}")


def check_counts(settings: object, *names: str) -> None:
    """Raises UserError for the first of the named settings that is less than 1; None is allowed."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} is less than 1: set a whole number of at least 1.")
