"""The program that predicts: what the network of a run takes image files for."""

import contextlib
import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np

from cnn.choices import check_counts
from cnn.data.image_chunks import read_images
from cnn.data.loose_images import list_images, printable
from cnn.errors import UserError
from cnn.foreign_folder import check_no_link
from cnn.monitoring.predictions import Prediction
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import NetworkSettings, open_run
from cnn.trained.image_network import ImageNetwork, images_at_once
from cnn.trained.prediction_output import PredictionOutput, is_drawn_by_a_prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """What it looks at."""

    images: list[str] = dataclasses.field(default_factory=list)
    """Image files, folders of them, or @FILE for those that a text file names, one a line. Each is looked at once."""

    top: int = 3
    """How many classes to tell of each image, the likeliest first."""

    output: str | None = None
    """Folder for the results; predictions in the run folder when not given. Those that are there are replaced."""

    def __post_init__(self) -> None:
        if not self.images:
            raise UserError("--images is missing: name image files, or folders of them.")
        check_counts(self, "top")


def predict(network: NetworkSettings, settings: PredictionSettings) -> None:
    """Predicts, and writes the predictions to the terminal, as CSV and JSON, and as a picture.

    Images are read, computed and written a few at a time, in the order in which they are listed. Those that cannot be
    read are left out and told at the end.

    Raises:
        UserError: no image can be read; the folder for the results cannot be written, or another prediction does so.
        RunError: a process that reads images was killed.
    """
    run = open_run(network.folder)
    paths = [path for path in list_images(settings.images) if not is_drawn_by_a_prediction(path)]
    run.checkpoint_path(network.checkpoint)
    folder = run.folder / "predictions" if settings.output is None else Path(settings.output)
    if settings.output is None:
        check_no_link(folder)
    at_once = images_at_once(run.data)
    with (
        PredictionOutput(folder, paths) as output,
        contextlib.closing(read_images(paths, run.data.image_shape, at_once)) as chunks,
    ):
        sound = output.without_damaged(chunks)
        first = next(sound)  # others are decoded while TensorFlow is imported
        import_tensorflow_quietly()
        model, step = run.load_network(network.checkpoint)
        output.begin(
            {"model": run.settings.model.model, "data": run.settings.data.data, "step": step},
            min(settings.top, run.data.classes),
        )
        probabilities = ImageNetwork(run, model)
        for chunk in chain([first], sound):
            output.add(
                [
                    Prediction(printable(path), _likeliest(row, run.data.class_names, settings.top))
                    for path, row in zip(chunk.paths, probabilities(chunk.images), strict=True)
                ],
                _middle(chunk.images, run.data),
            )
        output.finish()


def _likeliest(probabilities: np.ndarray, names: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(names[label], float(probabilities[label])) for label in order]


def _middle(images: np.ndarray, data: RunData) -> np.ndarray:
    """What the network sees of them."""
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]
