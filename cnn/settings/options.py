"""The options of a command line: which there are, and how the words of a command line use them."""

import dataclasses
import functools
import re
import typing
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnn.choices import is_positional
from cnn.errors import UserError
from cnn.settings.setting_value import SwitchOrAuto, SwitchOrCount
from cnn.settings.unknown_word import refuse_option, refuse_word

NO = "no_"
"""Prefix of a switch's name that sets it to false."""

_ALONE = ("help", "version", "print_config")
"""Options of every program that take no value."""

_ALIASES = {"lr": "learning_rate", "h": "help"}

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""The keyboard's dash, then those that word processors and web pages put in its place."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """A setting as an option."""

    name: str

    hint: Any
    """The setting's type."""

    field: "dataclasses.Field[Any]"

    @property
    def is_switch(self) -> bool:
        return self.hint in (bool, SwitchOrAuto, SwitchOrCount)

    @property
    def is_list(self) -> bool:
        return typing.get_origin(self.hint) is list

    @property
    def names(self) -> list[str]:
        """The names by which it is set."""
        return [self.name, f"{NO}{self.name}"] if self.is_switch else [self.name]

    @property
    def default(self) -> Any:
        factory = self.field.default_factory
        return self.field.default if factory is dataclasses.MISSING else factory()


Options = Mapping[str, Option]
"""All options that are settings, by the names that they are set by."""


@functools.cache
def options_of(groups: tuple[type[Any], ...]) -> Options:
    """The options of a program whose settings are these dataclasses."""
    found = (
        Option(name=field.name, hint=typing.get_type_hints(group)[field.name], field=field)
        for group in groups
        for field in dataclasses.fields(group)
    )
    return {name: option for option in found for name in option.names}


def positional(options: Options) -> Option | None:
    """The option whose value may stand without its name, if there is one."""
    return next((option for option in options.values() if is_positional(option.field)), None)


def arranged(words: Sequence[str], options: Options) -> list[str]:
    """A command line as the parser reads it: every name in full, with underscores, and joined to its value by `=`.

    The values of a list remain words of their own.

    Raises:
        UserError: an option is unknown, has no value or is a list that is given twice; or a word belongs to no option.
    """
    rest, result, loose = deque(words), list[str](), list[str]()
    while rest:
        word = rest.popleft()
        if word == "--":
            loose += rest
            break
        if not _is_option(word, options):
            loose.append(word)
            continue
        name, *values = _read(word, options)
        option = options.get(name)
        if option is not None and option.is_list and f"--{name}" in result:
            raise UserError(f"--{name} is given twice: write all its values after one --{name}.")
        while _takes_another(name, option, values) and rest and not _is_option(rest[0], options):
            values.append(rest.popleft())
        if not values and name not in _ALONE and not (option and option.is_switch):
            raise UserError(f"--{name} has no value: give it one{_example(name, option, rest)}, or leave it out.")
        result += [f"--{name}", *values] if option and option.is_list else ["=".join([f"--{name}", *values])]
    return [*_placed(loose, result, options), *result]


def _takes_another(name: str, option: Option | None, values: Sequence[str]) -> bool:
    return name not in _ALONE and (not values or (option is not None and option.is_list))


def _example(name: str, option: Option | None, rest: Sequence[str]) -> str:
    """An option with a value: the next word if that only looks like an option, else the default if there is one."""
    if rest and not rest[0].startswith("--"):
        return f", --{name}={rest[0]} if it begins with a dash"
    default = None if option is None else option.default
    values = default if isinstance(default, list) else [] if default is None else [default]
    return f", --{name} {' '.join(map(str, values))} for example" if values else ""


def _is_option(word: str, options: Options) -> bool:
    """Whether a word is an option, known or not, and no value such as -1 or a file."""
    if word.startswith("-"):
        return len(word) > 1 and not re.match(r"-\.?\d", word)
    return word[:1] in _DASHES and bool(word) and _full_name(word) in _known(options)


def _known(options: Options) -> Iterable[str]:
    return [*options, "config", *_ALONE]


def _full_name(word: str) -> str:
    """The name in an option, with underscores."""
    name = word.partition("=")[0].lstrip(_DASHES).replace("-", "_")
    return _ALIASES.get(name, name)


def _read(word: str, options: Options) -> list[str]:
    """The full name of an option, and its value if it is in the same word.

    Raises:
        UserError: there is no such option, or it takes no value.
    """
    name, (_, equals, value) = _full_name(word), word.partition("=")
    if name not in _known(options) or not (word.startswith("--") or word == "-h"):
        refuse_option(word, name, _known(options))
    if equals and name in _ALONE:
        raise UserError(f"--{name} takes no value: write it without {equals}{value}.")
    return [name, value] if equals else [name]


def _placed(loose: Sequence[str], arranged_words: Sequence[str], options: Options) -> list[str]:
    """The option that a word without one belongs to.

    Raises:
        UserError: it belongs to none.
    """
    option = positional(options)
    if not loose:
        return []
    if option is None:
        refuse_word(loose[0], {name: each.field for name, each in options.items()}, _known(options))
    given = [word for word in arranged_words if word.startswith(f"--{option.name}=")]
    second = [*loose[1:], *given]
    if second:
        raise UserError(
            f"{second[0].removeprefix(f'--{option.name}=')!r} is one folder too many after {loose[0]!r}: name one, and "
            "put a path that has spaces in quotation marks."
        )
    return [f"--{option.name}={loose[0]}"]
