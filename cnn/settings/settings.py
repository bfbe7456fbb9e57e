"""Reads settings from YAML and the command line into dataclasses, and writes them as YAML."""

import argparse
import dataclasses
import functools
import math
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnn.choices import check_counts, names_for
from cnn.cluster.exchange_cost import ExchangeSettings
from cnn.data.augmentation import AugmentationSettings
from cnn.data.feed_settings import FeedSettings
from cnn.data.registry import DataSettings
from cnn.duration import seconds_of
from cnn.errors import UserError
from cnn.learner.learner import LearnerSettings, StepSettings, learner_settings
from cnn.models.registry import ModelSettings
from cnn.monitoring.whole_file import write_whole
from cnn.optim.optimizers import MIN_LEARNING_RATE, OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings
from cnn.optim.schedules import ScheduleSettings
from cnn.settings.plain_yaml import dump_yaml
from cnn.settings.setting_value import SwitchOrAuto, read_words
from cnn.settings.settings_file import closest, read_group, typed

Settings = TypeVar("Settings")

_SWITCHES = (bool, SwitchOrAuto)
_NO = "no_"
"""Prefix of a boolean setting's name that sets it to false."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Length, batch size, start and output of a run."""

    epochs: int = 10
    """Passes over the training samples."""

    steps: int | None = None
    """Train for this number of steps instead of --epochs; if the command line has both, the last one counts."""

    global_batch_size: int = 128
    """Samples per step, over all workers: the result does not depend on how many workers share them."""

    seed: int = 1
    """Seed of the initial weights, the order of samples, dropout and the choice of the validation part."""

    run_dir: str | None = None
    """Folder for all output of the run; runs/DATA-MODEL-TIME by default."""

    initialize_from: str | None = None
    """Start with the weights of the run in this folder, for fine-tuning; its classes may differ."""

    resume: SwitchOrAuto = False
    """Continue the run in --run_dir from its last checkpoint; with auto, start a new one if there is none."""

    validation_fraction: float = 0.1
    """Fraction of the training images, at least 0 and below 1, that is held out for choosing the best checkpoint; not
    used if the data set has its own validation part."""

    save_every: int | None = None
    """Steps between checkpoints, which are also saved at the end of each epoch."""

    log_every: int = 10
    """Steps per point of the training curve, which is their mean."""

    patience: int | None = None
    """End the run after this number of epochs without a better result on the validation part. Default: train for
    --epochs in any case."""

    stop_after: str | None = None
    """Stop, as a signal would, when the job has run for this time: 90m, 8h or 1h30m, for example. Exit code 75."""

    class_table: bool = False
    """Also print the test result of each class at the end."""

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "steps", "global_batch_size", "save_every", "log_every", "patience")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed {self.seed} is not in [0, 2**32): give a whole number in this range.")
        if not 0 <= self.validation_fraction < 1:
            raise UserError(
                f"validation_fraction is {self.validation_fraction}: it must be at least 0 and less than 1, for "
                "example 0.1."
            )
        if self.resume and self.run_dir is None:
            raise UserError("--resume needs --run_dir: name the folder of the run to continue.")
        self._check_stop_after()

    def _check_stop_after(self) -> None:
        try:
            if self.stop_after is not None:
                seconds_of(self.stop_after)
        except ValueError as error:
            raise UserError(
                f"--stop_after {error}: write days, hours, minutes and seconds with their letters, 8h, 90m or 1h30m "
                "for example."
            ) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """All settings of a training run."""

    model: ModelSettings
    data: DataSettings
    feed: FeedSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings
    step: StepSettings
    run: RunSettings

    def __post_init__(self) -> None:
        if not MIN_LEARNING_RATE <= self.learning_rate < math.inf:
            raise UserError(
                f"the learning rate {self.optimizer.base_learning_rate}, scaled from --scale_learning_rate "
                f"{self.optimizer.scale_learning_rate} to --global_batch_size {self.run.global_batch_size}, is "
                f"{self.learning_rate}: give another --learning_rate or --scale_learning_rate."
            )

    @property
    def learning_rate(self) -> float:
        """The rate before any schedule."""
        return self.optimizer.learning_rate_for(self.run.global_batch_size)

    @property
    def learner(self) -> LearnerSettings:
        """The settings that determine a step."""
        return learner_settings(self, self.model, self.step, self.run.seed)

    @functools.cached_property
    def merged(self) -> dict[str, Any]:
        """All settings by name, as `--config` reads them."""
        groups = (getattr(self, field.name) for field in dataclasses.fields(self))
        return {name: value for group in groups for name, value in dataclasses.asdict(group).items()}


def parse_settings(
    description: str, settings_class: type[Settings], arguments: Sequence[str] | None = None
) -> Settings:
    """Reads `--config FILE.yaml` and the command line, which has priority.

    Args:
        description: the program's description, shown by --help.
        settings_class: a dataclass of dataclasses. Each is a section of --help; their fields have distinct names.
        arguments: the command line; sys.argv's when None.

    Raises:
        UserError: a name is unknown, a value has the wrong type, or a dataclass refuses it.
    """
    groups = tuple(typing.get_type_hints(settings_class).values())
    return make_settings(settings_class, _parse(description, groups, arguments, defaults=True))


