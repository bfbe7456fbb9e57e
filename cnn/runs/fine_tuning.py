"""Beginning with the weights of another run."""

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

_NAMED = 5


def recorded_start(folder: Path, asked: str | None) -> str | None:
    """The run whose weights a resumed run began with, whether or not that is asked for again; None for its own.

    Weights that were moved since may be named where they are now, if it is recorded which they were.

    Args:
        folder: the run's.
        asked: what --initialize_from names now.

    Raises:
        UserError: the run has no checkpoint, so that it begins again, and is to do so with other weights.
    """
    recorded: str | None = read_settings(folder / SETTINGS).get("initialize_from")
    if asked is None or CheckpointFolder(folder / "checkpoints").steps():
        asked = recorded
    if asked is not None and not (recorded and (_is_same(asked, recorded) or recorded_origin(folder))):
        before = "weights of its own" if recorded is None else f"the weights of {recorded}"
        raise UserError(
            f"{folder} was begun with {before} and has no checkpoint yet, so --initialize_from {asked} would make it "
            "another run: leave that out, or choose another --run_dir."
        )
    return asked


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def check_origin(folder: Path, origin: dict[str, Any]) -> None:
    """Checks that a run which begins again, as it has no checkpoint yet, does so with the weights of before.

    Args:
        folder: the run's, which need not be there.
        origin: of `initialize_from`.

    Raises:
        UserError: they were others.
    """
    before = recorded_origin(folder) if holds_run(folder) else {}
    if before and before.get("checksum") != origin["checksum"]:
        raise UserError(
            f"the best weights of {origin['folder']}, after step {origin['step']}, are not those that {folder} was "
            f"begun with, of {before.get('folder')} after step {before.get('step')}: name those by --initialize_from, "
            "or choose another --run_dir."
        )


def initialize_from(folder: Path, network: "keras.Model") -> tuple[str, dict[str, Any]]:
    """Gives a network the weights of another run's best checkpoint; the averaged ones, where there are such.

    The layers that tell the classes apart, which are those whose names end in `logits`, begin anew where the other run
    had another number of classes.

    Returns:
        A sentence on what was taken, and what a run folder records of it.

    Raises:
        UserError: it is no run folder, or its network differs in other layers, which are named.
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
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise UserError(
            f"--initialize_from {folder} does not fit {network.name}: these layers are not in both, or have other "
            f"shapes there: {', '.join(wrong[:_NAMED])}{more}; name a run of the same network and image size."
        )
    for path, variable in fitting.items():
        variable.assign(weights[path].astype(variable.dtype, copy=False))
    anew = f"; anew: {', '.join(new)}" if new else ""
    origin = {"folder": os.path.realpath(folder), "step": step, "checksum": _checksum(weights)}
    return f"begins with the weights of {folder} after step {step:,}{anew}", origin


def _checksum(weights: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for path in sorted(weights):
        digest.update(f"{path} {weights[path].dtype} {weights[path].shape}\n".encode())
        digest.update(np.ascontiguousarray(weights[path]).data)
    return digest.hexdigest()
