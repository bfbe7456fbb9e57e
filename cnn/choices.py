"""What settings of many kinds are: names in a table, and whole numbers from 1 on."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any

from cnn.errors import UserError

_NAMES = "names"


def one_of(names: Callable[[], Iterable[str]], default: str) -> Any:
    """The field of a dataclass for such a setting, of which --help lists the names.

    Args:
        names: gives them. It is called late, as a table may follow the settings in a file.
        default: one of them.
    """
    return dataclasses.field(default=default, metadata={_NAMES: names})


def names_for(field: "dataclasses.Field[Any]") -> list[str]:
    """Those that a setting may be; empty where it is not a name in a table."""
    return list(field.metadata.get(_NAMES, list)())


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError, listing the choices and naming the closest, unless `value` is one of them."""
    choices = list(choices)
    if value in choices:
        return
    closest = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{closest[0]}'?" if closest else ""
    raise UserError(f"unknown {what} '{value}': choose one of {', '.join(choices)}.{hint}")


def check_counts(settings: object, *names: str) -> None:
    """Raises UserError for the first of these settings that is less than 1; None is allowed."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} is less than 1: give a whole number from 1 on.")