def make_settings(settings_class: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Makes a dataclass of dataclasses from all settings by name; UserError for a value that a dataclass refuses."""
    return settings_class(
        **{
            name: group(**{field.name: values[field.name] for field in dataclasses.fields(group)})
            for name, group in typing.get_type_hints(settings_class).items()
        }
    )


def parse_given(
    description: str, group: type[Settings], others: type[Any], arguments: Sequence[str] | None = None
) -> tuple[Settings, dict[str, Any]]:
    """Reads one section like `parse_settings`; settings of `others` may also be given, and are not checked yet.

    Args:
        description: the program's description, shown by --help.
        group: the section's dataclass.
        others: a dataclass of dataclasses.
        arguments: the command line; sys.argv's when None.

    Returns:
        The section, and the other given settings by name.
    """
    values = _parse(description, (group, *typing.get_type_hints(others).values()), arguments, defaults=False)
    names = {field.name for field in dataclasses.fields(group)} & values.keys()  # type: ignore[arg-type]
    return group(**{name: values.pop(name) for name in names}), values


def _parse(
    description: str, groups: tuple[type[Any], ...], arguments: Sequence[str] | None, *, defaults: bool
) -> dict[str, Any]:
    from jsonargparse import Namespace  # imported late, as below

    parser = _make_parser(description, groups)
    hints = _hints(groups)
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    files.add_argument("--config", action="append", default=[])
    try:
        config, remaining = files.parse_known_args(arguments)
        of_files = {name: value for each in config.config for name, value in _read_config(each, hints).items()}
        namespace = Namespace(of_files)  # type: ignore[no-untyped-call]
        values = dict(vars(parser.parse_args(remaining, namespace, defaults=defaults)))
    except argparse.ArgumentError as error:
        raise UserError(_explain(error, hints)) from error
    values.pop("config", None)
    return values


def _hints(groups: Iterable[type[Any]]) -> dict[str, Any]:
    """The types of the settings, by name."""
    return {name: hint for group in groups for name, hint in typing.get_type_hints(group).items()}


def _read_config(source: str, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the settings in a file, or in a text in braces, as a sweep passes them."""
    name = _read_words("config", str, source) or source
    inline = name.startswith("{") and not os.path.isfile(name)
    try:
        return typed(*read_group(name if inline else Path(name)), hints)
    except ValueError as error:
        raise UserError(str(error)) from error


@functools.cache
def _make_parser(description: str, groups: tuple[type[Any], ...]) -> Any:
    import docstring_parser
    import jsonargparse  # takes a quarter of a second, which importing this module should not cost

    jsonargparse.set_dumper("yaml", dump_yaml)  # for --print_config
    parser = jsonargparse.ArgumentParser(
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings; may be repeated.")
    for action in parser._actions:
        if isinstance(action.metavar, str):  # --print_config's has a backspace before its brackets
            action.metavar = action.metavar.replace("\b", "")
    for group in groups:
        section = parser.add_argument_group(str(group.__doc__).rstrip("."))
        helps = {each.arg_name: each.description for each in docstring_parser.parse_from_object(group).params}
        hints = typing.get_type_hints(group)
        for field in dataclasses.fields(group):
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            name, hint = field.name, hints[field.name]
            names = [f"--{name}", f"--{_NO}{name}"] if hint in _SWITCHES else [f"--{name}"]
            choices = f" One of {', '.join(known)}." if (known := names_for(field)) else ""
            section.add_argument(*names, action=_Setting, hint=hint, default=default, help=f"{helps[name]}{choices}")
    return parser


class _Setting(argparse.Action):
    """Stores the value of the words after a setting's name on the command line."""

    def __init__(self, *, hint: Any, **rest: Any) -> None:
        if hint in _SWITCHES:
            rest |= {"nargs": "?", "metavar": "true|false" if hint is bool else "true|false|auto"}
        elif typing.get_origin(hint) is list:
            rest["nargs"] = "+"
        super().__init__(**rest)
        self.hint = hint

    def __call__(self, parser: Any, namespace: Any, words: Any, option_string: str | None = None) -> None:
        value = True if words is None else _read_words(self.dest, self.hint, words)
        negated = self.hint in _SWITCHES and str(option_string).startswith(f"--{_NO}")
        setattr(namespace, self.dest, not value if negated else value)
        if self.dest == "epochs":
            namespace.steps = None  # steps from a file would override --epochs


def _read_words(name: str, hint: Any, words: str | list[str]) -> Any:
    try:
        return read_words(hint, words)
    except ValueError as error:
        raise UserError(f"--{name} {error}.") from error


def _explain(error: argparse.ArgumentError, hints: Mapping[str, Any]) -> str:
    """A parser's message in one line, with the most similar name for an unknown one."""
    options = [*hints, *(f"{_NO}{name}" for name, hint in hints.items() if hint in _SWITCHES), "config", "print_config"]
    message = " ".join((error.message or str(error)).split()).rstrip(".")
    unknown = message.removeprefix("unrecognized arguments: ")
    hint = closest(re.split("[ =]", unknown)[0], options, "--") if unknown != message else ""
    return f"{message}{hint or ';'} --help lists all settings."


def training_defaults() -> dict[str, Any]:
    """The default values of training settings by name."""
    groups = typing.get_type_hints(TrainingSettings).values()
    return {field.name: field.default for group in groups for field in dataclasses.fields(group)}


def training_hints() -> dict[str, Any]:
    """The types of training settings by name."""
    return _hints(typing.get_type_hints(TrainingSettings).values())


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings so that `--config PATH` repeats the run."""
    write_whole(path, dump_yaml(dict(settings)).encode())


def read_settings(path: Path) -> dict[str, Any]:
    """Reads a file of `write_settings`; UserError when it is missing or damaged."""
    try:
        return typed(*read_group(path), training_hints())
    except ValueError as error:
        # The error may quote the file, and a foreign link may lead to a private one.
        reason = f"{path} cannot be used: it is a link to something else." if path.is_symlink() else error
        raise UserError(f"the settings {reason}") from error
