"""Starting with the weights of another run."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.errors import UserError
from cnn.learner.state import fits
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.run_folder import SETTINGS, holds_run, recorded_origin
from cnn.runs.saved_run import open_run
from cnn.settings.settings import read_settings

if TYPE_CHECKING:
    import keras

_MAX_NAMED = 5
"""Layers that an error lists."""


def recorded_start(folder: Path, requested: str | None) -> str | None:
    """Returns the run whose weights a resumed run started with, requested again or not; None if it had its own.

    A run folder that was moved since may be named by its new place, if the checksum of its weights is recorded.

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
            f"the best weights of {origin['folder']}, after step {origin['step']}, are not those that {folder} was "
            f"started with, of {before.get('folder')} after step {before.get('step')}: name that run with "
            "--initialize_from, or choose another --run_dir."
        )


def initialize_from(folder: Path, network: "keras.Model") -> tuple[str, dict[str, Any]]:
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
    initialized = f"; newly initialized: {', '.join(new)}" if new else ""
    origin = {"folder": os.path.realpath(folder), "step": step, "checksum": _checksum(weights)}
    return f"starts with the weights of {folder} after step {step:,}{initialized}", origin


def _checksum(weights: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for path in sorted(weights):
        digest.update(f"{path} {weights[path].dtype} {weights[path].shape}\n".encode())
        digest.update(np.ascontiguousarray(weights[path]).data)
    return digest.hexdigest()
