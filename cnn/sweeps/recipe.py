"""Recipes of a sweep: from lists of settings to the combinations that are to be trained.

A recipe is a YAML file of training settings. One with a list of values is tried with each of them, in all combinations.
`blocks` lists settings that belong together, as each optimizer and its own rates do: every block is combined with
what stands outside, which it overrules.
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

_NAMED = ("data", "model", "optimizer", "learning_rate")
"""What every run's name tells; what else differs between the runs follows these."""

_OF_THE_SWEEP = ("run_dir", "resume")

_MOST = 10_000
"""Combinations of a recipe: a day's work only to read."""

_LONGEST_NAME = 255
"""Bytes of a file's name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Combination:
    """One run of a sweep."""

    name: str
    """That of its folder; it tells what the run has of its own."""

    entry: str
    """Where it stands in the recipe, for messages."""

    arguments: tuple[str, ...]
    """Those of jobs/train.py, as far as they follow from the recipe."""

    settings: TrainingSettings

    own: dict[str, Any]
    """What tells it from others of the same data set, network, optimizer and rate."""

    stated: dict[str, Any]
    """The settings that the recipe or the command line name, and those that every name tells."""


def combinations(path: Path, given: Mapping[str, Any]) -> list[Combination]:
    """Reads a recipe and checks each of its combinations as training would.

    Args:
        path: the recipe.
        given: settings that overrule the recipe's, lists too.

    Returns:
        The combinations, those of one data set and one network together; one that comes twice is there once.

    Raises:
        UserError: names the recipe, the combination and what is wrong with it.
    """
    common, blocks = _read(path)
    entries: list[tuple[str, dict[str, Any], TrainingSettings]] = []
    of_the_command = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    of_blocks = [{**common, **block, **of_the_command} for block in blocks]
    if sum(math.prod(map(len, lists.values())) for lists in of_blocks) > _MOST:
        raise UserError(f"{path} has more than {_MOST:,} combinations: shorten its lists.")
    for number, (block, lists) in enumerate(zip(blocks, of_blocks, strict=True), start=1):
        for values in itertools.product(*lists.values()):
            choice = dict(zip(lists, values, strict=True))
            shown = [f"{name} {value}" for name, value in choice.items() if name in block or len(lists[name]) > 1]
            entry = ", ".join([str(path), *([f"block {number}"] if block else []), *shown])
            entries.append((entry, choice, _checked(entry, choice)))
    return _named(entries)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        place, recipe = read_group(path)
        blocks = recipe.pop("blocks", [{}])
        if not (isinstance(blocks, list) and blocks and all(isinstance(block, dict) for block in blocks)):
            raise ValueError(
                f"{place}: blocks is no list of settings: begin each with a dash, "
                "`- {optimizer: sgd, learning_rate: [0.1, 0.01]}` for example."
            )
        return _value_lists(place, recipe), [_value_lists(place, block) for block in blocks]
    except ValueError as error:
        raise UserError(f"the recipe {error}") from error


def _value_lists(place: str, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    hints = training_hints()
    found = {}
    for name, written in settings.items():
        if name in _OF_THE_SWEEP:
            raise ValueError(f"{place}: {name} is chosen by the sweep: leave it out.")
        if written == []:
            raise ValueError(f"{place}: {name} has an empty list: give it a value, or leave it out.")
        values = written if isinstance(written, list) else [written]
        known = name in hints
        found[str(name)] = [
            None if known and value is None else typed_value(place, name, value, hints) for value in values
        ]
    return found


def _checked(entry: str, choice: Mapping[str, Any]) -> TrainingSettings:
    try:
        settings = parse_settings("", TrainingSettings, _arguments(choice))
    except UserError as error:
        raise UserError(f"{entry}: {error}") from error
    if not settings.data.validation_fraction:
        raise UserError(f"{entry}: runs are compared on the validation part: give a --validation_fraction above 0.")
    return settings


def _arguments(choice: Mapping[str, Any]) -> tuple[str, ...]:
    """As one YAML text, in which texts are in quotation marks; null stands for the default."""
    return "--config", json.dumps({name: value for name, value in choice.items() if value is not None})


def _named(entries: Sequence[tuple[str, dict[str, Any], TrainingSettings]]) -> list[Combination]:
    everything = [_resolved(settings) for _, _, settings in entries]
    own = _telling_apart(everything)
    found: dict[str, Combination] = {}
    for (entry, choice, settings), resolved in zip(entries, everything, strict=True):
        parts = [_text(resolved[name]) for name in _NAMED] + [f"{name}={_text(resolved[name])}" for name in own]
        name = re.sub(r"[^\w.=+-]+", "_", "-".join(parts))
        combination = Combination(
            name=name,
            entry=entry,
            arguments=_arguments(choice),
            settings=settings,
            own={name: resolved[name] for name in own},
            stated={name: resolved[name] for name in (*_NAMED, *choice)},
        )
        other = found.setdefault(name, combination)
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise UserError(f"{entry}: its folder's name would be too long, {name}; shorten a value.")
        if _resolved(other.settings) != resolved:
            raise UserError(f"{entry}: its folder would have the name of another's, {name}; change a value.")
    return _together(list(found.values()))


def _telling_apart(everything: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that it takes, besides those in every name, to tell all runs apart."""
    names: list[str] = []
    for name in everything[0]:
        values: dict[tuple[Any, ...], set[Any]] = {}
        for each in everything:
            values.setdefault(tuple(each[known] for known in (*_NAMED, *names)), set()).add(each[name])
        if any(len(different) > 1 for different in values.values()):
            names.append(name)
    return names


def _resolved(settings: TrainingSettings) -> dict[str, Any]:
    return {**settings.merged, "learning_rate": settings.optimizer.base_learning_rate}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _together(found: list[Combination]) -> list[Combination]:
    """Sorted by data set, then network, each in the order in which they first come."""
    data = [each.settings.data.data for each in found]
    models = [each.settings.model.model for each in found]

    def place(each: Combination) -> tuple[int, int]:
        return data.index(each.settings.data.data), models.index(each.settings.model.model)

    return sorted(found, key=place)
