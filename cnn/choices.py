"""Settings that are names from a table or counts of at least 1, and their checks."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any

from cnn.errors import UserError

_NAMES = "names"


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


def check_choice(noun: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError, listing the choices and suggesting the closest, unless `value` is one of them."""
    choices = list(choices)
    if value in choices:
        return
    closest = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{closest[0]}'?" if closest else ""
    raise UserError(f"unknown {noun} '{value}': choose one of {', '.join(choices)}.{hint}")


def check_counts(settings: object, *names: str) -> None:
    """Raises UserError for the first of the named settings that is less than 1; None is allowed."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} is less than 1: set a whole number of at least 1.")
