"""A run folder as what it leaves: a trained network, and all that is needed to use it."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.choices import check_choice
from cnn.errors import UserError
from cnn.from_json import from_json
from cnn.learner.precision import use_precision
from cnn.models.registry import build_network
from cnn.monitoring.metrics import MAX_STEPS
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.data_record import DATA, RunData, read_data
from cnn.runs.run_folder import SETTINGS, holds_run
from cnn.settings.settings import TrainingSettings, make_settings, parse_settings

if TYPE_CHECKING:
    import keras

_USUAL_VALUES = 512 * 512 * 3
"""Of an image. With more the first fully connected layer of some networks takes gigabytes."""

_USUAL_WEIGHTS = 10**9
"""Between all values of an image and all classes, as in a network of one layer."""

_SHORTEST = 2
"""Bytes of a weight."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The trained network."""

    run_dir: str | None = None
    """Folder of the run that trained it."""

    checkpoint: str = "best"
    """best on the validation part, last, or the number of a step of which there is a checkpoint."""

    def __post_init__(self) -> None:
        if self.run_dir is None:
            raise UserError("--run_dir is missing: name the folder of the run that trained the network.")

    @property
    def folder(self) -> Path:
        return Path(str(self.run_dir))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedRun:
    """What a run was made with and on."""

    folder: Path
    settings: TrainingSettings
    data: RunData

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it; `from_plain` turns it back."""
        data = dataclasses.asdict(self.data)
        return {"folder": str(self.folder), "settings": self.settings.merged, "data": data}

    @staticmethod
    def from_plain(values: dict[str, Any]) -> "SavedRun":
        settings = make_settings(TrainingSettings, values["settings"])
        return SavedRun(folder=Path(values["folder"]), settings=settings, data=from_json(RunData, values["data"]))

    def build_network(self) -> "keras.Model":
        """The run's network before training, in the run's precision."""
        use_precision(self.settings.step.precision)
        return build_network(self.settings.model, self.data.input_shape, self.data.classes, self.settings.run.seed)

    def restore(self, network: "keras.Model", checkpoint: str) -> int:
        """Gives a network of `build_network` the `weights` of a checkpoint. Returns its step.

        Raises:
            UserError: as `weights`; or the checkpoint is of another network.
        """
        from cnn.learner.state import restore_state  # TensorFlow

        weights, step = self.weights(checkpoint)
        variables = {variable.path: variable for variable in network.variables}
        restore_state(variables, weights, str(self.checkpoint_path(checkpoint)))
        return step

    def weights(self, checkpoint: str) -> tuple[dict[str, np.ndarray], int]:
        """A checkpoint's weights by the variables' paths (those that were averaged, where they were), and its step.

        Args:
            checkpoint: best, last, or a step's number.

        Raises:
            UserError: there is no such checkpoint, it is damaged, or it is of other data.
        """
        path = self.checkpoint_path(checkpoint)
        arrays, record = load_checkpoint(path, without="optimizer/")
        if record.get("data_checksum") != self.data.checksum:
            raise UserError(f"{path} was trained on other data than {self.folder} tells of: it is of another run.")
        kind = "average/" if any(name.startswith("average/") for name in arrays) else "model/"
        weights = {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
        step = progress.get("step") if isinstance(progress := record.get("progress"), dict) else None
        if type(step) is not int or not 0 <= step < MAX_STEPS:
            raise UserError(f"{path} does not say after which step it was saved: no run has written it so.")
        return weights, step

    def checkpoint_path(self, checkpoint: str) -> Path:
        """The file of a checkpoint.

        Raises:
            UserError: it is not there, which lists those there are; or it is smaller than the run's network.
        """
        checkpoints = CheckpointFolder(self.folder / "checkpoints")
        steps = checkpoints.steps()
        paths = {"best": checkpoints.best} if checkpoints.best.is_file() else {}
        if steps:
            paths["last"] = checkpoints.path(steps[-1])
        paths |= {str(step): checkpoints.path(step) for step in steps}
        if not paths:
            raise UserError(f"{self.folder} holds no checkpoint: let the run end its first epoch.")
        check_choice(f"checkpoint of {self.folder}", checkpoint, paths)
        self._check_size(paths[checkpoint])
        return paths[checkpoint]

    def _check_size(self, path: Path) -> None:
        """Raises UserError when the folder tells of a network that is larger than a checkpoint, and might fill the
        memory. The others are smaller than that, and need not be looked at, which takes a moment."""
        values = math.prod(self.data.input_shape)
        if values <= _USUAL_VALUES and values * self.data.classes <= _USUAL_WEIGHTS:
            return
        import_tensorflow_quietly()
        import tensorflow as tf

        with tf.Graph().as_default():  # where variables have shapes, and no memory
            weights = sum(math.prod(variable.shape) for variable in self.build_network().variables)
        if weights * _SHORTEST > path.stat().st_size:
            raise UserError(
                f"{path} is of another network than {self.folder} tells of, which has {weights:,} weights: put back "
                f"the {DATA} that the run wrote."
            )

    def load_network(self, checkpoint: str) -> tuple["keras.Model", int]:
        """The trained network, and after which step it was saved."""
        network = self.build_network()
        return network, self.restore(network, checkpoint)


def open_run(folder: Path) -> SavedRun:
    """Reads a run folder's settings and what it says of the data.

    Raises:
        UserError: it is no run folder, or one that cannot be read.
    """
    if not holds_run(folder):
        raise UserError(f"{folder} holds no run: name a folder that jobs/train.py has written.")
    try:
        settings = parse_settings("A run's settings", TrainingSettings, [f"--config={folder / SETTINGS}"])
    except UserError as error:
        # What a stranger's link leads to is not shown.
        reason = f"{SETTINGS} is a link to something else." if (folder / SETTINGS).is_symlink() else error
        raise UserError(f"the settings in {folder} cannot be used: {reason}") from error
    return SavedRun(folder=folder, settings=settings, data=read_data(folder))
