"""Prediction of the classes of image files by a run's network."""

import contextlib
import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np

from cnn.choices import check_counts
from cnn.data.folders.loose_images import list_images, printable
from cnn.data.images.image_chunks import read_images
from cnn.errors import UserError
from cnn.foreign_folder import check_no_link
from cnn.monitoring.records.predictions import Prediction
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import NetworkSettings, open_run
from cnn.trained.image_network import ImageNetwork, inference_batch_size
from cnn.trained.prediction_output import PredictionOutput, is_prediction_figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """The prediction."""

    images: list[str] = dataclasses.field(default_factory=list)
    """Image files, folders of images, or @FILE for a text file with one name per line. Duplicates are ignored."""

    top: int = 3
    """Number of classes to report per image, the likeliest first."""

    output: str | None = None
    """Folder for the results, by default predictions in the run folder; existing results are replaced."""

    def __post_init__(self) -> None:
        if not self.images:
            raise UserError("--images is missing: name image files, or folders of them.")
        check_counts(self, "top")


def predict(network: NetworkSettings, settings: PredictionSettings) -> None:
    """Predicts, and writes the predictions to the terminal, as CSV and JSON, and as a figure.

    Images are read, computed and written a few at a time, in the order in which they are listed. Unreadable images are
    left out and reported at the end.

    Raises:
        UserError: no image can be read, or the folder for the results is not writable or used by another prediction.
        RunError: a process that reads images was killed.
    """
    run = open_run(network.folder)
    paths = [path for path in list_images(settings.images) if not is_prediction_figure(path)]
    run.checkpoint_path(network.checkpoint)
    folder = run.folder / "predictions" if settings.output is None else Path(settings.output)
    if settings.output is None:
        check_no_link(folder)
    batch_size = inference_batch_size(run.data)
    with (
        PredictionOutput(folder, paths) as output,
        contextlib.closing(read_images(paths, run.data.image_shape, batch_size)) as chunks,
    ):
        readable = output.skip_damaged(chunks)
        first = next(readable)  # later chunks are decoded while TensorFlow is imported
        import_tensorflow_quietly()
        model, step = run.load_network(network.checkpoint)
        output.begin(
            {"model": run.settings.model.model, "data": run.settings.data.data, "step": step},
            min(settings.top, run.data.classes),
        )
        probabilities = ImageNetwork(run, model)
        for chunk in chain([first], readable):
            output.add(
                [
                    Prediction(printable(path), _likeliest(row, run.data.class_names, settings.top))
                    for path, row in zip(chunk.paths, probabilities(chunk.images), strict=True)
                ],
                _central_crop(chunk.images, run.data),
            )
        output.finish()


def _likeliest(probabilities: np.ndarray, names: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(names[label], float(probabilities[label])) for label in order]


def _central_crop(images: np.ndarray, data: RunData) -> np.ndarray:
    """Crops images to the network's input size."""
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]
