"""A run's trained network in Python."""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.data.folders.loose_images import list_images, printable
from cnn.data.images.image_chunks import read_images
from cnn.errors import UserError
from cnn.notebook.image_arrays import stored_images
from cnn.notebook.predictions import Predictions
from cnn.notebook.session import unchanged_session
from cnn.runs.saved_run import SavedRun, open_run
from cnn.trained.image_network import ImageNetwork, inference_batch_size

if TYPE_CHECKING:
    import keras

_MAX_NAMED = 10


def load(run_dir: str | os.PathLike[str], checkpoint: str | int = "best") -> "TrainedNetwork":
    """Loads the network of a run.

    Args:
        run_dir: the run's folder.
        checkpoint: best (on the validation part), last, or the step number of a saved checkpoint.

    Raises:
        UserError: the folder holds no run or no such checkpoint.
    """
    run = open_run(Path(run_dir))
    run.checkpoint_path(str(checkpoint))
    with unchanged_session():
        network, step = run.load_network(str(checkpoint))
    return TrainedNetwork(run, network, step)


class TrainedNetwork:
    """A trained network and the names of its classes; made by `cnn.load`.

    Attributes:
        class_names: the names of the classes, in the order of the probabilities.
        folder: the run's folder.
        step: the number of steps that the network was trained for.
    """

    def __init__(self, run: SavedRun, network: "keras.Model", step: int) -> None:
        self.class_names = run.data.class_names
        self.folder = run.folder
        self.step = step
        self._run = run
        self._network = network
        self._probabilities = ImageNetwork(run, network)

    def __repr__(self) -> str:
        settings = self._run.settings
        return (
            f"<{settings.model.model} on {settings.data.data}, {len(self.class_names)} classes, step {self.step:,} of "
            f"{self.folder}>"
        )

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The network as a Keras model of Keras's own layers, from images of the stored size, with values from 0 to
        255, to probabilities; the same that jobs/export.py writes."""
        from cnn.learner.precision import use_precision
        from cnn.trained.exported_network import image_network

        with unchanged_session():
            use_precision(self._run.settings.step.precision)
            return image_network(self._network, self._run.data)

    def predict(self, images: Any) -> Predictions:
        """Computes the probabilities of the classes, which on one kind of processor do not depend on other images.

        Args:
            images: an array of images (images, height, width, channels), a single image, or a list of images of any
                sizes; uint8, or numbers from 0 to 255, or fractions from 0 to 1. Or names of image files or folders:
                one name or a list of them.

        Raises:
            UserError: there are no images, no file can be read, or the array does not hold images.
            RunError: the network overflows, so that its output is not finite.
        """
        names = _file_names(images)
        if names is not None:
            return self._predict_files(list_images(names))
        stored, size = stored_images(images, self._run.data.image_shape), self._batch_size
        rows = [self._probabilities(stored[first : first + size]) for first in range(0, len(stored), size)]
        return self._predictions(rows, None, {})

    def _predict_files(self, paths: Sequence[str]) -> Predictions:
        rows: list[np.ndarray] = []
        files: list[str] = []
        left_out: dict[str, str] = {}
        with contextlib.closing(read_images(paths, self._run.data.image_shape, self._batch_size)) as chunks:
            for chunk in chunks:
                left_out |= {printable(path): reason for path, reason in chunk.damaged}
                if chunk.paths:
                    rows.append(self._probabilities(chunk.images))
                    files += map(printable, chunk.paths)
        if not rows:
            raise UserError(f"no readable image: {', '.join(_listed(left_out))}; name other files.")
        return self._predictions(rows, tuple(files), left_out)

    def _predictions(
        self, rows: list[np.ndarray], files: tuple[str, ...] | None, left_out: dict[str, str]
    ) -> Predictions:
        return Predictions(
            probabilities=np.concatenate(rows), class_names=self.class_names, files=files, left_out=left_out
        )

    @property
    def _batch_size(self) -> int:
        return inference_batch_size(self._run.data)


def _file_names(images: Any) -> list[str] | None:
    """The given names of files; None if arrays are given."""
    if isinstance(images, str | os.PathLike):
        return [os.fspath(images)]
    if isinstance(images, list | tuple) and images and all(isinstance(each, str | os.PathLike) for each in images):
        return [os.fspath(each) for each in images]
    return None


def _listed(left_out: dict[str, str]) -> Iterator[str]:
    for path, reason in [*left_out.items()][:_MAX_NAMED]:
        yield f"{path} ({reason})"
    if len(left_out) > _MAX_NAMED:
        yield f"and {len(left_out) - _MAX_NAMED:,} more"
