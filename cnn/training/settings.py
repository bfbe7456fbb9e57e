"""Settings from YAML and the command line to dataclasses, and back to YAML."""

import argparse
import dataclasses
import difflib
import functools
import math
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnn.cluster.exchange_choice import ExchangeSettings
from cnn.data.augmentation import AugmentationSettings
from cnn.data.registry import DataSettings
from cnn.errors import RunError, UserError, check_choice
from cnn.models.registry import ModelSettings
from cnn.monitoring.whole_file import write_whole
from cnn.training.optimizers import OptimizerSettings
from cnn.training.plain_yaml import dump_yaml, load_yaml
from cnn.training.precision import PRECISIONS
from cnn.training.regularisation import RegularisationSettings
from cnn.training.schedules import ScheduleSettings

Settings = TypeVar("Settings")

_TOO_LARGE = 2**63
"""For a whole number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How long, how much at once, and where to."""

    epochs: int = 10
    """How often every training sample is seen."""

    steps: int | None = None
    """Train for so many steps instead of --epochs."""

    global_batch_size: int = 128
    """Samples of a step, over all workers: what is computed does not depend on how many share them."""

    group_size: int = 32
    """Samples that batch normalisation normalises together, and within which mixup and CutMix find partners; each
    group is on one worker. Without these there are no groups."""

    seed: int = 1
    """Of the initial weights, the order of samples, dropout and the validation part."""

    run_dir: str | None = None
    """Folder for everything that the run writes; runs/DATA-MODEL-TIME when not given."""

    initialize_from: str | None = None
    """Begin with the weights of the run in this folder, for fine-tuning; its classes may be others."""

    resume: bool = False
    """Go on from the last checkpoint in --run_dir."""

    save_every: int | None = None
    """Save a checkpoint every so many steps, besides at each epoch's end."""

    log_every: int = 10
    """Steps that a point of the training curve is the mean of."""

    micro_batch_size: int | None = None
    """Most samples that a worker computes at once: a larger part of the global batch is computed in pieces, whose
    gradients are added up before they are exchanged. Saves memory, and changes nothing that is computed."""

    precision: str = "float32"
    """float32; tensorfloat32, the same on processors, faster and less exact on GPUs; mixed_bfloat16 or mixed_float16,
    which compute most of the network in the shorter type (the latter with dynamic loss scaling); or float64 for studies
    of exactness."""

    xla: bool = False
    """Compile the network by XLA: often faster on GPUs, slower on processors."""

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "steps",
            "global_batch_size",
            "group_size",
            "micro_batch_size",
            "save_every",
            "log_every",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} {value} is less than 1: give a whole number from 1 on.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed {self.seed} is not in [0, 2**32): give a whole number from 0 on.")
        check_choice("precision", self.precision, PRECISIONS)
        if self.resume and self.run_dir is None:
            raise UserError("--resume needs --run_dir: name the folder of the run to go on with.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """All that is set for a training run."""

    model: ModelSettings
    data: DataSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings
    run: RunSettings

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise UserError(
                f"the learning rate {self.optimizer.base_learning_rate}, scaled from --scale_learning_rate "
                f"{self.optimizer.scale_learning_rate} to --global_batch_size {self.run.global_batch_size}, is "
                f"{self.learning_rate}: give another rate or another reference."
            )

    @property
    def learning_rate(self) -> float:
        """The rate before any schedule."""
        reference = self.optimizer.scale_learning_rate
        scale = 1.0 if reference is None else self.run.global_batch_size / reference
        return self.optimizer.base_learning_rate * scale

    @functools.cached_property
    def merged(self) -> dict[str, Any]:
        """Every setting by name, as `--config` reads them."""
        groups = (getattr(self, field.name) for field in dataclasses.fields(self))
        return {name: value for group in groups for name, value in dataclasses.asdict(group).items()}


def parse_settings(description: str, kind: type[Settings], arguments: Sequence[str] | None = None) -> Settings:
    """Reads `--config FILE.yaml` and the command line, which wins.

    Args:
        description: the program's, shown by --help.
        kind: a dataclass of dataclasses. Each of these is a section of --help; their fields have distinct names.
        arguments: the command line; sys.argv's when None.

    Raises:
        UserError: unknown name, value of the wrong type, or one that a dataclass refuses.
    """
    groups = tuple(typing.get_type_hints(kind).values())
    return make_settings(kind, _parse(description, groups, arguments, defaults=True))


def make_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A dataclass of dataclasses from every setting by name; UserError for a value that a dataclass refuses."""
    return kind(
        **{
            name: group(**{field.name: values[field.name] for field in dataclasses.fields(group)})
            for name, group in typing.get_type_hints(kind).items()
        }
    )


def parse_given(
    description: str, group: type[Settings], others: type[Any], arguments: Sequence[str] | None = None
) -> tuple[Settings, dict[str, Any]]:
    """As `parse_settings` reads one section; settings of `others` may be given with it, and are not checked yet.

    Args:
        description: the program's, shown by --help.
        group: a dataclass, the section.
        others: a dataclass of dataclasses.
        arguments: the command line; sys.argv's when None.

    Returns:
        The section, and those of the other settings that were given, by name.
    """
    values = _parse(description, (group, *typing.get_type_hints(others).values()), arguments, defaults=False)
    values.pop("config", None)
    own = {field.name for field in dataclasses.fields(group)} & values.keys()  # type: ignore[arg-type]
    return group(**{name: values.pop(name) for name in own}), values


def _parse(
    description: str, groups: tuple[type[Any], ...], arguments: Sequence[str] | None, *, defaults: bool
) -> dict[str, Any]:
    parser = _make_parser(description, groups)
    hints = {name: hint for group in groups for name, hint in typing.get_type_hints(group).items()}
    try:
        values = dict(vars(parser.parse_args(arguments, defaults=defaults)))
    except argparse.ArgumentError as error:
        raise UserError(_explain(error.message or str(error), list(hints))) from error
    except Exception as error:  # jsonargparse has no common class for what it makes of other bytes and values
        raise UserError(f"the settings cannot be read: {_one_line(str(error))}.") from error
    for name, hint in hints.items():
        if values.get(name, 0) is None and type(None) not in typing.get_args(hint):
            raise UserError(f"--{name} has no value: give it one, or leave it out.")
        _check_size(name, values.get(name))
    return values


def _check_size(name: str, value: Any) -> None:
    """Raises UserError for a whole number, or one in a list, that no tensor and no float could hold."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, int) and abs(each) >= _TOO_LARGE:
            raise UserError(f"--{name} is a number of {len(str(abs(each)))} digits: give one below 2**63.")


@functools.cache
def _make_parser(description: str, groups: tuple[type[Any], ...]) -> Any:
    import docstring_parser
    import jsonargparse  # a quarter of a second that importing this module need not cost

    jsonargparse.set_loader("settings", _load, (ValueError,))
    parser = jsonargparse.ArgumentParser(
        description=description,
        exit_on_error=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parser_mode="settings",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    for group in groups:
        section = parser.add_argument_group(str(group.__doc__).rstrip("."))
        helps = {each.arg_name: each.description for each in docstring_parser.parse_from_object(group).params}
        hints = typing.get_type_hints(group)
        for field in dataclasses.fields(group):
            kind: dict[str, Any] = {"type": hints[field.name]}
            if typing.get_origin(hints[field.name]) is list:
                kind = {"type": typing.get_args(hints[field.name])[0], "nargs": "+"}
            elif hints[field.name] is bool:
                kind = {"action": jsonargparse.ActionYesNo}
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            section.add_argument(f"--{field.name}", **kind, default=default, help=helps[field.name])
    return parser


def _load(text: str, path: str = "") -> Any:
    """As jsonargparse wants it: `path` is that of the file that the text is from, if it is from one."""
    try:
        content = load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}" if path else str(error)) from error
    if path and not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings")
    return content


def _explain(message: str, names: list[str]) -> str:
    """A parser's message in one line; a mistyped name's with the closest one."""
    message = _one_line(message)
    unknown = re.match(r"(?:unrecognized arguments: -*|option ')(\w+)", message, re.IGNORECASE)
    closest = difflib.get_close_matches(unknown[1], names, n=1) if unknown else []
    hint = f"; did you mean --{closest[0]}?" if closest else ";"
    return f"{message}{hint} --help lists all settings."


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings so that `--config PATH` repeats the run."""
    write_whole(path, dump_yaml(dict(settings)).encode())


def read_settings(path: Path) -> dict[str, Any]:
    """Reads what `write_settings` wrote; RunError when it is missing or damaged."""
    try:
        settings = load_yaml(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"the settings {path} cannot be read ({_one_line(str(error))}).") from error
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise RunError(f"{path} holds no settings.")
    return settings
