"""Reads settings from YAML and the command line into dataclasses, and writes them as YAML."""

import dataclasses
import functools
import math
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnn.choices import check_counts
from cnn.cluster.exchange.exchange_cost import ExchangeSettings
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed_settings import FeedSettings
from cnn.data.sources.registry import DataSettings
from cnn.duration import seconds_of
from cnn.errors import UserError
from cnn.learner.learner_settings import LearnerSettings, StepSettings, learner_settings
from cnn.models.registry import ModelSettings
from cnn.monitoring.serving.metrics_server import MetricsSettings
from cnn.optim.optimizers import MIN_LEARNING_RATE, OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings
from cnn.optim.schedules import ScheduleSettings
from cnn.settings.command_line import parse_words
from cnn.settings.plain_yaml import dump_yaml
from cnn.settings.setting_value import SwitchOrAuto
from cnn.settings.settings_file import read_group, typed
from cnn.whole_file import write_whole

Settings = TypeVar("Settings")


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
    """Start with the weights of the run in this folder, or with those of a file of Keras Applications (.h5),
    torchvision or timm (.safetensors), for fine-tuning; their classes may differ."""

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

    histograms_every: int | None = None
    """Steps between histograms of the weights for TensorBoard. Default: none."""

    profile_steps: str | None = None
    """Write a profile of some steps for TensorBoard: 100:110 for the ten steps that follow the first hundred."""

    profile_ranks: str = "0"
    """The workers that write this profile: ranks with commas between them, or all."""

    class_table: bool = False
    """Also print the test result of each class at the end."""

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "steps", "global_batch_size", "save_every", "log_every", "patience")
        check_counts(self, "histograms_every")
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
        self._check_profile()

    def _check_stop_after(self) -> None:
        try:
            if self.stop_after is not None:
                seconds_of(self.stop_after)
        except ValueError as error:
            raise UserError(
                f"--stop_after {error}: write days, hours, minutes and seconds with their letters, 8h, 90m or 1h30m "
                "for example."
            ) from error

    def _check_profile(self) -> None:
        steps = re.fullmatch(r"(\d{1,15}):(\d{1,15})", self.profile_steps or "0:1", re.ASCII)
        if steps is None or int(steps[1]) >= int(steps[2]):
            raise UserError(
                f"--profile_steps {self.profile_steps} names no steps: write how many are done before them and after "
                "them, 100:110 for ten steps, for example."
            )
        if not re.fullmatch(r"all|\d{1,9}(,\d{1,9})*", self.profile_ranks, re.ASCII):
            raise UserError(
                f"--profile_ranks {self.profile_ranks} is not a list of ranks: write 0,3 for two workers, for example, "
                "or all."
            )


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
    metrics: MetricsSettings

    def __post_init__(self) -> None:
        if not MIN_LEARNING_RATE <= self.learning_rate < math.inf:
            raise UserError(
                f"the learning rate {self.optimizer.base_learning_rate}, scaled from --scale_learning_rate "
                f"{self.optimizer.scale_learning_rate} to --global_batch_size {self.run.global_batch_size}, is "
                f"{self.learning_rate}: give another --learning_rate or --scale_learning_rate."
            )
        _ = self.learner  # refuses settings that contradict each other

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
    return make_settings(settings_class, parse_words(description, groups, arguments, defaults=True))


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
    values = parse_words(description, (group, *typing.get_type_hints(others).values()), arguments, defaults=False)
    names = {field.name for field in dataclasses.fields(group)} & values.keys()  # type: ignore[arg-type]
    return group(**{name: values.pop(name) for name in names}), values


def training_defaults() -> dict[str, Any]:
    """The default values of training settings by name."""
    groups = typing.get_type_hints(TrainingSettings).values()
    return {field.name: field.default for group in groups for field in dataclasses.fields(group)}


def training_hints() -> dict[str, Any]:
    """The types of training settings by name."""
    groups = typing.get_type_hints(TrainingSettings).values()
    return {name: hint for group in groups for name, hint in typing.get_type_hints(group).items()}


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
