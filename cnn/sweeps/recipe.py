"""Recipes of sweeps: expansion of lists of settings into the combinations to train.

A recipe is a YAML file of training settings. A setting with a list of values is tried with each of them, in all
combinations. `blocks` lists settings that belong together, for example an optimizer and its learning rates: each block
is combined with the settings outside the blocks, and overrides them.
"""

import dataclasses
import itertools
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.settings.settings import TrainingSettings, parse_settings, training_hints
from cnn.settings.settings_file import read_group, typed_value

_ALWAYS_IN_NAME = ("data", "model", "optimizer", "learning_rate")
"""Settings in the name of every run; the other settings that differ between the runs follow them."""

_SET_BY_SWEEP = ("run_dir", "resume")

_MAX_COMBINATIONS = 10_000
"""Maximum combinations of a recipe: reading the results of more would take over a day."""

_MAX_NAME = 255
"""Maximum bytes of a file name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Combination:
    """One run of a sweep."""

    name: str
    """Name of the run folder, made of the settings that distinguish the run."""

    location: str
    """The recipe, block and values of the combination, for error messages."""

    arguments: tuple[str, ...]
    """Arguments of jobs/train.py that follow from the recipe."""

    settings: TrainingSettings

    distinguishing: dict[str, Any]
    """Settings, besides those in every name, that are needed to distinguish the runs."""

    explicit: dict[str, Any]
    """Resolved values of the settings that were given in the recipe or on the command line, and of those in every
    name."""


def combinations(path: Path, given: Mapping[str, Any]) -> list[Combination]:
    """Reads a recipe and checks each of its combinations with the checks of training.

    Args:
        path: the recipe.
        given: settings of the command line, which override the recipe's values and lists.

    Returns:
        The combinations without duplicates, grouped by data set and network.

    Raises:
        UserError: the recipe or a combination is invalid; the message names it and the error.
    """
    common, blocks = _read(path)
    entries: list[tuple[str, dict[str, Any], TrainingSettings]] = []
    command_line = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    expanded_blocks = [{**common, **block, **command_line} for block in blocks]
    if sum(math.prod(map(len, lists.values())) for lists in expanded_blocks) > _MAX_COMBINATIONS:
        raise UserError(f"{path} has more than {_MAX_COMBINATIONS:,} combinations: shorten its lists.")
    for number, (block, lists) in enumerate(zip(blocks, expanded_blocks, strict=True), start=1):
        for values in itertools.product(*lists.values()):
            choice = dict(zip(lists, values, strict=True))
            shown = [f"{name} {value}" for name, value in choice.items() if name in block or len(lists[name]) > 1]
            location = ", ".join([str(path), *([f"block {number}"] if block else []), *shown])
            entries.append((location, choice, _parse(location, choice)))
    return _make_combinations(entries)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        source, recipe = read_group(path)
        blocks = recipe.pop("blocks", [{}])
        if not (isinstance(blocks, list) and blocks and all(isinstance(block, dict) for block in blocks)):
            raise ValueError(
                f"{source}: blocks is not a list of settings: start each block with a dash, for example "
                "`- {optimizer: sgd, learning_rate: [0.1, 0.01]}`."
            )
        return _value_lists(source, recipe), [_value_lists(source, block) for block in blocks]
    except ValueError as error:
        raise UserError(f"the recipe {error}") from error


def _value_lists(source: str, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    hints = training_hints()
    lists = {}
    for name, entry in settings.items():
        if name in _SET_BY_SWEEP:
            raise ValueError(f"{source}: {name} is set by the sweep: remove it.")
        if entry == []:
            raise ValueError(f"{source}: {name} has an empty list: add a value, or remove it.")
        values = entry if isinstance(entry, list) else [entry]
        # Null means the default here, for any setting; `typed_value` rejects it where a setting cannot be None.
        lists[str(name)] = [
            None if value is None and name in hints else typed_value(source, name, value, hints) for value in values
        ]
    return lists


def _parse(location: str, choice: Mapping[str, Any]) -> TrainingSettings:
    try:
        settings = parse_settings("", TrainingSettings, _arguments(choice))
    except UserError as error:
        raise UserError(f"{location}: {error}") from error
    if not settings.run.validation_fraction:
        raise UserError(f"{location}: runs are compared on the validation part: set a --validation_fraction above 0.")
    return settings


def _arguments(choice: Mapping[str, Any]) -> tuple[str, ...]:
    """The jobs/train.py arguments that pass these settings as inline YAML, without nulls, which mean the default."""
    return "--config", json.dumps({name: value for name, value in choice.items() if value is not None})


def _make_combinations(entries: Sequence[tuple[str, dict[str, Any], TrainingSettings]]) -> list[Combination]:
    all_resolved = [settings.merged for _, _, settings in entries]
    distinguishing = _distinguishing_names(all_resolved)
    by_name: dict[str, Combination] = {}
    for (location, choice, settings), resolved in zip(entries, all_resolved, strict=True):
        parts = [_text(resolved[name]) for name in _ALWAYS_IN_NAME]
        parts += [f"{name}={_text(resolved[name])}" for name in distinguishing]
        name = re.sub(r"[^\w.=+-]+", "_", "-".join(parts))
        combination = Combination(
            name=name,
            location=location,
            arguments=_arguments(choice),
            settings=settings,
            distinguishing={name: resolved[name] for name in distinguishing},
            explicit={name: resolved[name] for name in (*_ALWAYS_IN_NAME, *choice)},
        )
        other = by_name.setdefault(name, combination)
        if len(os.fsencode(name)) > _MAX_NAME:
            raise UserError(f"{location}: the name of its folder, {name}, is too long: shorten a value.")
        differing = [setting for setting, value in other.settings.merged.items() if value != resolved[setting]]
        if differing:
            raise UserError(
                f"{location}: another combination has the same folder name, {name}: change one of "
                f"{', '.join(differing)}."
            )
    return _grouped(list(by_name.values()))


def _distinguishing_names(all_resolved: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the settings needed, in addition to _ALWAYS_IN_NAME, to distinguish all runs."""
    names: list[str] = []
    for name in all_resolved[0]:
        values: dict[tuple[Any, ...], set[Any]] = {}
        for resolved in all_resolved:
            values.setdefault(tuple(resolved[known] for known in (*_ALWAYS_IN_NAME, *names)), set()).add(resolved[name])
        if any(len(different) > 1 for different in values.values()):
            names.append(name)
    return names


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _grouped(ungrouped: list[Combination]) -> list[Combination]:
    """Sorts by data set, then network, each in the order of first occurrence."""
    data = [combination.settings.data.data for combination in ungrouped]
    models = [combination.settings.model.model for combination in ungrouped]

    def sort_key(combination: Combination) -> tuple[int, int]:
        return data.index(combination.settings.data.data), models.index(combination.settings.model.model)

    return sorted(ungrouped, key=sort_key)
