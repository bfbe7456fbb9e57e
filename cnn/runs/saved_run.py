"""A finished run's folder: its trained network, and everything needed to use it."""

import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.choices import check_choice, positional
from cnn.errors import UserError
from cnn.from_json import from_json
from cnn.learner.precision import use_precision
from cnn.models.registry import build_network
from cnn.monitoring.records.metrics import MAX_STEPS
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.data_record import DATA, RunData, read_data
from cnn.runs.run_folder import SETTINGS, holds_run
from cnn.settings.settings import TrainingSettings, make_settings, parse_settings
from cnn.suggestions import similar_path

if TYPE_CHECKING:
    import keras

_USUAL_VALUES = 512 * 512 * 3
"""Values of an image. With more, the first fully connected layer of some networks takes gigabytes."""

_USUAL_WEIGHTS = 10**9
"""Weights between all values of an image and all classes, as in a network of one layer."""

_MIN_WEIGHT_BYTES = 2
"""Minimum size of a weight in a checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The trained network."""

    run_dir: str | None = positional()
    """Folder of the run that trained it."""

    checkpoint: str = "best"
    """best (on the validation part), last, or the step number of a saved checkpoint."""

    def __post_init__(self) -> None:
        if self.run_dir is None:
            raise UserError(
                "--run_dir is missing: name the folder of the run that trained the network, before all options or "
                "after --run_dir."
            )

    @property
    def folder(self) -> Path:
        return Path(str(self.run_dir))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A run's settings and data record."""

    folder: Path
    settings: TrainingSettings
    data: RunData

    def plain(self) -> dict[str, Any]:
        """The object as JSON values, which `from_plain` reads."""
        data = dataclasses.asdict(self.data)
        return {"folder": str(self.folder), "settings": self.settings.merged, "data": data}

    @staticmethod
    def from_plain(values: dict[str, Any]) -> "SavedRun":
        settings = make_settings(TrainingSettings, values["settings"])
        return SavedRun(folder=Path(values["folder"]), settings=settings, data=from_json(RunData, values["data"]))

    def build_network(self) -> "keras.Model":
        """Builds the run's network with initial weights, in the run's precision."""
        use_precision(self.settings.step.precision)
        return build_network(self.settings.model, self.data.input_shape, self.data.classes, self.settings.run.seed)

    def restore(self, network: "keras.Model", checkpoint: str) -> int:
        """Restores a checkpoint's `weights` into a network of `build_network`; returns the checkpoint's step.

        Raises:
            UserError: as `weights`; or the checkpoint is from another network.
        """
        from cnn.learner.state import restore_state  # TensorFlow

        weights, step = self.weights(checkpoint)
        variables = {variable.path: variable for variable in network.variables}
        restore_state(variables, weights, str(self.checkpoint_path(checkpoint)))
        return step

    def weights(self, checkpoint: str) -> tuple[dict[str, np.ndarray], int]:
        """A checkpoint's weights (their moving average, if it has one) by the variables' paths, and its step.

        Args:
            checkpoint: best, last, or a step number.

        Raises:
            UserError: there is no such checkpoint, it is damaged, or it is from other data.
        """
        path = self.checkpoint_path(checkpoint)
        arrays, record = load_checkpoint(path, without="optimizer/")
        if record.get("data_checksum") != self.data.checksum:
            raise UserError(f"{path} was trained on other data than {self.folder} records: it is from another run.")
        prefix = "average/" if any(name.startswith("average/") for name in arrays) else "model/"
        weights = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        step = progress.get("step") if isinstance(progress := record.get("progress"), dict) else None
        if type(step) is not int or not 0 <= step < MAX_STEPS:
            raise UserError(f"{path} does not record its step, so no run wrote it: choose another checkpoint.")
        return weights, step

    def checkpoint_path(self, checkpoint: str) -> Path:
        """The file of a checkpoint.

        Raises:
            UserError: it does not exist (the error lists those that do), or it is smaller than the run's network.
        """
        checkpoints = CheckpointFolder(self.folder / "checkpoints")
        steps = checkpoints.steps()
        paths = {"best": checkpoints.best} if checkpoints.best.is_file() else {}
        if steps:
            paths["last"] = checkpoints.path(steps[-1])
        paths |= {str(step): checkpoints.path(step) for step in steps}
        if not paths:
            raise UserError(f"{self.folder} holds no checkpoint: let the run finish its first epoch.")
        check_choice(f"checkpoint of {self.folder}", checkpoint, paths)
        self._check_size(paths[checkpoint])
        return paths[checkpoint]

    def _check_size(self, path: Path) -> None:
        """Raises UserError when the folder's records describe a network larger than the checkpoint, which might not fit
        into memory. Networks of usual size are not checked, as that takes a moment."""
        values = math.prod(self.data.input_shape)
        if values <= _USUAL_VALUES and values * self.data.classes <= _USUAL_WEIGHTS:
            return
        import_tensorflow_quietly()
        import tensorflow as tf

        with tf.Graph().as_default():  # in a graph, variables have shapes but take no memory
            weights = sum(math.prod(variable.shape) for variable in self.build_network().variables)
        if weights * _MIN_WEIGHT_BYTES > path.stat().st_size:
            raise UserError(
                f"{path} is from another network than {self.folder} records, which has {weights:,} weights: restore "
                f"the {DATA} that the run wrote."
            )

    def load_network(self, checkpoint: str) -> tuple["keras.Model", int]:
        """Loads the trained network; also returns the step after which it was saved."""
        network = self.build_network()
        return network, self.restore(network, checkpoint)


def _advice(folder: Path) -> str:
    """Proposes a run for a folder that holds none: the one around it, the last one in it, or one of a similar name."""
    around = [each for each in folder.parents if holds_run(each)]
    similar = similar_path(folder)
    found = [*around, *_runs_in(folder), *([similar] if similar and holds_run(similar) else [])]
    if found:
        return f"; did you mean {found[0]}?"
    others = _runs_in(folder.parent)
    return f": name a folder that jobs/train.py has written{f', {others[0]} for example' if others else ''}."


def _runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, the last one first."""
    with contextlib.suppress(OSError):
        return sorted(filter(holds_run, folder.iterdir()), key=lambda run: run.stat().st_mtime, reverse=True)
    return []


def check_holds_run(folder: Path) -> None:
    """Raises UserError when a folder holds no run; it proposes another one."""
    if not holds_run(folder):
        raise UserError(f"{folder} {'holds no run' if os.path.lexists(folder) else 'does not exist'}{_advice(folder)}")


def open_run(folder: Path) -> SavedRun:
    """Reads a run folder's settings and data record.

    Raises:
        UserError: it is not a run folder, or cannot be read.
    """
    check_holds_run(folder)
    try:
        settings = parse_settings("A run's settings", TrainingSettings, [f"--config={folder / SETTINGS}"])
    except UserError as error:
        # The error may quote the file, and a foreign link may lead to a private one.
        reason = f"{SETTINGS} is a link to something else." if (folder / SETTINGS).is_symlink() else error
        raise UserError(f"the settings in {folder} cannot be used: {reason}") from error
    return SavedRun(folder=folder, settings=settings, data=read_data(folder))
