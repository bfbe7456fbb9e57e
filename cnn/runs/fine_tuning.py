"""Starting with the weights of another run, or with published ones."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.errors import UserError
from cnn.learner.state import fits
from cnn.models.published_weights import layout_of, read_published
from cnn.models.registry import NETWORKS
from cnn.models.weight_file import is_weight_file
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.run_folder import FOLLOW_WEIGHTS, SETTINGS, holds_run, recorded_origin
from cnn.runs.saved_run import check_holds_run, open_run
from cnn.settings.settings import TrainingSettings, read_settings

if TYPE_CHECKING:
    import keras

_MAX_NAMED = 5
"""Layers that an error lists."""


def with_values(settings: TrainingSettings, values: Mapping[str, Any]) -> TrainingSettings:
    """Settings with other values of some settings in FOLLOW_WEIGHTS."""
    groups = {
        group: dataclasses.replace(getattr(settings, group), **{name: values[name]})
        for name, group in FOLLOW_WEIGHTS.items()
        if name in values
    }
    return dataclasses.replace(settings, **groups)


def following_weights(settings: TrainingSettings, recorded: Mapping[str, Any] | None = None) -> TrainingSettings:
    """Settings in which those of FOLLOW_WEIGHTS that are not given are as the initial weights need them.

    Args:
        settings: the given settings.
        recorded: the settings of the run that is resumed, which decide if they are given.

    Raises:
        UserError: the initial weights cannot be read.
    """
    initial = settings.run.initialize_from
    missing = [name for name, group in FOLLOW_WEIGHTS.items() if getattr(getattr(settings, group), name) is None]
    if recorded is None and initial is not None and missing:
        recorded = _needed(Path(initial), settings.model.model)
    return with_values(settings, {name: (recorded or {}).get(name) for name in missing})


def _needed(initial: Path, model: str) -> dict[str, Any]:
    """The values of the settings in FOLLOW_WEIGHTS for a run's weights, or for those of a file."""
    if not is_weight_file(initial):
        check_holds_run(initial)
        needed = read_settings(initial / SETTINGS)
    else:
        layout, _ = layout_of(initial)
        needed = {"conventions": layout.conventions, "preprocessing": layout.preprocessing}
    if not NETWORKS[model].has_conventions:
        needed["conventions"] = None
    return needed


def recorded_start(folder: Path, requested: str | None) -> str | None:
    """Returns the run or file whose weights a resumed run started with, requested again or not; None if it had its own.

    A run folder or file that was moved since may be named by its new place, if the checksum of its weights is recorded.

    Args:
        folder: folder of the resumed run.
        requested: the value of --initialize_from now.

    Raises:
        UserError: the run has no checkpoint, so it starts again, and other weights than before are requested for it.
    """
    recorded: str | None = read_settings(folder / SETTINGS).get("initialize_from")
    if requested is None or CheckpointFolder(folder / "checkpoints").steps():
        requested = recorded
    if requested is not None and not (recorded and (_is_same(requested, recorded) or recorded_origin(folder))):
        before = "its own initial weights" if recorded is None else f"the weights of {recorded}"
        raise UserError(
            f"{folder} was started with {before} and has no checkpoint yet: leave out --initialize_from {requested}, "
            "which would make it another run, or choose another --run_dir."
        )
    return requested


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def check_origin(folder: Path, origin: dict[str, Any]) -> None:
    """Checks that a run without a checkpoint, which starts again, does so with the same weights as before.

    Args:
        folder: the run's folder, which need not exist.
        origin: the record returned by `initialize_from`.

    Raises:
        UserError: the weights differ.
    """
    before = recorded_origin(folder) if holds_run(folder) else {}
    if before and before.get("checksum") != origin["checksum"]:
        raise UserError(
            f"{_named(origin)} are not those that {folder} was started with, {_named(before)}: name these with "
            "--initialize_from, or choose another --run_dir."
        )


def _named(origin: Mapping[str, Any]) -> str:
    if "file" in origin:
        return f"the weights in {origin['file']}"
    return f"the best weights of {origin.get('folder')} after step {origin.get('step')}"


def initialize_from(source: Path, name: str, network: "keras.Model") -> tuple[str, dict[str, Any]]:
    """Sets a network's weights to those of another run, or to published ones.

    Args:
        source: the run's folder, or the file of published weights.
        name: the network's name in NETWORKS.
        network: the network.

    Returns:
        A sentence that names the weights, and a record of them for the run folder.

    Raises:
        UserError: they cannot be read, or are those of another network.
    """
    return _from_file(source, name, network) if is_weight_file(source) else _from_run(source, network)


def _from_file(path: Path, name: str, network: "keras.Model") -> tuple[str, dict[str, Any]]:
    published = read_published(path, name, network)
    for variable in network.variables:
        if variable.path in published.values:
            variable.assign(published.values[variable.path].astype(variable.dtype, copy=False))
    origin = {"file": os.path.realpath(path), "checksum": _checksum(published.values)}
    message = f"starts with weights published for {published.layout.library}, in {path}{_initialized(published.new)}"
    return message, origin


def _initialized(new: Iterable[str]) -> str:
    names = ", ".join(new)
    return f"; newly initialized: {names}" if names else ""


def _from_run(folder: Path, network: "keras.Model") -> tuple[str, dict[str, Any]]:
    """Sets a network's weights to those of another run's best checkpoint; to their moving average, if there is one.

    Classification layers (those whose names end in `logits`) keep their new initial weights where the other run had
    another number of classes.

    Returns:
        A sentence that names the weights, and a record of them for the run folder.

    Raises:
        UserError: `folder` is not a run folder, or its network differs in other layers, which are named.
    """
    weights, step = open_run(folder).weights("best")
    fitting = {
        variable.path: variable
        for variable in network.variables
        if variable.path in weights and fits(variable, weights[variable.path])
    }
    paths = dict.fromkeys([*(variable.path for variable in network.variables), *weights])
    differing = list(dict.fromkeys(path.rpartition("/")[0] for path in paths if path not in fitting))
    new = [layer for layer in differing if layer.endswith("logits")]
    wrong = [layer for layer in differing if layer not in new]
    if wrong:
        more = f" and {len(wrong) - _MAX_NAMED} more" if len(wrong) > _MAX_NAMED else ""
        raise UserError(
            f"--initialize_from {folder} does not fit {network.name}: these layers are not in both networks, or have "
            f"different shapes: {', '.join(wrong[:_MAX_NAMED])}{more}; name a run of the same network and image size."
        )
    for path, variable in fitting.items():
        variable.assign(weights[path].astype(variable.dtype, copy=False))
    origin = {"folder": os.path.realpath(folder), "step": step, "checksum": _checksum(weights)}
    return f"starts with the weights of {folder} after step {step:,}{_initialized(new)}", origin


def _checksum(weights: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for path in sorted(weights):
        digest.update(f"{path} {weights[path].dtype} {weights[path].shape}\n".encode())
        digest.update(np.ascontiguousarray(weights[path]).data)
    return digest.hexdigest()
