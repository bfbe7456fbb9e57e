"""Reads command lines, with the files of settings that they name, and writes --help."""

import argparse
import functools
import os
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn.choices import described_default, is_momentary, is_positional, names_for
from cnn.errors import UserError
from cnn.optim.optimizers import default_rate
from cnn.settings.options import NO, Option, Options, arranged, options_of, positional
from cnn.settings.plain_yaml import dump_yaml
from cnn.settings.setting_value import SwitchOrAuto, SwitchOrCount, read_words
from cnn.settings.settings_file import read_group, typed
from cnn.versions import version_line

_CONFIG = "--config="


def parse_words(
    description: str, groups: tuple[type[Any], ...], arguments: Sequence[str] | None, *, defaults: bool
) -> dict[str, Any]:
    """Reads settings by name from the command line and its files.

    Args:
        description: the program's description, shown by --help.
        groups: the dataclasses of all settings, each a section of --help.
        arguments: the command line; sys.argv's when None.
        defaults: whether settings that are not given get their defaults, or are left out.

    Raises:
        UserError: a name is unknown or a value has the wrong type.
    """
    from jsonargparse import Namespace, set_dumper  # imported late, as below

    parser, options = _make_parser(description, groups), options_of(groups)
    set_dumper("yaml", functools.partial(_dump_repeatable, options))  # for --print_config
    try:
        words = arranged(sys.argv[1:] if arguments is None else arguments, options)
        files = [word.removeprefix(_CONFIG) for word in words if word.startswith(_CONFIG)]
        of_files: dict[str, Any] = functools.reduce(_overridden, (_read_config(each, options) for each in files), {})
        if any(word.startswith("--optimizer=") for word in words):
            of_files = _overridden(of_files, {"optimizer": None})  # its value is read below
        remaining = [word for word in words if not word.startswith(_CONFIG)]
        namespace = Namespace(of_files)  # type: ignore[no-untyped-call]
        values = dict(vars(parser.parse_args(remaining, namespace, defaults=defaults)))
    except argparse.ArgumentError as error:
        raise UserError(f"{' '.join(error.message.split())}; --help lists all options.") from error
    values.pop("config", None)
    return values


def _overridden(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Settings of two files, or of a file and of the command line, with the later values.

    A learning rate that is the default of the earlier optimizer, as a run records it, does not outlive this optimizer.
    """
    if "optimizer" in later and earlier.get("learning_rate") == default_rate(earlier.get("optimizer")):
        earlier = {name: value for name, value in earlier.items() if name != "learning_rate"}
    return earlier | later


def _read_config(source: str, options: Options) -> dict[str, Any]:
    """Reads the settings in a file, or in a text in braces, as a sweep passes them."""
    name = _read_words("config", str, source) or source
    inline = name.startswith("{") and not os.path.isfile(name)
    try:
        return typed(*read_group(name if inline else Path(name)), {each.name: each.hint for each in options.values()})
    except ValueError as error:
        raise UserError(str(error)) from error


def _dump_repeatable(options: Options, values: dict[str, Any]) -> str:
    """The settings that a run can repeat, as YAML."""
    left_out = {name for name, option in options.items() if is_momentary(option.field)}
    return dump_yaml({name: value for name, value in values.items() if name not in left_out})


@functools.cache
def _make_parser(description: str, groups: tuple[type[Any], ...]) -> Any:
    import docstring_parser
    import jsonargparse  # takes a tenth of a second, which importing this module should not cost

    options = options_of(groups)
    folder = positional(options)
    parser = jsonargparse.ArgumentParser(
        prog=_program(),
        usage=f"%(prog)s {'' if folder is None else f'[{folder.name.upper()}] '}[--NAME VALUE] ...",
        description=_as_started(description),
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings; may be repeated.")
    for action in parser._actions:
        if "--print_config" in action.option_strings:
            action.metavar, action.help = "", "Print the settings as a YAML file, and exit."
        elif "--help" in action.option_strings:
            action.help = "Print this text, and exit."
    for group in groups:
        section = parser.add_argument_group(str(group.__doc__).rstrip("."))
        helps = {each.arg_name: str(each.description) for each in docstring_parser.parse_from_object(group).params}
        for name, option in options_of((group,)).items():
            if name == option.name:
                _add(section, option, helps[name])
    return parser


def _add(section: Any, option: Option, text: str) -> None:
    if is_positional(option.field):
        section.add_argument(
            f"{option.name}_first", metavar=option.name.upper(), nargs="?", default=argparse.SUPPRESS, help=text
        )
        text = "The same, with its name."
    names = [f"--{name}" for name in option.names]
    action = section.add_argument(
        *names, action=_Setting, option=option, dest=option.name, default=option.default, help=_described(option, text)
    )
    if choices := names_for(option.field) or (["true", "false"] if option.is_switch else []):
        action.completer = lambda **_: choices  # for argcomplete


def _described(option: Option, text: str) -> str:
    """What --help says about a setting: its docstring, the allowed names, and the default."""
    choices, default = names_for(option.field), described_default(option.field)
    if not default and option.default not in (None, []):
        values = option.default if option.is_list else [option.default]
        default = " ".join(map(_shown, values))
    allowed = f" One of {', '.join(choices)}." if choices else ""
    return f"{text}{allowed}{f' Default: {default}.' if default else ''}".replace("%", "%%")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _program() -> str:
    """How this program was started: `cnn train`, or `python jobs/train.py`."""
    return _as_started(f"python {sys.argv[0]}")


def _as_started(text: str) -> str:
    """A text with commands, which are those of the program `cnn` if it was started."""
    started = Path(*sys.orig_argv[1:2]).name
    return re.sub(r"python \S*\bjobs/(\w+)\.py", r"cnn \1", text) if started == "cnn" else text


class _Version(argparse.Action):
    """Prints the versions, and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        text = "Print the versions of this project and of its libraries, and exit."
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=text)

    def __call__(self, parser: Any, *rest: Any) -> typing.NoReturn:
        print(version_line())
        sys.exit(0)


class _Setting(argparse.Action):
    """Stores the value of the words after a setting's name on the command line."""

    def __init__(self, *, option: Option, **rest: Any) -> None:
        if option.is_switch:
            more = {SwitchOrAuto: "|auto", SwitchOrCount: "|N"}.get(option.hint, "")
            rest |= {"nargs": "?", "metavar": f"true|false{more}"}
        elif option.is_list:
            rest["nargs"] = "+"
        super().__init__(**rest)
        self.hint, self._is_switch = option.hint, option.is_switch

    def __call__(self, parser: Any, namespace: Any, words: Any, option_string: str | None = None) -> None:
        value = True if words is None else _read_words(self.dest, self.hint, words)
        negated = self._is_switch and str(option_string).startswith(f"--{NO}")
        setattr(namespace, self.dest, not value if negated else value)
        if self.dest == "epochs":
            namespace.steps = None  # steps from a file would override --epochs


def _read_words(name: str, hint: Any, words: str | list[str]) -> Any:
    try:
        return read_words(hint, words)
    except ValueError as error:
        raise UserError(f"--{name} {error}.") from error
